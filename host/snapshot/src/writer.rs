use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use unskew_frame::Value;

use crate::file::NewFile;
use crate::output;
use crate::row_store::RowStore;
use crate::{EventTime, KeyRef, SnapshotSchema, WriteError};

const BUFFER_BYTES: usize = 1 << 20;

/// Writes a snapshot: rows in any order, the same rows the same bytes.
///
/// Rows are kept in memory until [`finish`](Self::finish): about their size in the file and 40 bytes each. The file appears
/// under its name when it is whole and on disk, and never replaces another. Dropping the writer before leaves nothing.
///
/// [`Snapshot`](crate::Snapshot) has an example.
#[derive(Debug)]
pub struct SnapshotWriter {
    file: NewFile,
    rows: RowStore,
}

impl SnapshotWriter {
    /// Checks the options and creates a file under a temporary name in the directory of `path`.
    ///
    /// # Errors
    /// The schema cannot be a snapshot's, there is a file at `path`, or none can be created beside it.
    pub fn create(path: &Path, options: WriteOptions) -> Result<Self, WriteError> {
        let rows = RowStore::new(options)?;
        let file = NewFile::create(path)?;
        Ok(Self { file, rows })
    }

    /// Adds a row: one value a feature, in the order of the schema. NaN becomes canonical.
    ///
    /// # Errors
    /// The key or a value does not fit the schema or a limit, or the row is later than the watermark. The row was not added,
    /// and the writer may be used on.
    pub fn push(
        &mut self,
        key: KeyRef<'_>,
        event_time: EventTime,
        known_at: Option<EventTime>,
        values: &[Value<'_>],
    ) -> Result<(), WriteError> {
        self.rows.push(key, event_time, known_at, values)
    }

    /// Sorts the rows, resolves duplicates, writes the file, waits until it is on disk and gives it its name.
    ///
    /// # Errors
    /// A key has several rows and duplicates are refused, a file of this name has appeared, or the operating system refused.
    /// Nothing is left then.
    pub fn finish(self) -> Result<Written, WriteError> {
        let Self { file, rows } = self;
        let resolved = rows.resolve()?;
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, file.file());
        let file_bytes = output::write_snapshot(&mut out, &rows, &resolved.order)
            .and_then(|file_bytes| out.flush().map(|()| file_bytes))
            .map_err(|error| WriteError::io(file.temporary_path(), "write", error))?;
        drop(out);
        Ok(Written {
            path: file.place()?,
            row_count: resolved.order.len() as u64,
            file_bytes,
            ties: resolved.ties,
        })
    }
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
    /// What happens to keys with several rows.
    pub duplicates: DuplicateKeys,
}

impl WriteOptions {
    /// Options without a module, without states, and with duplicates refused.
    pub fn new(schema: SnapshotSchema, watermark: EventTime) -> Self {
        Self {
            schema,
            watermark,
            module_digest: None,
            state_version: None,
            duplicates: DuplicateKeys::Refuse,
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
}

#[cfg(test)]
mod tests;
