use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowRowGroupWriterFactory;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;
use tempfile::TempPath;
use unskew::Digest;

use crate::flush::Flush;
use crate::hashing::HashingWriter;
use crate::row_group::{MIN_STEP_ROWS, RowGroup, RowGroupEncoder};
use crate::storage::Storage;

const ZSTD_LEVEL: i32 = 3;
/// Floats hardly repeat: level 3 takes a quarter to half of the time more than this one, for 1 to 5 % of the room.
const ZSTD_LEVEL_OF_FLOATS: i32 = 1;
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

/// A Parquet file, compressed with zstd, that is being written by row groups. The same columns and row groups give the same
/// bytes.
pub(crate) struct TableWriter {
    /// As messages name it.
    path: PathBuf,
    writer: SerializedFileWriter<HashingWriter<BufWriter<File>>>,
    flush: Flush,
    rows: u64,
}

/// What was written.
pub(crate) struct WrittenTable {
    pub rows: u64,
    pub bytes: u64,
    pub digest: Digest,
}

impl TableWriter {
    /// Begins a file of these columns in `file`, which is to be at `path`.
    ///
    /// # Errors
    /// A name is empty or used twice, or a column is of a type that Parquet does not have.
    pub fn create(
        path: &Path,
        file: File,
        columns: &[(String, DataType)],
    ) -> Result<(Self, RowGroupEncoder), WriteError> {
        check_names(path, columns)?;
        // Without the metadata of where a label came from: it would be written in the order of a hash map.
        let fields: Vec<Field> = columns
            .iter()
            .map(|(name, data_type)| Field::new(name, data_type.clone(), true))
            .collect();
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let flush = file.try_clone().map(Flush::new);
        let flush = flush.map_err(|source| io_error(path, source))?;
        let out = HashingWriter::new(BufWriter::with_capacity(1 << 16, file));
        let failed = |error| write_error(path, error);
        let (writer, columns) = parquet_writer(out, &schema, Values::Repeated).map_err(failed)?;
        let (_, plain) = parquet_writer(io::sink(), &schema, Values::Different).map_err(failed)?;
        let writer = Self {
            path: path.to_owned(),
            writer,
            flush,
            rows: 0,
        };
        Ok((writer, RowGroupEncoder::new(path.to_owned(), schema, columns, plain)))
    }

    /// Appends a row group. One without rows is none.
    pub fn append(&mut self, group: RowGroup) -> Result<(), WriteError> {
        self.rows += group.rows() as u64;
        let appended = group.append_to(&mut self.writer);
        appended.map_err(|error| write_error(&self.path, error))?;
        let flushed = self.flush.up_to(self.writer.bytes_written() as u64);
        flushed.map_err(|source| io_error(&self.path, source))
    }

    /// Ends the file and has it on disk.
    pub fn finish(mut self) -> Result<WrittenTable, WriteError> {
        let path = self.path;
        let out = self.writer.into_inner().map_err(|error| write_error(&path, error))?;
        let (mut out, digest, bytes) = out.finish();
        let flushed = out.flush().and_then(|()| self.flush.finish());
        let synced = flushed.and_then(|()| out.get_ref().sync_all());
        synced.map_err(|source| io_error(&path, source))?;
        Ok(WrittenTable {
            rows: self.rows,
            bytes,
            digest,
        })
    }
}

/// What the values of columns are like, as far as it matters to how they are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Values {
    /// Many are the same: each is written once, in a dictionary. But few floats are, and looking for those costs more time than
    /// it saves room.
    Repeated,
    /// Few are: integers are written as differences, which are shorter.
    Different,
}

/// A writer of the settings that all of our files have.
pub(crate) fn parquet_writer<W: Write + Send>(
    out: W,
    schema: &SchemaRef,
    values: Values,
) -> parquet::errors::Result<(SerializedFileWriter<W>, ArrowRowGroupWriterFactory)> {
    ArrowWriter::try_new(out, Arc::clone(schema), Some(properties(schema, values)?))?.into_serialized_writer()
}

