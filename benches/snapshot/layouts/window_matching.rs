//! Gives each key of a group one of its alternative slots, as many as can be their home. The same keys get the same slots.
//!
//! ```text
//! for each key: its home if that is free
//! for each key left over: the shortest chain of keys that can each move to the next one's slot and the last to a free one
//!     at first without moving keys from their homes; for those still left over, with
//! twice, for each slot: move its key to the first of its alternatives that is free,
//!     or home, if who is there is no native and has a free alternative or can have this slot
//! ```

use crate::windows::ALTERNATIVES;

const NONE: u32 = u32::MAX;
const IMPROVEMENTS: usize = 2;

/// The alternative of each key; `None` if they do not all fit.
pub fn matching(choices: &[[u32; ALTERNATIVES]], slot_count: usize) -> Option<Vec<usize>> {
    let mut matching = Matching {
        choices,
        owners: vec![NONE; slot_count],
        visited: vec![0; slot_count],
        from: vec![NONE; slot_count],
        turn: 0,
    };
    let mut left_over = Vec::new();
    for (key, [home, ..]) in choices.iter().enumerate() {
        let owner = &mut matching.owners[*home as usize];
        match *owner {
            NONE => *owner = key as u32,
            _ => left_over.push(key as u32),
        }
    }
    left_over.retain(|key| !matching.insert(*key, false));
    left_over.retain(|key| !matching.insert(*key, true));
    if !left_over.is_empty() {
        return None;
    }
    for _ in 0..IMPROVEMENTS {
        (0..slot_count).for_each(|slot| matching.improve(slot));
    }
    let mut chosen = vec![0; choices.len()];
    for (slot, owner) in matching.owners.iter().enumerate().filter(|(_, owner)| **owner != NONE) {
        let of_key = &choices[*owner as usize];
        chosen[*owner as usize] = of_key.iter().position(|choice| *choice as usize == slot)?;
    }
    Some(chosen)
}

struct Matching<'a> {
    choices: &'a [[u32; ALTERNATIVES]],
    /// By slot: its key.
    owners: Vec<u32>,
    /// By slot: the last search that came by.
    visited: Vec<u32>,
    /// By slot, of the search under way: the slot whose key would move here.
    from: Vec<u32>,
    turn: u32,
}

impl Matching<'_> {
    fn is_at_home(&self, slot: u32) -> bool {
        let owner = self.owners[slot as usize];
        owner != NONE && self.choices[owner as usize][0] == slot
    }

    /// Finds a slot for a key, breadth first; `may_move_natives` is whether keys may be moved from their homes.
    fn insert(&mut self, key: u32, may_move_natives: bool) -> bool {
        self.turn += 1;
        let mut queue = Vec::new();
        let mut next = 0;
        let (mut mover, mut from) = (key, NONE);
        loop {
            for slot in self.choices[mover as usize] {
                if self.visited[slot as usize] == self.turn {
                    continue;
                }
                self.visited[slot as usize] = self.turn;
                self.from[slot as usize] = from;
                if self.owners[slot as usize] == NONE {
                    self.shift(slot, key);
                    return true;
                }
                if may_move_natives || !self.is_at_home(slot) {
                    queue.push(slot);
                }
            }
            let Some(slot) = queue.get(next) else {
                return false;
            };
            next += 1;
            (mover, from) = (self.owners[*slot as usize], *slot);
        }
    }

    /// Moves the keys of the chain that ends in a free slot, and puts the new key where it begins.
    fn shift(&mut self, mut slot: u32, key: u32) {
        loop {
            match self.from[slot as usize] {
                NONE => {
                    self.owners[slot as usize] = key;
                    return;
                }
                from => {
                    self.owners[slot as usize] = self.owners[from as usize];
                    slot = from;
                }
            }
        }
    }

    fn improve(&mut self, slot: usize) {
        let key = self.owners[slot];
        if key == NONE || self.is_at_home(slot as u32) {
            return;
        }
        let choices = &self.choices[key as usize];
        let is_free = |choice: &&u32| self.owners[**choice as usize] == NONE;
        let mut better = choices.iter().take_while(|choice| **choice as usize != slot);
        if let Some(free) = better.find(is_free) {
            self.owners[*free as usize] = key;
            self.owners[slot] = NONE;
            return;
        }
        let home = choices[0];
        if self.is_at_home(home) {
            return;
        }
        let visitor = self.owners[home as usize];
        let visitor_choices = &self.choices[visitor as usize];
        let mut possible = visitor_choices
            .iter()
            .filter(|choice| **choice as usize == slot || is_free(choice));
        if let Some(other) = possible.next() {
            self.owners[slot] = NONE;
            self.owners[*other as usize] = visitor;
            self.owners[home as usize] = key;
        }
    }
}
