use core::ops::Range;

use unskew_frame::{ColumnType, Value, canonical_f32, canonical_f64};

use crate::header::{u32_at, u64_at};
use crate::index::ALTERNATIVES;
use crate::schema::{FeatureColumn, MAX_ROW_BYTES, MAX_VALUE_BYTES};

const EVENT_TIME_OFFSET: usize = 0;
pub(crate) const KEY_OFFSET: usize = 8;

/// The bits of the flags of a row; below them, the mask of the home: which alternatives hold keys of this home.
pub(crate) const OCCUPIED: u8 = 1 << 7;
pub(crate) const LONG_KEY: u8 = 1 << 6;
pub(crate) const REMOVED: u8 = 1 << 5;
pub(crate) const MASK: u8 = (1 << (ALTERNATIVES - 1)) - 1;

// The mask and the flags share a byte.
const _: () = assert!(MASK & (OCCUPIED | LONG_KEY | REMOVED) == 0);

/// Where a row's parts are: event time, key, flags, presence bits, then the values in falling order of alignment.
#[derive(Clone, Debug)]
pub(crate) struct RowLayout {
    slots: Box<[Slot]>,
    /// The features whose values are in the heap.
    variable: Box<[usize]>,
    /// The width of the place for the key.
    key_bytes: usize,
    /// Where the values begin; zeros between the presence bits and here.
    values_offset: usize,
    /// Behind the last value; zeros from here to `row_bytes`.
    used_bytes: usize,
    row_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    column_type: ColumnType,
    offset: usize,
    /// Behind the last of the features in a row, from this one on, that are of its type: their values lie side by side.
    run_end: usize,
}

impl RowLayout {
    /// The layout of these features behind a key of `key_bytes`; `None` when a row is wider than [`MAX_ROW_BYTES`].
    pub(crate) fn new(features: &[FeatureColumn], key_bytes: usize) -> Option<Self> {
        let mut slots: Box<[Slot]> = features
            .iter()
            .map(|feature| Slot {
                column_type: feature.column_type,
                offset: 0,
                run_end: 0,
            })
            .collect();
        for index in (0..slots.len()).rev() {
            slots[index].run_end = match slots.get(index + 1) {
                Some(next) if next.column_type == slots[index].column_type => next.run_end,
                _ => index + 1,
            };
        }
        let values_offset = (KEY_OFFSET + key_bytes + 1 + features.len().div_ceil(8)).checked_next_multiple_of(8)?;
        let mut end = values_offset;
        for align in [8, 4, 1] {
            for slot in &mut slots {
                let (slot_align, slot_bytes) = extent(slot.column_type);
                if slot_align == align {
                    slot.offset = end;
                    end = end.checked_add(slot_bytes)?;
                }
            }
        }
        let row_bytes = end.checked_next_multiple_of(8)?;
        (row_bytes <= MAX_ROW_BYTES).then_some(Self {
            variable: (0..slots.len())
                .filter(|index| slots[*index].column_type.is_variable())
                .collect(),
            slots,
            key_bytes,
            values_offset,
            used_bytes: end,
            row_bytes,
        })
    }

    #[inline]
    pub(crate) fn key_bytes(&self) -> usize {
        self.key_bytes
    }

    /// Where the flags are: what a lookup must read of a row ends here.
    #[inline]
    pub(crate) fn flags_offset(&self) -> usize {
        KEY_OFFSET + self.key_bytes
    }

    #[inline]
    pub(crate) fn flags(&self, row: &[u8]) -> u8 {
        row.get(self.flags_offset()).copied().unwrap_or(0)
    }

    pub(crate) fn set_flags(&self, row: &mut [u8], flags: u8) {
        row[KEY_OFFSET + self.key_bytes] |= flags;
    }

