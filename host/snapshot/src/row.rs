use core::ops::Range;

use unskew_frame::{ColumnType, Value};

use crate::detached::DetachedRow;
use crate::prefetch::{PREFETCH_BYTES, prefetch_lines};
use crate::row_layout::{Extent, REMOVED, RowLayout, event_time_us, text};
use crate::{EventTime, KeyRef, RowIndex, Snapshot, Status, row_status};

/// A row of a snapshot, read in place, or a [`DetachedRow`] of its schema.
///
/// # Panics
/// The accessors panic on a feature that the schema does not have, and on a type that is not the feature's: both are mistakes
/// of the caller, who has checked the schema.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    snapshot: &'a Snapshot,
    index: RowIndex,
    bytes: &'a [u8],
    /// What has the row, if it is not in the snapshot.
    outside: Option<&'a DetachedRow>,
}

/// The index of rows that are in no snapshot: no slot's.
const NO_INDEX: RowIndex = RowIndex::new(u32::MAX);

impl<'a> Row<'a> {
    #[inline]
    pub(crate) fn new(snapshot: &'a Snapshot, index: RowIndex, bytes: &'a [u8]) -> Self {
        Self {
            snapshot,
            index,
            bytes,
            outside: None,
        }
    }

    #[inline]
    pub(crate) fn detached(snapshot: &'a Snapshot, bytes: &'a [u8], outside: &'a DetachedRow) -> Self {
        Self {
            snapshot,
            index: NO_INDEX,
            bytes,
            outside: Some(outside),
        }
    }

    /// The number of the row in its snapshot; of a row that is in none, a number that none of its rows has.
    pub fn index(&self) -> RowIndex {
        self.index
    }

    /// Asks for all of the row, and waits for nothing: for a row that is read soon and is wider than lookups ask for.
    #[inline]
    pub fn prefetch(&self) {
        prefetch_lines(self.bytes);
    }

    /// Asks for the first lines of bytes, which are not in the row, and waits for the row alone.
    #[inline]
    pub fn prefetch_bytes(&self, feature: usize) {
        let bytes = self.bytes(feature);
        prefetch_lines(&bytes[..bytes.len().min(PREFETCH_BYTES)]);
    }

