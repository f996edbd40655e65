use crate::frame::fixed_words;
use crate::slot::Slot;
use crate::value::{canonical_f32, canonical_f64};
use crate::view::ColumnView;
use crate::{ColumnType, Value};

/// An owned column that grows by rows and keeps its memory when cleared.
///
/// The values are held as a frame holds them (docs/frame.md), so that encoding is a copy: missing values are zero and NaN
/// is canonical, hence equal columns are equal words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub(crate) column_type: ColumnType,
    pub(crate) rows: usize,
    pub(crate) nulls: usize,
    scalar: bool,
    /// Filled from the first missing value on; empty before.
    pub(crate) validity: Vec<u64>,
    pub(crate) words: Vec<u64>,
    pub(crate) bytes: Vec<u8>,
}

impl Column {
    /// A column without rows.
    pub fn new(column_type: ColumnType) -> Self {
        let mut column = Self {
            column_type,
            rows: 0,
            nulls: 0,
            scalar: false,
            validity: Vec::new(),
            words: Vec::new(),
            bytes: Vec::new(),
        };
        column.clear();
        column
    }

    /// A scalar: one stored value that stands for every row.
    ///
    /// # Errors
    /// The value's type is not `column_type`.
    pub fn scalar(column_type: ColumnType, value: Value<'_>) -> Result<Self, TypeMismatch> {
        let mut column = Self::new(column_type);
        column.push(value)?;
        column.scalar = true;
        Ok(column)
    }

    /// Drops the rows and keeps the memory.
    pub fn clear(&mut self) {
        self.rows = 0;
        self.nulls = 0;
        self.scalar = false;
        self.validity.clear();
        self.words.clear();
        self.bytes.clear();
        if self.column_type.is_variable() {
            self.words.push(0);
        }
    }

