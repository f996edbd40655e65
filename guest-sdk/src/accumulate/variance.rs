use super::exact_sum::{Parts, Special};
use super::fixed_point::FixedPoint;
use super::{Accumulate, Accumulator, Count};
use crate::Timestamp;
use crate::bound::{COUNT_BYTES, fixed_point_bytes};
use crate::state::{StateError, StateReader};

/// The least bits of an f64 and of its square.
const LEAST_EXPONENT: i64 = -1074;
const LEAST_SQUARE: i64 = 2 * LEAST_EXPONENT;
/// As many limbs as 2^64 of the greatest values and squares have.
const SUM_LIMBS: i64 = 35;
const SQUARE_LIMBS: i64 = 68;

/// The variance of the values, f64 or i64, from the exact sums of them and of their squares.
///
/// The numerator n Σx² - (Σx)² is computed exactly and rounded once, so nothing cancels: the variance of equal values is 0, and
/// none is negative.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Variance {
    count: Count,
    sum: FixedPoint,
    squares: FixedPoint,
    special: Special,
}

impl Variance {
    /// How many values there were.
    pub fn count(&self) -> i64 {
        self.count.value()
    }

    /// The mean; none without values.
    pub fn mean(&self) -> Option<f64> {
        let sum = self.special.value().unwrap_or_else(|| self.sum.round(LEAST_EXPONENT));
        (self.count() > 0).then(|| sum / self.count() as f64)
    }

    /// The variance of these values, over n; none without values, NaN where one is NaN or infinite.
    pub fn population(&self) -> Option<f64> {
        let count = self.count() as f64;
        (self.count() > 0).then(|| self.numerator() / count / count)
    }

    /// The variance estimated from these values as a sample, over n - 1; none below two values.
    pub fn sample(&self) -> Option<f64> {
        let count = self.count() as f64;
        (self.count() > 1).then(|| self.numerator() / count / (count - 1.0))
    }

    /// n Σx² - (Σx)², rounded once.
    fn numerator(&self) -> f64 {
        if self.special.value().is_some() {
            return unskew_frame::canonical_f64(f64::NAN);
        }
        let mut count = FixedPoint::default();
        count.add(self.count().unsigned_abs().into(), 0, false);
        let (count, sum) = (count.settled(), self.sum.settled());
        let numerator = count.times(&self.squares.settled()).minus(sum.times(&sum));
        numerator.round(LEAST_SQUARE)
    }

    #[inline]
    fn add_parts(&mut self, time: Timestamp, mantissa: u64, exponent: i64, is_negative: bool) {
        self.count.add(time, ());
        self.sum.add(mantissa.into(), exponent - LEAST_EXPONENT, is_negative);
        let square = u128::from(mantissa) * u128::from(mantissa);
        self.squares.add(square, 2 * exponent - LEAST_SQUARE, false);
    }
}

impl Accumulator for Variance {
    const MAX_BYTES: Option<u64> =
        Some(COUNT_BYTES + 1 + fixed_point_bytes(SUM_LIMBS) + fixed_point_bytes(SQUARE_LIMBS));
    const IS_COMPACT: bool = true;

    fn layout(text: &mut String) {
        text.push_str("variance");
    }

    fn merge(&mut self, other: &Self) {
        self.count.merge(&other.count);
        self.sum.merge(&other.sum);
        self.squares.merge(&other.squares);
        self.special.merge(other.special);
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        self.count.encode(bytes);
        self.special.encode(bytes);
        self.sum.encode(bytes);
        self.squares.encode(bytes);
    }

    fn decode(reader: &mut StateReader<'_>) -> Result<Self, StateError> {
        Ok(Self {
            count: Count::decode(reader)?,
            special: Special::decode(reader)?,
            sum: FixedPoint::decode(reader, 0..SUM_LIMBS)?,
            squares: FixedPoint::decode(reader, 0..SQUARE_LIMBS)?,
        })
    }
}

impl Accumulate<f64> for Variance {
    #[inline]
    fn add(&mut self, time: Timestamp, value: f64) {
        match Parts::of(value) {
            Some(parts) => self.add_parts(time, parts.mantissa, parts.exponent, parts.is_negative),
            None => {
                self.count.add(time, ());
                self.special.add(value);
            }
        }
    }
}

impl Accumulate<i64> for Variance {
    #[inline]
    fn add(&mut self, time: Timestamp, value: i64) {
        self.add_parts(time, value.unsigned_abs(), 0, value < 0);
    }
}

const _: () = assert!(SUM_LIMBS * 64 > 1024 + 64 - LEAST_EXPONENT && SQUARE_LIMBS * 64 > 2048 + 64 - LEAST_SQUARE);
