//! Immutable memory-mapped feature snapshots, and the rules of time and identity that a batch backfill and a serving host
//! share: one implementation each, called by both.
//!
//! - [`EventTime`], [`Ttl`], [`is_alive`]: time, in microseconds UTC, always an argument
//! - [`is_visible`], [`is_event_visible`], [`compare_versions`]: the as-of rule
//! - [`Status`], [`row_status`]: what became of a value that was asked for
//! - [`EntityKey`], [`KeyRef`]: one encoding and one hash of entity keys
//! - [`SnapshotSchema`], [`SnapshotMeta`]: what a snapshot is of
//! - [`SnapshotWriter`]: rows in any order into a file with the same bytes
//! - [`Snapshot`], [`Row`]: a file opened with a full check, and its lookups; [`DetachedRow`]: a row that is newer
//! - [`Layers`]: a snapshot and the deltas on it, read as one and compacted into one
//! - [`diff`]: what differs between two files, key by key
//!
//! The file is drawn byte by byte in docs/snapshot-format.md.
//!
//! ```
//! use unskew_frame::{ColumnType, Value};
//! use unskew_snapshot::{
//!     EntityKey, EventTime, FeatureColumn, KeyColumn, KeyPart, KeyType, Snapshot, SnapshotSchema, SnapshotWriter, Status,
//!     Ttl, WriteOptions, parse_duration_us,
//! };
//!
//! let schema = SnapshotSchema {
//!     view: "item_ctr".into(),
//!     key: vec![KeyColumn::new("item", KeyType::String)],
//!     features: vec![FeatureColumn::new("ctr_7d", ColumnType::F64)],
//!     ttl: Some(Ttl::from_micros(parse_duration_us("7d")?)),
//! };
//! let watermark = EventTime::parse_rfc3339("2024-01-15").ok_or("not a time")?;
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("item_ctr-2024-01-15.snapshot");
//!
//! let mut writer = SnapshotWriter::create(&path, WriteOptions::new(schema, watermark))?;
//! let key = EntityKey::new(&[KeyPart::String("shoe-42")])?;
//! writer.push(key.as_ref(), watermark, None, &[Value::F64(0.03)])?;
//! assert_eq!(writer.finish()?.row_count, 1);
//!
//! let snapshot = Snapshot::open(&path)?;
//! let row = snapshot.get(key.as_ref()).ok_or("not found")?;
//! assert_eq!(row.f64(0), 0.03);
//! let at = |text| EventTime::parse_rfc3339(text).unwrap();
//! assert_eq!(row.status(at("2024-01-22T00:00:00Z")), Status::Present);
//! assert_eq!(row.status(at("2024-01-22T00:00:00.000001Z")), Status::Expired);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod asof;
mod census;
mod chunk;
mod delta;
mod detached;
mod diff;
mod duration;
mod entity_keys;
mod error;
mod file;
mod filter;
mod header;
mod index;
mod iter;
mod key;
mod late;
mod layers;
mod lookup;
mod map;
mod merge;
mod metadata;
mod open_options;
mod output;
mod parallel;
mod placement;
mod prefetch;
mod record;
mod resolve;
mod row;
mod row_layout;
mod schema;
mod snapshot;
mod sorter;
mod spill;
mod status;
mod time;
mod verify;
mod writer;

pub use asof::{
    Version, compare_versions, decode_row, encode_row, event_visible_from, is_event_visible, is_visible, visible_from,
};
pub use delta::{DeltaOf, MAX_DELTAS};
pub use detached::DetachedRow;
pub use diff::{DiffError, FeatureDiff, KeyDiff, SnapshotDiff, diff};
pub use duration::{ParseDurationError, format_duration_us, parse_duration_us};
pub use entity_keys::EntityKeys;
pub use error::{OpenError, WriteError};
pub use header::{FORMAT_VERSION, MAX_ROWS, Section};
pub use key::{EntityKey, HashedKey, KeyError, KeyPart, KeyRef, KeyType, MAX_KEY_BYTES, ParseKeyTypeError};
pub use late::LateEvents;
pub use layers::{DeltaError, Layer, LayerError, LayerFlaw, Layers};
pub use open_options::{Backing, OpenOptions, OpenProgress, OpenStage, Residency};
pub use prefetch::prefetch_value;
pub use row::Row;
pub use schema::{
    FeatureColumn, FeatureStatistics, KeyColumn, MAX_FEATURES, MAX_KEY_COLUMNS, MAX_NAME_BYTES, MAX_ROW_BYTES,
    MAX_VALUE_BYTES, SchemaError, SnapshotMeta, SnapshotSchema,
};
pub use snapshot::{RowIndex, Snapshot};
pub use status::{Status, row_status};
pub use time::{
    EventTime, Lateness, MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND, Ttl, is_alive, is_late,
};
pub use writer::{
    DEFAULT_MEMORY_BUDGET_BYTES, DuplicateKeys, SnapshotWriter, WriteOptions, WriteProgress, WriteStage, Written,
};
