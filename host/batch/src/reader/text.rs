use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array};
use unskew_frame::{Column, ColumnType};
use unskew_snapshot::EventTime;

use crate::array::column_to_array;

/// Appends the value that `text` writes; none, and nothing is appended, if it is no value of the column's type.
pub(super) fn push(column: &mut Column, text: &str) -> Option<()> {
    let trimmed = text.trim_ascii();
    match column.column_type() {
        // The standard library's parsers round correctly: the nearest float to the decimal.
        ColumnType::F64 => column.push_f64(trimmed.parse().ok()?),
        ColumnType::F32 => column.push_f32(trimmed.parse().ok()?),
        ColumnType::I64 => column.push_i64(trimmed.parse().ok()?),
        ColumnType::Bool => column.push_bool(parse_bool(trimmed)?),
        ColumnType::Timestamp => column.push_timestamp(parse_time(trimmed)?.0),
        ColumnType::String => column.push_str(text),
        ColumnType::Bytes => column.push_bytes(&parse_hex(trimmed)?),
        ColumnType::Vector(len) => column.push_vector(&parse_vector(trimmed, len as usize)?),
    }
    Some(())
}

/// What tables write for a missing value where a number, a time or a bool is expected, which it is none of. In a column of
/// texts it is a text.
const MISSING_WORDS: [&str; 6] = ["NA", "N/A", "NULL", "null", "None", "\\N"];

/// Whether a cell of a column of this type is missing by its word.
pub(super) fn is_missing(column_type: ColumnType, text: &str) -> bool {
    !matches!(column_type, ColumnType::String | ColumnType::Bytes) && MISSING_WORDS.contains(&text.trim_ascii())
}

/// The texts as the first of these types that all of them have: i64, f64, bool, and else as they are. A number whose
/// digits a column of numbers would not give back, such as 007 or an identifier of 20 digits, is a text. A word for a
/// missing value is one among numbers and bools.
pub(super) fn infer(texts: &Column) -> ArrayRef {
    let view = texts.view();
    let all_cells = || (0..texts.rows()).map(move |row| view.is_present(row).then(|| view.str(row)));
    let cells = || all_cells().map(|cell| cell.filter(|cell| !MISSING_WORDS.contains(cell)));
    // `Some(None)` is a missing value, `None` ends the attempt.
    fn all<'a, T, A: FromIterator<Option<T>>>(
        cells: impl Iterator<Item = Option<&'a str>>,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<A> {
        cells
            .map(|cell| match cell {
                None => Some(None),
                Some(cell) => parse(cell).map(Some),
            })
            .collect()
    }
    if cells().any(|cell| cell.is_some()) {
        if let Some(array) = all::<i64, Int64Array>(cells(), parse_canonical_i64) {
            return Arc::new(array);
        }
        if let Some(array) = all::<f64, Float64Array>(cells(), parse_decimal) {
            return Arc::new(array);
        }
        if let Some(array) = all::<bool, BooleanArray>(cells(), parse_word) {
            return Arc::new(array);
        }
    }
    column_to_array(texts, texts.rows())
}

/// An RFC 3339 time, or microseconds.
fn parse_time(text: &str) -> Option<EventTime> {
    EventTime::parse_rfc3339(text).or_else(|| text.parse().ok().map(EventTime))
}

fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" => Some(true),
        "0" => Some(false),
        _ => parse_word(text),
    }
}

fn parse_word(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect()
}

fn parse_vector(text: &str, len: usize) -> Option<Vec<f32>> {
    let elements = text.strip_prefix('[')?.strip_suffix(']')?.split(',');
    let vector: Vec<f32> = elements
        .map(|element| element.trim_ascii().parse().ok())
        .collect::<Option<_>>()?;
    (vector.len() == len).then_some(vector)
}

/// An integer in the one form that it is written in.
fn parse_canonical_i64(text: &str) -> Option<i64> {
    let value: i64 = text.parse().ok()?;
    (value.to_string() == text).then_some(value)
}

/// A finite number: an integer that an f64 holds, or one with a fraction or an exponent, without zeros in front.
fn parse_decimal(text: &str) -> Option<f64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_decimal = digits.starts_with(|c: char| c.is_ascii_digit())
        && !(digits.starts_with('0') && digits[1..].starts_with(|c: char| c.is_ascii_digit()));
    let value: f64 = text.parse().ok()?;
    let is_kept = match text.parse::<i64>() {
        Ok(integer) => value as i128 == i128::from(integer),
        Err(_) => digits.contains(['.', 'e', 'E']),
    };
    (is_decimal && is_kept && value.is_finite()).then_some(value)
}

#[cfg(test)]
mod tests;
