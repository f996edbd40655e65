use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, ArrayRef, RecordBatch};
use unskew::CallLimits;

/// What a backfill may use when nobody says: 2 GiB.
pub const DEFAULT_MEMORY_BYTES: u64 = 2 << 30;
/// The least that it keeps to, about: less is taken for this much. Wide rows need more:
/// [`BackfillError::Memory`](crate::BackfillError::Memory).
pub const MIN_MEMORY_BYTES: u64 = 64 << 20;
/// What the process takes whatever it does.
const PROCESS_BYTES: u64 = 32 << 20;
/// How much of the budget may be taken, in hundredths.
const TOLERANCE_PERCENT: u64 = 125;

/// How the budget is divided. The rest is for what is read, sorted and written at any moment.
pub(crate) struct Budget {
    /// Rows that are held from one phase to the next; what is beyond goes to disk.
    pub held: Pool,
    /// One partition, while it is joined.
    pub partition_bytes: u64,
    /// What one thread reads or writes at a time.
    pub piece_bytes: u64,
    pub threads: usize,
}

/// What threads take that write row groups: the least that there must be for each of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writing {
    pub columns: u64,
    /// Of a row group, before it is compressed.
    pub group_rows: u64,
    pub group_bytes: u64,
}

impl Writing {
    /// A compressor a column, which has about six times what it compresses at once, a page; and a row group that is being encoded
    /// with one that waits for its turn.
    fn thread_bytes(self) -> u64 {
        const PAGE_ROWS: u64 = 20_000;
        const MOST_BYTES: u64 = 1 << 20;
        let page_bytes =
            self.group_bytes / self.columns.max(1) * PAGE_ROWS.min(self.group_rows) / self.group_rows.max(1);
        self.columns * (6 * page_bytes).min(MOST_BYTES) + 2 * self.group_bytes
    }

    /// The threads that a budget of `bytes` has room for, of so many.
    ///
    /// # Errors
    /// It has room for none; says how many bytes have for one.
    pub fn threads_within(self, bytes: u64, threads: usize) -> Result<usize, u64> {
        let least = |threads: u64| PROCESS_BYTES + threads * self.thread_bytes();
        let most = bytes.max(MIN_MEMORY_BYTES).saturating_mul(TOLERANCE_PERCENT) / 100;
        match (1..=threads.max(1))
            .rev()
            .find(|threads| least(*threads as u64) <= most)
        {
            Some(threads) => Ok(threads),
            None => Err((least(1) * 100).div_ceil(TOLERANCE_PERCENT)),
        }
    }
}

impl Budget {
    /// Divides `bytes` for `threads`.
    pub fn new(bytes: u64, threads: usize) -> Self {
        let threads = threads.max(1);
        let part = |parts: u64| (bytes / parts / threads as u64).max(1);
        Self {
            held: Pool {
                limit: bytes / 2,
                used: AtomicU64::new(0),
            },
            partition_bytes: part(8),
            piece_bytes: part(32).min(16 << 20),
            threads,
        }
    }

    /// What the instance of a thread may have: more than usual for an entity of millions of events, where there is room.
    pub fn instance_bytes(&self) -> usize {
        let bytes = usize::try_from(2 * self.partition_bytes).unwrap_or(usize::MAX);
        bytes.clamp(CallLimits::BATCH.memory_bytes, CallLimits::MAX_MEMORY_BYTES)
    }
}

/// Bytes that are accounted for.
pub(crate) struct Pool {
    limit: u64,
    used: AtomicU64,
}

// Relaxed: the numbers guard nothing else.
impl Pool {
    /// Accounts for more bytes.
    pub fn take(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives bytes back that were taken.
    pub fn give(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether so many more may be held.
    pub fn has_room(&self, bytes: u64) -> bool {
        self.used.load(Ordering::Relaxed).saturating_add(bytes) <= self.limit
    }

    /// Whether more is held than should be.
    pub fn is_over(&self) -> bool {
        self.limit < self.used.load(Ordering::Relaxed)
    }
}

/// Has the allocator keep what is freed, for arrays that are made and dropped all the time: glibc gives blocks and what is free
/// behind them back to the system, which then clears them anew, unless they are smaller than one that was freed before. Elsewhere
/// it does nothing that shows.
pub(crate) fn keep_freed_memory(budget_bytes: u64) {
    /// glibc learns nothing from larger ones.
    const MOST: u64 = 30 << 20;
    let block = MOST.min(budget_bytes / 32) as usize;
    drop(std::hint::black_box(Vec::<u8>::with_capacity(block)));
}

/// The memory that a batch takes; of slices their part.
pub(crate) fn batch_bytes(batch: &RecordBatch) -> u64 {
    batch.columns().iter().map(array_bytes).sum()
}

/// The memory that an array takes; of a slice its part.
pub(crate) fn array_bytes(array: &ArrayRef) -> u64 {
    let data = array.to_data();
    data.get_slice_memory_size()
        .unwrap_or_else(|_| array.get_array_memory_size()) as u64
}

#[cfg(test)]
mod tests;
