use crate::key::{I64_BYTES, TAG_I64, push_part};
use crate::{HashedKey, KeyError, KeyPart, KeyRef, MAX_KEY_BYTES};

/// Many entity keys one behind the other in one piece of memory, which is kept when they are dropped, and their hashes: the keys
/// of a request.
///
/// ```
/// use unskew_snapshot::{EntityKeys, KeyPart};
///
/// let mut keys = EntityKeys::default();
/// keys.push([KeyPart::I64(7), KeyPart::String("de")]).unwrap();
/// keys.push_missing();
/// assert_eq!(keys.len(), 2);
/// assert_eq!(keys.get(0).to_string(), r#"(7, "de")"#);
/// ```
#[derive(Clone, Debug, Default)]
pub struct EntityKeys {
    bytes: Vec<u8>,
    /// Where each key ends.
    ends: Vec<usize>,
    /// The hash of each.
    hashes: Vec<u64>,
}

impl EntityKeys {
    /// Drops the keys and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.hashes.clear();
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Appends the key of these parts. Allocates only when there are more bytes than ever before.
    ///
    /// # Errors
    /// The key is longer than [`MAX_KEY_BYTES`]. It was not appended.
    #[inline]
    pub fn push<'p>(&mut self, parts: impl IntoIterator<Item = KeyPart<'p>>) -> Result<(), KeyError> {
        let start = self.bytes.len();
        for part in parts {
            if let Err(error) = push_part(&mut self.bytes, start, part) {
                self.bytes.truncate(start);
                return Err(error);
            }
        }
        self.end_key(start);
        Ok(())
    }

    /// Appends `count` keys of `N` integers each, which `parts` gives by their number.
    #[inline]
    pub fn extend_i64s<const N: usize>(&mut self, count: usize, parts: impl Fn(usize) -> [i64; N]) {
        const { assert!(N > 0 && N * I64_BYTES <= MAX_KEY_BYTES) };
        let key_bytes = N * I64_BYTES;
        let start = self.bytes.len();
        self.bytes.resize(start + count * key_bytes, TAG_I64);
        self.ends.extend((1..=count).map(|keys| start + keys * key_bytes));
        for (number, key) in self.bytes[start..].chunks_exact_mut(key_bytes).enumerate() {
            for (place, part) in key.chunks_exact_mut(I64_BYTES).zip(parts(number)) {
                place[1..].copy_from_slice(&part.to_le_bytes());
            }
        }
        let keys = self.bytes[start..].chunks_exact(key_bytes);
        self.hashes.extend(keys.map(|key| KeyRef::from_verified(key).hash()));
    }

    /// Appends a key of which a part is missing: a key of no parts, which no snapshot holds.
    pub fn push_missing(&mut self) {
        self.end_key(self.bytes.len());
    }

    /// A key.
    ///
    /// # Panics
    /// There are not so many.
    #[inline]
    pub fn get(&self, index: usize) -> KeyRef<'_> {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        KeyRef::from_verified(&self.bytes[start..self.ends[index]])
    }

    /// A key and its hash, which is not computed again.
    ///
    /// # Panics
    /// There are not so many.
    #[inline]
    pub fn hashed(&self, index: usize) -> HashedKey<'_> {
        HashedKey::from_verified(self.get(index), self.hashes[index])
    }

    /// The key from `start` on is whole.
    #[inline]
    fn end_key(&mut self, start: usize) {
        self.hashes.push(KeyRef::from_verified(&self.bytes[start..]).hash());
        self.ends.push(self.bytes.len());
    }
}

#[cfg(test)]
mod tests;
