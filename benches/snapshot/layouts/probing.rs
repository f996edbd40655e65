use std::io;

use crate::layout::{Key, Layout, MAX_BATCH_KEYS, hash, sorted, split};
use crate::store::{Shape, Store};

/// Rows for each slot.
const LOAD: f64 = 0.91;
/// Slots that are asked for ahead when there are many keys.
const AHEAD_SLOTS: usize = 4;

/// An open table with the rows in it: a row is in its home or, in the order of hashes, as little behind it as may be. The mark
/// is the distance, at which the search for an unknown key ends.
///
/// One miss, and the slots behind it, which the processor fetches by itself when they are read in turn.
pub struct Probing {
    store: Store,
    /// Those that are homes; a few follow.
    home_count: usize,
}

impl Layout for Probing {
    const NAME: &'static str = "probing";

    fn build(ids: &[i64], shape: Shape) -> io::Result<Self> {
        let keys = sorted(ids);
        let home_count = (keys.len() as f64 / LOAD).ceil().max(1.0) as usize;
        let mut end = 0;
        let slots: Vec<(usize, usize)> = keys
            .iter()
            .map(|(hash, _)| {
                let (home, _) = split(*hash, home_count);
                let slot = home.max(end);
                end = slot + 1;
                (slot, slot - home)
            })
            .collect();
        // An empty slot ends every search; some are asked for ahead.
        let mut store = Store::new(end.max(home_count) + AHEAD_SLOTS, shape)?;
        for ((_, id), (slot, distance)) in keys.iter().zip(slots) {
            store.put(slot, *id);
            store.set_mark(slot, distance as u64);
        }
        Ok(Self { store, home_count })
    }

    #[inline(always)]
    fn find(&self, key: &Key) -> Option<u32> {
        self.find_from(split(hash(key), self.home_count).0, key)
    }

    fn find_many(&self, keys: &[Key], slots: &mut Vec<Option<u32>>) {
        slots.clear();
        let mut homes = [0; MAX_BATCH_KEYS];
        for (home, key) in homes.iter_mut().zip(keys) {
            (*home, _) = split(hash(key), self.home_count);
            for slot in *home..*home + AHEAD_SLOTS {
                self.store.prefetch_key(slot);
            }
        }
        for (home, key) in homes.iter().zip(keys) {
            let slot = self.find_from(*home, key);
            if let Some(slot) = slot {
                self.store.prefetch_rest(slot as usize);
            }
            slots.push(slot);
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

impl Probing {
    #[inline(always)]
    fn find_from(&self, home: usize, key: &Key) -> Option<u32> {
        for distance in 0_u64.. {
            let slot = home + distance as usize;
            if self.store.is_of(slot, key) {
                return Some(slot as u32);
            }
            // A row that is nearer to its home than this one would be has a greater hash.
            if self.store.is_empty(slot) || self.store.mark(slot) < distance {
                return None;
            }
        }
        None
    }
}
