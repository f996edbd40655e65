use std::path::{Path, PathBuf};

use unskew_frame::Value;

use crate::census::Census;
use crate::file::NewFile;
use crate::output::{self, SortedRows, Source};
use crate::record::Record;
use crate::row_layout::{RowLayout, put_event_time_us};
use crate::schema::MAX_VALUE_BYTES;
use crate::sorter::Sorter;
use crate::spill::SpillDirectory;
use crate::{DeltaOf, EventTime, KeyRef, KeyType, LateEvents, SchemaError, SnapshotSchema, WriteError};

/// The memory that a writer takes unless it is told otherwise.
pub const DEFAULT_MEMORY_BUDGET_BYTES: u64 = 1 << 30;

/// Writes a snapshot: rows in any order, the same rows the same bytes.
///
/// Rows are kept in memory up to [`WriteOptions::memory_budget_bytes`] and sorted in files without names beyond. The file
/// appears under its name when it is whole and on disk, and never replaces another. Dropping the writer before leaves
/// nothing.
///
/// [`Snapshot`](crate::Snapshot) has an example.
#[derive(Debug)]
pub struct SnapshotWriter {
    file: NewFile,
    rows: Rows,
}

impl SnapshotWriter {
    /// Checks the options and creates a file under a temporary name in the directory of `path`.
    ///
    /// # Errors
    /// The schema cannot be a snapshot's, there is a file at `path`, or none can be created beside it.
    pub fn create(path: &Path, options: WriteOptions) -> Result<Self, WriteError> {
        let rows = Rows::new(path, options)?;
        let file = NewFile::create(path)?;
        Ok(Self { file, rows })
    }

    /// Adds a row: one value a feature, in the order of the schema. NaN becomes canonical.
    ///
    /// # Errors
    /// The key or a value does not fit the schema or a limit, or the row is later than the watermark: the row was not added,
    /// and the writer may be used on. Or rows could not be moved to disk: the writer's rows are not all there any more, and
    /// it will not finish.
    pub fn push(
        &mut self,
        key: KeyRef<'_>,
        event_time: EventTime,
        known_at: Option<EventTime>,
        values: &[Value<'_>],
    ) -> Result<(), WriteError> {
        self.rows.push(key, event_time, known_at, values)
    }

    /// Adds a key that a delta removes. It has no row in this delta.
    ///
    /// # Errors
    /// This is no delta, or the key does not fit the schema: the writer may be used on. Or as [`push`](Self::push).
    pub fn push_removed(&mut self, key: KeyRef<'_>) -> Result<(), WriteError> {
        self.rows.push_removed(key)
    }

    /// Sorts the rows, resolves duplicates, writes the file, waits until it is on disk and gives it its name.
    ///
    /// # Errors
    /// A key has several rows and duplicates are refused, a file of this name has appeared, or the operating system refused.
    /// Nothing is left then.
    pub fn finish(self) -> Result<Written, WriteError> {
        self.finish_with(&mut |_| {})
    }

    /// The same, and tells `progress` now and then how far it is.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn finish_with(self, progress: &mut dyn FnMut(WriteProgress)) -> Result<Written, WriteError> {
        let Self { file, mut rows } = self;
        let output = rows
            .write(&mut file.file(), progress)
            .map_err(|error| error.in_file(file.temporary_path()))?;
        Ok(Written {
            path: file.place()?,
            row_count: output.row_count,
            file_bytes: output.file_bytes,
            ties: output.ties,
            late: rows.options.late,
        })
    }
}

/// The rows pushed to a writer.
#[derive(Debug)]
pub(crate) struct Rows {
    options: WriteOptions,
    layout: RowLayout,
    key_types: Vec<KeyType>,
    directory: SpillDirectory,
    sorter: Sorter,
    /// Of all rows, which are those of the file unless a key has several.
    census: Census,
    pushes: u64,
    /// Whether rows were lost on their way to disk.
    is_broken: bool,
    pub(crate) max_group_bytes: u64,
    /// Words, so that vectors are aligned.
    row: Vec<u64>,
    heap: Vec<u8>,
}

