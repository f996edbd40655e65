use std::cell::Cell;

/// Numbers that look random and are the same in every run: splitmix64.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next one below `end`.
    #[inline]
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        ((u128::from(mix(self.0)) * u128::from(end)) >> 64) as u64
    }
}

/// Scatters a word over all words: no two give the same.
#[inline]
pub(crate) const fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Hands out pieces of a long list of questions in turn, so that a piece comes again only when what it was about has left
/// the cache.
#[derive(Debug)]
pub struct Turns {
    piece: usize,
    next: Cell<usize>,
}

impl Turns {
    /// How many pieces a list has.
    pub const COUNT: usize = 4;

    /// Pieces of this length.
    pub fn new(piece: usize) -> Self {
        Self {
            piece,
            next: Cell::new(0),
        }
    }

    /// The next piece of a list of [`COUNT`](Self::COUNT) of them.
    pub fn next<'a, T>(&self, list: &'a [T]) -> &'a [T] {
        let turn = self.next.get();
        self.next.set((turn + 1) % Self::COUNT);
        &list[turn * self.piece..][..self.piece]
    }
}

/// Questions about random rows, by row number; a number that no row has stands for an unknown key.
#[derive(Clone, Debug)]
pub struct Sample {
    /// In the order in which they are asked.
    pub rows: Vec<u64>,
    row_count: u64,
}

impl Sample {
    /// `count` questions about a table of `row_count` rows. The unknown keys are at random places, lest the processor learn
    /// where they are.
    pub fn new(row_count: u64, count: usize, unknown_percent: u64) -> Self {
        let mut random = Random::new(row_count ^ unknown_percent);
        let row = |_| {
            let row = random.below(row_count);
            match random.below(100) < unknown_percent {
                true => row_count + row,
                false => row,
            }
        };
        Self {
            rows: (0..count).map(row).collect(),
            row_count,
        }
    }

    /// Whether there is a row of this number.
    pub fn is_known(&self, row: u64) -> bool {
        row < self.row_count
    }
}
