use std::cmp::Ordering;
use std::path::PathBuf;

use unskew_frame::{Column, ColumnType};
use unskew_snapshot::{EventTime, Version, compare_versions, encode_row};

use crate::reader::{self, ChunkOptions, Chunks, InputFile, ReadError, Request, Wanted};
use crate::storage::Storage;

/// What to read as a [`Table`].
#[derive(Clone, Debug, PartialEq)]
pub struct TableSource {
    /// A .csv, .jsonl, .ndjson or .parquet file, or a directory of Parquet files, which are read in the order of their
    /// names.
    pub path: PathBuf,
    /// The columns of the table, in order. One of the source may be asked for twice.
    pub columns: Vec<ColumnRequest>,
    /// The column of the event time.
    pub event_time: String,
    /// The column of the time when a row became known.
    pub known_at: Option<String>,
}

impl TableSource {
    /// The columns of the table, then those of its times.
    fn wanted(&self) -> Vec<Wanted> {
        let mut columns: Vec<Wanted> = self.columns.iter().map(Wanted::from).collect();
        columns.push(Wanted::time(&self.event_time, false));
        columns.extend(self.known_at.iter().map(|known_at| Wanted::time(known_at, true)));
        columns
    }
}

/// A column to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnRequest {
    /// Its name in the source.
    pub name: String,
    /// The type to read it as.
    pub column_type: ColumnType,
    /// Whether it is an error that the source has no such column, which is otherwise one of missing values.
    pub required: bool,
    /// Whether a value may be missing.
    pub nullable: bool,
}

/// The rows of a source: a column for each request, and their times.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    names: Vec<String>,
    columns: Vec<Column>,
    event_time: Vec<EventTime>,
    known_at: Option<Vec<Option<EventTime>>>,
    files: Vec<InputFile>,
}

impl Table {
    /// Reads a source. Columns that were not asked for are passed over.
    ///
    /// In text, a value is read exactly or refused: times are RFC 3339 or integer microseconds, bools are 0, 1, true and
    /// false, bytes are hexadecimal, vectors are `[0.5, 1]`; an empty cell of CSV and a null of JSON are missing values,
    /// and so are NA, N/A, NULL, null, None and \\N in a cell of CSV that is to be anything but a string or bytes.
    /// What Parquet types are read as is told at [`array_to_column`](crate::array_to_column).
    ///
    /// # Errors
    /// A file is missing, damaged or lacks a column, or a value is of another type or missing where it must not be.
    pub fn read(source: &TableSource) -> Result<Self, ReadError> {
        Self::read_from(&Storage::default(), source)
    }

    /// The same of a source that may be in a storage.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_from(storage: &Storage, source: &TableSource) -> Result<Self, ReadError> {
        let request = Request {
            columns: &source.wanted(),
            carry: None,
        };
        let read = reader::read(storage, &source.path, &request)?;
        Ok(Self::of_read(source, read.columns, read.files))
    }

    /// The table of the columns that [`TableSource::wanted`] names.
    fn of_read(source: &TableSource, mut columns: Vec<Column>, files: Vec<InputFile>) -> Self {
        let mut times = columns.split_off(source.columns.len()).into_iter();
        let mut next_times = || times.next().map(|column| times_of(&column));
        let event_time = next_times().unwrap_or_default();
        Self {
            names: source.columns.iter().map(|c| c.name.clone()).collect(),
            columns,
            event_time: event_time.into_iter().flatten().collect(),
            known_at: next_times(),
            files,
        }
    }

    /// A table of rows that were not read from files.
    ///
    /// # Panics
    /// Unless every column and `known_at` have as many rows as `event_time`.
    pub fn new(
        columns: Vec<(String, Column)>,
        event_time: Vec<EventTime>,
        known_at: Option<Vec<Option<EventTime>>>,
    ) -> Self {
        let (names, columns): (_, Vec<Column>) = columns.into_iter().unzip();
        let rows = event_time.len();
        assert!(
            columns.iter().all(|column| column.rows() == rows)
                && known_at.as_ref().is_none_or(|known| known.len() == rows),
            "a table's columns have the same number of rows"
        );
        Self {
            names,
            columns,
            event_time,
            known_at,
            files: Vec::new(),
        }
    }

    /// The number of rows, at most [`MAX_TABLE_ROWS`](crate::MAX_TABLE_ROWS).
    pub fn rows(&self) -> usize {
        self.event_time.len()
    }

    /// The columns, in the order of the requests.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The names of the columns.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The first column of this name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        let index = self.names.iter().position(|known| known == name)?;
        self.columns.get(index)
    }

    /// When each row happened.
    pub fn event_time(&self) -> &[EventTime] {
        &self.event_time
    }

    /// When each row became known, if the source says so; a row without a value was known from the first.
    pub fn known_at(&self) -> Option<&[Option<EventTime>]> {
        self.known_at.as_deref()
    }

    /// What was read, in order.
    pub fn files(&self) -> &[InputFile] {
        &self.files
    }
}

