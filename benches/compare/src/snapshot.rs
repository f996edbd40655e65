use std::path::Path;

use unskew_snapshot::{KeyRef, RowIndex, Snapshot};
use unskew_snapshot_benches::{EncodedKeys, KeyKind, Pages, huge_bytes, open_snapshot, write_snapshot};

use crate::peer::{BATCH_KEYS, Peer, Result, SHAPE};

/// Ours: a snapshot, in a private copy on huge pages.
pub struct SnapshotFile {
    snapshot: Snapshot,
    pages: Pages,
}

impl Peer for SnapshotFile {
    const NAME: &'static str = "unskew";
    type Key = KeyRef<'static>;

    fn load(row_count: u64, folder: &Path) -> Result<Self> {
        let path = folder.join("rows.snapshot");
        let keys = EncodedKeys::new(KeyKind::I64, 0..row_count);
        write_snapshot(&path, SHAPE, &keys, || {})?;
        let huge_before = huge_bytes();
        let snapshot = open_snapshot(&path, Pages::Huge)?;
        Ok(Self {
            pages: Pages::found(huge_before, snapshot.file_bytes()),
            snapshot,
        })
    }

    fn keys(rows: &[u64]) -> Vec<Self::Key> {
        let keys = EncodedKeys::new(KeyKind::I64, rows.iter().copied());
        Box::leak(Box::new(keys)).iter().collect()
    }

    #[inline(always)]
    fn get(&self, key: &Self::Key) -> Result<Option<u64>> {
        Ok(self.snapshot.get(*key).map(|row| row.f64(0).to_bits()))
    }

    #[inline(always)]
    fn get_many(&self, keys: &[Self::Key]) -> Result<(usize, u64)> {
        let mut rows: Vec<Option<RowIndex>> = Vec::with_capacity(BATCH_KEYS);
        self.snapshot.get_many(keys, &mut rows);
        let (mut count, mut sum) = (0, 0_u64);
        for index in rows.into_iter().flatten() {
            let row = self.snapshot.row(index);
            count += 1;
            let features = 0..SHAPE.feature_count();
            sum = features.fold(sum, |sum, feature| sum.wrapping_add(row.f64(feature).to_bits()));
        }
        Ok((count, sum))
    }

    fn bytes(&self) -> Result<u64> {
        Ok(self.snapshot.file_bytes())
    }

    fn pages(&self) -> Pages {
        self.pages
    }
}
