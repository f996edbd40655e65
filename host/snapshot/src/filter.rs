//! A blocked Bloom filter: which keys a set may have, for a few bits a key, so that it stays in the nearest caches.
//!
//! ```text
//! add(hash):       word = words[part(hash, words)]; set the bits of it that the hash's low bits name
//! may_have(hash):  are all these bits set?
//! ```
//! One word a key, hence one cache line, after Putze, Sanders, Singler, "Cache-, hash- and space-efficient Bloom filters", 2007.
//! With 5 keys a word and 3 bits a key one key in 60 passes that is not in the set.

/// Keys to a word.
const WORD_KEYS: u64 = 5;

#[derive(Debug)]
pub(crate) struct Filter {
    words: Box<[u64]>,
}

impl Filter {
    /// An empty one for so many keys.
    pub(crate) fn for_keys(count: u64) -> Self {
        let words = (count / WORD_KEYS + 1) as usize;
        Self {
            words: vec![0; words].into(),
        }
    }

    /// Adds the key of this hash.
    pub(crate) fn add(&mut self, hash: u64) {
        let word = self.word(hash);
        self.words[word] |= bits(hash);
    }

    /// Whether the key of this hash may be there.
    #[inline]
    pub(crate) fn may_have(&self, hash: u64) -> bool {
        let bits = bits(hash);
        self.words[self.word(hash)] & bits == bits
    }

    /// The memory that it takes.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.words)
    }

    #[inline]
    fn word(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.words.len() as u128) >> 64) as usize
    }
}

/// Other bits of the hash than those that choose the word.
#[inline]
const fn bits(hash: u64) -> u64 {
    1 << (hash & 63) | 1 << (hash >> 6 & 63) | 1 << (hash >> 12 & 63)
}

#[cfg(test)]
mod tests;
