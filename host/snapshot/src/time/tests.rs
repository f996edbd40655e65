use proptest::prelude::*;

use super::*;

#[test]
fn a_value_is_alive_up_to_and_at_its_ttl() {
    let cases = [
        // event time, ttl, at, alive
        (0, Some(10), 9, true),
        (0, Some(10), 10, true),
        (0, Some(10), 11, false),
        (0, Some(0), 0, true),
        (0, Some(0), 1, false),
        (0, None, i64::MAX, true),
        (5, Some(0), 4, true),
        (i64::MIN, Some(u64::MAX), i64::MAX, true),
        (i64::MIN, Some(u64::MAX - 1), i64::MAX, false),
        (i64::MAX, Some(0), i64::MIN, true),
        (-1, Some(i64::MAX.unsigned_abs()), i64::MAX, false),
    ];
    for (event_time, ttl, at, alive) in cases {
        assert_eq!(
            is_alive(EventTime(event_time), ttl.map(Ttl::from_micros), EventTime(at)),
            alive,
            "{event_time} {ttl:?} {at}"
        );
    }
}

#[test]
fn an_event_is_late_beyond_its_lateness() {
    let cases = [
        // event time, known at, lateness, late
        (0, Some(9), Some(10), false),
        (0, Some(10), Some(10), false),
        (0, Some(11), Some(10), true),
        (0, Some(0), Some(0), false),
        (0, Some(1), Some(0), true),
        (5, Some(4), Some(0), false),
        (0, Some(i64::MAX), None, false),
        (0, None, Some(0), false),
        (i64::MIN, Some(i64::MAX), Some(u64::MAX), false),
        (i64::MIN, Some(i64::MAX), Some(u64::MAX - 1), true),
        (i64::MAX, Some(i64::MIN), Some(0), false),
        (-1, Some(i64::MAX), Some(i64::MAX.unsigned_abs()), true),
    ];
    for (event_time, known_at, lateness, late) in cases {
        let lateness = lateness.map(Lateness::from_micros);
        assert_eq!(
            is_late(EventTime(event_time), known_at.map(EventTime), lateness),
            late,
            "{event_time} {known_at:?} {lateness:?}"
        );
    }
    assert_eq!(Lateness::from_micros(9_000_000_000).to_string(), "2h30m");
}

/// The spine of the user-purchase example: a TTL of 4 days, of 3 days 9 hours, of 3 days.
#[test]
fn ttl_of_the_purchase_example() {
    let rows = [
        ("2024-01-15T10:00:00Z", "2024-01-10", [false, false, false]),
        ("2024-01-20T14:30:00Z", "2024-01-17", [true, false, false]),
        ("2024-01-18T09:00:00Z", "2024-01-15", [true, true, false]),
    ];
    for (at, event_time, expected) in rows {
        let at = EventTime::parse_rfc3339(at).unwrap();
        let event_time = EventTime::parse_rfc3339(event_time).unwrap();
        for (ttl, expected) in ["4d", "3d9h", "3d"].into_iter().zip(expected) {
            let ttl = Ttl::from_micros(crate::parse_duration_us(ttl).unwrap());
            assert_eq!(is_alive(event_time, Some(ttl), at), expected, "{at} {ttl}");
        }
    }
}

#[test]
fn texts_and_their_times() {
    let cases = [
        ("1970-01-01", 0),
        ("1970-01-01T00:00:00", 0),
        ("1970-01-01 00:00:00Z", 0),
        ("1970-01-01t00:00:00z", 0),
        ("1970-01-01T00:00:00.000001Z", 1),
        ("1970-01-01T00:00:00.1Z", 100_000),
        ("1970-01-01T00:00:00.123456789Z", 123_456),
        ("1970-01-01T00:00:00.9999999Z", 999_999),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("1969-12-31T23:59:59.9999999Z", -1),
        ("1970-01-01T02:00:00+02:00", 0),
        ("1969-12-31 22:30:00-01:30", 0),
        ("1970-01-01T00:00:00-00:00", 0),
        ("2024-02-29T12:00:00Z", 1_709_208_000_000_000),
        ("2000-02-29", 951_782_400_000_000),
        ("2024-01-15T10:00:00Z", 1_705_312_800_000_000),
        ("0000-01-01", -62_167_219_200_000_000),
        ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
        ("+294247-01-10T04:00:54.775807Z", i64::MAX),
        ("-290308-12-21T19:59:05.224192Z", i64::MIN),
    ];
    for (text, micros) in cases {
        assert_eq!(EventTime::parse_rfc3339(text), Some(EventTime(micros)), "{text}");
    }
}

