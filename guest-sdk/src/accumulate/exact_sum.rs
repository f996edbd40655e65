use super::Accumulator;
use super::fixed_point::FixedPoint;
use crate::bound::fixed_point_bytes;
use crate::state::{StateError, StateReader};

/// The least bit of an f64 weighs 2^-1074, and the sum counts in it.
const LEAST_EXPONENT: i64 = -1074;
/// Values reach 2^1024 and there may be 2^64 of them: 2098 + 64 bits and a sign.
const MAX_LIMBS: i64 = 35;

/// A sum of f64s that is exact whatever their order: a fixed-point number with a bit for every bit that an f64 can have.
///
/// Only the limbs in use are held: for values of similar size two or three of the 35. [`round`](Self::round) rounds the
/// exact sum once, to nearest, ties to even. After Neal, "Fast exact summation using small and large superaccumulators"
/// (2015), and Kulisch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExactSum {
    sum: FixedPoint,
    special: Special,
}

/// Which values without an exact sum there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Special {
    pub has_nan: bool,
    pub has_positive_infinity: bool,
    pub has_negative_infinity: bool,
}

impl ExactSum {
    /// Adds a value.
    #[inline]
    pub fn add(&mut self, value: f64) {
        match Parts::of(value) {
            Some(parts) => self
                .sum
                .add_word(parts.mantissa, parts.exponent - LEAST_EXPONENT, parts.is_negative),
            None => self.special.add(value),
        }
    }

    /// Adds an integer, exactly.
    #[inline]
    pub fn add_i64(&mut self, value: i64) {
        self.sum.add_word(value.unsigned_abs(), -LEAST_EXPONENT, value < 0);
    }

    /// The sum, rounded to the nearest f64, ties to even.
    pub fn round(&self) -> f64 {
        self.special.value().unwrap_or_else(|| self.sum.round(LEAST_EXPONENT))
    }
}

/// A finite f64 as `mantissa` * 2^`exponent`.
pub(super) struct Parts {
    pub mantissa: u64,
    pub exponent: i64,
    pub is_negative: bool,
}

impl Parts {
    /// None for NaN and infinities.
    #[inline]
    pub fn of(value: f64) -> Option<Self> {
        let bits = value.to_bits();
        let (exponent, fraction) = ((bits >> 52 & 0x7ff) as i64, bits & ((1 << 52) - 1));
        let (mantissa, exponent) = match exponent {
            0x7ff => return None,
            0 => (fraction, LEAST_EXPONENT),
            _ => (fraction | 1 << 52, exponent - 1 + LEAST_EXPONENT),
        };
        Some(Self {
            mantissa,
            exponent,
            is_negative: bits >> 63 == 1,
        })
    }
}

impl Special {
    /// Notes a NaN or an infinity.
    #[cold]
    pub fn add(&mut self, value: f64) {
        self.has_nan |= value.is_nan();
        self.has_positive_infinity |= value == f64::INFINITY;
        self.has_negative_infinity |= value == f64::NEG_INFINITY;
    }

    #[inline]
    pub fn merge(&mut self, other: Self) {
        self.has_nan |= other.has_nan;
        self.has_positive_infinity |= other.has_positive_infinity;
        self.has_negative_infinity |= other.has_negative_infinity;
    }

    /// What the sum is if there were any.
    pub fn value(self) -> Option<f64> {
        if self.has_nan || self.has_positive_infinity && self.has_negative_infinity {
            Some(unskew_frame::canonical_f64(f64::NAN))
        } else if self.has_positive_infinity {
            Some(f64::INFINITY)
        } else if self.has_negative_infinity {
            Some(f64::NEG_INFINITY)
        } else {
            None
        }
    }

    pub fn encode(self, bytes: &mut Vec<u8>) {
        bytes.push(
            u8::from(self.has_nan)
                | u8::from(self.has_positive_infinity) << 1
                | u8::from(self.has_negative_infinity) << 2,
        );
    }

    #[inline]
    pub fn decode(reader: &mut StateReader<'_>) -> Result<Self, StateError> {
        let flags = reader.byte()?;
        if flags > 7 {
            return Err(StateError::Damaged);
        }
        Ok(Self {
            has_nan: flags & 1 != 0,
            has_positive_infinity: flags & 2 != 0,
            has_negative_infinity: flags & 4 != 0,
        })
    }
}

impl Accumulator for ExactSum {
    const MAX_BYTES: Option<u64> = Some(1 + fixed_point_bytes(MAX_LIMBS));
    const IS_COMPACT: bool = true;

    fn layout(text: &mut String) {
        text.push_str("exact-sum");
    }

    #[inline]
    fn merge(&mut self, other: &Self) {
        self.special.merge(other.special);
        self.sum.merge(&other.sum);
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        self.special.encode(bytes);
        self.sum.encode(bytes);
    }

    fn decode(reader: &mut StateReader<'_>) -> Result<Self, StateError> {
        Ok(Self {
            special: Special::decode(reader)?,
            sum: FixedPoint::decode(reader, 0..MAX_LIMBS)?,
        })
    }

    #[inline]
    fn merge_encoded(&mut self, reader: &mut StateReader<'_>) -> Result<(), StateError> {
        self.special.merge(Special::decode(reader)?);
        self.sum.merge_encoded(reader, 0..MAX_LIMBS)
    }
}

const _: () = assert!(MAX_LIMBS * 64 > 1024 + 64 - LEAST_EXPONENT);
