use std::io;

use crate::layout::{Key, Layout, MAX_BATCH_KEYS, hash, sorted, split};
use crate::pilot_search::{bucket_of, search, slot_of};
use crate::store::{Index, Shape, Store};

const GROUP_KEYS: usize = 4_096;
const BUCKET_KEYS: usize = 3;
/// Rows for each slot.
const LOAD: f64 = 0.96;
/// By how much slots grow when a group has no perfect hash.
const GROWTH: f64 = 1.01;

/// A perfect hash: a key's bucket has a byte, its pilot, and hash and pilot give the one slot that the row can be in.
///
/// Two misses that depend on each other, of which the first is in an index of a third of a byte a row: in the cache up to tens
/// of millions of rows. Nothing needs to be guessed.
pub struct Pilots {
    store: Store,
    pilots: Index,
    /// The first slot of each group, and the count of slots.
    starts: Vec<u32>,
    bucket_count: usize,
}

impl Layout for Pilots {
    const NAME: &'static str = "pilots";

    fn build(ids: &[i64], shape: Shape) -> io::Result<Self> {
        let keys = sorted(ids);
        let group_count = (keys.len() / GROUP_KEYS).max(1);
        let bucket_count = GROUP_KEYS.div_ceil(BUCKET_KEYS);
        let mut pilots = Index::new(group_count * bucket_count, shape.pages)?;
        let mut starts = vec![0];
        let mut slots = vec![0; keys.len()];
        let mut rest = &keys[..];
        let mut done = 0;
        for (group, pilots) in pilots.as_u8_mut().chunks_exact_mut(bucket_count).enumerate() {
            let count = rest.partition_point(|(hash, _)| split(*hash, group_count).0 <= group);
            let hashes: Vec<(u64, u64)> = rest[..count]
                .iter()
                .map(|(hash, _)| (*hash, split(*hash, group_count).1))
                .collect();
            let slots = &mut slots[done..done + count];
            let mut slot_count = (count as f64 / LOAD).ceil().max(1.0) as usize;
            while !search(&hashes, slot_count, pilots, slots) {
                slot_count = (slot_count as f64 * GROWTH) as usize + 1;
            }
            let start = starts[group];
            slots.iter_mut().for_each(|slot| *slot += start);
            starts.push(start + slot_count as u32);
            rest = &rest[count..];
            done += count;
        }
        let mut store = Store::new(starts[group_count] as usize, shape)?;
        for ((_, id), slot) in keys.iter().zip(slots) {
            store.put(slot as usize, *id);
        }
        Ok(Self {
            store,
            pilots,
            starts,
            bucket_count,
        })
    }

    #[inline(always)]
    fn find(&self, key: &Key) -> Option<u32> {
        let slot = self.slot(hash(key));
        self.store.is_of(slot, key).then_some(slot as u32)
    }

    fn find_many(&self, keys: &[Key], slots: &mut Vec<Option<u32>>) {
        slots.clear();
        let mut hashes = [0; MAX_BATCH_KEYS];
        let mut found = [0; MAX_BATCH_KEYS];
        for (stored, key) in hashes.iter_mut().zip(keys) {
            *stored = hash(key);
            self.pilots.prefetch(self.bucket(*stored));
        }
        for (slot, hash) in found.iter_mut().zip(&hashes[..keys.len()]) {
            *slot = self.slot(*hash);
            self.store.prefetch(*slot);
        }
        slots.extend(
            keys.iter()
                .zip(found)
                .map(|(key, slot)| self.store.is_of(slot, key).then_some(slot as u32)),
        );
    }

    #[inline(always)]
    fn row(&self, slot: u32) -> &[u64] {
        self.store.row(slot as usize)
    }

    fn bytes(&self) -> usize {
        self.store.bytes() + self.pilots.as_u8().len() + 4 * self.starts.len()
    }
}

impl Pilots {
    #[inline(always)]
    fn group_count(&self) -> usize {
        self.starts.len() - 1
    }

    #[inline(always)]
    fn bucket(&self, hash: u64) -> usize {
        let (group, rest) = split(hash, self.group_count());
        group * self.bucket_count + bucket_of(rest, self.bucket_count)
    }

    #[inline(always)]
    fn slot(&self, hash: u64) -> usize {
        let (group, rest) = split(hash, self.group_count());
        let pilot = self.pilots.as_u8()[group * self.bucket_count + bucket_of(rest, self.bucket_count)];
        let start = self.starts[group];
        let slot_count = self.starts[group + 1] - start;
        start as usize + slot_of(hash, pilot, slot_count as usize)
    }
}
