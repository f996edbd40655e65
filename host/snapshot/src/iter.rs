use std::vec;

use crate::row_layout::OCCUPIED;
use crate::snapshot::RowIndex;
use crate::{KeyRef, Row, Snapshot};

/// The rows of a snapshot in the canonical order: the groups are in that of the hashes, the rows of each are sorted when it is
/// its turn.
pub(crate) struct Iter<'a> {
    snapshot: &'a Snapshot,
    /// The next group.
    group: u32,
    /// The next overflow row.
    overflow: usize,
    /// What is left of the group: hash, key, slot.
    pending: vec::IntoIter<(u64, KeyRef<'a>, u32)>,
    rows_left: usize,
}

impl<'a> Iter<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot) -> Self {
        Self {
            snapshot,
            group: 0,
            overflow: 0,
            pending: Vec::new().into_iter(),
            rows_left: snapshot.len(),
        }
    }

    /// The next key with its hash, and its row.
    pub(crate) fn next_hashed(&mut self) -> Option<(u64, KeyRef<'a>, Row<'a>)> {
        loop {
            if let Some((hash, key, slot)) = self.pending.next() {
                self.rows_left = self.rows_left.saturating_sub(1);
                return Some((hash, key, self.snapshot.row(RowIndex::new(slot))));
            }
            if self.group == self.snapshot.header.shape.index.group_count {
                return None;
            }
            self.pending = self.load_group().into_iter();
        }
    }

    /// The rows of the next group, in order.
    fn load_group(&mut self) -> Vec<(u64, KeyRef<'a>, u32)> {
        let snapshot = self.snapshot;
        let index = snapshot.header.shape.index;
        let first = self.group * index.group_slots;
        let mut rows: Vec<_> = (first..first + index.group_slots)
            .filter(|slot| snapshot.layout.flags(snapshot.row_bytes(*slot)) & OCCUPIED != 0)
            .map(|slot| {
                let key = snapshot.row(RowIndex::new(slot)).key();
                (key.hash(), key, slot)
            })
            .collect();
        let first_overflow = index.slot_count() as u32;
        let overflow = snapshot.overflow_hashes().get(self.overflow..).unwrap_or(&[]);
        for hash in overflow.iter().take_while(|hash| index.group(**hash) == self.group) {
            let slot = first_overflow + self.overflow as u32;
            rows.push((*hash, snapshot.row(RowIndex::new(slot)).key(), slot));
            self.overflow += 1;
        }
        self.group += 1;
        rows.sort_unstable();
        rows
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = (KeyRef<'a>, Row<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.next_hashed().map(|(_, key, row)| (key, row))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.rows_left, Some(self.rows_left))
    }
}

impl ExactSizeIterator for Iter<'_> {}