    /// The place for the key.
    #[inline]
    pub(crate) fn key_slot<'a>(&self, row: &'a [u8]) -> &'a [u8] {
        row.get(KEY_OFFSET..KEY_OFFSET + self.key_bytes).unwrap_or(&[])
    }

    /// Puts a key that fits its place.
    pub(crate) fn put_key(row: &mut [u8], key: &[u8]) {
        put(row, KEY_OFFSET, key);
    }

    /// Whether the place for the key, which is not a long one's, holds `key`. Behind a key are zeros, and no part of a key
    /// begins with one, so neither a longer nor a shorter key has the same bytes.
    #[inline]
    pub(crate) fn holds_key(&self, row: &[u8], key: &[u8]) -> bool {
        let slot = self.key_slot(row);
        match slot.split_at_checked(key.len()) {
            Some((head, rest)) => is_equal(head, key) & rest.first().is_none_or(|byte| *byte == 0),
            None => false,
        }
    }

    /// Copies the event time, the presence bits and the values from a row of the same features in another layout.
    pub(crate) fn copy_values(&self, row: &mut [u8], from: &Self, source: &[u8]) {
        let presence = |layout: &Self| layout.flags_offset() + 1;
        let presence_bytes = self.slots.len().div_ceil(8);
        put(row, EVENT_TIME_OFFSET, &source[..KEY_OFFSET]);
        put(
            row,
            presence(self),
            &source[presence(from)..presence(from) + presence_bytes],
        );
        put(row, self.values_offset, &source[from.values_offset..from.used_bytes]);
    }

    #[inline]
    pub(crate) fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    pub(crate) fn feature_count(&self) -> usize {
        self.slots.len()
    }

    /// Whether all bytes and presence bits of a row are zero that no value has.
    pub(crate) fn is_padding_zero(&self, row: &[u8]) -> bool {
        let presence = self.flags_offset() + 1;
        let spare_bits = match self.slots.len() % 8 {
            0 => 0,
            used => row.get(presence + self.slots.len() / 8).map_or(0, |byte| byte >> used),
        };
        let is_zero = |range: Range<usize>| row.get(range).is_some_and(|bytes| bytes.iter().all(|b| *b == 0));
        spare_bits == 0
            && is_zero(presence + self.slots.len().div_ceil(8)..self.values_offset)
            && is_zero(self.used_bytes..self.row_bytes)
    }

    /// The features whose values are in the heap.
    pub(crate) fn variable_features(&self) -> impl Iterator<Item = usize> + '_ {
        self.variable.iter().copied()
    }

    /// Where the variable-length value of a feature is, if it has such.
    pub(crate) fn extent(&self, row: &[u8], feature: usize) -> Option<Extent> {
        let slot = self.slots[feature];
        slot.column_type
            .is_variable()
            .then(|| Extent::unpack(u64_at(row, slot.offset)))
    }

    pub(crate) fn put_extent(&self, row: &mut [u8], feature: usize, extent: Extent) {
        put(row, self.slots[feature].offset, &extent.pack());
    }

    /// The bytes of a row that hold the value of a feature.
    pub(crate) fn slot_bytes<'a>(&self, row: &'a [u8], feature: usize) -> &'a [u8] {
        let slot = self.slots[feature];
        let (_, slot_bytes) = extent(slot.column_type);
        row.get(slot.offset..slot.offset + slot_bytes).unwrap_or(&[])
    }

    pub(crate) fn column_type(&self, feature: usize) -> ColumnType {
        self.slots[feature].column_type
    }

    #[inline]
    pub(crate) fn is_present(&self, row: &[u8], feature: usize) -> bool {
        assert!(feature < self.slots.len(), "feature {feature} of {}", self.slots.len());
        let byte = row.get(self.flags_offset() + 1 + feature / 8);
        byte.is_some_and(|byte| byte >> (feature % 8) & 1 == 1)
    }

    /// A bit for each of the 64 features from `64 * word` on that is null.
    #[inline]
    pub(crate) fn null_bits(&self, row: &[u8], word: usize) -> u64 {
        let start = self.flags_offset() + 1 + 8 * word;
        let present = match row.get(start..).and_then(|bytes| bytes.first_chunk()) {
            Some(bytes) => u64::from_le_bytes(*bytes),
            // A row may end within the word.
            None => {
                let rest = row.get(start..).unwrap_or(&[]).iter();
                rest.rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
            }
        };
        match self.slots.len().saturating_sub(64 * word) {
            0 => 0,
            count @ 1..64 => !present & ((1 << count) - 1),
            _ => !present,
        }
    }

    /// The 8 bytes of a value of this type.
    #[inline]
    pub(crate) fn word(&self, row: &[u8], feature: usize, column_type: ColumnType) -> u64 {
        u64_at(row, self.offset_of(feature, column_type))
    }

    /// The 4 bytes of an f32.
    #[inline]
    pub(crate) fn half(&self, row: &[u8], feature: usize) -> u32 {
        u32_at(row, self.offset_of(feature, ColumnType::F32))
    }

    #[inline]
    pub(crate) fn bool(&self, row: &[u8], feature: usize) -> bool {
        let offset = self.offset_of(feature, ColumnType::Bool);
        row.get(offset).is_some_and(|byte| *byte != 0)
    }

    /// The bytes of a string or of bytes; empty where the file has changed under its mapping.
    #[inline]
    pub(crate) fn slice<'a>(&self, row: &[u8], heap: &'a [u8], feature: usize, column_type: ColumnType) -> &'a [u8] {
        Extent::unpack(u64_at(row, self.offset_of(feature, column_type))).slice(heap)
    }

    #[inline]
    pub(crate) fn vector<'a>(&self, row: &'a [u8], feature: usize) -> &'a [f32] {
        let column_type = self.slots[feature].column_type;
        assert!(
            matches!(column_type, ColumnType::Vector(_)),
            "a vector was read from a feature of {column_type}"
        );
        bytemuck::try_cast_slice(self.slot_bytes(row, feature)).unwrap_or(&[])
    }

    /// The values of features side by side that are all of this type; `T` is as wide.
    #[inline]
    pub(crate) fn run<'a, T: bytemuck::AnyBitPattern>(
        &self,
        row: &'a [u8],
        features: Range<usize>,
        column_type: ColumnType,
    ) -> &'a [T] {
        if features.is_empty() {
            return &[];
        }
        let offset = self.offset_of(features.start, column_type);
        let run_end = self.slots[features.start].run_end;
        assert!(features.end <= run_end, "feature {run_end} is no {column_type}");
        let bytes = row.get(offset..offset + size_of::<T>() * features.len()).unwrap_or(&[]);
        bytemuck::try_cast_slice(bytes).unwrap_or(&[])
    }

    /// The value of a feature, of whatever type.
    pub(crate) fn value<'a>(&self, row: &'a [u8], heap: &'a [u8], feature: usize) -> Value<'a> {
        if !self.is_present(row, feature) {
            return Value::Null;
        }
        let column_type = self.slots[feature].column_type;
        match column_type {
            ColumnType::F64 => Value::F64(f64::from_bits(self.word(row, feature, column_type))),
            ColumnType::F32 => Value::F32(f32::from_bits(self.half(row, feature))),
            ColumnType::I64 => Value::I64(self.word(row, feature, column_type).cast_signed()),
            ColumnType::Timestamp => Value::Timestamp(self.word(row, feature, column_type).cast_signed()),
            ColumnType::Bool => Value::Bool(self.bool(row, feature)),
            ColumnType::String => Value::String(text(self.slice(row, heap, feature, column_type))),
            ColumnType::Bytes => Value::Bytes(self.slice(row, heap, feature, column_type)),
            ColumnType::Vector(_) => Value::Vector(self.vector(row, feature)),
        }
    }

    /// Writes a value into a zeroed row and its bytes behind `heap`; `false`, and nothing written, if the value is of
    /// another type than the feature.
    pub(crate) fn put_value(&self, row: &mut [u8], heap: &mut Vec<u8>, feature: usize, value: &Value<'_>) -> bool {
        let Slot {
            column_type, offset, ..
        } = self.slots[feature];
        match (column_type, value) {
            (_, Value::Null) => return true,
            (ColumnType::F64, Value::F64(v)) => {
                put(row, offset, &canonical_f64(*v).to_le_bytes());
            }
            (ColumnType::F32, Value::F32(v)) => {
                put(row, offset, &canonical_f32(*v).to_le_bytes());
            }
            (ColumnType::I64, Value::I64(v)) | (ColumnType::Timestamp, Value::Timestamp(v)) => {
                put(row, offset, &v.to_le_bytes());
            }
            (ColumnType::Bool, Value::Bool(v)) => put(row, offset, &[u8::from(*v)]),
            (ColumnType::String, Value::String(v)) => {
                put(row, offset, &Extent::append(heap, v.as_bytes()).pack());
            }
            (ColumnType::Bytes, Value::Bytes(v)) => {
                put(row, offset, &Extent::append(heap, v).pack());
            }
            (ColumnType::Vector(len), Value::Vector(v)) if v.len() == len as usize => {
                for (index, element) in v.iter().enumerate() {
                    put(row, offset + 4 * index, &canonical_f32(*element).to_le_bytes());
                }
            }
            _ => return false,
        }
        row[self.flags_offset() + 1 + feature / 8] |= 1 << (feature % 8);
        true
    }

    #[inline]
    fn offset_of(&self, feature: usize, column_type: ColumnType) -> usize {
        let slot = self.slots[feature];
        assert!(
            slot.column_type == column_type,
            "a {column_type} was read from a feature of {}",
            slot.column_type
        );
        slot.offset
    }
}

