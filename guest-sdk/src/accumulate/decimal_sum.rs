use core::fmt::Write as _;

use super::exact_sum::Parts;
use super::sum::IntegerSum;
use super::{Accumulate, Accumulator, Count};
use crate::Timestamp;
use crate::bound::sum_bounds;
use crate::state::{StateError, StateReader};

/// The sum of amounts in a decimal unit: of f64s, each rounded to `SCALE` digits behind the point (half to even), or of i64s,
/// whole ones. So 0.1 + 0.2 is 0.3, and the sum is that of the accounts.
///
/// A value that is NaN, infinite or beyond 2^63 of the least units is not summed but counted: see
/// [`invalid`](Self::invalid). Amounts that are integers already, such as micros of a currency, need no more than `Sum<i64>`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DecimalSum<const SCALE: u32> {
    units: IntegerSum,
    invalid: Count,
}

impl<const SCALE: u32> DecimalSum<SCALE> {
    const UNITS_PER_ONE: i64 = {
        assert!(SCALE <= 18, "an i64 has 18 decimal digits");
        10_i64.pow(SCALE)
    };

    /// The sum in units of 10^-SCALE, 0 without values; none where it does not fit an i64.
    pub fn units(&self) -> Option<i64> {
        self.units.value()
    }

    /// The sum as an f64: the nearest up to 2^53 units; none where the units do not fit an i64.
    pub fn value(&self) -> Option<f64> {
        self.units().map(|units| units as f64 / Self::UNITS_PER_ONE as f64)
    }

    /// How many values were not summed, being no amounts.
    pub fn invalid(&self) -> i64 {
        self.invalid.value()
    }

    fn take(&mut self, time: Timestamp, units: Option<i64>) {
        match units {
            Some(units) => self.units.add(units),
            None => self.invalid.add(time, ()),
        }
    }

    /// The nearest number of units, ties to even.
    fn units_of(value: f64) -> Option<i64> {
        let Parts {
            mantissa,
            exponent,
            is_negative,
        } = Parts::of(value)?;
        // Below 2^53 * 10^18, which is below 2^113.
        let product = u128::from(mantissa) * u128::from(Self::UNITS_PER_ONE.unsigned_abs());
        let magnitude = match exponent {
            0.. if product == 0 => 0,
            0.. if exponent < i64::from(product.leading_zeros()) => product << exponent,
            0.. => return None,
            -127.. => {
                let (kept, rest) = (product >> -exponent, product & ((1 << -exponent) - 1));
                let half = 1 << (-exponent - 1);
                kept + u128::from(rest > half || rest == half && kept & 1 == 1)
            }
            _ => 0,
        };
        let units = i128::try_from(magnitude).ok()?;
        i64::try_from(if is_negative { -units } else { units }).ok()
    }
}

impl<const SCALE: u32> Accumulator for DecimalSum<SCALE> {
    const MAX_BYTES: Option<u64> = sum_bounds(&[IntegerSum::MAX_BYTES, Count::MAX_BYTES]);
    const IS_COMPACT: bool = true;

    fn layout(text: &mut String) {
        let _ = write!(text, "decimal-sum {SCALE}");
    }

    #[inline]
    fn merge(&mut self, other: &Self) {
        self.units.merge(&other.units);
        self.invalid.merge(&other.invalid);
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        self.units.encode(bytes);
        self.invalid.encode(bytes);
    }

    fn decode(reader: &mut StateReader<'_>) -> Result<Self, StateError> {
        Ok(Self {
            units: IntegerSum::decode(reader)?,
            invalid: Count::decode(reader)?,
        })
    }
}

impl<const SCALE: u32> Accumulate<f64> for DecimalSum<SCALE> {
    #[inline]
    fn add(&mut self, time: Timestamp, value: f64) {
        self.take(time, Self::units_of(value));
    }
}

impl<const SCALE: u32> Accumulate<i64> for DecimalSum<SCALE> {
    #[inline]
    fn add(&mut self, time: Timestamp, value: i64) {
        self.take(time, value.checked_mul(Self::UNITS_PER_ONE));
    }
}
