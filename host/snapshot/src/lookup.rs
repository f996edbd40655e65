//! From a key to the slot of its row.

use core::cmp::Ordering;
use core::hint::select_unpredictable;

use crate::header::u64_at;
use crate::index::{ALTERNATIVES, Index, Slots};
use crate::prefetch::{LINE_BYTES, prefetch};
use crate::row_layout::{KEY_OFFSET, LONG_KEY, MASK, OCCUPIED, RowLayout};
use crate::{HashedKey, KeyRef, RowIndex, Snapshot};

/// Keys that are looked up together: their places fit in the nearest cache.
const BATCH_KEYS: usize = 128;
/// How many keys later a home is read that was asked for: more misses in flight than any core can have.
const AHEAD_KEYS: usize = 32;
/// Of a row that is wider, the first bytes are asked for ahead.
const PREFETCH_ROW_BYTES: usize = 256;
/// One i64.
const I64_KEY_BYTES: usize = 9;
/// The slots of a key's second window that a single lookup asks for ahead; the last holds the fewest keys.
const PREFETCH_WINDOW: u32 = 3;

/// The bit of a mask for the last alternative.
const LAST_ALTERNATIVE: u8 = 1 << (ALTERNATIVES - 2);

/// What lookups read of a snapshot, at hand.
#[derive(Clone, Copy)]
pub(crate) struct Lookup<'a> {
    snapshot: &'a Snapshot,
    layout: &'a RowLayout,
    index: Index,
    rows: &'a [u8],
    row_bytes: usize,
    key_bytes: usize,
    flags_offset: usize,
}

/// A key that is not at home: its number in the batch, the slot that was asked for, and the alternatives that are yet to be
/// read, this one among them. In one word, for it is written for every key.
#[derive(Clone, Copy, Default)]
struct Waiting(u64);

impl Waiting {
    #[inline]
    fn new(slot: u32, number: usize, mask: u8) -> Self {
        Self(u64::from(slot) | (number as u64) << 32 | u64::from(mask) << 48)
    }

    #[inline]
    fn slot(self) -> u32 {
        self.0 as u32
    }

    #[inline]
    fn number(self) -> usize {
        usize::from((self.0 >> 32) as u16)
    }

    #[inline]
    fn mask(self) -> u8 {
        (self.0 >> 48) as u8
    }
}

/// A key to look up, with its hash or without.
pub(crate) trait LookupKey: Copy {
    fn key(&self) -> KeyRef<'_>;

    /// Its hash: computed here, if it is not known.
    fn hash(&self) -> u64;
}

impl LookupKey for KeyRef<'_> {
    #[inline]
    fn key(&self) -> KeyRef<'_> {
        *self
    }

    #[inline]
    fn hash(&self) -> u64 {
        KeyRef::hash(*self)
    }
}

impl LookupKey for HashedKey<'_> {
    #[inline]
    fn key(&self) -> KeyRef<'_> {
        HashedKey::key(*self)
    }

    #[inline]
    fn hash(&self) -> u64 {
        HashedKey::hash(*self)
    }
}

impl<'a> Lookup<'a> {
    #[inline]
    pub(crate) fn new(snapshot: &'a Snapshot) -> Self {
        Self {
            snapshot,
            layout: &snapshot.layout,
            index: snapshot.header.shape.index,
            rows: snapshot.rows(),
            row_bytes: snapshot.layout.row_bytes(),
            key_bytes: snapshot.layout.key_bytes(),
            flags_offset: snapshot.layout.flags_offset(),
        }
    }

    /// The slot of a key. Asks for all places where the row may be at once.
    #[inline]
    pub(crate) fn find_prefetched(self, key: HashedKey<'_>) -> Option<u32> {
        let (key, hash) = (key.key(), key.hash());
        let slots = self.index.slots(hash);
        self.prefetch_row(slots.home);
        prefetch(self.rows, (slots.home as usize + 1) * self.row_bytes);
        for number in 0..PREFETCH_WINDOW {
            prefetch(self.rows, (slots.second + number) as usize * self.row_bytes);
        }
        self.find_among(key, hash, slots)
    }

    /// The slot of a key whose rows are near, or whose misses do not matter.
    pub(crate) fn find(self, key: KeyRef<'_>, hash: u64) -> Option<u32> {
        self.find_among(key, hash, self.index.slots(hash))
    }

