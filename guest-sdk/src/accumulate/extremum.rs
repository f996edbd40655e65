use super::{Accumulate, Accumulator, Ranked};
use crate::Timestamp;
use crate::state::{StateError, StateReader};

macro_rules! extremum {
    ($name:ident, $best:path, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, Debug)]
        pub struct $name<T>(Option<T>);

        impl<T: Ranked> $name<T> {
            /// The value; none without values.
            pub fn value(&self) -> Option<T> {
                self.0
            }

            fn take(&mut self, value: T) {
                let rank = self
                    .0
                    .map_or(value.rank(), |held| $best(held.rank(), value.rank()));
                self.0 = T::from_rank(rank);
            }
        }

        impl<T> Default for $name<T> {
            fn default() -> Self {
                Self(None)
            }
        }

        /// Equality is of ranks, as the bytes are: NaN equals NaN, 0.0 differs from -0.0.
        impl<T: Ranked> PartialEq for $name<T> {
            fn eq(&self, other: &Self) -> bool {
                self.0.map(T::rank) == other.0.map(T::rank)
            }
        }

        impl<T: Ranked> Accumulator for $name<T> {
            fn merge(&mut self, other: &Self) {
                if let Some(value) = other.0 {
                    self.take(value);
                }
            }

            fn encode(&self, bytes: &mut Vec<u8>) {
                encode_ranked(self.0, bytes);
            }

            fn decode(reader: &mut StateReader<'_>) -> Result<Self, StateError> {
                Ok(Self(decode_ranked(reader)?))
            }
        }

        impl<T: Ranked> Accumulate<T> for $name<T> {
            #[inline]
            fn add(&mut self, _: Timestamp, value: T) {
                self.take(value);
            }
        }
    };
}

extremum!(
    Min,
    core::cmp::min,
    "The least value. For floats in the total order of IEEE 754."
);
extremum!(
    Max,
    core::cmp::max,
    "The greatest value. For floats in the total order of IEEE 754, in which NaN is above all."
);

pub(super) fn encode_ranked<T: Ranked>(value: Option<T>, bytes: &mut Vec<u8>) {
    bytes.push(u8::from(value.is_some()));
    if let Some(value) = value {
        bytes.extend_from_slice(&value.rank().to_le_bytes());
    }
}

pub(super) fn decode_ranked<T: Ranked>(reader: &mut StateReader<'_>) -> Result<Option<T>, StateError> {
    match reader.byte()? {
        0 => Ok(None),
        1 => T::from_rank(u64::from_le_bytes(reader.array()?))
            .map(Some)
            .ok_or(StateError::Damaged),
        _ => Err(StateError::Damaged),
    }
}
