use unskew_frame::{Column, ColumnType, Value};
use unskew_snapshot::{EntityKey, KeyError, KeyPart, KeyType};

/// The entity key of each of `rows` rows, from the columns of its parts in order; none where a part is missing.
///
/// # Errors
/// A key is too long, or a column is of a type that keys do not have.
///
/// # Panics
/// If a column has fewer rows.
pub fn entity_keys(columns: &[&Column], rows: usize) -> Result<Vec<Option<EntityKey>>, EntityKeyError> {
    (0..rows)
        .map(|row| entity_key(columns, row).map_err(|source| EntityKeyError { row, source }))
        .collect()
}

/// The type of a column that holds parts of a key.
pub const fn key_column_type(key_type: KeyType) -> ColumnType {
    match key_type {
        KeyType::I64 => ColumnType::I64,
        KeyType::String => ColumnType::String,
        KeyType::Bytes => ColumnType::Bytes,
    }
}

/// A row's values are not an entity key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("row {}: no entity key can be made", row + 1)]
#[non_exhaustive]
pub struct EntityKeyError {
    /// The index of the row, from 0.
    pub row: usize,
    /// What is wrong with it.
    pub source: KeyError,
}

fn entity_key(columns: &[&Column], row: usize) -> Result<Option<EntityKey>, KeyError> {
    let mut key = EntityKey::default();
    for (part, column) in columns.iter().enumerate() {
        key.push(match column.value(row) {
            Value::Null => return Ok(None),
            Value::I64(value) => KeyPart::I64(value),
            Value::String(value) => KeyPart::String(value),
            Value::Bytes(value) => KeyPart::Bytes(value),
            _ => {
                return Err(KeyError::PartType {
                    part,
                    expected: KeyType::I64,
                });
            }
        })?;
    }
    Ok(Some(key))
}

#[cfg(test)]
mod tests;
