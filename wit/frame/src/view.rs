use crate::extend::missing_count;
use crate::frame::offsets;
use crate::{Column, ColumnType, Value};

/// A column read in place: inside a frame, or an owned [`Column`].
///
/// Row indices below the row count are in range; a scalar column answers every index with its one row.
///
/// # Panics
/// The accessors panic on a type that is not the column's: a mistake of the caller, who has checked the frame against the
/// types it reads. So is a row out of range: it panics, or reads as missing or zero where it falls into the padding of the
/// column's last word, but never reads another column.
#[derive(Clone, Copy, Debug)]
pub struct ColumnView<'a> {
    pub(crate) column_type: ColumnType,
    /// All ones, or 0 for a scalar: `row & mask` is the stored row.
    pub(crate) mask: usize,
    /// Empty where every value is present.
    pub(crate) validity: &'a [u64],
    /// The fixed-width values; for strings and bytes the offsets, two to a word.
    pub(crate) words: &'a [u64],
    /// What the offsets point into.
    pub(crate) bytes: &'a [u8],
}

impl<'a> ColumnView<'a> {
    /// The type of the column.
    #[inline(always)]
    pub fn column_type(&self) -> ColumnType {
        self.column_type
    }

    /// Whether one stored row stands for every row.
    #[inline(always)]
    pub fn is_scalar(&self) -> bool {
        self.mask == 0
    }

    /// Whether no value is missing, as far as can be told without reading the rows.
    #[inline(always)]
    pub fn is_all_present(&self) -> bool {
        self.validity.is_empty()
    }

