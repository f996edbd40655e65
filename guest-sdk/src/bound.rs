//! How large a state can be, known when its aggregate is compiled.

use crate::accumulate::Accumulator;
use crate::aggregate::{Aggregate, MAX_STATE_BYTES};
use crate::state::number_bytes;
use crate::tiling::unit_us;
use crate::window::WindowMeta;

/// The most that the state of one entity can be, whatever its events: computed from the accumulators
/// ([`Accumulator::MAX_BYTES`]) and the windows ([`WindowMeta::max_tiles`]).
///
/// The component carries it, and `unskew check` shows it. An aggregate can be held to a size of its author's when it is
/// compiled:
///
/// ```
/// # use unskew_guest::accumulate::Count;
/// # use unskew_guest::{Accumulators, Input, Output, StateBound, aggregate};
/// # #[derive(Input)]
/// # pub struct Impression {}
/// # #[derive(Accumulators, Clone, Default, PartialEq)]
/// # #[event(Impression)]
/// # pub struct Totals { impressions: Count }
/// # #[derive(Input)]
/// # pub struct NoInput {}
/// # #[derive(Output)]
/// # pub struct Seen { impressions: i64 }
/// # /// Impressions.
/// # #[aggregate(owner = "ads-ranking", windows = ["1h/5m", "1d/1h"])]
/// # pub fn impressions(totals: &Totals, _: &NoInput) -> Seen {
/// #     Seen { impressions: totals.impressions.value() }
/// # }
/// const _: () = assert!(matches!(StateBound::of::<Impressions>().bytes, Some(0..=1_000)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateBound {
    /// The tiles of all widths; none where a window has an exact tail, which keeps one for each time of an event. A state has
    /// no more cells.
    pub tiles: Option<u64>,
    /// The bytes; none where there is no bound of the tiles, or an accumulator has none.
    pub bytes: Option<u64>,
}

impl StateBound {
    /// That of an aggregate.
    pub const fn of<T: Aggregate>() -> Self {
        Self::new(T::WINDOWS, <T::Totals as Accumulator>::MAX_BYTES)
    }

    /// That of states of these windows, each of whose cells has at most so many bytes: what the layout of a state comes to. There are no
    /// more cells than tiles.
    const fn new(windows: &[WindowMeta], cell_bytes: Option<u64>) -> Self {
        let (mut tiles, mut farthest, mut i) = (Some(0), 0, 0);
        while i < windows.len() {
            if is_longest_of_its_hop(windows, i) {
                tiles = add(tiles, windows[i].max_tiles());
            }
            // The tail is moved back by less than a tile, and so is the place that is counted from.
            let reach_us = windows[i].length_us as u64 + windows[i].tile_us() as u64;
            farthest = greater(farthest, reach_us / unit_us(windows) as u64 + 1);
            i += 1;
        }
        Self {
            tiles,
            bytes: state_bytes(tiles, cell_bytes, farthest),
        }
    }

    /// As a component carries it, in the custom section `unskew:state` of its core module: three u64s, the tiles, the bytes, of
    /// both of which the greatest number is none, and the bytes beyond which a fold is refused.
    #[doc(hidden)]
    pub const fn section(&self) -> [u8; 24] {
        let words = [number(self.tiles), number(self.bytes), MAX_STATE_BYTES as u64];
        let mut section = [0; 24];
        let mut i = 0;
        while i < section.len() {
            section[i] = words[i / 8].to_le_bytes()[i % 8];
            i += 1;
        }
        section
    }
}

/// Version and time of the last event.
const STATE_HEADER_BYTES: u64 = 4 + 8;

/// How many cells there are, the widths of the numbers, and for each cell how far back it is, where it ends, and what is in it.
const fn state_bytes(cells: Option<u64>, cell_bytes: Option<u64>, farthest: u64) -> Option<u64> {
    let (Some(cells), Some(cell_bytes)) = (cells, cell_bytes) else {
        return None;
    };
    let Some(totals) = cells.checked_mul(cell_bytes) else {
        return None;
    };
    let numbers = cells.checked_mul(number_bytes(farthest) + number_bytes(totals));
    add(
        numbers,
        add(Some(totals), Some(STATE_HEADER_BYTES + varint_len(cells as u128) + 1)),
    )
}

/// Windows of a hop share tiles, as many as the longest needs.
const fn is_longest_of_its_hop(windows: &[WindowMeta], index: usize) -> bool {
    let mut other = 0;
    while other < windows.len() {
        let (this, that) = (&windows[index], &windows[other]);
        let is_longer = that.length_us > this.length_us || that.length_us == this.length_us && other < index;
        if this.tile_us() == that.tile_us() && is_longer {
            return false;
        }
        other += 1;
    }
    true
}

const fn number(bound: Option<u64>) -> u64 {
    match bound {
        Some(bound) => bound,
        None => u64::MAX,
    }
}

/// The sum of bounds; none where one is none, or it is beyond all numbers.
const fn add(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => a.checked_add(b),
        _ => None,
    }
}

/// The bytes of accumulators that are written one after the other.
#[doc(hidden)]
pub const fn sum_bounds(bounds: &[Option<u64>]) -> Option<u64> {
    let (mut sum, mut i) = (Some(0), 0);
    while i < bounds.len() {
        sum = add(sum, bounds[i]);
        i += 1;
    }
    sum
}

/// The bytes of a number in 7-bit groups.
pub(crate) const fn varint_len(number: u128) -> u64 {
    let bits = 128 - (number | 1).leading_zeros();
    bits.div_ceil(7) as u64
}

/// The most bytes of a count.
pub(crate) const COUNT_BYTES: u64 = varint_len(u64::MAX as u128);

/// The most bytes of a fixed-point number of so many limbs.
pub(crate) const fn fixed_point_bytes(limbs: i64) -> u64 {
    let limbs = limbs.unsigned_abs();
    varint_len(2 * limbs as u128) + varint_len(limbs as u128) + 8 * limbs
}

/// The greater of two.
pub(crate) const fn greater(a: u64, b: u64) -> u64 {
    if a < b { b } else { a }
}

#[cfg(test)]
mod tests;
