//! Times and values of features as people and programs read them.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};
use unskew_frame::Value;
use unskew_snapshot::{EventTime, parse_duration_us};

/// The bytes of a value that text shows.
const MAX_SHOWN_BYTES: usize = 32;

/// The value as text; the shortest that reads back as the same number, and at most the beginning of long bytes.
pub fn value_text(value: Value<'_>) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::F64(value) => format!("{value:?}"),
        Value::F32(value) => format!("{value:?}"),
        Value::I64(value) => value.to_string(),
        Value::Timestamp(value) => EventTime(value).to_string(),
        Value::Bool(value) => value.to_string(),
        Value::String(value) => format!("{value:?}"),
        Value::Bytes(bytes) if MAX_SHOWN_BYTES < bytes.len() => {
            format!("0x{}… ({} bytes)", hex(&bytes[..MAX_SHOWN_BYTES]), bytes.len())
        }
        Value::Bytes(bytes) => format!("0x{}", hex(bytes)),
        Value::Vector(values) => format!("{values:?}"),
    }
}

/// The value as JSON: times are RFC 3339, bytes are hexadecimal digits, and numbers that JSON has no word for are `"NaN"`,
/// `"inf"` and `"-inf"`.
pub fn value_json(value: Value<'_>) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::F64(value) => float_json(value),
        Value::F32(value) => float_json(value.into()),
        Value::I64(value) => json!(value),
        Value::Timestamp(value) => json!(EventTime(value).to_string()),
        Value::Bool(value) => json!(value),
        Value::String(value) => json!(value),
        Value::Bytes(bytes) => json!(hex(bytes)),
        Value::Vector(values) => values.iter().map(|value| float_json((*value).into())).collect(),
    }
}

/// Two digits a byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes of hexadecimal digits, with or without `0x` before them.
pub fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x").unwrap_or(text).as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    digits
        .chunks_exact(2)
        .map(|pair| Some((digit(pair[0])? << 4 | digit(pair[1])?) as u8))
        .collect()
}

/// The time of a text, for arguments.
pub fn parse_time(text: &str) -> Result<EventTime, String> {
    EventTime::parse_rfc3339(text)
        .ok_or_else(|| "write a date or a time of RFC 3339, as in 2024-01-15 or 2024-01-15T10:00:00Z".to_owned())
}

/// The microseconds of a duration, for arguments.
pub fn parse_lag(text: &str) -> Result<u64, String> {
    parse_duration_us(text).map_err(|error| error.to_string())
}

fn float_json(value: f64) -> Json {
    match value.is_finite() {
        true => json!(value),
        false => json!(value.to_string()),
    }
}

/// A number of bytes, with or without a unit of 1,024.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u32); 4] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    let (digits, shift) = UNITS
        .iter()
        .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)))
        .unwrap_or((text, 0));
    let number = digits.trim_end().parse::<u64>().ok();
    number
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| "write a number of bytes, as in 1GiB, 512MiB or 1073741824".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_a_text_and_a_json() {
        for (value, text, json) in [
            (Value::Null, "null", json!(null)),
            (Value::F64(0.1), "0.1", json!(0.1)),
            (Value::F64(-0.0), "-0.0", json!(-0.0)),
            (Value::F64(f64::NAN), "NaN", json!("NaN")),
            (Value::F64(f64::NEG_INFINITY), "-inf", json!("-inf")),
            (Value::F32(1.5), "1.5", json!(1.5)),
            (Value::I64(i64::MIN), "-9223372036854775808", json!(i64::MIN)),
            (
                Value::Timestamp(0),
                "1970-01-01T00:00:00.000000Z",
                json!("1970-01-01T00:00:00.000000Z"),
            ),
            (Value::Bool(true), "true", json!(true)),
            (Value::String("a\"\n"), r#""a\"\n""#, json!("a\"\n")),
            (Value::Bytes(&[0, 0xff]), "0x00ff", json!("00ff")),
            (Value::Vector(&[0.5, f32::INFINITY]), "[0.5, inf]", json!([0.5, "inf"])),
        ] {
            assert_eq!(value_text(value), text);
            assert_eq!(value_json(value), json);
        }
        let long = value_text(Value::Bytes(&[0xab; 33]));
        assert_eq!(long, format!("0x{}… (33 bytes)", "ab".repeat(32)));
    }

    #[test]
    fn hexadecimal_digits_are_read_exactly() {
        for (text, bytes) in [
            ("", Some(vec![])),
            ("0x", Some(vec![])),
            ("00fF", Some(vec![0, 0xff])),
            ("0x0a", Some(vec![10])),
            ("0", None),
            ("0g", None),
            ("+f", None),
            ("é", None),
        ] {
            assert_eq!(parse_hex(text), bytes, "{text}");
        }
    }

    #[test]
    fn sizes_have_units_of_1024() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("1KiB", Some(1 << 10)),
            ("512 MiB", Some(512 << 20)),
            ("1GiB", Some(1 << 30)),
            ("16777216TiB", None),
            ("1GB", None),
            ("-1", None),
            ("MiB", None),
        ] {
            assert_eq!(parse_bytes(text).ok(), bytes, "{text}");
        }
    }
}
