use super::extremum::{decode_ranked, encode_ranked};
use super::{Accumulate, Accumulator, Ranked};
use crate::Timestamp;
use crate::state::{StateError, StateReader};

/// The value of the latest event; of several at the same time, the greatest, so that the order of arrival does not matter.
#[derive(Clone, Copy, Debug)]
pub struct Last<T>(Option<(Timestamp, T)>);

impl<T: Ranked> Last<T> {
    /// The value; none without values.
    pub fn value(&self) -> Option<T> {
        self.0.map(|(_, value)| value)
    }

    /// The time of the event that has it.
    pub fn time(&self) -> Option<Timestamp> {
        self.0.map(|(time, _)| time)
    }
}

impl<T> Default for Last<T> {
    fn default() -> Self {
        Self(None)
    }
}

/// Equality is of times and ranks, as the bytes are: NaN equals NaN, 0.0 differs from -0.0.
impl<T: Ranked> PartialEq for Last<T> {
    fn eq(&self, other: &Self) -> bool {
        let ranked = |last: &Self| last.0.map(|(time, value)| (time, value.rank()));
        ranked(self) == ranked(other)
    }
}

impl<T: Ranked> Accumulator for Last<T> {
    fn merge(&mut self, other: &Self) {
        if let Some((time, value)) = other.0 {
            self.add(time, value);
        }
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        encode_ranked(self.time(), bytes);
        if let Some(value) = self.value() {
            bytes.extend_from_slice(&value.rank().to_le_bytes());
        }
    }

    fn decode(reader: &mut StateReader<'_>) -> Result<Self, StateError> {
        let Some(time) = decode_ranked(reader)? else {
            return Ok(Self(None));
        };
        let value = T::from_rank(u64::from_le_bytes(reader.array()?)).ok_or(StateError::Damaged)?;
        Ok(Self(Some((time, value))))
    }
}

impl<T: Ranked> Accumulate<T> for Last<T> {
    #[inline]
    fn add(&mut self, time: Timestamp, value: T) {
        if self
            .0
            .is_none_or(|(held_time, held)| (held_time, held.rank()) < (time, value.rank()))
        {
            // Through the rank, so that a NaN of any payload is held as the canonical one.
            self.0 = T::from_rank(value.rank()).map(|value| (time, value));
        }
    }
}
