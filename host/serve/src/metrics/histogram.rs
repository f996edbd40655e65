use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The bounded buckets of a [`Histogram`].
pub const BUCKETS: usize = 18;

/// How long something took, in buckets each twice as wide as the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// The bound of the first bucket; the others' are twice the one before.
    pub first_ns: u64,
    /// How many were within the bound of each bucket and beyond the one before; the last has no bound.
    pub counts: [u64; BUCKETS + 1],
    /// All of them together.
    pub sum_ns: u64,
}

impl Histogram {
    pub(crate) fn new(first_ns: u64) -> Self {
        Self {
            first_ns,
            counts: [0; BUCKETS + 1],
            sum_ns: 0,
        }
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The bounds of the bounded buckets, in nanoseconds.
    pub fn bounds_ns(&self) -> impl Iterator<Item = u64> {
        let first = self.first_ns;
        (0..BUCKETS).map(move |bucket| first << bucket)
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (count, added) in self.counts.iter_mut().zip(other.counts) {
            *count += added;
        }
        self.sum_ns += other.sum_ns;
    }
}

/// A count that one thread at a time adds to, and any may read.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// A load and a store, as one thread adds: no locked instruction. Relaxed: counts order nothing.
    #[inline]
    pub fn add(&self, count: u64) {
        let value = self.0.load(Ordering::Relaxed);
        self.0.store(value.wrapping_add(count), Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A [`Histogram`] that one thread at a time adds to.
#[derive(Debug)]
pub(crate) struct Recorder {
    first_ns: u64,
    counts: [Counter; BUCKETS + 1],
    sum_ns: Counter,
}

impl Recorder {
    pub fn new(first_ns: u64) -> Self {
        Self {
            first_ns,
            counts: Default::default(),
            sum_ns: Counter::default(),
        }
    }

    pub fn record(&self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(ns, self.first_ns)].add(1);
        self.sum_ns.add(ns);
    }

    pub fn read(&self) -> Histogram {
        Histogram {
            first_ns: self.first_ns,
            counts: std::array::from_fn(|bucket| self.counts[bucket].get()),
            sum_ns: self.sum_ns.get(),
        }
    }
}

/// The bucket of a duration: of the first bound that it is not beyond.
fn bucket(ns: u64, first_ns: u64) -> usize {
    let bounds = ns.div_ceil(first_ns).max(1);
    let doublings = u64::BITS - (bounds - 1).leading_zeros();
    (doublings as usize).min(BUCKETS)
}

#[cfg(test)]
mod tests;
