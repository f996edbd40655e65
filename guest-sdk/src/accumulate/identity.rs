use xxhash_rust::xxh3::xxh3_64;

use super::Ranked;
use crate::Timestamp;

/// A value that is one of many and can be told from the others by 64 bits: what Distinct counts and TopK ranks.
pub trait Identity {
    /// A fixed hash (XXH3), the same on every machine and in every version.
    fn hash(&self) -> u64;

    /// A key: the number itself where the value is an i64, else a hash that is not negative, as
    /// [`hash_i64`](crate::hash_i64) gives it.
    fn key(&self) -> i64 {
        (self.hash() >> 1).cast_signed()
    }
}

impl Identity for i64 {
    #[inline]
    fn hash(&self) -> u64 {
        xxh3_64(&self.to_le_bytes())
    }

    #[inline]
    fn key(&self) -> i64 {
        *self
    }
}

impl Identity for Timestamp {
    #[inline]
    fn hash(&self) -> u64 {
        self.as_micros().hash()
    }

    #[inline]
    fn key(&self) -> i64 {
        self.as_micros()
    }
}

/// By its rank: every NaN is one value, and -0.0 is another than 0.0.
impl Identity for f64 {
    #[inline]
    fn hash(&self) -> u64 {
        xxh3_64(&self.rank().to_le_bytes())
    }
}

impl Identity for &str {
    #[inline]
    fn hash(&self) -> u64 {
        xxh3_64(self.as_bytes())
    }
}

impl Identity for &[u8] {
    #[inline]
    fn hash(&self) -> u64 {
        xxh3_64(self)
    }
}

/// Of two columns: an ad on a site.
impl<A: Identity, B: Identity> Identity for (A, B) {
    #[inline]
    fn hash(&self) -> u64 {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.0.hash().to_le_bytes());
        bytes[8..].copy_from_slice(&self.1.hash().to_le_bytes());
        xxh3_64(&bytes)
    }
}
