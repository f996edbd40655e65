use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use unskew_frame::ColumnType;

use crate::nearest::nearest;

/// The letters of a value that a message shows.
const MAX_SHOWN: usize = 64;

/// Why a source could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file or directory is missing or unreadable.
    #[error("cannot read {}", path.display())]
    Open {
        /// What was read.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The name tells no format.
    #[error(
        "{}: the name does not say what it is: name it .csv, .jsonl, .ndjson or .parquet, or give a directory of .parquet files",
        path.display()
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// A directory without data.
    #[error("{}: the directory has no .parquet files", path.display())]
    EmptyDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// The file is not what its name says: cut short, damaged, or of another format.
    #[error("{}: {}{reason}", path.display(), prefix(place))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where, if that is known.
        place: Option<Place>,
        /// What is wrong.
        reason: String,
    },
    /// The file lacks a column.
    #[error("{}: no column `{column}`{}", path.display(), choices(column, available))]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// The columns that the file has.
        available: Vec<String>,
    },
    /// The file has several columns of one name.
    #[error("{}: several columns are named `{column}`: rename all but one", path.display())]
    DuplicateColumn {
        /// The file.
        path: PathBuf,
        /// The name.
        column: String,
    },
    /// No value of the column's type in this file can be read as the type that was asked for.
    #[error("{}: column `{column}`: {reason}", path.display())]
    ColumnType {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// What is wrong.
        reason: String,
    },
    /// A value is of another type.
    #[error("{}: {place}, column `{column}`: `{value}` is no {expected}{}", path.display(), hint(*expected))]
    Value {
        /// The file.
        path: PathBuf,
        /// Its row.
        place: Place,
        /// Its column.
        column: String,
        /// The type.
        expected: ColumnType,
        /// The value, cut if it is long.
        value: String,
    },
    /// A value is missing where it must not be.
    #[error(
        "{}: {place}, column `{column}`: the value is missing: fill it in, or leave the row out",
        path.display()
    )]
    MissingValue {
        /// The file.
        path: PathBuf,
        /// Its row.
        place: Place,
        /// Its column.
        column: String,
    },
    /// More rows or text than a table holds.
    #[error(
        "{}: column `{column}` is too large for one table: it would have over 2^32 rows or 4 GiB of text",
        path.display()
    )]
    TooLarge {
        /// The file that it does not fit with.
        path: PathBuf,
        /// The column.
        column: String,
    },
}

impl ReadError {
    /// The file or directory at fault.
    pub fn path(&self) -> &Path {
        match self {
            Self::Open { path, .. }
            | Self::UnknownFormat { path }
            | Self::EmptyDirectory { path }
            | Self::Malformed { path, .. }
            | Self::MissingColumn { path, .. }
            | Self::DuplicateColumn { path, .. }
            | Self::ColumnType { path, .. }
            | Self::Value { path, .. }
            | Self::MissingValue { path, .. }
            | Self::TooLarge { path, .. } => path,
        }
    }

    /// The same error at another place of its file, if it has one.
    pub(super) fn with_place(mut self, at: Place) -> Self {
        match &mut self {
            Self::Malformed { place: Some(place), .. }
            | Self::Value { place, .. }
            | Self::MissingValue { place, .. } => *place = at,
            _ => {}
        }
        self
    }
}

/// Where a row is in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a text file, by the line it begins on, from 1.
    Line(u64),
    /// In a Parquet file, by the number of the row, from 1.
    Row(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Row(row) => write!(f, "row {row}"),
        }
    }
}

/// The beginning of a long value.
pub(super) fn shorten(mut value: String) -> String {
    if let Some((end, _)) = value.char_indices().nth(MAX_SHOWN) {
        value.truncate(end);
        value.push('…');
    }
    value
}

fn prefix(place: &Option<Place>) -> String {
    place.map_or_else(String::new, |place| format!("{place}: "))
}

fn choices(column: &str, available: &[String]) -> String {
    let names = available.iter().map(String::as_str);
    let meant = nearest(column, names.clone())
        .map(|name| format!(", did you mean `{name}`?"))
        .unwrap_or_default();
    let names: Vec<&str> = names.collect();
    format!("{meant} (the file has {})", names.join(", "))
}

/// What a value of the type looks like in a text file, where that is not plain.
const fn hint(expected: ColumnType) -> &'static str {
    match expected {
        ColumnType::Timestamp => ": write 2024-01-15T10:00:00Z or microseconds since 1970-01-01T00:00:00Z",
        ColumnType::Bool => ": write true, false, 1 or 0",
        ColumnType::Bytes => ": write hexadecimal digits",
        ColumnType::Vector(_) => ": write as many numbers as the type says, as in [0.5, 1]",
        _ => "",
    }
}
