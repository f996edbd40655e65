#![expect(
    unsafe_code,
    reason = "opening an LMDB environment maps a file, which is unsafe by nature"
)]

use std::fs;
use std::path::Path;

use heed::byteorder::NativeEndian;
use heed::types::{Bytes, U64};
use heed::{CommitOrAbort, Database, Env, EnvOpenOptions, IntegerComparator, PutFlags, RoTxn, WithTls};
use unskew_snapshot_benches::entity_id;

use crate::peer::{Peer, ROW_BYTES, Result, add_values, first_value, rows_by_key, stored_bytes};

type Table = Database<'static, U64<NativeEndian>, Bytes, IntegerComparator>;

/// LMDB by heed. A transaction that stays open sees one version of the data and costs nothing for each lookup.
pub struct Lmdb {
    transaction: RoTxn<'static, WithTls>,
    table: Table,
    bytes: u64,
}

impl Peer for Lmdb {
    const NAME: &'static str = "LMDB";
    type Key = u64;

    fn load(row_count: u64, folder: &Path) -> Result<Self> {
        let folder = folder.join("lmdb");
        fs::create_dir(&folder)?;
        let mut options = EnvOpenOptions::new();
        // The most that the file may grow to; only what is used takes space.
        options.map_size(usize::try_from(row_count)? * ROW_BYTES * 4 + (64 << 20));
        // SAFETY: the file that is mapped must not be changed but by LMDB. It is in a folder of this process that nothing else
        // knows of, and it is opened once.
        let environment = unsafe { options.open(&folder)? };
        // Tables and transactions borrow it for as long as the process lives.
        let environment: &'static Env = Box::leak(Box::new(environment));
        let table = environment
            .create_databases_and_commit(environment.write_txn()?, |opener, transaction| {
                let options = opener.database_options().types::<U64<NativeEndian>, Bytes>();
                let table = options.key_comparator::<IntegerComparator>().create(transaction);
                table.map(CommitOrAbort::<_, ()>::Commit)
            })?
            .unwrap_commit();
        let mut transaction = environment.write_txn()?;
        for (key, row) in rows_by_key(row_count, i64::cast_unsigned) {
            table.put_with_flags(&mut transaction, PutFlags::APPEND, &key, &stored_bytes(row))?;
        }
        transaction.commit()?;
        Ok(Self {
            transaction: environment.read_txn()?,
            table,
            bytes: fs::metadata(folder.join("data.mdb"))?.len(),
        })
    }

    fn keys(rows: &[u64]) -> Vec<Self::Key> {
        rows.iter().map(|row| entity_id(*row).cast_unsigned()).collect()
    }

    #[inline(always)]
    fn get(&self, key: &Self::Key) -> Result<Option<u64>> {
        Ok(self.table.get(&self.transaction, key)?.map(first_value))
    }

    #[inline(always)]
    fn get_many(&self, keys: &[Self::Key]) -> Result<(usize, u64)> {
        let (mut count, mut sum) = (0, 0);
        for key in keys {
            if let Some(stored) = self.table.get(&self.transaction, key)? {
                (count, sum) = (count + 1, add_values(sum, stored));
            }
        }
        Ok((count, sum))
    }

    fn bytes(&self) -> Result<u64> {
        Ok(self.bytes)
    }
}
