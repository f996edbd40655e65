use unskew_frame::{ColumnType, MAX_COLUMNS};

use crate::key::MAX_KEY_BYTES;
use crate::row_layout::RowLayout;
use crate::{DeltaOf, EventTime, KeyType, LateEvents, Lateness, Ttl};

/// The most parts of an entity key.
pub const MAX_KEY_COLUMNS: usize = 16;
/// The most features of a view.
pub const MAX_FEATURES: usize = MAX_COLUMNS;
/// The greatest length of the name of a view, a key column or a feature.
pub const MAX_NAME_BYTES: usize = 256;
/// The greatest width of a row's fixed part, vectors and the longest key included.
pub const MAX_ROW_BYTES: usize = 1 << 20;
/// The greatest length of a string, of bytes, of a state.
pub const MAX_VALUE_BYTES: usize = 64 << 10;

/// What a snapshot is of: a view, its key and its features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotSchema {
    /// The name of the feature view.
    pub view: String,
    /// The parts of the entity key, in order; at least one.
    pub key: Vec<KeyColumn>,
    /// The features, in order. None at all makes a set of keys.
    pub features: Vec<FeatureColumn>,
    /// How long a row counts; `None` is for ever.
    pub ttl: Option<Ttl>,
}

impl SnapshotSchema {
    /// The index of the feature of this name.
    pub fn feature_index(&self, name: &str) -> Option<usize> {
        self.features.iter().position(|feature| feature.name == name)
    }

    /// The types of the entity key's parts.
    pub fn key_types(&self) -> Vec<KeyType> {
        self.key.iter().map(|column| column.key_type).collect()
    }

    /// Checks what every snapshot's schema must satisfy.
    ///
    /// # Errors
    /// A limit is exceeded, or a name is empty or there twice.
    pub fn check(&self) -> Result<(), SchemaError> {
        if self.key.is_empty() || self.key.len() > MAX_KEY_COLUMNS {
            return Err(SchemaError::KeyColumnCount { count: self.key.len() });
        }
        if self.features.len() > MAX_FEATURES {
            return Err(SchemaError::FeatureCount {
                count: self.features.len(),
            });
        }
        check_names([self.view.as_str()])?;
        check_names(self.key.iter().map(|column| column.name.as_str()))?;
        check_names(self.features.iter().map(|column| column.name.as_str()))?;
        for feature in &self.features {
            let column_type = feature.column_type;
            if ColumnType::from_tag(column_type.tag(), column_type.vector_len()).is_none() {
                return Err(SchemaError::VectorLen {
                    feature: feature.name.clone(),
                });
            }
        }
        match RowLayout::new(&self.features, MAX_KEY_BYTES) {
            Some(_) => Ok(()),
            None => Err(SchemaError::RowBytes),
        }
    }
}

/// A part of the entity key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub key_type: KeyType,
}

impl KeyColumn {
    /// The part of this name and type.
    pub fn new(name: impl Into<String>, key_type: KeyType) -> Self {
        Self {
            name: name.into(),
            key_type,
        }
    }
}

/// A feature of the view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub column_type: ColumnType,
}

impl FeatureColumn {
    /// The feature of this name and type.
    pub fn new(name: impl Into<String>, column_type: ColumnType) -> Self {
        Self {
            name: name.into(),
            column_type,
        }
    }
}

/// What a snapshot says about itself.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SnapshotMeta {
    /// What the snapshot is of.
    pub schema: SnapshotSchema,
    /// What was known and had happened by this time is in the snapshot, and nothing later.
    pub watermark: EventTime,
    /// The digest of the module that computed the rows, if one did.
    pub module_digest: Option<[u8; 32]>,
    /// The version of the aggregate's states, where the rows hold states.
    pub state_version: Option<u32>,
    /// What an aggregate with a declared lateness left out.
    pub late: Option<LateEvents>,
    /// What it is a delta of; `None` where its rows are all there are.
    pub delta: Option<DeltaOf>,
    /// The rows; of a delta the keys that it removes, too.
    pub row_count: u64,
    /// Of those, the keys that a delta removes.
    pub removed_count: u64,
    /// The first and the last event time; `None` without rows that have one.
    pub event_times: Option<(EventTime, EventTime)>,
    /// Of each feature, in order: a baseline for what is served later.
    pub statistics: Vec<FeatureStatistics>,
    /// What wrote the file: name and version.
    pub builder: String,
}

impl SnapshotMeta {
    /// The lateness that its view declared when it was made.
    pub fn lateness(&self) -> Option<Lateness> {
        self.late.map(|late| late.lateness)
    }
}

/// What a snapshot's writer counted of a feature.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct FeatureStatistics {
    /// Rows without a value.
    pub null_count: u64,
    /// Rows whose value is NaN.
    pub nan_count: u64,
    /// The least and the greatest value, rounded to an f64, of numbers, timestamps and bools, NaN aside; `None` of other types and
    /// where there is no such value.
    pub range: Option<(f64, f64)>,
}

/// Why a schema cannot be a snapshot's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// No key column, or more than [`MAX_KEY_COLUMNS`].
    #[error("the entity key has {count} columns, it must have 1 to {MAX_KEY_COLUMNS}")]
    KeyColumnCount {
        /// How many there are.
        count: usize,
    },
    /// More than [`MAX_FEATURES`] features.
    #[error("there are {count} features, more than {MAX_FEATURES}")]
    FeatureCount {
        /// How many there are.
        count: usize,
    },
    /// A name is empty or longer than [`MAX_NAME_BYTES`].
    #[error("the name `{name}` is empty or longer than {MAX_NAME_BYTES} bytes")]
    Name {
        /// The name, cut short.
        name: String,
    },
    /// Two key columns or two features have one name.
    #[error("the name `{name}` is there twice")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// A vector without elements, or with too many.
    #[error("the feature `{feature}` is a vector whose length is out of range")]
    VectorLen {
        /// The feature.
        feature: String,
    },
    /// The fixed part of a row is wider than [`MAX_ROW_BYTES`].
    #[error("a row is wider than {MAX_ROW_BYTES} bytes: use fewer or shorter vectors")]
    RowBytes,
}

fn check_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<(), SchemaError> {
    let mut seen = std::collections::HashSet::new();
    for name in names {
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            return Err(SchemaError::Name {
                name: name.chars().take(32).collect(),
            });
        }
        if !seen.insert(name) {
            return Err(SchemaError::DuplicateName { name: name.to_owned() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
