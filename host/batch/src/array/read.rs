use arrow::array::{
    Array, ArrayAccessor, ArrayRef, ArrowPrimitiveType, AsArray, FixedSizeListArray, GenericListArray, OffsetSizeTrait,
    PrimitiveArray,
};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowNativeType, DataType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DecimalType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow::util::display::array_value_to_string;
use unskew_frame::{Column, ColumnType};
use unskew_snapshot::MICROS_PER_DAY;

use super::CastError;

/// Appends the values of `array`: see [`array_to_column`](super::array_to_column).
pub(crate) fn append_array(array: &dyn Array, column: &mut Column) -> Result<(), CastError> {
    let column_type = column.column_type();
    let appended = match array.data_type() {
        DataType::Dictionary(_, values) => {
            let array = cast(array, values).map_err(|_| type_error(array, column_type))?;
            return append_array(&array, column);
        }
        DataType::Null => {
            (0..array.len()).for_each(|_| column.push_null());
            Ok(())
        }
        from => match column_type {
            _ if from.is_decimal() => append_decimals(array, column),
            ColumnType::I64 => append_integers(array, column, |column, value| {
                column.push_i64(i64::try_from(value).ok()?);
                Some(())
            }),
            ColumnType::F64 => append_f64s(array, column),
            ColumnType::F32 => append_f32s(array, column),
            ColumnType::Bool if *from == DataType::Boolean => {
                append_each(array.as_boolean(), column, |column, value| {
                    column.push_bool(value);
                    Some(())
                })
            }
            ColumnType::Bool => append_integers(array, column, |column, value| {
                column.push_bool(match value {
                    0 => false,
                    1 => true,
                    _ => return None,
                });
                Some(())
            }),
            ColumnType::Timestamp => append_timestamps(array, column),
            ColumnType::String => append_strings(array, column),
            ColumnType::Bytes => append_binaries(array, column),
            ColumnType::Vector(len) => append_vectors(array, column, len as usize),
        },
    };
    appended.map_err(|stop| match stop {
        Stop::Type => type_error(array, column_type),
        Stop::Value(row) => CastError::Value {
            row,
            value: array_value_to_string(array, row).unwrap_or_else(|_| "a value".to_owned()),
            from: array.data_type().to_string(),
            to: column_type,
        },
    })
}

/// The bytes of the texts, or of the bytes, that an array holds; 0 for arrays of anything else.
pub(crate) fn text_bytes(array: &dyn Array) -> u64 {
    fn sum(lengths: impl Iterator<Item = Option<usize>>) -> u64 {
        lengths.flatten().map(|bytes| bytes as u64).sum()
    }
    match array.data_type() {
        DataType::Utf8 => sum(array.as_string::<i32>().iter().map(|v| v.map(str::len))),
        DataType::LargeUtf8 => sum(array.as_string::<i64>().iter().map(|v| v.map(str::len))),
        DataType::Utf8View => sum(array.as_string_view().iter().map(|v| v.map(str::len))),
        DataType::Binary => sum(array.as_binary::<i32>().iter().map(|v| v.map(<[u8]>::len))),
        DataType::LargeBinary => sum(array.as_binary::<i64>().iter().map(|v| v.map(<[u8]>::len))),
        DataType::BinaryView => sum(array.as_binary_view().iter().map(|v| v.map(<[u8]>::len))),
        DataType::FixedSizeBinary(size) => array.len() as u64 * u64::try_from(*size).unwrap_or_default(),
        DataType::Dictionary(_, values) => cast(array, values).map_or(0, |array| text_bytes(&array)),
        _ => 0,
    }
}

/// Why an array was not read to its end.
enum Stop {
    /// It is of a type that is not read.
    Type,
    /// The value at this row does not fit.
    Value(usize),
}

fn type_error(array: &dyn Array, to: ColumnType) -> CastError {
    CastError::Type {
        from: array.data_type().to_string(),
        to,
    }
}

