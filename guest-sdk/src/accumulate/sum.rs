use super::{Accumulate, Accumulator, ExactSum};
use crate::Timestamp;
use crate::bound::varint_len;
use crate::state::{StateError, StateReader, push_varint, unzigzag, zigzag};

/// A type that can be summed: i64 or f64.
pub trait Summand: Copy + 'static {
    /// What the sum is kept in.
    type Total: Accumulator + core::fmt::Debug;
}

impl Summand for i64 {
    type Total = IntegerSum;
}

impl Summand for f64 {
    type Total = ExactSum;
}

/// The sum of the values: of i64s exactly, of f64s exactly and rounded once, so never dependent on their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Sum<T: Summand>(T::Total);

impl Sum<i64> {
    /// The sum, 0 without values; none where it does not fit an i64. Sums on the way may pass what fits.
    pub fn value(&self) -> Option<i64> {
        self.0.value()
    }
}

impl Sum<f64> {
    /// The sum, 0.0 without values: the exact sum rounded to the nearest f64. NaN where a value is NaN or infinities of
    /// both signs meet.
    pub fn value(&self) -> f64 {
        self.0.round()
    }
}

impl<T: Summand> Default for Sum<T> {
    fn default() -> Self {
        Self(T::Total::default())
    }
}

impl<T: Summand + PartialEq> Accumulator for Sum<T> {
    const MAX_BYTES: Option<u64> = T::Total::MAX_BYTES;
    const IS_COMPACT: bool = true;

    fn layout(text: &mut String) {
        T::Total::layout(text);
    }

    #[inline]
    fn merge(&mut self, other: &Self) {
        self.0.merge(&other.0);
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        self.0.encode(bytes);
    }

    fn decode(reader: &mut StateReader<'_>) -> Result<Self, StateError> {
        T::Total::decode(reader).map(Self)
    }

    #[inline]
    fn merge_encoded(&mut self, reader: &mut StateReader<'_>) -> Result<(), StateError> {
        self.0.merge_encoded(reader)
    }
}

impl Accumulate<i64> for Sum<i64> {
    #[inline]
    fn add(&mut self, _: Timestamp, value: i64) {
        self.0.add(value);
    }
}

impl Accumulate<f64> for Sum<f64> {
    #[inline]
    fn add(&mut self, _: Timestamp, value: f64) {
        self.0.add(value);
    }
}

/// The exact sum of i64s: 2^64 of them fit. Wraps beyond, which only a state that was made up can reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IntegerSum(i128);

impl IntegerSum {
    pub(super) fn value(&self) -> Option<i64> {
        i64::try_from(self.0).ok()
    }

    #[inline]
    pub(super) fn add(&mut self, value: i64) {
        self.0 = self.0.wrapping_add(value.into());
    }
}

impl Accumulator for IntegerSum {
    const MAX_BYTES: Option<u64> = Some(varint_len(u128::MAX));
    const IS_COMPACT: bool = true;

    fn layout(text: &mut String) {
        text.push_str("integer-sum");
    }

    #[inline]
    fn merge(&mut self, other: &Self) {
        self.0 = self.0.wrapping_add(other.0);
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        push_varint(bytes, zigzag(self.0));
    }

    fn decode(reader: &mut StateReader<'_>) -> Result<Self, StateError> {
        Ok(Self(unzigzag(reader.varint()?)))
    }
}
