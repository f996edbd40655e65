use core::fmt::Write as _;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Accumulate, Accumulator, Identity};
use crate::Timestamp;
use crate::bound::{COUNT_BYTES, greater, varint_len};
use crate::state::{StateError, StateReader, push_varint};

/// Every value is in one bucket of each row.
const ROWS: usize = 2;
/// The counters of a bucket: of its values, then of those that have each bit set.
const COUNTERS: usize = 65;

/// The most frequent values: exact while there are at most `LIMIT` different ones, beyond that a sketch.
///
/// The sketch is a table of counters to which every event adds 1 in fixed places, so it is the same in any order and any tree of
/// merges, which sketches that replace their entries as they go (space-saving, Misra-Gries) are not. Two hashes put a
/// value in one of `WIDTH` buckets each; a bucket counts its values and, for each of the 64 bits of a key, those that have it set. Where
/// one value is more than half of its bucket, the bits in the majority spell it. So a value that is more than about
/// 1 / (2 `WIDTH`) of all above the others in its bucket is found, and the count given is never below the true one. After Cormode
/// and Muthukrishnan, "What's hot and what's not: tracking most frequent items dynamically" (2003).
///
/// Values are told apart by their [`key`](Identity::key): an i64 by itself, a string by its hash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopK<const LIMIT: usize = 64, const WIDTH: usize = 32> {
    /// Ascending by key.
    exact: Vec<(i64, u64)>,
    /// Rows of buckets of counters; empty while exact.
    sketch: Vec<u64>,
}

/// A frequent value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frequent {
    /// Its key: itself, or its hash.
    pub key: i64,
    /// How often it was seen; beyond the limit, at most that.
    pub count: i64,
}

impl<const LIMIT: usize, const WIDTH: usize> TopK<LIMIT, WIDTH> {
    const SKETCH_LEN: usize = {
        assert!(LIMIT >= 1 && LIMIT <= 4096, "the limit is 1 to 4,096");
        assert!(
            WIDTH.is_power_of_two() && WIDTH <= 1024,
            "the width is a power of two up to 1,024"
        );
        ROWS * WIDTH * COUNTERS
    };

    /// The `count` most frequent values, most frequent first, of equals the least key first; fewer where there are not so
    /// many or none stands out.
    pub fn top(&self, count: usize) -> Vec<Frequent> {
        let mut found: Vec<Frequent> = if self.is_exact() {
            let frequent = |(key, count): &(i64, u64)| Frequent {
                key: *key,
                count: i64::try_from(*count).unwrap_or(i64::MAX),
            };
            self.exact.iter().map(frequent).collect()
        } else {
            let keys = (0..ROWS * WIDTH).filter_map(|bucket| self.majority(bucket));
            keys.map(|key| Frequent {
                key,
                count: self.at_most(key),
            })
            .collect()
        };
        found.sort_by_key(|frequent| (core::cmp::Reverse(frequent.count), frequent.key));
        found.dedup();
        found.truncate(count);
        found
    }

    /// Whether every value has a count of its own.
    pub fn is_exact(&self) -> bool {
        self.sketch.is_empty()
    }

    /// The key that the bits in the majority spell, if it belongs into this bucket.
    fn majority(&self, bucket: usize) -> Option<i64> {
        let counters = &self.sketch[bucket * COUNTERS..][..COUNTERS];
        let (total, bits) = counters.split_first()?;
        let spell = |key: u64, ones: &u64| key << 1 | u64::from(*ones > total / 2);
        let key = bits.iter().rev().fold(0, spell).cast_signed();
        (*total > 0 && Self::bucket(bucket / WIDTH, key) == bucket).then_some(key)
    }

    /// The least counter that every event of `key` has added to.
    fn at_most(&self, key: i64) -> i64 {
        let mut least = u64::MAX;
        for row in 0..ROWS {
            let counters = &self.sketch[Self::bucket(row, key) * COUNTERS..][..COUNTERS];
            for (bit, ones) in counters[1..].iter().enumerate() {
                let is_set = key >> bit & 1 == 1;
                least = least.min(if is_set {
                    *ones
                } else {
                    counters[0].saturating_sub(*ones)
                });
            }
        }
        i64::try_from(least).unwrap_or(i64::MAX)
    }

