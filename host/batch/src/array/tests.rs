use arrow::array::*;
use arrow::datatypes::{DataType, Int32Type};
use proptest::prelude::*;
use unskew_frame::Value;

use super::*;

/// The values as text, one a row, or the error.
fn show(array: &dyn Array, column_type: ColumnType) -> String {
    match array_to_column(array, column_type) {
        Err(error) => error.to_string(),
        Ok(column) => {
            let show = |row| match column.value(row) {
                Value::Null => "null".to_owned(),
                value => format!("{value:?}"),
            };
            (0..column.rows()).map(show).collect::<Vec<_>>().join(" ")
        }
    }
}

#[track_caller]
fn check(array: impl Array, column_type: ColumnType, expected: &str) {
    assert_eq!(show(&array, column_type), expected);
}

#[test]
fn integers_are_exact_or_refused() {
    use ColumnType::{Bool, F32, F64, I64, Timestamp};
    check(Int8Array::from(vec![Some(-1), None]), I64, "I64(-1) null");
    check(
        UInt64Array::from(vec![i64::MAX as u64]),
        I64,
        "I64(9223372036854775807)",
    );
    check(
        UInt64Array::from(vec![1, 1 << 63]),
        I64,
        "row 2: 9223372036854775808 of UInt64 is no i64",
    );
    check(Int64Array::from(vec![1 << 53]), F64, "F64(9007199254740992.0)");
    check(
        Int64Array::from(vec![(1 << 53) + 1]),
        F64,
        "row 1: 9007199254740993 of Int64 is no f64",
    );
    check(
        Int32Array::from(vec![16_777_217]),
        F32,
        "row 1: 16777217 of Int32 is no f32",
    );
    check(UInt8Array::from(vec![0, 1]), Bool, "Bool(false) Bool(true)");
    check(UInt8Array::from(vec![2]), Bool, "row 1: 2 of UInt8 is no bool");
    check(Int64Array::from(vec![-5]), Timestamp, "Timestamp(-5)");
    check(
        Int32Array::from(vec![1]),
        Timestamp,
        "Int32 cannot be read as timestamp: write the column as timestamp",
    );
}

#[test]
fn floats_keep_their_bits() {
    use ColumnType::{F32, F64, I64};
    check(Float64Array::from(vec![-0.0, 0.1]), F64, "F64(-0.0) F64(0.1)");
    check(Float32Array::from(vec![0.1]), F64, "F64(0.10000000149011612)");
    check(Float64Array::from(vec![0.5, f64::NAN]), F32, "F32(0.5) F32(NaN)");
    check(Float64Array::from(vec![0.1]), F32, "row 1: 0.1 of Float64 is no f32");
    check(
        Float64Array::from(vec![1.0]),
        I64,
        "Float64 cannot be read as i64: write the column as i64",
    );
    let nan = Float64Array::from(vec![f64::from_bits(0xfff8_0000_0000_0123)]);
    let column = array_to_column(&nan, F64).unwrap();
    assert_eq!(column.view().f64(0).to_bits(), 0x7ff8_0000_0000_0000);
}

#[test]
fn decimals_are_what_their_texts_are() {
    use ColumnType::{F32, F64, I64, String};
    let decimals = |values: Vec<Option<i128>>, scale| {
        Decimal128Array::from(values)
            .with_precision_and_scale(38, scale)
            .unwrap()
    };
    check(
        decimals(vec![Some(1230), None, Some(-5)], 2),
        F64,
        "F64(12.3) null F64(-0.05)",
    );
    check(decimals(vec![Some(1230)], 2), F32, "F32(12.3)");
    // Not the quotient of two rounded numbers.
    let long = 9_007_199_254_740_993_000_000_000_000_000_001;
    check(decimals(vec![Some(long)], 18), F64, "F64(9007199254740994.0)");
    check(decimals(vec![Some(1200), Some(-7)], 0), I64, "I64(1200) I64(-7)");
    check(decimals(vec![Some(1200)], 2), I64, "I64(12)");
    check(
        decimals(vec![Some(1200), Some(1230)], 2),
        I64,
        "row 2: 12.30 of Decimal128(38, 2) is no i64",
    );
    check(
        decimals(vec![Some(i128::from(i64::MAX) + 1)], 0),
        I64,
        "row 1: 9223372036854775808 of Decimal128(38, 0) is no i64",
    );
    check(
        decimals(vec![Some(1)], 0),
        String,
        "Decimal128(38, 0) cannot be read as string: write the column as string",
    );
    let small = Decimal64Array::from(vec![25]).with_precision_and_scale(10, 1).unwrap();
    check(small, F64, "F64(2.5)");
}

