//! A pushed row on its way into a file, in memory and in spill files.
//!
//! ```text
//!  0       8        12      14     15      16       24
//!  | hash  | heap   | key   | has  | is    | known  | row | key | heap | zeros up to a multiple of 8
//!  |       | bytes  | bytes | known| gone  | at     |
//! ```
//! The row is in the layout without a key, and its extents are into the record's own heap.

use std::io::{self, Read};

use crate::EventTime;
use crate::header::{u32_at, u64_at};

pub(crate) const HEAD_BYTES: usize = 24;

/// A record, borrowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) hash: u64,
    pub(crate) known_at: Option<EventTime>,
    /// Whether the key is one that a delta removes; then the row is zeros.
    pub(crate) is_removed: bool,
    pub(crate) row: &'a [u8],
    pub(crate) key: &'a [u8],
    pub(crate) heap: &'a [u8],
    /// What it was parsed from; empty of one that was not.
    pub(crate) words: &'a [u64],
}

impl<'a> Record<'a> {
    /// The record that words begin with. They are a record's own: what does not fit is empty.
    pub(crate) fn parse(words: &'a [u64], row_bytes: usize) -> Self {
        let bytes: &[u8] = bytemuck::cast_slice(words);
        let (key_bytes, heap_bytes) = lengths(bytes);
        let (row, rest) = bytes
            .get(HEAD_BYTES..)
            .unwrap_or(&[])
            .split_at_checked(row_bytes)
            .unwrap_or_default();
        let (key, rest) = rest.split_at_checked(key_bytes).unwrap_or_default();
        Self {
            hash: u64_at(bytes, 0),
            is_removed: bytes.get(15) == Some(&1),
            known_at: (bytes.get(14) == Some(&1)).then(|| EventTime(u64_at(bytes, 16).cast_signed())),
            row,
            key,
            heap: rest.get(..heap_bytes).unwrap_or(&[]),
            words: words.get(..word_count(row_bytes, key_bytes, heap_bytes)).unwrap_or(&[]),
        }
    }

    /// What records are sorted by: the canonical order of rows.
    pub(crate) fn order(&self) -> (u64, &'a [u8]) {
        (self.hash, self.key)
    }

    /// The words that the record takes.
    pub(crate) fn word_count(&self) -> usize {
        word_count(self.row.len(), self.key.len(), self.heap.len())
    }

    /// Appends the record's words.
    pub(crate) fn append(&self, words: &mut Vec<u64>) {
        if !self.words.is_empty() {
            words.extend_from_slice(self.words);
            return;
        }
        let start = words.len();
        words.resize(start + self.word_count(), 0);
        self.write(&mut words[start..]);
    }

    /// Writes the record to as many words as it has, which are zero.
    pub(crate) fn write(&self, words: &mut [u64]) {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(words);
        let (head, rest) = bytes.split_at_mut(HEAD_BYTES);
        head[..8].copy_from_slice(&self.hash.to_le_bytes());
        head[8..12].copy_from_slice(&(self.heap.len() as u32).to_le_bytes());
        head[12..14].copy_from_slice(&(self.key.len() as u16).to_le_bytes());
        head[15] = u8::from(self.is_removed);
        if let Some(known_at) = self.known_at {
            head[14] = 1;
            head[16..].copy_from_slice(&known_at.as_micros().to_le_bytes());
        }
        let (row, rest) = rest.split_at_mut(self.row.len());
        row.copy_from_slice(self.row);
        let (key, rest) = rest.split_at_mut(self.key.len());
        key.copy_from_slice(self.key);
        rest[..self.heap.len()].copy_from_slice(self.heap);
    }
}

/// Reads the next record into `words`; `false` at the end.
pub(crate) fn read(from: &mut impl Read, row_bytes: usize, words: &mut Vec<u64>) -> io::Result<bool> {
    words.clear();
    words.resize(HEAD_BYTES / 8, 0);
    let head: &mut [u8] = bytemuck::cast_slice_mut(words);
    match from.read(&mut head[..1])? {
        0 => return Ok(false),
        _ => from.read_exact(&mut head[1..])?,
    }
    let (key_bytes, heap_bytes) = lengths(head);
    words.resize(word_count(row_bytes, key_bytes, heap_bytes), 0);
    from.read_exact(bytemuck::cast_slice_mut(&mut words[HEAD_BYTES / 8..]))?;
    Ok(true)
}

/// Of the key and of the heap.
fn lengths(head: &[u8]) -> (usize, usize) {
    ((u32_at(head, 12) & 0xffff) as usize, u32_at(head, 8) as usize)
}

pub(crate) const fn word_count(row_bytes: usize, key_bytes: usize, heap_bytes: usize) -> usize {
    (HEAD_BYTES + row_bytes + key_bytes + heap_bytes).div_ceil(8)
}
