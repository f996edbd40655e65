use crate::Timestamp;
use crate::state::{StateError, StateReader};

/// A type with a total order that fits 64 bits: what Min, Max, First, Last and their like hold.
pub trait Ranked: Copy + PartialEq + 'static {
    /// The type's name in the layout of a state.
    const NAME: &'static str;

    /// A number with the order of the values: for floats the total order of IEEE 754, in which -0.0 is below 0.0 and NaN,
    /// which is canonical, above all.
    fn rank(self) -> u64;

    /// The value of a rank, if it has one.
    fn from_rank(rank: u64) -> Option<Self>;
}

const SIGN: u64 = 1 << 63;

impl Ranked for i64 {
    const NAME: &'static str = "i64";

    fn rank(self) -> u64 {
        self.cast_unsigned() ^ SIGN
    }

    fn from_rank(rank: u64) -> Option<Self> {
        Some((rank ^ SIGN).cast_signed())
    }
}

impl Ranked for f64 {
    const NAME: &'static str = "f64";

    fn rank(self) -> u64 {
        let bits = unskew_frame::canonical_f64(self).to_bits();
        if bits & SIGN == 0 { bits | SIGN } else { !bits }
    }

    fn from_rank(rank: u64) -> Option<Self> {
        let value = f64::from_bits(if rank & SIGN == 0 { !rank } else { rank & !SIGN });
        (value.rank() == rank).then_some(value)
    }
}

impl Ranked for bool {
    const NAME: &'static str = "bool";

    fn rank(self) -> u64 {
        u64::from(self)
    }

    fn from_rank(rank: u64) -> Option<Self> {
        match rank {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl Ranked for Timestamp {
    const NAME: &'static str = "timestamp";

    fn rank(self) -> u64 {
        self.as_micros().rank()
    }

    fn from_rank(rank: u64) -> Option<Self> {
        i64::from_rank(rank).map(Self::from_micros)
    }
}

/// An optional value as its presence and its rank.
pub(super) fn encode_ranked<T: Ranked>(value: Option<T>, bytes: &mut Vec<u8>) {
    bytes.push(u8::from(value.is_some()));
    if let Some(value) = value {
        push_rank(value, bytes);
    }
}

pub(super) fn decode_ranked<T: Ranked>(reader: &mut StateReader<'_>) -> Result<Option<T>, StateError> {
    match reader.byte()? {
        0 => Ok(None),
        1 => read_rank(reader).map(Some),
        _ => Err(StateError::Damaged),
    }
}

pub(super) fn push_rank<T: Ranked>(value: T, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&value.rank().to_le_bytes());
}

pub(super) fn read_rank<T: Ranked>(reader: &mut StateReader<'_>) -> Result<T, StateError> {
    T::from_rank(u64::from_le_bytes(reader.array()?)).ok_or(StateError::Damaged)
}
