use proptest::prelude::*;

use crate::twin::{Twin, twin};
use crate::{Column, ColumnType, ColumnView};

/// Pushing the rows one by one.
fn by_row(to: &mut Column, from: &Column, rows: core::ops::Range<usize>) {
    for row in rows {
        to.push(from.view().value(row)).unwrap();
    }
}

fn pair() -> impl Strategy<Value = (Twin, Twin)> {
    (0_usize..200, 0_usize..200)
        .prop_flat_map(|(first, second)| (twin(first), twin(second)))
        .prop_map(|(mut first, second)| {
            if first.column_type != second.column_type {
                first.values.clear();
                first.column_type = second.column_type;
            }
            first.is_scalar = false;
            (first, second)
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn many_rows_at_once_are_as_one_by_one((head, tail) in pair(), start in 0_usize..200, len in 0_usize..200) {
        let tail = tail.column();
        let rows = if tail.is_scalar() { 200 } else { tail.rows() };
        let start = start.min(rows);
        let range = start..(start + len).min(rows);
        let (mut bulk, mut single) = (head.column(), head.column());
        bulk.extend_from(tail.view(), range.clone());
        by_row(&mut single, &tail, range.clone());
        prop_assert_eq!(&bulk, &single);
        // What follows lands in the right place.
        bulk.extend_from(tail.view(), range.clone());
        by_row(&mut single, &tail, range);
        prop_assert_eq!(bulk, single);
    }
}

/// A component made without the SDK may leave anything in a missing slot.
#[test]
fn what_lies_in_missing_slots_is_left_behind() {
    let offsets = |halves: [u32; 6]| -> Vec<u64> { bytemuck::cast_slice(&halves).to_vec() };
    let words = offsets([0, 2, 4, 6, 8, 10]);
    let view = ColumnView {
        column_type: ColumnType::Bytes,
        mask: usize::MAX,
        validity: &[0b10110],
        words: &words,
        bytes: b"aabbccddee",
    };
    let mut column = Column::new(ColumnType::Bytes);
    column.extend_from(view, 0..5);
    let mut expected = Column::new(ColumnType::Bytes);
    expected.push_null();
    expected.push_bytes(b"bb");
    expected.push_bytes(b"cc");
    expected.push_null();
    expected.push_bytes(b"ee");
    assert_eq!(column, expected);

    let noise = [u64::MAX; 5];
    for column_type in [
        ColumnType::F64,
        ColumnType::F32,
        ColumnType::I64,
        ColumnType::Bool,
        ColumnType::Timestamp,
        ColumnType::Vector(2),
    ] {
        let view = ColumnView {
            column_type,
            mask: usize::MAX,
            validity: &[0b10110],
            words: &noise,
            bytes: &[],
        };
        let (mut bulk, mut single) = (Column::new(column_type), Column::new(column_type));
        bulk.extend_from(view, 0..5);
        (0..5).for_each(|row| single.push(view.value(row)).unwrap());
        assert_eq!(bulk, single, "{column_type}");
    }
}
