use proptest::prelude::*;

use super::*;
use crate::twin::{Twin, frame};
use crate::{Frame, Value, encode};

/// Writes every row into its slot, as an SDK does.
fn write(slot: Slot<'_>, twin: &Twin, column: &Column, rows: usize) {
    let (words, validity) = match slot {
        Slot::Variable(to) => {
            (0..rows).for_each(|row| to.push(column.value(row)).unwrap());
            return;
        }
        Slot::Fixed { words, validity } => (words, validity),
    };
    assert_eq!(words.len(), column.words().len(), "{:?}", twin.column_type);
    words.copy_from_slice(column.words());
    for (block, bits) in validity.iter_mut().enumerate() {
        *bits = (0..64.min(rows - 64 * block))
            .filter(|row| !matches!(column.value(64 * block + row), Value::Null))
            .map(|row| 1 << row)
            .sum();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_frame_written_in_place_is_that_of_its_columns((rows, mut twins) in frame(), noise in any::<u64>()) {
        twins.retain(|twin| !twin.is_scalar);
        let columns: Vec<Column> = twins.iter().map(Twin::column).collect();
        let described = twins.iter().map(|twin| (twin.column_type, twin.nulls() > 0 || noise % 2 == 0));
        let mut variable: Vec<Column> = twins
            .iter()
            .filter(|twin| twin.column_type.is_variable())
            .map(|twin| Column::new(twin.column_type))
            .collect();
        let mut words = vec![noise; 40];
        let mut slots = lay_out(described.clone(), rows, &mut words, &mut variable).unwrap();
        for ((column_type, nullable), (twin, column)) in described.zip(twins.iter().zip(&columns)) {
            write(slots.slot(column_type, nullable), twin, column, rows);
        }
        seal(&mut words, &variable).unwrap();

        let types: Vec<ColumnType> = twins.iter().map(|twin| twin.column_type).collect();
        let frame = Frame::check(&words, &types).unwrap();
        let copies: Vec<Column> = (0..frame.columns())
            .map(|index| {
                let mut copy = Column::new(types[index]);
                copy.extend_from(frame.column(index), 0..rows);
                copy
            })
            .collect();
        let [copied, expected] = [&copies, &columns].map(|columns| {
            let mut words = Vec::new();
            encode(&columns.iter().collect::<Vec<_>>(), rows, &mut words).unwrap();
            words
        });
        prop_assert_eq!(copied, expected);
    }

    #[test]
    fn a_column_written_in_place_is_that_of_its_values((rows, twins) in frame(), is_nullable in any::<bool>()) {
        for twin in twins.iter().filter(|twin| !twin.is_scalar) {
            let expected = twin.column();
            let mut column = expected.clone();
            let mut slots = ColumnSlots::new(std::slice::from_mut(&mut column), rows);
            write(slots.slot(twin.column_type, is_nullable || twin.nulls() > 0), twin, &expected, rows);
            column.seal();
            prop_assert_eq!(column, expected);
        }
    }
}

#[test]
fn what_no_frame_holds_is_not_laid_out() {
    let (mut words, column) = (Vec::new(), (ColumnType::Vector(16_384), true));
    let refused = |columns: usize, rows: usize, words: &mut Vec<u64>| {
        lay_out(std::iter::repeat_n(column, columns), rows, words, &mut []).err()
    };
    assert_eq!(refused(1, MAX_ROWS + 1, &mut words), Some(EncodeError::TooLarge));
    assert_eq!(refused(MAX_COLUMNS + 1, 1, &mut words), Some(EncodeError::TooLarge));
    assert_eq!(refused(1, MAX_ROWS, &mut words), Some(EncodeError::TooLarge));
    assert!(words.is_empty());
}
