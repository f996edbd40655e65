use core::fmt;
use core::num::NonZero;
use core::ops::Range;
use std::path::Path;

use crate::header::{Header, Section};
use crate::iter::Iter;
use crate::key::encoded_bytes;
use crate::lookup::Lookup;
use crate::map::Map;
use crate::open_options::{Backing, OpenOptions, OpenProgress, OpenStage, Residency};
use crate::parallel::Threads;
use crate::row::Row;
use crate::row_layout::{LONG_KEY, OCCUPIED, RowLayout, key_extent};
use crate::{HashedKey, KeyRef, OpenError, SnapshotMeta, SnapshotSchema, verify};

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
    pub(crate) residency: Residency,
}

/// Where the sections that lookups read are in the file.
pub(crate) struct Ranges {
    pub(crate) rows: Range<usize>,
    pub(crate) overflow: Range<usize>,
    pub(crate) keys: Range<usize>,
    pub(crate) heap: Range<usize>,
}

/// The slot of a row in its snapshot: below [`Snapshot::slot_count`], and not every slot has a row. Of [`Layers`](crate::Layers),
/// counted through all files from the base on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowIndex(u32);

impl RowIndex {
    pub(crate) const fn new(slot: u32) -> Self {
        Self(slot)
    }

    /// The number.
    pub const fn as_u32(self) -> u32 {
        self.0
    }
}

