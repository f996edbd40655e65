use unskew_frame::Column;
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
        let value = column.value(row);
        if value.is_null() {
            return Ok(None);
        }
        key.push(KeyPart::of(value).ok_or(KeyError::PartType {
            part,
            expected: KeyType::I64,
        })?)?;
    }
    Ok(Some(key))
}

#[cfg(test)]
mod tests;
