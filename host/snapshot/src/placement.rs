//! Which slot of its group each row gets.
//!
//! ```text
//! each key, in order of hashes: takes its home if it is free
//! each key without a slot: takes a free one of its others, else moves a chain of keys on (breadth first), but
//!     no key that is at home; what is left then may move those, too
//! each key that is not at home: goes there if that became free, or changes places with a stranger
//! ```
//!
//! A key that finds no slot after a bounded search goes to the overflow rows: with fewer rows than slots in a group that
//! takes keys of equal hashes, or somebody who chooses keys for it. The order of the keys decides everything, and they come
//! sorted: the same keys get the same slots.

use crate::index::{ALTERNATIVES, Index};

/// No key.
pub(crate) const FREE: u32 = u32::MAX;
/// No slot came before.
const FIRST: u32 = u32::MAX;

/// The most slots that a search for one key looks at.
const MAX_SEARCH_SLOTS: usize = 4_096;
/// Searches that fail in a group before no more are made: so many keys for its slots are no accident.
const MAX_FAILED_SEARCHES: usize = 64;
/// How often keys are sent home: the second time hardly finds any.
const HOMING_ROUNDS: usize = 2;

/// Places the rows of one group after the other; keeps its memory.
#[derive(Debug, Default)]
pub(crate) struct Placer {
    /// The slots of each key.
    slots: Vec<[u32; ALTERNATIVES]>,
    /// The key in each slot, by its number, or [`FREE`].
    owner: Vec<u32>,
    /// Keys without a slot, in order.
    unplaced: Vec<u32>,
    search: Search,
}

/// The state of a breadth-first search.
#[derive(Debug, Default)]
struct Search {
    /// The number of the search that last saw each slot.
    seen: Vec<u32>,
    number: u32,
    /// The slot whose key would move to this slot.
    previous: Vec<u32>,
    queue: Vec<u32>,
}

impl Placer {
    /// Gives the keys of these hashes, all of one group, their slots.
    pub(crate) fn place(&mut self, index: Index, hashes: &[u64]) {
        let group_slots = index.group_slots as usize;
        self.slots.clear();
        self.slots.extend(hashes.iter().map(|hash| {
            let slots = index.slots_in_group(*hash);
            core::array::from_fn(|number| slots.slot(number))
        }));
        self.owner.clear();
        self.owner.resize(group_slots, FREE);
        self.search.reset(group_slots);

        let mut waiting = Vec::new();
        for (key, slots) in (0..).zip(&self.slots) {
            let home = &mut self.owner[slots[0] as usize];
            if *home == FREE {
                *home = key;
            } else {
                waiting.push(key);
            }
        }
        let waiting = self.place_each(&waiting, false);
        self.unplaced = self.place_each(&waiting, true);
        for _ in 0..HOMING_ROUNDS {
            self.send_home();
        }
    }

    /// The key in each slot, by its number, or [`FREE`].
    pub(crate) fn owner(&self) -> &[u32] {
        &self.owner
    }

    /// The keys without a slot, in order.
    pub(crate) fn unplaced(&self) -> &[u32] {
        &self.unplaced
    }

    /// The mask of each slot: which alternatives hold keys that have their home there.
    pub(crate) fn masks(&self, masks: &mut Vec<u8>) {
        masks.clear();
        masks.resize(self.owner.len(), 0);
        for (slot, key) in (0_u32..).zip(&self.owner) {
            if let Some(slots) = self.slots.get(*key as usize) {
                let number = slots.iter().position(|other| *other == slot).unwrap_or(0);
                masks[slots[0] as usize] |= mask_bit(number);
            }
        }
    }

    /// Places keys in order; gives those for which there is no slot.
    fn place_each(&mut self, keys: &[u32], moves_natives: bool) -> Vec<u32> {
        let mut left = Vec::new();
        for key in keys {
            let is_hopeless = moves_natives && left.len() >= MAX_FAILED_SEARCHES;
            let limit = if is_hopeless { ALTERNATIVES } else { MAX_SEARCH_SLOTS };
            match self.find_free(*key, moves_natives, limit) {
                Some(slot) => self.move_chain(*key, slot),
                None => left.push(*key),
            }
        }
        left
    }

    /// The nearest free slot that is reached from those of `key` by moving keys on, nearest by the number of moves.
    fn find_free(&mut self, key: u32, moves_natives: bool, limit: usize) -> Option<u32> {
        let Self {
            slots, owner, search, ..
        } = self;
        search.begin();
        let mut from = FIRST;
        let mut mover = key;
        let mut next = 0;
        loop {
            for slot in slots[mover as usize] {
                if !search.see(slot, from) {
                    continue;
                }
                let key_there = owner[slot as usize];
                if key_there == FREE {
                    return Some(slot);
                }
                if moves_natives || slots[key_there as usize][0] != slot {
                    search.queue.push(slot);
                }
            }
            if next >= limit {
                return None;
            }
            from = *search.queue.get(next)?;
            mover = owner[from as usize];
            next += 1;
        }
    }

    /// Moves each key of the chain that a search found one slot on, so that `key` has a slot.
    fn move_chain(&mut self, key: u32, free: u32) {
        let mut slot = free as usize;
        loop {
            let previous = self.search.previous[slot];
            if previous == FIRST {
                self.owner[slot] = key;
                return;
            }
            self.owner[slot] = self.owner[previous as usize];
            slot = previous as usize;
        }
    }

    /// Moves keys to their homes where those are free or hold a stranger that can go elsewhere.
    fn send_home(&mut self) {
        for slot in 0..self.owner.len() {
            let key = self.owner[slot];
            let Some(slots) = self.slots.get(key as usize).copied() else {
                continue;
            };
            let home = slots[0] as usize;
            if home == slot {
                continue;
            }
            let stranger = self.owner[home];
            if stranger == FREE {
                self.owner[home] = key;
                self.owner[slot] = FREE;
                continue;
            }
            let stranger_slots = self.slots[stranger as usize];
            if stranger_slots[0] as usize == home {
                continue;
            }
            let is_open = |other: &&u32| **other as usize == slot || self.owner[**other as usize] == FREE;
            if let Some(open) = stranger_slots.iter().find(is_open) {
                self.owner[slot] = FREE;
                self.owner[*open as usize] = stranger;
                self.owner[home] = key;
            }
        }
    }
}

impl Search {
    fn reset(&mut self, slots: usize) {
        self.seen.clear();
        self.seen.resize(slots, 0);
        self.previous.resize(slots, FIRST);
        self.number = 0;
    }

    fn begin(&mut self) {
        self.number += 1;
        self.queue.clear();
    }

    /// Whether this search sees the slot for the first time; it came from `previous` then.
    fn see(&mut self, slot: u32, previous: u32) -> bool {
        let seen = &mut self.seen[slot as usize];
        let is_new = *seen != self.number;
        if is_new {
            *seen = self.number;
            self.previous[slot as usize] = previous;
        }
        is_new
    }
}

/// The bit of an alternative in the mask of its home; none for the home itself.
pub(crate) const fn mask_bit(number: usize) -> u8 {
    (1 << number) >> 1
}

#[cfg(test)]
mod tests;
