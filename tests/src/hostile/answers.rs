//! Frames that lie.

use unskew_frame::{Column, ColumnType, encode};

use super::guest::BAD_ROWS;

/// The words of a frame.
pub fn frame(columns: &[&Column], rows: usize) -> Vec<u64> {
    let mut words = Vec::new();
    encode(columns, rows, &mut words).expect("a frame");
    words
}

/// A column of so many numbers.
pub(super) fn numbers(rows: usize) -> Column {
    let mut column = Column::new(ColumnType::F64);
    (0..rows).for_each(|row| column.push_f64(row as f64));
    column
}

/// A column of texts for the bad batch.
pub(super) fn texts() -> Column {
    let mut column = Column::new(ColumnType::String);
    (0..BAD_ROWS).for_each(|_| column.push_str("text"));
    column
}

/// A right answer to the bad batch, of numbers.
pub(super) fn right() -> Vec<u64> {
    frame(&[&numbers(BAD_ROWS)], BAD_ROWS)
}

/// The same words but for some bits of one.
pub(super) fn changed(mut words: Vec<u64>, word: usize, bits: u64) -> Vec<u64> {
    words[word] ^= bits;
    words
}
