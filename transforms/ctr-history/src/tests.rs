use unskew_guest::frame::{Column, ColumnType, Value};
use unskew_guest::{
    Aggregate, Input,
    testing::{self, column},
};

use super::*;

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// 2024-01-15T10:00:00Z.
const NOW: i64 = 1_705_312_800_000_000;

unskew_guest::aggregator_laws! {
    laws: CtrHistory;
}

fn prior(prior_ctr: f64, prior_weight: f64) -> Prior {
    Prior {
        prior_ctr,
        prior_weight,
    }
}

fn totals(impressions: usize, clicks: usize) -> Totals {
    let mut totals = Totals::default();
    for i in 0..impressions {
        let clicked = Some(i < clicks);
        unskew_guest::Accumulators::add(&mut totals, Default::default(), &Impression { clicked });
    }
    totals
}

#[test]
fn the_rate_is_smoothed_by_the_prior() {
    for (impressions, clicks, prior, ctr) in [
        // No history is the prior.
        (0, 0, prior(0.25, 4.0), Some(0.25)),
        (0, 0, prior(0.0, 4.0), Some(0.0)),
        // (1 + 0.25 * 4) / (4 + 4)
        (4, 1, prior(0.25, 4.0), Some(0.25)),
        // (3 + 0.5 * 2) / (6 + 2)
        (6, 3, prior(0.5, 2.0), Some(0.5)),
        // (2 + 0.125 * 8) / (8 + 8)
        (8, 2, prior(0.125, 8.0), Some(0.1875)),
        (4, 4, prior(0.0, 4.0), Some(0.5)),
        // A prior of no weight is the plain rate, of which nothing is none.
        (4, 1, prior(0.5, 0.0), Some(0.25)),
        (4, 0, prior(0.5, 0.0), Some(0.0)),
        (0, 0, prior(0.5, 0.0), None),
        (0, 0, prior(0.5, -0.0), None),
        // A weight that takes away what there is.
        (2, 1, prior(0.5, -2.0), None),
    ] {
        let expected = Ctr {
            impressions: impressions as i64,
            clicks: clicks as i64,
            ctr,
        };
        assert_eq!(
            ctr_history(&totals(impressions, clicks), &prior),
            expected,
            "{impressions} {clicks} {prior:?}"
        );
    }
}

#[test]
fn a_prior_that_is_no_number_shows() {
    let ctr = ctr_history(&totals(1, 1), &prior(f64::NAN, 1.0)).ctr;
    assert!(ctr.is_some_and(f64::is_nan));
}

/// The impressions of one key.
fn impressions(events: &[(i64, Option<bool>)]) -> [Column; 3] {
    [
        column(ColumnType::I64, events.iter().map(|_| Value::I64(0))),
        column(
            ColumnType::Timestamp,
            events.iter().map(|(time, _)| Value::Timestamp(*time)),
        ),
        column(
            ColumnType::Bool,
            events
                .iter()
                .map(|(_, clicked)| clicked.map_or(Value::Null, Value::Bool)),
        ),
    ]
}

/// What a query at `t` reads of a key with these impressions; the prior is 0.25, worth 4.
fn features(events: &[(i64, Option<bool>)], t: i64) -> Vec<(String, Option<f64>)> {
    let none = column(ColumnType::Bytes, [Value::Null]);
    let events = impressions(events);
    let events: Vec<&Column> = events.iter().collect();
    let states = testing::fold::<CtrHistory>(&none, &events).unwrap();
    let queries = [
        column(ColumnType::I64, [Value::I64(0)]),
        column(ColumnType::Timestamp, [Value::Timestamp(t)]),
        column(ColumnType::F64, [Value::F64(0.25)]),
        column(ColumnType::F64, [Value::F64(4.0)]),
    ];
    let visible = column(ColumnType::I64, [Value::I64(events[0].rows() as i64)]);
    let [state, time, ctr, weight] = &queries;
    let outputs = testing::read::<CtrHistory>(&states, &[state, time, ctr, weight]).unwrap();
    let in_batch = testing::batch::<CtrHistory>(&none, &events, &[state, time, &visible, ctr, weight]).unwrap();
    assert_eq!(outputs, in_batch);
    let value = |column: &Column| match column.value(0) {
        Value::Null => None,
        Value::I64(value) => Some(value as f64),
        Value::F64(value) => Some(value),
        other => panic!("no output is a {other:?}"),
    };
    testing::output_names::<CtrHistory>()
        .into_iter()
        .zip(outputs.iter().map(value))
        .collect()
}

fn check(events: &[(i64, Option<bool>)], t: i64, expected: [(i64, i64, f64); 3]) {
    let mut names = Vec::new();
    for (window, (impressions, clicks, ctr)) in ["1h", "1d", "7d"].into_iter().zip(expected) {
        names.push((format!("impressions_{window}"), Some(impressions as f64)));
        names.push((format!("clicks_{window}"), Some(clicks as f64)));
        names.push((format!("ctr_{window}"), Some(ctr)));
    }
    assert_eq!(features(events, t), names);
}