    #[inline]
    fn find_among(self, key: KeyRef<'_>, hash: u64, slots: Slots) -> Option<u32> {
        let (is_found, mut mask) = self.read(key, slots.home);
        if is_found {
            return Some(slots.home);
        }
        while mask != 0 {
            let slot = slots.slot(first_alternative(mask));
            if self.read(key, slot).0 {
                return Some(slot);
            }
            mask &= mask - 1;
        }
        self.find_overflow(key, hash)
    }

    /// The slots of as many keys, their rows on the way to the cache.
    ///
    /// The homes are asked for [`AHEAD_KEYS`] keys before they are read, so that their misses overlap with each other and with
    /// the hashing of the keys behind. Where a home is another key's, the first alternative that it names is asked for; those
    /// are read when all homes were.
    pub(crate) fn find_many<K: LookupKey>(self, keys: &[K], found: &mut [Option<RowIndex>]) {
        for (keys, found) in keys.chunks(BATCH_KEYS).zip(found.chunks_mut(BATCH_KEYS)) {
            if self.key_bytes == I64_KEY_BYTES {
                self.find_batch::<true, K>(keys, found);
            } else {
                self.find_batch::<false, K>(keys, found);
            }
        }
    }

    /// Apart for integers, so that the registers of the other keys' comparison are not in their way.
    #[inline(never)]
    fn find_batch<const IS_I64: bool, K: LookupKey>(self, keys: &[K], found: &mut [Option<RowIndex>]) {
        let mut slots = [Slots::default(); BATCH_KEYS];
        let mut waiting = [Waiting::default(); BATCH_KEYS];
        let mut waiting_count = 0;
        let has_overflow = self.snapshot.header.shape.overflow_count > 0;
        let mut asked = 0;
        for first in (0..keys.len()).step_by(AHEAD_KEYS) {
            let end = keys.len().min(first + 2 * AHEAD_KEYS);
            for (key, slots) in keys[asked..end].iter().zip(&mut slots[asked..end]) {
                *slots = self.index.slots(key.hash());
                self.prefetch_head(slots.home);
            }
            asked = end;
            let here = first..end.min(first + AHEAD_KEYS);
            let homes = keys[here.clone()]
                .iter()
                .zip(&slots[here.clone()])
                .zip(&mut found[here]);
            for (number, ((key, slots), found)) in homes.enumerate() {
                // No branches on whether the key is at home: it cannot be guessed, and nothing has to be waited for.
                let (is_found, mask) = self.read_of::<IS_I64>(key.key(), slots.home);
                *found = is_found.then_some(RowIndex::new(slots.home));
                let alternative = slots.slot(first_alternative(mask | LAST_ALTERNATIVE));
                let next = select_unpredictable(is_found | (mask == 0), slots.home, alternative);
                waiting[waiting_count] = Waiting::new(next, first + number, mask);
                waiting_count += usize::from(!is_found & ((mask != 0) | has_overflow));
                self.prefetch_row(next);
            }
        }
        while waiting_count > 0 {
            let mut still_waiting = 0;
            for position in 0..waiting_count {
                let (slot, number, mask) = {
                    let waiting = waiting[position];
                    (waiting.slot(), waiting.number(), waiting.mask())
                };
                if mask == 0 {
                    found[number] = self
                        .find_overflow(keys[number].key(), keys[number].hash())
                        .map(RowIndex::new);
                    continue;
                }
                if self.read_of::<IS_I64>(keys[number].key(), slot).0 {
                    found[number] = Some(RowIndex::new(slot));
                    continue;
                }
                let mask = mask & (mask - 1);
                let next = slots[number].slot(first_alternative(mask | LAST_ALTERNATIVE));
                if mask != 0 {
                    self.prefetch_row(next);
                }
                waiting[still_waiting] = Waiting::new(next, number, mask);
                still_waiting += usize::from((mask != 0) | has_overflow);
            }
            waiting_count = still_waiting;
        }
    }

    /// Whether the row of a slot is the key's, and which alternatives hold keys that are at home there.
    #[inline]
    fn read(self, key: KeyRef<'_>, slot: u32) -> (bool, u8) {
        if self.key_bytes == I64_KEY_BYTES {
            self.read_of::<true>(key, slot)
        } else {
            self.read_of::<false>(key, slot)
        }
    }

