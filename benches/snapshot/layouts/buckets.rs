use std::io;
use std::ops::Range;

use crate::layout::{Key, Layout, MAX_BATCH_KEYS, hash, sorted, split};
use crate::store::{Index, Shape, Store};

/// Rows sorted by hash. A directory has the first row of each of as many buckets as there are rows; the keys of a bucket are
/// read in turn.
///
/// Two misses that depend on each other, and the least of indexes.
pub struct Buckets {
    store: Store,
    /// The first row of each bucket, and the count of rows.
    directory: Index,
    bucket_count: usize,
}

impl Layout for Buckets {
    const NAME: &'static str = "buckets";

    fn build(ids: &[i64], shape: Shape) -> io::Result<Self> {
        let keys = sorted(ids);
        let bucket_count = keys.len().max(1);
        let mut directory = Index::new(4 * (bucket_count + 1), shape.pages)?;
        let mut store = Store::new(keys.len(), shape)?;
        let starts = directory.as_u32_mut();
        for (hash, _) in &keys {
            starts[split(*hash, bucket_count).0 + 1] += 1;
        }
        for bucket in 0..bucket_count {
            starts[bucket + 1] += starts[bucket];
        }
        for (slot, (_, id)) in keys.iter().enumerate() {
            store.put(slot, *id);
        }
        Ok(Self {
            store,
            directory,
            bucket_count,
        })
    }

    #[inline(always)]
    fn find(&self, key: &Key) -> Option<u32> {
        let bucket = self.rows_of(split(hash(key), self.bucket_count).0);
        self.find_in(bucket, key)
    }

    fn find_many(&self, keys: &[Key], slots: &mut Vec<Option<u32>>) {
        slots.clear();
        let mut buckets = [0; MAX_BATCH_KEYS];
        let mut rows = [const { 0..0 }; MAX_BATCH_KEYS];
        for (bucket, key) in buckets.iter_mut().zip(keys) {
            (*bucket, _) = split(hash(key), self.bucket_count);
            self.directory.prefetch(4 * *bucket);
        }
        for (rows, bucket) in rows.iter_mut().zip(&buckets[..keys.len()]) {
            *rows = self.rows_of(*bucket);
            for slot in rows.clone() {
                self.store.prefetch(slot);
            }
        }
        slots.extend(keys.iter().zip(rows).map(|(key, rows)| self.find_in(rows, key)));
    }

    #[inline(always)]
    fn row(&self, slot: u32) -> &[u64] {
        self.store.row(slot as usize)
    }

    fn bytes(&self) -> usize {
        self.store.bytes() + self.directory.as_u8().len()
    }
}

impl Buckets {
    #[inline(always)]
    fn rows_of(&self, bucket: usize) -> Range<usize> {
        let directory = self.directory.as_u32();
        directory[bucket] as usize..directory[bucket + 1] as usize
    }

    #[inline(always)]
    fn find_in(&self, mut rows: Range<usize>, key: &Key) -> Option<u32> {
        rows.find(|slot| self.store.is_of(*slot, key)).map(|slot| slot as u32)
    }
}