#[inline]
pub(crate) fn event_time_us(row: &[u8]) -> i64 {
    u64_at(row, EVENT_TIME_OFFSET).cast_signed()
}

pub(crate) fn put_event_time_us(row: &mut [u8], micros: i64) {
    put(row, EVENT_TIME_OFFSET, &micros.to_le_bytes());
}

/// Where the long key of a row is in the keys.
#[inline]
pub(crate) fn key_extent(row: &[u8]) -> Extent {
    Extent::unpack(u64_at(row, KEY_OFFSET))
}

pub(crate) fn put_key_extent(row: &mut [u8], extent: Extent) {
    put(row, KEY_OFFSET, &extent.pack());
}

/// The text of bytes that were UTF-8 when the snapshot was opened.
#[inline]
pub(crate) fn text(bytes: &[u8]) -> &str {
    core::str::from_utf8(bytes).unwrap_or("\u{fffd}")
}

/// A place in the keys or in the heap, packed as an offset of 40 bits and a length of 24.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) len: u32,
}

impl Extent {
    /// The greatest size of what is pointed into.
    pub(crate) const MAX_OFFSET: u64 = 1 << 40;

    /// Appends `bytes`, which are at most [`MAX_VALUE_BYTES`], and gives their place.
    pub(crate) fn append(store: &mut Vec<u8>, bytes: &[u8]) -> Self {
        let offset = store.len() as u64;
        store.extend_from_slice(bytes);
        Self {
            offset,
            len: bytes.len() as u32,
        }
    }

