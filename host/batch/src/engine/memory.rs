use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, ArrayRef, RecordBatch};

/// What a backfill may use when nobody says: 2 GiB.
pub const DEFAULT_MEMORY_BYTES: u64 = 2 << 30;
/// The least that it keeps to: what the process itself takes comes on top.
pub const MIN_MEMORY_BYTES: u64 = 32 << 20;

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
