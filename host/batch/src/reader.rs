use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use arrow::array::ArrayRef;
use unskew::Digest;
use unskew_frame::{Column, ColumnType};

use self::carry::CarriedArrays;
use crate::storage::Storage;

mod bounded;
mod carry;
mod chunks;
mod comma;
mod error;
mod filter;
mod input;
mod json;
mod listing;
mod parquet_file;
mod scan;
mod text;

pub use chunks::ChunkOptions;
pub(crate) use chunks::Chunks;
pub use error::{Place, ReadError};
pub use filter::{Filter, ParseFilterError};
pub(crate) use input::Input;
pub(crate) use listing::{Listing, Partition, SourceFile};
pub(crate) use parquet_file::guard;
pub use scan::Pruning;
pub(crate) use scan::{Morsel, Scan};

/// The most rows of a table or a spine: a row's index is a u32.
pub const MAX_TABLE_ROWS: usize = u32::MAX as usize;
/// The most bytes of all the texts, or bytes, of one column: their offsets are u32s.
const MAX_COLUMN_BYTES: u64 = u32::MAX as u64;

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Its digest.
    pub digest: Digest,
}

/// What to read of a source.
pub(crate) struct Request<'a> {
    /// The columns to read as our own.
    pub(crate) columns: &'a [Wanted],
    /// Whether to carry every other column through, and the types of those whose type is declared.
    pub(crate) carry: Option<&'a BTreeMap<String, ColumnType>>,
}

/// A column to read. See [`ColumnRequest`](crate::ColumnRequest).
#[derive(Clone)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) column_type: ColumnType,
    pub(crate) required: bool,
    pub(crate) nullable: bool,
}

impl Wanted {
    /// A column of times that the source must have.
    pub(crate) fn time(name: &str, nullable: bool) -> Self {
        Self {
            name: name.to_owned(),
            column_type: ColumnType::Timestamp,
            required: true,
            nullable,
        }
    }
}

/// What was read.
#[derive(Debug)]
pub(crate) struct Read {
    /// One for each that was wanted.
    pub(crate) columns: Vec<Column>,
    /// The others, in the order of the source, if they were to be carried.
    pub(crate) carried: Vec<(String, ArrayRef)>,
    pub(crate) files: Vec<InputFile>,
}

/// Reads the file or the directory at `path`.
pub(crate) fn read(storage: &Storage, path: &Path, request: &Request<'_>) -> Result<Read, ReadError> {
    let listing = Listing::of(storage, path)?;
    let mut columns = Growing::all(request.columns);
    let mut carried = CarriedArrays::default();
    let mut files = Vec::with_capacity(listing.files.len());
    for source in &listing.files {
        let (file, input) = open_digested(storage, &source.path)?;
        let mut rows = Rows::open(&listing, source, file, request, &mut carried)?;
        while rows.next(&mut columns, &mut carried, request)? {}
        rows.check(&columns, request, true)?;
        rows.finish(&mut carried);
        files.push(input);
    }
    Ok(Read {
        columns: columns.into_iter().map(|column| column.column).collect(),
        carried: carried.into_arrays(path)?,
        files,
    })
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Parquet,
    Comma,
    Json,
}

/// A file that is being read from its start to its end.
enum Rows {
    Parquet(parquet_file::Rows),
    Comma(comma::Rows),
    Json(json::Rows),
}

impl Rows {
    fn open(
        listing: &Listing,
        source: &SourceFile,
        file: File,
        request: &Request<'_>,
        carried: &mut CarriedArrays,
    ) -> Result<Self, ReadError> {
        let path = &source.path;
        Ok(match listing.format {
            Format::Parquet => {
                let types = &listing.partition_types;
                Self::Parquet(parquet_file::Rows::open(source, types, file, request, carried)?)
            }
            Format::Comma => Self::Comma(comma::Rows::open(path, file, request)?),
            Format::Json => Self::Json(json::Rows::open(path, file, request)),
        })
    }

    /// Appends the next row, or the next few; whether there were any.
    fn next(
        &mut self,
        columns: &mut [Growing],
        carried: &mut CarriedArrays,
        request: &Request<'_>,
    ) -> Result<bool, ReadError> {
        match self {
            Self::Parquet(rows) => rows.next(columns, carried, request),
            Self::Comma(rows) => rows.next(columns),
            Self::Json(rows) => rows.next(columns, request),
        }
    }