/// The rows of a source in order, a chunk at a time: for sources larger than memory. [`Table::read`] says how values are read.
///
/// Reading takes the memory of a chunk, besides what a Parquet file's reader holds: a page of each column that is asked for.
/// After an error there are no more chunks.
///
/// What a row is missing is found as early as it shows: of a JSON file that nowhere has a column, when its first chunk is read
/// if values must be there, and at its end if they may be missing.
pub struct TableChunks {
    source: TableSource,
    chunks: Chunks,
}

/// Rows of one file of a source, one or more.
#[derive(Clone, Debug, PartialEq)]
pub struct TableChunk {
    /// The file.
    pub path: PathBuf,
    /// The number of the first row in the file, from 0.
    pub first_row: u64,
    /// The rows. Its files are not told: see [`TableChunks::files`].
    pub table: Table,
}

impl TableChunks {
    /// Finds the files of a source. Each is opened when its first chunk is asked for.
    ///
    /// # Errors
    /// The source is missing, or its name tells no format.
    pub fn open(source: TableSource, options: ChunkOptions) -> Result<Self, ReadError> {
        Ok(Self {
            chunks: Chunks::open(Storage::default(), &source.path, source.wanted(), options)?,
            source,
        })
    }

    /// The files so far, if [digests](ChunkOptions::digests) are taken; after the last chunk all, in order.
    pub fn files(&self) -> &[InputFile] {
        self.chunks.files()
    }
}

impl Iterator for TableChunks {
    type Item = Result<TableChunk, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let chunk = self.chunks.next()?;
        Some(chunk.map(|chunk| TableChunk {
            table: Table::of_read(&self.source, chunk.columns, Vec::new()),
            path: chunk.path,
            first_row: chunk.first_row,
        }))
    }
}

impl From<&ColumnRequest> for Wanted {
    fn from(request: &ColumnRequest) -> Self {
        Self {
            name: request.name.clone(),
            column_type: request.column_type,
            required: request.required,
            nullable: request.nullable,
        }
    }
}

/// The microseconds of a column of timestamps.
pub(crate) fn times_of(column: &Column) -> Vec<Option<EventTime>> {
    let view = column.view();
    (0..column.rows())
        .map(|row| view.is_present(row).then(|| EventTime(view.timestamp(row))))
        .collect()
}

/// Compares rows of a table as versions. The bytes of a row are made only where its times leave it open.
pub(crate) struct VersionOrder<'a> {
    table: &'a Table,
    a: Vec<u8>,
    b: Vec<u8>,
}

impl<'a> VersionOrder<'a> {
    pub(crate) fn new(table: &'a Table) -> Self {
        Self {
            table,
            a: Vec::new(),
            b: Vec::new(),
        }
    }

    /// By event time and known-at.
    pub(crate) fn compare_times(&self, a: u32, b: u32) -> Ordering {
        compare_versions(&self.version(a, &[]), &self.version(b, &[]))
    }

    /// By event time, known-at and row bytes.
    pub(crate) fn compare(&mut self, a: u32, b: u32) -> Ordering {
        let by_times = self.compare_times(a, b);
        if by_times != Ordering::Equal || a == b {
            return by_times;
        }
        encode(self.table, a, &mut self.a);
        encode(self.table, b, &mut self.b);
        compare_versions(&self.version(a, &self.a), &self.version(b, &self.b))
    }

    fn version<'row>(&self, index: u32, row: &'row [u8]) -> Version<'row> {
        let index = index as usize;
        Version {
            event_time: self.table.event_time[index],
            known_at: self.table.known_at.as_ref().and_then(|known| known[index]),
            row,
        }
    }
}

fn encode(table: &Table, row: u32, out: &mut Vec<u8>) {
    out.clear();
    for column in &table.columns {
        encode_row(&[column.value(row as usize)], out);
    }
}

#[cfg(test)]
mod tests;
