//! Rows in any order into the canonical order, within a memory budget.
//!
//! ```text
//! push: append the record to the log, and its hash and place to the entries of the bucket that the top of the hash chooses
//! memory is full: sort the entries, bucket by bucket, write the records in their order as a run, forget them
//! visit: without runs, sort the entries and visit the records in their order;
//!        else write what is left as a run and merge the runs
//! ```
//!
//! Records are read in another order than they were written, so each is asked for some records ahead: that halves the time
//! of a visit.

use core::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Seek, SeekFrom, Write};

use crate::chunk::Chunk;
use crate::prefetch::{LINE_BYTES, prefetch};
use crate::record::{self, Record};
use crate::spill::SpillDirectory;

/// What a part of the log takes, so that it grows without being copied.
const CHUNK_WORDS: usize = 1 << 20;
/// How far ahead of its use a record is asked for.
const AHEAD: usize = 24;
/// The most buckets of entries, as a power of two: each is being appended to, in a line of its own in the cache.
const MAX_BUCKET_BITS: u32 = 10;
/// What there is of memory for a bucket at least.
const MIN_BUCKET_BYTES: u64 = 64 << 10;
/// What a bucket grows by at least.
const MIN_BUCKET_ENTRIES: usize = 16;
/// Runs that are merged at once; when there are as many, they become one.
const MAX_RUNS: usize = 128;
const WRITE_BUFFER_BYTES: usize = 1 << 20;
const MIN_READ_BUFFER_BYTES: u64 = 64 << 10;
/// What the other parts of a writer take.
const RESERVED_BYTES: u64 = 96 << 20;
/// A budget that is hardly more than what is reserved must not make runs of a few rows.
const MIN_BYTES: u64 = 4 << 20;

/// Takes a record, and whether the next one has another key.
pub(crate) type Visit<'a, E> = dyn FnMut(Record<'_>, bool) -> Result<(), E> + 'a;

/// Sorts records.
#[derive(Debug)]
pub(crate) struct Sorter {
    row_bytes: usize,
    directory: SpillDirectory,
    limit_bytes: u64,
    chunk_words: usize,
    log: Vec<Chunk>,
    /// By the top of the hash, so that each is sorted in the nearest caches.
    buckets: Vec<Vec<Entry>>,
    /// The entries that the buckets have room for.
    entry_capacity: usize,
    is_sorted: bool,
    /// Of what was sorted: whether a key has several records.
    has_duplicates: bool,
    runs: Vec<File>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u64,
    /// Where the record is in the log.
    chunk: u32,
    start: u32,
}

impl Sorter {
    /// A sorter of records whose rows have `row_bytes`.
    pub(crate) fn new(row_bytes: usize, memory_budget_bytes: u64, directory: SpillDirectory) -> Self {
        let limit_bytes = memory_budget_bytes.saturating_sub(RESERVED_BYTES).max(MIN_BYTES);
        Self::with_limit(row_bytes, limit_bytes, directory)
    }

    fn with_limit(row_bytes: usize, limit_bytes: u64, directory: SpillDirectory) -> Self {
        Self {
            row_bytes,
            directory,
            limit_bytes,
            chunk_words: (limit_bytes / 128).clamp(16, CHUNK_WORDS as u64) as usize,
            log: Vec::new(),
            buckets: vec![Vec::new(); 1 << bucket_bits(limit_bytes)],
            entry_capacity: 0,
            is_sorted: false,
            has_duplicates: false,
            runs: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, record: Record<'_>) -> io::Result<()> {
        let word_count = record.word_count();
        let has_room = |chunk: &Chunk| chunk.capacity() - chunk.len() >= word_count;
        if !self.log.last().is_some_and(has_room) {
            if self.memory_bytes() > self.limit_bytes {
                self.spill()?;
            }
            self.log.push(Chunk::with_capacity(self.chunk_words.max(word_count))?);
        }
        let chunk_index = self.log.len() - 1;
        let chunk = &mut self.log[chunk_index];
        let entry = Entry {
            hash: record.hash,
            chunk: chunk_index as u32,
            start: chunk.len() as u32,
        };
        record.write(chunk.extend(word_count));
        let bits = self.buckets.len().trailing_zeros();
        let bucket = &mut self.buckets[record.hash.unbounded_shr(u64::BITS - bits) as usize];
        if bucket.len() == bucket.capacity() {
            // By less than twice, for memory is what there is least of.
            let more = (bucket.len() / 4).max(MIN_BUCKET_ENTRIES);
            let before = bucket.capacity();
            bucket.reserve_exact(more);
            self.entry_capacity += bucket.capacity() - before;
        }
        bucket.push(entry);
        self.is_sorted = false;
        Ok(())
    }

    /// Sorts what is in memory; whether that is all, and one record of each key.
    pub(crate) fn sort_in_memory(&mut self) -> bool {
        self.runs.is_empty() && {
            self.sort();
            !self.has_duplicates
        }
    }

    /// Visits all records in the canonical order; those of one key in any. May be called again.
    pub(crate) fn visit<E: From<io::Error>>(&mut self, visit: &mut Visit<'_, E>) -> Result<(), E> {
        if self.runs.is_empty() {
            self.sort();
            return self.visit_log(visit);
        }
        if !self.log.is_empty() {
            self.spill()?;
        }
        self.merge(visit)
    }

    /// What there is, and what the next chunk adds.
    fn memory_bytes(&self) -> u64 {
        let words = self.log.iter().map(Chunk::capacity).sum::<usize>() + self.chunk_words;
        // Buckets are filled alike, so all may grow together.
        let entries = self.entry_capacity + self.entry_capacity / 4;
        (size_of::<u64>() * words + size_of::<Entry>() * entries) as u64
    }

    /// By hash, which nearly always decides and is compared without a branch; then the few of one hash by their keys.
    fn sort(&mut self) {
        if self.is_sorted {
            return;
        }
        self.is_sorted = true;
        self.has_duplicates = false;
        let mut buckets = core::mem::take(&mut self.buckets);
        for entries in &mut buckets {
            entries.sort_unstable_by_key(|entry| entry.hash);
            for same_hash in entries.chunk_by_mut(|a, b| a.hash == b.hash) {
                if same_hash.len() > 1 {
                    same_hash.sort_unstable_by(|a, b| self.record(a).key.cmp(self.record(b).key));
                    let mut pairs = same_hash.windows(2);
                    self.has_duplicates |= pairs.any(|pair| self.record(&pair[0]).key == self.record(&pair[1]).key);
                }
            }
        }
        self.buckets = buckets;
    }

    fn record(&self, entry: &Entry) -> Record<'_> {
        Record::parse(self.words(entry), self.row_bytes)
    }

