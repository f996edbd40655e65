use super::ranked::{decode_ranked, encode_ranked};
use super::{Accumulate, Accumulator, Ranked};
use crate::Timestamp;
use crate::state::{StateError, StateReader};

macro_rules! extremum {
    ($name:ident, $layout:literal, $best:path, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, Debug)]
        pub struct $name<T>(Option<T>);

        impl<T: Ranked> $name<T> {
            /// The value; none without values.
            pub fn value(&self) -> Option<T> {
                self.0
            }

            #[inline]
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
            const MAX_BYTES: Option<u64> = Some(1 + 8);
            const IS_COMPACT: bool = true;

            fn layout(text: &mut String) {
                text.push_str($layout);
                text.push_str(T::NAME);
            }

            #[inline]
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
    "min ",
    core::cmp::min,
    "The least value. For floats in the total order of IEEE 754."
);
extremum!(
    Max,
    "max ",
    core::cmp::max,
    "The greatest value. For floats in the total order of IEEE 754, in which NaN is above all."
);
