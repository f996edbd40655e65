use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use unskew_snapshot::{EventTime, HashedKey, KeyRef, Layers, Snapshot};

use crate::fresh::entry::Entry;
use crate::fresh::event::EventSchema;
use crate::module::Module;

/// The buckets of a new table, and how many times as many the next has.
const FIRST_BUCKETS: usize = 1 << 10;
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

/// Entries by their keys' hashes.
#[derive(Debug)]
pub(crate) struct Table {
    buckets: Box<[ArcSwapOption<Bucket>]>,
}

/// The entries of the hashes of one place: mostly one, which is next to where the place points to.
#[derive(Clone, Debug)]
struct Bucket {
    first: Arc<Entry>,
    rest: Vec<Arc<Entry>>,
}

impl Bucket {
    fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        std::iter::once(&self.first).chain(&self.rest)
    }
}

/// What was replaced, for the writer to keep until no reader has it: a request frees nothing.
#[derive(Debug, Default)]
pub(super) struct Retired {
    tables: Vec<Arc<Table>>,
    buckets: Vec<Arc<Bucket>>,
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
            table: ArcSwap::from_pointee(Table::new(FIRST_BUCKETS)),
        }
    }

    /// The time as of which its snapshot is.
    pub fn watermark(&self) -> EventTime {
        self.layers.watermark()
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
        filter
            .may_have(key.hash())
            .then(|| self.table().get(key.hash(), key.key()))?
    }

    /// Puts an entry in place of the one of its key. For one thread at a time.
    pub(super) fn put(&self, entry: Arc<Entry>, retired: &mut Retired) {
        let hash = entry.hash;
        let table = self.table();
        if !table.put(entry, retired) {
            return;
        }
        let len = self.len.fetch_add(1, Ordering::Relaxed) + 1;
        if len > table.buckets.len() {
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
        // Other bits of the hash than those that choose the bucket. There are a power of two of words.
        let word = (hash >> 40) as usize & (self.words.len() - 1);
        (&self.words[word], 1 << (hash >> 28 & 63) | 1 << (hash >> 34 & 63))
    }
}

impl Table {
    fn new(buckets: usize) -> Self {
        Self {
            buckets: (0..buckets).map(|_| ArcSwapOption::empty()).collect(),
        }
    }

    /// A larger table of the same entries.
    fn grown(&self, retired: &mut Retired) -> Self {
        let grown = Self::new(GROWTH * self.buckets.len());
        for bucket in self.buckets.iter().filter_map(ArcSwapOption::load_full) {
            bucket
                .entries()
                .for_each(|entry| _ = grown.put(Arc::clone(entry), retired));
        }
        grown
    }

    /// The entry of a key and its hash.
    pub fn get(&self, hash: u64, key: KeyRef<'_>) -> Option<Arc<Entry>> {
        let bucket = self.bucket(hash).load();
        let entry = bucket.as_ref()?.entries().find(|entry| is_of(entry, hash, key));
        entry.cloned()
    }

    /// True where the key had no entry.
    fn put(&self, entry: Arc<Entry>, retired: &mut Retired) -> bool {
        let hash = entry.hash;
        let place = self.bucket(hash);
        let key = entry.key.as_ref();
        let is_same = |other: &&mut Arc<Entry>| is_of(other, hash, key);
        let Some(mut bucket) = place.load().as_deref().cloned() else {
            let rest = Vec::new();
            place.store(Some(Arc::new(Bucket { first: entry, rest })));
            return true;
        };
        let known = std::iter::once(&mut bucket.first).chain(&mut bucket.rest).find(is_same);
        let replaced = known.map(|known| std::mem::replace(known, Arc::clone(&entry)));
        let is_new = replaced.is_none();
        if is_new {
            bucket.rest.push(entry);
        }
        retired.entries.extend(replaced);
        retired.buckets.extend(place.swap(Some(Arc::new(bucket))));
        is_new
    }

    #[inline]
    fn bucket(&self, hash: u64) -> &ArcSwapOption<Bucket> {
        // There are a power of two of them.
        &self.buckets[hash as usize & (self.buckets.len() - 1)]
    }
}

impl Retired {
    /// Frees what no reader has any more. What is retired comes back to no reader, so a count of one stays one.
    pub fn free(&mut self) {
        self.tables.retain(|table| Arc::strong_count(table) > 1);
        self.buckets.retain(|bucket| Arc::strong_count(bucket) > 1);
        // Behind the buckets, which have them too.
        self.entries.retain(|entry| Arc::strong_count(entry) > 1);
    }
}

#[inline]
fn is_of(entry: &Entry, hash: u64, key: KeyRef<'_>) -> bool {
    entry.hash == hash && entry.key.as_ref() == key
}

#[cfg(test)]
mod tests;