fn properties(schema: &Schema, values: Values) -> parquet::errors::Result<WriterProperties> {
    let mut properties = WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_write_batch_size(MIN_STEP_ROWS)
        .set_compression(zstd(ZSTD_LEVEL)?)
        .set_statistics_enabled(EnabledStatistics::Chunk);
    for field in schema.fields() {
        let column = ColumnPath::new(vec![field.name().clone()]);
        if field.data_type().is_floating() {
            properties = properties.set_column_compression(column.clone(), zstd(ZSTD_LEVEL_OF_FLOATS)?);
        }
        if field.data_type().is_floating() || values == Values::Different {
            properties = properties.set_column_dictionary_enabled(column.clone(), false);
        }
        if is_whole(field.data_type()) {
            properties = properties.set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
        }
    }
    Ok(properties.build())
}

fn zstd(level: i32) -> parquet::errors::Result<Compression> {
    Ok(Compression::ZSTD(ZstdLevel::try_new(level)?))
}

/// Whether values are integers, times of them included.
pub(crate) fn is_whole(data_type: &DataType) -> bool {
    data_type.is_integer() || matches!(data_type, DataType::Timestamp(..) | DataType::Date32)
}

/// Refuses a file or an object that is there and is not to be replaced.
pub(crate) fn check_free(storage: &Storage, path: &Path, options: OutputOptions) -> Result<(), WriteError> {
    match !options.overwrite && storage.exists(path).map_err(|source| io_error(path, source))? {
        true => Err(WriteError::Exists { path: path.to_owned() }),
        false => Ok(()),
    }
}

/// Gives a file that is whole, and on disk, its name, and makes that last; or writes it as an object, and removes it.
pub(crate) fn commit(
    storage: &Storage,
    temporary: &Path,
    path: &Path,
    options: OutputOptions,
) -> Result<(), WriteError> {
    let failed = |source| io_error(path, source);
    let Some(at) = storage.at(path).map_err(failed)? else {
        rename(temporary, path, options)?;
        return sync_directory(directory_of(path)).map_err(failed);
    };
    let mut file = File::open(temporary).map_err(failed)?;
    match at.objects.write(at.url, &mut file, options.overwrite) {
        // Of a process that was ended before it removed the file, or whose request was answered and tried again.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_written(storage, temporary, path) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(WriteError::Exists { path: path.to_owned() });
        }
        written => written.map_err(failed)?,
    }
    std::fs::remove_file(temporary).map_err(failed)
}

/// Whether an object has the bytes of a file.
fn is_written(storage: &Storage, file: &Path, object: &Path) -> bool {
    let digest = |path: &Path| storage.digest(path).ok();
    digest(file).is_some_and(|file| digest(object) == Some(file))
}

/// Has the names in a directory on disk.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Where the file is.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// An error of the writer below, as what it is.
pub(crate) fn write_error(path: &Path, error: ParquetError) -> WriteError {
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

pub(crate) fn parquet_error(path: &Path, error: &dyn std::error::Error) -> WriteError {
    WriteError::Parquet {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

fn rename(temporary: &Path, path: &Path, options: OutputOptions) -> Result<(), WriteError> {
    if options.overwrite {
        return std::fs::rename(temporary, path).map_err(|source| io_error(path, source));
    }
    let temporary = TempPath::try_from_path(temporary).map_err(|source| io_error(path, source))?;
    temporary.persist_noclobber(path).map_err(|error| {
        // It is kept for whoever gives it another name.
        let tempfile::PathPersistError { error, path: mut kept } = error;
        kept.disable_cleanup(true);
        match error.kind() {
            io::ErrorKind::AlreadyExists => WriteError::Exists { path: path.to_owned() },
            _ => io_error(path, error),
        }
    })
}

#[cfg(test)]
pub(crate) mod tests;
