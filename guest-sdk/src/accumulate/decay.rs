use core::fmt::Write as _;

use super::exact_sum::{Parts, Special};
use super::fixed_point::FixedPoint;
use super::{Accumulate, Accumulator};
use crate::Timestamp;
use crate::bound::{fixed_point_bytes, varint_len};
use crate::state::{StateError, StateReader, push_varint, unzigzag, zigzag};

/// Half-lives that share a number. Events of the newest group and of the one before count, older ones weigh nothing.
const GROUP: i64 = 1024;
const LEAST_EXPONENT: i64 = -1074;
/// Bits of an f64, of the place in the group, of 2^64 values, and a sign.
const MAX_LIMBS: i64 = 52;

/// The sum of the values, each halved for every `HALF_LIFE_S` seconds of its age; of events without a column, their number.
///
/// A value at time s weighs 2^(s / half-life) on a scale that no query moves. Whole half-lives shift the bits of an exact sum; the
/// fraction of one is multiplied in, once for each event, before it is added. So the sum itself has no order. Reading it at t
/// shifts it back, rounds once and multiplies by the fraction of t:
///
/// ```text
/// add (s, v):  v * 2^frac(s / h), rounded, goes into the sum 2^floor(s / h) to the left
/// read t:      the sum, 2^floor(t / h) to the right, rounded, * 2^-frac(t / h)
/// ```
///
/// Exact is everything but those roundings: the sum of what was added does not depend on its order, and ages do not add up
/// errors. What is 1,024 to 2,048 half-lives older than the newest event is dropped: it weighs less than 2^-1024.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decay<const HALF_LIFE_S: u32> {
    /// Of the newest value; none without values.
    group: Option<i64>,
    /// Of this group.
    newest: FixedPoint,
    /// Of the group before.
    before: FixedPoint,
    special: Special,
}

impl<const HALF_LIFE_S: u32> Decay<HALF_LIFE_S> {
    const HALF_LIFE_US: i64 = {
        assert!(HALF_LIFE_S > 0, "a half-life is longer than 0 s");
        HALF_LIFE_S as i64 * 1_000_000
    };

    /// The decayed sum at `time`, that of the query; 0.0 without values.
    pub fn value(&self, time: Timestamp) -> f64 {
        if let Some(special) = self.special.value() {
            return special;
        }
        let Some(group) = self.group else { return 0.0 };
        let (half_lives, fraction) = Self::half_lives(time);
        let mut sum = self.before.settled();
        sum.merge(&self.newest.settled().shifted(GROUP / 64));
        let base = (group - 1) * GROUP;
        sum.round(LEAST_EXPONENT + base - half_lives) * libm::exp2(-fraction)
    }

    /// Whole half-lives since 1970 and the fraction of the next.
    fn half_lives(time: Timestamp) -> (i64, f64) {
        let (micros, half_life) = (time.as_micros(), Self::HALF_LIFE_US);
        let fraction = micros.rem_euclid(half_life) as f64 / half_life as f64;
        (micros.div_euclid(half_life), fraction)
    }

    /// Makes `group` the newest, if it is.
    fn advance(&mut self, group: i64) {
        match self.group {
            Some(held) if held >= group => return,
            Some(held) if held == group - 1 => self.before = core::mem::take(&mut self.newest),
            Some(_) => (self.newest, self.before) = Default::default(),
            None => {}
        }
        self.group = Some(group);
    }

    /// The sum that values of `group` go to, unless they are too old.
    fn sum_of(&mut self, group: i64) -> Option<&mut FixedPoint> {
        match self.group? - group {
            0 => Some(&mut self.newest),
            1 => Some(&mut self.before),
            _ => None,
        }
    }
}

impl<const HALF_LIFE_S: u32> Accumulator for Decay<HALF_LIFE_S> {
    const MAX_BYTES: Option<u64> = Some(1 + varint_len(u64::MAX as u128) + 1 + 2 * fixed_point_bytes(MAX_LIMBS));
    /// A month of half-lives of an hour is 90 bytes.
    const IS_COMPACT: bool = HALF_LIFE_S >= 3_600;

    fn layout(text: &mut String) {
        let _ = write!(text, "decay {HALF_LIFE_S}");
    }

    fn merge(&mut self, other: &Self) {
        let Some(group) = other.group else { return };
        self.advance(group);
        self.special.merge(other.special);
        if let Some(sum) = self.sum_of(group) {
            sum.merge(&other.newest);
        }
        if let Some(sum) = self.sum_of(group - 1) {
            sum.merge(&other.before);
        }
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.push(u8::from(self.group.is_some()));
        if let Some(group) = self.group {
            push_varint(bytes, zigzag(group.into()));
            self.special.encode(bytes);
            self.newest.encode(bytes);
            self.before.encode(bytes);
        }
    }

    fn decode(reader: &mut StateReader<'_>) -> Result<Self, StateError> {
        match reader.byte()? {
            0 => return Ok(Self::default()),
            1 => {}
            _ => return Err(StateError::Damaged),
        }
        let group = i64::try_from(unzigzag(reader.varint()?)).map_err(|_| StateError::Damaged)?;
        let greatest = Self::half_lives(Timestamp::from_micros(i64::MAX)).0.div_euclid(GROUP);
        let least = Self::half_lives(Timestamp::from_micros(i64::MIN)).0.div_euclid(GROUP);
        if !(least..=greatest).contains(&group) {
            return Err(StateError::Damaged);
        }
        Ok(Self {
            group: Some(group),
            special: Special::decode(reader)?,
            newest: FixedPoint::decode(reader, 0..MAX_LIMBS)?,
            before: FixedPoint::decode(reader, 0..MAX_LIMBS)?,
        })
    }
}

impl<const HALF_LIFE_S: u32> Accumulate<f64> for Decay<HALF_LIFE_S> {
    #[inline]
    fn add(&mut self, time: Timestamp, value: f64) {
        let (half_lives, fraction) = Self::half_lives(time);
        let group = half_lives.div_euclid(GROUP);
        self.advance(group);
        let weighed = value * libm::exp2(fraction);
        match Parts::of(weighed) {
            Some(parts) => {
                if let Some(sum) = self.sum_of(group) {
                    let exponent = parts.exponent - LEAST_EXPONENT + half_lives.rem_euclid(GROUP);
                    sum.add(parts.mantissa.into(), exponent, parts.is_negative);
                }
            }
            None => self.special.add(weighed),
        }
    }
}

impl<const HALF_LIFE_S: u32> Accumulate<i64> for Decay<HALF_LIFE_S> {
    #[inline]
    fn add(&mut self, time: Timestamp, value: i64) {
        self.add(time, value as f64);
    }
}

impl<const HALF_LIFE_S: u32> Accumulate<()> for Decay<HALF_LIFE_S> {
    #[inline]
    fn add(&mut self, time: Timestamp, (): ()) {
        self.add(time, 1.0);
    }
}

const _: () = assert!(MAX_LIMBS * 64 > GROUP + 1024 + 64 - LEAST_EXPONENT && GROUP % 64 == 0);