    /// The entity key.
    pub fn key(&self) -> KeyRef<'a> {
        match self.outside {
            None => KeyRef::from_verified(self.snapshot.key_bytes(self.bytes)),
            Some(outside) => outside.key(),
        }
    }

    /// Whether this is no row but a key that a delta removes: it has neither a time nor values.
    #[inline]
    pub fn is_removed(&self) -> bool {
        self.snapshot.layout.flags(self.bytes) & REMOVED != 0
    }

    /// When the row's values happened.
    #[inline]
    pub fn event_time(&self) -> EventTime {
        EventTime(event_time_us(self.bytes))
    }

    /// Whether the row may be used at `at`, by the TTL of its view.
    #[inline]
    pub fn status(&self, at: EventTime) -> Status {
        row_status(self.event_time(), self.snapshot.meta.schema.ttl, at)
    }

    /// Whether there is a value to be used at `at`: the row's status, or that the value is null.
    #[inline]
    pub fn value_status(&self, feature: usize, at: EventTime) -> Status {
        match self.status(at) {
            Status::Present if !self.is_present(feature) => Status::Null,
            status => status,
        }
    }

    /// Whether the value is there; else it is null.
    #[inline]
    pub fn is_present(&self, feature: usize) -> bool {
        self.snapshot.layout.is_present(self.bytes, feature)
    }

    /// The value, of whatever type.
    pub fn value(&self, feature: usize) -> Value<'a> {
        let layout = &self.snapshot.layout;
        layout.value(self.bytes, self.heap(), feature)
    }

    /// The values of all features, in order.
    pub fn values(self) -> impl ExactSizeIterator<Item = Value<'a>> {
        (0..self.snapshot.layout.feature_count()).map(move |feature| self.value(feature))
    }

    /// The f64; 0.0 where it is null.
    #[inline]
    pub fn f64(&self, feature: usize) -> f64 {
        f64::from_bits(self.word(feature, ColumnType::F64))
    }

    /// A bit for each of the 64 features from `64 * word` on that is null, the lowest bit for the first.
    #[inline]
    pub fn null_bits(&self, word: usize) -> u64 {
        self.snapshot.layout.null_bits(self.bytes, word)
    }

    /// The f64s of features one after the other in the schema, all of this type, as they lie in the row: one check for all of
    /// them. 0.0 where one is null.
    #[inline]
    pub fn f64s(&self, features: Range<usize>) -> &'a [f64] {
        self.snapshot.layout.run(self.bytes, features, ColumnType::F64)
    }

    /// The f32s of features one after the other in the schema: see [`f64s`](Self::f64s).
    #[inline]
    pub fn f32s(&self, features: Range<usize>) -> &'a [f32] {
        self.snapshot.layout.run(self.bytes, features, ColumnType::F32)
    }

    /// The i64s of features one after the other in the schema: see [`f64s`](Self::f64s). 0 where one is null.
    #[inline]
    pub fn i64s(&self, features: Range<usize>) -> &'a [i64] {
        self.snapshot.layout.run(self.bytes, features, ColumnType::I64)
    }

    /// The f32; 0.0 where it is null.
    #[inline]
    pub fn f32(&self, feature: usize) -> f32 {
        f32::from_bits(self.snapshot.layout.half(self.bytes, feature))
    }

    /// The i64; 0 where it is null.
    #[inline]
    pub fn i64(&self, feature: usize) -> i64 {
        self.word(feature, ColumnType::I64).cast_signed()
    }

    /// The microseconds of a timestamp; 0 where it is null.
    #[inline]
    pub fn timestamp(&self, feature: usize) -> i64 {
        self.word(feature, ColumnType::Timestamp).cast_signed()
    }

    /// The bool; false where it is null.
    #[inline]
    pub fn bool(&self, feature: usize) -> bool {
        self.snapshot.layout.bool(self.bytes, feature)
    }

    /// The text; empty where it is null.
    #[inline]
    pub fn str(&self, feature: usize) -> &'a str {
        text(self.slice(feature, ColumnType::String))
    }

    /// The bytes; empty where they are null.
    #[inline]
    pub fn bytes(&self, feature: usize) -> &'a [u8] {
        self.slice(feature, ColumnType::Bytes)
    }

    /// The vector; zeros where it is null.
    #[inline]
    pub fn vector(&self, feature: usize) -> &'a [f32] {
        self.snapshot.layout.vector(self.bytes, feature)
    }

    /// Copies the row into a zeroed one of `layout`, and its strings and bytes behind `heap`.
    pub(crate) fn copy_to(&self, layout: &RowLayout, row: &mut [u8], heap: &mut Vec<u8>) {
        layout.copy_values(row, &self.snapshot.layout, self.bytes);
        for feature in layout.variable_features() {
            if let Some(extent) = layout.extent(row, feature).filter(|_| layout.is_present(row, feature)) {
                layout.put_extent(row, feature, Extent::append(heap, extent.slice(self.heap())));
            }
        }
    }

    #[inline]
    fn word(&self, feature: usize, column_type: ColumnType) -> u64 {
        self.snapshot.layout.word(self.bytes, feature, column_type)
    }

    #[inline]
    fn slice(&self, feature: usize, column_type: ColumnType) -> &'a [u8] {
        let layout = &self.snapshot.layout;
        layout.slice(self.bytes, self.heap(), feature, column_type)
    }

    #[inline]
    fn heap(&self) -> &'a [u8] {
        match self.outside {
            None => self.snapshot.heap(),
            Some(outside) => outside.heap(self.bytes.len()),
        }
    }
}
