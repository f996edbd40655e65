use std::path::Path;

use hashbrown::HashMap;
use unskew_snapshot_benches::entity_id;

use crate::peer::{Peer, Result, VALUE_WORDS, add_words, stored_words};

/// A map on the heap, as a service has it that loads its features into one.
pub struct HeapMap(HashMap<i64, [u64; VALUE_WORDS]>);

impl Peer for HeapMap {
    const NAME: &'static str = "hashbrown";
    type Key = i64;

    fn load(row_count: u64, _folder: &Path) -> Result<Self> {
        let mut map = HashMap::with_capacity(usize::try_from(row_count)?);
        map.extend((0..row_count).map(|row| (entity_id(row), stored_words(row))));
        Ok(Self(map))
    }

    fn keys(rows: &[u64]) -> Vec<Self::Key> {
        rows.iter().map(|row| entity_id(*row)).collect()
    }

    #[inline(always)]
    fn get(&self, key: &Self::Key) -> Result<Option<u64>> {
        Ok(self.0.get(key).map(|row| row[2]))
    }

    #[inline(always)]
    fn get_many(&self, keys: &[Self::Key]) -> Result<(usize, u64)> {
        let rows = keys.iter().filter_map(|key| self.0.get(key));
        Ok(rows.fold((0, 0), |(count, sum), row| (count + 1, add_words(sum, row))))
    }

    fn bytes(&self) -> Result<u64> {
        Ok(self.0.allocation_size() as u64)
    }
}
