//! Appending many rows at once: whole words instead of values, with the same result as pushing them one by one.

use core::ops::Range;

use crate::value::{canonical_f32, canonical_f64};
use crate::view::bit;
use crate::{Column, ColumnType, ColumnView, Value};

/// Below this many rows, one by one is as fast.
const MIN_BULK: usize = 4;

impl Column {
    /// Appends rows `rows` of `view`.
    ///
    /// # Panics
    /// If the types differ or this column is a scalar, and as [`ColumnView`] does on a row out of range.
    // Always, for a row of a type that is known is a few instructions: what a request with one candidate mostly costs.
    #[inline(always)]
    pub fn extend_from(&mut self, view: ColumnView<'_>, rows: Range<usize>) {
        self.expect(view.column_type());
        if view.is_scalar() || rows.len() < MIN_BULK {
            match view.column_type() {
                ColumnType::F64 => return self.extend_each_word(view, rows, canonical_bits),
                ColumnType::I64 | ColumnType::Timestamp => return self.extend_each_word(view, rows, |bits| bits),
                _ => {}
            }
        }
        self.extend_rows(view, rows);
    }

    /// Appends the word of one row, or a missing one; `None`, and nothing is appended, to a column of something else.
    #[inline(always)]
    pub(crate) fn push_row_word(&mut self, is_present: bool, word: u64) -> Option<bool> {
        let word = match self.column_type {
            ColumnType::F64 => canonical_bits(word),
            ColumnType::I64 | ColumnType::Timestamp => word,
            _ => return None,
        };
        if self.is_scalar() {
            return None;
        }
        if is_present {
            self.words.push(word);
            self.present();
        } else {
            self.push_null();
        }
        Some(is_present)
    }

    fn extend_rows(&mut self, view: ColumnView<'_>, rows: Range<usize>) {
        if view.is_scalar() || rows.len() < MIN_BULK || has_bytes_of_missing(&view, &rows) {
            return self.extend_by_row(view, rows);
        }
        let missing = missing_count(&view, &rows);
        match self.column_type {
            ColumnType::F64 => self.extend_words(&view, &rows, missing, canonical_bits),
            ColumnType::I64 | ColumnType::Timestamp => self.extend_words(&view, &rows, missing, |bits| bits),
            ColumnType::F32 => self.extend_halves(&view, &rows, missing, 1),
            ColumnType::Vector(len) => self.extend_halves(&view, &rows, missing, len as usize),
            ColumnType::Bool => {
                let present = |at: usize| {
                    if missing == 0 {
                        u64::MAX
                    } else {
                        bits(view.validity, at)
                    }
                };
                append_bits(&mut self.words, self.rows, rows.clone(), |at| {
                    bits(view.words, at) & present(at)
                });
            }
            ColumnType::String | ColumnType::Bytes => self.extend_slices(&view, &rows),
        }
        self.extend_validity(&view, &rows, missing);
        self.rows += rows.len();
    }

    fn extend_by_row(&mut self, view: ColumnView<'_>, rows: Range<usize>) {
        for row in rows {
            match view.value(row) {
                Value::Null => self.push_null(),
                Value::F64(v) => self.push_f64(v),
                Value::F32(v) => self.push_f32(v),
                Value::I64(v) => self.push_i64(v),
                Value::Bool(v) => self.push_bool(v),
                Value::Timestamp(v) => self.push_timestamp(v),
                Value::String(v) => self.push_str(v),
                Value::Bytes(v) => self.push_bytes(v),
                Value::Vector(v) => self.push_vector(v),
            }
        }
    }

    #[inline(always)]
    fn extend_each_word(&mut self, view: ColumnView<'_>, rows: Range<usize>, canonical: impl Fn(u64) -> u64) {
        for row in rows {
            if view.is_present(row) {
                self.words.push(canonical(view.words[row & view.mask]));
                self.present();
            } else {
                self.push_null();
            }
        }
    }

    fn extend_words(
        &mut self,
        view: &ColumnView<'_>,
        rows: &Range<usize>,
        missing: usize,
        canonical: impl Fn(u64) -> u64,
    ) {
        let first = self.words.len();
        self.words
            .extend(view.words[rows.clone()].iter().map(|word| canonical(*word)));
        if missing > 0 {
            // Apart, so that the words are copied several at a time.
            clear_missing(&mut self.words[first..], |at| bits(view.validity, rows.start + at));
        }
    }

