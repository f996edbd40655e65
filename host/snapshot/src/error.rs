use std::io;
use std::path::{Path, PathBuf};

use unskew_frame::ColumnType;

use crate::delta::MAX_DELTAS;
use crate::header::{FORMAT_VERSION, Section};
use crate::schema::MAX_VALUE_BYTES;
use crate::{EventTime, KeyError, SchemaError};

/// Why a snapshot was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The operating system refused.
    #[error("cannot {operation} the snapshot {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The path is not that of a regular file.
    #[error("{} is {found}, not a snapshot file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What is there, as in `a directory`.
        found: &'static str,
    },
    /// The file has no bytes.
    #[error("{} is empty, not a snapshot file", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file is of another kind.
    #[error("{} is not a snapshot file: it begins otherwise", path.display())]
    NotASnapshot {
        /// The file.
        path: PathBuf,
    },
    /// The file is whole, and of a format version that this code does not read.
    #[error("the snapshot {} has format version {found}; this program reads version {FORMAT_VERSION}", path.display())]
    UnsupportedVersion {
        /// The file.
        path: PathBuf,
        /// Its format version.
        found: u32,
    },
    /// The bytes are not those that a writer wrote.
    #[error("the snapshot {} is corrupt in its {section} at offset {offset}: {flaw}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where, by name.
        section: Section,
        /// Where, in bytes from the start of the file.
        offset: u64,
        /// What is wrong there.
        flaw: String,
    },
}

impl OpenError {
    /// Whether the bytes are not a whole snapshot, so that another copy of the file may cure it.
    pub fn is_corrupt(&self) -> bool {
        matches!(
            self,
            Self::Corrupt { .. } | Self::Empty { .. } | Self::NotASnapshot { .. }
        )
    }

    /// Whether the file needs another version of this program.
    pub fn is_unsupported_version(&self) -> bool {
        matches!(self, Self::UnsupportedVersion { .. })
    }

    pub(crate) fn io(path: &Path, operation: &'static str, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            operation,
            source,
        }
    }
}

/// What is wrong with the bytes of a snapshot; an [`OpenError`] once the file's name is added.
#[derive(Debug)]
pub(crate) enum Flaw {
    NotASnapshot,
    Version(u32),
    Corrupt {
        section: Section,
        offset: u64,
        flaw: String,
    },
}

impl Flaw {
    pub(crate) fn corrupt(section: Section, offset: u64, flaw: impl Into<String>) -> Self {
        Self::Corrupt {
            section,
            offset,
            flaw: flaw.into(),
        }
    }

    pub(crate) fn in_file(self, path: &Path) -> OpenError {
        let path = path.to_owned();
        match self {
            Self::NotASnapshot => OpenError::NotASnapshot { path },
            Self::Version(found) => OpenError::UnsupportedVersion { path, found },
            Self::Corrupt { section, offset, flaw } => OpenError::Corrupt {
                path,
                section,
                offset,
                flaw,
            },
        }
    }
}

/// Why a snapshot was not written. Rows are counted from 0 in the order of their pushes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The operating system refused.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// There is a file of this name, and snapshots are never overwritten.
    #[error("{} exists already and snapshots are not overwritten: choose another name", path.display())]
    AlreadyExists {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused something to a file without a name.
    #[error("cannot write rows to disk")]
    Spill(#[from] io::Error),
    /// The schema cannot be a snapshot's.
    #[error("the schema cannot be written")]
    Schema(#[from] SchemaError),
    /// A key is not of the schema's key columns.
    #[error("row {row}: the key {key} does not fit the schema")]
    Key {
        /// The row.
        row: u64,
        /// The key, as text.
        key: String,
        /// What does not fit.
        source: KeyError,
    },
    /// A row has another number of values than the schema has features.
    #[error("row {row} has {found} values, the schema has {expected} features")]
    ValueCount {
        /// The row.
        row: u64,
        /// The schema's features.
        expected: usize,
        /// The row's values.
        found: usize,
    },
    /// A value is of another type than its feature.
    #[error("row {row}: the value of feature `{feature}` is not of type {expected}")]
    ValueType {
        /// The row.
        row: u64,
        /// The feature.
        feature: String,
        /// The feature's type.
        expected: ColumnType,
    },
    /// A string or bytes beyond [`MAX_VALUE_BYTES`].
    #[error("row {row}: the value of feature `{feature}` has {value_bytes} bytes, more than {MAX_VALUE_BYTES}")]
    ValueBytes {
        /// The row.
        row: u64,
        /// The feature.
        feature: String,
        /// The length of the value.
        value_bytes: usize,
    },
    /// A row happened or became known after the watermark, so the snapshot must not hold it.
    #[error("row {row}: {time} is later than the watermark {watermark}")]
    AfterWatermark {
        /// The row.
        row: u64,
        /// The event time or known-at of the row.
        time: EventTime,
        /// The watermark of the snapshot.
        watermark: EventTime,
    },
    /// Two rows have one key, and duplicates are refused.
    #[error("the key {key} has several rows: let the as-of rule choose, or push it once")]
    DuplicateKey {
        /// The key, as text.
        key: String,
    },
    /// A key is removed in a snapshot that is no delta.
    #[error("the key {key} cannot be removed: a snapshot that is no delta has only the keys that there are")]
    NotADelta {
        /// The key, as text.
        key: String,
    },
    /// A delta has a number that none has, or its base and what it follows do not agree with that number.
    #[error("a base has at most {MAX_DELTAS} deltas, of which the first alone follows it directly: compact them")]
    DeltaNumber,
    /// More rows, keys or values than a file can address.
    #[error("there are more than {limit} {what}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much there may be.
        limit: u64,
    },
}

impl WriteError {
    /// Whether the name is taken.
    pub fn is_already_exists(&self) -> bool {
        matches!(self, Self::AlreadyExists { .. })
    }

    /// Names the file, where the operating system refused without one being named.
    pub(crate) fn in_file(self, path: &Path) -> Self {
        match self {
            Self::Spill(source) => Self::io(path, "write", source),
            other => other,
        }
    }

    pub(crate) fn io(path: &Path, operation: &'static str, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            operation,
            source,
        }
    }
}
