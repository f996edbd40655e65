use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryBuilder, BooleanBuilder, FixedSizeListBuilder, Float32Builder,
    PrimitiveArray, StringBuilder, StringDictionaryBuilder,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Int8Type, Int64Type, TimestampMicrosecondType};
use unskew_frame::{Column, ColumnType, ColumnView};
use unskew_snapshot::Status;

mod canonical;
mod read;

pub(crate) use canonical::{canonical_type, to_canonical, value_at};
pub(crate) use read::{append_array, text_bytes};

/// The zone of every timestamp that is written.
const UTC: &str = "UTC";

/// The column as an Arrow array of `rows` rows; a scalar is repeated. Timestamps are in microseconds, UTC; a vector is a
/// fixed-size list of f32.
///
/// # Panics
/// If the column is no scalar and has another number of rows.
pub fn column_to_array(column: &Column, rows: usize) -> ArrayRef {
    assert!(
        column.is_scalar() || column.rows() == rows,
        "a column of {} rows was written as {rows} rows",
        column.rows()
    );
    let view = column.view();
    match column.column_type() {
        ColumnType::F64 => Arc::new(primitives::<Float64Type>(view, view.f64s(), rows)),
        ColumnType::F32 => Arc::new(primitives::<Float32Type>(view, view.f32s(), rows)),
        ColumnType::I64 => Arc::new(primitives::<Int64Type>(view, view.i64s(), rows)),
        ColumnType::Bool => {
            let mut builder = BooleanBuilder::with_capacity(rows);
            present(view, rows).for_each(|row| builder.append_option(row.map(|row| view.bool(row))));
            Arc::new(builder.finish())
        }
        ColumnType::Timestamp => {
            let times = primitives::<TimestampMicrosecondType>(view, view.timestamps(), rows);
            Arc::new(times.with_timezone(UTC))
        }
        ColumnType::String => {
            let mut builder = StringBuilder::with_capacity(rows, 0);
            present(view, rows).for_each(|row| builder.append_option(row.map(|row| view.str(row))));
            Arc::new(builder.finish())
        }
        ColumnType::Bytes => {
            let mut builder = BinaryBuilder::with_capacity(rows, 0);
            present(view, rows).for_each(|row| builder.append_option(row.map(|row| view.bytes(row))));
            Arc::new(builder.finish())
        }
        ColumnType::Vector(len) => vectors_to_array(view, len, rows),
    }
}

/// The names of the statuses, as a dictionary of strings: [`Status::name`].
pub fn status_to_array(statuses: &[Status]) -> ArrayRef {
    let mut builder = StringDictionaryBuilder::<Int8Type>::new();
    for status in statuses {
        // There are fewer statuses than an i8 has indices.
        builder.append_value(status.name());
    }
    Arc::new(builder.finish())
}

/// The type of [`status_to_array`].
pub(crate) fn status_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8))
}

/// The array as a column of `column_type`, where every value keeps its meaning exactly:
///
/// | column | arrays |
/// |---|---|
/// | i64 | integers; u64 up to 2^63 - 1; decimals without a fraction |
/// | f64 | f64, f32, f16; integers that an f64 holds exactly; decimals, as the nearest |
/// | f32 | f32, f16; f64 and integers that an f32 holds exactly; decimals, as the nearest |
/// | bool | booleans; the integers 0 and 1 |
/// | timestamp | timestamps of any unit, with a zone or in UTC; dates, as midnight UTC; i64 microseconds |
/// | string | utf8, large, view |
/// | bytes | binary, large, view, fixed-size |
/// | f32\[N\] | lists of N f32, all present |
///
/// and dictionaries of these. Nanoseconds are cut to the microsecond before, so that an instant and its text form are the
/// same microsecond.
///
/// # Errors
/// The array is of none of these types, a value does not fit, or there are 4 GiB of text.
pub fn array_to_column(array: &dyn Array, column_type: ColumnType) -> Result<Column, CastError> {
    if text_bytes(array) > u64::from(u32::MAX) {
        return Err(CastError::TooLarge);
    }
    let mut column = Column::new(column_type);
    append_array(array, &mut column)?;
    Ok(column)
}

/// An array is not a column of the type that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CastError {
    /// No array of this type can be read as the column's.
    #[error("{from} cannot be read as {to}: write the column as {to}")]
    Type {
        /// The type of the array.
        from: String,
        /// The type of the column.
        to: ColumnType,
    },
    /// One value does not fit.
    #[error("row {}: {value} of {from} is no {to}", row + 1)]
    Value {
        /// The index of the row, from 0.
        row: usize,
        /// The value.
        value: String,
        /// The type of the array.
        from: String,
        /// The type of the column.
        to: ColumnType,
    },
    /// The texts are longer than a column may be.
    #[error("a column cannot hold 4 GiB of text or bytes: split the array")]
    TooLarge,
}

/// An array of `values`, one a row; of a scalar it is one for all.
fn primitives<T: ArrowPrimitiveType>(view: ColumnView<'_>, values: &[T::Native], rows: usize) -> PrimitiveArray<T> {
    let values = match (view.is_scalar(), values.first()) {
        (true, Some(value)) => vec![*value; rows],
        _ => values[..rows].to_vec(),
    };
    let is_present = |row| view.is_present(row);
    let nulls = (!view.is_all_present()).then(|| NullBuffer::new(BooleanBuffer::collect_bool(rows, is_present)));
    PrimitiveArray::new(values.into(), nulls)
}

/// Each row's index, none where its value is missing.
fn present(view: ColumnView<'_>, rows: usize) -> impl Iterator<Item = Option<usize>> {
    (0..rows).map(move |row| view.is_present(row).then_some(row))
}

fn vectors_to_array(view: ColumnView<'_>, len: u32, rows: usize) -> ArrayRef {
    // `MAX_VECTOR_LEN` is far below the greatest i32.
    let element = Field::new("item", DataType::Float32, true);
    let mut builder = FixedSizeListBuilder::new(Float32Builder::new(), len.cast_signed()).with_field(element);
    for row in present(view, rows) {
        match row {
            Some(row) => builder.values().append_slice(view.vector(row)),
            None => builder.values().append_nulls(len as usize),
        }
        builder.append(row.is_some());
    }
    Arc::new(builder.finish())
}

#[cfg(test)]
mod tests;
