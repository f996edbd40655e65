//! Words that may be anything: refused, or a frame that can be read to its last value.

use proptest::collection::vec;
use proptest::prelude::*;

use super::encoded;
use crate::frame::*;
use crate::twin::frame;
use crate::{Column, ColumnType, Value};

/// Reads everything that a checked frame lets its reader reach, by every accessor of its type.
fn read_everything(frame: &Frame<'_>) {
    let text = frame.check_text();
    for index in 0..frame.columns() {
        let column = frame.column(index);
        // A corrupted scalar may stand for millions of rows, which are all the same.
        let rows = if column.is_scalar() {
            frame.rows().min(3)
        } else {
            frame.rows()
        };
        for row in 0..rows {
            match column.value(row) {
                Value::Null => assert!(!column.is_present(row)),
                Value::String(v) => {
                    assert!(text.is_err() || v != "\u{fffd}" || column.slice(row) == v.as_bytes());
                }
                Value::Vector(v) => assert_eq!(v.len(), column.column_type().vector_len() as usize),
                _ => {}
            }
            // A missing slot holds anything, and may be read.
            match column.column_type() {
                ColumnType::F64 => _ = column.f64(row),
                ColumnType::F32 => _ = column.f32(row),
                ColumnType::I64 => _ = column.i64(row),
                ColumnType::Bool => _ = column.bool(row),
                ColumnType::Timestamp => _ = column.timestamp(row),
                ColumnType::String => _ = column.str(row),
                ColumnType::Bytes => _ = column.bytes(row),
                ColumnType::Vector(_) => _ = column.vector(row),
            }
        }
    }
}

/// The short way to the one word of a row appends what the long way does, and only where that finds nothing wrong.
fn check_words(words: &[u64], types: &[ColumnType]) {
    let Ok(frame) = Frame::open(words, types.len()) else {
        return;
    };
    for (index, column_type) in types.iter().enumerate() {
        let mut short = Column::new(*column_type);
        let Some(is_present) = frame.append_word(index, &mut short) else {
            assert_eq!(short.rows(), 0);
            continue;
        };
        let column = frame
            .typed(index, *column_type)
            .expect("the long way finds nothing wrong");
        let mut long = Column::new(*column_type);
        long.extend_from(column, 0..1);
        assert_eq!((short, is_present), (long, column.is_present(0)));
    }
}

