mod difference;
mod error;

use core::fmt;
use std::path::Path;
use std::sync::Arc;

pub use self::difference::DeltaError;
use self::error::check_same;
pub use self::error::{LayerError, LayerFlaw};
use crate::file::NewFile;
use crate::filter::Filter;
use crate::merge::Merge;
use crate::output::{self, SortedRows, Source};
use crate::row_layout::RowLayout;
use crate::spill::SpillDirectory;
use crate::{
    DeltaOf, EventTime, HashedKey, KeyRef, LateEvents, MAX_DELTAS, Row, RowIndex, SchemaError, Snapshot, SnapshotMeta,
    SnapshotSchema, WriteError, WriteOptions, WriteProgress, Written,
};

/// The keys of a batch whose rows may be in a delta are asked for before one of them is read.
const BATCH_KEYS: usize = 128;

/// A snapshot and the deltas on it, read as one: of each key the row of the newest file that has it.
///
/// A lookup of a key that no delta has pays a word of a filter that is made here, of about 13 bits a changed key, and is the base's
/// from there on. One of a key that has changed is that of a small snapshot. Without deltas it is the base's.
///
/// ```
/// use std::sync::Arc;
/// use unskew_frame::{ColumnType, Value};
/// use unskew_snapshot::{
///     DeltaOf, EntityKey, EventTime, FeatureColumn, KeyColumn, KeyPart, KeyType, Layer, Layers, Snapshot,
///     SnapshotSchema, SnapshotWriter, WriteOptions,
/// };
///
/// let folder = tempfile::tempdir()?;
/// let schema = SnapshotSchema {
///     view: "users".into(),
///     key: vec![KeyColumn::new("user_id", KeyType::I64)],
///     features: vec![FeatureColumn::new("ctr", ColumnType::F64)],
///     ttl: None,
/// };
/// let [a, b] = [7, 8].map(|id| EntityKey::new(&[KeyPart::I64(id)]).unwrap());
/// let path = folder.path().join("monday.snapshot");
/// let mut writer = SnapshotWriter::create(&path, WriteOptions::new(schema.clone(), EventTime(100)))?;
/// writer.push(a.as_ref(), EventTime(90), None, &[Value::F64(0.25)])?;
/// writer.push(b.as_ref(), EventTime(90), None, &[Value::F64(0.5)])?;
/// writer.finish()?;
/// // The SHA-256 of the file.
/// let digest = [1; 32];
/// let base = Layer::new(Arc::new(Snapshot::open(&path)?), digest);
///
/// let path = folder.path().join("tuesday.delta");
/// let mut options = WriteOptions::new(schema, EventTime(200));
/// options.delta = Some(DeltaOf::first(digest));
/// let mut writer = SnapshotWriter::create(&path, options)?;
/// writer.push(a.as_ref(), EventTime(150), None, &[Value::F64(0.75)])?;
/// writer.push_removed(b.as_ref())?;
/// writer.finish()?;
///
/// let layers = Layers::new(base, vec![Layer::new(Arc::new(Snapshot::open(&path)?), [2; 32])])?;
/// assert_eq!(layers.get(a.as_ref()).unwrap().f64(0), 0.75);
/// assert!(layers.get(b.as_ref()).is_none());
/// assert_eq!((layers.len(), layers.watermark()), (1, EventTime(200)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Layers {
    base: Layer,
    /// Whether the digest of the base is known.
    is_named: bool,
    /// In the order of their numbers, the newest last.
    deltas: Box<[Delta]>,
    /// The keys of all deltas.
    changed: Filter,
    row_count: u64,
}

/// A snapshot and the SHA-256 of its file, by which deltas name it.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The snapshot.
    pub snapshot: Arc<Snapshot>,
    /// Of the whole file.
    pub digest: [u8; 32],
}

impl Layer {
    /// The snapshot of a file with this digest.
    pub const fn new(snapshot: Arc<Snapshot>, digest: [u8; 32]) -> Self {
        Self { snapshot, digest }
    }
}

struct Delta {
    layer: Layer,
    /// The index of its first slot, counted through all layers.
    first_slot: u32,
    /// Its keys.
    filter: Filter,
}

