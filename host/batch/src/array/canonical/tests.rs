use arrow::array::{
    DictionaryArray, Float64Array, Int64Array, LargeStringArray, StringArray, TimestampMillisecondArray,
};
use arrow::datatypes::Int32Type;
use unskew_frame::Column;

use super::*;

/// A canonical array holds the values that a column read from the array has.
#[track_caller]
fn check(array: impl Array + 'static, column_type: ColumnType) {
    let array: ArrayRef = Arc::new(array);
    let column = array_to_column(&array, column_type).unwrap();
    let canonical = to_canonical(&array, column_type).unwrap();
    assert_eq!(*canonical.data_type(), canonical_type(column_type));
    assert_eq!(canonical.len(), array.len());
    for row in 0..array.len() {
        let value = value_at(&canonical, column_type, row);
        assert_eq!(format!("{value:?}"), format!("{:?}", column.value(row)), "row {row}");
    }
}

#[test]
fn canonical_arrays_have_the_values_of_columns() {
    let nan = f64::from_bits(0xfff8_0000_dead_beef);
    check(
        Float64Array::from(vec![Some(1.0), None, Some(nan), Some(-0.0)]),
        ColumnType::F64,
    );
    check(Float64Array::from(vec![Some(nan), None]), ColumnType::F32);
    check(Int64Array::from(vec![Some(i64::MIN), None]), ColumnType::I64);
    check(Int64Array::from(vec![Some(7), None]), ColumnType::F64);
    check(StringArray::from(vec![Some(""), None, Some("a")]), ColumnType::String);
    check(LargeStringArray::from(vec![Some("x"), None]), ColumnType::String);
    let times = TimestampMillisecondArray::from(vec![Some(-1), None]);
    check(times.with_timezone("+02:00"), ColumnType::Timestamp);
    let dictionary: DictionaryArray<Int32Type> = vec![Some("a"), None, Some("a")].into_iter().collect();
    check(dictionary, ColumnType::String);
}

#[test]
fn nan_is_canonical() {
    let array: ArrayRef = Arc::new(Float64Array::from(vec![f64::from_bits(0xfff8_0000_dead_beef)]));
    let canonical = to_canonical(&array, ColumnType::F64).unwrap();
    let value = canonical.as_primitive::<Float64Type>().value(0);
    assert_eq!(value.to_bits(), canonical_f64(f64::NAN).to_bits());
}

#[test]
fn every_type_has_one_canonical_array() {
    let types = [
        ColumnType::F64,
        ColumnType::F32,
        ColumnType::I64,
        ColumnType::Bool,
        ColumnType::Timestamp,
        ColumnType::String,
        ColumnType::Bytes,
        ColumnType::Vector(3),
    ];
    for column_type in types {
        let mut column = Column::new(column_type);
        column.push_null();
        let array = column_to_array(&column, 1);
        assert_eq!(*array.data_type(), canonical_type(column_type));
        assert_eq!(value_at(&array, column_type, 0), Value::Null);
    }
}
