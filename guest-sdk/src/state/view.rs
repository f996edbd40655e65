use crate::Timestamp;
use crate::accumulate::Accumulator;
use crate::state::{StateError, StateReader, push_varint};

/// The bytes of a state, of which no more is read than a window needs: what is damaged elsewhere is noticed by decoding alone.
/// Bytes of whatever kind are read or refused.
pub(crate) struct StateView<'a> {
    pub last: Timestamp,
    distances: Numbers<'a>,
    ends: Numbers<'a>,
    totals: &'a [u8],
}

impl<'a> StateView<'a> {
    /// That of a state of `A`.
    #[inline]
    pub fn of<A: Accumulator>(bytes: &'a [u8], version: u32) -> Result<Self, StateError> {
        let mut reader = StateReader::new(bytes);
        let written = u32::from_le_bytes(reader.array()?);
        if written != version {
            return Err(StateError::Version(written));
        }
        let last = Timestamp::from_micros(i64::from_le_bytes(reader.array()?));
        let (cells, widths) = (reader.u64()?, reader.byte()?);
        let cells = usize::try_from(cells).ok().filter(|cells| *cells > 0);
        let cells = cells.filter(|_| widths < 16).ok_or(StateError::Damaged)?;
        let end_count = if A::IS_COMPACT { cells - 1 } else { 0 };
        Ok(Self {
            last,
            distances: Numbers::read(&mut reader, cells, widths & 3)?,
            ends: Numbers::read(&mut reader, end_count, widths >> 2)?,
            totals: reader.rest(),
        })
    }

    /// How many cells there are.
    #[inline]
    pub fn cells(&self) -> usize {
        self.distances.len()
    }

    /// How far back from the last event a cell begins, in places.
    pub fn distance(&self, cell: usize) -> u64 {
        self.distances.get(cell)
    }

    /// How many cells, from the latest on, begin at `tail` or later. The last event is at `newest`.
    #[inline]
    pub fn cells_from(&self, tail: i64, newest: i64) -> usize {
        if newest < tail {
            return 0;
        }
        self.distances.count_up_to(newest.abs_diff(tail))
    }

    /// The totals of all cells.
    pub fn totals(&self) -> StateReader<'a> {
        StateReader::new(self.totals)
    }

    /// The totals of a cell of compact accumulators, which are those of the events from there on.
    #[inline]
    pub fn totals_from<A: Accumulator>(&self, cell: usize) -> Result<A, StateError> {
        let start = if cell == 0 { 0 } else { self.ends.get(cell - 1) };
        let end = if cell < self.ends.len() {
            self.ends.get(cell)
        } else {
            self.totals.len() as u64
        };
        // An end beyond usize is beyond the bytes, too.
        let [start, end] = [start, end].map(|at| usize::try_from(at).unwrap_or(usize::MAX));
        let mut reader = StateReader::new(self.totals.get(start..end).ok_or(StateError::Damaged)?);
        let totals = A::decode(&mut reader)?;
        reader.end()?;
        Ok(totals)
    }

    /// Checks that `reader`, which has read the totals of the cells up to this one, is where they are said to end.
    pub fn check_end(&self, cell: usize, reader: &StateReader<'_>) -> Result<(), StateError> {
        let left = reader.left();
        let is_there = match cell + 1 == self.cells() {
            true => left == 0,
            false => self.ends.len() == 0 || self.ends.get(cell) == (self.totals.len() - left) as u64,
        };
        is_there.then_some(()).ok_or(StateError::Damaged)
    }

    /// Checks that numbers are no wider than they must be.
    pub fn check_widths(&self) -> Result<(), StateError> {
        let is_least = |numbers: &Numbers<'_>| numbers.width == width(numbers.last());
        match is_least(&self.distances) && is_least(&self.ends) {
            true => Ok(()),
            false => Err(StateError::Damaged),
        }
    }
}

/// Appends what is between the time of the last event and the totals.
pub(super) fn push_numbers(bytes: &mut Vec<u8>, cells: usize, distances: &[u64], ends: &[u64]) {
    push_varint(bytes, cells as u128);
    let widths = [distances, ends].map(|numbers| width(numbers.last().copied().unwrap_or(0)));
    bytes.push(widths[0] | widths[1] << 2);
    for (numbers, width) in [distances, ends].into_iter().zip(widths) {
        for number in numbers {
            bytes.extend_from_slice(&number.to_le_bytes()[..1 << width]);
        }
    }
}

/// The least power of two of as many bytes as hold a number.
const fn width(number: u64) -> u8 {
    match number {
        0..=0xff => 0,
        0x100..=0xffff => 1,
        0x1_0000..=0xffff_ffff => 2,
        _ => 3,
    }
}

/// As many bytes.
pub(crate) const fn number_bytes(number: u64) -> u64 {
    1 << width(number)
}

/// Ascending numbers of one width.
struct Numbers<'a> {
    width: u8,
    bytes: &'a [u8],
}

impl<'a> Numbers<'a> {
    #[inline]
    fn read(reader: &mut StateReader<'a>, count: usize, width: u8) -> Result<Self, StateError> {
        let len = count.checked_mul(1 << width).ok_or(StateError::Damaged)?;
        let bytes = reader.slice(len)?;
        Ok(Self { width, bytes })
    }

    #[inline]
    fn len(&self) -> usize {
        self.bytes.len() >> self.width
    }

    fn last(&self) -> u64 {
        self.len().checked_sub(1).map_or(0, |last| self.get(last))
    }

    #[inline]
    fn get(&self, index: usize) -> u64 {
        match self.width {
            0 => self.bytes[index].into(),
            1 => u16::from_le_bytes(self.bytes.as_chunks().0[index]).into(),
            2 => u32::from_le_bytes(self.bytes.as_chunks().0[index]).into(),
            _ => u64::from_le_bytes(self.bytes.as_chunks().0[index]),
        }
    }

    /// How many are not beyond `limit`.
    #[inline]
    fn count_up_to(&self, limit: u64) -> usize {
        match self.width {
            0 => self.bytes.partition_point(|byte| u64::from(*byte) <= limit),
            1 => count(self.bytes, |bytes| u64::from(u16::from_le_bytes(*bytes)) <= limit),
            2 => count(self.bytes, |bytes| u64::from(u32::from_le_bytes(*bytes)) <= limit),
            _ => count(self.bytes, |bytes| u64::from_le_bytes(*bytes) <= limit),
        }
    }
}

#[inline]
fn count<const N: usize>(bytes: &[u8], is_within: impl Fn(&[u8; N]) -> bool) -> usize {
    bytes.as_chunks().0.partition_point(is_within)
}