impl Layers {
    /// Lays deltas over their base, in the order of their numbers. Reads the keys of the deltas once and looks them up in what is
    /// below.
    ///
    /// # Errors
    /// One of the files does not follow the one before: [`LayerError`].
    pub fn new(base: Layer, deltas: Vec<Layer>) -> Result<Self, LayerError> {
        if base.snapshot.meta().delta.is_some() {
            return Err(LayerError::new(0, LayerFlaw::NotABase));
        }
        let key_count = deltas.iter().map(|delta| delta.snapshot.len() as u64).sum();
        let mut layers = Self {
            row_count: base.snapshot.len() as u64,
            base,
            is_named: true,
            deltas: Box::default(),
            changed: Filter::for_keys(key_count),
        };
        for (number, layer) in (1..).zip(deltas) {
            layers
                .check_next(&layer.snapshot, number)
                .map_err(|flaw| LayerError::new(number, flaw))?;
            layers.push(layer).map_err(|flaw| LayerError::new(number, flaw))?;
        }
        Ok(layers)
    }

    /// A snapshot without deltas whose digest nobody knows, so that none follows it.
    ///
    /// # Errors
    /// It is a delta.
    pub fn of(snapshot: Arc<Snapshot>) -> Result<Self, LayerError> {
        let mut layers = Self::new(Layer::new(snapshot, [0; 32]), Vec::new())?;
        layers.is_named = false;
        Ok(layers)
    }

    /// What the next delta is of; `None` where there is none after [`MAX_DELTAS`], and of a snapshot without a digest.
    pub fn next_delta(&self) -> Option<DeltaOf> {
        if !self.is_named {
            return None;
        }
        match self.deltas.last() {
            None => Some(DeltaOf::first(self.base.digest)),
            Some(_) if self.deltas.len() == MAX_DELTAS => None,
            Some(last) => Some(DeltaOf {
                base: self.base.digest,
                previous: last.layer.digest,
                number: self.deltas.len() as u32 + 1,
            }),
        }
    }

