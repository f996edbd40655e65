use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;

use super::memory::{Budget, batch_bytes};
use super::spill::{SpillFile, SpillWriter};
use crate::backfill::BackfillError;

/// The most shares: each may hold a file open.
const MAX_BITS: u32 = 8;
/// Shares of what is not tiny, so that every thread has some.
const MIN_BITS: u32 = 4;
/// What is joined as one share.
const TINY_BYTES: u64 = 1 << 20;
/// Shares of so many bytes are sorted and picked from in caches, and the memory for one is that of the one before.
const SMALL_BYTES: u64 = 16 << 20;
/// More shares than memory calls for are made of so many at most: each has a piece of every batch that is divided.
const SMALL_BITS: u32 = 6;
/// What goes to a file at once.
const SPILL_BYTES: u64 = 4 << 20;
/// One row of so many is a sample of their times.
const SAMPLE_ROWS: usize = 4_096;

/// The number of shares for so many bytes, as a power of two.
pub(crate) fn share_bits(bytes: u64, budget: &Budget) -> u32 {
    if bytes <= TINY_BYTES.min(budget.partition_bytes) {
        return 0;
    }
    let bits_of = |share_bytes: u64| bytes.div_ceil(share_bytes).next_power_of_two().ilog2();
    let needed = bits_of(budget.partition_bytes);
    needed
        .max(bits_of(SMALL_BYTES).clamp(MIN_BITS, SMALL_BITS))
        .min(MAX_BITS)
}

/// Rows that are being divided into parts. What is too much for memory goes to a file for each part.
pub(crate) struct Scatter<'a> {
    schema: SchemaRef,
    budget: &'a Budget,
    directory: &'a Path,
    /// Of the files, in front of the number of the part.
    prefix: String,
    slots: Vec<Mutex<Slot>>,
    /// What each part holds in memory, readable without its lock.
    held: Vec<AtomicU64>,
}

#[derive(Default)]
struct Slot {
    pieces: Vec<RecordBatch>,
    spill: Option<SpillWriter>,
    rows: u64,
    bytes: u64,
    sample: Vec<i64>,
}

/// The rows of one part, in any order.
#[derive(Default)]
pub(crate) struct Partition {
    pieces: Vec<RecordBatch>,
    spill: Option<SpillFile>,
    held_bytes: u64,
    /// All of its rows, in memory or not.
    pub rows: u64,
    pub bytes: u64,
    /// The times of some rows.
    pub sample: Vec<i64>,
}