    /// The bucket of `key` in `row`, counted through all rows.
    fn bucket(row: usize, key: i64) -> usize {
        let hash = xxh3_64_with_seed(&key.to_le_bytes(), row as u64 + 1);
        row * WIDTH + hash as usize % WIDTH
    }

    fn put(&mut self, key: i64, count: u64) {
        if self.is_exact() {
            match self.exact.binary_search_by_key(&key, |(held, _)| *held) {
                Ok(at) => self.exact[at].1 = self.exact[at].1.saturating_add(count),
                Err(at) => self.exact.insert(at, (key, count)),
            }
            if self.exact.len() > LIMIT {
                self.make_sketch();
            }
            return;
        }
        for row in 0..ROWS {
            let counters = &mut self.sketch[Self::bucket(row, key) * COUNTERS..][..COUNTERS];
            counters[0] = counters[0].saturating_add(count);
            for (bit, ones) in counters[1..].iter_mut().enumerate() {
                if key >> bit & 1 == 1 {
                    *ones = ones.saturating_add(count);
                }
            }
        }
    }

    fn make_sketch(&mut self) {
        self.sketch = vec![0; Self::SKETCH_LEN];
        for (key, count) in core::mem::take(&mut self.exact) {
            self.put(key, count);
        }
    }

    /// Whether no bit is set more often than its bucket has values, and every row has counted every value.
    fn is_sound(&self) -> bool {
        let buckets = || self.sketch.chunks_exact(COUNTERS);
        let total = |row: usize| {
            let totals = buckets()
                .skip(row * WIDTH)
                .take(WIDTH)
                .map(|bucket| u128::from(bucket[0]));
            totals.sum::<u128>()
        };
        buckets().all(|bucket| bucket[1..].iter().all(|ones| *ones <= bucket[0]))
            && (1..ROWS).all(|row| total(row) == total(0))
    }
}

impl<const LIMIT: usize, const WIDTH: usize> Accumulator for TopK<LIMIT, WIDTH> {
    const MAX_BYTES: Option<u64> = {
        let exact = varint_len(LIMIT as u128) + (8 + COUNT_BYTES) * LIMIT as u64;
        Some(1 + greater(exact, COUNT_BYTES * Self::SKETCH_LEN as u64))
    };

    fn layout(text: &mut String) {
        let _ = write!(text, "top-k {LIMIT} {WIDTH}");
    }

    fn merge(&mut self, other: &Self) {
        if self.is_exact() && !other.is_exact() {
            self.make_sketch();
        }
        for (counter, count) in self.sketch.iter_mut().zip(&other.sketch) {
            *counter = counter.saturating_add(*count);
        }
        for (key, count) in &other.exact {
            self.put(*key, *count);
        }
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.push(u8::from(!self.is_exact()));
        if self.is_exact() {
            push_varint(bytes, self.exact.len() as u128);
            for (key, count) in &self.exact {
                bytes.extend_from_slice(&key.to_le_bytes());
                push_varint(bytes, (*count).into());
            }
        }
        for counter in &self.sketch {
            push_varint(bytes, (*counter).into());
        }
    }

    fn decode(reader: &mut StateReader<'_>) -> Result<Self, StateError> {
        let mut read = Self::default();
        match reader.byte()? {
            0 => {
                let len = reader.u64()?;
                if len > LIMIT as u64 {
                    return Err(StateError::Damaged);
                }
                for _ in 0..len {
                    let key = i64::from_le_bytes(reader.array()?);
                    let count = reader.u64()?;
                    if count == 0 || read.exact.last().is_some_and(|(last, _)| *last >= key) {
                        return Err(StateError::Damaged);
                    }
                    read.exact.push((key, count));
                }
            }
            1 => {
                read.sketch = (0..Self::SKETCH_LEN).map(|_| reader.u64()).collect::<Result<_, _>>()?;
                if !read.is_sound() {
                    return Err(StateError::Damaged);
                }
            }
            _ => return Err(StateError::Damaged),
        }
        Ok(read)
    }
}

impl<V: Identity, const LIMIT: usize, const WIDTH: usize> Accumulate<V> for TopK<LIMIT, WIDTH> {
    #[inline]
    fn add(&mut self, _: Timestamp, value: V) {
        self.put(value.key(), 1);
    }
}
