use core::cmp::Ordering;

use unskew_frame::{ColumnType, Value, canonical_f32, canonical_f64};

use crate::EventTime;

/// Whether a feature row may be used at `at`: `event_time <= at` and, where the source knows it, `known_at <= at`, so that a
/// late correction is not seen before it was made.
#[inline]
pub fn is_visible(event_time: EventTime, known_at: Option<EventTime>, at: EventTime) -> bool {
    event_time <= at && known_at.is_none_or(|known_at| known_at <= at)
}

/// Whether an event counts in a window that ends at `at`. Windows are half-open, so `event_time < at`: an event never counts
/// for itself. Knowledge is not a window: `known_at <= at`, as for feature rows.
#[inline]
pub fn is_event_visible(event_time: EventTime, known_at: Option<EventTime>, at: EventTime) -> bool {
    event_time < at && known_at.is_none_or(|known_at| known_at <= at)
}

/// The as-of rule: of the versions visible at a time, the greatest is the value. Greatest by event time, then by known-at
/// (none is lowest), then by row bytes.
///
/// ```
/// use std::cmp::Ordering;
/// use unskew_snapshot::{EventTime, Version, compare_versions};
///
/// let first = Version { event_time: EventTime(5), known_at: Some(EventTime(6)), row: b"b" };
/// let corrected = Version { known_at: Some(EventTime(9)), row: b"a", ..first };
/// assert_eq!(compare_versions(&first, &corrected), Ordering::Less);
/// ```
pub fn compare_versions(a: &Version<'_>, b: &Version<'_>) -> Ordering {
    (a.event_time, a.known_at, a.row).cmp(&(b.event_time, b.known_at, b.row))
}

/// One version of an entity's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version<'a> {
    /// When it happened.
    pub event_time: EventTime,
    /// When it became known, where the source says so.
    pub known_at: Option<EventTime>,
    /// The canonical bytes of the row's values: [`encode_row`].
    pub row: &'a [u8],
}

impl Version<'_> {
    /// Whether only the row bytes decide between the two: same times, other values. Such ties are counted and reported.
    pub fn is_tied_with(&self, other: &Version<'_>) -> bool {
        self.event_time == other.event_time && self.known_at == other.known_at && self.row != other.row
    }
}

/// Appends the canonical bytes of a row's values to `out`.
///
/// Of two rows of one schema, equal bytes mean equal values, by bits and with canonical NaN. The order of the bytes is the
/// order of the values, column by column: null first; numbers and times by value, with -0.0 below 0.0 and NaN above all;
/// false below true; texts and bytes bytewise; vectors element by element. So a query in any other system can break ties
/// the same way.
pub fn encode_row(values: &[Value<'_>], out: &mut Vec<u8>) {
    for value in values {
        encode_value(value, out);
    }
}

fn encode_value(value: &Value<'_>, out: &mut Vec<u8>) {
    const NULL: u8 = 0;
    match value {
        Value::Null => out.push(NULL),
        Value::F64(v) => {
            out.push(ColumnType::F64.tag());
            out.extend_from_slice(&ordered_f64(*v).to_be_bytes());
        }
        Value::F32(v) => {
            out.push(ColumnType::F32.tag());
            out.extend_from_slice(&ordered_f32(*v).to_be_bytes());
        }
        Value::I64(v) => {
            out.push(ColumnType::I64.tag());
            out.extend_from_slice(&ordered_i64(*v).to_be_bytes());
        }
        Value::Bool(v) => out.extend_from_slice(&[ColumnType::Bool.tag(), u8::from(*v)]),
        Value::Timestamp(v) => {
            out.push(ColumnType::Timestamp.tag());
            out.extend_from_slice(&ordered_i64(*v).to_be_bytes());
        }
        Value::String(v) => {
            out.push(ColumnType::String.tag());
            encode_bytes(v.as_bytes(), out);
        }
        Value::Bytes(v) => {
            out.push(ColumnType::Bytes.tag());
            encode_bytes(v, out);
        }
        // Every vector of a column has the same length, so its end needs no mark.
        Value::Vector(v) => {
            out.push(ColumnType::Vector(0).tag());
            for element in *v {
                out.extend_from_slice(&ordered_f32(*element).to_be_bytes());
            }
        }
    }
}

/// Ends in 00 00 and writes a zero byte as 00 FF: whatever follows, a prefix sorts before what it is a prefix of.
fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    for (index, run) in bytes.split(|byte| *byte == 0).enumerate() {
        if index > 0 {
            out.extend_from_slice(&[0x00, 0xff]);
        }
        out.extend_from_slice(run);
    }
    out.extend_from_slice(&[0x00, 0x00]);
}

const fn ordered_i64(value: i64) -> u64 {
    value.cast_unsigned() ^ (1 << 63)
}

/// IEEE 754 totalOrder as an unsigned integer: a negative number is complemented, a positive one gets the sign bit.
const fn ordered_f64(value: f64) -> u64 {
    let bits = canonical_f64(value).to_bits();
    bits ^ if bits >> 63 == 1 { u64::MAX } else { 1 << 63 }
}

const fn ordered_f32(value: f32) -> u32 {
    let bits = canonical_f32(value).to_bits();
    bits ^ if bits >> 31 == 1 { u32::MAX } else { 1 << 31 }
}

#[cfg(test)]
mod tests;
