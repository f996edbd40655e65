//! Matrices of features, against their values one by one.

use unskew::{Column, Features, Value};
use unskew_tests::Fixture;

use crate::host::watermark;

/// Features of every type that has a number, and of one that has none; runs of one type, in the order of the view and not.
const PROJECT: &str = r#"
[project]
name = "matrices"

[[entity]]
name = "user"
keys = [{ name = "user", type = "string" }]

[[entity]]
name = "item"
keys = [{ name = "item_id", type = "i64" }]

[[source]]
name = "rows"
path = "rows.csv"
event_time = "time"

[[view]]
name = "users"
entity = "user"
source = "rows"
features = [{ name = "a", type = "f64" }, { name = "b", type = "f64" }, { name = "text", type = "string" }]

[[view]]
name = "items"
entity = "item"
source = "rows"
features = [
  { name = "a", type = "f64" }, { name = "b", type = "f64" }, { name = "c", type = "f64" },
  { name = "x", type = "f32" }, { name = "y", type = "f32" },
  { name = "n", type = "i64" }, { name = "m", type = "i64" },
  { name = "at", type = "timestamp" }, { name = "flag", type = "bool" }, { name = "text", type = "string" },
]

[[service]]
name = "model"
request = [{ name = "user", type = "string", nullable = true }, { name = "floor", type = "f32", nullable = true }]
candidate = [{ name = "item_id", type = "i64" }, { name = "bid", type = "f64", nullable = true }]
features = [
  "users:a", "users:b", "users:text",
  "items:a", "items:b", "items:c", "items:x", "items:y", "items:n", "items:m", "items:at", "items:flag", "items:text",
  "floor", "item_id", "bid", "context:hour", "context:floor_bucket", "context:segment_hash",
]

[[service.transform]]
name = "context"
module = "request-context"
inputs = { position = "items:n", user_segment = "users:text", floor_price = "items:c", ctr_1d = "items:a", ctr_7d = "items:b" }
"#;

fn fixture() -> Fixture {
    let mut rows = "time,user,item_id,a,b,c,x,y,n,m,at,flag,text\n".to_owned();
    let time = watermark(1).0 - 1;
    for item in 0..100_i64 {
        let cell = |column: i64, value: String| match (item + column) % 9 {
            0 => String::new(),
            _ => value,
        };
        let float = |column: i64| cell(column, format!("{}.{column}e-2", item * 7 % 13));
        // Beyond what an f64 tells apart.
        let integer = |column: i64| cell(column, ((1_i64 << 53) + 7 * item + column).to_string());
        let cells = [
            float(0),
            float(1),
            float(2),
            float(3),
            float(4),
            integer(5),
            integer(6),
            cell(7, (time - item).to_string()),
            cell(8, (item % 2).to_string()),
            cell(1, format!("text {item}")),
        ];
        rows += &format!("{time},u{item},{item},{}\n", cells.join(","));
    }
    Fixture::new(PROJECT, &[("rows.csv", &rows)])
}

fn number(value: Value<'_>) -> Option<f64> {
    match value {
        Value::F64(value) => Some(value),
        Value::F32(value) => Some(value.into()),
        Value::I64(value) | Value::Timestamp(value) => Some(value as f64),
        Value::Bool(value) => Some(f64::from(u8::from(value))),
        _ => None,
    }
}

/// Every matrix and every column of features, against their values.
fn check(features: &Features<'_>) {
    let (rows, width) = (features.rows(), features.width());
    let (mut f32s, mut columns_f32) = (vec![5.0; 3], Vec::new());
    let (mut f64s, mut columns_f64) = (Vec::new(), vec![7.0; 2_000]);
    features.write_f32(f32::NAN, &mut f32s);
    features.write_columns_f32(-1.0, &mut columns_f32);
    features.write_f64(-1.0, &mut f64s);
    features.write_columns_f64(f64::INFINITY, &mut columns_f64);
    let mut filled = vec![3.0; rows * width];
    features.fill_f32(f32::NAN, &mut filled);
    let bits = |cells: &[f32]| cells.iter().map(|cell| cell.to_bits()).collect::<Vec<u32>>();
    assert_eq!(bits(&filled), bits(&f32s));
    for matrix in [f32s.len(), columns_f32.len(), f64s.len(), columns_f64.len()] {
        assert_eq!(matrix, rows * width);
    }
    let types = features.column_types();
    for (feature, column_type) in types.enumerate() {
        let mut column = Column::new(column_type);
        features.copy_column(feature, &mut column);
        for row in 0..rows {
            let value = features.value(row, feature);
            assert_eq!(column.value(row), value, "row {row}, feature {feature}");
            assert_eq!(features.status(row, feature).is_present(), !value.is_null());
            let expected = number(value);
            let (by_row, by_column) = (row * width + feature, feature * rows + row);
            assert_eq!(
                f32s[by_row].to_bits(),
                expected.map_or(f32::NAN, |v| v as f32).to_bits()
            );
            assert_eq!(
                columns_f32[by_column].to_bits(),
                expected.map_or(-1.0, |v| v as f32).to_bits()
            );
            assert_eq!(f64s[by_row].to_bits(), expected.unwrap_or(-1.0).to_bits());
            assert_eq!(
                columns_f64[by_column].to_bits(),
                expected.unwrap_or(f64::INFINITY).to_bits()
            );
        }
    }
}

#[test]
fn a_matrix_is_the_values_by_row_or_by_feature() {
    let fixture = fixture();
    fixture.publish(watermark(1));
    let host = fixture.host();
    let service = host.service("model").expect("it is published");
    let mut session = host.session();
    let mut request = service.request(watermark(1));
    for (candidates, user) in [(1, "u3"), (0, "u1"), (130, "u9"), (64, "nobody"), (65, "u0"), (3, "")] {
        request.reset(watermark(1));
        if !user.is_empty() {
            request.set("user", Value::String(user)).expect("it has a user");
        }
        if candidates % 2 == 1 {
            request.set("floor", Value::F32(0.1)).expect("it has a floor");
        }
        for item in 0..candidates {
            let bid = if item % 3 == 0 {
                Value::Null
            } else {
                Value::F64(item as f64 / 3.0)
            };
            request
                .push_candidate(&[Value::I64((item * 37) % 110), bid])
                .expect("the candidate fits");
        }
        let features = session.evaluate(&request).expect("the request fits");
        assert!(features.failures().is_empty(), "{:?}", features.failures());
        assert_eq!(features.rows(), candidates as usize);
        check(&features);
    }
}
