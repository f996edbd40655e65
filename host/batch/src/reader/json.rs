use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use arrow::array::ArrayRef;
use serde_json::value::RawValue;
use unskew_frame::{Column, ColumnType};

use super::bounded::{BUFFER_BYTES, MAX_RECORD_BYTES, TOO_LONG};
use super::carry::Carried;
use super::{Growing, Place, ReadError, Request, locate, text};
use crate::array::column_to_array;

/// A line of the file: the text of each value, so that a number is read from its own digits.
type Line<'a> = BTreeMap<String, &'a RawValue>;

const NULL: &str = "null";

/// JSON lines: an object a line; null, or nothing, for a missing value. A column that no line has is one that the file lacks.
/// Empty lines are passed over.
pub(super) struct Rows {
    path: PathBuf,
    reader: BufReader<File>,
    carried: Carried,
    /// The line that first had no value of a column.
    absent: Vec<Option<Place>>,
    /// The columns of all lines so far.
    names: HashSet<String>,
    text: Vec<u8>,
    line: u64,
    rows: usize,
}

impl Rows {
    pub(super) fn open(path: &Path, file: File, request: &Request<'_>) -> Self {
        Self {
            path: path.to_owned(),
            reader: BufReader::with_capacity(BUFFER_BYTES, file),
            carried: Carried::default(),
            absent: vec![None; request.columns.len()],
            names: HashSet::new(),
            text: Vec::new(),
            line: 0,
            rows: 0,
        }
    }

    /// Appends the next row; whether there was one.
    pub(super) fn next(&mut self, columns: &mut [Growing], request: &Request<'_>) -> Result<bool, ReadError> {
        let path = &self.path;
        let (text, place) = loop {
            self.line += 1;
            let place = Place::Line(self.line);
            match read_line(path, place, &mut self.reader, &mut self.text)? {
                0 => return Ok(false),
                _ if self.text.trim_ascii().is_empty() => {}
                _ => break (&self.text, place),
            }
        };
        let text = str::from_utf8(text).map_err(|_| malformed(path, place, "the line is not UTF-8"))?;
        let values: Line<'_> = serde_json::from_str(text).map_err(|error| {
            let reason = format!(
                "the line is not a JSON object: {} at column {}",
                plain(&error),
                error.column()
            );
            malformed(path, place, reason)
        })?;
        for (column, absent) in columns.iter_mut().zip(&mut self.absent) {
            match values.get(&column.wanted.name) {
                Some(raw) => push(column, path, place, raw.get())?,
                None => {
                    // Whether the file lacks the column shows at its end.
                    absent.get_or_insert(place);
                    column.push_absent(path)?;
                }
            }
        }
        for (name, raw) in &values {
            match self.carried.by_name(name, self.rows, request) {
                None => {}
                // Its JSON, until all of its values are known.
                Some((column, false)) if raw.get() != NULL => {
                    column.push_text(path, place, raw.get())?;
                }
                Some((column, _)) => push(column, path, place, raw.get())?,
            }
        }
        self.carried.end_row(path, place, self.rows)?;
        for name in values.into_keys() {
            self.names.insert(name);
        }
        self.rows += 1;
        Ok(true)
    }

    /// Refuses what the lines so far lack: before rows are given out values that must not be missing, and at the end of the
    /// file columns that must be there.
    pub(super) fn check(&self, columns: &[Growing], request: &Request<'_>, is_end: bool) -> Result<(), ReadError> {
        let lacking = columns
            .iter()
            .zip(&self.absent)
            .find_map(|(column, absent)| absent.filter(|_| !column.wanted.nullable).map(|place| (column, place)));
        let required = match lacking {
            _ if is_end && self.rows > 0 => request.columns,
            Some((column, _)) => core::slice::from_ref(&column.wanted),
            None => return Ok(()),
        };
        let mut names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        names.sort_unstable();
        locate(&self.path, &names, required)?;
        lacking.map_or(Ok(()), |(column, place)| Err(column.missing_value(&self.path, place)))
    }

    /// The columns to carry through.
    pub(super) fn into_carried(self) -> Vec<(String, ArrayRef)> {
        self.carried.into_arrays(infer)
    }
}

/// Reads a line in place of the one before, and its end; the bytes of it.
fn read_line(path: &Path, place: Place, reader: &mut BufReader<File>, line: &mut Vec<u8>) -> Result<usize, ReadError> {
    line.clear();
    let read = reader.take(MAX_RECORD_BYTES + 1).read_until(b'\n', line);
    let bytes = read.map_err(|source| ReadError::Open {
        path: path.to_owned(),
        source,
    })?;
    if bytes as u64 > MAX_RECORD_BYTES {
        return Err(malformed(path, place, TOO_LONG));
    }
    Ok(bytes)
}

/// Appends the value that `raw` writes, which is JSON.
fn push(column: &mut Growing, path: &Path, place: Place, raw: &str) -> Result<(), ReadError> {
    let is_quoted_type = matches!(column.wanted.column_type, ColumnType::String | ColumnType::Bytes);
    match unquote(raw) {
        _ if raw == NULL => column.push_null(path, place),
        Some(text) => column.push_text(path, place, &text),
        None if is_quoted_type => Err(column.value_error(path, place, raw.to_owned())),
        None => column.push_text(path, place, raw),
    }
}

/// Texts if all values are texts; numbers or bools if all are; else their JSON as it was written.
fn infer(raws: &Column) -> ArrayRef {
    let view = raws.view();
    let mut texts = Column::new(ColumnType::String);
    for row in 0..raws.rows() {
        if !view.is_present(row) {
            texts.push_null();
        } else if let Some(text) = unquote(view.str(row)) {
            texts.push_str(&text);
        } else {
            return text::infer(raws);
        }
    }
    column_to_array(&texts, texts.rows())
}

/// The text of a JSON string, none of any other value.
fn unquote(raw: &str) -> Option<String> {
    raw.starts_with('"').then(|| serde_json::from_str(raw).ok()).flatten()
}

fn malformed(path: &Path, place: Place, reason: impl Into<String>) -> ReadError {
    ReadError::Malformed {
        path: path.to_owned(),
        place: Some(place),
        reason: reason.into(),
    }
}

/// The message without the line, which is always 1.
fn plain(error: &serde_json::Error) -> String {
    let message = error.to_string();
    match message.find(" at line ") {
        Some(end) => message[..end].to_owned(),
        None => message,
    }
}