    #[inline]
    pub(crate) const fn unpack(word: u64) -> Self {
        Self {
            offset: word & (Self::MAX_OFFSET - 1),
            len: (word >> 40) as u32,
        }
    }

    pub(crate) const fn pack(self) -> [u8; 8] {
        (self.offset | (self.len as u64) << 40).to_le_bytes()
    }

    /// The bytes there; empty if they are out of range, which opening has excluded.
    #[inline]
    pub(crate) fn slice(self, store: &[u8]) -> &[u8] {
        let start = self.offset as usize;
        store.get(start..start + self.len as usize).unwrap_or(&[])
    }
}

// A length fits in 24 bits, an offset and a length in usize.
const _: () = assert!(MAX_VALUE_BYTES < 1 << 24 && size_of::<usize>() == 8);

/// The alignment and the size of a value in a row.
const fn extent(column_type: ColumnType) -> (usize, usize) {
    match column_type {
        ColumnType::F64 | ColumnType::I64 | ColumnType::Timestamp => (8, 8),
        ColumnType::String | ColumnType::Bytes => (8, 8),
        ColumnType::F32 => (4, 4),
        ColumnType::Vector(len) => (4, 4 * len as usize),
        ColumnType::Bool => (1, 1),
    }
}

/// Equality of keys of one length. Most have up to 32 bytes, where a call to compare them, and a guess how many bytes are
/// equal, would cost more than comparing all.
#[inline]
fn is_equal(a: &[u8], b: &[u8]) -> bool {
    match a.len() {
        8..=16 => ends_are_equal::<8>(a, b),
        17..=32 => ends_are_equal::<16>(a, b),
        _ => a == b,
    }
}

/// Whether the first and the last `N` bytes are equal, which overlap.
#[inline]
fn ends_are_equal<const N: usize>(a: &[u8], b: &[u8]) -> bool {
    (a.first_chunk::<N>() == b.first_chunk()) & (a.last_chunk::<N>() == b.last_chunk())
}

fn put(row: &mut [u8], offset: usize, field: &[u8]) {
    row[offset..offset + field.len()].copy_from_slice(field);
}

#[cfg(test)]
mod tests;