    /// The same where it is known whether the keys of rows have the length of an integer's.
    #[inline]
    fn read_of<const IS_I64: bool>(self, key: KeyRef<'_>, slot: u32) -> (bool, u8) {
        if !IS_I64 {
            return self.read_any(key, slot);
        }
        let start = slot as usize * self.row_bytes;
        let from_row = self.rows.get(start..).unwrap_or(&[]);
        if let Some((row, _)) = from_row.split_first_chunk::<{ KEY_OFFSET + I64_KEY_BYTES + 1 }>()
            && let Ok(key) = <&[u8; I64_KEY_BYTES]>::try_from(key.as_bytes())
            && row[KEY_OFFSET + I64_KEY_BYTES] & LONG_KEY == 0
        {
            let flags = row[KEY_OFFSET + I64_KEY_BYTES];
            let is_equal = (row[KEY_OFFSET..KEY_OFFSET + 8] == key[..8]) & (row[KEY_OFFSET + 8] == key[8]);
            return (is_equal & (flags & OCCUPIED != 0), flags & MASK);
        }
        self.read_unusual(key, slot)
    }

    /// A key of another length, or a long one, where most are integers.
    #[cold]
    #[inline(never)]
    fn read_unusual(self, key: KeyRef<'_>, slot: u32) -> (bool, u8) {
        self.read_any(key, slot)
    }

    #[inline]
    fn read_any(self, key: KeyRef<'_>, slot: u32) -> (bool, u8) {
        let start = slot as usize * self.row_bytes;
        let row = self.rows.get(start..start + self.row_bytes).unwrap_or(&[]);
        let flags = self.layout.flags(row);
        let is_found = match flags & LONG_KEY {
            0 => self.layout.holds_key(row, key.as_bytes()) & (flags & OCCUPIED != 0),
            _ => self.is_long_key(key, row),
        };
        (is_found, flags & MASK)
    }

    #[cold]
    fn is_long_key(self, key: KeyRef<'_>, row: &[u8]) -> bool {
        self.layout.flags(row) & OCCUPIED != 0 && self.snapshot.key_bytes(row) == key.as_bytes()
    }

    /// The slot of a key among the overflow rows, of which there are hardly ever any.
    #[inline]
    fn find_overflow(self, key: KeyRef<'_>, hash: u64) -> Option<u32> {
        if self.snapshot.header.shape.overflow_count == 0 {
            return None;
        }
        self.search_overflow(key, hash)
    }

    #[cold]
    fn search_overflow(self, key: KeyRef<'_>, hash: u64) -> Option<u32> {
        let first = self.index.slot_count() as u32;
        let hashes = self.snapshot.section(&self.snapshot.ranges.overflow);
        let (mut low, mut high) = (0, self.snapshot.header.shape.overflow_count);
        while low < high {
            let middle = low + (high - low) / 2;
            let row = self.snapshot.row_bytes(first + middle);
            let order = (u64_at(hashes, 8 * middle as usize), self.snapshot.key_bytes(row));
            match order.cmp(&(hash, key.as_bytes())) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Some(first + middle),
                Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// Asks for what says whether a key is at home.
    #[inline]
    pub(crate) fn prefetch_home(self, hash: u64) {
        self.prefetch_head(self.index.slots(hash).home);
    }

    /// Asks for what says whether a row is a key's.
    #[inline]
    fn prefetch_head(self, slot: u32) {
        let start = slot as usize * self.row_bytes;
        prefetch(self.rows, start);
        // Where a row does not begin with a cache line, its flags may be in the next.
        prefetch(self.rows, start + self.flags_offset);
    }

    #[inline]
    fn prefetch_row(self, slot: u32) {
        let start = slot as usize * self.row_bytes;
        self.prefetch_head(slot);
        let end = self.row_bytes.min(PREFETCH_ROW_BYTES);
        let mut offset = LINE_BYTES;
        while offset < end {
            prefetch(self.rows, start + offset);
            offset += LINE_BYTES;
        }
    }
}

/// The number of the first alternative that a mask names, which is not empty.
#[inline]
const fn first_alternative(mask: u8) -> usize {
    mask.trailing_zeros() as usize + 1
}
