use unskew_guest::frame::{ColumnType, Value};
use unskew_guest::{
    Aggregate as _,
    testing::{self, column},
};

use super::*;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// 2024-01-15T12:00:00Z, a tail of every window.
const NOW: i64 = 1_705_320_000_000_000;

unskew_guest::aggregator_laws! {
    laws: UserFrequency;
}

/// The features of `window` at `t`, by name.
fn features(events: &[(i64, Option<&str>)], t: i64, caps: [Option<i64>; 5], window: &str) -> Vec<Option<f64>> {
    let none = column(ColumnType::Bytes, [Value::Null]);
    let events = [
        column(ColumnType::I64, events.iter().map(|_| Value::I64(0))),
        column(
            ColumnType::Timestamp,
            events.iter().map(|(time, _)| Value::Timestamp(*time)),
        ),
        column(
            ColumnType::String,
            events.iter().map(|(_, kind)| kind.map_or(Value::Null, Value::String)),
        ),
    ];
    let states = testing::fold::<UserFrequency>(&none, &events.each_ref()).unwrap();
    let mut queries = vec![
        column(ColumnType::I64, [Value::I64(0)]),
        column(ColumnType::Timestamp, [Value::Timestamp(t)]),
    ];
    queries.extend(caps.map(|cap| column(ColumnType::I64, [cap.map_or(Value::Null, Value::I64)])));
    let outputs = testing::read::<UserFrequency>(&states, &queries.iter().collect::<Vec<_>>()).unwrap();
    let names = testing::output_names::<UserFrequency>();
    [
        "impressions",
        "clicks",
        "seconds_since_impression",
        "seconds_since_click",
        "cap_remaining",
    ]
    .iter()
    .map(|name| {
        let index = names.iter().position(|output| *output == format!("{name}_{window}"));
        match outputs[index.unwrap()].value(0) {
            Value::I64(value) => Some(value as f64),
            Value::F64(value) => Some(value),
            _ => None,
        }
    })
    .collect()
}

/// Golden: a change of these is a change of what models were trained on.
#[test]
fn windows_caps_and_recency() {
    let events = [
        (NOW - 30 * SECOND, Some("impression")),
        (NOW - 10 * MINUTE, Some("impression")),
        (NOW - 20 * MINUTE, Some("click")),
        (NOW - 21 * MINUTE, Some("impression")),
        (NOW - 5 * HOUR, Some("impression")),
        (NOW - 3 * DAY, Some("impression")),
        (NOW - 20 * DAY, Some("click")),
        (NOW - 20 * DAY - MINUTE, Some("impression")),
        (NOW - 31 * DAY, Some("impression")),
        // Neither, and unknown.
        (NOW - MINUTE, Some("viewable")),
        (NOW - MINUTE, None),
    ];
    let caps = [Some(2), Some(5), None, Some(4), Some(100)];
    for (window, expected) in [
        ("10m", [Some(2.0), Some(0.0), Some(30.0), None, Some(0.0)]),
        ("1h", [Some(3.0), Some(1.0), Some(30.0), Some(1_200.0), Some(2.0)]),
        ("1d", [Some(4.0), Some(1.0), Some(30.0), Some(1_200.0), None]),
        ("7d", [Some(5.0), Some(1.0), Some(30.0), Some(1_200.0), Some(0.0)]),
        ("30d", [Some(6.0), Some(2.0), Some(30.0), Some(1_200.0), Some(94.0)]),
    ] {
        assert_eq!(features(&events, NOW, caps, window), expected, "{window}");
    }
    // A microsecond later the tail of ten minutes is where it was; ten seconds later it has moved.
    assert_eq!(features(&events, NOW + 1, caps, "10m")[0], Some(2.0));
    assert_eq!(features(&events, NOW + 10 * SECOND, caps, "10m")[0], Some(1.0));
}

#[test]
fn a_user_without_history_has_its_caps() {
    for window in ["10m", "1h", "1d", "7d", "30d"] {
        let caps = [Some(3); 5];
        assert_eq!(
            features(&[], NOW, caps, window),
            [Some(0.0), Some(0.0), None, None, Some(3.0)]
        );
    }
    // A cap that was lowered below what was shown leaves nothing, and a negative one, too.
    let events = [
        (NOW - SECOND, Some("impression")),
        (NOW - 2 * SECOND, Some("impression")),
    ];
    for cap in [1, 0, -5, i64::MIN] {
        assert_eq!(features(&events, NOW, [Some(cap); 5], "1h")[4], Some(0.0));
    }
}

#[test]
fn states_are_bounded() {
    let tiles: Option<u64> = UserFrequency::WINDOWS
        .iter()
        .map(unskew_guest::WindowMeta::max_tiles)
        .sum();
    assert_eq!(tiles, Some(62 + 62 + 50 + 58 + 62));
}
