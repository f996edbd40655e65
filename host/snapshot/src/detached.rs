use unskew_frame::Value;

use crate::row::Row;
use crate::row_layout::put_event_time_us;
use crate::{EntityKey, EventTime, KeyRef, MAX_VALUE_BYTES, Snapshot};

/// A row of a snapshot's schema that is not in the snapshot, because it is newer. It has the layout of the snapshot's rows, so
/// whatever reads those reads it.
///
/// ```
/// use unskew_frame::{ColumnType, Value};
/// use unskew_snapshot::{
///     DetachedRow, EntityKey, EventTime, FeatureColumn, KeyColumn, KeyPart, KeyType, Snapshot, SnapshotSchema,
///     SnapshotWriter, WriteOptions,
/// };
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("users.snapshot");
/// let schema = SnapshotSchema {
///     view: "users".into(),
///     key: vec![KeyColumn::new("user_id", KeyType::I64)],
///     features: vec![FeatureColumn::new("ctr", ColumnType::F64)],
///     ttl: None,
/// };
/// SnapshotWriter::create(&path, WriteOptions::new(schema, EventTime(100)))?.finish()?;
/// let snapshot = Snapshot::open(&path)?;
///
/// let key = EntityKey::new(&[KeyPart::I64(7)])?;
/// let newer = DetachedRow::new(&snapshot, key.as_ref(), EventTime(120), &[Value::F64(0.5)]).ok_or("it fits")?;
/// let row = newer.row(&snapshot);
/// assert_eq!((row.key(), row.event_time(), row.f64(0)), (key.as_ref(), EventTime(120), 0.5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetachedRow {
    /// Beside the row, whose place for keys is as wide as the snapshot's keys need.
    key: EntityKey,
    /// Aligned like the rows of a snapshot.
    words: Box<[u64]>,
    heap: Box<[u8]>,
}

impl DetachedRow {
    /// The row of these values, in the order of the schema. `None` where the key, the number of values, a type or the length of a
    /// value ([`MAX_VALUE_BYTES`]) is none that the snapshot could hold.
    pub fn new(snapshot: &Snapshot, key: KeyRef<'_>, event_time: EventTime, values: &[Value<'_>]) -> Option<Self> {
        let layout = &snapshot.layout;
        let schema = snapshot.schema();
        let has_length = |value: &Value<'_>| match value {
            Value::String(text) => text.len() <= MAX_VALUE_BYTES,
            Value::Bytes(bytes) => bytes.len() <= MAX_VALUE_BYTES,
            _ => true,
        };
        let fits = values.len() == schema.features.len()
            && values.iter().all(has_length)
            && key.has_types(&schema.key_types());
        if !fits {
            return None;
        }
        let mut words = vec![0_u64; layout.row_bytes().div_ceil(8)];
        let row: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
        let mut heap = Vec::new();
        put_event_time_us(row, event_time.as_micros());
        let mut features = values.iter().enumerate();
        let is_written = features.all(|(feature, value)| layout.put_value(row, &mut heap, feature, value));
        is_written.then(|| Self {
            key: key.to_entity_key(),
            words: words.into(),
            heap: heap.into(),
        })
    }

    /// The row, to be read. It is of the schema of `snapshot`, which it was made for.
    ///
    /// # Panics
    /// The rows of `snapshot` are of another width: it is another one.
    #[inline]
    pub fn row<'a>(&'a self, snapshot: &'a Snapshot) -> Row<'a> {
        let bytes: &[u8] = bytemuck::cast_slice(&self.words);
        let row_bytes = snapshot.layout.row_bytes();
        assert!(
            bytes.len() == row_bytes,
            "a row of {} bytes for {row_bytes}",
            bytes.len()
        );
        Row::detached(snapshot, bytes, self)
    }

    pub(crate) fn key(&self) -> KeyRef<'_> {
        self.key.as_ref()
    }

    pub(crate) fn heap(&self) -> &[u8] {
        &self.heap
    }

    /// The memory that it takes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.key.as_bytes().len() + size_of_val(&*self.words) + self.heap.len()
    }
}

#[cfg(test)]
mod tests;
