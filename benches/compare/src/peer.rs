use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use unskew_snapshot_benches::{KeyKind, Measure, Pages, RowShape, Sample, Turns, entity_id, ns_each, value};

/// The width of a row with its key.
pub const ROW_BYTES: usize = 64;
/// The rows, whatever they are stored in.
pub const SHAPE: RowShape = RowShape {
    key: KeyKind::I64,
    row_bytes: ROW_BYTES,
};
/// Event time, presence bits, values: what a store has for a key.
pub const VALUE_WORDS: usize = ROW_BYTES / 8 - 1;
pub const VALUE_BYTES: usize = 8 * VALUE_WORDS;
/// Where the values begin.
const FIRST_VALUE: usize = 2;
const EVENT_TIME_US: u64 = 1_700_000_000_000_000;
const PRESENCE: u64 = 0b1_1111;
/// The keys of one call for many.
pub const BATCH_KEYS: usize = 100;
/// Of keys that a store does not have, how many it is asked for.
const UNKNOWN_KEYS: usize = 10_000;

pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A store with rows.
pub trait Peer: Sized {
    /// Its name in tables and figures.
    const NAME: &'static str;
    /// How many single lookups there are for each of those in batches, one in so many.
    const SINGLES_ONE_IN: usize = 1;
    /// A key as the store takes it.
    type Key;

    /// Loads unsorted rows, as fast as the store can, and makes ready to serve them.
    fn load(row_count: u64, folder: &Path) -> Result<Self>;

    /// The keys of rows, which live as long as the process.
    fn keys(rows: &[u64]) -> Vec<Self::Key>;

    /// The first value of a row, as bits.
    fn get(&self, key: &Self::Key) -> Result<Option<u64>>;

    /// How many of at most [`BATCH_KEYS`] keys have rows, and the sum of all values in them, as bits.
    fn get_many(&self, keys: &[Self::Key]) -> Result<(usize, u64)>;

    /// What it takes on disk or in memory, whichever it serves from.
    fn bytes(&self) -> Result<u64>;

    /// The pages that it serves from, where that is known.
    fn pages(&self) -> Pages {
        Pages::Small
    }
}

/// A peer of whatever type, loaded and checked.
pub trait Contestant {
    fn name(&self) -> &'static str;
    fn load_ns(&self) -> f64;
    fn bytes(&self) -> u64;
    fn pages(&self) -> Pages;
    /// The names of the measures: single, many.
    fn measure_names(&self) -> [String; 2];
    fn measures(&self) -> [Measure<'_>; 2];
}

/// A peer and what it will be asked.
pub struct Entry<P: Peer> {
    peer: P,
    keys: Vec<P::Key>,
    /// For each measure a piece.
    turns: [Turns; 2],
    load_ns: f64,
    bytes: u64,
}

impl<P: Peer + 'static> Entry<P> {
    /// Loads and checks a peer that will be asked for `lookups` keys in a measure.
    pub fn load(row_count: u64, folder: &Path, lookups: usize) -> Result<Box<dyn Contestant>> {
        let start = Instant::now();
        let peer = P::load(row_count, folder).map_err(|error| format!("{}: {error}", P::NAME))?;
        let load_ns = start.elapsed().as_nanos() as f64 / row_count as f64;
        let sample = Sample::new(row_count, Turns::COUNT * lookups, 0);
        let keys = P::keys(&sample.rows);
        check(&peer, &sample, &keys, keys.len() / P::SINGLES_ONE_IN)?;
        let unknown = Sample::new(row_count, UNKNOWN_KEYS, 100);
        let unknown_keys = P::keys(&unknown.rows);
        check(&peer, &unknown, &unknown_keys, UNKNOWN_KEYS)?;
        Ok(Box::new(Self {
            load_ns,
            bytes: peer.bytes()?,
            turns: [lookups / P::SINGLES_ONE_IN, lookups].map(Turns::new),
            peer,
            keys,
        }))
    }
}

