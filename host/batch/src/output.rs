use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use tempfile::NamedTempFile;
use unskew::Digest;

use crate::hashing::HashingWriter;

const ZSTD_LEVEL: i32 = 3;
/// What files say wrote them. Without a version: the same rows are the same bytes.
const CREATED_BY: &str = "unskew";

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

/// A Parquet file, compressed with zstd, that is being written by row groups.
///
/// The same columns and row groups give the same bytes. The file is written under a temporary name in the same directory,
/// synced and then renamed: it is there as a whole or not at all.
pub(crate) struct TableWriter {
    path: PathBuf,
    options: OutputOptions,
    temporary: NamedTempFile,
    writer: SerializedFileWriter<HashingWriter<BufWriter<File>>>,
    rows: u64,
}

/// Encodes row groups, on any thread.
pub(crate) struct RowGroupEncoder {
    path: PathBuf,
    schema: SchemaRef,
    columns: ArrowRowGroupWriterFactory,
}

/// An encoded row group.
pub(crate) struct RowGroup {
    columns: Vec<ArrowColumnChunk>,
    rows: usize,
}

impl TableWriter {
    /// Begins a file of these columns.
    ///
    /// # Errors
    /// The file exists and was not to be replaced, a name is empty or used twice, a column is of a type that Parquet does not
    /// have, or the directory cannot be written.
    pub fn create(
        path: &Path,
        columns: &[(String, DataType)],
        options: OutputOptions,
    ) -> Result<(Self, RowGroupEncoder), WriteError> {
        check_names(path, columns)?;
        check_free(path, options)?;
        let failed = |source| io_error(path, source);
        let temporary = create_temporary(directory_of(path)).map_err(failed)?;
        let file = temporary.reopen().map_err(failed)?;
        // Without the metadata of where a label came from: it would be written in the order of a hash map.
        let fields: Vec<Field> = columns
            .iter()
            .map(|(name, data_type)| Field::new(name, data_type.clone(), true))
            .collect();
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let create = || -> parquet::errors::Result<_> {
            let out = HashingWriter::new(BufWriter::with_capacity(1 << 16, file));
            ArrowWriter::try_new(out, Arc::clone(&schema), Some(properties()?))?.into_serialized_writer()
        };
        let (writer, columns) = create().map_err(|error| parquet_error(path, &error))?;
        let writer = Self {
            path: path.to_owned(),
            options,
            temporary,
            writer,
            rows: 0,
        };
        let encoder = RowGroupEncoder {
            path: path.to_owned(),
            schema,
            columns,
        };
        Ok((writer, encoder))
    }

    /// Appends a row group. One without rows is none.
    pub fn append(&mut self, group: RowGroup) -> Result<(), WriteError> {
        if group.rows == 0 {
            return Ok(());
        }
        self.rows += group.rows as u64;
        let append = || -> parquet::errors::Result<()> {
            let mut out = self.writer.next_row_group()?;
            for column in group.columns {
                column.append_to_row_group(&mut out)?;
            }
            out.close()?;
            Ok(())
        };
        append().map_err(|error| write_error(&self.path, error))
    }

    /// Ends the file and gives it its name.
    pub fn finish(self) -> Result<OutputFile, WriteError> {
        let path = self.path;
        let out = self.writer.into_inner().map_err(|error| write_error(&path, error))?;
        let (mut out, digest, bytes) = out.finish();
        let synced = out.flush().and_then(|()| out.get_ref().sync_all());
        synced.map_err(|source| io_error(&path, source))?;
        commit(self.temporary, &path, self.options)?;
        Ok(OutputFile {
            path,
            rows: self.rows,
            bytes,
            digest,
        })
    }
}

impl RowGroupEncoder {
    /// Encodes and compresses `rows` rows as row group `index`.
    pub fn encode(&self, index: usize, rows: usize, columns: &[ArrayRef]) -> Result<RowGroup, WriteError> {
        let encode = || -> parquet::errors::Result<Vec<ArrowColumnChunk>> {
            let mut writers = self.columns.create_column_writers(index)?.into_iter();
            let mut chunks = Vec::new();
            for (field, array) in self.schema.fields().iter().zip(columns) {
                for leaf in compute_leaves(field, array)? {
                    let mut writer = writers
                        .next()
                        .ok_or_else(|| ParquetError::General("too few columns".to_owned()))?;
                    writer.write(&leaf)?;
                    chunks.push(writer.close()?);
                }
            }
            Ok(chunks)
        };
        let columns = encode().map_err(|error| parquet_error(&self.path, &error))?;
        Ok(RowGroup { columns, rows })
    }
}

fn properties() -> parquet::errors::Result<WriterProperties> {
    Ok(WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .build())
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

/// Lets `write` fill a temporary file in the same directory, syncs and renames it.
fn write_file(
    path: &Path,
    options: OutputOptions,
    write: impl FnOnce(&mut File) -> Result<(), WriteError>,
) -> Result<(), WriteError> {
    check_free(path, options)?;
    let mut temporary = create_temporary(directory_of(path)).map_err(|source| io_error(path, source))?;
    write(temporary.as_file_mut())?;
    temporary
        .as_file()
        .sync_all()
        .map_err(|source| io_error(path, source))?;
    commit(temporary, path, options)
}

fn check_free(path: &Path, options: OutputOptions) -> Result<(), WriteError> {
    match !options.overwrite && path.symlink_metadata().is_ok() {
        true => Err(WriteError::Exists { path: path.to_owned() }),
        false => Ok(()),
    }
}

/// Gives a file that is whole its name, and makes that last.
fn commit(temporary: NamedTempFile, path: &Path, options: OutputOptions) -> Result<(), WriteError> {
    rename(temporary, path, options)?;
    File::open(directory_of(path))
        .and_then(|directory| directory.sync_all())
        .map_err(|source| io_error(path, source))
}

/// Where the file is.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// An error of the writer below, as what it is.
fn write_error(path: &Path, error: ParquetError) -> WriteError {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(source) => io_error(path, *source),
            Err(source) => parquet_error(path, &*source),
        },
        error => parquet_error(path, &error),
    }
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

fn check_names(path: &Path, columns: &[(String, DataType)]) -> Result<(), WriteError> {
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
pub(crate) mod tests;