    fn words(&self, entry: &Entry) -> &[u64] {
        &self.log[entry.chunk as usize].words()[entry.start as usize..]
    }

    fn visit_log<E>(&self, visit: &mut Visit<'_, E>) -> Result<(), E> {
        for entries in &self.buckets {
            for (index, entry) in entries.iter().enumerate() {
                if let Some(ahead) = entries.get(index + AHEAD) {
                    let bytes: &[u8] = bytemuck::cast_slice(self.words(ahead));
                    prefetch(bytes, 0);
                    prefetch(bytes, LINE_BYTES);
                    prefetch(bytes, 2 * LINE_BYTES);
                }
                let record = self.record(entry);
                // The next bucket's hashes are others.
                let next = entries.get(index + 1);
                let is_last = next.is_none_or(|next| next.hash != entry.hash || self.record(next).key != record.key);
                visit(record, is_last)?;
            }
        }
        Ok(())
    }

    /// Writes all records as a sorted run.
    fn spill(&mut self) -> io::Result<()> {
        self.sort();
        let mut out = BufWriter::with_capacity(WRITE_BUFFER_BYTES, self.directory.file()?);
        let row_bytes = self.row_bytes;
        let mut words = Vec::with_capacity(record::word_count(row_bytes, 0, 0));
        self.visit_log(&mut |record, _| {
            words.clear();
            record.append(&mut words);
            out.write_all(bytemuck::cast_slice(&words))
        })?;
        self.log = Vec::new();
        self.buckets.fill(Vec::new());
        self.entry_capacity = 0;
        self.runs
            .push(out.into_inner().map_err(io::IntoInnerError::into_error)?);
        if self.runs.len() == MAX_RUNS {
            self.unite_runs()?;
        }
        Ok(())
    }

    fn unite_runs(&mut self) -> io::Result<()> {
        let mut out = BufWriter::with_capacity(WRITE_BUFFER_BYTES, self.directory.file()?);
        let mut words = Vec::new();
        self.merge(&mut |record, _| {
            words.clear();
            record.append(&mut words);
            out.write_all(bytemuck::cast_slice(&words))
        })?;
        self.runs = vec![out.into_inner().map_err(io::IntoInnerError::into_error)?];
        Ok(())
    }

    fn merge<E: From<io::Error>>(&self, visit: &mut Visit<'_, E>) -> Result<(), E> {
        let share = self.limit_bytes / (2 * self.runs.len() as u64);
        let buffer_bytes = share.clamp(MIN_READ_BUFFER_BYTES, WRITE_BUFFER_BYTES as u64) as usize;
        let mut heads = BinaryHeap::with_capacity(self.runs.len());
        for run in &self.runs {
            let mut file = run;
            file.seek(SeekFrom::Start(0))?;
            let mut head = Head {
                from: BufReader::with_capacity(buffer_bytes, file),
                row_bytes: self.row_bytes,
                words: Vec::new(),
            };
            if head.advance()? {
                heads.push(head);
            }
        }
        let mut words = Vec::new();
        loop {
            let Some(mut head) = heads.peek_mut() else {
                return Ok(());
            };
            core::mem::swap(&mut words, &mut head.words);
            if head.advance()? {
                drop(head);
            } else {
                PeekMut::pop(head);
            }
            let record = Record::parse(&words, self.row_bytes);
            let is_last = heads.peek().is_none_or(|next| next.record().order() != record.order());
            visit(record, is_last)?;
        }
    }
}

/// Few buckets for little memory.
fn bucket_bits(limit_bytes: u64) -> u32 {
    let buckets = limit_bytes / MIN_BUCKET_BYTES;
    buckets.checked_ilog2().unwrap_or(0).min(MAX_BUCKET_BITS)
}

/// The next record of a run. The heap gives the greatest, so the order is turned round.
struct Head<'a> {
    from: BufReader<&'a File>,
    row_bytes: usize,
    words: Vec<u64>,
}

impl Head<'_> {
    fn record(&self) -> Record<'_> {
        Record::parse(&self.words, self.row_bytes)
    }

    fn advance(&mut self) -> io::Result<bool> {
        record::read(&mut self.from, self.row_bytes, &mut self.words)
    }
}

impl Ord for Head<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.record().order().cmp(&self.record().order())
    }
}

impl PartialOrd for Head<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head<'_> {}

#[cfg(test)]
mod tests;
