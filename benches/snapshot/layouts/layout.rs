use std::io;

use xxhash_rust::xxh3::xxh3_64;

use crate::store::Shape;

/// The most keys of one call.
pub const MAX_BATCH_KEYS: usize = 128;

/// A way of laying rows out so that they are found by their key.
pub trait Layout: Sized {
    /// Its name in tables and figures.
    const NAME: &'static str;

    /// The rows of these keys, which are all different.
    fn build(ids: &[i64], shape: Shape) -> io::Result<Self>;

    /// The slot of a key's row.
    fn find(&self, key: &Key) -> Option<u32>;

    /// The slots of at most [`MAX_BATCH_KEYS`] keys, in order, in place of what is in `slots`; their rows are on their way to
    /// the cache.
    fn find_many(&self, keys: &[Key], slots: &mut Vec<Option<u32>>);

    /// The row in a slot.
    fn row(&self, slot: u32) -> &[u64];

    /// The memory of rows and index.
    fn bytes(&self) -> usize;
}

/// A key as lookups take it, in the encoding of snapshots: a tag and the bytes of the number.
///
/// Encoded beforehand, as those are that come with a request: to hash bytes that were stored a moment ago, in pieces, the
/// processor must wait until they have left its store buffer.
pub type Key = [u8; 9];

/// The key of an i64.
pub fn encode(id: i64) -> Key {
    let mut key = [1; 9];
    key[1..].copy_from_slice(&id.to_le_bytes());
    key
}

/// The number in a key.
#[inline(always)]
pub fn id_of(key: &Key) -> u64 {
    let [_, id @ ..] = *key;
    u64::from_le_bytes(id)
}

/// The hash of a key as snapshots have it.
#[inline(always)]
pub fn hash(key: &Key) -> u64 {
    xxh3_64(key)
}

/// Which of `count` equal parts of all hashes a hash is in, and where it is there, as a hash again.
#[inline(always)]
pub fn split(hash: u64, count: usize) -> (usize, u64) {
    let product = u128::from(hash) * count as u128;
    ((product >> 64) as usize, product as u64)
}

/// The hashes and the keys, by hash.
pub fn sorted(ids: &[i64]) -> Vec<(u64, i64)> {
    let mut keys: Vec<(u64, i64)> = ids.iter().map(|id| (hash(&encode(*id)), *id)).collect();
    keys.sort_unstable();
    keys
}
