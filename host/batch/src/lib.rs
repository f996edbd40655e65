//! Point-in-time-correct backfills and snapshot materialization over Parquet, CSV and JSON lines.
//!
//! - [`Project`]: what `unskew.toml` defines: entities, sources, views and services; [`sketch()`] writes one to start from,
//!   by a [`Survey`] of each file
//! - [`Storage`]: where sources and spines are and outputs go: files, and [`Objects`] that have URLs
//! - [`Table`]: the rows of a source, [`TableChunks`]: the same some at a time; [`ReadError`] says what is wrong with a file
//! - [`backfill`]: the features of a spine as a Parquet file; [`compute`]: the same in memory
//! - [`BackfillManifest`]: what a training set was made of, to verify it and to say what moved
//! - [`EventIndex`]: the events that an aggregate may see at a time
//! - [`column_to_array`] and [`array_to_column`] cross to Arrow

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod aggregate;
mod array;
mod arrivals;
mod asof;
mod audit;
mod backfill;
#[cfg(test)]
mod ctr_history;
mod engine;
mod entity_key;
mod events;
mod finish;
mod flush;
mod hashing;
mod increment;
mod job;
mod manifest;
mod materialize;
mod nearest;
mod output;
mod parity;
mod project;
mod publish;
mod quarantine;
mod reader;
mod row_group;
mod sketch;
mod spine;
mod storage;
mod survey;
mod table;
mod training_set;
mod unfinished;
mod view;
mod view_rows;
mod words;
mod workers;

pub use array::{CastError, array_to_column, column_to_array, status_to_array};
pub use arrivals::{ArrivalError, ArrivalOptions, Arrivals, replay_arrivals};
pub use audit::{
    AGE_BOUNDS_US, Ages, Audit, AuditError, AuditOptions, FeatureAudit, Label, LabelError, Origin, ParseLabelError,
    Sample, ViewAudit, audit,
};
pub use backfill::{
    BackfillError, BackfillOptions, Backfilled, DEFAULT_MAX_QUARANTINED, Interrupt, Phase, Progress, Resources,
    SEMANTICS_VERSION, backfill, compute,
};
pub use engine::memory::{DEFAULT_MEMORY_BYTES, MIN_MEMORY_BYTES};
pub use entity_key::{EntityKeyError, entity_keys};
pub use events::EventIndex;
pub use increment::{Previous, WhyNot, materialize_delta, materialize_since};
pub use manifest::{
    BackfillManifest, Difference, HistoryCounts, InputEntry, ManifestError, Moved, Stale, ViewCounts, ViewEntry,
    manifest_path,
};
pub use materialize::{Materialized, materialize};
pub use output::{OutputFile, OutputOptions, WriteError};
pub use parity::{Mismatch, Moment, Parity, ReplayError, replay};
pub use project::{ColumnBinding, Problem, Project, ProjectError, Source, ViewSource};
pub use publish::{PublishError, publish, publish_deltas};
pub use quarantine::{Quarantined, quarantine_path};
pub use reader::{ChunkOptions, Filter, InputFile, MAX_TABLE_ROWS, ParseFilterError, Place, Pruning, ReadError};
pub use sketch::{Sketch, SketchInput, SketchedSource, sketch};
pub use spine::Spine;
pub use storage::{Object, Objects, Storage, url_of};
pub use survey::{Survey, SurveyedColumn};
pub use table::{ColumnRequest, Table, TableChunk, TableChunks, TableSource};
pub use training_set::TrainingSet;
