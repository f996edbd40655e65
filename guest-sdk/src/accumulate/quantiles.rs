use core::fmt::Write as _;

use super::{Accumulate, Accumulator, Count};
use crate::Timestamp;
use crate::bound::{COUNT_BYTES, varint_len};
use crate::state::{StateError, StateReader, push_varint, unzigzag, zigzag};

/// Quantiles of the values, f64 or i64: how many fell into each of many buckets, which are narrow in proportion to the
/// values in them. With the default of 6 `BITS` a quantile is within 0.8 % of the value that it stands for: 2^-(`BITS` + 1).
///
/// A bucket is what the sign, the exponent and the first `BITS` bits of the fraction of an f64 say, so the mapping needs no
/// logarithm and is exact. At most `BUCKETS` are kept: beyond that the least values count as those of the least
/// bucket kept, whose quantiles are then too high. The default of 2,048 covers a ratio of 2^32 between the greatest and the
/// least. Which buckets are kept is a function of the values. After Masson, Rim and Lee, "DDSketch" (2019), with
/// its collapse of the lowest buckets and a mapping that is linear within a power of two.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quantiles<const BITS: u32 = 6, const BUCKETS: usize = 2048> {
    /// Number of the bucket and how many values are in it, ascending.
    buckets: Vec<(i32, u64)>,
    not_numbers: Count,
}

impl<const BITS: u32, const BUCKETS: usize> Quantiles<BITS, BUCKETS> {
    const SHIFT: u32 = {
        assert!(BITS >= 1 && BITS <= 12, "a bucket has 1 to 12 bits of the fraction");
        assert!(BUCKETS >= 2 && BUCKETS <= 1 << 16, "there are 2 to 65536 buckets");
        52 - BITS
    };
    /// The bucket of the infinity.
    const INFINITE: i32 = (0x7ff << BITS) + 1;

    /// How many values there were, without NaNs.
    pub fn count(&self) -> i64 {
        let count = self
            .buckets
            .iter()
            .fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
        i64::try_from(count).unwrap_or(i64::MAX)
    }

    /// How many NaNs there were, which are in no bucket.
    pub fn not_numbers(&self) -> i64 {
        self.not_numbers.value()
    }

    /// The value at `q` of the way from the least (0.0) to the greatest (1.0); none without values. It is the middle of the
    /// bucket of the value of rank floor(q (n - 1)).
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let last = self.count() - 1;
        if last < 0 || q.is_nan() {
            return None;
        }
        let rank = (q.clamp(0.0, 1.0) * last as f64) as i64;
        let mut left = rank.min(last).cast_unsigned();
        for (bucket, count) in &self.buckets {
            if left < *count {
                return Some(Self::middle(*bucket));
            }
            left -= count;
        }
        None
    }

    /// The share of the values that are below `value`, those of its own bucket by half; none without values.
    pub fn share_below(&self, value: f64) -> Option<f64> {
        let (count, own) = (self.count(), Self::bucket(value)?);
        let mut twice = 0.0;
        for (bucket, count) in self.buckets.iter().take_while(|(bucket, _)| *bucket <= own) {
            twice += *count as f64 * if *bucket < own { 2.0 } else { 1.0 };
        }
        (count > 0).then(|| twice / 2.0 / count as f64)
    }

    /// 0 for zeros, positive and negative numbers for positive and negative values; none for NaN.
    fn bucket(value: f64) -> Option<i32> {
        if value.is_nan() {
            return None;
        }
        if value == 0.0 {
            return Some(0);
        }
        let magnitude = (value.abs().to_bits() >> Self::SHIFT) as i32 + 1;
        Some(if value < 0.0 { -magnitude } else { magnitude })
    }

    fn middle(bucket: i32) -> f64 {
        if bucket == 0 {
            return 0.0;
        }
        let edge = |bucket: u32| f64::from_bits(u64::from(bucket) << Self::SHIFT);
        let magnitude = bucket.unsigned_abs();
        let low = edge(magnitude - 1);
        // The bucket of the infinity is that alone; the one below it has no upper edge that is a number.
        let is_edge = magnitude >= Self::INFINITE.unsigned_abs() || edge(magnitude).is_infinite();
        let middle = if is_edge {
            low
        } else {
            low + (edge(magnitude) - low) / 2.0
        };
        if bucket < 0 { -middle } else { middle }
    }

    #[inline]
    fn put(&mut self, bucket: i32, count: u64) {
        // Once there are all, what is below them is in the least.
        let full_from = self.buckets.first().filter(|_| self.buckets.len() == BUCKETS);
        let bucket = full_from.map_or(bucket, |(least, _)| bucket.max(*least));
        let at = self.buckets.partition_point(|(held, _)| *held < bucket);
        match self.buckets.get_mut(at) {
            Some((held, held_count)) if *held == bucket => *held_count = held_count.saturating_add(count),
            _ => self.buckets.insert(at, (bucket, count)),
        }
        if self.buckets.len() > BUCKETS {
            let (_, count) = self.buckets.remove(0);
            self.buckets[0].1 = self.buckets[0].1.saturating_add(count);
        }
    }
}