impl<P: Peer> Contestant for Entry<P> {
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn load_ns(&self) -> f64 {
        self.load_ns
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn pages(&self) -> Pages {
        self.peer.pages()
    }

    fn measure_names(&self) -> [String; 2] {
        ["single", "many"].map(|measure| format!("{}/{measure}", P::NAME))
    }

    fn measures(&self) -> [Measure<'_>; 2] {
        let [single, many] = self.measure_names();
        [
            Measure::new(single, || {
                let keys = self.turns[0].next(&self.keys);
                ns_each(keys.len(), || look_up_singly(&self.peer, keys))
            }),
            Measure::new(many, || {
                let keys = self.turns[1].next(&self.keys);
                ns_each(keys.len(), || look_up_many(&self.peer, keys))
            }),
        ]
    }
}

/// What a store has for the key of a row.
pub fn stored_words(row: u64) -> [u64; VALUE_WORDS] {
    let mut words = [0; VALUE_WORDS];
    (words[0], words[1]) = (EVENT_TIME_US, PRESENCE);
    for (feature, word) in words[FIRST_VALUE..].iter_mut().enumerate() {
        *word = value(row, feature).to_bits();
    }
    words
}

/// The same as bytes.
pub fn stored_bytes(row: u64) -> [u8; VALUE_BYTES] {
    let mut bytes = [0; VALUE_BYTES];
    for (field, word) in bytes.as_chunks_mut().0.iter_mut().zip(stored_words(row)) {
        *field = word.to_le_bytes();
    }
    bytes
}

/// The numbers of rows by their keys, for stores that are loaded in order: `order` makes keys of ids.
pub fn rows_by_key<K: Ord>(row_count: u64, order: impl Fn(i64) -> K) -> Vec<(K, u64)> {
    let mut rows: Vec<(K, u64)> = (0..row_count).map(|row| (order(entity_id(row)), row)).collect();
    rows.sort_unstable();
    rows
}

/// The first value in what is stored.
#[inline(always)]
pub fn first_value(stored: &[u8]) -> u64 {
    let words = stored.as_chunks().0;
    words.get(FIRST_VALUE).map_or(0, |word| u64::from_le_bytes(*word))
}

/// Adds the values in what is stored to a sum.
#[inline(always)]
pub fn add_values(sum: u64, stored: &[u8]) -> u64 {
    let values = stored.as_chunks().0.iter().skip(FIRST_VALUE);
    values.fold(sum, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)))
}

/// Adds the values in words of what is stored to a sum.
#[inline(always)]
pub fn add_words(sum: u64, stored: &[u64; VALUE_WORDS]) -> u64 {
    stored[FIRST_VALUE..]
        .iter()
        .fold(sum, |sum, word| sum.wrapping_add(*word))
}

fn check<P: Peer>(peer: &P, sample: &Sample, keys: &[P::Key], singles: usize) -> Result<()> {
    let is_known = |row: &&u64| sample.is_known(**row);
    for (row, key) in sample.rows.iter().zip(keys).take(singles) {
        let expected = is_known(&row).then(|| value(*row, 0).to_bits());
        let found = peer.get(key)?;
        if found != expected {
            return Err(format!("{}: row {row} has {found:?} and not {expected:?}", P::NAME).into());
        }
    }
    for (rows, keys) in sample.rows.chunks(BATCH_KEYS).zip(keys.chunks(BATCH_KEYS)) {
        let known = rows.iter().filter(is_known);
        let sum = known.clone().fold(0, |sum, row| add_words(sum, &stored_words(*row)));
        if peer.get_many(keys)? != (known.count(), sum) {
            return Err(format!("{}: the values of rows {rows:?} are wrong", P::NAME).into());
        }
    }
    Ok(())
}

/// One by one: `zero` is 0, which the compiler does not know, so that each key hangs on the value before.
fn look_up_singly<P: Peer>(peer: &P, keys: &[P::Key]) -> u64 {
    let zero = black_box(0);
    let mut dependency = 0;
    for index in 0..keys.len() {
        let found = peer.get(&keys[index + (dependency & zero) as usize]);
        dependency = answered::<P, _>(found).unwrap_or(0);
    }
    dependency
}

fn look_up_many<P: Peer>(peer: &P, keys: &[P::Key]) -> u64 {
    let sum = |sum: u64, keys| sum.wrapping_add(answered::<P, _>(peer.get_many(keys)).1);
    keys.chunks(BATCH_KEYS).fold(0, sum)
}

/// A store that fails after it was checked ends the bench.
#[inline(always)]
fn answered<P: Peer, T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{}: {error}", P::NAME))
}
