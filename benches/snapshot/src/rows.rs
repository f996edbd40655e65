use std::error::Error;
use std::path::Path;

use unskew_frame::{ColumnType, Value};
use unskew_snapshot::{
    Backing, EntityKey, EventTime, FeatureColumn, KeyColumn, KeyPart, KeyRef, KeyType, OpenError, OpenOptions,
    Snapshot, SnapshotSchema, SnapshotWriter, WriteOptions, Written,
};

use crate::Pages;
use crate::sample::mix;

/// The time of every row.
const EVENT_TIME: EventTime = EventTime(1_700_000_000_000_000);
/// The letters of an [`entity_name`].
const NAME_BYTES: usize = 20;

/// The i64 key of a row: different for different rows, in no order.
#[inline]
pub const fn entity_id(row: u64) -> i64 {
    mix(row).cast_signed()
}

/// The string key of a row, of 20 bytes.
pub fn entity_name(row: u64) -> String {
    format!("user{:016x}", entity_id(row))
}

/// The value of a feature in a row: a whole number, so that it is the same in any format.
#[inline]
pub const fn value(row: u64, feature: usize) -> f64 {
    (mix(row ^ mix(feature as u64)) >> 12) as f64
}

/// The key of a row as a snapshot takes it.
pub fn snapshot_key(kind: KeyKind, row: u64) -> EntityKey {
    let name;
    let part = match kind {
        KeyKind::I64 => KeyPart::I64(entity_id(row)),
        KeyKind::String => {
            name = entity_name(row);
            KeyPart::String(&name)
        }
    };
    EntityKey::new(&[part]).expect("the key is short")
}

/// The keys of the benches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum KeyKind {
    /// An integer.
    I64,
    /// 20 bytes of text.
    String,
}

impl KeyKind {
    /// Its name in tables and figures.
    pub fn name(self) -> &'static str {
        match self {
            Self::I64 => "i64",
            Self::String => "string",
        }
    }

    /// The bytes of the key itself, without tag and length.
    pub fn key_bytes(self) -> usize {
        match self {
            Self::I64 => size_of::<i64>(),
            Self::String => NAME_BYTES,
        }
    }
}

/// The rows of a table: a key, an event time, a word of presence bits, and as many f64 features as there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowShape {
    /// The kind of key.
    pub key: KeyKind,
    /// The width of a row that has all of these in it: 64 leaves 5 features with an i64, 3 with a string.
    pub row_bytes: usize,
}

impl RowShape {
    /// The features.
    pub fn feature_count(self) -> usize {
        let fixed_bytes = self.key.key_bytes().next_multiple_of(8) + 16;
        self.row_bytes.saturating_sub(fixed_bytes) / 8
    }

    /// The least that must be stored of a row: its key, its event time, its values.
    pub fn payload_bytes(self) -> usize {
        self.key.key_bytes() + 8 + 8 * self.feature_count()
    }

    fn schema(self) -> SnapshotSchema {
        let key_type = match self.key {
            KeyKind::I64 => KeyType::I64,
            KeyKind::String => KeyType::String,
        };
        let feature = |index| FeatureColumn::new(format!("f{index}"), ColumnType::F64);
        SnapshotSchema {
            view: "rows".into(),
            key: vec![KeyColumn::new("key", key_type)],
            features: (0..self.feature_count()).map(feature).collect(),
            ttl: None,
        }
    }
}

/// Pushes the rows 0, 1, 2… of these keys, which are in no order, and calls `pushed` before the file is finished.
///
/// # Errors
/// The file cannot be written.
pub fn write_snapshot(
    path: &Path,
    shape: RowShape,
    keys: &EncodedKeys,
    pushed: impl FnOnce(),
) -> Result<Written, Box<dyn Error>> {
    let mut writer = SnapshotWriter::create(path, WriteOptions::new(shape.schema(), EVENT_TIME))?;
    let mut values = vec![Value::Null; shape.feature_count()];
    for (row, key) in (0..).zip(keys.iter()) {
        for (feature, slot) in values.iter_mut().enumerate() {
            *slot = Value::F64(value(row, feature));
        }
        writer.push(key, EVENT_TIME, None, &values)?;
    }
    pushed();
    Ok(writer.finish()?)
}

/// Opens a snapshot as a server does: huge pages are those of a private copy, small ones those of the file.
///
/// # Errors
/// It is no whole snapshot, or there is no memory for a copy.
pub fn open_snapshot(path: &Path, pages: Pages) -> Result<Snapshot, OpenError> {
    let backing = match pages {
        Pages::Small => Backing::File,
        Pages::Huge => Backing::Private,
    };
    let options = OpenOptions {
        backing,
        ..OpenOptions::default()
    };
    Snapshot::open_with(path, &options, &mut |_| {})
}

/// The keys of many rows in a snapshot's encoding, one behind the other: to read them is no memory miss.
pub struct EncodedKeys {
    bytes: Vec<u8>,
    stride: usize,
}

impl EncodedKeys {
    /// The keys of these rows.
    pub fn new(kind: KeyKind, rows: impl IntoIterator<Item = u64>) -> Self {
        let mut bytes = Vec::new();
        for row in rows {
            bytes.extend_from_slice(snapshot_key(kind, row).as_bytes());
        }
        let stride = snapshot_key(kind, 0).as_bytes().len();
        Self { bytes, stride }
    }

    /// As a lookup and a writer take them.
    pub fn iter(&self) -> impl Iterator<Item = KeyRef<'_>> {
        let key = |bytes| KeyRef::from_bytes(bytes).expect("an encoded key");
        self.bytes.chunks_exact(self.stride).map(key)
    }
}
