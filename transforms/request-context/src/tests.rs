use unskew_guest::frame::{Column, ColumnType, Value};
use unskew_guest::{
    RowTransform,
    testing::{self, column},
};

use super::*;

/// 2024-01-15T10:00:00Z, a Monday.
const MONDAY_10H: i64 = 1_705_312_800_000_000;
const HOUR: i64 = 3_600_000_000;

const BARE: Request<'_> = Request {
    prediction_time: Timestamp::from_micros(MONDAY_10H),
    item_id: 7,
    position: None,
    user_segment: None,
    floor_price: None,
    ctr_1d: None,
    ctr_7d: None,
};

#[test]
fn a_bare_request_has_its_time_and_its_item() {
    let expected = Context {
        hour: 10,
        day_of_week: 0,
        item_hash: 4_662_227_460_201_040_727,
        segment_hash: None,
        item_segment_hash: None,
        item_position_hash: None,
        floor_bucket: None,
        ctr_trend: None,
        ctr_logit: None,
        ctr_at_position: None,
    };
    assert_eq!(request_context(BARE), expected);
}

#[test]
fn a_full_request_has_all() {
    let request = Request {
        position: Some(3),
        user_segment: Some("sport"),
        floor_price: Some(2.5),
        ctr_1d: Some(0.25),
        ctr_7d: Some(0.5),
        ..BARE
    };
    let expected = Context {
        hour: 10,
        day_of_week: 0,
        item_hash: 4_662_227_460_201_040_727,
        segment_hash: Some(6_391_410_846_082_644_482),
        item_segment_hash: Some(722_553_412_357_712_273),
        item_position_hash: Some(2_850_965_140_047_592_140),
        floor_bucket: Some(5),
        ctr_trend: Some(0.5),
        ctr_logit: Some(0.0),
        ctr_at_position: Some(0.25),
    };
    assert_eq!(request_context(request), expected);
}

#[test]
fn the_calendar_is_utc() {
    for (what, micros, hour, day_of_week) in [
        ("2024-01-15T10:59:59.999999Z", MONDAY_10H + HOUR - 1, 10, 0),
        ("2024-01-15T11:00:00Z", MONDAY_10H + HOUR, 11, 0),
        ("2024-01-15T23:59:59.999999Z", MONDAY_10H + 14 * HOUR - 1, 23, 0),
        ("2024-01-16T00:00:00Z", MONDAY_10H + 14 * HOUR, 0, 1),
        ("2024-02-29T12:00:00Z", 1_709_208_000_000_000, 12, 3),
        ("2019-11-24T00:00:00Z", 1_574_553_600_000_000, 0, 6),
        ("1970-01-01T00:00:00Z", 0, 0, 3),
        ("1969-12-31T23:59:59.999999Z", -1, 23, 2),
    ] {
        let prediction_time = Timestamp::from_micros(micros);
        let context = request_context(Request {
            prediction_time,
            ..BARE
        });
        assert_eq!((context.hour, context.day_of_week), (hour, day_of_week), "{what}");
    }
}

/// Computed with the reference implementation of XXH3 over little-endian i64s.
#[test]
fn hashes_are_these() {
    for (item_id, item_hash, user_segment, item_segment_hash, position, item_position_hash) in [
        (
            7,
            4_662_227_460_201_040_727,
            "sport",
            722_553_412_357_712_273,
            1,
            4_219_209_616_402_978_466,
        ),
        (
            7,
            4_662_227_460_201_040_727,
            "käse",
            9_073_533_615_628_693_010,
            -1,
            1_661_244_807_942_723_383,
        ),
        (
            0,
            7_187_073_606_193_763_948,
            "",
            3_688_737_550_450_695_407,
            3,
            3_062_886_656_618_130_688,
        ),
        (
            -1,
            2_920_834_987_923_874_313,
            "",
            1_309_824_709_938_684_256,
            1,
            620_183_505_990_351_926,
        ),
    ] {
        let context = request_context(Request {
            item_id,
            user_segment: Some(user_segment),
            position: Some(position),
            ..BARE
        });
        assert_eq!(context.item_hash, item_hash);
        assert_eq!(
            context.item_segment_hash,
            Some(item_segment_hash),
            "{item_id} {user_segment}"
        );
        assert_eq!(
            context.item_position_hash,
            Some(item_position_hash),
            "{item_id} {position}"
        );
    }
    // An empty segment is one; a missing one is not.
    let empty = request_context(Request {
        user_segment: Some(""),
        ..BARE
    });
    assert_eq!(empty.segment_hash, Some(1_622_210_670_741_801_569));
}

