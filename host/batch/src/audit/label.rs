use std::fmt;
use std::str::FromStr;

use arrow::array::ArrayRef;
use unskew_frame::{Column, ColumnType, Value};
use unskew_snapshot::EventTime;

use crate::array::{CastError, array_to_column};
use crate::table::times_of;
use crate::training_set::TrainingSet;

/// What a model is to predict: a column of the spine that is 0 and 1 or false and true, or that is above a number.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// The column.
    pub column: String,
    /// What a positive label is above; 0, if it is not told.
    pub above: Option<f64>,
}

/// A text is no [`Label`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no label: write a column, or a column and what a positive label is above, as in `delay > 15`")]
pub struct ParseLabelError(String);

impl FromStr for Label {
    type Err = ParseLabelError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseLabelError(text.to_owned());
        let (column, above) = match text.split_once('>') {
            None => (text, None),
            Some((column, above)) => (column, Some(above.trim().parse().map_err(|_| error())?)),
        };
        let column = column.trim().to_owned();
        match column.is_empty() {
            true => Err(error()),
            false => Ok(Self { column, above }),
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.above {
            None => f.write_str(&self.column),
            Some(above) => write!(f, "{} > {above}", self.column),
        }
    }
}

/// Why a label cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabelError {
    /// The spine has no such column.
    #[error("the spine has no column `{column}`; it has {}", known.join(", "))]
    Missing {
        /// The column.
        column: String,
        /// Those that it has.
        known: Vec<String>,
    },
    /// The column is of another type.
    #[error("column `{column}` of the spine")]
    Type {
        /// The column.
        column: String,
        /// What is wrong.
        source: CastError,
    },
    /// Without a number that they are above, values are 0 and 1.
    #[error("row {}, column `{column}` of the spine: a label is 0 or 1, and this is {value}: say what a positive one is above", row + 1)]
    Value {
        /// The column.
        column: String,
        /// The row, from 0.
        row: usize,
        /// The value.
        value: f64,
    },
}

/// The labels of a spine.
pub(super) struct Outcomes(Vec<Option<bool>>);

impl Outcomes {
    pub fn of(set: &TrainingSet, label: &Label) -> Result<Self, LabelError> {
        let column = find(set, &label.column, ColumnType::F64)?;
        let outcome = |row: usize| match (column.value(row), label.above) {
            (Value::F64(value), Some(above)) => Ok((!value.is_nan()).then_some(above < value)),
            (Value::F64(0.0), None) => Ok(Some(false)),
            (Value::F64(1.0), None) => Ok(Some(true)),
            (Value::F64(value), None) if !value.is_nan() => Err(LabelError::Value {
                column: label.column.clone(),
                row,
                value,
            }),
            _ => Ok(None),
        };
        (0..column.rows()).map(outcome).collect::<Result<_, _>>().map(Self)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn get(&self, row: usize) -> Option<bool> {
        self.0[row]
    }

    /// The positive and the negative ones.
    pub fn counts(&self) -> [u64; 2] {
        [true, false].map(|kind| self.0.iter().filter(|outcome| **outcome == Some(kind)).count() as u64)
    }
}

/// The times in a column of the spine.
pub(super) fn times(set: &TrainingSet, column: &str) -> Result<Vec<Option<EventTime>>, LabelError> {
    find(set, column, ColumnType::Timestamp).map(|column| times_of(&column))
}

/// A column of the spine, carried or a field, as one of a type.
fn find(set: &TrainingSet, name: &str, column_type: ColumnType) -> Result<Column, LabelError> {
    let wrong = |source| LabelError::Type {
        column: name.to_owned(),
        source,
    };
    let array: ArrayRef = if let Some((_, array)) = set.spine.labels.iter().find(|(known, _)| known == name) {
        array.clone()
    } else if let Some((_, column)) = set.spine.fields.iter().find(|(known, _)| known == name) {
        crate::array::column_to_array(column, set.spine.times.len())
    } else {
        let carried = set.spine.labels.iter().map(|(name, _)| name);
        let fields = set.spine.fields.iter().map(|(name, _)| name);
        return Err(LabelError::Missing {
            column: name.to_owned(),
            known: carried.chain(fields).cloned().collect(),
        });
    };
    match (array.data_type(), column_type) {
        // What is false or true, as 0 or 1.
        (arrow::datatypes::DataType::Boolean, ColumnType::F64) => {
            let integers = arrow::compute::cast(&array, &arrow::datatypes::DataType::Int64);
            let integers = integers.map_err(|_| CastError::Type {
                from: array.data_type().to_string(),
                to: column_type,
            });
            array_to_column(&integers.map_err(wrong)?, column_type).map_err(wrong)
        }
        // The times of text files are texts until somebody asks for them.
        (arrow::datatypes::DataType::Utf8, ColumnType::Timestamp) => times_of_texts(&array).map_err(wrong),
        _ => array_to_column(&array, column_type).map_err(wrong),
    }
}

fn times_of_texts(array: &ArrayRef) -> Result<Column, CastError> {
    let texts = array_to_column(array, ColumnType::String)?;
    let mut times = Column::new(ColumnType::Timestamp);
    for row in 0..texts.rows() {
        match texts.value(row) {
            Value::String(text) => match EventTime::parse_rfc3339(text.trim_ascii()) {
                Some(time) => times.push_timestamp(time.0),
                None => {
                    return Err(CastError::Value {
                        row,
                        value: text.to_owned(),
                        from: "a text".to_owned(),
                        to: ColumnType::Timestamp,
                    });
                }
            },
            _ => times.push_null(),
        }
    }
    Ok(times)
}
