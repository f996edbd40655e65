use core::fmt::Write as _;

use super::ranked::{push_rank, read_rank};
use super::{Accumulate, Accumulator, Ranked};
use crate::Timestamp;
use crate::bound::varint_len;
use crate::state::{StateError, StateReader, push_varint};

/// The values of the `K` latest events, of several at the same time the greatest: the last pages of a user, the last prices
/// of a slot. An event counts as often as it was seen.
#[derive(Clone, Debug)]
pub struct LastK<T, const K: usize>(
    /// Descending by time and rank.
    Vec<(Timestamp, T)>,
);

impl<T: Ranked, const K: usize> LastK<T, K> {
    /// The values, latest first, with the times of their events: at most `K`.
    pub fn values(&self) -> &[(Timestamp, T)] {
        &self.0
    }

    /// The value of the event `index` back, 0 being the last; none if there are not so many.
    pub fn get(&self, index: usize) -> Option<T> {
        self.0.get(index).map(|(_, value)| *value)
    }
}

impl<T, const K: usize> Default for LastK<T, K> {
    fn default() -> Self {
        const { assert!(K > 0 && K <= 1024, "K is 1 to 1024") };
        Self(Vec::new())
    }
}

/// Equality is of times and ranks, as the bytes are.
impl<T: Ranked, const K: usize> PartialEq for LastK<T, K> {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().map(key).eq(other.0.iter().map(key))
    }
}

impl<T: Ranked, const K: usize> Accumulator for LastK<T, K> {
    const MAX_BYTES: Option<u64> = Some(varint_len(K as u128) + 16 * K as u64);
    /// As long as the list takes no more than some sums.
    const IS_COMPACT: bool = K <= 4;

    fn layout(text: &mut String) {
        let _ = write!(text, "last-k {} {K}", T::NAME);
    }

    fn merge(&mut self, other: &Self) {
        for (time, value) in &other.0 {
            self.add(*time, *value);
        }
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        push_varint(bytes, self.0.len() as u128);
        for (time, value) in &self.0 {
            push_rank(*time, bytes);
            push_rank(*value, bytes);
        }
    }

    fn decode(reader: &mut StateReader<'_>) -> Result<Self, StateError> {
        let len = reader.u64()?;
        if len > K as u64 {
            return Err(StateError::Damaged);
        }
        let mut values: Vec<(Timestamp, T)> = Vec::new();
        for _ in 0..len {
            let next = (read_rank(reader)?, read_rank(reader)?);
            if values.last().is_some_and(|last| key(last) < key(&next)) {
                return Err(StateError::Damaged);
            }
            values.push(next);
        }
        Ok(Self(values))
    }
}

impl<T: Ranked, const K: usize> Accumulate<T> for LastK<T, K> {
    #[inline]
    fn add(&mut self, time: Timestamp, value: T) {
        // Through the rank, so that a NaN of any payload is held as the canonical one.
        let Some(value) = T::from_rank(value.rank()) else {
            return;
        };
        let new = (time, value);
        if self.0.len() == K && self.0.last().is_some_and(|last| key(&new) <= key(last)) {
            return;
        }
        let at = self.0.partition_point(|held| key(held) >= key(&new));
        self.0.truncate(K - 1);
        self.0.insert(at, new);
    }
}

fn key<T: Ranked>((time, value): &(Timestamp, T)) -> (Timestamp, u64) {
    (*time, value.rank())
}
