//! Accumulators: what an aggregate keeps of its events, per tile of a window.
//!
//! Every accumulator is independent of order, to the bit: events may arrive in any order and states be merged in any tree,
//! and the bytes are the same. Its encoding is canonical: equal contents are equal bytes.
//!
//! | accumulator | over | value | bytes of state |
//! |---|---|---|---|
//! | [`Count`] | events | i64 | 1 to 10 |
//! | [`Sum<i64>`](Sum) | i64 | `Option<i64>`, missing on overflow | 1 to 19 |
//! | [`Sum<f64>`](Sum) | f64 | f64, the exact sum rounded once | about 20, at most 290 |
//! | [`Mean`] | f64 | `Option<f64>`, the rounded exact sum over the count | as the sum, and a count |
//! | [`Min`], [`Max`] | i64, f64, bool, Timestamp | `Option<T>` | 1 or 9 |
//! | [`Last`] | i64, f64, bool, Timestamp | `Option<T>`, the greatest of the latest | 1 or 17 |

mod count;
mod exact_sum;
mod extremum;
mod last;
mod mean;
mod sum;

pub use count::Count;
pub use exact_sum::ExactSum;
pub use extremum::{Max, Min};
pub use last::Last;
pub use mean::Mean;
pub use sum::{Sum, Summand};

use crate::Timestamp;
use crate::state::{StateError, StateReader};

/// A summary of values that can be merged and kept as bytes.
///
/// The laws, which the tests of an accumulator check: merging is associative and commutative, to the bit; the default is its
/// identity; decoding an encoding gives an equal accumulator, and equal accumulators have equal encodings.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an accumulator",
    label = "not an accumulator",
    note = "use Count, Sum, Mean, Min, Max or Last of unskew_guest::accumulate"
)]
pub trait Accumulator: Default + Clone + PartialEq {
    /// Adds what `other` has seen.
    fn merge(&mut self, other: &Self);

    /// Appends the canonical bytes.
    fn encode(&self, bytes: &mut Vec<u8>);

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// The bytes end early or cannot have been written by it.
    fn decode(reader: &mut StateReader<'_>) -> Result<Self, StateError>;
}

/// An accumulator that takes values of type `V`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot accumulate values of type `{V}`",
    label = "accumulates another type",
    note = "`()` is an event without a column, which only Count takes: name the column as in #[accumulate(price)]",
    note = "Sum takes i64 or f64; Mean takes f64; Min, Max and Last take the type in their angle brackets"
)]
pub trait Accumulate<V>: Accumulator {
    /// Adds the value that an event at `time` has.
    fn add(&mut self, time: Timestamp, value: V);
}

/// A value on its way into an accumulator. A method of the value, so that the compiler's complaint is about an accumulator
/// of another type and not about an argument.
#[doc(hidden)]
pub struct Taken<V>(pub Timestamp, pub V);

impl<V> Taken<V> {
    #[inline]
    pub fn into_accumulator<A: Accumulate<V>>(self, accumulator: &mut A) {
        accumulator.add(self.0, self.1);
    }
}

/// A type with a total order that fits 64 bits: what [`Min`], [`Max`] and [`Last`] hold.
pub trait Ranked: Copy + PartialEq {
    /// A number with the order of the values: for floats the total order of IEEE 754, in which -0.0 is below 0.0 and NaN,
    /// which is canonical, above all.
    fn rank(self) -> u64;

    /// The value of a rank, if it has one.
    fn from_rank(rank: u64) -> Option<Self>;
}

const SIGN: u64 = 1 << 63;

impl Ranked for i64 {
    fn rank(self) -> u64 {
        self.cast_unsigned() ^ SIGN
    }

    fn from_rank(rank: u64) -> Option<Self> {
        Some((rank ^ SIGN).cast_signed())
    }
}

impl Ranked for f64 {
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
    fn rank(self) -> u64 {
        self.as_micros().rank()
    }

    fn from_rank(rank: u64) -> Option<Self> {
        i64::from_rank(rank).map(Self::from_micros)
    }
}

#[cfg(test)]
mod tests;