    fn extend_halves(&mut self, view: &ColumnView<'_>, rows: &Range<usize>, missing: usize, len: usize) {
        let from: &[f32] = bytemuck::cast_slice(view.words);
        let from = &from[rows.start * len..rows.end * len];
        let total = (self.rows + rows.len()) * len;
        self.words.resize(total.div_ceil(2), 0);
        let to: &mut [f32] = bytemuck::cast_slice_mut(&mut self.words);
        let to = &mut to[self.rows * len..total];
        if missing == 0 {
            to.iter_mut()
                .zip(from)
                .for_each(|(to, from)| *to = canonical_f32(*from));
            return;
        }
        let slots = to.chunks_mut(len).zip(from.chunks(len)).zip(rows.clone());
        for ((to, from), _) in slots.filter(|(_, row)| bit(view.validity, *row)) {
            to.iter_mut()
                .zip(from)
                .for_each(|(to, from)| *to = canonical_f32(*from));
        }
    }

    /// Missing slots are empty, so that the bytes of the rows are one piece.
    fn extend_slices(&mut self, view: &ColumnView<'_>, rows: &Range<usize>) {
        let from: &[u32] = bytemuck::cast_slice(view.words);
        let from = &from[rows.start..=rows.end];
        let (first, last) = (from[0], from[rows.len()]);
        // As `push_str`, which leaves it to `encode` to refuse bytes beyond u32.
        let base = self.bytes.len() as u32;
        self.bytes.extend_from_slice(&view.bytes[first as usize..last as usize]);
        let total = self.rows + rows.len() + 1;
        self.words.resize(total.div_ceil(2), 0);
        let to: &mut [u32] = bytemuck::cast_slice_mut(&mut self.words);
        for (to, from) in to[self.rows + 1..total].iter_mut().zip(&from[1..]) {
            *to = base.wrapping_add(from.wrapping_sub(first));
        }
    }

    fn extend_validity(&mut self, view: &ColumnView<'_>, rows: &Range<usize>, missing: usize) {
        if missing == 0 && self.nulls == 0 {
            return;
        }
        if self.nulls == 0 {
            self.begin_validity();
        }
        append_bits(&mut self.validity, self.rows, rows.clone(), |at| {
            if missing == 0 {
                u64::MAX
            } else {
                bits(view.validity, at)
            }
        });
        self.nulls += missing;
    }
}

/// The bits of an f64; of every NaN, those of the canonical one.
#[inline(always)]
fn canonical_bits(bits: u64) -> u64 {
    canonical_f64(f64::from_bits(bits)).to_bits()
}

/// Zeroes the words whose bit is not set. `present` gives 64 bits from one on.
fn clear_missing(words: &mut [u64], present: impl Fn(usize) -> u64) {
    for (chunk, words) in words.chunks_mut(64).enumerate() {
        let mut missing = !present(64 * chunk) & mask(words.len());
        while missing != 0 {
            words[missing.trailing_zeros() as usize] = 0;
            missing &= missing - 1;
        }
    }
}

/// A component made without the SDK may leave bytes where a value is missing: they do not belong to any row.
fn has_bytes_of_missing(view: &ColumnView<'_>, rows: &Range<usize>) -> bool {
    view.column_type().is_variable()
        && !view.validity.is_empty()
        && rows
            .clone()
            .any(|row| !bit(view.validity, row) && !view.slice(row).is_empty())
}

pub(crate) fn missing_count(view: &ColumnView<'_>, rows: &Range<usize>) -> usize {
    if view.validity.is_empty() {
        return 0;
    }
    let chunks = rows.clone().step_by(64);
    let present: u32 = chunks
        .map(|at| (bits(view.validity, at) & mask(rows.end - at)).count_ones())
        .sum();
    rows.len() - present as usize
}

/// Appends the bits `rows` of a source to `to`, which holds `len` bits. `source` gives 64 bits from one on.
fn append_bits(to: &mut Vec<u64>, len: usize, rows: Range<usize>, source: impl Fn(usize) -> u64) {
    let mut len = len;
    for at in rows.clone().step_by(64) {
        let count = (rows.end - at).min(64);
        let word = source(at) & mask(count);
        let shift = len % 64;
        match to.last_mut() {
            Some(last) if shift != 0 => {
                *last |= word << shift;
                if count > 64 - shift {
                    to.push(word >> (64 - shift));
                }
            }
            _ => to.push(word),
        }
        len += count;
    }
}

/// The lowest `count` bits set; all of them from 64 on.
fn mask(count: usize) -> u64 {
    if count < 64 { (1 << count) - 1 } else { u64::MAX }
}

/// 64 bits from bit `at` on; zeros behind the last word.
fn bits(words: &[u64], at: usize) -> u64 {
    let (index, shift) = (at / 64, at % 64);
    let low = words[index] >> shift;
    match words.get(index + 1) {
        Some(next) if shift != 0 => low | next << (64 - shift),
        _ => low,
    }
}

#[cfg(test)]
mod tests;