impl<const BITS: u32, const BUCKETS: usize> Accumulator for Quantiles<BITS, BUCKETS> {
    const MAX_BYTES: Option<u64> = {
        let distance = varint_len(2 * Self::INFINITE.unsigned_abs() as u128);
        Some(COUNT_BYTES + varint_len(BUCKETS as u128) + (distance + COUNT_BYTES) * BUCKETS as u64)
    };

    fn layout(text: &mut String) {
        let _ = write!(text, "quantiles {BITS} {BUCKETS}");
    }

    fn merge(&mut self, other: &Self) {
        self.not_numbers.merge(&other.not_numbers);
        // The greatest first, so that what does not fit is put in the right one at once.
        for (bucket, count) in other.buckets.iter().rev() {
            self.put(*bucket, *count);
        }
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        self.not_numbers.encode(bytes);
        push_varint(bytes, self.buckets.len() as u128);
        let mut previous = None;
        for (bucket, count) in &self.buckets {
            match previous {
                None => push_varint(bytes, zigzag((*bucket).into())),
                Some(previous) => push_varint(bytes, bucket.abs_diff(previous).into()),
            }
            previous = Some(*bucket);
            push_varint(bytes, (*count).into());
        }
    }

    fn decode(reader: &mut StateReader<'_>) -> Result<Self, StateError> {
        let not_numbers = Count::decode(reader)?;
        let len = reader.u64()?;
        if len > BUCKETS as u64 {
            return Err(StateError::Damaged);
        }
        let mut buckets: Vec<(i32, u64)> = Vec::new();
        for _ in 0..len {
            let bucket = match buckets.last() {
                None => unzigzag(reader.varint()?),
                Some((previous, _)) => match reader.u64()? {
                    0 => return Err(StateError::Damaged),
                    step => i128::from(*previous) + i128::from(step),
                },
            };
            let bucket = i32::try_from(bucket)
                .ok()
                .filter(|bucket| bucket.unsigned_abs() <= Self::INFINITE.unsigned_abs())
                .ok_or(StateError::Damaged)?;
            let count = reader.u64()?;
            if count == 0 {
                return Err(StateError::Damaged);
            }
            buckets.push((bucket, count));
        }
        Ok(Self { buckets, not_numbers })
    }
}

impl<const BITS: u32, const BUCKETS: usize> Accumulate<f64> for Quantiles<BITS, BUCKETS> {
    #[inline]
    fn add(&mut self, time: Timestamp, value: f64) {
        match Self::bucket(value) {
            Some(bucket) => self.put(bucket, 1),
            None => self.not_numbers.add(time, ()),
        }
    }
}

impl<const BITS: u32, const BUCKETS: usize> Accumulate<i64> for Quantiles<BITS, BUCKETS> {
    #[inline]
    fn add(&mut self, time: Timestamp, value: i64) {
        self.add(time, value as f64);
    }
}
