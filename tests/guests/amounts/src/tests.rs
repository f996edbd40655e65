use unskew_guest::frame::{Column, ColumnType, Value};
use unskew_guest::testing::{self, column};

use super::*;

/// Fewer cases than each accumulator has by itself: here it is all of them together, with whatever their values are.
#[test]
fn laws() {
    testing::check_aggregate_laws::<AmountsOfPayments>(2_000);
}

const NAN: f64 = f64::NAN;
const INFINITY: f64 = f64::INFINITY;

fn or_null<T>(value: Option<T>, wrap: impl Fn(T) -> Value<'static>) -> Value<'static> {
    value.map_or(Value::Null, wrap)
}

type Event = (i64, Option<f64>, Option<i64>);

/// The outputs at `t`, of a state and in batch, which are the same in both windows.
#[track_caller]
fn outputs(events: &[Event], t: i64) -> Vec<(String, String)> {
    let none = column(ColumnType::Bytes, [Value::Null]);
    let events = [
        column(ColumnType::I64, events.iter().map(|_| Value::I64(0))),
        column(
            ColumnType::Timestamp,
            events.iter().map(|event| Value::Timestamp(event.0)),
        ),
        column(ColumnType::F64, events.iter().map(|event| or_null(event.1, Value::F64))),
        column(ColumnType::I64, events.iter().map(|event| or_null(event.2, Value::I64))),
    ];
    let events: Vec<&Column> = events.iter().collect();
    let [state, time, visible] = [
        column(ColumnType::I64, [Value::I64(0)]),
        column(ColumnType::Timestamp, [Value::Timestamp(t)]),
        column(ColumnType::I64, [Value::I64(events[0].rows() as i64)]),
    ];
    let states = testing::fold::<AmountsOfPayments>(&none, &events).unwrap();
    let read = testing::read::<AmountsOfPayments>(&states, &[&state, &time]).unwrap();
    let batch = testing::batch::<AmountsOfPayments>(&none, &events, &[&state, &time, &visible]).unwrap();
    assert_eq!(read, batch);
    let names = testing::output_names::<AmountsOfPayments>();
    let (hour, minutes) = read.split_at(read.len() / 2);
    assert_eq!(hour, minutes);
    names
        .into_iter()
        .zip(hour)
        .map(|(name, column)| {
            let value = match column.value(0) {
                Value::Null => "-".to_owned(),
                Value::I64(value) => value.to_string(),
                Value::F64(value) => {
                    assert!(
                        !value.is_nan() || value.to_bits() == 0x7ff8_0000_0000_0000,
                        "not canonical"
                    );
                    format!("{value:?}")
                }
                other => format!("{other:?}"),
            };
            (name.trim_end_matches("_1h").to_owned(), value)
        })
        .collect()
}

/// Amounts a second apart, asked a second later.
#[track_caller]
fn check(amounts: &[f64], expected: &str) {
    let events: Vec<Event> = amounts
        .iter()
        .zip(0..)
        .map(|(amount, n)| (n * 1_000_000, Some(*amount), Some(1)))
        .collect();
    is(&outputs(&events, amounts.len() as i64 * 1_000_000), expected);
}

/// Whether the outputs named in `expected`, `name value, name value`, are these.
#[track_caller]
fn is(outputs: &[(String, String)], expected: &str) {
    for expected in expected.split(", ") {
        let (name, value) = expected.split_once(' ').unwrap();
        let found = outputs.iter().find(|(output, _)| output == name);
        assert_eq!(found.map(|(_, value)| value.as_str()), Some(value), "{name}");
    }
}

#[test]
fn a_nan_shows_and_is_counted() {
    check(
        &[1.0, NAN, 3.0],
        "events 3, positive 2.0, sum NaN, mean NaN, variance NaN, decimals 4.0, invalid 1, least 1.0, greatest NaN, first 1.0, \
         last 3.0, ratio NaN, decay NaN, median 1.0078125, not_numbers 1, high 0, distinct 3",
    );
    // Of any sign and payload it is the one.
    check(
        &[-NAN, f64::from_bits(0x7ff0_0000_0000_0001), NAN],
        "events 3, positive -, sum NaN, decimals 0.0, invalid 3, least NaN, greatest NaN, first NaN, last NaN, median -, \
         not_numbers 3, distinct 1",
    );
}

#[test]
fn infinities_add_up_as_ieee_754_says() {
    check(
        &[1.0, INFINITY, 3.0],
        "positive inf, sum inf, mean inf, variance NaN, decimals 4.0, invalid 1, least 1.0, greatest inf, first 1.0, ratio inf, \
         decay inf, median 3.015625, not_numbers 0, high 1, distinct 3",
    );
    check(
        &[-INFINITY, INFINITY],
        "positive inf, sum NaN, mean NaN, decimals 0.0, invalid 2, least -inf, greatest inf, ratio NaN, decay NaN, median -inf, \
         high 1",
    );
}

#[test]
fn the_greatest_amounts_do_not_overflow_on_the_way() {
    check(
        &[f64::MAX, f64::MAX, -f64::MAX],
        "sum 1.7976931348623157e308, decimals 0.0, invalid 3, least -1.7976931348623157e308, variance inf, high 2, distinct 2",
    );
    check(&[f64::MAX, f64::MAX], "sum inf, mean inf, variance 0.0, positive inf");
}

/// Their order is total, and sums of them are 0.0.
#[test]
fn negative_zero_is_below_zero() {
    check(
        &[0.0, -0.0],
        "positive -, sum 0.0, mean 0.0, variance 0.0, decimals 0.0, least -0.0, greatest 0.0, first 0.0, last -0.0, ratio 0.0, \
         decay 0.0, median 0.0, distinct 2",
    );
    check(
        &[-0.0],
        "sum 0.0, mean 0.0, least -0.0, greatest -0.0, first -0.0, last -0.0, decay 0.0, median 0.0",
    );
}

#[test]
fn sums_that_do_not_fit_are_missing() {
    let of = |units: &[i64]| {
        let events: Vec<Event> = units
            .iter()
            .zip(0..)
            .map(|(units, n)| (n, None, Some(*units)))
            .collect();
        outputs(&events, 1_000_000)
    };
    is(
        &of(&[i64::MAX]),
        "units 9223372036854775807, unit_decimals 0.0, unit_mean 9.223372036854776e18",
    );
    is(&of(&[i64::MAX, 1]), "units -, unit_mean 4.611686018427388e18");
    is(&of(&[i64::MIN, -1]), "units -");
    // What passes an i64 on the way fits again.
    is(&of(&[i64::MAX, 1, -1]), "units 9223372036854775807");
    is(&of(&[9_223_372_036_854, 1]), "units 9223372036855, unit_decimals -");
    is(&of(&[9_223_372_036_854, 1, -1]), "unit_decimals 9223372036854.0");
    // Amounts in hundredths, too.
    check(&[9e16, 9e16], "decimals -, invalid 0, sum 1.8e17");
    check(&[9e16, 9e16, -9e16], "decimals 9e16, invalid 0");
    check(&[1e17], "decimals 0.0, invalid 1");
}

#[test]
fn there_are_windows_at_the_ends_of_time() {
    let last = i64::MAX - 1;
    let events = [(i64::MIN, Some(2.0), Some(1)), (last, Some(5.0), Some(1))];
    is(
        &outputs(&events, i64::MAX),
        "events 1, sum 5.0, last 5.0, seconds_since 1e-6",
    );
    is(
        &outputs(&events[..1], i64::MIN + 1),
        "events 1, sum 2.0, first 2.0, seconds_since 1e-6",
    );
    is(
        &outputs(&events[..1], i64::MAX),
        "events 0, sum 0.0, first -, seconds_since -",
    );
}
