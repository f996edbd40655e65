use proptest::prelude::*;

use super::*;

fn version(event_time: i64, known_at: Option<i64>, row: &[u8]) -> Version<'_> {
    Version {
        event_time: EventTime(event_time),
        known_at: known_at.map(EventTime),
        row,
    }
}

#[test]
fn rows_are_visible_at_their_time_and_events_after_it() {
    let cases = [
        // event time, known at, at, row visible, event visible
        (9, None, 10, true, true),
        (10, None, 10, true, false),
        (11, None, 10, false, false),
        (9, Some(10), 10, true, true),
        (9, Some(11), 10, false, false),
        (10, Some(10), 10, true, false),
        (10, Some(9), 10, true, false),
        (11, Some(9), 10, false, false),
        (i64::MIN, Some(i64::MIN), i64::MIN, true, false),
        (i64::MAX, None, i64::MAX, true, false),
    ];
    for (event_time, known_at, at, row, event) in cases {
        let (time, known) = (EventTime(event_time), known_at.map(EventTime));
        assert_eq!(is_visible(time, known, EventTime(at)), row, "{event_time} {known_at:?}");
        assert_eq!(
            is_event_visible(time, known, EventTime(at)),
            event,
            "{event_time} {known_at:?}"
        );
        // The first instant says the same, but for an event at the last one.
        assert_eq!(visible_from(time, known) <= EventTime(at), row);
        if time != EventTime::MAX {
            assert_eq!(event_visible_from(time, known) <= EventTime(at), event);
        }
    }
}

#[test]
fn versions_from_least_to_greatest() {
    let ascending = [
        version(1, Some(9), b"z"),
        version(2, None, b""),
        version(2, None, b"a"),
        version(2, None, b"aa"),
        version(2, None, b"b"),
        version(2, Some(i64::MIN), b""),
        version(2, Some(3), b"b"),
        version(2, Some(4), b"a"),
        version(3, None, b""),
    ];
    for (i, a) in ascending.iter().enumerate() {
        for (j, b) in ascending.iter().enumerate() {
            assert_eq!(compare_versions(a, b), i.cmp(&j), "{a:?} {b:?}");
        }
    }
}

#[test]
fn only_different_rows_of_equal_times_are_tied() {
    let a = version(1, Some(2), b"a");
    assert!(a.is_tied_with(&version(1, Some(2), b"b")));
    assert!(!a.is_tied_with(&a));
    assert!(!a.is_tied_with(&version(1, None, b"b")));
    assert!(!a.is_tied_with(&version(0, Some(2), b"b")));
}