#[test]
fn texts_that_are_not_times() {
    let cases = [
        "",
        "2024",
        "2024-1-15",
        "2024-01-15T",
        "2024-01-15 ",
        "2024-01-15Z",
        " 2024-01-15",
        "24-01-15",
        "2024-00-15",
        "2024-13-15",
        "2024-01-00",
        "2024-01-32",
        "2023-02-29",
        "1900-02-29",
        "2024-04-31",
        "2024-01-15T10:00",
        "2024-01-15T10:00Z",
        "2024-01-15T24:00:00Z",
        "2024-01-15T10:60:00Z",
        "2024-01-15T10:00:60Z",
        "2024-01-15T10:00:00.Z",
        "2024-01-15T10:00:00.1234567890Z",
        "2024-01-15T10:00:00,5Z",
        "2024-01-15T10:00:00+0200",
        "2024-01-15T10:00:00+02",
        "2024-01-15T10:00:00+24:00",
        "2024-01-15T10:00:00+02:60",
        "2024-01-15T10:00:00Zx",
        "2024-01-15T10:00:00 UTC",
        "2024-01-15_10:00:00",
        "2024-01-15T10:00:0٠Z",
        "+2024-01-15",
        "+294247-01-10T04:00:54.775808Z",
        "-290308-12-21T19:59:05.224191Z",
        "1705312800",
        "2024/01/15",
    ];
    for text in cases {
        assert_eq!(EventTime::parse_rfc3339(text), None, "{text}");
    }
}

#[test]
fn a_time_is_written_in_utc_with_microseconds() {
    let cases = [
        (0, "1970-01-01T00:00:00.000000Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (1_705_312_800_250_000, "2024-01-15T10:00:00.250000Z"),
        (253_402_300_800_000_000, "+010000-01-01T00:00:00.000000Z"),
    ];
    for (micros, text) in cases {
        assert_eq!(EventTime(micros).to_string(), text);
    }
}

#[test]
fn every_day_of_eight_centuries_follows_the_one_before() {
    let first = days_from_civil(1600, 1, 1);
    let (mut year, mut month, mut day) = (1600, 1, 1);
    for days in first..first + 2 * 146_097 {
        assert_eq!(civil_from_days(days), (year, month, day));
        assert_eq!(days_from_civil(year, month, day), days);
        day += 1;
        if day > days_in_month(year, month) {
            (month, day) = (month + 1, 1);
        }
        if month > 12 {
            (year, month) = (year + 1, 1);
        }
    }
    assert_eq!((year, month, day), (2400, 1, 1));
}

proptest! {
    #[test]
    fn any_time_is_read_back(micros: i64) {
        let time = EventTime(micros);
        prop_assert_eq!(EventTime::parse_rfc3339(&time.to_string()), Some(time));
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in "[-+0-9TZ:. ]{0,40}") {
        let _ = EventTime::parse_rfc3339(&text);
    }

    #[test]
    fn alive_equals_exact_arithmetic(event_time: i64, ttl: u64, at: i64) {
        let expected = i128::from(at) - i128::from(event_time) <= i128::from(ttl);
        let alive = is_alive(EventTime(event_time), Some(Ttl::from_micros(ttl)), EventTime(at));
        prop_assert_eq!(alive, expected);
    }
}
