use std::cmp::Ordering;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use arrow::array::{Array, ArrayRef, BooleanArray, Scalar, make_comparator};
use arrow::compute::kernels::cmp::{eq, gt, gt_eq, lt, lt_eq};
use arrow::compute::{SortOptions, and, prep_null_mask_filter};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use unskew_frame::{Column, ColumnType};

use super::{ReadError, Wanted, text};
use crate::array::{canonical_type, column_to_array};
use crate::survey::readable_as;

/// Which rows of a spine to take: conditions on its columns, all of which hold. `date >= 2026-01-01 and date < 2026-02-01`.
///
/// A condition is a column, one of `=`, `<`, `<=`, `>` and `>=`, and a value: a date or a time of RFC 3339, an integer, or a
/// text, which may be in quotes. A row that has no value does not fulfil it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub(super) conditions: Vec<Condition>,
}

/// A condition of a [`Filter`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub column: String,
    comparison: Comparison,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
}

/// In the order in which they are looked for: none begins with one before it.
const COMPARISONS: [(&str, Comparison); 6] = [
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("==", Comparison::Equal),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
    ("=", Comparison::Equal),
];

/// A text is no [`Filter`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no condition: write a column, one of = < <= > >= and a value, as in `date >= 2026-01-01`")]
pub struct ParseFilterError(String);

impl Filter {
    /// Whether it takes every row.
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    /// Adds the conditions of another.
    pub fn and(mut self, other: Self) -> Self {
        self.conditions.extend(other.conditions);
        self
    }
}

impl FromStr for Filter {
    type Err = ParseFilterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let conditions = split_and(text).into_iter().map(parse_condition);
        Ok(Self {
            conditions: conditions.collect::<Result<_, _>>()?,
        })
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, condition) in self.conditions.iter().enumerate() {
            let and = if index > 0 { " and " } else { "" };
            let (sign, _) = COMPARISONS
                .iter()
                .rev()
                .find(|(_, comparison)| *comparison == condition.comparison)
                .unwrap_or(&COMPARISONS[0]);
            write!(f, "{and}{} {sign} {}", condition.column, condition.value)?;
        }
        Ok(())
    }
}

/// A condition on a column of a type.
pub(super) struct TypedCondition {
    pub column_type: ColumnType,
    comparison: Comparison,
    /// A canonical array of one row.
    value: ArrayRef,
}

/// What a condition says of all rows of a row group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    None,
    Some,
    All,
}

impl Condition {
    /// The condition on a column that is stored so, or read as `wanted`.
    pub fn typed(
        &self,
        path: &Path,
        stored: &DataType,
        wanted: Option<ColumnType>,
    ) -> Result<TypedCondition, ReadError> {
        let error = |reason: String| ReadError::ColumnType {
            path: path.to_owned(),
            column: self.column.clone(),
            reason,
        };
        let column_type = match wanted.or_else(|| readable_as(stored)) {
            Some(found @ (ColumnType::Timestamp | ColumnType::I64 | ColumnType::String)) => found,
            _ => {
                let reason = format!("{stored} cannot be compared: conditions are on times, integers and strings");
                return Err(error(reason));
            }
        };
        let mut value = Column::new(column_type);
        text::push(&mut value, &self.value)
            .ok_or_else(|| error(format!("`{}` is no {column_type} to compare it with", self.value)))?;
        Ok(TypedCondition {
            column_type,
            comparison: self.comparison,
            value: column_to_array(&value, 1),
        })
    }
}

impl TypedCondition {
    /// Which rows of a canonical array fulfil it.
    pub fn mask(&self, array: &ArrayRef) -> Result<BooleanArray, ArrowError> {
        let value = Scalar::new(&self.value);
        let mask = match self.comparison {
            Comparison::Less => lt(array, &value),
            Comparison::LessOrEqual => lt_eq(array, &value),
            Comparison::Equal => eq(array, &value),
            Comparison::GreaterOrEqual => gt_eq(array, &value),
            Comparison::Greater => gt(array, &value),
        }?;
        Ok(match mask.null_count() {
            0 => mask,
            _ => prep_null_mask_filter(&mask),
        })
    }

