use unskew_guest::frame::{ColumnType, Value};
use unskew_guest::testing::{self, column};

use super::*;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
/// 2024-01-15T12:00:00Z, a tail of every window.
const NOW: i64 = 1_705_320_000_000_000;

unskew_guest::aggregator_laws! {
    laws: Pacing;
}

/// The features of `window` at `t` with a plan of 12 an hour.
fn features(events: &[(i64, Option<f64>)], t: i64, window: &str) -> Vec<Option<f64>> {
    let none = column(ColumnType::Bytes, [Value::Null]);
    let events = [
        column(ColumnType::I64, events.iter().map(|_| Value::I64(0))),
        column(
            ColumnType::Timestamp,
            events.iter().map(|(time, _)| Value::Timestamp(*time)),
        ),
        column(
            ColumnType::F64,
            events.iter().map(|(_, amount)| amount.map_or(Value::Null, Value::F64)),
        ),
    ];
    let states = testing::fold::<Pacing>(&none, &events.each_ref()).unwrap();
    let queries = [
        column(ColumnType::I64, [Value::I64(0)]),
        column(ColumnType::Timestamp, [Value::Timestamp(t)]),
        column(ColumnType::F64, [Value::F64(12.0)]),
    ];
    let outputs = testing::read::<Pacing>(&states, &queries.each_ref()).unwrap();
    let names = testing::output_names::<Pacing>();
    let of_window = names
        .iter()
        .zip(&outputs)
        .filter(|(name, _)| name.ends_with(&format!("_{window}")));
    of_window
        .map(|(_, column)| match column.value(0) {
            Value::I64(value) => Some(value as f64),
            Value::F64(value) => Some(value),
            _ => None,
        })
        .collect()
}

/// Golden: a change of these is a change of what models were trained on.
#[test]
fn speed_is_against_the_plan() {
    let events = [
        (NOW - 30 * SECOND, Some(0.1)),
        (NOW - 40 * SECOND, Some(0.2)),
        (NOW - 5 * MINUTE, Some(0.2)),
        (NOW - 6 * MINUTE, Some(11.5)),
        (NOW - 50 * SECOND, None),
        (NOW - 50 * SECOND, Some(f64::NAN)),
    ];
    // 0.5 in five minutes is 6 an hour: half of the plan. 0.1 + 0.2 + 0.2 is 0.5, as in the accounts.
    let expected = [Some(0.5), Some(5.0), Some(1.0), Some(6.0), Some(0.5), Some(30.0)];
    assert_eq!(features(&events, NOW, "5m"), expected);
    let expected = [Some(12.0), Some(6.0), Some(1.0), Some(12.0), Some(1.0), Some(30.0)];
    assert_eq!(features(&events, NOW, "1h"), expected);
    // Five seconds later the tail is where it was, so the window is 305 s long.
    let later = features(&events, NOW + 5 * SECOND, "5m");
    assert_eq!(later[3], Some(0.5 / 305.0 * 3_600.0));
}

#[test]
fn nothing_spent_is_a_pace_of_0() {
    for window in ["5m", "1h", "1d"] {
        let expected = [Some(0.0), Some(0.0), Some(0.0), Some(0.0), Some(0.0), None];
        assert_eq!(features(&[], NOW, window), expected);
    }
}

#[test]
fn without_a_plan_there_is_no_pace() {
    let (totals, window) = (Totals::default(), <Pacing as unskew_guest::Aggregate>::WINDOWS[0]);
    let query = Query {
        time: unskew_guest::Timestamp::from_micros(NOW),
        window,
    };
    for plan_per_hour in [None, Some(0.0), Some(-1.0), Some(f64::NAN)] {
        assert_eq!(pacing(&totals, &Plan { plan_per_hour }, &query).pace, None);
    }
}