    /// The row of a key, if there is one.
    #[inline]
    pub fn get(&self, key: KeyRef<'_>) -> Option<Row<'_>> {
        self.get_hashed(key.into())
    }

    /// The same where the hash of the key is known.
    #[inline]
    pub fn get_hashed(&self, key: HashedKey<'_>) -> Option<Row<'_>> {
        if !self.deltas.is_empty() && self.changed.may_have(key.hash()) {
            return self.find_changed(key).map(|index| self.row(index));
        }
        self.base.snapshot.get_hashed(key)
    }

    /// The index of the row of a key, for [`row`](Self::row).
    #[inline]
    pub fn find(&self, key: HashedKey<'_>) -> Option<RowIndex> {
        if !self.deltas.is_empty() && self.changed.may_have(key.hash()) {
            return self.find_changed(key);
        }
        Some(self.base.snapshot.get_hashed(key)?.index())
    }

    /// The rows of many keys, into as many `rows`: see [`Snapshot::get_into`].
    ///
    /// # Panics
    /// The lengths differ.
    pub fn get_into(&self, keys: &[HashedKey<'_>], rows: &mut [Option<RowIndex>]) {
        self.base.snapshot.get_into(keys, rows);
        if !self.deltas.is_empty() {
            for (keys, rows) in keys.chunks(BATCH_KEYS).zip(rows.chunks_mut(BATCH_KEYS)) {
                self.get_changed(keys, rows);
            }
        }
    }

    /// Asks for the place where the row of a key most likely is, and waits for nothing: see [`Snapshot::prefetch`].
    #[inline]
    pub fn prefetch(&self, key: HashedKey<'_>) {
        if !self.deltas.is_empty() && self.changed.may_have(key.hash()) {
            self.prefetch_changed(key);
            return;
        }
        self.base.snapshot.prefetch_hashed(key);
    }

    /// The row of an index that these layers gave.
    ///
    /// # Panics
    /// If the index is another's and there is no such row here.
    #[inline]
    pub fn row(&self, index: RowIndex) -> Row<'_> {
        match self.deltas.first() {
            Some(first) if first.first_slot <= index.as_u32() => self.row_of_delta(index),
            _ => self.base.snapshot.row(index),
        }
    }

    /// Every key and its row in the canonical order: see [`Snapshot::iter`]. One pass over all files.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (KeyRef<'_>, Row<'_>)> {
        self.merge()
    }

    /// The base.
    pub fn base(&self) -> &Layer {
        &self.base
    }

    /// The deltas, in the order of their numbers.
    pub fn deltas(&self) -> impl DoubleEndedIterator<Item = &Layer> + ExactSizeIterator {
        self.deltas.iter().map(|delta| &delta.layer)
    }

    /// What the newest file says about itself; its numbers of rows and its statistics are its own.
    pub fn newest(&self) -> &SnapshotMeta {
        let newest = self.deltas.last().map_or(&self.base, |delta| &delta.layer);
        newest.snapshot.meta()
    }

    /// What all files together leave out, if their view declares a lateness.
    pub fn late(&self) -> Option<LateEvents> {
        let files = [&self.base].into_iter().chain(self.deltas());
        let counts = files.filter_map(|layer| layer.snapshot.meta().late.map(|late| late.count));
        let count = counts.fold(0, u64::saturating_add);
        self.newest().late.map(|late| LateEvents { count, ..late })
    }

    /// The time as of which the rows are.
    pub fn watermark(&self) -> EventTime {
        self.newest().watermark
    }

    /// What all files are of.
    pub fn schema(&self) -> &SnapshotSchema {
        self.base.snapshot.schema()
    }

    /// The rows: one of each key.
    pub fn len(&self) -> usize {
        self.row_count as usize
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.row_count == 0
    }

    /// The memory of the filters.
    pub fn filter_bytes(&self) -> usize {
        let of_deltas: usize = self.deltas.iter().map(|delta| delta.filter.bytes()).sum();
        self.changed.bytes() + of_deltas
    }

    /// Writes the rows as one snapshot to `path`, with the bytes that a snapshot of these rows as of this watermark has. One pass to
    /// count, one to write; takes memory for a group of rows of each file.
    ///
    /// # Errors
    /// See [`WriteError`]. Nothing is left at `path` that was not there before.
    pub fn compact(&self, path: &Path, progress: &mut dyn FnMut(WriteProgress)) -> Result<Written, WriteError> {
        let file = NewFile::create(path)?;
        let output = self
            .write(
                SpillDirectory::beside(path, None),
                &mut file.file(),
                output::MAX_GROUP_BYTES,
                progress,
            )
            .map_err(|error| error.in_file(file.temporary_path()))?;
        Ok(Written {
            path: file.place()?,
            row_count: output.row_count,
            file_bytes: output.file_bytes,
            ties: output.ties,
            late: self.late(),
        })
    }

    /// What [`compact`](Self::compact) writes.
    pub(crate) fn write(
        &self,
        directory: SpillDirectory,
        out: &mut (impl std::io::Write + std::io::Seek),
        max_group_bytes: u64,
        progress: &mut dyn FnMut(WriteProgress),
    ) -> Result<output::Output, WriteError> {
        let newest = self.newest();
        let options = WriteOptions {
            module_digest: newest.module_digest,
            state_version: newest.state_version,
            late: self.late(),
            ..WriteOptions::new(newest.schema.clone(), newest.watermark)
        };
        let layout = RowLayout::new(&options.schema.features, 0).ok_or(SchemaError::RowBytes)?;
        let mut source = Source {
            options: &options,
            layout: &layout,
            rows: SortedRows::Merged(self),
            directory: &directory,
            max_group_bytes,
        };
        output::write_snapshot(out, &mut source, progress)
    }

    pub(crate) fn merge(&self) -> Merge<'_> {
        let newest_first = self.deltas().rev().chain([&self.base]);
        Merge::new(newest_first.map(|layer| &*layer.snapshot), self.row_count)
    }

    /// Whether a snapshot is the delta that comes next.
    fn check_next(&self, next: &Snapshot, number: usize) -> Result<(), LayerFlaw> {
        let meta = next.meta();
        let of = meta.delta.ok_or(LayerFlaw::NotADelta)?;
        if of.base != self.base.digest {
            return Err(LayerFlaw::OtherBase {
                named: of.base,
                base: self.base.digest,
            });
        }
        let follows = self.next_delta().ok_or(LayerFlaw::TooMany)?;
        if of.number != follows.number || of.previous != follows.previous {
            return Err(LayerFlaw::Order {
                found: of.number,
                expected: number,
                named: of.previous,
                previous: follows.previous,
            });
        }
        check_same(self.newest(), meta)
    }

