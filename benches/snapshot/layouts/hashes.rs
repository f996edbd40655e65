use std::io;
use std::ops::Range;

use crate::layout::{Key, Layout, MAX_BATCH_KEYS, hash, sorted};
use crate::store::{Index, Shape, Store};

/// Rows sorted by hash, and their hashes. A directory has the first row of each bucket of 4 to 8; the hash is searched for
/// among those of the bucket, then the key compared.
///
/// Three misses that depend on each other; keys may be anywhere, for nothing but a row that is right is read.
pub struct Hashes {
    store: Store,
    hashes: Index,
    /// The first row of each bucket, and the count of rows.
    directory: Index,
    bucket_bits: u32,
}

impl Layout for Hashes {
    const NAME: &'static str = "hashes";

    fn build(ids: &[i64], shape: Shape) -> io::Result<Self> {
        let keys = sorted(ids);
        let bucket_bits = (keys.len() / 4).checked_ilog2().unwrap_or(0);
        let mut directory = Index::new(4 * ((1 << bucket_bits) + 1), shape.pages)?;
        let mut hashes = Index::new(8 * keys.len(), shape.pages)?;
        let mut store = Store::new(keys.len(), shape)?;
        let starts = directory.as_u32_mut();
        for (slot, (hash, id)) in keys.iter().enumerate() {
            starts[bucket_of(*hash, bucket_bits) + 1] += 1;
            hashes.as_u64_mut()[slot] = *hash;
            store.put(slot, *id);
        }
        for bucket in 0..1 << bucket_bits {
            starts[bucket + 1] += starts[bucket];
        }
        Ok(Self {
            store,
            hashes,
            directory,
            bucket_bits,
        })
    }

    #[inline(always)]
    fn find(&self, key: &Key) -> Option<u32> {
        let hash = hash(key);
        self.verified(self.candidate(hash, self.rows_of(hash)), hash, key)
    }

    fn find_many(&self, keys: &[Key], slots: &mut Vec<Option<u32>>) {
        slots.clear();
        let mut hashes = [0; MAX_BATCH_KEYS];
        let mut rows = [const { 0..0 }; MAX_BATCH_KEYS];
        let mut candidates = [0; MAX_BATCH_KEYS];
        let count = keys.len();
        for (stored, key) in hashes.iter_mut().zip(keys) {
            *stored = hash(key);
            self.directory.prefetch(4 * bucket_of(*stored, self.bucket_bits));
        }
        for (rows, hash) in rows.iter_mut().zip(&hashes[..count]) {
            *rows = self.rows_of(*hash);
            // A bucket has a line or two.
            self.hashes.prefetch(8 * rows.start);
            self.hashes.prefetch(8 * rows.end.saturating_sub(1));
        }
        for (candidate, (hash, rows)) in candidates.iter_mut().zip(hashes.iter().zip(&rows)).take(count) {
            *candidate = self.candidate(*hash, rows.clone());
            self.store.prefetch(*candidate);
        }
        let keys = keys.iter().zip(hashes);
        slots.extend(
            keys.zip(candidates)
                .map(|((key, hash), slot)| self.verified(slot, hash, key)),
        );
    }

    #[inline(always)]
    fn row(&self, slot: u32) -> &[u64] {
        self.store.row(slot as usize)
    }

    fn bytes(&self) -> usize {
        self.store.bytes() + self.hashes.as_u8().len() + self.directory.as_u8().len()
    }
}

impl Hashes {
    #[inline(always)]
    fn rows_of(&self, hash: u64) -> Range<usize> {
        let directory = self.directory.as_u32();
        let bucket = bucket_of(hash, self.bucket_bits);
        directory[bucket] as usize..directory[bucket + 1] as usize
    }

    /// The first row of a bucket whose hash is not less.
    #[inline(always)]
    fn candidate(&self, hash: u64, rows: Range<usize>) -> usize {
        let start = rows.start;
        start + self.hashes.as_u64()[rows].partition_point(|stored| *stored < hash)
    }

    /// The row of a key among those of its hash.
    #[inline(always)]
    fn verified(&self, first: usize, hash: u64, key: &Key) -> Option<u32> {
        let same_hash = self.hashes.as_u64()[first..]
            .iter()
            .take_while(|stored| **stored == hash);
        let mut slots = (first..).zip(same_hash).map(|(slot, _)| slot);
        slots.find(|slot| self.store.is_of(*slot, key)).map(|slot| slot as u32)
    }
}

/// The top bits; in two shifts, for one of 64 is none.
#[inline(always)]
fn bucket_of(hash: u64, bucket_bits: u32) -> usize {
    (hash >> 1 >> (63 - bucket_bits)) as usize
}