/// Checks words that may be anything: refused, or a frame that can be read to its last value.
fn check_any(words: &[u64], types: &[ColumnType]) -> bool {
    check_words(words, types);
    match Frame::check(words, types) {
        Ok(frame) => {
            read_everything(&frame);
            true
        }
        Err(error) => {
            assert!(error.column().is_none_or(|column| column < types.len()), "{error}");
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_word_may_be_corrupted((rows, twins) in frame(), at in any::<prop::sample::Index>(), word in any::<u64>()) {
        let (mut words, types) = encoded(&twins, rows);
        let at = at.index(words.len());
        words[at] = word;
        check_any(&words, &types);
        // Small numbers are the more likely offsets.
        words[at] = word & 0x0000_000f_0000_000f;
        check_any(&words, &types);
    }

    #[test]
    fn any_words_may_come(mut words in vec(any::<u64>(), 0..40), types in vec(crate::twin::column_type(), 0..4)) {
        check_any(&words, &types);
        // The same with a header that passes.
        if let [head, size, ..] = &mut words[..] {
            let rows = *size % 70;
            *head = u64::from(MAGIC) | u64::from(FRAME_VERSION) << 32 | (types.len() as u64) << 48;
            *size = rows;
            words[1] |= (words.len() as u64) << 32;
            check_any(&words, &types);
        }
    }
}

/// One column of each type, some values missing, and a scalar.
fn small() -> (Vec<u64>, Vec<ColumnType>) {
    let rows: [(ColumnType, [Value<'_>; 3]); 8] = [
        (ColumnType::F64, [Value::F64(1.5), Value::Null, Value::F64(f64::NAN)]),
        (ColumnType::F32, [Value::F32(1.5), Value::F32(2.5), Value::F32(-0.0)]),
        (ColumnType::I64, [Value::I64(-1), Value::Null, Value::Null]),
        (ColumnType::Bool, [Value::Bool(true), Value::Bool(false), Value::Null]),
        (
            ColumnType::Timestamp,
            [Value::Timestamp(1), Value::Timestamp(2), Value::Timestamp(3)],
        ),
        (
            ColumnType::String,
            [Value::String("ab"), Value::Null, Value::String("ümlaut")],
        ),
        (
            ColumnType::Bytes,
            [Value::Bytes(b""), Value::Bytes(b"0123456789"), Value::Bytes(b"\xff")],
        ),
        (
            ColumnType::Vector(3),
            [Value::Vector(&[1.0, 2.0, 3.0]), Value::Null, Value::Vector(&[0.0; 3])],
        ),
    ];
    let mut columns: Vec<Column> = rows
        .iter()
        .map(|(column_type, values)| {
            let mut column = Column::new(*column_type);
            values.iter().for_each(|value| column.push(*value).unwrap());
            column
        })
        .collect();
    columns.push(Column::scalar(ColumnType::String, Value::String("scalar")).unwrap());
    columns.push(Column::scalar(ColumnType::I64, Value::Null).unwrap());
    let mut words = Vec::new();
    encode(&columns.iter().collect::<Vec<_>>(), 3, &mut words).unwrap();
    (words, columns.iter().map(Column::column_type).collect())
}

#[test]
fn every_bit_may_be_flipped() {
    let (words, types) = small();
    assert!(check_any(&words, &types));
    let mut accepted = 0;
    for bit in 0..words.len() * 64 {
        let mut flipped = words.clone();
        flipped[bit / 64] ^= 1 << (bit % 64);
        let is_accepted = check_any(&flipped, &types);
        accepted += usize::from(is_accepted);
        // A flip in the header or in a directory's type is never taken for the same frame.
        let directory_end = HEADER_WORDS + DIRECTORY_WORDS * types.len();
        let is_rows = bit / 64 == 1 && bit % 64 < 32;
        let is_type = bit / 64 >= HEADER_WORDS
            && bit / 64 < directory_end
            && (bit / 64 - HEADER_WORDS).is_multiple_of(DIRECTORY_WORDS);
        if bit / 64 < HEADER_WORDS && !is_rows || is_type && bit % 64 != 9 {
            assert!(!is_accepted, "bit {bit}");
        }
    }
    assert!(accepted > 0, "values may be anything");
}

/// Every pair of flipped bits of the header, the directory and the offsets of one string column.
#[test]
fn every_two_bits_may_be_flipped() {
    let mut column = Column::new(ColumnType::String);
    column.push_str("abc");
    column.push_null();
    let mut words = Vec::new();
    encode(&[&column], 2, &mut words).unwrap();
    for first in 64..words.len() * 64 {
        for second in 64..first {
            let mut flipped = words.clone();
            flipped[first / 64] ^= 1 << (first % 64);
            flipped[second / 64] ^= 1 << (second % 64);
            check_any(&flipped, &[ColumnType::String]);
        }
    }
}

#[test]
fn every_prefix_is_refused() {
    let (words, types) = small();
    for len in 0..words.len() {
        assert!(!check_any(&words[..len], &types), "{len} words");
        // The same with a header that admits to being short.
        let mut short = words[..len].to_vec();
        if let Some(size) = short.get_mut(1) {
            *size = *size & 0xffff_ffff | (len as u64) << 32;
            check_any(&short, &types);
        }
    }
    let mut long = words.clone();
    long.push(0);
    assert!(!check_any(&long, &types));
}

/// A header and one column's directory and data, word by word, and the error, if any.
fn check(types: &[ColumnType], words: &[u64], expected: Result<(), FrameErrorKind>) {
    let result = Frame::check(words, types).map(|frame| {
        read_everything(&frame);
    });
    assert_eq!(result.map_err(|error| error.kind), expected, "{words:x?}");
}

const ONE_COLUMN: u64 = 0x0001_0001_4b53_4e55;

#[test]
fn each_error_has_its_cause() {
    use FrameErrorKind::*;
    let (i64s, texts) = (&[ColumnType::I64][..], &[ColumnType::String][..]);
    // Header, size, head, place, data.
    check(i64s, &[ONE_COLUMN, 5 << 32 | 1, 3, 4 << 32, 7], Ok(()));
    check(i64s, &[], Err(Length));
    check(i64s, &[ONE_COLUMN], Err(Length));
    check(i64s, &[ONE_COLUMN ^ 1, 5 << 32 | 1, 3, 4 << 32, 7], Err(Magic));
    check(
        i64s,
        &[ONE_COLUMN + (1 << 32), 5 << 32 | 1, 3, 4 << 32, 7],
        Err(Version),
    );
    check(i64s, &[ONE_COLUMN + (1 << 48), 5 << 32 | 1, 3, 4 << 32, 7], Err(Length));
    check(
        i64s,
        &[ONE_COLUMN | 0xffff << 48, 5 << 32 | 1, 3, 4 << 32, 7],
        Err(TooLarge),
    );
    check(i64s, &[ONE_COLUMN, 5 << 32 | 0x0100_0001, 3, 4 << 32, 7], Err(TooLarge));
    check(i64s, &[ONE_COLUMN, 6 << 32 | 1, 3, 4 << 32, 7], Err(Length));
    check(&[], &[ONE_COLUMN, 5 << 32 | 1, 3, 4 << 32, 7], Err(ColumnCount));
    check(i64s, &[ONE_COLUMN, 5 << 32 | 1, 5, 4 << 32, 7], Err(Type));
    check(i64s, &[ONE_COLUMN, 5 << 32 | 1, 1 << 32 | 3, 4 << 32, 7], Err(Type));
    check(i64s, &[ONE_COLUMN, 5 << 32 | 1, 1 << 10 | 3, 4 << 32, 7], Err(Reserved));
    check(i64s, &[ONE_COLUMN, 5 << 32 | 1, 1 << 31 | 3, 4 << 32, 7], Err(Reserved));
    // Data in the directory, behind the end, and longer than what is left.
    check(i64s, &[ONE_COLUMN, 5 << 32 | 1, 3, 3 << 32, 7], Err(Bounds));
    check(i64s, &[ONE_COLUMN, 5 << 32 | 1, 3, 5 << 32, 7], Err(Bounds));
    check(i64s, &[ONE_COLUMN, 5 << 32 | 1, 3, 0xffff_ffff << 32, 7], Err(Bounds));
    check(i64s, &[ONE_COLUMN, 5 << 32 | 2, 3, 4 << 32, 7], Err(Bounds));
    // A validity without its flag, a flag without its validity, a validity outside of the frame.
    check(i64s, &[ONE_COLUMN, 5 << 32 | 1, 3, 4 << 32 | 4, 7], Err(Bounds));
    check(i64s, &[ONE_COLUMN, 5 << 32 | 1, 1 << 8 | 3, 4 << 32, 7], Err(Bounds));
    check(
        i64s,
        &[ONE_COLUMN, 5 << 32 | 1, 1 << 8 | 3, 4 << 32 | 5, 7],
        Err(Bounds),
    );
    check(i64s, &[ONE_COLUMN, 5 << 32 | 1, 1 << 8 | 3, 4 << 32 | 4, 7], Ok(()));
    // A scalar stores one row however many there are.
    check(
        i64s,
        &[ONE_COLUMN, 5 << 32 | 0x0100_0000, 1 << 9 | 3, 4 << 32, 7],
        Ok(()),
    );
    // Offsets 0, 2 into one word of bytes; then a first that is not 0, one that is beyond the bytes, a descent.
    check(texts, &[ONE_COLUMN, 6 << 32 | 1, 6, 4 << 32, 2 << 32, 0x6161], Ok(()));
    check(
        texts,
        &[ONE_COLUMN, 6 << 32 | 1, 6, 4 << 32, 2 << 32 | 1, 0x6161],
        Err(Offsets),
    );
    check(texts, &[ONE_COLUMN, 6 << 32 | 1, 6, 4 << 32, 8 << 32, 0x6161], Ok(()));
    check(
        texts,
        &[ONE_COLUMN, 6 << 32 | 1, 6, 4 << 32, 9 << 32, 0x6161],
        Err(Bounds),
    );
    check(texts, &[ONE_COLUMN, 6 << 32 | 2, 6, 4 << 32, 2 << 32, 1], Err(Offsets));
}

#[test]
fn text_that_is_not_utf8_is_found() {
    let bytes = |value: &[u8]| {
        [
            ONE_COLUMN,
            6 << 32 | 1,
            6,
            4 << 32,
            (value.len() as u64) << 32,
            word(value),
        ]
    };
    for (text, is_text) in [
        (&b"abc"[..], true),
        (b"", true),
        ("\u{fffd}".as_bytes(), true),
        (b"a\xff", false),
        (b"\xc3", false),
        (b"\xed\xa0\x80", false),
        (b"\xc0\x80", false),
    ] {
        let words = bytes(text);
        let frame = Frame::check(&words, &[ColumnType::String]).unwrap();
        assert_eq!(frame.check_text().is_ok(), is_text, "{text:?}");
        assert_eq!(
            frame.column(0).str(0) == "\u{fffd}",
            !is_text || text == "\u{fffd}".as_bytes()
        );
    }
    // A character that two rows share is none in either.
    let words = [ONE_COLUMN, 7 << 32 | 2, 6, 4 << 32, 1 << 32, 2, word("ü".as_bytes())];
    let error = Frame::check(&words, &[ColumnType::String])
        .unwrap()
        .check_text()
        .unwrap_err();
    assert_eq!(
        (error.column(), error.to_string().as_str()),
        (Some(0), "frame column 0: a string is not UTF-8")
    );
    // Bytes are no text.
    let words = [ONE_COLUMN, 6 << 32 | 1, 7, 4 << 32, 1 << 32, 0xff];
    Frame::check(&words, &[ColumnType::Bytes])
        .unwrap()
        .check_text()
        .unwrap();
}

fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}
