use crate::iter::Iter;
use crate::record::Record;
use crate::row_layout::RowLayout;
use crate::{KeyRef, Row, Snapshot, WriteError};

/// The rows of snapshots that were laid over each other, in the canonical order: of each key the row of the newest that has it,
/// and none of a key that is removed there.
///
/// ```text
/// heads = the next row of each snapshot, the newest snapshot first
/// repeat: the least key of all heads; its row is that of the first head that has it; go on behind it in all heads
/// ```
pub(crate) struct Merge<'a> {
    heads: Vec<Head<'a>>,
    rows_left: usize,
}

struct Head<'a> {
    rows: Iter<'a>,
    next: Option<Hashed<'a>>,
}

/// The hash of a key, the key, its row.
type Hashed<'a> = (u64, KeyRef<'a>, Row<'a>);

impl<'a> Merge<'a> {
    /// Of these snapshots, the newest first, which have `row_count` rows together.
    pub(crate) fn new(newest_first: impl Iterator<Item = &'a Snapshot>, row_count: u64) -> Self {
        let head = |snapshot| {
            let mut rows = Iter::new(snapshot);
            let next = rows.next_hashed();
            Head { rows, next }
        };
        Self {
            heads: newest_first.map(head).collect(),
            rows_left: row_count as usize,
        }
    }

    fn next_hashed(&mut self) -> Option<Hashed<'a>> {
        loop {
            let order = |hashed: &Hashed<'a>| (hashed.0, hashed.1);
            let heads = self.heads.iter().filter_map(|head| head.next.as_ref());
            // Of equal ones the first, which is the newest.
            let least = *heads.min_by_key(|hashed| order(hashed))?;
            for head in &mut self.heads {
                if head.next.as_ref().map(order) == Some(order(&least)) {
                    head.next = head.rows.next_hashed();
                }
            }
            if !least.2.is_removed() {
                self.rows_left = self.rows_left.saturating_sub(1);
                return Some(least);
            }
        }
    }

    /// Visits the rows as records in `layout`, which has no key.
    pub(crate) fn visit(
        mut self,
        layout: &RowLayout,
        visit: &mut dyn FnMut(Record<'_>) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        let mut words = vec![0_u64; layout.row_bytes() / 8];
        let mut heap = Vec::new();
        while let Some((hash, key, row)) = self.next_hashed() {
            words.fill(0);
            heap.clear();
            let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
            row.copy_to(layout, bytes, &mut heap);
            visit(Record {
                hash,
                known_at: None,
                is_removed: false,
                row: bytes,
                key: key.as_bytes(),
                heap: &heap,
                words: &[],
            })?;
        }
        Ok(())
    }
}

impl<'a> Iterator for Merge<'a> {
    type Item = (KeyRef<'a>, Row<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.next_hashed().map(|(_, key, row)| (key, row))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.rows_left, Some(self.rows_left))
    }
}

impl ExactSizeIterator for Merge<'_> {}
