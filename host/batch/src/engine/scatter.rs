use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;

use super::memory::{Budget, batch_bytes};
use super::spill::{SpillFile, SpillWriter};
use crate::backfill::BackfillError;
use crate::words::{KeyWords, partition_of};

/// The most partitions: each may hold a file open.
const MAX_BITS: u32 = 8;
/// Partitions of what is not tiny, so that every thread has some.
const MIN_BITS: u32 = 4;
/// What is joined as one partition.
const TINY_BYTES: u64 = 1 << 20;

/// The number of partitions for so many bytes, as a power of two.
pub(crate) fn partition_bits(bytes: u64, budget: &Budget) -> u32 {
    if bytes <= TINY_BYTES.min(budget.partition_bytes) {
        return 0;
    }
    let partitions = bytes.div_ceil(budget.partition_bytes).next_power_of_two();
    partitions.ilog2().clamp(MIN_BITS, MAX_BITS)
}

/// Rows that are being divided by entity key. What is too much for memory goes to a file for each partition.
pub(crate) struct Scatter<'a> {
    schema: SchemaRef,
    bits: u32,
    /// Whether rows without a key are kept, in the first partition; else they go to none.
    keeps_keyless: bool,
    budget: &'a Budget,
    directory: &'a Path,
    /// Of the files, in front of the number of the partition.
    prefix: String,
    slots: Vec<Mutex<Slot>>,
    /// What each partition holds in memory, readable without its lock.
    held: Vec<AtomicU64>,
}

#[derive(Default)]
struct Slot {
    pieces: Vec<RecordBatch>,
    spill: Option<SpillWriter>,
}

/// The rows of one partition, in any order.
#[derive(Default)]
pub(crate) struct Partition {
    pieces: Vec<RecordBatch>,
    spill: Option<SpillFile>,
    held_bytes: u64,
}

impl<'a> Scatter<'a> {
    /// Rows without a key go to no partition.
    pub fn new(schema: SchemaRef, bits: u32, budget: &'a Budget, directory: &'a Path, prefix: String) -> Self {
        let partitions = 1 << bits;
        Self {
            schema,
            bits,
            keeps_keyless: false,
            budget,
            directory,
            prefix,
            slots: (0..partitions).map(|_| Mutex::default()).collect(),
            held: (0..partitions).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Rows without a key go to the first partition, if `keeps_keyless`.
    pub fn keeping_keyless(self, keeps_keyless: bool) -> Self {
        Self { keeps_keyless, ..self }
    }

    /// Divides the rows that are to be kept. Gives how many went to each partition.
    pub fn push(
        &self,
        batch: &RecordBatch,
        words: &KeyWords,
        keep: impl Fn(usize) -> bool,
    ) -> Result<Vec<u32>, BackfillError> {
        let expected = batch.num_rows() / self.slots.len();
        let mut rows: Vec<Vec<u32>> = self
            .slots
            .iter()
            .map(|_| Vec::with_capacity(expected + expected / 4))
            .collect();
        for (row, word) in words.words.iter().enumerate() {
            if !words.is_present(row) {
                if self.keeps_keyless {
                    rows[0].push(row as u32);
                }
            } else if keep(row) {
                rows[partition_of(*word, self.bits)].push(row as u32);
            }
        }
        let counts = rows.iter().map(|rows| rows.len() as u32).collect();
        for (partition, rows) in rows.into_iter().enumerate() {
            if rows.is_empty() {
                continue;
            }
            let is_whole = rows.len() == batch.num_rows();
            let piece = match is_whole {
                true => batch.clone(),
                false => take_record_batch(batch, &UInt32Array::from(rows)).map_err(too_large)?,
            };
            self.hold(partition, piece)?;
        }
        Ok(counts)
    }

    fn hold(&self, partition: usize, piece: RecordBatch) -> Result<(), BackfillError> {
        let bytes = batch_bytes(&piece);
        let mut slot = lock(&self.slots[partition]);
        slot.pieces.push(piece);
        self.held[partition].fetch_add(bytes, Ordering::Relaxed);
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
                Some((partition, held)) if held.load(Ordering::Relaxed) > 0 => self.spill(partition)?,
                // What else is held is not of this scatter.
                _ => break,
            }
        }
        Ok(())
    }

    /// Writes what a partition holds to its file.
    fn spill(&self, partition: usize) -> Result<(), BackfillError> {
        let mut slot = lock(&self.slots[partition]);
        let pieces = std::mem::take(&mut slot.pieces);
        let bytes = self.held[partition].swap(0, Ordering::Relaxed);
        if !pieces.is_empty() {
            let mut spill = match slot.spill.take() {
                Some(spill) => spill,
                None => SpillWriter::create(self.path(partition), &self.schema)?,
            };
            let whole = concat_batches(&self.schema, &pieces).map_err(too_large)?;
            spill.push(&whole)?;
            slot.spill = Some(spill);
        }
        self.budget.held.give(bytes);
        Ok(())
    }

    fn path(&self, partition: usize) -> PathBuf {
        self.directory.join(format!("{}-{partition}.arrow", self.prefix))
    }

    /// The partitions.
    pub fn finish(self) -> Result<Vec<Partition>, BackfillError> {
        let finish = |(slot, held): (Mutex<Slot>, AtomicU64)| {
            let slot = slot.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
            Ok(Partition {
                pieces: slot.pieces,
                spill: slot.spill.map(SpillWriter::finish).transpose()?,
                held_bytes: held.into_inner(),
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
