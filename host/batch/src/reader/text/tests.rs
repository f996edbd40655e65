use arrow::array::Array;
use arrow::util::display::array_value_to_string;
use unskew_frame::Value;

use super::*;

#[track_caller]
fn check(column_type: ColumnType, text: &str, expected: Option<Value<'_>>) {
    let mut column = Column::new(column_type);
    let pushed = push(&mut column, text);
    assert_eq!(pushed.is_some(), expected.is_some(), "{text:?} as {column_type}");
    assert_eq!(column.rows(), usize::from(expected.is_some()));
    if let Some(expected) = expected {
        assert_eq!(column.value(0), expected, "{text:?} as {column_type}");
    }
}

#[test]
fn numbers_are_exact() {
    use ColumnType::{F32, F64, I64};
    check(I64, " -9223372036854775808 ", Some(Value::I64(i64::MIN)));
    check(I64, "9223372036854775808", None);
    check(I64, "1.0", None);
    check(I64, "", None);
    check(F64, "0.1", Some(Value::F64(0.1)));
    // The decimals on which parsers that are off by one bit fail.
    let hard = "9007199254740993.0000000000000000000000000000001";
    check(F64, hard, Some(Value::F64(9_007_199_254_740_994.0)));
    check(
        F64,
        "2.2250738585072011e-308",
        Some(Value::F64(f64::from_bits(0x000f_ffff_ffff_ffff))),
    );
    check(F64, "-0", Some(Value::F64(-0.0)));
    check(F64, "1,5", None);
    // Rounded once, to the nearest f32; by way of an f64 it would be another.
    check(F32, "1.00000017881393432617187499", Some(Value::F32(1.000_000_1)));
}

#[test]
fn bools_times_bytes_and_vectors_have_their_forms() {
    use ColumnType::{Bool, Bytes, String, Timestamp, Vector};
    for (text, value) in [("1", true), ("True", true), ("false", false), ("0", false)] {
        check(Bool, text, Some(Value::Bool(value)));
    }
    check(Bool, "yes", None);
    check(
        Timestamp,
        "1970-01-01 00:00:01+00:00",
        Some(Value::Timestamp(1_000_000)),
    );
    check(Timestamp, "1970-01-02", Some(Value::Timestamp(86_400_000_000)));
    check(Timestamp, "-5", Some(Value::Timestamp(-5)));
    check(Timestamp, "1.5", None);
    check(Timestamp, "yesterday", None);
    check(Bytes, "00fF", Some(Value::Bytes(&[0, 255])));
    check(Bytes, "0", None);
    check(Bytes, "0g", None);
    check(Bytes, "ää", None);
    check(String, " a ", Some(Value::String(" a ")));
    check(Vector(2), "[0.5, -1]", Some(Value::Vector(&[0.5, -1.0])));
    check(Vector(2), "[0.5]", None);
    check(Vector(1), "0.5", None);
}

#[test]
fn a_label_is_of_the_first_type_that_gives_all_its_texts_back() {
    let check = |texts: &[&str], expected: &str| {
        let mut column = Column::new(ColumnType::String);
        for text in texts {
            if text.is_empty() {
                column.push_null();
            } else {
                column.push_str(text);
            }
        }
        let array = infer(&column);
        let values = (0..array.len()).map(|row| array_value_to_string(&array, row).unwrap());
        let values: Vec<_> = values.collect();
        assert_eq!(format!("{} {}", array.data_type(), values.join("|")), expected);
    };
    check(&["1", "", "-2"], "Int64 1||-2");
    check(&["1", "0.5", "1e3"], "Float64 1.0|0.5|1000.0");
    check(&["007", "1"], "Utf8 007|1");
    check(&["00.5"], "Utf8 00.5");
    check(&["12345678901234567890"], "Utf8 12345678901234567890");
    check(&["9007199254740993", "0.5"], "Utf8 9007199254740993|0.5");
    check(&["1e400"], "Utf8 1e400");
    check(&["nan"], "Utf8 nan");
    check(&["True", "false"], "Boolean true|false");
    check(&["1", "true"], "Utf8 1|true");
    check(&["", ""], "Utf8 |");
    check(&[], "Utf8 ");
    check(&["1", "NA", "", "NULL"], "Int64 1|||");
    check(&["\\N", "0.5"], "Float64 |0.5");
    check(&["None", "false"], "Boolean |false");
    check(&["NA", "DE"], "Utf8 NA|DE");
    check(&["NA", "NA"], "Utf8 NA|NA");
}
