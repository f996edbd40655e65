use super::{Accumulate, Accumulator, Count, ExactSum};
use crate::Timestamp;
use crate::bound::sum_bounds;
use crate::state::{StateError, StateReader};

/// How often a flag was set: clicks per impression, wins per bid. Events whose flag is missing are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    total: Count,
    hits: Count,
}

impl Rate {
    /// How many events had the flag, set or not.
    pub fn total(&self) -> i64 {
        self.total.value()
    }

    /// How many had it set.
    pub fn hits(&self) -> i64 {
        self.hits.value()
    }

    /// Hits per event; none without events.
    pub fn value(&self) -> Option<f64> {
        self.smoothed(0.0, 0.0)
    }

    /// The rate with a prior: as though there had been `weight` more events, of which `rate` were hits. None where the
    /// events and the weight are 0 together.
    pub fn smoothed(&self, rate: f64, weight: f64) -> Option<f64> {
        smoothed(self.hits() as f64, self.total() as f64, rate, weight)
    }
}

/// The ratio of two sums: spend per click, revenue per impression. Each is the exact sum of a column, rounded once; an event in
/// which either value is missing is left out: `#[accumulate(spend, clicks)]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ratio {
    numerator: ExactSum,
    denominator: ExactSum,
}

impl Ratio {
    /// The sum of the first column.
    pub fn numerator(&self) -> f64 {
        self.numerator.round()
    }

    /// The sum of the second column.
    pub fn denominator(&self) -> f64 {
        self.denominator.round()
    }

    /// The one over the other; none where the denominator is 0.
    pub fn value(&self) -> Option<f64> {
        self.smoothed(0.0, 0.0)
    }

    /// The ratio with a prior: `weight` more in the denominator and `ratio` times that in the numerator. None where the
    /// denominator is 0 with it.
    pub fn smoothed(&self, ratio: f64, weight: f64) -> Option<f64> {
        smoothed(self.numerator(), self.denominator(), ratio, weight)
    }
}

fn smoothed(numerator: f64, denominator: f64, ratio: f64, weight: f64) -> Option<f64> {
    let denominator = denominator + weight;
    (denominator != 0.0).then(|| (numerator + ratio * weight) / denominator)
}

impl Accumulator for Rate {
    const MAX_BYTES: Option<u64> = sum_bounds(&[Count::MAX_BYTES, Count::MAX_BYTES]);
    const IS_COMPACT: bool = true;

    fn layout(text: &mut String) {
        text.push_str("rate");
    }

    #[inline]
    fn merge(&mut self, other: &Self) {
        self.total.merge(&other.total);
        self.hits.merge(&other.hits);
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        self.total.encode(bytes);
        self.hits.encode(bytes);
    }

    fn decode(reader: &mut StateReader<'_>) -> Result<Self, StateError> {
        let (total, hits) = (Count::decode(reader)?, Count::decode(reader)?);
        if hits.value() > total.value() {
            return Err(StateError::Damaged);
        }
        Ok(Self { total, hits })
    }
}

impl Accumulate<bool> for Rate {
    #[inline]
    fn add(&mut self, time: Timestamp, is_hit: bool) {
        self.total.add(time, ());
        if is_hit {
            self.hits.add(time, ());
        }
    }
}

impl Accumulator for Ratio {
    const MAX_BYTES: Option<u64> = sum_bounds(&[ExactSum::MAX_BYTES, ExactSum::MAX_BYTES]);
    const IS_COMPACT: bool = true;

    fn layout(text: &mut String) {
        text.push_str("ratio");
    }

    #[inline]
    fn merge(&mut self, other: &Self) {
        self.numerator.merge(&other.numerator);
        self.denominator.merge(&other.denominator);
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        self.numerator.encode(bytes);
        self.denominator.encode(bytes);
    }

    fn decode(reader: &mut StateReader<'_>) -> Result<Self, StateError> {
        Ok(Self {
            numerator: ExactSum::decode(reader)?,
            denominator: ExactSum::decode(reader)?,
        })
    }
}

macro_rules! ratio {
    ($numerator:ty, $denominator:ty, $add_numerator:ident, $add_denominator:ident) => {
        impl Accumulate<($numerator, $denominator)> for Ratio {
            #[inline]
            fn add(&mut self, _: Timestamp, (numerator, denominator): ($numerator, $denominator)) {
                self.numerator.$add_numerator(numerator);
                self.denominator.$add_denominator(denominator);
            }
        }
    };
}

ratio!(f64, f64, add, add);
ratio!(f64, i64, add, add_i64);
ratio!(i64, f64, add_i64, add);
ratio!(i64, i64, add_i64, add_i64);