#[test]
fn a_floor_has_four_buckets_to_a_doubling() {
    // Powers of two are edges, to the bit.
    for exponent in -30..30 {
        assert_eq!(floor_bucket(2_f64.powi(exponent)), 4 * i64::from(exponent));
    }
    for (floor, bucket) in [
        (0.5, -4),
        (0.99, -1),
        (1.0, 0),
        // 2^(1/4) is 1.1892, 2^(1/2) 1.4142, 2^(3/4) 1.6818.
        (1.1892, 0),
        (1.1893, 1),
        (1.414, 1),
        (1.4143, 2),
        (1.6817, 2),
        (1.6818, 3),
        (1.9999, 3),
        (2.0, 4),
        (1e-3, -40),
        (f64::from_bits(1), -4296),
        (1e308, 4092),
    ] {
        let context = request_context(Request {
            floor_price: Some(floor),
            ..BARE
        });
        assert_eq!(context.floor_bucket, Some(bucket), "{floor}");
    }
    for floor in [0.0, -0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let context = request_context(Request {
            floor_price: Some(floor),
            ..BARE
        });
        assert_eq!(context.floor_bucket, None, "{floor}");
    }
}

#[test]
fn crosses_with_the_click_through_rate() {
    // ln 3, and the ln of the f64 next to 1 / 3, which is a little less.
    let (ln_3, ln_third) = (1.098_612_288_668_109_6, -1.098_612_288_668_109_8);
    for (ctr_1d, ctr_7d, position, trend, logit, at_position) in [
        (None, None, Some(1), None, None, None),
        (Some(0.5), None, Some(1), None, None, None),
        (None, Some(0.5), None, None, Some(0.0), None),
        (Some(0.75), Some(0.5), Some(1), Some(1.5), Some(0.0), Some(0.5)),
        (Some(0.0), Some(0.75), Some(7), Some(0.0), Some(ln_3), Some(0.25)),
        (Some(0.5), Some(0.25), Some(3), Some(2.0), Some(ln_third), Some(0.125)),
        // No odds at 0 and 1, no trend from 0.
        (Some(0.5), Some(0.0), Some(1), None, None, Some(0.0)),
        (Some(0.0), Some(0.0), Some(1), None, None, Some(0.0)),
        (Some(0.5), Some(1.0), Some(1), Some(0.5), None, Some(1.0)),
        // Positions that are none count as the first.
        (None, Some(0.5), Some(0), None, Some(0.0), Some(0.5)),
        (None, Some(0.5), Some(i64::MIN), None, Some(0.0), Some(0.5)),
    ] {
        let context = request_context(Request {
            ctr_1d,
            ctr_7d,
            position,
            ..BARE
        });
        let found = (context.ctr_trend, context.ctr_logit, context.ctr_at_position);
        assert_eq!(found, (trend, logit, at_position), "{ctr_1d:?} {ctr_7d:?} {position:?}");
    }
}

/// One request with three candidates, as a host passes it: what is the request's own is a scalar.
fn inputs() -> Vec<Column> {
    let scalar = |column_type, value| Column::scalar(column_type, value).unwrap();
    vec![
        scalar(ColumnType::Timestamp, Value::Timestamp(MONDAY_10H)),
        column(ColumnType::I64, [Value::I64(7), Value::I64(0), Value::I64(-1)]),
        column(ColumnType::I64, [Value::I64(1), Value::I64(3), Value::Null]),
        scalar(ColumnType::String, Value::String("sport")),
        column(ColumnType::F64, [Value::F64(1.0), Value::Null, Value::F64(0.0)]),
        column(ColumnType::F64, [Value::F64(0.5), Value::Null, Value::Null]),
        column(ColumnType::F64, [Value::F64(0.5), Value::F64(0.5), Value::Null]),
    ]
}