    /// Checks what could not be checked row by row, before rows are given out and, `is_end`, when there are no more.
    fn check(&self, columns: &[Growing], request: &Request<'_>, is_end: bool) -> Result<(), ReadError> {
        match self {
            Self::Json(rows) => rows.check(columns, request, is_end),
            Self::Parquet(_) | Self::Comma(_) => Ok(()),
        }
    }

    /// Carries what waited for the end of the file.
    fn finish(self, carried: &mut CarriedArrays) {
        match self {
            Self::Parquet(_) => {}
            Self::Comma(rows) => carried.set(rows.into_carried()),
            Self::Json(rows) => carried.set(rows.into_carried()),
        }
    }
}

/// Opens a file for reading from its start and takes its digest.
fn open_digested(storage: &Storage, path: &Path) -> Result<(File, InputFile), ReadError> {
    let open = || -> io::Result<_> {
        let mut file = storage.open(path)?;
        let bytes = file.metadata()?.len();
        let digest = Digest::of_reader(&mut file)?;
        io::Seek::rewind(&mut file)?;
        Ok((file, bytes, digest))
    };
    let (file, bytes, digest) = open().map_err(|source| open_error(path, source))?;
    let input = InputFile {
        path: path.to_owned(),
        bytes,
        digest,
    };
    Ok((file, input))
}

fn open_error(path: &Path, source: io::Error) -> ReadError {
    ReadError::Open {
        path: path.to_owned(),
        source,
    }
}

/// Where the columns of a request are among `names`, the columns of a file; none for one that may be absent and is.
fn locate(path: &Path, names: &[&str], columns: &[Wanted]) -> Result<Vec<Option<usize>>, ReadError> {
    columns
        .iter()
        .map(|wanted| {
            let mut found = (0..names.len()).filter(|index| names[*index] == wanted.name);
            let first = found.next();
            if found.next().is_some() {
                return Err(ReadError::DuplicateColumn {
                    path: path.to_owned(),
                    column: wanted.name.clone(),
                });
            }
            if first.is_none() && wanted.required {
                return Err(ReadError::MissingColumn {
                    path: path.to_owned(),
                    column: wanted.name.clone(),
                    available: names.iter().map(|&name| name.to_owned()).collect(),
                });
            }
            Ok(first)
        })
        .collect()
}

/// A column that is being read, and what it must not exceed.
struct Growing {
    wanted: Wanted,
    column: Column,
    /// The texts and bytes so far.
    text_bytes: u64,
}

impl Growing {
    fn new(wanted: Wanted) -> Self {
        Self {
            column: Column::new(wanted.column_type),
            wanted,
            text_bytes: 0,
        }
    }

    fn all(wanted: &[Wanted]) -> Vec<Self> {
        wanted.iter().cloned().map(Self::new).collect()
    }

    /// The rows so far, which are no longer here then.
    fn take(&mut self) -> Column {
        self.text_bytes = 0;
        core::mem::replace(&mut self.column, Column::new(self.wanted.column_type))
    }

    /// Accounts for `rows` more rows with `bytes` of text, before they are pushed.
    fn reserve(&mut self, path: &Path, rows: usize, bytes: u64) -> Result<(), ReadError> {
        self.text_bytes += bytes;
        if self.column.rows() + rows > MAX_TABLE_ROWS || self.text_bytes > MAX_COLUMN_BYTES {
            return Err(ReadError::TooLarge {
                path: path.to_owned(),
                column: self.wanted.name.clone(),
            });
        }
        Ok(())
    }

    /// Appends a missing value, where that may be.
    fn push_null(&mut self, path: &Path, place: Place) -> Result<(), ReadError> {
        if !self.wanted.nullable {
            return Err(self.missing_value(path, place));
        }
        self.push_absent(path)
    }

    /// Appends a missing value, whether or not that may be.
    fn push_absent(&mut self, path: &Path) -> Result<(), ReadError> {
        self.reserve(path, 1, 0)?;
        self.column.push_null();
        Ok(())
    }

    /// Appends the value of a text.
    fn push_text(&mut self, path: &Path, place: Place, text: &str) -> Result<(), ReadError> {
        self.reserve(path, 1, text.len() as u64)?;
        text::push(&mut self.column, text).ok_or_else(|| self.value_error(path, place, text.to_owned()))
    }

    fn value_error(&self, path: &Path, place: Place, value: String) -> ReadError {
        ReadError::Value {
            path: path.to_owned(),
            place,
            column: self.wanted.name.clone(),
            expected: self.wanted.column_type,
            value: error::shorten(value),
        }
    }

    fn missing_value(&self, path: &Path, place: Place) -> ReadError {
        ReadError::MissingValue {
            path: path.to_owned(),
            place,
            column: self.wanted.name.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
