use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use unskew_snapshot::{EventTime, HashedKey, Lateness, Layers, Snapshot, prefetch_value};

use crate::fresh::entry::Entry;
use crate::fresh::event::EventSchema;
use crate::module::Module;

/// The places of a new table, and how many times as many the next has.
const FIRST_PLACES: usize = 1 << 11;
const GROWTH: usize = 4;
/// The bytes of a filter, at least and at most, and for how many bytes of fresh events it has one: about half a byte to a byte an entity.
const FILTER_BYTES: [usize; 2] = [4 << 10, 1 << 20];
const BYTES_PER_FILTER_BYTE: usize = 1 << 10;

/// What is fresher than a view's snapshot in one generation. One thread at a time writes, any number read and wait for nothing:
/// a request that finds it empty pays a load, and one whose key has no entry a bit of a filter.
///
/// The entries of a snapshot's keys only ever come, until another generation is served, with an overlay of its own.
#[derive(Debug)]
pub(crate) struct Overlay {
    pub schema: Arc<EventSchema>,
    pub layers: Arc<Layers>,
    /// Of an aggregate.
    pub module: Option<Module>,
    /// The memory that its events may take: its filter is as large as it needs to be for them.
    max_bytes: usize,
    /// None before the first entry.
    filter: OnceLock<Filter>,
    len: AtomicUsize,
    table: ArcSwap<Table>,
}

/// Which keys may have entries: nearly none besides those that have.
#[derive(Debug)]
pub(crate) struct Filter {
    /// Two bits of a word for each key.
    words: Box<[AtomicU64]>,
}

/// Entries by their keys' hashes: each is in the first place that was free from that of its hash on. At most half of the places are
/// taken.
#[derive(Debug)]
pub(crate) struct Table {
    places: Box<[Place]>,
}

/// The tag and what it is of are in one cache line.
#[derive(Debug, Default)]
struct Place {
    /// Of the hash; 0 of a place that is free.
    tag: AtomicU64,
    entry: ArcSwapOption<Entry>,
}

/// What was replaced, for the writer to keep until no reader has it: a request frees nothing.
#[derive(Debug, Default)]
pub(super) struct Retired {
    tables: Vec<Arc<Table>>,
    entries: Vec<Arc<Entry>>,
}

impl Overlay {
    pub fn new(schema: EventSchema, layers: &Arc<Layers>, module: Option<&Module>, max_bytes: usize) -> Self {
        Self {
            schema: Arc::new(schema),
            layers: Arc::clone(layers),
            module: module.cloned(),
            max_bytes,
            filter: OnceLock::new(),
            len: AtomicUsize::new(0),
            table: ArcSwap::from_pointee(Table::new(FIRST_PLACES)),
        }
    }

    /// The time as of which its snapshot is.
    pub fn watermark(&self) -> EventTime {
        self.layers.watermark()
    }

    /// How late an event may become known and still count.
    pub fn lateness(&self) -> Option<Lateness> {
        self.layers.newest().lateness()
    }

    /// The snapshot whose layout its rows have.
    pub fn base(&self) -> &Snapshot {
        &self.layers.base().snapshot
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        // Relaxed: a count for people.
        self.len.load(Ordering::Relaxed)
    }

    /// Which keys may have entries; none before the first.
    #[inline]
    pub fn filter(&self) -> Option<&Filter> {
        self.filter.get()
    }

    /// The table as it is now, to look up keys that the filter lets pass.
    pub fn table(&self) -> Guard<Arc<Table>> {
        self.table.load()
    }

    /// The entry of a key.
    #[inline]
    pub fn get(&self, key: HashedKey<'_>) -> Option<Arc<Entry>> {
        let filter = self.filter()?;
        filter.may_have(key.hash()).then(|| self.table().get(key))?
    }

    /// Puts an entry in place of the one of its key. For one thread at a time.
    pub(super) fn put(&self, entry: Arc<Entry>, retired: &mut Retired) {
        let hash = entry.hash;
        let table = self.table();
        if !table.put(entry, retired) {
            return;
        }
        let len = self.len.fetch_add(1, Ordering::Relaxed) + 1;
        if 2 * len >= table.places.len() {
            let grown = table.grown(retired);
            drop(table);
            retired.tables.push(self.table.swap(Arc::new(grown)));
        }
        // Behind the entry, so that whoever sees the bits finds it.
        self.filter.get_or_init(|| Filter::new(self.max_bytes)).add(hash);
    }
}

