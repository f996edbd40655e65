use core::fmt;
use core::ops::Range;
use std::path::Path;

use crate::header::{Header, Section};
use crate::map::Map;
use crate::row::Row;
use crate::row_layout::{RowLayout, key_extent};
use crate::{KeyRef, OpenError, SnapshotMeta, SnapshotSchema, verify};

/// Keys that [`Snapshot::get_many`] takes through a stage at a time: enough misses in flight for any machine.
const BATCH_KEYS: usize = 64;

/// An immutable file of one feature view's rows as of a watermark, mapped into memory and checked through.
///
/// Reading allocates nothing, takes no lock and makes no system call. A snapshot is `Send` and `Sync`; dropping the last
/// owner unmaps the file, which takes time in proportion to its size.
///
/// ```
/// use unskew_frame::{ColumnType, Value};
/// use unskew_snapshot::{
///     EntityKey, EventTime, FeatureColumn, KeyColumn, KeyPart, KeyType, Snapshot, SnapshotSchema, SnapshotWriter,
///     WriteOptions,
/// };
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("users.snapshot");
/// let schema = SnapshotSchema {
///     view: "users".into(),
///     key: vec![KeyColumn::new("user_id", KeyType::I64)],
///     features: vec![FeatureColumn::new("ctr", ColumnType::F64)],
///     ttl: None,
/// };
/// let known = EntityKey::new(&[KeyPart::I64(7)])?;
/// let unknown = EntityKey::new(&[KeyPart::I64(8)])?;
///
/// let mut writer = SnapshotWriter::create(&path, WriteOptions::new(schema, EventTime(100)))?;
/// writer.push(known.as_ref(), EventTime(90), None, &[Value::F64(0.25)])?;
/// writer.finish()?;
///
/// let snapshot = Snapshot::open(&path)?;
/// assert_eq!(snapshot.get(known.as_ref()).unwrap().f64(0), 0.25);
/// let mut rows = Vec::new();
/// snapshot.get_many(&[unknown.as_ref(), known.as_ref()], &mut rows);
/// assert!(rows[0].is_none() && rows[1].is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Snapshot {
    pub(crate) map: Map,
    pub(crate) header: Header,
    pub(crate) layout: RowLayout,
    pub(crate) meta: SnapshotMeta,
    pub(crate) ranges: Ranges,
}

/// Where the sections that lookups read are in the file.
pub(crate) struct Ranges {
    pub(crate) directory: Range<usize>,
    pub(crate) hashes: Range<usize>,
    pub(crate) rows: Range<usize>,
    pub(crate) keys: Range<usize>,
    pub(crate) heap: Range<usize>,
}

/// The number of a row in its snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowIndex(u32);

impl RowIndex {
    /// The number.
    pub const fn as_u32(self) -> u32 {
        self.0
    }
}

