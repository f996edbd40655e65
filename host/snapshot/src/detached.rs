use std::sync::Arc;

use unskew_frame::Value;

use crate::prefetch::{LINE_BYTES, PREFETCH_BYTES, prefetch};
use crate::row::Row;
use crate::row_layout::put_event_time_us;
use crate::{EventTime, KeyRef, MAX_VALUE_BYTES, Snapshot};

/// A row of a snapshot's schema that is not in the snapshot, because it is newer. It has the layout of the snapshot's rows, so
/// whatever reads those reads it. A clone shares its memory.
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
    /// The row, aligned like those of a snapshot; its heap; its key, for the row's own place for keys is only as wide as the
    /// snapshot's need. All in one piece, so that a reader waits for memory once.
    words: Arc<[u64]>,
    /// Where the heap and the key end, in bytes; the key begins where the heap ends.
    heap_end: usize,
    key_end: usize,
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
        let heap_end = layout.row_bytes() + heap.len();
        let key_end = heap_end + key.as_bytes().len();
        words.resize(key_end.div_ceil(8), 0);
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
        bytes[layout.row_bytes()..heap_end].copy_from_slice(&heap);
        bytes[heap_end..key_end].copy_from_slice(key.as_bytes());
        is_written.then(|| Self {
            words: words.into(),
            heap_end,
            key_end,
        })
    }

    /// The row, to be read. It is of the schema of `snapshot`, which it was made for.
    ///
    /// # Panics
    /// The rows of `snapshot` are wider: it is another one.
    #[inline]
    pub fn row<'a>(&'a self, snapshot: &'a Snapshot) -> Row<'a> {
        let row_bytes = snapshot.layout.row_bytes();
        let row = self.bytes_to(self.heap_end).get(..row_bytes).unwrap_or_default();
        assert!(
            row.len() == row_bytes,
            "a row of another snapshot, narrower than {row_bytes} bytes"
        );
        Row::detached(snapshot, row, self)
    }

    /// Asks for the first lines of the row, and waits for nothing.
    #[inline]
    pub fn prefetch(&self) {
        let bytes = self.bytes_to(self.key_end);
        for offset in (0..bytes.len().min(PREFETCH_BYTES)).step_by(LINE_BYTES) {
            prefetch(bytes, offset);
        }
    }

    /// What is behind a row of so many bytes.
    #[inline]
    pub(crate) fn heap(&self, row_bytes: usize) -> &[u8] {
        self.bytes_to(self.heap_end).get(row_bytes..).unwrap_or_default()
    }

    pub(crate) fn key(&self) -> KeyRef<'_> {
        KeyRef::from_verified(&self.bytes_to(self.key_end)[self.heap_end..])
    }

    #[inline]
    fn bytes_to(&self, end: usize) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..end]
    }

    /// The memory that it takes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.words)
    }
}

#[cfg(test)]
mod tests;
