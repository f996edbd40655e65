use super::{Accumulate, Accumulator};
use crate::Timestamp;
use crate::bound::COUNT_BYTES;
use crate::state::{StateError, StateReader, push_varint};

/// How many events there were; with `#[accumulate(when = flag)]`, how many had the flag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count(u64);

impl Count {
    /// The count.
    pub fn value(&self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }
}

impl Accumulator for Count {
    const MAX_BYTES: Option<u64> = Some(COUNT_BYTES);
    const IS_COMPACT: bool = true;

    fn layout(text: &mut String) {
        text.push_str("count");
    }

    #[inline]
    fn merge(&mut self, other: &Self) {
        self.0 = self.0.saturating_add(other.0);
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        push_varint(bytes, self.0.into());
    }

    fn decode(reader: &mut StateReader<'_>) -> Result<Self, StateError> {
        Ok(Self(reader.u64()?))
    }

    #[inline]
    fn merge_encoded(&mut self, reader: &mut StateReader<'_>) -> Result<(), StateError> {
        self.0 = self.0.saturating_add(reader.u64()?);
        Ok(())
    }
}

impl Accumulate<()> for Count {
    #[inline]
    fn add(&mut self, _: Timestamp, (): ()) {
        self.0 = self.0.saturating_add(1);
    }
}
