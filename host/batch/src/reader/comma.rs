use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::path::Path;

use csv::{ByteRecord, ErrorKind, Position, ReaderBuilder};

use super::carry::Carried;
use super::{Growing, Place, Read, ReadError, Request, locate, open};

/// Reads comma-separated values: a header, `"` for quotes, an empty cell for a missing value.
pub(super) fn read(path: &Path, request: &Request<'_>) -> Result<Read, ReadError> {
    let (file, input) = open(path)?;
    let mut reader = ReaderBuilder::new().from_reader(BufReader::with_capacity(1 << 16, file));
    let header = reader.headers().map_err(|error| malformed(path, error))?.clone();
    let names: Vec<&str> = header.iter().collect();
    let places = locate(path, &names, request.columns)?;
    let mut columns = Growing::all(request.columns);
    let mut carried = Carried::of_header(path, &names, request)?;
    let mut record = ByteRecord::new();
    while reader
        .read_byte_record(&mut record)
        .map_err(|error| malformed(path, error))?
    {
        let mut push = || {
            for (column, index) in columns.iter_mut().zip(&places) {
                let text = index.map(|index| cell(path, &record, index)).transpose()?;
                push(column, path, text.flatten())?;
            }
            for (index, column) in carried.by_index() {
                push(column, path, cell(path, &record, index)?)?;
            }
            Ok(())
        };
        push().map_err(|error: ReadError| error.with_place(line(path, record.position())))?;
    }
    Ok(Read {
        columns: columns.into_iter().map(|column| column.column).collect(),
        carried: carried.into_arrays(super::text::infer),
        files: vec![input],
    })
}

/// The place of rows until an error needs it: see [`line`].
const UNPLACED: Place = Place::Line(0);

fn push(column: &mut Growing, path: &Path, text: Option<&str>) -> Result<(), ReadError> {
    match text {
        Some(text) => column.push_text(path, UNPLACED, text),
        None => column.push_null(path, UNPLACED),
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

fn malformed(path: &Path, error: csv::Error) -> ReadError {
    let place = error.position().map(|at| line(path, Some(at)));
    let path = path.to_owned();
    match error.into_kind() {
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
