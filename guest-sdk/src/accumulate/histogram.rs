use core::fmt::Write as _;
use core::marker::PhantomData;

use super::{Accumulate, Accumulator, Count};
use crate::Timestamp;
use crate::bound::COUNT_BYTES;
use crate::state::{StateError, StateReader, push_varint};

/// The edges of a [`Histogram`].
///
/// ```
/// use unskew_guest::accumulate::Edges;
///
/// #[derive(Clone, Copy, Debug, PartialEq)]
/// pub struct Cpm;
///
/// impl Edges for Cpm {
///     const EDGES: &'static [f64] = &[0.1, 0.5, 1.0, 2.0, 5.0];
/// }
/// ```
pub trait Edges: Clone + PartialEq + 'static {
    /// Ascending, 1 to 1,024 of them.
    const EDGES: &'static [f64];
}

/// How many values, f64 or i64, fell between fixed edges: one bin below the first, one from each edge up to the next, the last
/// from the last edge up. A value on an edge is in the bin above it.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram<E> {
    /// Empty without values.
    bins: Vec<u64>,
    not_numbers: Count,
    edges: PhantomData<E>,
}

impl<E: Edges> Histogram<E> {
    const BINS: usize = {
        let edges = E::EDGES;
        assert!(!edges.is_empty() && edges.len() <= 1024, "there are 1 to 1,024 edges");
        let mut i = 1;
        while i < edges.len() {
            assert!(edges[i - 1] < edges[i], "edges ascend");
            i += 1;
        }
        edges.len() + 1
    };

    /// The number of values in bin `bin`, of which there is one more than edges.
    pub fn bin(&self, bin: usize) -> i64 {
        let count = self.bins.get(bin).copied().unwrap_or(0);
        i64::try_from(count).unwrap_or(i64::MAX)
    }

    /// How many values there were, without NaNs.
    pub fn count(&self) -> i64 {
        (0..Self::BINS).fold(0, |sum, bin| i64::saturating_add(sum, self.bin(bin)))
    }

    /// The share of the values in bin `bin`; none without values.
    pub fn share(&self, bin: usize) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.bin(bin) as f64 / count as f64)
    }

    /// How many NaNs there were, which are in no bin.
    pub fn not_numbers(&self) -> i64 {
        self.not_numbers.value()
    }
}

impl<E> Default for Histogram<E> {
    fn default() -> Self {
        Self {
            bins: Vec::new(),
            not_numbers: Count::default(),
            edges: PhantomData,
        }
    }
}

impl<E: Edges> Accumulator for Histogram<E> {
    const MAX_BYTES: Option<u64> = Some(COUNT_BYTES + 1 + COUNT_BYTES * Self::BINS as u64);
    const IS_COMPACT: bool = true;

    fn layout(text: &mut String) {
        text.push_str("histogram");
        for edge in E::EDGES {
            let _ = write!(text, " {:x}", edge.to_bits());
        }
    }

    fn merge(&mut self, other: &Self) {
        self.not_numbers.merge(&other.not_numbers);
        if self.bins.is_empty() {
            self.bins.clone_from(&other.bins);
            return;
        }
        for (bin, count) in self.bins.iter_mut().zip(&other.bins) {
            *bin = bin.saturating_add(*count);
        }
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        self.not_numbers.encode(bytes);
        bytes.push(u8::from(!self.bins.is_empty()));
        for bin in &self.bins {
            push_varint(bytes, (*bin).into());
        }
    }

    fn decode(reader: &mut StateReader<'_>) -> Result<Self, StateError> {
        let not_numbers = Count::decode(reader)?;
        let len = match reader.byte()? {
            0 => 0,
            1 => Self::BINS,
            _ => return Err(StateError::Damaged),
        };
        let bins = (0..len).map(|_| reader.u64()).collect::<Result<Vec<u64>, _>>()?;
        if !bins.is_empty() && bins.iter().all(|bin| *bin == 0) {
            return Err(StateError::Damaged);
        }
        Ok(Self {
            bins,
            not_numbers,
            edges: PhantomData,
        })
    }
}

impl<E: Edges> Accumulate<f64> for Histogram<E> {
    #[inline]
    fn add(&mut self, time: Timestamp, value: f64) {
        if value.is_nan() {
            self.not_numbers.add(time, ());
            return;
        }
        if self.bins.is_empty() {
            self.bins = vec![0; Self::BINS];
        }
        let bin = &mut self.bins[E::EDGES.partition_point(|edge| *edge <= value)];
        *bin = bin.saturating_add(1);
    }
}

impl<E: Edges> Accumulate<i64> for Histogram<E> {
    #[inline]
    fn add(&mut self, time: Timestamp, value: i64) {
        self.add(time, value as f64);
    }
}
