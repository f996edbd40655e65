use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use tempfile::NamedTempFile;
use unskew::Digest;

/// The rows of a row group.
const ROW_GROUP_ROWS: usize = 1 << 20;
const ZSTD_LEVEL: i32 = 3;
/// What files say wrote them. Without a version: the same rows are the same bytes.
const CREATED_BY: &str = "unskew";

/// A named column to write.
pub type OutputColumn = (String, ArrayRef);

/// How to write a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputOptions {
    /// Whether to replace a file that is there.
    pub overwrite: bool,
}

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its rows.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// Its digest.
    pub digest: Digest,
}

/// Writes columns of `rows` rows as one Parquet file, compressed with zstd.
///
/// The same columns give the same bytes. The file is written under a temporary name in the same directory, synced and then
/// renamed: it is there as a whole or not at all.
///
/// # Errors
/// The file exists and was not to be replaced, a name is empty or used twice, a column has another number of rows or a type
/// that Parquet does not have, or the directory cannot be written.
pub fn write_columns(
    path: &Path,
    rows: usize,
    columns: &[OutputColumn],
    options: OutputOptions,
) -> Result<OutputFile, WriteError> {
    check_names(path, columns)?;
    let batch = record_batch(path, rows, columns)?;
    let (bytes, digest) = write_file(path, options, |file| write_parquet(path, &batch, file))?;
    Ok(OutputFile {
        path: path.to_owned(),
        rows: rows as u64,
        bytes,
        digest,
    })
}

/// Writes `value` as JSON, as a whole or not at all.
///
/// # Errors
/// The file exists and was not to be replaced, or the directory cannot be written.
pub(crate) fn write_json(path: &Path, value: &impl serde::Serialize, options: OutputOptions) -> Result<(), WriteError> {
    let write = |file: &mut File| {
        let mut out = BufWriter::new(file);
        serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from)?;
        out.write_all(b"\n")?;
        out.flush()
    };
    write_file(path, options, |file| {
        write(file).map_err(|source| io_error(path, source))
    })?;
    Ok(())
}

/// Lets `write` fill a temporary file in the same directory, syncs and renames it. Gives its size and digest.
fn write_file(
    path: &Path,
    options: OutputOptions,
    write: impl FnOnce(&mut File) -> Result<(), WriteError>,
) -> Result<(u64, Digest), WriteError> {
    if !options.overwrite && path.symlink_metadata().is_ok() {
        return Err(WriteError::Exists { path: path.to_owned() });
    }
    let failed = |source| io_error(path, source);
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut temporary = create_temporary(directory).map_err(failed)?;
    write(temporary.as_file_mut())?;
    let finish = || -> io::Result<(u64, Digest)> {
        temporary.as_file().sync_all()?;
        let mut file = temporary.reopen()?;
        Ok((file.metadata()?.len(), Digest::of_reader(&mut file)?))
    };
    let written = finish().map_err(failed)?;
    rename(temporary, path, options)?;
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(failed)?;
    Ok(written)
}

fn io_error(path: &Path, source: io::Error) -> WriteError {
    WriteError::Io {
        path: path.to_owned(),
        source,
    }
}

/// Why a file could not be written. Nothing is left at its path that was not there before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// There is a file already.
    #[error("{} exists: give another path, or ask to overwrite it", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Two columns have the same name.
    #[error("cannot write {}: two columns are named `{column}`: rename one", path.display())]
    DuplicateName {
        /// The file.
        path: PathBuf,
        /// The name.
        column: String,
    },
    /// A column has no name.
    #[error("cannot write {}: a column has no name", path.display())]
    NoName {
        /// The file.
        path: PathBuf,
    },
    /// A column has another number of rows than the file.
    #[error("cannot write {}: column `{column}` has {rows} rows, not {expected}", path.display())]
    Rows {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Its rows.
        rows: usize,
        /// The file's.
        expected: usize,
    },
    /// The columns cannot be written as Parquet.
    #[error("cannot write {} as Parquet: {reason}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The directory cannot be written.
    #[error("cannot write {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

fn check_names(path: &Path, columns: &[OutputColumn]) -> Result<(), WriteError> {
    let mut names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    if names.first().is_some_and(|name| name.is_empty()) {
        return Err(WriteError::NoName { path: path.to_owned() });
    }
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(WriteError::DuplicateName {
            path: path.to_owned(),
            column: pair[0].to_owned(),
        }),
    }
}

fn record_batch(path: &Path, rows: usize, columns: &[OutputColumn]) -> Result<RecordBatch, WriteError> {
    if let Some((column, array)) = columns.iter().find(|(_, array)| array.len() != rows) {
        return Err(WriteError::Rows {
            path: path.to_owned(),
            column: column.clone(),
            rows: array.len(),
            expected: rows,
        });
    }
    // Without the metadata of where a label came from: it would be written in the order of a hash map.
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array)| Field::new(name, array.data_type().clone(), true))
        .collect();
    let arrays = columns.iter().map(|(_, array)| Arc::clone(array)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(|error| parquet_error(path, &error))
}

fn write_parquet(path: &Path, batch: &RecordBatch, file: &mut File) -> Result<(), WriteError> {
    let write = || -> parquet::errors::Result<()> {
        let properties = WriterProperties::builder()
            .set_created_by(CREATED_BY.to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .build();
        let mut out = BufWriter::with_capacity(1 << 16, file);
        let mut writer = ArrowWriter::try_new(&mut out, batch.schema(), Some(properties))?;
        writer.write(batch)?;
        writer.close()?;
        out.flush()?;
        Ok(())
    };
    write().map_err(|error| parquet_error(path, &error))
}

fn parquet_error(path: &Path, error: &dyn std::error::Error) -> WriteError {
    WriteError::Parquet {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

/// A file as `File::create` would make it, for everyone whom the process's mask lets read it.
fn create_temporary(directory: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".unskew-").suffix(".tmp");
    #[cfg(unix)]
    builder.permissions(<Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o666));
    builder.tempfile_in(directory)
}

fn rename(temporary: NamedTempFile, path: &Path, options: OutputOptions) -> Result<(), WriteError> {
    let renamed = if options.overwrite {
        temporary.persist(path)
    } else {
        temporary.persist_noclobber(path)
    };
    match renamed {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            Err(WriteError::Exists { path: path.to_owned() })
        }
        Err(error) => Err(WriteError::Io {
            path: path.to_owned(),
            source: error.error,
        }),
    }
}

#[cfg(test)]
mod tests;
