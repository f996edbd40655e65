use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int64Array, StringArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::Int64Type;
use unskew_snapshot::{EntityKey, KeyError, KeyPart, KeyType};

/// A word for the entity key of each row: equal keys have equal words. What the batch side partitions and sorts by.
///
/// A key of one integer has a word of its own; of other keys the word is their hash, and whoever finds two words equal
/// compares the keys.
pub(crate) struct KeyWords {
    pub words: Vec<u64>,
    /// The rows that have a key; all, if none. A key with a missing part is nobody's.
    present: Option<NullBuffer>,
    /// Whether equal words mean equal keys.
    pub is_exact: bool,
}

/// A row's key is not one.
pub(crate) struct WordError {
    /// The index of the row.
    pub row: usize,
    pub source: KeyError,
}

impl KeyWords {
    /// The words of keys whose parts are these columns.
    ///
    /// # Errors
    /// A key is too long.
    pub fn of(columns: &[ArrayRef], rows: usize) -> Result<Self, WordError> {
        let mut failed = None;
        let words = Self::with(columns, rows, |row, source| {
            failed.get_or_insert(WordError { row, source });
        });
        failed.map_or(Ok(words), Err)
    }

    /// The same, where a key that is too long is nobody's.
    pub fn lenient(columns: &[ArrayRef], rows: usize) -> Self {
        let mut too_long = Vec::new();
        let mut words = Self::with(columns, rows, |row, _| too_long.push(row));
        if !too_long.is_empty() {
            let mut present: Vec<bool> = (0..rows).map(|row| words.is_present(row)).collect();
            too_long.iter().for_each(|row| present[*row] = false);
            words.present = Some(present.into());
        }
        words
    }

    fn with(columns: &[ArrayRef], rows: usize, mut fail: impl FnMut(usize, KeyError)) -> Self {
        let present = columns.iter().fold(None, |present: Option<NullBuffer>, column| {
            NullBuffer::union(present.as_ref(), column.logical_nulls().as_ref())
        });
        let present = present.filter(|present| present.null_count() > 0);
        if let [column] = columns
            && let Some(values) = column.as_primitive_opt::<Int64Type>()
        {
            let words = values
                .values()
                .iter()
                .map(|value| spread(value.cast_unsigned()))
                .collect();
            return Self {
                words,
                present,
                is_exact: true,
            };
        }
        let keys = KeyColumns::new(columns);
        let mut key = EntityKey::default();
        let mut word = |row: usize| {
            if present.as_ref().is_some_and(|present| present.is_null(row)) {
                return 0;
            }
            match keys.encode(row, &mut key) {
                Ok(()) => key.as_ref().hash(),
                Err(error) => {
                    fail(row, error);
                    0
                }
            }
        };
        let words = (0..rows).map(&mut word).collect();
        Self {
            words,
            present,
            is_exact: false,
        }
    }

    /// Whether row `row` has a key.
    #[inline]
    pub fn is_present(&self, row: usize) -> bool {
        self.present.as_ref().is_none_or(|present| present.is_valid(row))
    }
}

/// The partition of a word, of `1 << bits`.
#[inline]
pub(crate) const fn partition_of(word: u64, bits: u32) -> usize {
    match word.checked_shr(u64::BITS - bits) {
        Some(partition) => partition as usize,
        None => 0,
    }
}

/// A bijection whose upper bits depend on all bits: the finalizer of splitmix64.
const fn spread(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The columns of entity keys, to compare keys and to make them.
pub(crate) struct KeyColumns<'a> {
    parts: Vec<Part<'a>>,
}

enum Part<'a> {
    I64(&'a Int64Array),
    String(&'a StringArray),
    Bytes(&'a BinaryArray),
    /// A type that keys do not have. A plan has none.
    Other,
}

impl<'a> KeyColumns<'a> {
    /// Of canonical arrays.
    pub fn new(columns: &'a [ArrayRef]) -> Self {
        let part = |column: &'a ArrayRef| {
            if let Some(array) = column.as_primitive_opt::<Int64Type>() {
                Part::I64(array)
            } else if let Some(array) = column.as_string_opt::<i32>() {
                Part::String(array)
            } else if let Some(array) = column.as_binary_opt::<i32>() {
                Part::Bytes(array)
            } else {
                Part::Other
            }
        };
        Self {
            parts: columns.iter().map(part).collect(),
        }
    }

    /// Whether the key of row `row` is that of row `other_row` of `other`. Both rows have keys.
    pub fn is_same(&self, row: usize, other: &KeyColumns<'_>, other_row: usize) -> bool {
        self.parts.iter().zip(&other.parts).all(|parts| match parts {
            (Part::I64(a), Part::I64(b)) => a.value(row) == b.value(other_row),
            (Part::String(a), Part::String(b)) => a.value(row) == b.value(other_row),
            (Part::Bytes(a), Part::Bytes(b)) => a.value(row) == b.value(other_row),
            _ => false,
        })
    }

    /// The key of a row that has one, into `key`.
    pub fn encode(&self, row: usize, key: &mut EntityKey) -> Result<(), KeyError> {
        key.clear();
        for (index, part) in self.parts.iter().enumerate() {
            key.push(match part {
                Part::I64(array) => KeyPart::I64(array.value(row)),
                Part::String(array) => KeyPart::String(array.value(row)),
                Part::Bytes(array) => KeyPart::Bytes(array.value(row)),
                Part::Other => {
                    return Err(KeyError::PartType {
                        part: index,
                        expected: KeyType::I64,
                    });
                }
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
