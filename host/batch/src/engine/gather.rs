use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, UInt8Type};
use unskew_snapshot::Status;

use super::division::Division;
use super::found::FoundResult;
use super::scatter::too_large;
use super::spill::SpillFile;
use crate::asof::NO_ROW;
use crate::backfill::BackfillError;
use crate::words::KeyWords;

/// What a view gave for the rows of the spine.
pub(crate) enum ViewResult {
    Parted(PartedResult),
    Found(FoundResult),
}

/// What a view gave for the rows of the spine: by part, in the order of the spine.
pub(crate) struct PartedResult {
    pub division: Division,
    /// Whether rows without a key are in the first share; else they are in none, as they have no values.
    pub keeps_keyless: bool,
    /// The types of the columns.
    pub types: Vec<DataType>,
    pub partitions: Vec<PartitionResult>,
    /// Per morsel of the spine, how many rows of each partition lie before it.
    pub starts: Vec<Vec<u32>>,
}

/// What a view gave for the rows of one partition.
pub(crate) enum PartitionResult {
    /// In memory: where each row's values are.
    Held {
        statuses: Vec<Status>,
        /// Per row, a piece and a row of it; [`NO_ROW`] as the piece where there is no value.
        places: Vec<(u32, u32)>,
        /// The columns, in pieces.
        pieces: Vec<Vec<ArrayRef>>,
    },
    /// On disk: batches of so many rows, the last column is the statuses'.
    Spilled { file: SpillFile, batch_rows: usize },
}

impl Default for PartitionResult {
    fn default() -> Self {
        Self::Held {
            statuses: Vec::new(),
            places: Vec::new(),
            pieces: Vec::new(),
        }
    }
}

/// The batches that a thread read last.
#[derive(Default)]
pub(crate) struct GatherCache {
    last: HashMap<(usize, usize), (usize, RecordBatch)>,
}

/// A view's columns and statuses, in the order of the spine.
pub(crate) struct Gathered {
    pub columns: Vec<ArrayRef>,
    pub statuses: Vec<Status>,
}

impl PartedResult {
    /// The results of a morsel of the spine, whose keys have these words.
    pub fn gather(
        &self,
        cache: &mut GatherCache,
        view: usize,
        morsel: usize,
        words: &KeyWords,
        seen_at: &dyn Fn(usize) -> i64,
        columns: &[usize],
    ) -> Result<Gathered, BackfillError> {
        let starts = &self.starts[morsel];
        let mut counts = vec![0_u32; self.partitions.len()];
        let partitions: Vec<Option<usize>> = (0..words.words.len())
            .map(|row| match words.is_present(row) {
                true => Some(self.division.share(words.words[row])),
                false => self.keeps_keyless.then_some(0),
            })
            .enumerate()
            .map(|(row, share)| share.map(|share| self.division.part(share, || seen_at(row))))
            .collect();
        partitions
            .iter()
            .flatten()
            .for_each(|partition| counts[*partition] += 1);

        let mut sources = Vec::with_capacity(self.partitions.len());
        // The first array is one missing value.
        let mut base = 1;
        for (partition, result) in self.partitions.iter().enumerate() {
            let source = match result {
                PartitionResult::Held {
                    statuses,
                    places,
                    pieces,
                } => Source {
                    base,
                    rows: SourceRows::Held {
                        statuses,
                        places,
                        pieces,
                    },
                },
                PartitionResult::Spilled { file, batch_rows } => {
                    let first = starts[partition] as usize;
                    let rows = first..first + counts[partition] as usize;
                    let batches = cache.read(view, partition, file, *batch_rows, rows)?;
                    Source::spilled(batches, base, *batch_rows, first)
                }
            };
            base += source.arrays();
            sources.push(source);
        }

        let mut next = starts.clone();
        let mut places = Vec::with_capacity(partitions.len());
        let mut statuses = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let (place, status) = match partition {
                None => ((0, 0), Status::NotFound),
                Some(partition) => {
                    let index = next[partition] as usize;
                    next[partition] += 1;
                    sources[partition].place(index)
                }
            };
            places.push(place);
            statuses.push(status);
        }
        let gather = |column: &usize| {
            let null = new_null_array(&self.types[*column], 1);
            let mut arrays: Vec<&dyn Array> = vec![&*null];
            sources
                .iter()
                .for_each(|source| source.push_arrays(*column, &mut arrays));
            interleave(&arrays, &places).map_err(too_large)
        };
        Ok(Gathered {
            columns: columns.iter().map(gather).collect::<Result<_, _>>()?,
            statuses,
        })
    }
}