impl Filter {
    fn new(max_bytes: usize) -> Self {
        let [least, most] = FILTER_BYTES;
        let bytes = (max_bytes / BYTES_PER_FILTER_BYTE)
            .clamp(least, most)
            .next_power_of_two();
        Self {
            words: (0..bytes / size_of::<u64>()).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Whether the key of this hash may have an entry.
    #[inline]
    pub fn may_have(&self, hash: u64) -> bool {
        let (word, bits) = self.bits(hash);
        // Acquire: pairs with `add`.
        word.load(Ordering::Acquire) & bits == bits
    }

    fn add(&self, hash: u64) {
        let (word, bits) = self.bits(hash);
        // Release: pairs with `may_have`.
        word.fetch_or(bits, Ordering::Release);
    }

    #[inline]
    fn bits(&self, hash: u64) -> (&AtomicU64, u64) {
        // Other bits of the hash than those that choose the place. There are a power of two of words.
        let word = (hash >> 40) as usize & (self.words.len() - 1);
        (&self.words[word], 1 << (hash >> 28 & 63) | 1 << (hash >> 34 & 63))
    }
}

impl Table {
    /// Of a power of two of places.
    fn new(places: usize) -> Self {
        Self {
            places: (0..places).map(|_| Place::default()).collect(),
        }
    }

    /// A larger table of the same entries.
    fn grown(&self, retired: &mut Retired) -> Self {
        let grown = Self::new(GROWTH * self.places.len());
        for entry in self.places.iter().filter_map(|place| place.entry.load_full()) {
            grown.put(entry, retired);
        }
        grown
    }

    /// Asks for the place of a key, and waits for nothing.
    #[inline]
    pub fn prefetch_place(&self, hash: u64) {
        prefetch_value(&self.places[self.home(hash)]);
    }

    /// Asks for the entry of a key, and waits for its place.
    #[inline]
    pub fn prefetch_entry(&self, hash: u64) {
        if let Some(place) = self.places_of(hash).next()
            && let Some(entry) = &*place.entry.load()
        {
            prefetch_value(&**entry);
        }
    }

    /// The entry of a key.
    #[inline]
    pub fn get(&self, key: HashedKey<'_>) -> Option<Arc<Entry>> {
        self.places_of(key.hash()).find_map(|place| {
            let entry = place.entry.load();
            let entry = entry.as_ref().filter(|entry| entry.is_of(key))?;
            Some(Arc::clone(entry))
        })
    }

    /// The places that have the tag of a hash.
    #[inline]
    fn places_of(&self, hash: u64) -> impl Iterator<Item = &Place> {
        let tag = tag(hash);
        self.probe(hash)
            // Acquire: pairs with `put`.
            .map(|place| (place, place.tag.load(Ordering::Acquire)))
            .take_while(|(_, found)| *found != 0)
            .filter(move |(_, found)| *found == tag)
            .map(|(place, _)| place)
    }

    /// True where the key had no entry.
    fn put(&self, entry: Arc<Entry>, retired: &mut Retired) -> bool {
        let hash = entry.hash;
        let is_same = |other: &Entry| other.hash == hash && other.key == entry.key;
        let known = self
            .places_of(hash)
            .find(|place| place.entry.load().as_deref().is_some_and(is_same));
        if let Some(place) = known {
            retired.entries.extend(place.entry.swap(Some(entry)));
            return false;
        }
        // Half of the places are free.
        let free = self.probe(hash).find(|place| place.tag.load(Ordering::Relaxed) == 0);
        if let Some(place) = free {
            place.entry.store(Some(entry));
            // Release: pairs with `places_of`, so that whoever sees the tag finds the entry.
            place.tag.store(tag(hash), Ordering::Release);
        }
        true
    }

    /// All places, from that of a hash on.
    #[inline]
    fn probe(&self, hash: u64) -> impl Iterator<Item = &Place> {
        let (before, from) = self.places.split_at(self.home(hash));
        from.iter().chain(before)
    }

    #[inline]
    fn home(&self, hash: u64) -> usize {
        // There are a power of two of them.
        hash as usize & (self.places.len() - 1)
    }
}

/// Most bits of a hash, and never 0.
#[inline]
const fn tag(hash: u64) -> u64 {
    hash | 1
}

impl Retired {
    /// Frees what no reader has any more. What is retired comes back to no reader, so a count of one stays one.
    pub fn free(&mut self) {
        self.tables.retain(|table| Arc::strong_count(table) > 1);
        // Behind the tables, which have them too.
        self.entries.retain(|entry| Arc::strong_count(entry) > 1);
    }
}

#[cfg(test)]
mod tests;
