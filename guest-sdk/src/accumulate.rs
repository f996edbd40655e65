//! Accumulators: what an aggregate keeps of its events, for each place of a window's tail.
//!
//! Every accumulator is independent of order, to the bit: events may arrive in any order and states be merged in any tree,
//! and the bytes are the same. Its encoding is canonical: equal contents are equal bytes. Tests hold every one of them to
//! that, with [`aggregator_laws!`](crate::aggregator_laws), which is there for accumulators of your own, too.
//!
//! | accumulator | over | value | bytes of state |
//! |---|---|---|---|
//! | [`Count`] | events | i64 | 1 to 10 |
//! | [`Rate`] | bool | set per event, with or without a prior | 2 to 20 |
//! | [`Sum<i64>`](Sum) | i64 | `Option<i64>`, missing on overflow | 1 to 19 |
//! | [`Sum<f64>`](Sum) | f64 | f64, the exact sum rounded once | about 20, at most 290 |
//! | [`DecimalSum<SCALE>`](DecimalSum) | f64, i64 | `Option<f64>`, in decimal units | 2 to 29 |
//! | [`Ratio`] | two columns, f64 or i64 | the one sum over the other, with or without a prior | as two sums |
//! | [`Mean`] | f64, i64 | `Option<f64>`, the rounded exact sum over the count | as the sum, and a count |
//! | [`Variance`] | f64, i64 | `Option<f64>`, exact up to the last rounding | about 50, at most 850 |
//! | [`Min`], [`Max`] | i64, f64, bool, Timestamp | `Option<T>` | 1 or 9 |
//! | [`First`], [`Last`] | i64, f64, bool, Timestamp | `Option<T>`, of one time the least or greatest | 1 or 17 |
//! | [`LastK<T, K>`](LastK) | i64, f64, bool, Timestamp | the K latest with their times | 1 + 16 K |
//! | [`FirstSeen`], [`LastSeen`] | events | when, and seconds before the query | 1 or 9 |
//! | [`Decay<S>`](Decay) | events, f64, i64 | f64, halved every S seconds | about 30, and a byte for each 8 half-lives |
//! | [`Distinct<P>`](Distinct) | i64, f64, Timestamp, strings, bytes | i64, HyperLogLog beyond some hundreds | 2 to 3,073 |
//! | [`Quantiles`] | f64, i64 | `Option<f64>` within 0.8 % | 2 a bucket, at most some KiB |
//! | [`Histogram<E>`](Histogram) | f64, i64 | i64 for each bin | 1 to 10 a bin |
//! | [`TopK`] | i64, Timestamp, strings, bytes | keys and counts, a sketch beyond 64 keys | 10 a key, then some KiB |

mod count;
mod decay;
mod decimal_sum;
mod distinct;
mod exact_sum;
mod extremum;
mod first_last;
mod fixed_point;
mod histogram;
mod identity;
mod last_k;
mod last_seen;
mod mean;
mod quantiles;
mod ranked;
mod rate;
mod sum;
mod top_k;
mod variance;

pub use count::Count;
pub use decay::Decay;
pub use decimal_sum::DecimalSum;
pub use distinct::Distinct;
pub use exact_sum::ExactSum;
pub use extremum::{Max, Min};
pub use first_last::{First, Last};
pub use histogram::{Edges, Histogram};
pub use identity::Identity;
pub use last_k::LastK;
pub use last_seen::{FirstSeen, LastSeen};
pub use mean::Mean;
pub use quantiles::Quantiles;
pub use ranked::Ranked;
pub use rate::{Rate, Ratio};
pub use sum::{Sum, Summand};
pub use top_k::{Frequent, TopK};
pub use variance::Variance;

use crate::Timestamp;
use crate::state::{StateError, StateReader};

/// A summary of values that can be merged and kept as bytes.
///
/// The laws, which [`aggregator_laws!`](crate::aggregator_laws) checks: merging is associative and commutative, to the bit; the
/// default is its identity; decoding an encoding gives an equal accumulator, and equal accumulators have equal encodings.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an accumulator",
    label = "not an accumulator",
    note = "use Count, Sum, Mean, Max, Last or another of unskew_guest::accumulate"
)]
pub trait Accumulator: Default + Clone + PartialEq + 'static {
    /// The most bytes that [`encode`](Self::encode) appends, whatever was added; none where there is no such number. What is
    /// known of every accumulator of an aggregate makes the [bound of its states](crate::StateBound).
    const MAX_BYTES: Option<u64> = None;

    /// Whether what many values come to takes about as many bytes as what one does: a sum, not a list. Then a state keeps totals from
    /// each instant on, so that reading a window takes no longer where there are many events. Of others it keeps every event once.
    const IS_COMPACT: bool = false;

    /// Appends what the bytes depend on: a name that is this encoding's alone, and the parameters. The version of a state is
    /// made of it, so no state is read as another's: change it whenever [`encode`](Self::encode) changes.
    fn layout(text: &mut String);

    /// Adds what `other` has seen.
    fn merge(&mut self, other: &Self);

    /// Appends the canonical bytes.
    fn encode(&self, bytes: &mut Vec<u8>);

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// The bytes end early or cannot have been written by it.
    fn decode(reader: &mut StateReader<'_>) -> Result<Self, StateError>;

    /// Adds what [`encode`](Self::encode) wrote: decoding and merging, which an accumulator may do in one.
    ///
    /// # Errors
    /// As [`decode`](Self::decode). What was added by then is undefined.
    #[inline]
    fn merge_encoded(&mut self, reader: &mut StateReader<'_>) -> Result<(), StateError> {
        self.merge(&Self::decode(reader)?);
        Ok(())
    }
}

/// An accumulator that takes values of type `V`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot accumulate values of type `{V}`",
    label = "accumulates another type",
    note = "`()` is an event without a column, which Count and LastSeen take: name the column as in #[accumulate(price)]",
    note = "the table in unskew_guest::accumulate says which types each accumulator takes"
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

#[cfg(test)]
mod tests;
