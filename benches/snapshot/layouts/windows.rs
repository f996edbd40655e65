use std::io;

use crate::layout::{Key, Layout, MAX_BATCH_KEYS, hash, sorted, split};
use crate::store::{Shape, Store};
use crate::window_matching::matching;

const GROUP_KEYS: usize = 16_384;
/// Rows for each slot.
const LOAD: f64 = 0.915;
/// By how much groups grow when the keys of one do not fit.
const GROWTH: f64 = 1.01;

/// The slots from a key's home, and those from its second home, that its row may be in.
const HOME_SLOTS: usize = 2;
const SECOND_SLOTS: usize = 4;
pub const ALTERNATIVES: usize = HOME_SLOTS + SECOND_SLOTS;
/// The slots at the end of a group that are no homes.
const MARGIN: usize = if HOME_SLOTS > SECOND_SLOTS {
    HOME_SLOTS - 1
} else {
    SECOND_SLOTS - 1
};
/// The slots from the second home that a single lookup asks for before it knows.
const GUESSED_SLOTS: usize = 3;

/// Two homes a key. A row is in its home, behind it, or in one of four slots from its second home; the mark of the home slot
/// tells which of these have rows that should be at home there.
///
/// One miss: all places a row can well be in are asked for at once. Many keys at a time read their homes first and then only
/// what the marks tell, one slot in most cases.
pub struct Windows {
    store: Store,
    group_count: usize,
    group_slots: usize,
}

/// The first slots of a key's two windows.
#[derive(Clone, Copy, Default)]
struct Homes {
    home: usize,
    second: usize,
}

/// A key that is looked for: its next slot, and the alternatives after that.
#[derive(Clone, Copy, Default)]
struct Open {
    index: usize,
    slot: usize,
    displaced: u64,
}

impl Homes {
    /// The slot of an alternative, of which 0 is the home.
    #[inline(always)]
    fn slot(self, alternative: usize) -> usize {
        match alternative.checked_sub(HOME_SLOTS) {
            None => self.home + alternative,
            Some(offset) => self.second + offset,
        }
    }
}

impl Layout for Windows {
    const NAME: &'static str = "windows";

    fn build(ids: &[i64], shape: Shape) -> io::Result<Self> {
        let keys = sorted(ids);
        let group_count = (keys.len() / GROUP_KEYS).max(1);
        let mut group_slots = (keys.len() as f64 / group_count as f64 / LOAD).ceil() as usize + MARGIN + 1;
        loop {
            let mut windows = Self {
                store: Store::new(group_count * group_slots, shape)?,
                group_count,
                group_slots,
            };
            if windows.fill(&keys) {
                return Ok(windows);
            }
            group_slots = (group_slots as f64 * GROWTH) as usize + 1;
        }
    }

    #[inline(always)]
    fn find(&self, key: &Key) -> Option<u32> {
        let homes = self.homes(hash(key));
        self.store.prefetch_rest(homes.home);
        for alternative in (HOME_SLOTS..HOME_SLOTS + GUESSED_SLOTS).chain(1..HOME_SLOTS) {
            self.store.prefetch_key(homes.slot(alternative));
        }
        if self.store.is_of(homes.home, key) {
            return Some(homes.home as u32);
        }
        let mut displaced = self.store.mark(homes.home);
        while displaced != 0 {
            let alternative;
            (alternative, displaced) = next(displaced);
            let slot = homes.slot(alternative);
            if self.store.is_of(slot, key) {
                return Some(slot as u32);
            }
        }
        None
    }

    fn find_many(&self, keys: &[Key], slots: &mut Vec<Option<u32>>) {
        slots.clear();
        slots.resize(keys.len(), None);
        let mut homes = [Homes::default(); MAX_BATCH_KEYS];
        for (homes, key) in homes.iter_mut().zip(keys) {
            *homes = self.homes(hash(key));
            self.store.prefetch_key(homes.home);
        }
        // All keys are open, then those that are not at home, then those that are not in the first place marked there.
        let mut open = [Open::default(); MAX_BATCH_KEYS];
        let mut open_count = 0;
        for (index, Homes { home, .. }) in homes[..keys.len()].iter().enumerate() {
            let read = Open {
                index,
                slot: *home,
                displaced: self.store.mark(*home),
            };
            if let Some(still_open) = self.decide(read, homes[index], &keys[index], slots) {
                open[open_count] = still_open;
                open_count += 1;
            }
        }
        while open_count > 0 {
            let mut left = 0;
            for turn in 0..open_count {
                let read = open[turn];
                if let Some(still_open) = self.decide(read, homes[read.index], &keys[read.index], slots) {
                    open[left] = still_open;
                    left += 1;
                }
            }
            open_count = left;
        }
    }

    #[inline(always)]
    fn row(&self, slot: u32) -> &[u64] {
        self.store.row(slot as usize)
    }

    fn bytes(&self) -> usize {
        self.store.bytes()
    }
}

impl Windows {
    #[inline(always)]
    fn homes(&self, hash: u64) -> Homes {
        let (group, rest) = split(hash, self.group_count);
        let home_count = self.group_slots - MARGIN;
        let start = group * self.group_slots;
        // The second home is of other bits than the first, which took the top ones of the group's hash.
        let second = hash.wrapping_mul(0xd6e8_feb8_6659_fd93) >> 32;
        Homes {
            home: start + split(rest, home_count).0,
            second: start + ((second * home_count as u64) >> 32) as usize,
        }
    }

    /// Reads the slot that a key is open for: has its row there, or asks for the next slot if there is one. With branches, though
    /// they cannot be guessed: conditional moves took a quarter longer, for behind a guess the next keys' reads begin.
    #[inline(always)]
    fn decide(&self, open: Open, homes: Homes, key: &Key, slots: &mut [Option<u32>]) -> Option<Open> {
        if self.store.is_of(open.slot, key) {
            self.store.prefetch_rest(open.slot);
            slots[open.index] = Some(open.slot as u32);
            return None;
        }
        if open.displaced == 0 {
            return None;
        }
        let (alternative, displaced) = next(open.displaced);
        let slot = homes.slot(alternative);
        self.store.prefetch_key(slot);
        Some(Open {
            slot,
            displaced,
            ..open
        })
    }

    /// Puts the rows of keys that are sorted by hash into their slots; `false` if a group is too small.
    fn fill(&mut self, keys: &[(u64, i64)]) -> bool {
        for group in keys.chunk_by(|a, b| split(a.0, self.group_count).0 == split(b.0, self.group_count).0) {
            let start = split(group[0].0, self.group_count).0 * self.group_slots;
            let choices: Vec<[u32; ALTERNATIVES]> = group
                .iter()
                .map(|(hash, _)| {
                    let homes = self.homes(*hash);
                    std::array::from_fn(|alternative| (homes.slot(alternative) - start) as u32)
                })
                .collect();
            let Some(chosen) = matching(&choices, self.group_slots) else {
                return false;
            };
            for ((choices, alternative), (_, id)) in choices.iter().zip(chosen).zip(group) {
                let [home, slot] = [choices[0], choices[alternative]].map(|slot| start + slot as usize);
                self.store.put(slot, *id);
                if alternative > 0 {
                    self.store.set_mark(home, 1 << (alternative - 1));
                }
            }
        }
        true
    }
}

/// The first alternative of a mark, and those after it.
#[inline(always)]
fn next(displaced: u64) -> (usize, u64) {
    (
        displaced.trailing_zeros() as usize + 1,
        displaced & displaced.wrapping_sub(1),
    )
}
