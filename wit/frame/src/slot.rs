//! Writing a frame row by row: the columns of a fixed width in place, texts and bytes beside it until it is sealed.

use crate::frame::{
    DIRECTORY_WORDS, EncodeError, HAS_VALIDITY, HEADER_WORDS, directory_head, fixed_words_u64, head_word, put,
    put_bytes, size_word,
};
use crate::{Column, ColumnType, MAX_COLUMNS, MAX_ROWS};

/// Where the rows of one column are written.
#[derive(Debug)]
pub enum Slot<'w> {
    /// Values of a fixed width, every one of which is to be written.
    Fixed {
        /// The values, as a frame holds them.
        words: &'w mut [u64],
        /// A bit for each row, all of which are to be written; empty where no value may be missing.
        validity: &'w mut [u64],
    },
    /// Texts or bytes, to be pushed in order.
    Variable(&'w mut Column),
}

/// Lays out a frame of `rows` rows of these columns, each with whether a value may be missing. `variable` holds a cleared
/// column for each of them that is of texts or of bytes, in order. The slots are to be asked for as the columns were told;
/// when all rows are written, [`seal`] makes a frame of the words.
///
/// # Errors
/// As [`encode`](crate::encode): too many columns, rows or words.
///
#[inline]
pub fn lay_out<'w, C>(
    columns: C,
    rows: usize,
    words: &'w mut Vec<u64>,
    variable: &'w mut [Column],
) -> Result<FrameSlots<'w>, EncodeError>
where
    C: Iterator<Item = (ColumnType, bool)> + Clone,
{
    let count = columns.clone().count();
    if count > MAX_COLUMNS || rows > MAX_ROWS {
        return Err(EncodeError::TooLarge);
    }
    let directory_end = HEADER_WORDS + DIRECTORY_WORDS * count;
    words.resize(directory_end.max(words.len()), 0);
    words[0] = head_word(count);
    words[1] = size_word(rows, 0);
    let mut end = directory_end as u64;
    for (index, (column_type, nullable)) in columns.clone().enumerate() {
        let directory = HEADER_WORDS + DIRECTORY_WORDS * index;
        let mut entry = (directory_head(column_type), 0);
        if !column_type.is_variable() {
            if nullable && rows > 0 {
                entry = (entry.0 | HAS_VALIDITY, end);
                end += rows.div_ceil(64) as u64;
            }
            entry.1 |= end << 32;
            end += fixed_words_u64(column_type, rows);
        }
        (words[directory], words[directory + 1]) = entry;
    }
    if u64::from(u32::MAX) < end || usize::try_from(end * 8).is_err() {
        words.clear();
        return Err(EncodeError::TooLarge);
    }
    // The owners of the slots write every value.
    words.resize(end as usize, 0);
    let (_, parts) = words.split_at_mut(directory_end);
    Ok(FrameSlots {
        rows,
        words: parts,
        variable: variable.iter_mut(),
    })
}

/// What gives the slots of columns, in their order.
pub trait Slots<'w> {
    /// The slot of the next column, which is of this type and may have missing values where `nullable` says so. Where both
    /// are known to the compiler, little is left to do.
    ///
    /// # Panics
    /// If there is no further column, or not one of this type.
    fn slot(&mut self, column_type: ColumnType, nullable: bool) -> Slot<'w>;
}

/// The slots of a frame: see [`lay_out`].
#[derive(Debug)]
pub struct FrameSlots<'w> {
    rows: usize,
    words: &'w mut [u64],
    variable: core::slice::IterMut<'w, Column>,
}

impl<'w> FrameSlots<'w> {
    #[inline(always)]
    fn take(&mut self, count: usize) -> &'w mut [u64] {
        let (part, rest) = core::mem::take(&mut self.words).split_at_mut(count);
        self.words = rest;
        part
    }
}

