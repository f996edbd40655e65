use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::path::{Path, PathBuf};

use arrow::array::ArrayRef;
use csv::{ByteRecord, ErrorKind, Position, ReaderBuilder};

use super::bounded::{BUFFER_BYTES, Bounded, TOO_LONG};
use super::carry::Carried;
use super::{Growing, Place, ReadError, Request, locate};

/// Comma-separated values: a header, `"` for quotes, an empty cell for a missing value, and `NA` or `NULL` too where it can be
/// nothing else.
pub(super) struct Rows {
    path: PathBuf,
    reader: csv::Reader<Bounded>,
    /// Where the columns of the request are.
    places: Vec<Option<usize>>,
    carried: Carried,
    record: ByteRecord,
}

impl Rows {
    pub(super) fn open(path: &Path, file: File, request: &Request<'_>) -> Result<Self, ReadError> {
        let mut reader = ReaderBuilder::new()
            .buffer_capacity(BUFFER_BYTES)
            .from_reader(Bounded::new(file));
        let start = Position::new();
        let header = reader
            .headers()
            .map_err(|error| malformed(path, &start, error))?
            .clone();
        let names: Vec<&str> = header.iter().collect();
        Ok(Self {
            places: locate(path, &names, request.columns)?,
            carried: Carried::of_header(path, &names, request)?,
            record: ByteRecord::new(),
            path: path.to_owned(),
            reader,
        })
    }

    /// Appends the next row; whether there was one.
    pub(super) fn next(&mut self, columns: &mut [Growing]) -> Result<bool, ReadError> {
        let (path, record) = (&self.path, &mut self.record);
        let start = self.reader.position().clone();
        self.reader.get_mut().begin_record();
        let is_row = self.reader.read_byte_record(record);
        if !is_row.map_err(|error| malformed(path, &start, error))? {
            return Ok(false);
        }
        let mut push = || {
            for (column, index) in columns.iter_mut().zip(&self.places) {
                let text = index.map(|index| cell(path, record, index)).transpose()?;
                push(column, path, text.flatten())?;
            }
            for (index, column) in self.carried.by_index() {
                push(column, path, cell(path, record, index)?)?;
            }
            Ok(true)
        };
        push().map_err(|error: ReadError| error.with_place(line(path, record.position())))
    }

    /// The columns to carry through.
    pub(super) fn into_carried(self) -> Vec<(String, ArrayRef)> {
        self.carried.into_arrays(super::text::infer)
    }
}

/// The place of rows until an error needs it: see [`line`].
const UNPLACED: Place = Place::Line(0);

fn push(column: &mut Growing, path: &Path, text: Option<&str>) -> Result<(), ReadError> {
    match text {
        Some(text) if !super::text::is_missing(column.wanted.column_type, text) => {
            column.push_text(path, UNPLACED, text)
        }
        _ => column.push_null(path, UNPLACED),
    }
}

/// The text of a cell, none if it is empty.
fn cell<'a>(path: &Path, record: &'a ByteRecord, index: usize) -> Result<Option<&'a str>, ReadError> {
    let bytes = record.get(index).unwrap_or_default();
    let text = std::str::from_utf8(bytes).map_err(|_| ReadError::Malformed {
        path: path.to_owned(),
        place: Some(UNPLACED),
        reason: format!("cell {} is not UTF-8", index + 1),
    })?;
    Ok((!text.is_empty()).then_some(text))
}

/// The error of a row that begins at `start`.
fn malformed(path: &Path, start: &Position, error: csv::Error) -> ReadError {
    let place = error.position().map(|at| line(path, Some(at)));
    let path = path.to_owned();
    match error.into_kind() {
        ErrorKind::Io(source) if source.kind() == io::ErrorKind::InvalidData => ReadError::Malformed {
            place: Some(line(&path, Some(start))),
            path,
            reason: format!("{TOO_LONG}: is a quote left open?"),
        },
        ErrorKind::Io(source) => ReadError::Open { path, source },
        ErrorKind::UnequalLengths { expected_len, len, .. } => ReadError::Malformed {
            path,
            place,
            reason: format!("the row has {len} cells, the header has {expected_len}"),
        },
        ErrorKind::Utf8 { .. } => ReadError::Malformed {
            path,
            place,
            reason: "the header is not UTF-8".to_owned(),
        },
        kind => ReadError::Malformed {
            path,
            place,
            reason: format!("not comma-separated values: {kind:?}"),
        },
    }
}

/// The line on which a row begins. The parser's own count is behind by the empty lines before the row, and by one where
/// lines end in CR LF, as it has not read past those yet; so the lines are counted again from the file.
fn line(path: &Path, position: Option<&Position>) -> Place {
    let count = |position: &Position| -> io::Result<u64> {
        let mut lines = 1;
        for (offset, byte) in (0..).zip(BufReader::new(File::open(path)?).bytes()) {
            match byte? {
                b'\n' => lines += 1,
                b'\r' => {}
                _ if offset >= position.byte() => break,
                _ => {}
            }
        }
        Ok(lines)
    };
    Place::Line(position.map_or(0, |position| count(position).unwrap_or(position.line())))
}