impl Rows {
    pub(crate) fn new(path: &Path, options: WriteOptions) -> Result<Self, WriteError> {
        options.schema.check()?;
        if options.delta.is_some_and(|of| !of.is_valid()) {
            return Err(WriteError::DeltaNumber);
        }
        let layout = RowLayout::new(&options.schema.features, 0).ok_or(SchemaError::RowBytes)?;
        let directory = SpillDirectory::beside(path, options.spill_directory.as_deref());
        Ok(Self {
            key_types: options.schema.key_types(),
            sorter: Sorter::new(layout.row_bytes(), options.memory_budget_bytes, directory.clone()),
            census: Census::new(&layout),
            row: vec![0; layout.row_bytes() / 8],
            heap: Vec::new(),
            directory,
            options,
            layout,
            pushes: 0,
            is_broken: false,
            max_group_bytes: output::MAX_GROUP_BYTES,
        })
    }

    pub(crate) fn push(
        &mut self,
        key: KeyRef<'_>,
        event_time: EventTime,
        known_at: Option<EventTime>,
        values: &[Value<'_>],
    ) -> Result<(), WriteError> {
        let row = self.pushes;
        self.pushes += 1;
        self.check(row, key, [Some(event_time), known_at], values)?;
        self.row.fill(0);
        self.heap.clear();
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut self.row);
        put_event_time_us(bytes, event_time.as_micros());
        for (feature, value) in values.iter().enumerate() {
            if !self.layout.put_value(bytes, &mut self.heap, feature, value) {
                let column = &self.options.schema.features[feature];
                return Err(WriteError::ValueType {
                    row,
                    feature: column.name.clone(),
                    expected: column.column_type,
                });
            }
        }
        let record = Record {
            hash: key.hash(),
            known_at,
            is_removed: false,
            row: bytes,
            key: key.as_bytes(),
            heap: &self.heap,
            words: &[],
        };
        sort(&mut self.sorter, record, &mut self.is_broken, &self.directory)?;
        self.census.count_values(record, values);
        Ok(())
    }

    pub(crate) fn push_removed(&mut self, key: KeyRef<'_>) -> Result<(), WriteError> {
        let row = self.pushes;
        self.pushes += 1;
        if self.options.delta.is_none() {
            return Err(WriteError::NotADelta { key: key.to_string() });
        }
        self.check_key(row, key)?;
        self.row.fill(0);
        let record = Record {
            hash: key.hash(),
            known_at: None,
            is_removed: true,
            row: bytemuck::cast_slice(&self.row),
            key: key.as_bytes(),
            heap: &[],
            words: &[],
        };
        sort(&mut self.sorter, record, &mut self.is_broken, &self.directory)?;
        self.census.count(&self.layout, record);
        Ok(())
    }

    pub(crate) fn write(
        &mut self,
        out: &mut (impl std::io::Write + std::io::Seek),
        progress: &mut dyn FnMut(WriteProgress),
    ) -> Result<output::Output, WriteError> {
        if self.is_broken {
            let error = std::io::Error::other("rows were lost when they could not be spilled");
            return Err(WriteError::io(&self.directory.0, "read rows from", error));
        }
        let mut source = Source {
            options: &self.options,
            layout: &self.layout,
            rows: SortedRows::Pushed {
                sorter: &mut self.sorter,
                census: &self.census,
            },
            directory: &self.directory,
            max_group_bytes: self.max_group_bytes,
        };
        output::write_snapshot(out, &mut source, progress)
    }

