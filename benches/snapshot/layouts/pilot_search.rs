//! The search for pilots, which makes a perfect hash of a group of keys. The same keys give the same pilots.
//!
//! ```text
//! buckets, the largest first:
//!     for each pilot: the slots of the bucket's keys under it, which must differ
//!         cost = for each slot that is taken, the square of its bucket's size
//!     take the cheapest pilot; one without cost at once
//!     each bucket that had one of the slots goes back to be placed again, before all others
//! ```
//!
//! Buckets that were placed by force lately are not driven out again, lest two chase each other. After as many such placings as
//! there are ten for each bucket the group is given up; more slots make it easy. (PTHash and PtrHash have this idea.)

use crate::layout::split;

const FREE: u32 = u32::MAX;
const RECENT: usize = 16;
const FORCED_PER_BUCKET: usize = 10;

/// The bucket of a key, of a hash within its group.
#[inline(always)]
pub fn bucket_of(rest: u64, bucket_count: usize) -> usize {
    split(rest, bucket_count).0
}

/// The slot of a key in its group under a pilot.
#[inline(always)]
pub fn slot_of(hash: u64, pilot: u8, slot_count: usize) -> usize {
    let mixed = (hash ^ u64::from(pilot).wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (((mixed >> 32) * slot_count as u64) >> 32) as usize
}

/// Finds a pilot for each bucket of a group and the slot of each key, given its hash and its hash within the group; `false`
/// if there are too few slots.
pub fn search(hashes: &[(u64, u64)], slot_count: usize, pilots: &mut [u8], slots: &mut [u32]) -> bool {
    let mut search = Search::new(hashes, slot_count, pilots);
    while let Some(bucket) = search.waiting.pop() {
        if !search.place(bucket) {
            return false;
        }
    }
    for (slot, (hash, rest)) in slots.iter_mut().zip(hashes) {
        let pilot = search.pilots[bucket_of(*rest, search.pilots.len())];
        *slot = slot_of(*hash, pilot, slot_count) as u32;
    }
    true
}

struct Search<'a> {
    /// By bucket: the hashes of its keys.
    keys: Vec<Vec<u64>>,
    pilots: &'a mut [u8],
    /// By slot: the bucket that has it.
    owners: Vec<u32>,
    /// The next is the last.
    waiting: Vec<u32>,
    recent: [u32; RECENT],
    forced: usize,
}

impl<'a> Search<'a> {
    fn new(hashes: &[(u64, u64)], slot_count: usize, pilots: &'a mut [u8]) -> Self {
        let mut keys = vec![Vec::new(); pilots.len()];
        for (hash, rest) in hashes {
            keys[bucket_of(*rest, pilots.len())].push(*hash);
        }
        let mut waiting: Vec<u32> = (0..keys.len() as u32).collect();
        waiting.sort_by_key(|bucket| keys[*bucket as usize].len());
        Self {
            keys,
            pilots,
            owners: vec![FREE; slot_count],
            waiting,
            recent: [FREE; RECENT],
            forced: 0,
        }
    }

    fn place(&mut self, bucket: u32) -> bool {
        let Some((pilot, cost)) = self.cheapest(bucket) else {
            return false;
        };
        if cost > 0 {
            self.recent[self.forced % RECENT] = bucket;
            self.forced += 1;
            if self.forced > FORCED_PER_BUCKET * self.keys.len() {
                return false;
            }
        }
        for key in 0..self.keys[bucket as usize].len() {
            let slot = slot_of(self.keys[bucket as usize][key], pilot, self.owners.len());
            if self.owners[slot] != FREE {
                self.drive_out(self.owners[slot]);
            }
            self.owners[slot] = bucket;
        }
        self.pilots[bucket as usize] = pilot;
        true
    }

    /// The pilot of the least cost, and the cost; none if all of them put two keys of the bucket into one slot or drive out a
    /// bucket that was placed by force lately.
    fn cheapest(&self, bucket: u32) -> Option<(u8, usize)> {
        // Beginning elsewhere each time, so that a bucket that was driven out does not come back to the same slots.
        let first = (bucket as u8).wrapping_mul(37).wrapping_add(self.forced as u8);
        let mut best = None;
        for offset in 0..=u8::MAX {
            let pilot = match self.forced {
                0 => offset,
                _ => first.wrapping_add(offset),
            };
            let limit = best.map_or(usize::MAX, |(_, cost)| cost);
            if let Some(cost) = self.cost(bucket, pilot, limit) {
                best = Some((pilot, cost));
                if cost == 0 {
                    break;
                }
            }
        }
        best
    }

    /// The cost of a pilot, if it is below a limit.
    fn cost(&self, bucket: u32, pilot: u8, limit: usize) -> Option<usize> {
        let keys = &self.keys[bucket as usize];
        let slot = |hash: &u64| slot_of(*hash, pilot, self.owners.len());
        let mut cost = 0;
        for hash in keys {
            let owner = self.owners[slot(hash)];
            if owner == FREE {
                continue;
            }
            cost += self.keys[owner as usize].len().pow(2);
            if cost >= limit || self.recent.contains(&owner) {
                return None;
            }
        }
        let mut pairs = keys.iter().enumerate();
        let is_injective = pairs.all(|(index, a)| keys[..index].iter().all(|b| slot(a) != slot(b)));
        (cost < limit && is_injective).then_some(cost)
    }

    fn drive_out(&mut self, bucket: u32) {
        let pilot = self.pilots[bucket as usize];
        for hash in &self.keys[bucket as usize] {
            let slot = slot_of(*hash, pilot, self.owners.len());
            self.owners[slot] = FREE;
        }
        self.waiting.push(bucket);
    }
}