impl Snapshot {
    /// Maps a file and checks all of it: header, lengths, checksums of every block, metadata, and that every row is valid and
    /// found under its key. Reads the whole file once, with all cores.
    ///
    /// The file must not be changed afterwards, and must not be shortened: that raises SIGBUS at the next read.
    /// [`Backing::Private`] does without.
    ///
    /// # Errors
    /// The file cannot be read, or is not a whole snapshot of a version that this code reads.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_with(path, &OpenOptions::default(), &mut |_| {})
    }

    /// The same as told by `options`; tells `progress` after every few megabytes how far it is.
    ///
    /// # Errors
    /// As [`open`](Self::open); and there is no memory for a private copy.
    pub fn open_with(
        path: &Path,
        options: &OpenOptions,
        progress: &mut dyn FnMut(OpenProgress),
    ) -> Result<Self, OpenError> {
        let map = match options.backing {
            Backing::File => Map::open(path)?,
            Backing::Private => Map::copy(path, Threads::new(options.threads), &mut |bytes_done, bytes_total| {
                progress(OpenProgress {
                    stage: OpenStage::Copying,
                    bytes_done,
                    bytes_total,
                });
            })?,
        };
        verify::verify(map, options, progress).map_err(|flaw| flaw.in_file(path))
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
        let options = OpenOptions {
            backing: Backing::Private,
            threads: Some(NonZero::<usize>::MIN),
            ..OpenOptions::default()
        };
        verify::verify(Map::from_bytes(&bytes), &options, &mut |_| {}).map_err(|flaw| flaw.in_file(path))
    }

    /// The row of a key, if there is one: a memory miss where the table is larger than the caches, as all places where the row
    /// may be are asked for at once. The key itself is compared.
    #[inline]
    pub fn get(&self, key: KeyRef<'_>) -> Option<Row<'_>> {
        self.get_hashed(key.into())
    }

    /// The same where the hash of the key is known.
    #[inline]
    pub fn get_hashed(&self, key: HashedKey<'_>) -> Option<Row<'_>> {
        let slot = Lookup::new(self).find_prefetched(key)?;
        Some(Row::new(self, RowIndex(slot), self.row_bytes(slot)))
    }

    /// The rows of many keys: clears `rows` and fills it with one entry a key, in order. Allocates only when `rows` grows
    /// beyond its capacity.
    ///
    /// The misses of all keys overlap, and the rows that were found are on their way to the cache when it returns.
    pub fn get_many(&self, keys: &[KeyRef<'_>], rows: &mut Vec<Option<RowIndex>>) {
        rows.clear();
        rows.resize(keys.len(), None);
        Lookup::new(self).find_many(keys, rows);
    }

    /// The same of keys whose hashes are known, into as many `rows` as there are keys.
    ///
    /// # Panics
    /// The lengths differ.
    pub fn get_into(&self, keys: &[HashedKey<'_>], rows: &mut [Option<RowIndex>]) {
        assert!(keys.len() == rows.len(), "{} keys for {} rows", keys.len(), rows.len());
        Lookup::new(self).find_many(keys, rows);
    }

    /// Asks for the place where the row of a key most likely is, and waits for nothing: lookups in several snapshots overlap
    /// where all their keys are asked for first. A few dozen at a time, for the nearest cache holds no more.
    #[inline]
    pub fn prefetch(&self, key: KeyRef<'_>) {
        Lookup::new(self).prefetch_home(key.hash());
    }

    /// The same where the hash of the key is known.
    #[inline]
    pub fn prefetch_hashed(&self, key: HashedKey<'_>) {
        Lookup::new(self).prefetch_home(key.hash());
    }

    /// The row of an index that this snapshot gave.
    ///
    /// # Panics
    /// If the index is another snapshot's and there is no such row here.
    #[inline]
    pub fn row(&self, index: RowIndex) -> Row<'_> {
        let slot_count = self.slot_count();
        assert!(u64::from(index.0) < slot_count, "slot {} of {slot_count}", index.0);
        Row::new(self, index, self.row_bytes(index.0))
    }

    /// Every key and its row in the canonical order: by key hash, then by key bytes. Two snapshots merge linearly in it. Sorts
    /// the rows of one group of about 16,384 after the other. Of a delta it gives the keys that it removes, too: [`Row::is_removed`].
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (KeyRef<'_>, Row<'_>)> {
        Iter::new(self)
    }

    /// The rows; of a delta the keys that it removes, too.
    pub fn len(&self) -> usize {
        self.header.shape.row_count as usize
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.header.shape.row_count == 0
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

    /// The places for rows, a little more than rows.
    pub fn slot_count(&self) -> u64 {
        self.header.shape.slot_count()
    }

    /// The width of a row with its key.
    pub fn row_bytes_each(&self) -> u32 {
        self.header.shape.row_bytes
    }

    /// What became of the memory that the snapshot is in.
    pub fn residency(&self) -> &Residency {
        &self.residency
    }

    /// All rows, in the order of their slots.
    pub(crate) fn rows_in_any_order(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.slot_count() as u32).filter_map(|slot| {
            let row = self.row_bytes(slot);
            let is_occupied = self.layout.flags(row) & OCCUPIED != 0;
            is_occupied.then(|| Row::new(self, RowIndex(slot), row))
        })
    }

    /// The slot of a key.
    pub(crate) fn find(&self, key: KeyRef<'_>, hash: u64) -> Option<u32> {
        Lookup::new(self).find(key, hash)
    }

    #[inline]
    pub(crate) fn row_bytes(&self, slot: u32) -> &[u8] {
        let row_bytes = self.layout.row_bytes();
        let start = slot as usize * row_bytes;
        self.rows().get(start..start + row_bytes).unwrap_or(&[])
    }

    /// The key of a row that has one.
    #[inline]
    pub(crate) fn key_bytes<'a>(&'a self, row: &'a [u8]) -> &'a [u8] {
        if self.layout.flags(row) & LONG_KEY != 0 {
            return key_extent(row).slice(self.section(&self.ranges.keys));
        }
        let slot = self.layout.key_slot(row);
        &slot[..encoded_bytes(slot, self.meta.schema.key.len())]
    }

    #[inline]
    pub(crate) fn rows(&self) -> &[u8] {
        self.section(&self.ranges.rows)
    }

    /// The hashes of the overflow rows, in order.
    pub(crate) fn overflow_hashes(&self) -> &[u64] {
        bytemuck::try_cast_slice(self.section(&self.ranges.overflow)).unwrap_or(&[])
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
            rows: range(Section::Rows),
            overflow: range(Section::Overflow),
            keys: range(Section::Keys),
            heap: range(Section::Heap),
        }
    }
}

#[cfg(test)]
mod tests;
