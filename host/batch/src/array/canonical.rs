use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use unskew_frame::{ColumnType, Value, canonical_f32, canonical_f64};

use super::{CastError, UTC, array_to_column, column_to_array};

/// The type of the one kind of array that stands for a column of `column_type`: what
/// [`column_to_array`](super::column_to_array) gives.
pub(crate) fn canonical_type(column_type: ColumnType) -> DataType {
    match column_type {
        ColumnType::F64 => DataType::Float64,
        ColumnType::F32 => DataType::Float32,
        ColumnType::I64 => DataType::Int64,
        ColumnType::Bool => DataType::Boolean,
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
        ColumnType::String => DataType::Utf8,
        ColumnType::Bytes => DataType::Binary,
        ColumnType::Vector(len) => {
            // `MAX_VECTOR_LEN` is far below the greatest i32.
            DataType::FixedSizeList(Arc::new(Field::new("item", DataType::Float32, true)), len.cast_signed())
        }
    }
}

/// The array that stands for the same column as `array` does, as [`array_to_column`](super::array_to_column) reads it: the
/// same values, NaN canonical. Copies nothing where the array is one already.
pub(crate) fn to_canonical(array: &ArrayRef, column_type: ColumnType) -> Result<ArrayRef, CastError> {
    match (column_type, array.data_type()) {
        (ColumnType::F64, DataType::Float64) => {
            let values: &PrimitiveArray<Float64Type> = array.as_primitive();
            if values.values().iter().all(|v| !v.is_nan()) {
                return Ok(Arc::clone(array));
            }
            let canonical: PrimitiveArray<Float64Type> = values.unary(canonical_f64);
            Ok(Arc::new(canonical))
        }
        (ColumnType::F32, DataType::Float32) => {
            let values: &PrimitiveArray<Float32Type> = array.as_primitive();
            if values.values().iter().all(|v| !v.is_nan()) {
                return Ok(Arc::clone(array));
            }
            let canonical: PrimitiveArray<Float32Type> = values.unary(canonical_f32);
            Ok(Arc::new(canonical))
        }
        (ColumnType::Timestamp, DataType::Timestamp(TimeUnit::Microsecond, _)) => {
            let times: &PrimitiveArray<TimestampMicrosecondType> = array.as_primitive();
            Ok(Arc::new(times.clone().with_timezone(UTC)))
        }
        (ColumnType::I64, DataType::Int64)
        | (ColumnType::Bool, DataType::Boolean)
        | (ColumnType::String, DataType::Utf8)
        | (ColumnType::Bytes, DataType::Binary) => Ok(Arc::clone(array)),
        _ => {
            let column = array_to_column(array, column_type)?;
            Ok(column_to_array(&column, array.len()))
        }
    }
}

/// The value at `row` of a canonical array of `column_type`.
pub(crate) fn value_at(array: &dyn Array, column_type: ColumnType, row: usize) -> Value<'_> {
    if array.is_null(row) {
        return Value::Null;
    }
    match column_type {
        ColumnType::F64 => Value::F64(array.as_primitive::<Float64Type>().value(row)),
        ColumnType::F32 => Value::F32(array.as_primitive::<Float32Type>().value(row)),
        ColumnType::I64 => Value::I64(array.as_primitive::<Int64Type>().value(row)),
        ColumnType::Bool => Value::Bool(array.as_boolean().value(row)),
        ColumnType::Timestamp => Value::Timestamp(array.as_primitive::<TimestampMicrosecondType>().value(row)),
        ColumnType::String => Value::String(array.as_string::<i32>().value(row)),
        ColumnType::Bytes => Value::Bytes(array.as_binary::<i32>().value(row)),
        ColumnType::Vector(len) => {
            let list = array.as_fixed_size_list();
            let start = list.value_offset_at(row);
            Value::Vector(&list.values().as_primitive::<Float32Type>().values()[start..start + len as usize])
        }
    }
}

#[cfg(test)]
mod tests;