impl<'a> Scatter<'a> {
    /// Into so many parts.
    pub fn new(schema: SchemaRef, parts: usize, budget: &'a Budget, directory: &'a Path, prefix: String) -> Self {
        Self {
            schema,
            budget,
            directory,
            prefix,
            slots: (0..parts).map(|_| Mutex::default()).collect(),
            held: (0..parts).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Divides the rows that have a part. `time` is that of a row.
    pub fn push(
        &self,
        batch: &RecordBatch,
        mut part: impl FnMut(usize) -> Option<usize>,
        time: impl Fn(usize) -> i64,
    ) -> Result<(), BackfillError> {
        let expected = batch.num_rows() / self.slots.len();
        let mut rows: Vec<Vec<u32>> = self
            .slots
            .iter()
            .map(|_| Vec::with_capacity(expected + expected / 4))
            .collect();
        for row in 0..batch.num_rows() {
            if let Some(part) = part(row) {
                rows[part].push(row as u32);
            }
        }
        for (part, rows) in rows.into_iter().enumerate() {
            if rows.is_empty() {
                continue;
            }
            let sample: Vec<i64> = rows
                .iter()
                .step_by(SAMPLE_ROWS)
                .map(|row| time(*row as usize))
                .collect();
            let is_whole = rows.len() == batch.num_rows();
            let piece = match is_whole {
                true => batch.clone(),
                false => take_record_batch(batch, &UInt32Array::from(rows)).map_err(too_large)?,
            };
            self.hold(part, piece, sample)?;
        }
        Ok(())
    }

    fn hold(&self, part: usize, piece: RecordBatch, sample: Vec<i64>) -> Result<(), BackfillError> {
        let bytes = batch_bytes(&piece);
        let mut slot = lock(&self.slots[part]);
        slot.rows += piece.num_rows() as u64;
        slot.bytes += bytes;
        slot.sample.extend(sample);
        slot.pieces.push(piece);
        self.held[part].fetch_add(bytes, Ordering::Relaxed);
        self.budget.held.take(bytes);
        drop(slot);
        while self.budget.held.is_over() {
            // The one that holds most: the fewest and the largest writes.
            let largest = self
                .held
                .iter()
                .enumerate()
                .max_by_key(|(_, held)| held.load(Ordering::Relaxed));
            match largest {
                Some((part, held)) if held.load(Ordering::Relaxed) > 0 => self.spill(part)?,
                // What else is held is not of this scatter.
                _ => break,
            }
        }
        Ok(())
    }

    /// Writes what a part holds to its file.
    fn spill(&self, part: usize) -> Result<(), BackfillError> {
        let mut slot = lock(&self.slots[part]);
        let pieces = std::mem::take(&mut slot.pieces);
        let bytes = self.held[part].swap(0, Ordering::Relaxed);
        if !pieces.is_empty() {
            let mut spill = match slot.spill.take() {
                Some(spill) => spill,
                None => SpillWriter::create(self.path(part), &self.schema)?,
            };
            // A few at a time: put together they are in memory twice.
            let (mut first, mut run_bytes) = (0, 0);
            for (index, piece) in pieces.iter().enumerate() {
                run_bytes += batch_bytes(piece);
                if SPILL_BYTES <= run_bytes || index + 1 == pieces.len() {
                    let run = &pieces[first..=index];
                    spill.push(&concat_batches(&self.schema, run).map_err(too_large)?)?;
                    (first, run_bytes) = (index + 1, 0);
                }
            }
            slot.spill = Some(spill);
        }
        self.budget.held.give(bytes);
        Ok(())
    }

    fn path(&self, part: usize) -> PathBuf {
        self.directory.join(format!("{}-{part}.arrow", self.prefix))
    }

    /// The parts.
    pub fn finish(self) -> Result<Vec<Partition>, BackfillError> {
        let finish = |(slot, held): (Mutex<Slot>, AtomicU64)| {
            let slot = slot.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
            Ok(Partition {
                pieces: slot.pieces,
                spill: slot.spill.map(SpillWriter::finish).transpose()?,
                held_bytes: held.into_inner(),
                rows: slot.rows,
                bytes: slot.bytes,
                sample: slot.sample,
            })
        };
        self.slots.into_iter().zip(self.held).map(finish).collect()
    }
}

impl Partition {
    /// Whether a part of it is on disk.
    pub fn is_spilled(&self) -> bool {
        self.spill.is_some()
    }

    /// Its rows that are in memory.
    pub fn pieces(&self) -> &[RecordBatch] {
        &self.pieces
    }

    /// What it holds in memory.
    pub fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    /// The rows: what was read from disk first.
    pub fn load(self) -> Result<Vec<RecordBatch>, BackfillError> {
        let mut batches = self.spill.map_or(Ok(Vec::new()), |spill| spill.read_all())?;
        batches.extend(self.pieces);
        Ok(batches)
    }

    /// The rows, some at a time; what was held of them is given back to `budget` first.
    pub fn for_each(
        self,
        budget: &Budget,
        mut each: impl FnMut(&RecordBatch) -> Result<(), BackfillError>,
    ) -> Result<(), BackfillError> {
        budget.held.give(self.held_bytes);
        for piece in self.pieces {
            each(&piece)?;
        }
        if let Some(spill) = self.spill {
            let mut reader = spill.open()?;
            (0..spill.batches()).try_for_each(|batch| each(&reader.read(batch)?))?;
        }
        Ok(())
    }
}

/// Columns of texts are limited to 2 GiB a batch.
pub(crate) fn too_large(error: arrow::error::ArrowError) -> BackfillError {
    BackfillError::TooLarge {
        reason: error.to_string(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