    /// The f64s of all stored rows, one for a scalar; 0.0 where one is missing.
    #[inline]
    pub fn f64s(&self) -> &'a [f64] {
        self.expect(ColumnType::F64);
        bytemuck::cast_slice(self.words)
    }

    /// The f32s of all stored rows, perhaps with one more; 0.0 where one is missing.
    #[inline]
    pub fn f32s(&self) -> &'a [f32] {
        self.expect(ColumnType::F32);
        bytemuck::cast_slice(self.words)
    }

    /// The i64s of all stored rows, one for a scalar; 0 where one is missing.
    #[inline]
    pub fn i64s(&self) -> &'a [i64] {
        self.expect(ColumnType::I64);
        bytemuck::cast_slice(self.words)
    }

    /// The timestamps of all stored rows, one for a scalar; 0 where one is missing.
    #[inline]
    pub fn timestamps(&self) -> &'a [i64] {
        self.expect(ColumnType::Timestamp);
        bytemuck::cast_slice(self.words)
    }

    /// The bytes that `rows` rows take when they are written out, a scalar's as often as there are rows; a few more where
    /// values do not fill words.
    #[inline(always)]
    pub fn written_bytes(&self, rows: usize) -> u64 {
        let stored = (size_of_val(self.words) + self.bytes.len()) as u64;
        if self.is_scalar() {
            stored.saturating_mul(rows as u64)
        } else {
            stored
        }
    }

    /// Whether row `row` has a value.
    #[inline]
    pub fn is_present(&self, row: usize) -> bool {
        let row = row & self.mask;
        self.validity.is_empty() || bit(self.validity, row)
    }

    /// All ones, or 0 for a scalar: `row & mask` is the stored row.
    #[inline]
    pub fn row_mask(&self) -> usize {
        self.mask
    }

    /// A bit for each stored row, set where it has a value; empty where all have.
    #[inline]
    pub fn validity(&self) -> &'a [u64] {
        self.validity
    }

    /// The values of a fixed width as a frame holds them, or the offsets of texts and bytes, two to a word.
    #[inline]
    pub fn words(&self) -> &'a [u64] {
        self.words
    }

    /// What the offsets of texts and bytes point into.
    #[inline]
    pub fn data(&self) -> &'a [u8] {
        self.bytes
    }

    /// A column without a row: not even the one of a scalar may be read.
    #[inline(always)]
    pub fn empty(column_type: ColumnType) -> Self {
        Self {
            column_type,
            mask: usize::MAX,
            validity: &[],
            words: &[],
            bytes: &[],
        }
    }

    /// Whether each of `rows` texts is UTF-8: their bytes are, and none begins or ends within a character. A column of
    /// another type has no texts.
    pub fn is_text(&self, rows: usize) -> bool {
        if self.column_type != ColumnType::String || self.bytes.is_ascii() {
            return true;
        }
        let stored = if self.is_scalar() { 1 } else { rows };
        match core::str::from_utf8(self.bytes) {
            Ok(text) => offsets(self.words, stored)
                .iter()
                .all(|offset| text.is_char_boundary(*offset as usize)),
            Err(_) => false,
        }
    }

    /// How many of these rows are missing.
    ///
    /// # Panics
    /// On a row out of range.
    pub fn missing_count(&self, rows: core::ops::Range<usize>) -> usize {
        match (self.validity.is_empty(), self.is_scalar()) {
            (true, _) => 0,
            (false, true) => {
                if self.is_present(0) {
                    0
                } else {
                    rows.len()
                }
            }
            (false, false) => missing_count(self, &rows),
        }
    }

    /// The f64 at `row`; 0.0 where it is missing.
    #[inline]
    pub fn f64(&self, row: usize) -> f64 {
        f64::from_bits(self.word(row, ColumnType::F64))
    }

    /// The i64 at `row`; 0 where it is missing.
    #[inline]
    pub fn i64(&self, row: usize) -> i64 {
        self.word(row, ColumnType::I64).cast_signed()
    }

    /// The microseconds at `row`; 0 where it is missing.
    #[inline]
    pub fn timestamp(&self, row: usize) -> i64 {
        self.word(row, ColumnType::Timestamp).cast_signed()
    }

    /// The f32 at `row`; 0.0 where it is missing.
    #[inline]
    pub fn f32(&self, row: usize) -> f32 {
        self.expect(ColumnType::F32);
        f32::from_bits(half(self.words, row & self.mask))
    }

    /// The bool at `row`; false where it is missing.
    #[inline]
    pub fn bool(&self, row: usize) -> bool {
        self.expect(ColumnType::Bool);
        bit(self.words, row & self.mask)
    }

    /// The text at `row`; empty where it is missing. A text that is not UTF-8, which
    /// [`Frame::check_text`](crate::Frame::check_text) refuses, reads as U+FFFD.
    #[inline]
    pub fn str(&self, row: usize) -> &'a str {
        self.expect(ColumnType::String);
        core::str::from_utf8(self.slice(row)).unwrap_or("\u{fffd}")
    }

    /// The bytes at `row`; empty where they are missing.
    #[inline]
    pub fn bytes(&self, row: usize) -> &'a [u8] {
        self.expect(ColumnType::Bytes);
        self.slice(row)
    }

    /// The vector at `row`; zeros where it is missing.
    #[inline]
    pub fn vector(&self, row: usize) -> &'a [f32] {
        let ColumnType::Vector(len) = self.column_type else {
            panic!("a vector was read from a column of {}", self.column_type);
        };
        let (row, len) = (row & self.mask, len as usize);
        let halves: &'a [f32] = bytemuck::cast_slice(self.words);
        &halves[row * len..(row + 1) * len]
    }

    /// The value at `row`, of whatever type.
    pub fn value(&self, row: usize) -> Value<'a> {
        if !self.is_present(row) {
            return Value::Null;
        }
        match self.column_type {
            ColumnType::F64 => Value::F64(self.f64(row)),
            ColumnType::F32 => Value::F32(self.f32(row)),
            ColumnType::I64 => Value::I64(self.i64(row)),
            ColumnType::Bool => Value::Bool(self.bool(row)),
            ColumnType::Timestamp => Value::Timestamp(self.timestamp(row)),
            ColumnType::String => Value::String(self.str(row)),
            ColumnType::Bytes => Value::Bytes(self.bytes(row)),
            ColumnType::Vector(_) => Value::Vector(self.vector(row)),
        }
    }

    #[inline]
    fn word(&self, row: usize, column_type: ColumnType) -> u64 {
        self.expect(column_type);
        self.words[row & self.mask]
    }

    #[inline]
    pub(crate) fn slice(&self, row: usize) -> &'a [u8] {
        let row = row & self.mask;
        let start = half(self.words, row) as usize;
        let end = half(self.words, row + 1) as usize;
        &self.bytes[start..end]
    }

    #[inline]
    fn expect(&self, column_type: ColumnType) {
        assert!(
            self.column_type == column_type,
            "a {column_type} was read from a column of {}",
            self.column_type
        );
    }
}

impl<'a> From<&'a Column> for ColumnView<'a> {
    fn from(column: &'a Column) -> Self {
        column.view()
    }
}

#[inline]
pub(crate) fn bit(words: &[u64], index: usize) -> bool {
    words[index / 64] >> (index % 64) & 1 == 1
}

/// The `index`th u32 of `words`, low half first.
#[inline]
pub(crate) fn half(words: &[u64], index: usize) -> u32 {
    (words[index / 2] >> (32 * (index % 2))) as u32
}
