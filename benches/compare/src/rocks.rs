use std::path::Path;

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBPinnableSlice, DataBlockIndexType, IteratorMode,
    KeyEncodingType, Options, PlainTableFactoryOptions, ReadOptions, SliceTransform, WriteBatch, WriteOptions,
};
use unskew_snapshot_benches::entity_id;

use crate::peer::{Peer, ROW_BYTES, Result, add_values, first_value, rows_by_key, stored_bytes};

const KEY_BYTES: usize = 8;
const COLUMN_FAMILY: &str = "default";
const BATCH_ROWS: usize = 10_000;
const BLOOM_BITS_PER_KEY: i32 = 10;
/// RocksDB's own recommendations for lookups of single keys.
const HASH_RATIO: f64 = 0.75;
const BLOCK_BYTES: usize = 4 << 10;

/// In the order of bytes, which is RocksDB's.
type Key = [u8; KEY_BYTES];

/// RocksDB with its usual tables.
pub struct Blocks(Rocks);

impl Peer for Blocks {
    const NAME: &'static str = "RocksDB, blocks";
    type Key = Key;

    fn load(row_count: u64, folder: &Path) -> Result<Self> {
        let cache_bytes = usize::try_from(row_count)? * ROW_BYTES * 4 + (64 << 20);
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_size(BLOCK_BYTES);
        blocks.set_block_cache(&Cache::new_hyper_clock_cache(cache_bytes, BLOCK_BYTES));
        blocks.set_bloom_filter(f64::from(BLOOM_BITS_PER_KEY), false);
        blocks.set_whole_key_filtering(true);
        blocks.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
        blocks.set_data_block_hash_ratio(HASH_RATIO);
        let mut options = Options::default();
        options.set_block_based_table_factory(&blocks);
        let rocks = Rocks::load(row_count, &folder.join("rocksdb-blocks"), options)?;
        // Every block into the cache.
        for row in rocks.database.iterator(IteratorMode::Start) {
            row?;
        }
        Ok(Self(rocks))
    }

    fn keys(rows: &[u64]) -> Vec<Self::Key> {
        rows.iter().map(|row| key(entity_id(*row))).collect()
    }

    #[inline(always)]
    fn get(&self, key: &Self::Key) -> Result<Option<u64>> {
        self.0.get(key)
    }

    #[inline(always)]
    fn get_many(&self, keys: &[Self::Key]) -> Result<(usize, u64)> {
        self.0.get_many(keys)
    }

    fn bytes(&self) -> Result<u64> {
        self.0.bytes()
    }
}

/// RocksDB with plain tables, which are made for files in memory.
pub struct Mapped(Rocks);

impl Peer for Mapped {
    const NAME: &'static str = "RocksDB, mmap";
    type Key = Key;

    fn load(row_count: u64, folder: &Path) -> Result<Self> {
        let mut options = Options::default();
        options.set_prefix_extractor(SliceTransform::create_fixed_prefix(KEY_BYTES));
        options.set_allow_mmap_reads(true);
        options.set_plain_table_factory(&PlainTableFactoryOptions {
            user_key_length: KEY_BYTES as u32,
            bloom_bits_per_key: BLOOM_BITS_PER_KEY,
            hash_table_ratio: HASH_RATIO,
            index_sparseness: 16,
            huge_page_tlb_size: 0,
            encoding_type: KeyEncodingType::Plain,
            full_scan_mode: false,
            store_index_in_file: false,
        });
        Ok(Self(Rocks::load(row_count, &folder.join("rocksdb-mmap"), options)?))
    }

    fn keys(rows: &[u64]) -> Vec<Self::Key> {
        Blocks::keys(rows)
    }

    #[inline(always)]
    fn get(&self, key: &Self::Key) -> Result<Option<u64>> {
        self.0.get(key)
    }

    /// One by one, for plain tables have no lookup of many that would be faster.
    #[inline(always)]
    fn get_many(&self, keys: &[Self::Key]) -> Result<(usize, u64)> {
        let (mut count, mut sum) = (0, 0);
        for key in keys {
            if let Some(stored) = self.0.stored(key)? {
                (count, sum) = (count + 1, add_values(sum, &stored));
            }
        }
        Ok((count, sum))
    }

    fn bytes(&self) -> Result<u64> {
        self.0.bytes()
    }
}

struct Rocks {
    database: DB,
    read: ReadOptions,
}

impl Rocks {
    /// Writes rows in order and compacts them into one level.
    fn load(row_count: u64, folder: &Path, mut options: Options) -> Result<Self> {
        options.create_if_missing(true);
        options.set_compression_type(rocksdb::DBCompressionType::None);
        // One file, where it may be that large.
        options.set_target_file_size_base(1 << 30);
        options.set_max_background_jobs(2);
        options.set_max_open_files(-1);
        let family = ColumnFamilyDescriptor::new(COLUMN_FAMILY, options.clone());
        let database = DB::open_cf_descriptors(&options, folder, [family])?;
        let mut write = WriteOptions::default();
        write.disable_wal(true);
        let rows = rows_by_key(row_count, key);
        for rows in rows.chunks(BATCH_ROWS) {
            let mut batch = WriteBatch::default();
            for (key, row) in rows {
                batch.put(key, stored_bytes(*row));
            }
            database.write_opt(batch, &write)?;
        }
        database.flush()?;
        database.compact_range(None::<&[u8]>, None::<&[u8]>);
        let mut read = ReadOptions::default();
        read.set_verify_checksums(false);
        Ok(Self { database, read })
    }

    #[inline(always)]
    fn get(&self, key: &Key) -> Result<Option<u64>> {
        Ok(self.stored(key)?.map(|stored| first_value(&stored)))
    }

    #[inline(always)]
    fn stored(&self, key: &Key) -> Result<Option<DBPinnableSlice<'_>>> {
        Ok(self.database.get_pinned_opt(key, &self.read)?)
    }

    #[inline(always)]
    fn get_many(&self, keys: &[Key]) -> Result<(usize, u64)> {
        let family = self
            .database
            .cf_handle(COLUMN_FAMILY)
            .ok_or("the column family is not open")?;
        let (mut count, mut sum) = (0, 0);
        for stored in self.database.batched_multi_get_cf_opt(&family, keys, false, &self.read) {
            if let Some(stored) = stored? {
                (count, sum) = (count + 1, add_values(sum, &stored));
            }
        }
        Ok((count, sum))
    }

    /// Of the tables' files.
    fn bytes(&self) -> Result<u64> {
        Ok(self.database.live_files()?.iter().map(|file| file.size as u64).sum())
    }
}

fn key(id: i64) -> Key {
    id.to_be_bytes()
}
