use std::fs;
use std::path::Path;

use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition};
use unskew_snapshot_benches::entity_id;

use crate::peer::{Peer, ROW_BYTES, Result, VALUE_BYTES, add_values, first_value, rows_by_key, stored_bytes};

type Stored = &'static [u8; VALUE_BYTES];

const TABLE: TableDefinition<'_, u64, Stored> = TableDefinition::new("rows");

/// redb, its cache warm and with room for everything.
pub struct Redb {
    table: ReadOnlyTable<u64, Stored>,
    /// Closes when it is dropped.
    _database: Database,
    bytes: u64,
}

impl Peer for Redb {
    const NAME: &'static str = "redb";
    type Key = u64;

    fn load(row_count: u64, folder: &Path) -> Result<Self> {
        let path = folder.join("rows.redb");
        let cache_bytes = usize::try_from(row_count)? * ROW_BYTES * 4 + (64 << 20);
        let mut database = Database::builder().set_cache_size(cache_bytes).create(&path)?;
        let transaction = database.begin_write()?;
        let mut table = transaction.open_table(TABLE)?;
        for (key, row) in rows_by_key(row_count, i64::cast_unsigned) {
            table.insert(key, &stored_bytes(row))?;
        }
        drop(table);
        transaction.commit()?;
        database.compact()?;
        let table = database.begin_read()?.open_table(TABLE)?;
        for row in table.iter()? {
            row?;
        }
        Ok(Self {
            table,
            _database: database,
            bytes: fs::metadata(&path)?.len(),
        })
    }

    fn keys(rows: &[u64]) -> Vec<Self::Key> {
        rows.iter().map(|row| entity_id(*row).cast_unsigned()).collect()
    }

    #[inline(always)]
    fn get(&self, key: &Self::Key) -> Result<Option<u64>> {
        Ok(self.table.get(*key)?.map(|stored| first_value(stored.value())))
    }

    #[inline(always)]
    fn get_many(&self, keys: &[Self::Key]) -> Result<(usize, u64)> {
        let (mut count, mut sum) = (0, 0);
        for key in keys {
            if let Some(stored) = self.table.get(*key)? {
                (count, sum) = (count + 1, add_values(sum, stored.value()));
            }
        }
        Ok((count, sum))
    }

    fn bytes(&self) -> Result<u64> {
        Ok(self.bytes)
    }
}
