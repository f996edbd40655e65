//! What the benches of the snapshot share: how rows, keys and questions are made, what a machine can do at best, and how
//! noise is kept out of ratios.
//!
//! - [`RowShape`], [`EncodedKeys`], [`entity_id`], [`value`]: rows that are a function of their number
//! - [`Sample`]: the questions, some of them about keys that no row has
//! - [`Machine`]: one dependent memory miss, and the greatest rate of reading random rows, in memory like that of the rows
//! - [`Measure`], [`Figures`]: measures that take turns; medians, and medians of the ratios within a turn
//! - [`Report`], [`Table`]: one table for people, one JSON object a line for programs
//!
//! Every bench checks its answers before it measures, and runs on one thread.

mod arguments;
mod machine;
mod memory;
mod prefetch;
mod report;
mod rounds;
mod rows;
mod sample;

pub use arguments::Arguments;
pub use machine::{Machine, SCHEMES, Scheme};
pub use memory::{Memory, Pages, huge_bytes, processor};
pub use prefetch::prefetch;
pub use report::{Figure, Report, Table};
pub use rounds::{Figures, Measure, ns_each};
pub use rows::{
    EncodedKeys, KeyKind, RowShape, entity_id, entity_name, open_snapshot, snapshot_key, value, write_snapshot,
};
pub use sample::{Random, Sample, Turns};
