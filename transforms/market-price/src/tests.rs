use unskew_guest::frame::{ColumnType, Value};
use unskew_guest::testing::{self, column};

use super::*;

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// 2024-01-15T12:00:00Z, a tail of every window.
const NOW: i64 = 1_705_320_000_000_000;

unskew_guest::aggregator_laws! {
    laws: MarketPrice;
}

type Event = (i64, Option<bool>, Option<f64>);

/// The features of `window` at `NOW`; the prior is a win rate of 0.25, worth 4 bids.
fn features(events: &[Event], bid: Option<f64>, window: &str) -> Vec<Option<f64>> {
    let none = column(ColumnType::Bytes, [Value::Null]);
    let events = [
        column(ColumnType::I64, events.iter().map(|_| Value::I64(0))),
        column(
            ColumnType::Timestamp,
            events.iter().map(|event| Value::Timestamp(event.0)),
        ),
        column(
            ColumnType::Bool,
            events.iter().map(|event| event.1.map_or(Value::Null, Value::Bool)),
        ),
        column(
            ColumnType::F64,
            events.iter().map(|event| event.2.map_or(Value::Null, Value::F64)),
        ),
    ];
    let states = testing::fold::<MarketPrice>(&none, &events.each_ref()).unwrap();
    let queries = [
        column(ColumnType::I64, [Value::I64(0)]),
        column(ColumnType::Timestamp, [Value::Timestamp(NOW)]),
        column(ColumnType::F64, [bid.map_or(Value::Null, Value::F64)]),
        column(ColumnType::F64, [Value::F64(0.25)]),
        column(ColumnType::F64, [Value::F64(4.0)]),
    ];
    let outputs = testing::read::<MarketPrice>(&states, &queries.each_ref()).unwrap();
    let names = testing::output_names::<MarketPrice>();
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

/// The middle of the bucket of a price between 1 and 2, of which there are 64.
fn near(price: f64) -> f64 {
    let low = (price * 64.0).floor() / 64.0;
    low + 1.0 / 128.0
}

/// Golden: a change of these is a change of what models were trained on.
#[test]
fn prices_of_a_slot() {
    let mut events: Vec<Event> = (0..10)
        .map(|i| (NOW - MINUTE - i, Some(i % 2 == 0), Some(1.05 + 0.1 * i as f64)))
        .collect();
    // No notice; lost without a price; a price of nothing; no number.
    events.push((NOW - 2 * MINUTE, None, None));
    events.push((NOW - 2 * MINUTE, Some(false), None));
    events.push((NOW - 2 * MINUTE, None, Some(0.0)));
    events.push((NOW - 2 * MINUTE, None, Some(f64::NAN)));
    // Of yesterday and of last week.
    events.push((NOW - 5 * HOUR, Some(true), Some(100.0)));
    events.push((NOW - 6 * DAY, Some(true), Some(100.0)));
    let hour = features(&events, Some(1.5), "1h");
    assert_eq!(hour[..3], [Some(11.0), Some(6.0 / 15.0), Some(10.0)]);
    // The ranks are floor(0.9), floor(4.5) and floor(8.1).
    assert_eq!(hour[4..7], [Some(near(1.05)), Some(near(1.45)), Some(near(1.85))]);
    assert!(hour[3].is_some_and(|mean| (mean - 1.5).abs() < 1e-12));
    assert_eq!(hour[7], Some(0.5));
    let day = features(&events, None, "1d");
    assert_eq!((day[0], day[2], day[7]), (Some(12.0), Some(11.0), None));
    assert_eq!(features(&events, Some(50.0), "7d")[7], Some(10.0 / 12.0));
}

#[test]
fn a_slot_without_history_is_the_prior() {
    let expected = [Some(0.0), Some(0.25), Some(0.0), None, None, None, None, None];
    assert_eq!(features(&[], Some(1.0), "1h"), expected);
}
