use std::cell::Cell;
use std::hint::{black_box, select_unpredictable};
use std::io;

use unskew_snapshot::KeyRef;

use crate::rounds::{Figures, Measure, ns_each};
use crate::{Memory, Pages, Random, Turns, prefetch};

const MISS: &str = "miss";
const LIMIT: &str = "limit of the layout";
/// Of the keys of a snapshot, those that are not at home, of 256.
const AWAY: u64 = 103;
const LINE_BYTES: usize = 64;

/// How rows are read that are known beforehand, to find the greatest rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// All rows of a batch of this many are prefetched, then read.
    Batches(usize),
    /// Each is prefetched this many before it is read.
    Ahead(usize),
    /// None is prefetched: the processor finds what it can do at once.
    Unaided,
}

/// The schemes that compete.
pub const SCHEMES: [Scheme; 8] = [
    Scheme::Batches(32),
    Scheme::Batches(64),
    Scheme::Batches(100),
    Scheme::Batches(400),
    Scheme::Ahead(8),
    Scheme::Ahead(16),
    Scheme::Ahead(32),
    Scheme::Unaided,
];

/// What the machine can do with rows of one size, in memory like theirs: as many cells of their width, in the same pages.
///
/// - `miss`, one dependent memory miss: the cells are one random cycle of pointers, which is followed. No lookup of one key
///   whose key depends on the one before can be faster, short of finding it in a cache.
/// - the maximum rate: random cells, known beforehand, are read whole, in whichever of [`SCHEMES`] is the fastest. No lookup
///   of many keys that then reads their rows can be faster.
pub struct Machine {
    cells: Memory,
    cell_words: usize,
    /// The cells that are read.
    order: Vec<u32>,
    lookups: usize,
    turns: Turns,
    position: Cell<usize>,
    pages: Pages,
}

impl Machine {
    /// # Errors
    /// There is not that much memory.
    ///
    /// # Panics
    /// There are no rows, or more than 2³².
    pub fn new(row_count: u64, row_bytes: usize, pages: Pages, lookups: usize) -> io::Result<Self> {
        let huge_before = crate::huge_bytes();
        let cell_words = row_bytes / 8;
        let mut cells = Memory::new(row_count as usize * row_bytes, pages)?;
        link(cells.words_mut(), cell_words, row_count);
        let mut random = Random::new(row_count);
        Ok(Self {
            pages: Pages::found(huge_before, cells.bytes().len() as u64),
            cells,
            cell_words,
            order: (0..Turns::COUNT * lookups)
                .map(|_| random.below(row_count) as u32)
                .collect(),
            lookups,
            turns: Turns::new(lookups),
            position: Cell::new(0),
        })
    }

    /// The pages as they turned out.
    pub fn pages(&self) -> Pages {
        self.pages
    }

