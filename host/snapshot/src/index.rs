//! Where a key's row may be: the addresses of the file's index, which has no bytes of its own but a mask in each row.
//!
//! Rows are in groups of as many slots each; the top of a key's hash chooses the group. In it a key has six slots: its home
//! and the one behind it, and four in a row elsewhere. Two-choice hashing with overlapping windows fills slots to 91.5 %
//! with 60 % of the keys at home (thresholds: Walzer, "Load thresholds for cuckoo hashing with overlapping blocks", ICALP
//! 2018). The home's row says by a mask which of its other slots hold keys that have their home there.
//!
//! ```text
//! lookup(key):
//!     home, others = slots(hash(key))           no memory is read to know them
//!     if key at home: found
//!     for each of the others that home's mask names: if key there: found
//!     otherwise, if the file has overflow rows: search the key's hash among theirs
//! ```
//!
//! So a single lookup has all its slots on the way from memory at once and costs one miss, whatever the table's size; and
//! many lookups read 1.5 rows each. An index to be read first costs a second miss in a row as soon as it is larger than
//! the nearest caches: benches/snapshot/layouts.rs has the figures of the other layouts.

use core::hint::select_unpredictable;

/// The slots of a key.
pub(crate) const ALTERNATIVES: usize = 6;
/// Slots of a group that are nobody's home or second choice, so that the windows behind those stay in the group.
pub(crate) const SPREAD: u32 = 3;
/// Rows of a group, where rows are not very wide.
pub(crate) const GROUP_ROWS: u64 = 16_384;
/// Rows to slots, in thousandths.
const LOAD: u64 = 915;
/// An odd number with random bits: the second choice must not follow from the home.
const SECOND_MULTIPLIER: u64 = 0xd6e8_feb8_6659_fd93;

/// The groups of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) group_count: u32,
    /// More than [`SPREAD`].
    pub(crate) group_slots: u32,
}

/// The slots of a key, in the file or in its group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slots {
    pub(crate) home: u32,
    pub(crate) second: u32,
}

impl Index {
    /// The groups for so many rows, `group_rows` in each; `None` if there are too many slots for a u32.
    pub(crate) fn for_rows(row_count: u64, group_rows: u64) -> Option<Self> {
        let group_count = row_count.div_ceil(group_rows).max(1);
        let rows = row_count.div_ceil(group_count);
        let group_slots = (rows * 1_000).div_ceil(LOAD) + u64::from(SPREAD) + 1;
        (group_count * group_slots <= u64::from(u32::MAX)).then_some(Self {
            group_count: group_count as u32,
            group_slots: group_slots as u32,
        })
    }

    /// The slots of all groups.
    pub(crate) fn slot_count(self) -> u64 {
        u64::from(self.group_count) * u64::from(self.group_slots)
    }

    /// The group of a hash.
    #[inline]
    pub(crate) fn group(self, hash: u64) -> u32 {
        split(hash, self.group_count).0
    }

    /// The slots of a hash, counted from the first of its group.
    pub(crate) fn slots_in_group(self, hash: u64) -> Slots {
        let (_, rest) = split(hash, self.group_count);
        self.slots_behind(0, hash, rest)
    }

    /// The slots of a hash, counted from the first of the file.
    #[inline]
    pub(crate) fn slots(self, hash: u64) -> Slots {
        let (group, rest) = split(hash, self.group_count);
        self.slots_behind(group * self.group_slots, hash, rest)
    }

    /// The slots of a hash, counted so that those of its group begin with `first`. `rest` is where it is in its group.
    #[inline]
    fn slots_behind(self, first: u32, hash: u64, rest: u64) -> Slots {
        let span = self.group_slots - SPREAD;
        Slots {
            home: first + split(rest, span).0,
            second: first + split(hash.wrapping_mul(SECOND_MULTIPLIER), span).0,
        }
    }
}

impl Slots {
    /// The slot of a number below [`ALTERNATIVES`]: 0 is the home.
    #[inline]
    pub(crate) fn slot(self, number: usize) -> u32 {
        let number = number as u32;
        select_unpredictable(number < 2, self.home + number, (self.second + number).wrapping_sub(2))
    }

    /// The number of a slot: the lowest, where two are one.
    pub(crate) fn number_of(self, slot: u32) -> Option<usize> {
        (0..ALTERNATIVES).find(|number| self.slot(*number) == slot)
    }
}

/// Where `hash`, as a fraction of 2^64, is among `parts`, and where it is in its part, as such a fraction.
#[inline]
fn split(hash: u64, parts: u32) -> (u32, u64) {
    let product = u128::from(hash) * u128::from(parts);
    ((product >> 64) as u32, product as u64)
}

#[cfg(test)]
mod tests;