/// Where the rows of a partition are among the arrays of a gathering.
struct Source<'a> {
    base: usize,
    rows: SourceRows<'a>,
}

enum SourceRows<'a> {
    Held {
        statuses: &'a [Status],
        places: &'a [(u32, u32)],
        pieces: &'a [Vec<ArrayRef>],
    },
    Spilled {
        batches: Vec<RecordBatch>,
        batch_rows: usize,
        /// The first row of the first batch.
        first: usize,
    },
}

impl<'a> Source<'a> {
    fn spilled(batches: Vec<RecordBatch>, base: usize, batch_rows: usize, first: usize) -> Self {
        let rows = SourceRows::Spilled {
            batches,
            batch_rows,
            first: first - first % batch_rows,
        };
        Self { base, rows }
    }

    fn arrays(&self) -> usize {
        match &self.rows {
            SourceRows::Held { pieces, .. } => pieces.len(),
            SourceRows::Spilled { batches, .. } => batches.len(),
        }
    }

    /// Where the partition's row `index` is, and its status.
    fn place(&self, index: usize) -> ((usize, usize), Status) {
        match &self.rows {
            SourceRows::Held { statuses, places, .. } => {
                let (piece, row) = places[index];
                match piece {
                    NO_ROW => ((0, 0), statuses[index]),
                    piece => ((self.base + piece as usize, row as usize), statuses[index]),
                }
            }
            SourceRows::Spilled {
                batches,
                batch_rows,
                first,
            } => {
                let (batch, row) = ((index - first) / batch_rows, (index - first) % batch_rows);
                let statuses = batches[batch].columns().last();
                let status = statuses.map_or(0, |statuses| statuses.as_primitive::<UInt8Type>().value(row));
                (
                    (self.base + batch, row),
                    Status::ALL[status as usize % Status::ALL.len()],
                )
            }
        }
    }

    fn push_arrays<'b>(&'b self, column: usize, arrays: &mut Vec<&'b dyn Array>) {
        match &self.rows {
            SourceRows::Held { pieces, .. } => arrays.extend(pieces.iter().map(|piece| &*piece[column])),
            SourceRows::Spilled { batches, .. } => arrays.extend(batches.iter().map(|batch| &**batch.column(column))),
        }
    }
}

impl GatherCache {
    /// The batches that hold `rows`.
    fn read(
        &mut self,
        view: usize,
        partition: usize,
        file: &SpillFile,
        batch_rows: usize,
        rows: std::ops::Range<usize>,
    ) -> Result<Vec<RecordBatch>, BackfillError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let wanted = rows.start / batch_rows..rows.end.div_ceil(batch_rows).min(file.batches());
        let last = self.last.remove(&(view, partition));
        let mut batches = Vec::with_capacity(wanted.len());
        let mut reader = None;
        for index in wanted.clone() {
            let batch = match (&last, &mut reader) {
                (Some((known, batch)), _) if *known == index => batch.clone(),
                (_, Some(reader)) => super::spill::SpillReader::read(reader, index)?,
                (_, none) => none.insert(file.open()?).read(index)?,
            };
            batches.push(batch);
        }
        if let Some(batch) = batches.last() {
            self.last.insert((view, partition), (wanted.end - 1, batch.clone()));
        }
        Ok(batches)
    }
}