    /// What it says of rows whose values lie from the least to the greatest in row `row` of these canonical arrays, of which
    /// `nulls` are missing.
    pub fn verdict(&self, mins: &ArrayRef, maxes: &ArrayRef, row: usize, nulls: Option<u64>) -> Verdict {
        let compare = |bounds: &ArrayRef| -> Option<Ordering> {
            let is_known = *bounds.data_type() == canonical_type(self.column_type) && bounds.is_valid(row);
            let compare = make_comparator(&**bounds, &*self.value, SortOptions::default()).ok()?;
            is_known.then(|| compare(row, 0))
        };
        let (Some(min), Some(max)) = (compare(mins), compare(maxes)) else {
            return Verdict::Some;
        };
        let (is_none, is_all) = match self.comparison {
            Comparison::Less => (min.is_ge(), max.is_lt()),
            Comparison::LessOrEqual => (min.is_gt(), max.is_le()),
            Comparison::Equal => (min.is_gt() || max.is_lt(), min.is_eq() && max.is_eq()),
            Comparison::GreaterOrEqual => (max.is_lt(), min.is_ge()),
            Comparison::Greater => (max.is_le(), min.is_gt()),
        };
        match (is_none, is_all && nulls == Some(0)) {
            (true, _) => Verdict::None,
            (false, true) => Verdict::All,
            (false, false) => Verdict::Some,
        }
    }
}

/// Where a condition's column is among the columns of a file.
pub(super) fn locate(path: &Path, names: &[&str], column: &str) -> Result<usize, ReadError> {
    let wanted = Wanted {
        name: column.to_owned(),
        column_type: ColumnType::String,
        required: true,
        nullable: true,
    };
    let found = super::locate(path, names, &[wanted])?;
    Ok(found.into_iter().flatten().next().unwrap_or(0))
}

/// The rows that all of these masks have.
pub(super) fn all_of(masks: Vec<BooleanArray>) -> Result<Option<BooleanArray>, ArrowError> {
    let mut masks = masks.into_iter();
    let Some(first) = masks.next() else {
        return Ok(None);
    };
    masks.try_fold(first, |all, mask| and(&all, &mask)).map(Some)
}

/// The parts between the words `and` that are not in quotes.
fn split_and(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut quote) = (Vec::new(), 0, None);
    for (index, letter) in text.char_indices() {
        match (quote, letter) {
            (Some(open), _) if open == letter => quote = None,
            (None, '\'' | '"') => quote = Some(letter),
            (None, letter) if letter.is_whitespace() => {
                let behind = &text[index..];
                let word = behind.trim_start();
                let is_and = word.get(..3).is_some_and(|word| word.eq_ignore_ascii_case("and"))
                    && (word.len() == 3 || word[3..].starts_with(char::is_whitespace));
                if is_and && start <= index {
                    parts.push(&text[start..index]);
                    start = index + (behind.len() - word.len()) + 3;
                }
            }
            _ => {}
        }
    }
    parts.push(text.get(start..).unwrap_or_default());
    parts
}

fn parse_condition(text: &str) -> Result<Condition, ParseFilterError> {
    let error = || ParseFilterError(text.trim().to_owned());
    let at = text.find(['<', '>', '=']).ok_or_else(error)?;
    let (column, rest) = text.split_at(at);
    let (sign, comparison) = COMPARISONS
        .iter()
        .find(|(sign, _)| rest.starts_with(sign))
        .ok_or_else(error)?;
    let column = unquote(column.trim());
    let value = unquote(rest[sign.len()..].trim());
    if column.is_empty() || value.is_empty() || value.starts_with(['<', '>', '=']) {
        return Err(error());
    }
    Ok(Condition {
        column: column.to_owned(),
        comparison: *comparison,
        value: value.to_owned(),
    })
}

fn unquote(text: &str) -> &str {
    let inside = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    inside('\'').or_else(|| inside('"')).unwrap_or(text)
}

#[cfg(test)]
mod tests;
