use super::{Accumulate, Accumulator, Count, ExactSum};
use crate::Timestamp;
use crate::bound::sum_bounds;
use crate::state::{StateError, StateReader};

/// The mean of the values, f64 or i64: their exact sum, rounded to an f64, over their count.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mean {
    sum: ExactSum,
    count: Count,
}

impl Mean {
    /// The mean; none without values. NaN where a value is NaN or infinities of both signs meet.
    pub fn value(&self) -> Option<f64> {
        let count = self.count.value();
        (count > 0).then(|| self.sum.round() / count as f64)
    }

    /// How many values there were.
    pub fn count(&self) -> i64 {
        self.count.value()
    }

    /// The sum of the values, rounded once.
    pub fn sum(&self) -> f64 {
        self.sum.round()
    }
}

impl Accumulator for Mean {
    const MAX_BYTES: Option<u64> = sum_bounds(&[ExactSum::MAX_BYTES, Count::MAX_BYTES]);
    const IS_COMPACT: bool = true;

    fn layout(text: &mut String) {
        text.push_str("mean");
    }

    #[inline]
    fn merge(&mut self, other: &Self) {
        self.sum.merge(&other.sum);
        self.count.merge(&other.count);
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        self.sum.encode(bytes);
        self.count.encode(bytes);
    }

    fn decode(reader: &mut StateReader<'_>) -> Result<Self, StateError> {
        Ok(Self {
            sum: ExactSum::decode(reader)?,
            count: Count::decode(reader)?,
        })
    }

    #[inline]
    fn merge_encoded(&mut self, reader: &mut StateReader<'_>) -> Result<(), StateError> {
        self.sum.merge_encoded(reader)?;
        self.count.merge_encoded(reader)
    }
}

impl Accumulate<f64> for Mean {
    #[inline]
    fn add(&mut self, time: Timestamp, value: f64) {
        self.sum.add(value);
        self.count.add(time, ());
    }
}

impl Accumulate<i64> for Mean {
    #[inline]
    fn add(&mut self, time: Timestamp, value: i64) {
        self.sum.add_i64(value);
        self.count.add(time, ());
    }
}