    /// The measures of the machine, to be taken with those that are compared with them.
    pub fn measures(&self) -> Vec<Measure<'_>> {
        let mut measures = vec![Measure::new(MISS, || self.miss_ns())];
        for scheme in SCHEMES {
            measures.push(Measure::new(name(scheme), move || self.read_ns(scheme)));
        }
        measures
    }

    /// What looking up these keys at least takes where rows are laid out as in a snapshot, so many at a time: each is hashed, a
    /// random cell's first line is read as its home, for as many keys as are elsewhere another cell's, and the row is read.
    /// Nothing is compared, found or told.
    pub fn limit<'a>(&'a self, keys: &'a [KeyRef<'a>], batch: usize) -> Measure<'a> {
        let turns = Turns::new(self.lookups);
        Measure::new(LIMIT, move || {
            let keys = turns.next(keys);
            ns_each(keys.len(), || self.read_by_hash(keys, batch))
        })
    }

    /// The name of the measure of [`limit`](Self::limit).
    pub fn limit_name() -> &'static str {
        LIMIT
    }

    /// The name of the measure of one miss.
    pub fn miss() -> &'static str {
        MISS
    }

    /// The name of the measure of the scheme that turned out the fastest.
    pub fn maximum_rate(figures: &Figures) -> String {
        figures.fastest(&SCHEMES.map(name)).to_owned()
    }

    fn miss_ns(&self) -> f64 {
        let words = self.cells.words();
        let mut position = self.position.get();
        let ns = ns_each(self.lookups, || {
            for _ in 0..self.lookups {
                position = words[position] as usize;
            }
            position
        });
        // The next round goes on where this one ends, lest it find its cells in the cache.
        self.position.set(position);
        ns
    }

    fn read_ns(&self, scheme: Scheme) -> f64 {
        let cells = self.turns.next(&self.order);
        ns_each(cells.len(), || match scheme {
            Scheme::Batches(count) => self.read_in_batches(cells, count),
            Scheme::Ahead(count) => self.read_ahead(cells, count),
            Scheme::Unaided => cells.iter().fold(0, |sum, cell| self.sum(sum, *cell)),
        })
    }

    fn read_in_batches(&self, cells: &[u32], count: usize) -> u64 {
        let mut sum = 0;
        for batch in cells.chunks(count) {
            batch.iter().for_each(|cell| self.prefetch(*cell));
            sum = batch.iter().fold(sum, |sum, cell| self.sum(sum, *cell));
        }
        sum
    }

    fn read_ahead(&self, cells: &[u32], count: usize) -> u64 {
        cells.iter().take(count).for_each(|cell| self.prefetch(*cell));
        let mut sum = 0;
        for (index, cell) in cells.iter().enumerate() {
            if let Some(later) = cells.get(index + count) {
                self.prefetch(*later);
            }
            sum = self.sum(sum, *cell);
        }
        sum
    }

    fn read_by_hash(&self, keys: &[KeyRef<'_>], batch: usize) -> u64 {
        let cells = (self.cells.words().len() / self.cell_words) as u64;
        let cell_of = |hash: u64| ((u128::from(hash) * u128::from(cells)) >> 64) as u32;
        let first_word = |cell: u32| self.cells.words()[cell as usize * self.cell_words];
        // 0, which the compiler does not know: what is read second hangs on what was read first.
        let zero = black_box(0);
        let mut homes = vec![(0_u32, 0_u64); batch];
        let mut sum = 0;
        for keys in keys.chunks(batch) {
            for (key, home) in keys.iter().zip(&mut homes) {
                let hash = key.hash();
                *home = (cell_of(hash), hash);
                prefetch(self.cells.bytes(), home.0 as usize * 8 * self.cell_words);
            }
            let homes = &mut homes[..keys.len()];
            for (cell, hash) in &mut *homes {
                let is_away = *hash % 256 < AWAY;
                let other = cell_of(hash.rotate_left(32));
                *cell = select_unpredictable(is_away, other, *cell) + (first_word(*cell) & zero) as u32;
                self.prefetch(*cell);
            }
            sum = homes.iter().fold(sum, |sum, (cell, _)| self.sum(sum, *cell));
        }
        sum
    }

    #[inline(always)]
    fn prefetch(&self, cell: u32) {
        let row_bytes = 8 * self.cell_words;
        let start = cell as usize * row_bytes;
        for offset in (0..row_bytes).step_by(LINE_BYTES) {
            prefetch(self.cells.bytes(), start + offset);
        }
    }

    #[inline(always)]
    fn sum(&self, sum: u64, cell: u32) -> u64 {
        let start = cell as usize * self.cell_words;
        let words = &self.cells.words()[start..start + self.cell_words];
        words.iter().fold(sum, |sum, word| sum.wrapping_add(*word))
    }
}

/// Makes one random cycle of all cells: the first word of each is the index of the first word of the next. (Sattolo.)
fn link(words: &mut [u64], cell_words: usize, count: u64) {
    let count = u32::try_from(count).expect("fewer than 2^32 rows");
    let mut order: Vec<u32> = (0..count).collect();
    let mut random = Random::new(!u64::from(count));
    for last in (1..order.len()).rev() {
        order.swap(last, random.below(last as u64) as usize);
    }
    let next = order.iter().cycle().skip(1);
    for (cell, next) in order.iter().zip(next) {
        words[*cell as usize * cell_words] = u64::from(*next) * cell_words as u64;
    }
}

fn name(scheme: Scheme) -> String {
    match scheme {
        Scheme::Batches(count) => format!("batches of {count}"),
        Scheme::Ahead(count) => format!("{count} ahead"),
        Scheme::Unaided => "unaided".to_owned(),
    }
}
