use std::sync::atomic::{AtomicU64, Ordering};

/// The words that were inserted, and a few more: one bit each, in eight times as many.
pub(crate) struct Membership {
    bits: Vec<AtomicU64>,
}

impl Membership {
    pub fn new(words: u64) -> Self {
        const MOST_BITS: u64 = 1 << 28;
        let bits = words.saturating_mul(8).next_power_of_two().clamp(64, MOST_BITS);
        Self {
            bits: (0..bits / 64).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    // The lower bits of a word; the upper ones are the partition's. Relaxed: threads meet before the bits are read.
    fn place(&self, word: u64) -> (&AtomicU64, u64) {
        let index = (word / 64) as usize & (self.bits.len() - 1);
        (&self.bits[index], 1 << (word % 64))
    }

    pub fn insert(&self, word: u64) {
        let (bits, bit) = self.place(word);
        if bits.load(Ordering::Relaxed) & bit == 0 {
            bits.fetch_or(bit, Ordering::Relaxed);
        }
    }

    pub fn may_contain(&self, word: u64) -> bool {
        let (bits, bit) = self.place(word);
        bits.load(Ordering::Relaxed) & bit != 0
    }
}
