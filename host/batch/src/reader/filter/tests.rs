use std::sync::Arc;

use arrow::array::{Int64Array, StringArray};
use arrow::datatypes::TimeUnit;

use super::*;

#[track_caller]
fn check(text: &str, expected: &str) {
    let shown = match text.parse::<Filter>() {
        Ok(filter) => {
            // What is shown is read as the same.
            let again = filter.to_string().parse::<Filter>();
            assert!(again == Ok(filter.clone()) || text.contains(['\'', '"']), "{again:?}");
            filter.to_string()
        }
        Err(error) => error.to_string(),
    };
    assert_eq!(shown, expected);
}

#[test]
fn conditions_are_read_as_they_are_written() {
    check("date >= 2026-01-01", "date >= 2026-01-01");
    check(
        "date>=2026-01-01 AND  date<2026-02-01",
        "date >= 2026-01-01 and date < 2026-02-01",
    );
    check(
        "t <= 2026-01-01 10:00:00 and n == -5",
        "t <= 2026-01-01 10:00:00 and n = -5",
    );
    check("country = 'sand and sea'", "country = sand and sea");
    check("\"a b\" > x", "a b > x");
    check("brand = band", "brand = band");
    for wrong in ["", "date", "date >=", ">= 5", "a => 5", "a = 1 and", "a == = 1"] {
        let shown = wrong.rsplit(" and").next().unwrap().trim();
        check(
            wrong,
            &format!(
                "`{shown}` is no condition: write a column, one of = < <= > >= and a value, as in `date >= 2026-01-01`"
            ),
        );
    }
}

/// Each comparison with a value, of every row and of a range that has these bounds.
#[test]
fn statistics_say_what_the_rows_say() {
    let values: Vec<Option<i64>> = vec![Some(-1), Some(4), Some(5), Some(6), Some(9), None];
    for comparison in ["<", "<=", "=", ">=", ">"] {
        let filter: Filter = format!("n {comparison} 5").parse().unwrap();
        let typed = filter.conditions[0]
            .typed(Path::new("f"), &DataType::Int32, None)
            .unwrap();
        for start in 0..values.len() {
            for end in start + 1..=values.len() {
                let part = &values[start..end];
                let array: ArrayRef = Arc::new(Int64Array::from(part.to_vec()));
                let mask = typed.mask(&array).unwrap();
                assert_eq!(mask.null_count(), 0);
                let bound = |bound: Option<i64>| -> ArrayRef { Arc::new(Int64Array::from(vec![bound])) };
                let mins = bound(part.iter().flatten().min().copied());
                let maxes = bound(part.iter().flatten().max().copied());
                let nulls = part.iter().filter(|value| value.is_none()).count() as u64;
                let expected = match mask.true_count() {
                    0 if mins.is_valid(0) => Verdict::None,
                    all if all == part.len() => Verdict::All,
                    _ => Verdict::Some,
                };
                let found = typed.verdict(&mins, &maxes, 0, Some(nulls));
                // Between the bounds there may be what equals the value or does not.
                let is_open = comparison == "=" && *mins != *maxes;
                assert!(
                    found == expected || is_open && found == Verdict::Some,
                    "{comparison} {part:?}: {found:?}"
                );
                let unknown = typed.verdict(&mins, &maxes, 0, None);
                assert!(unknown == found || found == Verdict::All && unknown == Verdict::Some);
            }
        }
    }
}

#[test]
fn values_are_of_the_type_of_the_column() {
    let typed = |text: &str, stored: &DataType| {
        let filter: Filter = text.parse().unwrap();
        filter.conditions[0]
            .typed(Path::new("f.parquet"), stored, None)
            .map(|typed| typed.column_type)
    };
    let nanos = DataType::Timestamp(TimeUnit::Nanosecond, None);
    assert_eq!(typed("t > 2026-01-01", &nanos).unwrap(), ColumnType::Timestamp);
    assert_eq!(
        typed("t > 2026-01-01", &DataType::Date32).unwrap(),
        ColumnType::Timestamp
    );
    assert_eq!(typed("t > 5", &DataType::UInt8).unwrap(), ColumnType::I64);
    assert_eq!(typed("t > x", &DataType::Utf8).unwrap(), ColumnType::String);
    for (text, stored, expected) in [
        (
            "t > soon",
            &nanos,
            "f.parquet: column `t`: `soon` is no timestamp to compare it with",
        ),
        (
            "n > 1.5",
            &DataType::Int8,
            "f.parquet: column `n`: `1.5` is no i64 to compare it with",
        ),
        (
            "x > 1",
            &DataType::Float64,
            "f.parquet: column `x`: Float64 cannot be compared: conditions are on times, integers and strings",
        ),
    ] {
        assert_eq!(typed(text, stored).unwrap_err().to_string(), expected);
    }
    let filter: Filter = "s >= b".parse().unwrap();
    let typed = filter.conditions[0]
        .typed(Path::new("f"), &DataType::Utf8, None)
        .unwrap();
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), Some("b"), None, Some("ba")]));
    let mask: Vec<bool> = typed.mask(&texts).unwrap().values().iter().collect();
    assert_eq!(mask, [false, true, false, true]);
}
