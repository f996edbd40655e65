use std::io;

use crate::layout::{Key, Layout, MAX_BATCH_KEYS, hash, sorted, split};
use crate::store::{Index, Shape, Store};

/// What a block is a line of: the first row in two of these, the count of rows, then a tag for each.
const BLOCK_NUMBERS: usize = 32;
const FIRST_TAG: usize = 3;
const TAG_COUNT: usize = BLOCK_NUMBERS - FIRST_TAG;
/// Of a block, on average: few have more than there are tags for, whose further rows are found by their keys.
const BLOCK_ROWS: usize = 16;

/// Rows sorted by hash. Each equal part of all hashes has one cache line: where its rows begin, how many there are, and 16
/// bits of the hash of each.
///
/// Two misses that depend on each other; building is a sort and one pass.
pub struct Tags {
    store: Store,
    blocks: Index,
    block_count: usize,
}

impl Layout for Tags {
    const NAME: &'static str = "tags";

    fn build(ids: &[i64], shape: Shape) -> io::Result<Self> {
        let keys = sorted(ids);
        let block_count = keys.len().div_ceil(BLOCK_ROWS).max(1);
        let mut blocks = Index::new(2 * BLOCK_NUMBERS * block_count, shape.pages)?;
        let mut store = Store::new(keys.len(), shape)?;
        let numbers = blocks.as_u16_mut();
        for (slot, (hash, id)) in keys.iter().enumerate() {
            store.put(slot, *id);
            let (block, rest) = split(*hash, block_count);
            let block = &mut numbers[BLOCK_NUMBERS * block..][..BLOCK_NUMBERS];
            if block[2] == 0 {
                (block[0], block[1]) = (slot as u16, (slot >> 16) as u16);
            }
            if let Some(tag) = block.get_mut(FIRST_TAG + block[2] as usize) {
                *tag = tag_of(rest);
            }
            block[2] += 1;
        }
        Ok(Self {
            store,
            blocks,
            block_count,
        })
    }

    #[inline(always)]
    fn find(&self, key: &Key) -> Option<u32> {
        let (block, rest) = split(hash(key), self.block_count);
        let (first, row_count, candidates) = self.candidates(block, rest);
        self.verified(first, row_count, candidates, key)
    }

    fn find_many(&self, keys: &[Key], slots: &mut Vec<Option<u32>>) {
        slots.clear();
        let mut places = [(0, 0); MAX_BATCH_KEYS];
        let mut found = [(0, 0, 0); MAX_BATCH_KEYS];
        for (place, key) in places.iter_mut().zip(keys) {
            *place = split(hash(key), self.block_count);
            self.blocks.prefetch(2 * BLOCK_NUMBERS * place.0);
        }
        for (found, (block, rest)) in found.iter_mut().zip(&places[..keys.len()]) {
            *found = self.candidates(*block, *rest);
            let (first, _, candidates) = *found;
            if candidates != 0 {
                self.store.prefetch(first + candidates.trailing_zeros() as usize);
            }
        }
        slots.extend(
            keys.iter()
                .zip(found)
                .map(|(key, (first, row_count, candidates))| self.verified(first, row_count, candidates, key)),
        );
    }

    #[inline(always)]
    fn row(&self, slot: u32) -> &[u64] {
        self.store.row(slot as usize)
    }

    fn bytes(&self) -> usize {
        self.store.bytes() + self.blocks.as_u8().len()
    }
}

impl Tags {
    /// The first row of a block, how many it has, and, as bits, which of those with a tag have the tag of this hash.
    #[inline(always)]
    fn candidates(&self, block: usize, rest: u64) -> (usize, usize, u32) {
        let start = BLOCK_NUMBERS * block;
        let Some(numbers) = self.blocks.as_u16()[start..].first_chunk::<BLOCK_NUMBERS>() else {
            return (0, 0, 0);
        };
        let tag = tag_of(rest);
        let mut equal = 0_u32;
        for (bit, number) in numbers.iter().enumerate() {
            equal |= u32::from(*number == tag) << bit;
        }
        let row_count = numbers[2] as usize;
        let tagged = (1_u32 << row_count.min(TAG_COUNT)) - 1;
        let first = numbers[0] as usize | (numbers[1] as usize) << 16;
        (first, row_count, equal >> FIRST_TAG & tagged)
    }

    #[inline(always)]
    fn verified(&self, first: usize, row_count: usize, mut candidates: u32, key: &Key) -> Option<u32> {
        while candidates != 0 {
            let slot = first + candidates.trailing_zeros() as usize;
            if self.store.is_of(slot, key) {
                return Some(slot as u32);
            }
            candidates &= candidates - 1;
        }
        let mut untagged = first + TAG_COUNT.min(row_count)..first + row_count;
        untagged
            .find(|slot| self.store.is_of(*slot, key))
            .map(|slot| slot as u32)
    }
}

/// The bits behind those that choose the block.
#[inline(always)]
fn tag_of(rest: u64) -> u16 {
    (rest >> 48) as u16
}