impl<'w> Slots<'w> for FrameSlots<'w> {
    #[inline(always)]
    fn slot(&mut self, column_type: ColumnType, nullable: bool) -> Slot<'w> {
        if column_type.is_variable() {
            return Slot::Variable(next(&mut self.variable, column_type));
        }
        let validity = self.take(if nullable { self.rows.div_ceil(64) } else { 0 });
        let words = self.take(fixed_words_u64(column_type, self.rows) as usize);
        if let Some(last) = words.last_mut() {
            // Half words and bits need not fill it.
            *last = 0;
        }
        Slot::Fixed { words, validity }
    }
}

/// The slots of so many rows of columns, which are cleared: see [`Column::lay_out`].
#[derive(Debug)]
pub struct ColumnSlots<'w> {
    rows: usize,
    columns: core::slice::IterMut<'w, Column>,
}

impl<'w> ColumnSlots<'w> {
    /// Those of `rows` rows of `columns`.
    pub fn new(columns: &'w mut [Column], rows: usize) -> Self {
        Self {
            rows,
            columns: columns.iter_mut(),
        }
    }
}

impl<'w> Slots<'w> for ColumnSlots<'w> {
    #[inline(always)]
    fn slot(&mut self, column_type: ColumnType, nullable: bool) -> Slot<'w> {
        next(&mut self.columns, column_type).lay_out(self.rows, nullable)
    }
}

#[inline]
fn next<'w>(columns: &mut core::slice::IterMut<'w, Column>, column_type: ColumnType) -> &'w mut Column {
    let column = columns.next().filter(|column| column.column_type() == column_type);
    let Some(column) = column else {
        panic!("no column to write the rows of {column_type} to");
    };
    column
}

/// Finishes a frame that [`lay_out`] began, when every row is written: a validity without a missing value is taken off the
/// directory, and the texts and bytes are appended.
///
/// # Errors
/// The texts and bytes are too large: see [`encode`](crate::encode).
pub fn seal(words: &mut Vec<u64>, variable: &[Column]) -> Result<(), EncodeError> {
    let (count, rows) = ((words[0] >> 48) as usize, words[1] as u32 as usize);
    let mut variable = variable.iter();
    for index in 0..count {
        let directory = HEADER_WORDS + DIRECTORY_WORDS * index;
        let (head, place) = (words[directory], words[directory + 1]);
        if ColumnType::is_variable_tag(head as u8) {
            if let Some(column) = variable.next() {
                append(words, directory, column)?;
            }
        } else if head & HAS_VALIDITY != 0 {
            let start = place as u32 as usize;
            let validity = &words[start..start + rows.div_ceil(64)];
            if is_all_set(validity, rows) {
                words[directory] &= !HAS_VALIDITY;
                words[directory + 1] &= !u64::from(u32::MAX);
            }
        }
    }
    words[1] = size_word(rows, words.len());
    Ok(())
}

fn append(words: &mut Vec<u64>, directory: usize, column: &Column) -> Result<(), EncodeError> {
    let validity = if column.null_count() > 0 {
        column.validity()
    } else {
        &[]
    };
    let start = words.len();
    let total =
        start as u64 + (validity.len() + column.words().len()) as u64 + (column.bytes().len() as u64).div_ceil(8);
    if column.bytes().len() > u32::MAX as usize || u64::from(u32::MAX) < total || usize::try_from(total * 8).is_err() {
        return Err(EncodeError::TooLarge);
    }
    words.resize(total as usize, 0);
    if !validity.is_empty() {
        words[directory] |= HAS_VALIDITY;
    }
    let data = put(words, start, validity);
    words[directory + 1] = (data as u64) << 32 | if validity.is_empty() { 0 } else { start as u64 };
    let end = put(words, data, column.words());
    put_bytes(words, end, column.bytes());
    Ok(())
}

fn is_all_set(validity: &[u64], rows: usize) -> bool {
    let (full, rest) = (rows / 64, rows % 64);
    validity[..full].iter().all(|word| *word == u64::MAX) && (rest == 0 || validity[full] == (1 << rest) - 1)
}

#[cfg(test)]
mod tests;
