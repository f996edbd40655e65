use std::collections::{BTreeMap, HashSet};
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use arrow::array::ArrayRef;
use serde_json::value::RawValue;
use unskew_frame::{Column, ColumnType};

use super::carry::Carried;
use super::{Growing, Place, Read, ReadError, Request, locate, open, text};
use crate::array::column_to_array;

/// A line of the file: the text of each value, so that a number is read from its own digits.
type Line<'a> = BTreeMap<String, &'a RawValue>;

const NULL: &str = "null";

/// Reads JSON lines: an object a line; null, or nothing, for a missing value. A column that no line has is one that the
/// file lacks. Empty lines are passed over.
pub(super) fn read(path: &Path, request: &Request<'_>) -> Result<Read, ReadError> {
    let (file, input) = open(path)?;
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let mut columns = Growing::all(request.columns);
    let mut carried = Carried::default();
    let mut absent: Vec<Option<Place>> = vec![None; columns.len()];
    let mut names = HashSet::new();
    let mut text = String::new();
    let mut rows = 0;
    for line in 1.. {
        let place = Place::Line(line);
        text.clear();
        let read = reader.read_line(&mut text);
        if read.map_err(|error| read_error(path, place, error))? == 0 {
            break;
        }
        if text.trim_ascii().is_empty() {
            continue;
        }
        let values: Line<'_> = serde_json::from_str(&text).map_err(|error| malformed(path, place, error))?;
        for (column, absent) in columns.iter_mut().zip(&mut absent) {
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
            match carried.by_name(name, rows, request) {
                None => {}
                // Its JSON, until all of its values are known.
                Some((column, false)) if raw.get() != NULL => {
                    column.push_text(path, place, raw.get())?;
                }
                Some((column, _)) => push(column, path, place, raw.get())?,
            }
        }
        carried.end_row(path, place, rows)?;
        names.extend(values.into_keys());
        rows += 1;
    }
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.sort_unstable();
    if rows > 0 {
        locate(path, &names, request.columns)?;
    }
    for (column, absent) in columns.iter().zip(absent) {
        if let Some(place) = absent.filter(|_| !column.wanted.nullable) {
            return Err(column.missing_value(path, place));
        }
    }
    Ok(Read {
        columns: columns.into_iter().map(|column| column.column).collect(),
        carried: carried.into_arrays(infer),
        files: vec![input],
    })
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

fn read_error(path: &Path, place: Place, error: io::Error) -> ReadError {
    if error.kind() == io::ErrorKind::InvalidData {
        return ReadError::Malformed {
            path: path.to_owned(),
            place: Some(place),
            reason: "the line is not UTF-8".to_owned(),
        };
    }
    ReadError::Open {
        path: path.to_owned(),
        source: error,
    }
}

fn malformed(path: &Path, place: Place, error: serde_json::Error) -> ReadError {
    ReadError::Malformed {
        path: path.to_owned(),
        place: Some(place),
        reason: format!(
            "the line is not a JSON object: {} at column {}",
            plain(&error),
            error.column()
        ),
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