    /// Drops the rows and makes room for `rows` others, to be written in place and then [sealed](Self::seal).
    pub fn lay_out(&mut self, rows: usize, nullable: bool) -> Slot<'_> {
        self.clear();
        if self.column_type.is_variable() {
            return Slot::Variable(self);
        }
        self.rows = rows;
        self.words.resize(fixed_words(self.column_type, rows), 0);
        self.validity.resize(if nullable { rows.div_ceil(64) } else { 0 }, 0);
        Slot::Fixed {
            words: &mut self.words,
            validity: &mut self.validity,
        }
    }

    /// Counts what is missing, when every row that was [laid out](Self::lay_out) is written.
    pub fn seal(&mut self) {
        if !self.validity.is_empty() && !self.column_type.is_variable() {
            let present: usize = self.validity.iter().map(|word| word.count_ones() as usize).sum();
            self.nulls = self.rows - present;
            if self.nulls == 0 {
                self.validity.clear();
            }
        }
    }

    /// The type of the column.
    pub fn column_type(&self) -> ColumnType {
        self.column_type
    }

    /// The stored rows: 1 for a scalar.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The missing values among the stored rows.
    pub fn null_count(&self) -> usize {
        self.nulls
    }

    /// Whether the one stored row stands for every row.
    pub fn is_scalar(&self) -> bool {
        self.scalar
    }

    /// Makes a column of one row stand for every row.
    ///
    /// # Panics
    /// Unless the column has exactly one row.
    pub fn make_scalar(&mut self) {
        assert!(self.rows == 1, "a scalar has one row, not {}", self.rows);
        self.scalar = true;
    }

    /// The column, readable.
    #[inline]
    pub fn view(&self) -> ColumnView<'_> {
        ColumnView {
            column_type: self.column_type,
            mask: if self.scalar { 0 } else { usize::MAX },
            validity: &self.validity,
            words: &self.words,
            bytes: &self.bytes,
        }
    }

    /// The value at `row`.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn value(&self, row: usize) -> Value<'_> {
        assert!(self.scalar || row < self.rows, "row {row} of {}", self.rows);
        self.view().value(row)
    }

    /// Appends a value of the column's type, or a missing one.
    ///
    /// # Errors
    /// The value's type is not the column's. Nothing was appended.
    ///
    /// # Panics
    /// If the column is a scalar, which has its one row.
    pub fn push(&mut self, value: Value<'_>) -> Result<(), TypeMismatch> {
        match (self.column_type, value) {
            (_, Value::Null) => self.push_null(),
            (ColumnType::F64, Value::F64(v)) => self.push_f64(v),
            (ColumnType::F32, Value::F32(v)) => self.push_f32(v),
            (ColumnType::I64, Value::I64(v)) => self.push_i64(v),
            (ColumnType::Bool, Value::Bool(v)) => self.push_bool(v),
            (ColumnType::Timestamp, Value::Timestamp(v)) => self.push_timestamp(v),
            (ColumnType::String, Value::String(v)) => self.push_str(v),
            (ColumnType::Bytes, Value::Bytes(v)) => self.push_bytes(v),
            (ColumnType::Vector(len), Value::Vector(v)) if v.len() == len as usize => self.push_vector(v),
            _ => {
                return Err(TypeMismatch {
                    column_type: self.column_type,
                });
            }
        }
        Ok(())
    }

    /// Appends a missing value.
    ///
    /// # Panics
    /// If the column is a scalar.
    pub fn push_null(&mut self) {
        self.expect_rows();
        if self.nulls == 0 {
            self.begin_validity();
        }
        self.nulls += 1;
        match self.column_type {
            ColumnType::F64 | ColumnType::I64 | ColumnType::Timestamp => self.words.push(0),
            ColumnType::F32 => self.push_half(self.rows, 0),
            ColumnType::Bool => push_bit(&mut self.words, self.rows, false),
            ColumnType::String | ColumnType::Bytes => self.push_offset(),
            ColumnType::Vector(len) => {
                let len = len as usize;
                (0..len).for_each(|i| self.push_half(self.rows * len + i, 0));
            }
        }
        push_bit(&mut self.validity, self.rows, false);
        self.rows += 1;
    }

    /// Appends an f64; NaN becomes canonical.
    ///
    /// # Panics
    /// This and the other typed pushes panic if the column is of another type or a scalar.
    #[inline]
    pub fn push_f64(&mut self, value: f64) {
        self.push_word(ColumnType::F64, canonical_f64(value).to_bits());
    }

    /// Appends an i64.
    #[inline]
    pub fn push_i64(&mut self, value: i64) {
        self.push_word(ColumnType::I64, value.cast_unsigned());
    }

    /// Appends a time in microseconds.
    #[inline]
    pub fn push_timestamp(&mut self, value: i64) {
        self.push_word(ColumnType::Timestamp, value.cast_unsigned());
    }

    /// Appends an f32; NaN becomes canonical.
    #[inline]
    pub fn push_f32(&mut self, value: f32) {
        self.expect(ColumnType::F32);
        self.push_half(self.rows, canonical_f32(value).to_bits());
        self.present();
    }

    /// Appends a bool.
    #[inline]
    pub fn push_bool(&mut self, value: bool) {
        self.expect(ColumnType::Bool);
        push_bit(&mut self.words, self.rows, value);
        self.present();
    }

    /// Appends a text.
    #[inline]
    pub fn push_str(&mut self, value: &str) {
        self.expect(ColumnType::String);
        self.bytes.extend_from_slice(value.as_bytes());
        self.push_offset();
        self.present();
    }

    /// Appends bytes.
    #[inline]
    pub fn push_bytes(&mut self, value: &[u8]) {
        self.expect(ColumnType::Bytes);
        self.bytes.extend_from_slice(value);
        self.push_offset();
        self.present();
    }

    /// Appends a vector of the column's length; NaN becomes canonical.
    pub fn push_vector(&mut self, value: &[f32]) {
        self.expect(ColumnType::Vector(u32::try_from(value.len()).unwrap_or(u32::MAX)));
        for (i, v) in value.iter().enumerate() {
            self.push_half(self.rows * value.len() + i, canonical_f32(*v).to_bits());
        }
        self.present();
    }

    /// Becomes `other`, in the memory that this column has.
    ///
    /// # Panics
    /// If the types differ.
    pub fn copy_from(&mut self, other: &Self) {
        assert!(
            self.column_type == other.column_type,
            "a column of {} was copied to one of {}",
            other.column_type,
            self.column_type
        );
        self.rows = other.rows;
        self.nulls = other.nulls;
        self.scalar = other.scalar;
        self.validity.clone_from(&other.validity);
        self.words.clone_from(&other.words);
        self.bytes.clone_from(&other.bytes);
    }

    pub(crate) fn validity(&self) -> &[u64] {
        &self.validity
    }

    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    #[inline]
    fn push_word(&mut self, column_type: ColumnType, word: u64) {
        self.expect(column_type);
        self.words.push(word);
        self.present();
    }

    #[inline]
    fn push_half(&mut self, index: usize, half: u32) {
        if index.is_multiple_of(2) {
            self.words.push(u64::from(half));
        } else if let Some(last) = self.words.last_mut() {
            *last |= u64::from(half) << 32;
        }
    }

    /// The offset behind the row that is being pushed. [`encode`](crate::encode) refuses bytes beyond u32.
    #[inline]
    fn push_offset(&mut self) {
        self.push_half(self.rows + 1, self.bytes.len() as u32);
    }

    /// Says of every row so far that it is present.
    pub(crate) fn begin_validity(&mut self) {
        self.validity.clear();
        self.validity.resize(self.rows / 64, u64::MAX);
        if !self.rows.is_multiple_of(64) {
            self.validity.push((1 << (self.rows % 64)) - 1);
        }
    }

    /// Counts the row that was pushed as present.
    #[inline]
    pub(crate) fn present(&mut self) {
        if self.nulls > 0 {
            push_bit(&mut self.validity, self.rows, true);
        }
        self.rows += 1;
    }

    #[inline]
    pub(crate) fn expect(&self, column_type: ColumnType) {
        assert!(
            self.column_type == column_type,
            "a {column_type} was pushed to a column of {}",
            self.column_type
        );
        self.expect_rows();
    }

    #[inline]
    fn expect_rows(&self) {
        assert!(!self.scalar, "a row was pushed to a scalar");
    }
}

fn push_bit(words: &mut Vec<u64>, index: usize, bit: bool) {
    if index.is_multiple_of(64) {
        words.push(0);
    }
    if let Some(last) = words.last_mut() {
        *last |= u64::from(bit) << (index % 64);
    }
}

/// A value was pushed to a column of another type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeMismatch {
    /// The type of the column.
    pub column_type: ColumnType,
}

impl core::fmt::Display for TypeMismatch {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "the column holds {}, the value is of another type", self.column_type)
    }
}

impl std::error::Error for TypeMismatch {}

#[cfg(test)]
mod tests;
