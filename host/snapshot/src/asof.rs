use core::cmp::Ordering;

use unskew_frame::{Column, ColumnType, Value, canonical_f32, canonical_f64};

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

/// The first instant at which a feature row is visible, and from then on for ever.
#[inline]
pub fn visible_from(event_time: EventTime, known_at: Option<EventTime>) -> EventTime {
    known_at.map_or(event_time, |known_at| known_at.max(event_time))
}

/// The first instant at which an event is visible, and from then on for ever. An event at the last instant never is.
#[inline]
pub fn event_visible_from(event_time: EventTime, known_at: Option<EventTime>) -> EventTime {
    visible_from(EventTime(event_time.0.saturating_add(1)), known_at)
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

/// Appends the values of a row that [`encode_row`] wrote to columns of its types, one each. `None` where the bytes are not a row
/// of these types; some columns may have been appended to then.
/// Allocates only for texts and bytes with zero bytes in them, and for vectors.
pub fn decode_row(mut bytes: &[u8], columns: &mut [Column]) -> Option<()> {
    let mut scratch = Vec::new();
    for column in columns {
        let (tag, rest) = bytes.split_first()?;
        bytes = rest;
        if *tag == NULL {
            column.push_null();
            continue;
        }
        if *tag != column.column_type().tag() {
            return None;
        }
        match column.column_type() {
            ColumnType::F64 => column.push_f64(f64::from_bits(unordered_u64(take(&mut bytes)?))),
            ColumnType::F32 => column.push_f32(unordered_f32(take(&mut bytes)?)),
            ColumnType::I64 => column.push_i64(unordered_i64(take(&mut bytes)?)),
            ColumnType::Timestamp => column.push_timestamp(unordered_i64(take(&mut bytes)?)),
            ColumnType::Bool => match take(&mut bytes)? {
                [byte @ (0 | 1)] => column.push_bool(byte == 1),
                _ => return None,
            },
            ColumnType::String => {
                let text = decode_bytes(&mut bytes, &mut scratch)?;
                column.push_str(core::str::from_utf8(text).ok()?);
            }
            ColumnType::Bytes => column.push_bytes(decode_bytes(&mut bytes, &mut scratch)?),
            ColumnType::Vector(len) => {
                let mut vector = Vec::new();
                for _ in 0..len {
                    vector.push(unordered_f32(take(&mut bytes)?));
                }
                column.push_vector(&vector);
            }
        }
    }
    bytes.is_empty().then_some(())
}

/// In the place of a type: there is no value.
const NULL: u8 = 0;

fn encode_value(value: &Value<'_>, out: &mut Vec<u8>) {
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

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

/// Reads what [`encode_bytes`] wrote: in place, or with zero bytes in it into `out`.
fn decode_bytes<'a: 'b, 'b>(bytes: &mut &'a [u8], out: &'b mut Vec<u8>) -> Option<&'b [u8]> {
    let (run, mut is_over) = decode_run(bytes)?;
    if is_over {
        return Some(run);
    }
    out.clear();
    out.extend_from_slice(run);
    while !is_over {
        out.push(0);
        let run;
        (run, is_over) = decode_run(bytes)?;
        out.extend_from_slice(run);
    }
    Some(out)
}

/// The bytes up to the next zero byte, and whether that is the end.
fn decode_run<'a>(bytes: &mut &'a [u8]) -> Option<(&'a [u8], bool)> {
    let zero = bytes.iter().position(|byte| *byte == 0)?;
    let (run, rest) = bytes.split_at(zero);
    let (escape, rest) = rest[1..].split_first()?;
    *bytes = rest;
    match escape {
        0x00 => Some((run, true)),
        0xff => Some((run, false)),
        _ => None,
    }
}

fn unordered_i64(bytes: [u8; 8]) -> i64 {
    (u64::from_be_bytes(bytes) ^ (1 << 63)).cast_signed()
}

fn unordered_u64(bytes: [u8; 8]) -> u64 {
    let bits = u64::from_be_bytes(bytes);
    bits ^ if bits >> 63 == 1 { 1 << 63 } else { u64::MAX }
}

fn unordered_f32(bytes: [u8; 4]) -> f32 {
    let bits = u32::from_be_bytes(bytes);
    f32::from_bits(bits ^ if bits >> 31 == 1 { 1 << 31 } else { u32::MAX })
}

#[cfg(test)]
mod tests;
