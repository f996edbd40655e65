use super::ranked::{decode_ranked, encode_ranked, push_rank, read_rank};
use super::{Accumulate, Accumulator, Ranked};
use crate::Timestamp;
use crate::state::{StateError, StateReader};

macro_rules! of_one_event {
    ($name:ident, $layout:literal, $is_before:tt, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, Debug)]
        pub struct $name<T>(Option<(Timestamp, T)>);

        impl<T: Ranked> $name<T> {
            /// The value; none without values.
            pub fn value(&self) -> Option<T> {
                self.0.map(|(_, value)| value)
            }

            /// The time of the event that has it.
            pub fn time(&self) -> Option<Timestamp> {
                self.0.map(|(time, _)| time)
            }
        }

        impl<T> Default for $name<T> {
            fn default() -> Self {
                Self(None)
            }
        }

        /// Equality is of times and ranks, as the bytes are: NaN equals NaN, 0.0 differs from -0.0.
        impl<T: Ranked> PartialEq for $name<T> {
            fn eq(&self, other: &Self) -> bool {
                let ranked = |one: &Self| one.0.map(|(time, value)| (time, value.rank()));
                ranked(self) == ranked(other)
            }
        }

        impl<T: Ranked> Accumulator for $name<T> {
            const MAX_BYTES: Option<u64> = Some(1 + 8 + 8);
            const IS_COMPACT: bool = true;

            fn layout(text: &mut String) {
                text.push_str($layout);
                text.push_str(T::NAME);
            }

            #[inline]
            fn merge(&mut self, other: &Self) {
                if let Some((time, value)) = other.0 {
                    self.add(time, value);
                }
            }

            fn encode(&self, bytes: &mut Vec<u8>) {
                encode_ranked(self.time(), bytes);
                if let Some(value) = self.value() {
                    push_rank(value, bytes);
                }
            }

            fn decode(reader: &mut StateReader<'_>) -> Result<Self, StateError> {
                match decode_ranked(reader)? {
                    Some(time) => Ok(Self(Some((time, read_rank(reader)?)))),
                    None => Ok(Self(None)),
                }
            }
        }

        impl<T: Ranked> Accumulate<T> for $name<T> {
            #[inline]
            fn add(&mut self, time: Timestamp, value: T) {
                let is_nearer = |(held_time, held): (Timestamp, T)| {
                    (held_time, held.rank()) $is_before (time, value.rank())
                };
                if self.0.is_none_or(is_nearer) {
                    // Through the rank, so that a NaN of any payload is held as the canonical one.
                    self.0 = T::from_rank(value.rank()).map(|value| (time, value));
                }
            }
        }
    };
}

of_one_event!(
    Last,
    "last ",
    <,
    "The value of the latest event; of several at the same time, the greatest, so that the order of arrival does not matter."
);
of_one_event!(
    First,
    "first ",
    >,
    "The value of the earliest event; of several at the same time, the least, so that the order of arrival does not matter."
);