#[test]
fn timestamps_of_every_unit_are_microseconds() {
    use ColumnType::Timestamp as T;
    check(TimestampSecondArray::from(vec![-1]), T, "Timestamp(-1000000)");
    check(TimestampMillisecondArray::from(vec![2]), T, "Timestamp(2000)");
    check(
        TimestampMicrosecondArray::from(vec![Some(3), None]),
        T,
        "Timestamp(3) null",
    );
    check(
        TimestampNanosecondArray::from(vec![1_999, -1, -1_000, -1_001]),
        T,
        "Timestamp(1) Timestamp(-1) Timestamp(-1) Timestamp(-2)",
    );
    // An instant is the same in any zone.
    let zoned = TimestampMicrosecondArray::from(vec![3]).with_timezone("+02:00");
    check(zoned, T, "Timestamp(3)");
    check(Date32Array::from(vec![1]), T, "Timestamp(86400000000)");
    assert!(show(&TimestampSecondArray::from(vec![i64::MAX / 1_000]), T).contains("is no timestamp"));
    assert!(show(&Date32Array::from(vec![i32::MAX]), T).contains("is no timestamp"));
}

#[test]
fn texts_bytes_and_dictionaries() {
    use ColumnType::{Bytes, I64, String};
    check(
        LargeStringArray::from(vec![Some("ä"), None]),
        String,
        "String(\"ä\") null",
    );
    check(
        StringViewArray::from(vec!["a long text, not inlined"]),
        String,
        "String(\"a long text, not inlined\")",
    );
    let dictionary: DictionaryArray<Int32Type> = vec![Some("b"), None, Some("a"), Some("b")].into_iter().collect();
    check(dictionary, String, "String(\"b\") null String(\"a\") String(\"b\")");
    check(BinaryViewArray::from(vec![b"\x00".as_slice()]), Bytes, "Bytes([0])");
    let fixed = FixedSizeBinaryArray::try_from_iter([[1_u8, 2]].iter()).unwrap();
    check(fixed, Bytes, "Bytes([1, 2])");
    check(
        StringArray::from(vec!["1"]),
        I64,
        "Utf8 cannot be read as i64: write the column as i64",
    );
    check(NullArray::new(2), I64, "null null");
}

#[test]
fn vectors_have_their_length_and_no_missing_element() {
    let lists = |values: Vec<Option<Vec<Option<f32>>>>| {
        ListArray::from_iter_primitive::<arrow::datatypes::Float32Type, _, _>(values)
    };
    let two = ColumnType::Vector(2);
    check(
        lists(vec![Some(vec![Some(1.0), Some(2.0)]), None]),
        two,
        "Vector([1.0, 2.0]) null",
    );
    check(
        lists(vec![Some(vec![Some(1.0)])]),
        two,
        "row 1: [1.0] of List(Float32) is no f32[2]",
    );
    let missing = lists(vec![Some(vec![Some(1.0), None])]);
    assert!(show(&missing, two).starts_with("row 1: [1.0, ] of"));
}

#[test]
fn a_scalar_is_repeated() {
    let column = Column::scalar(ColumnType::I64, Value::I64(7)).unwrap();
    let array = column_to_array(&column, 3);
    assert_eq!(array.as_primitive::<arrow::datatypes::Int64Type>().values(), &[7, 7, 7]);
}

#[test]
fn statuses_are_their_names() {
    let array = status_to_array(&[Status::Present, Status::Expired]);
    let names = arrow::compute::cast(&array, &DataType::Utf8).unwrap();
    let names: Vec<_> = names.as_string::<i32>().iter().flatten().collect();
    assert_eq!(names, ["present", "outside_ttl"]);
}

fn column_of(column_type: ColumnType, seeds: &[Option<u64>]) -> Column {
    let mut column = Column::new(column_type);
    for seed in seeds {
        let Some(seed) = *seed else {
            column.push_null();
            continue;
        };
        match column_type {
            ColumnType::F64 => column.push_f64(f64::from_bits(seed)),
            ColumnType::F32 => column.push_f32(f32::from_bits(seed as u32)),
            ColumnType::I64 => column.push_i64(seed.cast_signed()),
            ColumnType::Bool => column.push_bool(seed % 2 == 1),
            ColumnType::Timestamp => column.push_timestamp(seed.cast_signed()),
            ColumnType::String => column.push_str(&"ü".repeat(seed as usize % 5)),
            ColumnType::Bytes => column.push_bytes(&seed.to_le_bytes()[..seed as usize % 9]),
            ColumnType::Vector(len) => {
                column.push_vector(&vec![f32::from_bits(seed as u32); len as usize]);
            }
        }
    }
    column
}

proptest! {
    #[test]
    fn a_column_comes_back_from_arrow_bit_for_bit(
        seeds in prop::collection::vec(prop::option::of(any::<u64>()), 0..200),
    ) {
        for column_type in [
            ColumnType::F64,
            ColumnType::F32,
            ColumnType::I64,
            ColumnType::Bool,
            ColumnType::Timestamp,
            ColumnType::String,
            ColumnType::Bytes,
            ColumnType::Vector(3),
        ] {
            let column = column_of(column_type, &seeds);
            let array = column_to_array(&column, seeds.len());
            prop_assert_eq!(array_to_column(&array, column_type).unwrap(), column);
        }
    }
}