    /// Checks everything but the types of the values, before anything is changed.
    fn check(
        &self,
        row: u64,
        key: KeyRef<'_>,
        times: [Option<EventTime>; 2],
        values: &[Value<'_>],
    ) -> Result<(), WriteError> {
        self.check_key(row, key)?;
        let watermark = self.options.watermark;
        for time in times.into_iter().flatten() {
            if time > watermark {
                return Err(WriteError::AfterWatermark { row, time, watermark });
            }
        }
        let features = &self.options.schema.features;
        if values.len() != features.len() {
            return Err(WriteError::ValueCount {
                row,
                expected: features.len(),
                found: values.len(),
            });
        }
        for (feature, value) in features.iter().zip(values) {
            let value_bytes = match value {
                Value::String(text) => text.len(),
                Value::Bytes(bytes) => bytes.len(),
                _ => 0,
            };
            if value_bytes > MAX_VALUE_BYTES {
                return Err(WriteError::ValueBytes {
                    row,
                    feature: feature.name.clone(),
                    value_bytes,
                });
            }
        }
        Ok(())
    }

    fn check_key(&self, row: u64, key: KeyRef<'_>) -> Result<(), WriteError> {
        key.check_types(&self.key_types).map_err(|source| WriteError::Key {
            row,
            key: key.to_string(),
            source,
        })
    }
}

fn sort(
    sorter: &mut Sorter,
    record: Record<'_>,
    is_broken: &mut bool,
    directory: &SpillDirectory,
) -> Result<(), WriteError> {
    sorter.push(record).map_err(|error| {
        *is_broken = true;
        WriteError::io(&directory.0, "spill rows to", error)
    })
}

/// What to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteOptions {
    /// What the snapshot is of.
    pub schema: SnapshotSchema,
    /// The time as of which the rows are: a later row is refused.
    pub watermark: EventTime,
    /// The digest of the module that computed the rows.
    pub module_digest: Option<[u8; 32]>,
    /// The version of the aggregate's states, where the rows hold states.
    pub state_version: Option<u32>,
    /// What an aggregate with a declared lateness leaves out.
    pub late: Option<LateEvents>,
    /// What it is a delta of: then it has only what changed since, and removed keys. `None` makes a whole snapshot.
    pub delta: Option<DeltaOf>,
    /// What happens to keys with several rows.
    pub duplicates: DuplicateKeys,
    /// The memory that the writer may take, about; rows beyond it are sorted on disk. At least 100 MiB count.
    pub memory_budget_bytes: u64,
    /// Where rows are sorted on disk: the directory of the snapshot, if it is `None`.
    pub spill_directory: Option<PathBuf>,
}

impl WriteOptions {
    /// Options of a whole snapshot without a module, without states, with duplicates refused, and 1 GiB of memory.
    pub fn new(schema: SnapshotSchema, watermark: EventTime) -> Self {
        Self {
            schema,
            watermark,
            module_digest: None,
            state_version: None,
            late: None,
            delta: None,
            duplicates: DuplicateKeys::Refuse,
            memory_budget_bytes: DEFAULT_MEMORY_BUDGET_BYTES,
            spill_directory: None,
        }
    }
}

/// What happens to keys with several rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DuplicateKeys {
    /// They are an error.
    #[default]
    Refuse,
    /// The greatest version is kept: [`compare_versions`](crate::compare_versions).
    AsOf,
}

/// How far a writer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteProgress {
    /// What it does.
    pub stage: WriteStage,
    /// The rows that it has done it with.
    pub rows_done: u64,
    /// The rows that there are; while sorting, duplicates among them.
    pub rows_total: u64,
}

/// What a writer does with its rows once all are pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteStage {
    /// It sorts them and resolves duplicates.
    Sorting,
    /// It gives them their places and writes them.
    Writing,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// The file.
    pub path: PathBuf,
    /// Its rows, after duplicates were resolved.
    pub row_count: u64,
    /// Its length.
    pub file_bytes: u64,
    /// Rows that lost to another row of their key only by the order of their values, their times being equal: data that
    /// contradicts itself.
    pub ties: u64,
    /// What it leaves out for being late, as it says: of an aggregate with a declared lateness.
    pub late: Option<LateEvents>,
}

#[cfg(test)]
mod tests;