/// The bytes decide ties in training sets that exist, so they must not change.
#[test]
fn golden_bytes_of_rows() {
    let cases: [(&[Value<'_>], &[u8]); 10] = [
        (&[], b""),
        (&[Value::Null], b"\x00"),
        (&[Value::I64(1)], b"\x03\x80\0\0\0\0\0\0\x01"),
        (&[Value::I64(-1)], b"\x03\x7f\xff\xff\xff\xff\xff\xff\xff"),
        (&[Value::F64(1.0)], b"\x01\xbf\xf0\0\0\0\0\0\0"),
        (&[Value::F32(-1.0)], b"\x02\x40\x7f\xff\xff"),
        (
            &[Value::Bool(true), Value::Timestamp(0)],
            b"\x04\x01\x05\x80\0\0\0\0\0\0\0",
        ),
        (&[Value::String("a\0b")], b"\x06a\0\xffb\0\0"),
        (&[Value::Bytes(b"\xff")], b"\x07\xff\0\0"),
        (&[Value::Vector(&[0.0, -0.0])], b"\x08\x80\0\0\0\x7f\xff\xff\xff"),
    ];
    for (values, expected) in cases {
        let mut out = b"kept".to_vec();
        encode_row(values, &mut out);
        assert_eq!(out.strip_prefix(b"kept"), Some(expected), "{values:?}");
    }
}

#[test]
fn order_of_the_bytes_is_order_of_the_values() {
    let negative_nan = f64::from_bits(0xfff8_0000_0000_0001);
    let ascending: [&[Value<'_>]; 3] = [
        &[
            Value::Null,
            Value::F64(f64::NEG_INFINITY),
            Value::F64(-1.5),
            Value::F64(-0.0),
            Value::F64(0.0),
            Value::F64(f64::MIN_POSITIVE),
            Value::F64(2.0),
            Value::F64(f64::INFINITY),
            Value::F64(negative_nan),
        ],
        &[
            Value::Null,
            Value::I64(i64::MIN),
            Value::I64(-256),
            Value::I64(-1),
            Value::I64(0),
            Value::I64(255),
            Value::I64(256),
            Value::I64(i64::MAX),
        ],
        &[
            Value::Null,
            Value::String(""),
            Value::String("\0"),
            Value::String("\0\0"),
            Value::String("\0a"),
            Value::String("\u{1}"),
            Value::String("a"),
            Value::String("a\0"),
            Value::String("aa"),
            Value::String("é"),
        ],
    ];
    for values in ascending {
        let encoded = values.iter().map(|value| {
            let mut out = Vec::new();
            encode_row(&[*value, Value::Bytes(&[0xff])], &mut out);
            out
        });
        let encoded: Vec<_> = encoded.collect();
        assert!(encoded.is_sorted_by(|a, b| a < b), "{values:?}");
    }
}

/// A row of (string, i64, bytes, f64), any of which may be null.
type Texts = (Option<String>, Option<i64>, Option<Vec<u8>>, Option<u64>);

fn encoded(row: &Texts) -> Vec<u8> {
    let mut out = Vec::new();
    let values = [
        row.0.as_deref().map_or(Value::Null, Value::String),
        row.1.map_or(Value::Null, Value::I64),
        row.2.as_deref().map_or(Value::Null, Value::Bytes),
        row.3.map_or(Value::Null, |bits| Value::F64(f64::from_bits(bits))),
    ];
    encode_row(&values, &mut out);
    out
}

fn rows() -> impl Strategy<Value = Texts> {
    let text = proptest::option::of("[\u{0}\u{1}a]{0,3}");
    let bytes = proptest::option::of(proptest::collection::vec(
        prop_oneof![Just(0), Just(1), Just(0xff)],
        0..4,
    ));
    let number = proptest::option::of(-2..2_i64);
    let bits = proptest::option::of(prop_oneof![
        Just(0.0_f64.to_bits()),
        Just((-0.0_f64).to_bits()),
        Just(1.0_f64.to_bits()),
        Just((-1.0_f64).to_bits()),
        Just(f64::NAN.to_bits())
    ]);
    (text, number, bytes, bits)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn bytes_order_as_columns_do(a in rows(), b in rows()) {
        let total = |bits: Option<u64>| bits.map(|bits| {
            let bits = bits.cast_signed();
            bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed()
        });
        let expected = (&a.0, a.1, &a.2, total(a.3)).cmp(&(&b.0, b.1, &b.2, total(b.3)));
        prop_assert_eq!(encoded(&a).cmp(&encoded(&b)), expected);
    }
}

proptest! {
    #[test]
    fn rows_are_decoded_as_they_were_encoded(
        numbers in (any::<f64>(), any::<f32>(), any::<i64>(), any::<bool>()),
        (text, bytes) in ("[\\x00a-cé]{0,6}", prop::collection::vec(0..3_u8, 0..6)),
        vector: [f32; 2],
        nulls: u8,
        cut in 0..60_usize,
        noise in prop::collection::vec(any::<u8>(), 0..30),
    ) {
        let (double, single, integer, flag) = numbers;
        let mut values = [
            Value::F64(double),
            Value::F32(single),
            Value::I64(integer),
            Value::Bool(flag),
            Value::Timestamp(integer),
            Value::String(&text),
            Value::Bytes(&bytes),
            Value::Vector(&vector),
        ];
        let types = values.map(|value| value.column_type().unwrap());
        for (_, value) in values.iter_mut().enumerate().filter(|(index, _)| nulls >> index & 1 == 1) {
            *value = Value::Null;
        }
        let columns = || types.map(Column::new);
        let (mut expected, mut found) = (columns(), columns());
        for (column, value) in expected.iter_mut().zip(values) {
            column.push(value).unwrap();
        }
        let mut encoded = Vec::new();
        encode_row(&values, &mut encoded);
        prop_assert_eq!(decode_row(&encoded, &mut found), Some(()));
        prop_assert_eq!(&found, &expected);
        // Anything else is refused, or another row, and never a panic.
        if cut < encoded.len() {
            prop_assert_eq!(decode_row(&encoded[..cut], &mut columns()), None);
        }
        let _ = decode_row(&noise, &mut columns());
        encoded.push(0);
        prop_assert_eq!(decode_row(&encoded, &mut columns()), None);
    }
}