#[test]
fn windows_are_an_hour_a_day_and_a_week() {
    check(&[], NOW, [(0, 0, 0.25); 3]);
    let events = [
        (NOW - 1, Some(true)),
        // The hour's tail is a multiple of five minutes.
        (NOW - HOUR, Some(false)),
        (NOW - HOUR - 1, Some(true)),
        // The day's and the week's are multiples of an hour.
        (NOW - DAY, None),
        (NOW - DAY - 1, Some(true)),
        (NOW - 7 * DAY, Some(true)),
        (NOW - 7 * DAY - 1, Some(true)),
    ];
    // (1 + 1) / (2 + 4); (2 + 1) / (4 + 4); (4 + 1) / (6 + 4)
    check(&events, NOW, [(2, 1, 2.0 / 6.0), (4, 2, 0.375), (6, 4, 0.5)]);
    // Four minutes later the tails are where they were, five minutes later the hour's has moved.
    check(
        &events,
        NOW + 4 * MINUTE,
        [(2, 1, 2.0 / 6.0), (4, 2, 0.375), (6, 4, 0.5)],
    );
    check(&events, NOW + 5 * MINUTE, [(1, 1, 0.4), (4, 2, 0.375), (6, 4, 0.5)]);
    check(
        &events,
        NOW + HOUR,
        [(0, 0, 0.25), (3, 2, 3.0 / 7.0), (5, 3, 4.0 / 9.0)],
    );
    check(&events, NOW + 8 * DAY, [(0, 0, 0.25); 3]);
}

/// A click that is not known is not one, and its impression still counts.
#[test]
fn a_missing_click_is_an_impression() {
    check(&[(NOW - 1, None), (NOW - 2, None)], NOW, [(2, 0, 1.0 / 6.0); 3]);
}

#[test]
fn an_impression_at_the_query_is_refused() {
    let states = testing::fold::<CtrHistory>(
        &column(ColumnType::Bytes, [Value::Null]),
        &impressions(&[(NOW, Some(true))]).each_ref(),
    );
    let queries = [
        column(ColumnType::I64, [Value::I64(0)]),
        column(ColumnType::Timestamp, [Value::Timestamp(NOW)]),
        column(ColumnType::F64, [Value::F64(0.25)]),
        column(ColumnType::F64, [Value::F64(4.0)]),
    ];
    let refused = testing::read::<CtrHistory>(&states.unwrap(), &queries.each_ref());
    assert_eq!(refused, Err(unskew_guest::AggregateError::QueryBeforeState(0)));
}

/// The prior is the view's: a query without it has no answer.
#[test]
fn the_prior_is_required() {
    let none = column(ColumnType::Bytes, [Value::Null]);
    let queries = [
        column(ColumnType::I64, [Value::I64(0)]),
        column(ColumnType::Timestamp, [Value::Timestamp(NOW)]),
        column(ColumnType::F64, [Value::Null]),
        column(ColumnType::F64, [Value::F64(4.0)]),
    ];
    let message = "queries: `prior_ctr` has missing values and is not an Option".to_owned();
    let refused = testing::read::<CtrHistory>(&none, &queries.each_ref());
    assert_eq!(refused, Err(unskew_guest::AggregateError::Frame(message)));
}

/// What users of the module rely on.
#[test]
fn the_descriptor_is_this() {
    assert_eq!(CtrHistory::MODULE.name, "ctr-history");
    assert_eq!(CtrHistory::MODULE.owner, "ads-ranking");
    let columns = |columns: &[unskew_guest::ColumnMeta]| -> Vec<String> {
        let text = |column: &unskew_guest::ColumnMeta| {
            assert!(!column.doc.is_empty(), "{} has no documentation", column.name);
            format!(
                "{}: {}{}",
                column.name,
                column.column_type,
                if column.nullable { "?" } else { "" }
            )
        };
        columns.iter().map(text).collect()
    };
    assert_eq!(columns(Impression::COLUMNS), ["clicked: bool?"]);
    assert_eq!(columns(Prior::COLUMNS), ["prior_ctr: f64", "prior_weight: f64"]);
    let outputs = columns(<Ctr as unskew_guest::Output>::COLUMNS);
    assert_eq!(outputs, ["impressions: i64", "clicks: i64", "ctr: f64?"]);
    let windows: Vec<_> = CtrHistory::WINDOWS
        .iter()
        .map(|w| (w.name, w.length_us, w.hop_us))
        .collect();
    assert_eq!(
        windows,
        [("1h", HOUR, 5 * MINUTE), ("1d", DAY, HOUR), ("7d", 7 * DAY, HOUR)]
    );
}
