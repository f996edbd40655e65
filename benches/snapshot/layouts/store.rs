use std::io;

use unskew_snapshot_benches::{Memory, Pages, prefetch, value};

use crate::layout::{Key, id_of};

/// Key, event time, presence bits; behind them the values.
pub const FIXED_WORDS: usize = 3;
const MARK: usize = 2;
/// The bit of the mark that says that there is a row; the others are the layout's.
const IS_ROW: u64 = 1;
const EVENT_TIME_US: u64 = 1_700_000_000_000_000;
const LINE_BYTES: usize = 64;

/// What all layouts are given.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub row_words: usize,
    pub pages: Pages,
}

impl Shape {
    pub fn row_bytes(self) -> usize {
        8 * self.row_words
    }
}

/// Slots for rows, some of them empty.
pub struct Store {
    memory: Memory,
    row_words: usize,
}

impl Store {
    pub fn new(slot_count: usize, shape: Shape) -> io::Result<Self> {
        Ok(Self {
            memory: Memory::new(slot_count * shape.row_bytes(), shape.pages)?,
            row_words: shape.row_words,
        })
    }

    /// Puts the row of a key into a slot and leaves the layout's bits of the mark.
    pub fn put(&mut self, slot: usize, id: i64) {
        let row = self.row_mut(slot);
        row[0] = id.cast_unsigned();
        row[1] = EVENT_TIME_US;
        row[MARK] |= IS_ROW;
        for (feature, word) in row[FIXED_WORDS..].iter_mut().enumerate() {
            *word = value_word(id, feature);
        }
    }

    /// Sets bits of a slot's mark, of which the lowest is not the layout's.
    pub fn set_mark(&mut self, slot: usize, bits: u64) {
        self.row_mut(slot)[MARK] |= bits << 1;
    }

    /// The bits of a slot's mark that are the layout's.
    #[inline(always)]
    pub fn mark(&self, slot: usize) -> u64 {
        self.memory.words()[slot * self.row_words + MARK] >> 1
    }

    #[inline(always)]
    pub fn is_empty(&self, slot: usize) -> bool {
        self.memory.words()[slot * self.row_words + MARK] & IS_ROW == 0
    }

    #[inline(always)]
    pub fn row(&self, slot: usize) -> &[u64] {
        let start = slot * self.row_words;
        &self.memory.words()[start..start + self.row_words]
    }

    /// Whether the row in a slot is that of a key.
    #[inline(always)]
    pub fn is_of(&self, slot: usize, key: &Key) -> bool {
        let row = self.row(slot);
        row[0] == id_of(key) && row[MARK] & IS_ROW != 0
    }

    /// Asks for the first line of a row, which has its key and its mark.
    #[inline(always)]
    pub fn prefetch_key(&self, slot: usize) {
        prefetch(self.memory.bytes(), slot * 8 * self.row_words);
    }

    /// Asks for the lines of a row behind the first.
    #[inline(always)]
    pub fn prefetch_rest(&self, slot: usize) {
        let row_bytes = 8 * self.row_words;
        for offset in (LINE_BYTES..row_bytes).step_by(LINE_BYTES) {
            prefetch(self.memory.bytes(), slot * row_bytes + offset);
        }
    }

    /// Asks for all lines of a row.
    #[inline(always)]
    pub fn prefetch(&self, slot: usize) {
        self.prefetch_key(slot);
        self.prefetch_rest(slot);
    }

    pub fn bytes(&self) -> usize {
        self.memory.bytes().len()
    }

    fn row_mut(&mut self, slot: usize) -> &mut [u64] {
        let start = slot * self.row_words;
        &mut self.memory.words_mut()[start..start + self.row_words]
    }
}

/// The value of a feature of a key.
pub fn value_word(id: i64, feature: usize) -> u64 {
    value(id.cast_unsigned(), feature).to_bits()
}

/// Numbers of an index, in memory of their own.
pub struct Index {
    memory: Memory,
}

impl Index {
    pub fn new(bytes: usize, pages: Pages) -> io::Result<Self> {
        Ok(Self {
            memory: Memory::new(bytes, pages)?,
        })
    }

    #[inline(always)]
    pub fn as_u8(&self) -> &[u8] {
        self.memory.bytes()
    }

    #[inline(always)]
    pub fn as_u16(&self) -> &[u16] {
        bytemuck::cast_slice(self.memory.bytes())
    }

    #[inline(always)]
    pub fn as_u32(&self) -> &[u32] {
        bytemuck::cast_slice(self.memory.bytes())
    }

    #[inline(always)]
    pub fn as_u64(&self) -> &[u64] {
        bytemuck::cast_slice(self.memory.bytes())
    }

    pub fn as_u8_mut(&mut self) -> &mut [u8] {
        self.memory.bytes_mut()
    }

    pub fn as_u16_mut(&mut self) -> &mut [u16] {
        bytemuck::cast_slice_mut(self.memory.bytes_mut())
    }

    pub fn as_u32_mut(&mut self) -> &mut [u32] {
        bytemuck::cast_slice_mut(self.memory.bytes_mut())
    }

    pub fn as_u64_mut(&mut self) -> &mut [u64] {
        bytemuck::cast_slice_mut(self.memory.bytes_mut())
    }

    /// Asks for the line at an offset.
    #[inline(always)]
    pub fn prefetch(&self, offset: usize) {
        prefetch(self.memory.bytes(), offset);
    }
}
