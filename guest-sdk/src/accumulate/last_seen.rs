use super::{Accumulate, Accumulator, Max, Min};
use crate::Timestamp;
use crate::state::{StateError, StateReader};

macro_rules! seen {
    ($name:ident, $layout:literal, $extremum:ident, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        pub struct $name($extremum<Timestamp>);

        impl $name {
            /// The time; none without events.
            pub fn time(&self) -> Option<Timestamp> {
                self.0.value()
            }

            /// Seconds from then to `time`, the time of the query; none without events.
            pub fn seconds_before(&self, time: Timestamp) -> Option<f64> {
                self.time()
                    .map(|seen| (i128::from(time.as_micros()) - i128::from(seen.as_micros())) as f64 / 1e6)
            }
        }

        impl Accumulator for $name {
            const MAX_BYTES: Option<u64> = $extremum::<Timestamp>::MAX_BYTES;
            const IS_COMPACT: bool = true;

            fn layout(text: &mut String) {
                text.push_str($layout);
            }

            #[inline]
            fn merge(&mut self, other: &Self) {
                self.0.merge(&other.0);
            }

            fn encode(&self, bytes: &mut Vec<u8>) {
                self.0.encode(bytes);
            }

            fn decode(reader: &mut StateReader<'_>) -> Result<Self, StateError> {
                Accumulator::decode(reader).map(Self)
            }
        }

        impl Accumulate<()> for $name {
            #[inline]
            fn add(&mut self, time: Timestamp, (): ()) {
                self.0.add(time, time);
            }
        }
    };
}

seen!(
    LastSeen,
    "last-seen",
    Max,
    "When the last event was, and how long before the query: recency."
);
seen!(
    FirstSeen,
    "first-seen",
    Min,
    "When the first event was, and how long before the query."
);