/// `push` gives none for a value that does not fit, and then has pushed nothing.
fn append_each<A: ArrayAccessor>(
    array: A,
    column: &mut Column,
    mut push: impl FnMut(&mut Column, A::Item) -> Option<()>,
) -> Result<(), Stop> {
    for row in 0..array.len() {
        if array.is_null(row) {
            column.push_null();
        } else {
            push(column, array.value(row)).ok_or(Stop::Value(row))?;
        }
    }
    Ok(())
}

fn append_primitives<T: ArrowPrimitiveType>(
    array: &dyn Array,
    column: &mut Column,
    push: impl FnMut(&mut Column, T::Native) -> Option<()>,
) -> Result<(), Stop> {
    let array: &PrimitiveArray<T> = array.as_primitive();
    append_each(array, column, push)
}

fn append_integers(
    array: &dyn Array,
    column: &mut Column,
    mut push: impl FnMut(&mut Column, i128) -> Option<()>,
) -> Result<(), Stop> {
    macro_rules! of {
        ($type:ty) => {
            append_primitives::<$type>(array, column, |column, value| push(column, i128::from(value)))
        };
    }
    match array.data_type() {
        DataType::Int8 => of!(Int8Type),
        DataType::Int16 => of!(Int16Type),
        DataType::Int32 => of!(Int32Type),
        DataType::Int64 => of!(Int64Type),
        DataType::UInt8 => of!(UInt8Type),
        DataType::UInt16 => of!(UInt16Type),
        DataType::UInt32 => of!(UInt32Type),
        DataType::UInt64 => of!(UInt64Type),
        _ => Err(Stop::Type),
    }
}

/// Decimals as integers, where they are some, or as the nearest floats: what their texts are read as.
fn append_decimals(array: &dyn Array, column: &mut Column) -> Result<(), Stop> {
    fn decimals<T: DecimalType>(array: &dyn Array, column: &mut Column) -> Result<(), Stop> {
        let array: &PrimitiveArray<T> = array.as_primitive();
        for row in 0..array.len() {
            if array.is_null(row) {
                column.push_null();
                continue;
            }
            let text = array.value_as_string(row);
            match column.column_type() {
                ColumnType::F64 => column.push_f64(text.parse().map_err(|_| Stop::Value(row))?),
                ColumnType::F32 => column.push_f32(text.parse().map_err(|_| Stop::Value(row))?),
                ColumnType::I64 => {
                    let (integer, fraction) = text.split_once('.').unwrap_or((&text, ""));
                    let value = integer
                        .parse()
                        .ok()
                        .filter(|_| fraction.bytes().all(|digit| digit == b'0'));
                    column.push_i64(value.ok_or(Stop::Value(row))?);
                }
                _ => return Err(Stop::Type),
            }
        }
        Ok(())
    }
    match array.data_type() {
        DataType::Decimal32(..) => decimals::<Decimal32Type>(array, column),
        DataType::Decimal64(..) => decimals::<Decimal64Type>(array, column),
        DataType::Decimal128(..) => decimals::<Decimal128Type>(array, column),
        DataType::Decimal256(..) => decimals::<Decimal256Type>(array, column),
        _ => Err(Stop::Type),
    }
}

fn append_f64s(array: &dyn Array, column: &mut Column) -> Result<(), Stop> {
    match array.data_type() {
        DataType::Float64 => append_primitives::<Float64Type>(array, column, |column, value| {
            column.push_f64(value);
            Some(())
        }),
        DataType::Float32 => append_primitives::<Float32Type>(array, column, |column, value| {
            column.push_f64(f64::from(value));
            Some(())
        }),
        DataType::Float16 => append_primitives::<Float16Type>(array, column, |column, value| {
            column.push_f64(value.to_f64());
            Some(())
        }),
        _ => append_integers(array, column, |column, value| {
            let float = value as f64;
            (float as i128 == value).then(|| column.push_f64(float))
        }),
    }
}

