//! Point-in-time-correct backfills and snapshot materialization over Parquet, CSV and JSON lines.
//!
//! - [`Project`]: what `unskew.toml` defines: entities, sources, views and services
//! - [`Table`]: the rows of a source, [`TableChunks`]: the same some at a time; [`Spine`]: the rows to compute features for;
//!   [`ReadError`] says what is wrong with a file
//! - [`AsOfIndex`]: the as-of join of a spine with feature rows
//! - [`EventIndex`]: the events that an aggregate may see at a time
//! - [`write_columns`]: a training set as a Parquet file; [`column_to_array`] and [`array_to_column`] cross to Arrow

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod aggregate;
mod array;
mod asof;
mod backfill;
mod entity_key;
mod events;
mod materialize;
mod nearest;
mod output;
mod parity;
mod project;
mod publish;
mod reader;
mod spine;
mod table;
mod view;

pub use array::{CastError, array_to_column, column_to_array, status_to_array};
pub use asof::{AsOfIndex, Joined};
pub use backfill::{
    BackfillError, BackfillManifest, BackfillOptions, InputEntry, Progress, SEMANTICS_VERSION, TrainingSet, backfill,
    compute, manifest_path,
};
pub use entity_key::{EntityKeyError, entity_keys};
pub use events::EventIndex;
pub use materialize::{Materialized, materialize};
pub use output::{OutputColumn, OutputFile, OutputOptions, WriteError, write_columns};
pub use parity::{Mismatch, Moment, Parity, ReplayError, replay};
pub use project::{ColumnBinding, Problem, Project, ProjectError, Source, ViewSource};
pub use publish::{PublishError, publish};
pub use reader::{ChunkOptions, InputFile, MAX_TABLE_ROWS, Place, ReadError};
pub use spine::{Spine, SpineOptions};
pub use table::{ColumnRequest, Table, TableChunk, TableChunks, TableSource};