    /// Takes a delta that was checked.
    fn push(&mut self, layer: Layer) -> Result<(), LayerFlaw> {
        let before: u64 =
            self.base.snapshot.slot_count() + self.deltas().map(|delta| delta.snapshot.slot_count()).sum::<u64>();
        // The greatest index means that a row is in no file.
        if before + layer.snapshot.slot_count() >= u64::from(u32::MAX) {
            return Err(LayerFlaw::TooLarge);
        }
        let mut filter = Filter::for_keys(layer.snapshot.len() as u64);
        for row in layer.snapshot.rows_in_any_order() {
            let key = HashedKey::from(row.key());
            let was_there = self.find(key).is_some();
            self.row_count -= u64::from(was_there && row.is_removed());
            self.row_count += u64::from(!was_there && !row.is_removed());
            filter.add(key.hash());
        }
        // Behind the lookups, which are of what is below.
        for row in layer.snapshot.rows_in_any_order() {
            self.changed.add(row.key().hash());
        }
        let delta = Delta {
            layer: layer.clone(),
            first_slot: before as u32,
            filter,
        };
        self.deltas = core::mem::take(&mut self.deltas).into_iter().chain([delta]).collect();
        Ok(())
    }

    /// The deltas that may have a key, the newest first.
    #[inline]
    fn candidates(&self, hash: u64) -> impl Iterator<Item = &Delta> {
        // With one delta its keys are those that passed already.
        let is_only = self.deltas.len() == 1;
        let newest_first = self.deltas.iter().rev();
        newest_first.filter(move |delta| is_only || delta.filter.may_have(hash))
    }

    /// The row of a key that a delta may have.
    #[inline(never)]
    fn find_changed(&self, key: HashedKey<'_>) -> Option<RowIndex> {
        self.find_in_deltas(key)
            .unwrap_or_else(|| Some(self.base.snapshot.get_hashed(key)?.index()))
    }

    /// What the newest delta that has a key says of it; `None` where none has it.
    #[inline]
    fn find_in_deltas(&self, key: HashedKey<'_>) -> Option<Option<RowIndex>> {
        self.candidates(key.hash()).find_map(|delta| {
            let row = delta.layer.snapshot.get_hashed(key)?;
            let index = RowIndex::new(delta.first_slot + row.index().as_u32());
            Some((!row.is_removed()).then_some(index))
        })
    }

    /// Puts what the deltas have of a batch in the place of what the base has. All that may be in one is asked for first.
    #[inline(never)]
    fn get_changed(&self, keys: &[HashedKey<'_>], rows: &mut [Option<RowIndex>]) {
        let mut passed = [0_u8; BATCH_KEYS];
        let mut passed_count = 0;
        for (number, key) in keys.iter().enumerate() {
            // No branch: which keys pass cannot be guessed where many do.
            passed[passed_count] = number as u8;
            passed_count += usize::from(self.changed.may_have(key.hash()));
        }
        let passed = &passed[..passed_count];
        for number in passed {
            self.prefetch_changed(keys[usize::from(*number)]);
        }
        for number in passed.iter().map(|number| usize::from(*number)) {
            if let Some(found) = self.find_in_deltas(keys[number]) {
                rows[number] = found;
            }
        }
    }

    fn prefetch_changed(&self, key: HashedKey<'_>) {
        match self.candidates(key.hash()).next() {
            Some(delta) => delta.layer.snapshot.prefetch_hashed(key),
            None => self.base.snapshot.prefetch_hashed(key),
        }
    }

    #[inline(never)]
    fn row_of_delta(&self, index: RowIndex) -> Row<'_> {
        let index = index.as_u32();
        let delta = self.deltas.iter().rfind(|delta| delta.first_slot <= index);
        // The caller saw that the first begins before the index.
        let (layer, first) = delta.map_or((&self.base, 0), |delta| (&delta.layer, delta.first_slot));
        layer.snapshot.row(RowIndex::new(index - first))
    }
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layers")
            .field("base", &self.base)
            .field("deltas", &self.deltas().collect::<Vec<_>>())
            .field("row_count", &self.row_count)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