fn append_f32s(array: &dyn Array, column: &mut Column) -> Result<(), Stop> {
    match array.data_type() {
        DataType::Float64 => append_primitives::<Float64Type>(array, column, |column, value| {
            let float = value as f32;
            (value.is_nan() || f64::from(float) == value).then(|| column.push_f32(float))
        }),
        DataType::Float32 => append_primitives::<Float32Type>(array, column, |column, value| {
            column.push_f32(value);
            Some(())
        }),
        DataType::Float16 => append_primitives::<Float16Type>(array, column, |column, value| {
            column.push_f32(value.to_f32());
            Some(())
        }),
        _ => append_integers(array, column, |column, value| {
            let float = value as f32;
            (float as i128 == value).then(|| column.push_f32(float))
        }),
    }
}

fn append_timestamps(array: &dyn Array, column: &mut Column) -> Result<(), Stop> {
    fn scaled<T: ArrowPrimitiveType>(array: &dyn Array, column: &mut Column, micros: i64) -> Result<(), Stop>
    where
        i64: From<T::Native>,
    {
        append_primitives::<T>(array, column, |column, value| {
            column.push_timestamp(i64::from(value).checked_mul(micros)?);
            Some(())
        })
    }
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => scaled::<TimestampSecondType>(array, column, 1_000_000),
        DataType::Timestamp(TimeUnit::Millisecond, _) => scaled::<TimestampMillisecondType>(array, column, 1_000),
        DataType::Timestamp(TimeUnit::Microsecond, _) => scaled::<TimestampMicrosecondType>(array, column, 1),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            append_primitives::<TimestampNanosecondType>(array, column, |column, nanos| {
                column.push_timestamp(nanos.div_euclid(1_000));
                Some(())
            })
        }
        DataType::Date32 => scaled::<Date32Type>(array, column, MICROS_PER_DAY),
        DataType::Date64 => scaled::<Date64Type>(array, column, 1_000),
        DataType::Int64 => scaled::<Int64Type>(array, column, 1),
        _ => Err(Stop::Type),
    }
}

fn append_strings(array: &dyn Array, column: &mut Column) -> Result<(), Stop> {
    let push = |column: &mut Column, value: &str| {
        column.push_str(value);
        Some(())
    };
    match array.data_type() {
        DataType::Utf8 => append_each(array.as_string::<i32>(), column, push),
        DataType::LargeUtf8 => append_each(array.as_string::<i64>(), column, push),
        DataType::Utf8View => append_each(array.as_string_view(), column, push),
        _ => Err(Stop::Type),
    }
}

fn append_binaries(array: &dyn Array, column: &mut Column) -> Result<(), Stop> {
    let push = |column: &mut Column, value: &[u8]| {
        column.push_bytes(value);
        Some(())
    };
    match array.data_type() {
        DataType::Binary => append_each(array.as_binary::<i32>(), column, push),
        DataType::LargeBinary => append_each(array.as_binary::<i64>(), column, push),
        DataType::BinaryView => append_each(array.as_binary_view(), column, push),
        DataType::FixedSizeBinary(_) => append_each(array.as_fixed_size_binary(), column, push),
        _ => Err(Stop::Type),
    }
}

fn append_vectors(array: &dyn Array, column: &mut Column, len: usize) -> Result<(), Stop> {
    fn push(column: &mut Column, list: ArrayRef, len: usize) -> Option<()> {
        let elements = list.as_primitive_opt::<Float32Type>()?;
        let fits = elements.len() == len && elements.null_count() == 0;
        fits.then(|| column.push_vector(elements.values()))
    }
    fn lists<O: OffsetSizeTrait>(array: &GenericListArray<O>, column: &mut Column, len: usize) -> Result<(), Stop> {
        append_each(array, column, |column, list| push(column, list, len))
    }
    match array.data_type() {
        DataType::FixedSizeList(element, size)
            if *element.data_type() == DataType::Float32 && size.to_usize() == Some(len) =>
        {
            let array: &FixedSizeListArray = array.as_fixed_size_list();
            append_each(array, column, |column, list| push(column, list, len))
        }
        DataType::List(element) if *element.data_type() == DataType::Float32 => {
            lists(array.as_list::<i32>(), column, len)
        }
        DataType::LargeList(element) if *element.data_type() == DataType::Float32 => {
            lists(array.as_list::<i64>(), column, len)
        }
        _ => Err(Stop::Type),
    }
}
