use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use arrow::array::{ArrayRef, BooleanArray};
use arrow::buffer::{BooleanBuffer, Buffer};
use arrow::datatypes::DataType;
use unskew_snapshot::Status;

use super::gather::Gathered;
use super::pick::Places;
use crate::asof::NO_ROW;
use crate::backfill::BackfillError;

/// By row of the spine, the number of the row of a history that it is given, or why there is none.
pub(crate) struct FoundRows {
    rows: Vec<AtomicU32>,
}

const EXPIRED: u32 = u32::MAX - 1;
const NOT_FOUND: u32 = u32::MAX;
/// A history of which rows are found has fewer.
pub(crate) const MAX_FOUND_ROWS: u64 = EXPIRED as u64;

// Relaxed: threads meet before what they wrote is read.
impl FoundRows {
    /// Of a spine of so many rows, for which nothing is found yet.
    pub fn new(rows: u64) -> Self {
        Self {
            rows: (0..rows).map(|_| AtomicU32::new(NOT_FOUND)).collect(),
        }
    }

    /// A row of the spine is given that of the history, unless its status says otherwise.
    pub fn set(&self, spine_row: u64, status: Status, row: i64) {
        let found = match status {
            Status::Present => u32::try_from(row).unwrap_or(NOT_FOUND),
            Status::Expired => EXPIRED,
            _ => NOT_FOUND,
        };
        if let Some(place) = self.rows.get(spine_row as usize) {
            place.store(found, Ordering::Relaxed);
        }
    }

    /// What was found, and the rows of the history, of so many, that are given to some row.
    pub fn finish(self, history_rows: u64) -> (Vec<u32>, RowSet) {
        let rows: Vec<u32> = self.rows.into_iter().map(AtomicU32::into_inner).collect();
        let mut words = vec![0_u64; (history_rows as usize).div_ceil(64)];
        for row in rows.iter().filter(|row| **row < EXPIRED) {
            words[*row as usize / 64] |= 1 << (row % 64);
        }
        (rows, RowSet::new(words))
    }
}

/// Some rows of a history, ascending.
pub(crate) struct RowSet {
    /// One bit a row.
    words: Vec<u64>,
    /// How many rows lie before each word.
    ranks: Vec<u32>,
}

impl RowSet {
    fn new(words: Vec<u64>) -> Self {
        let mut rank = 0;
        let ranks = words.iter().map(|word| {
            let before = rank;
            rank += word.count_ones();
            before
        });
        Self {
            ranks: ranks.collect(),
            words,
        }
    }

    /// How many of them lie before `row`.
    pub fn rank(&self, row: usize) -> u32 {
        let (word, bit) = (row / 64, row % 64);
        match self.words.get(word) {
            Some(bits) => self.ranks[word] + (bits & ((1 << bit) - 1)).count_ones(),
            None => {
                let last = self.words.last().map_or(0, |bits| bits.count_ones());
                self.ranks.last().map_or(0, |rank| rank + last)
            }
        }
    }

    /// Which of `rows` are in it.
    pub fn mask(&self, rows: &Range<usize>) -> BooleanArray {
        let (first, end) = (rows.start / 64, rows.end.div_ceil(64));
        let words = Buffer::from_vec(
            self.words[first..end]
                .iter()
                .map(|word| word.to_le())
                .collect::<Vec<u64>>(),
        );
        BooleanArray::new(BooleanBuffer::new(words, rows.start % 64, rows.len()), None)
    }
}

/// What a view gave for the rows of the spine, where rows of its history were found and their values read then.
pub(crate) struct FoundResult {
    /// By row of the spine.
    rows: Vec<u32>,
    set: RowSet,
    /// How many rows of the set lie before each piece.
    starts: Vec<u32>,
    /// By piece, by column.
    pieces: Vec<Vec<ArrayRef>>,
    /// The types of the columns.
    types: Vec<DataType>,
}

impl FoundResult {
    /// `pieces` are the values of the rows of the set, in their order.
    pub fn new(rows: Vec<u32>, set: RowSet, pieces: Vec<Vec<ArrayRef>>, types: Vec<DataType>) -> Self {
        let mut start = 0;
        let starts = pieces.iter().map(|piece| {
            let before = start;
            start += piece.first().map_or(0, |array| array.len() as u32);
            before
        });
        Self {
            starts: starts.collect(),
            rows,
            set,
            pieces,
            types,
        }
    }

    /// The columns and statuses of some rows of the spine.
    pub fn gather(&self, rows: Range<usize>, columns: &[usize]) -> Result<Gathered, BackfillError> {
        let rows = &self.rows[rows];
        let place = |row: &u32| {
            if EXPIRED <= *row {
                return (NO_ROW, 0);
            }
            let rank = self.set.rank(*row as usize);
            let piece = self.starts.partition_point(|start| *start <= rank).saturating_sub(1);
            (piece as u32, rank - self.starts.get(piece).copied().unwrap_or(0))
        };
        let places = Places::new(rows.iter().map(place).collect());
        let pick = |column: &usize| {
            let pieces: Vec<&ArrayRef> = self.pieces.iter().map(|piece| &piece[*column]).collect();
            places.pick(&pieces, &self.types[*column])
        };
        let status = |row: &u32| match *row {
            NOT_FOUND => Status::NotFound,
            EXPIRED => Status::Expired,
            _ => Status::Present,
        };
        Ok(Gathered {
            columns: columns.iter().map(pick).collect::<Result<_, _>>()?,
            statuses: rows.iter().map(status).collect(),
        })
    }
}

#[cfg(test)]
mod tests;