#[test]
fn frames_give_what_the_function_gives() {
    let inputs = inputs();
    let inputs: Vec<&Column> = inputs.iter().collect();
    let outputs = testing::apply::<RequestContext>(&inputs, 3).unwrap();
    let request = Request {
        user_segment: Some("sport"),
        ..BARE
    };
    let rows = [
        Request {
            position: Some(1),
            floor_price: Some(1.0),
            ctr_1d: Some(0.5),
            ctr_7d: Some(0.5),
            ..request
        },
        Request {
            item_id: 0,
            position: Some(3),
            ctr_7d: Some(0.5),
            ..request
        },
        Request {
            item_id: -1,
            floor_price: Some(0.0),
            ..request
        },
    ];
    for (row, request) in rows.into_iter().enumerate() {
        let context = request_context(request);
        let i64 = |value: Option<i64>| value.map_or(Value::Null, Value::I64);
        let f64 = |value: Option<f64>| value.map_or(Value::Null, Value::F64);
        let expected = [
            Value::I64(context.hour),
            Value::I64(context.day_of_week),
            Value::I64(context.item_hash),
            i64(context.segment_hash),
            i64(context.item_segment_hash),
            i64(context.item_position_hash),
            i64(context.floor_bucket),
            f64(context.ctr_trend),
            f64(context.ctr_logit),
            f64(context.ctr_at_position),
        ];
        let found: Vec<Value<'_>> = outputs.iter().map(|output| output.value(row)).collect();
        assert_eq!(found, expected, "row {row}");
    }
}

#[test]
fn the_item_is_required() {
    let mut inputs = inputs();
    inputs[1] = column(ColumnType::I64, [Value::I64(7), Value::Null, Value::I64(0)]);
    let inputs: Vec<&Column> = inputs.iter().collect();
    let refused = testing::apply::<RequestContext>(&inputs, 3).unwrap_err();
    assert_eq!(refused.0, "`item_id` has missing values and is not an Option");
    assert!(testing::apply::<RequestContext>(&inputs[1..], 3).is_err());
    assert!(testing::apply::<RequestContext>(&inputs, 4).is_err());
}

#[test]
fn no_candidates_are_no_rows() {
    let inputs: Vec<Column> = inputs()
        .iter()
        .map(|column| Column::new(column.column_type()))
        .collect();
    let outputs = testing::apply::<RequestContext>(&inputs.iter().collect::<Vec<_>>(), 0).unwrap();
    assert!(outputs.len() == 10 && outputs.iter().all(|output| output.rows() == 0));
}

/// What users of the module rely on.
#[test]
fn the_descriptor_is_this() {
    assert_eq!(RequestContext::MODULE.name, "request-context");
    assert_eq!(RequestContext::MODULE.owner, "ads-ranking");
    let columns = |columns: &[unskew_guest::ColumnMeta]| -> String {
        let text = |column: &unskew_guest::ColumnMeta| {
            assert!(!column.doc.is_empty(), "{} has no documentation", column.name);
            format!(
                "{}: {}{}",
                column.name,
                column.column_type,
                if column.nullable { "?" } else { "" }
            )
        };
        columns.iter().map(text).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(
        columns(<Request<'_> as Input<'_>>::COLUMNS),
        "prediction_time: timestamp, item_id: i64, position: i64?, user_segment: string?, floor_price: f64?, \
         ctr_1d: f64?, ctr_7d: f64?"
    );
    assert_eq!(
        columns(<Context as Output>::COLUMNS),
        "hour: i64, day_of_week: i64, item_hash: i64, segment_hash: i64?, item_segment_hash: i64?, \
         item_position_hash: i64?, floor_bucket: i64?, ctr_trend: f64?, ctr_logit: f64?, ctr_at_position: f64?"
    );
}