impl Snapshot {
    /// Maps a file and checks all of it: header, lengths, checksums of every block, metadata, order of the hashes, and every
    /// key and value. Reads the whole file once.
    ///
    /// The file must not be changed afterwards, and must not be shortened: that raises SIGBUS at the next read.
    ///
    /// # Errors
    /// The file cannot be read, or is not a whole snapshot of a version that this code reads.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let map = Map::open(path)?;
        verify::verify(map).map_err(|flaw| flaw.in_file(path))
    }

    /// The same of bytes in memory, which are copied once to align them.
    ///
    /// # Errors
    /// The bytes are not a whole snapshot of a version that this code reads.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, OpenError> {
        let path = Path::new("(in memory)");
        if bytes.is_empty() {
            return Err(OpenError::Empty { path: path.into() });
        }
        verify::verify(Map::from_bytes(&bytes)).map_err(|flaw| flaw.in_file(path))
    }

    /// The row of a key. A directory read, a search among the hashes of the bucket (4 to 8 on average), and the key itself
    /// compared.
    #[inline]
    pub fn get(&self, key: KeyRef<'_>) -> Option<Row<'_>> {
        let hash = key.hash();
        let index = self.first_candidate(hash, self.bucket(hash))?;
        self.verified(hash, key, index).map(|index| self.row(index))
    }

    /// The rows of many keys: clears `rows` and fills it with one entry a key, in order. Allocates only when `rows` grows
    /// beyond its capacity.
    ///
    /// Each stage of the lookup is done for a batch of keys before the next, so that their memory misses overlap.
    pub fn get_many(&self, keys: &[KeyRef<'_>], rows: &mut Vec<Option<RowIndex>>) {
        rows.clear();
        rows.reserve(keys.len());
        for keys in keys.chunks(BATCH_KEYS) {
            let mut hashes = [0; BATCH_KEYS];
            let mut buckets = [const { 0..0 }; BATCH_KEYS];
            let mut candidates = [None; BATCH_KEYS];
            for (hash, key) in hashes.iter_mut().zip(keys) {
                *hash = key.hash();
            }
            for (bucket, hash) in buckets.iter_mut().zip(&hashes[..keys.len()]) {
                *bucket = self.bucket(*hash);
            }
            for (index, bucket) in buckets[..keys.len()].iter().enumerate() {
                candidates[index] = self.first_candidate(hashes[index], bucket.clone());
            }
            rows.extend(
                keys.iter()
                    .zip(hashes.iter().zip(candidates))
                    .map(|(key, (hash, candidate))| self.verified(*hash, *key, candidate?)),
            );
        }
    }

    /// The row of an index that this snapshot gave.
    ///
    /// # Panics
    /// If the index is another snapshot's and there is no such row here.
    #[inline]
    pub fn row(&self, index: RowIndex) -> Row<'_> {
        assert!(
            u64::from(index.0) < self.header.row_count,
            "row {} of {}",
            index.0,
            self.header.row_count
        );
        Row::new(self, index, self.row_bytes(index.0))
    }

    /// Every key and its row in the canonical order: by key hash, then by key bytes. Two snapshots merge linearly in it.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (KeyRef<'_>, Row<'_>)> {
        (0..self.header.row_count as u32).map(|index| {
            let row = self.row(RowIndex(index));
            (row.key(), row)
        })
    }

    /// The rows.
    pub fn len(&self) -> usize {
        self.header.row_count as usize
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.header.row_count == 0
    }

    /// What the snapshot says about itself.
    pub fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    /// What the snapshot is of.
    pub fn schema(&self) -> &SnapshotSchema {
        &self.meta.schema
    }

    /// The length of the file.
    pub fn file_bytes(&self) -> u64 {
        self.header.file_bytes()
    }

    /// The rows whose hashes share their top bits with `hash`.
    #[inline]
    fn bucket(&self, hash: u64) -> Range<usize> {
        let directory = self.directory();
        let bucket = bucket_of(hash, self.header.bucket_bits);
        match directory.get(bucket..).and_then(|rest| rest.first_chunk()) {
            Some([start, end]) => *start as usize..*end as usize,
            None => 0..0,
        }
    }

    /// The first row of the bucket with this hash.
    #[inline]
    fn first_candidate(&self, hash: u64, bucket: Range<usize>) -> Option<u32> {
        let start = bucket.start;
        let hashes = self.hashes().get(bucket)?;
        let index = hashes.partition_point(|stored| *stored < hash);
        (hashes.get(index) == Some(&hash)).then_some((start + index) as u32)
    }

    /// The row of this key among those of its hash, which begin at `first`.
    #[inline]
    fn verified(&self, hash: u64, key: KeyRef<'_>, first: u32) -> Option<RowIndex> {
        let same_hash = self.hashes().get(first as usize..)?;
        for (index, _) in (first..).zip(same_hash.iter().take_while(|stored| **stored == hash)) {
            if self.key_bytes(self.row_bytes(index)) == key.as_bytes() {
                return Some(RowIndex(index));
            }
        }
        None
    }

    #[inline]
    fn row_bytes(&self, index: u32) -> &[u8] {
        let row_bytes = self.layout.row_bytes();
        let start = index as usize * row_bytes;
        let rows = self.section(&self.ranges.rows);
        rows.get(start..start + row_bytes).unwrap_or(&[])
    }

    #[inline]
    pub(crate) fn key_bytes(&self, row: &[u8]) -> &[u8] {
        key_extent(row).slice(self.section(&self.ranges.keys))
    }

    #[inline]
    pub(crate) fn directory(&self) -> &[u32] {
        bytemuck::try_cast_slice(self.section(&self.ranges.directory)).unwrap_or(&[])
    }

    #[inline]
    pub(crate) fn hashes(&self) -> &[u64] {
        bytemuck::try_cast_slice(self.section(&self.ranges.hashes)).unwrap_or(&[])
    }

    #[inline]
    pub(crate) fn heap(&self) -> &[u8] {
        self.section(&self.ranges.heap)
    }

    #[inline]
    pub(crate) fn section(&self, range: &Range<usize>) -> &[u8] {
        self.map.bytes().get(range.clone()).unwrap_or(&[])
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("meta", &self.meta)
            .field("file_bytes", &self.file_bytes())
            .finish_non_exhaustive()
    }
}

impl Ranges {
    pub(crate) fn new(header: &Header) -> Self {
        let range = |section| {
            let range = header.range(section);
            range.start as usize..range.end as usize
        };
        Self {
            directory: range(Section::Directory),
            hashes: range(Section::Hashes),
            rows: range(Section::Rows),
            keys: range(Section::Keys),
            heap: range(Section::Heap),
        }
    }
}

/// The top `bucket_bits` of a hash; in two shifts, for one of 64 is none.
#[inline]
pub(crate) const fn bucket_of(hash: u64, bucket_bits: u32) -> usize {
    (hash >> 1 >> (63 - bucket_bits)) as usize
}

#[cfg(test)]
mod tests;
