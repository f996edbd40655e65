use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::words::partition_of;

/// How rows are divided into parts that are joined by themselves: by the upper bits of their key's word into shares, and a share
/// that is too large by time into slices. A slice is joined after those before it, from which it is handed what they leave of
/// each entity.
///
/// The time of a history's row is the first at which it can be seen, that of a spine's row the last of which it sees anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Division {
    pub bits: u32,
    shares: Vec<Share>,
    parts: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Share {
    /// The number of its first part.
    first: usize,
    /// The times at which its other parts begin, ascending.
    starts: Vec<i64>,
}

impl Division {
    /// Each share, of `1 << bits`, is one part unless it has such times.
    pub fn new(bits: u32, starts: impl IntoIterator<Item = Vec<i64>>) -> Self {
        let mut parts = 0;
        let share = |starts: Vec<i64>| {
            let first = parts;
            parts += 1 + starts.len();
            Share { first, starts }
        };
        let shares: Vec<Share> = starts.into_iter().map(share).collect();
        debug_assert_eq!(shares.len(), 1 << bits);
        Self { bits, shares, parts }
    }

    /// How many parts there are.
    pub fn parts(&self) -> usize {
        self.parts
    }

    /// The parts of a share, in the order of time.
    pub fn parts_of(&self, share: usize) -> Range<usize> {
        let Share { first, starts } = &self.shares[share];
        *first..*first + 1 + starts.len()
    }

    /// The times at which the later parts of a share begin.
    pub fn starts(&self, share: usize) -> &[i64] {
        &self.shares[share].starts
    }

    /// The part of a row of a share.
    pub fn part(&self, share: usize, time: impl FnOnce() -> i64) -> usize {
        let Share { first, starts } = &self.shares[share];
        match starts.is_empty() {
            true => *first,
            false => first + slice(starts, time()),
        }
    }

    /// The share of the key with this word.
    pub fn share(&self, word: u64) -> usize {
        partition_of(word, self.bits)
    }
}

/// The slice of a time, of those that begin at the first time of all and at `starts`.
pub(crate) fn slice(starts: &[i64], time: i64) -> usize {
    starts.partition_point(|start| *start <= time)
}

/// The times that divide `sample` into about `slices` of one size; fewer, where many are of one time.
pub(crate) fn quantiles(mut sample: Vec<i64>, slices: usize) -> Vec<i64> {
    sample.sort_unstable();
    let slices = slices.min(sample.len());
    let mut starts: Vec<i64> = (1..slices)
        .filter_map(|index| sample.get(index * sample.len() / slices).copied())
        .collect();
    starts.dedup();
    // Nothing is earlier than the first slice.
    starts.retain(|start| sample.first().is_some_and(|first| first < start));
    starts
}

#[cfg(test)]
mod tests;
