mod hostile;

use proptest::prelude::*;

use super::*;
use crate::Value;
use crate::twin::{Twin, as_value, frame};

fn encoded(twins: &[Twin], rows: usize) -> (Vec<u64>, Vec<ColumnType>) {
    let columns: Vec<Column> = twins.iter().map(Twin::column).collect();
    let columns: Vec<&Column> = columns.iter().collect();
    let mut words = vec![u64::MAX; 3];
    encode(&columns, rows, &mut words).unwrap();
    (words, twins.iter().map(|twin| twin.column_type).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_frame_gives_back_its_columns((rows, twins) in frame()) {
        let (words, types) = encoded(&twins, rows);
        let frame = Frame::check(&words, &types).unwrap();
        prop_assert_eq!(frame.check_text(), Ok(()));
        prop_assert_eq!((frame.rows(), frame.columns()), (rows, twins.len()));
        for (index, twin) in twins.iter().enumerate() {
            let column = frame.column(index);
            prop_assert_eq!(column.column_type(), twin.column_type);
            prop_assert_eq!(column.is_scalar(), twin.is_scalar);
            for row in 0..rows {
                let expected = twin.expected(row);
                prop_assert_eq!(column.value(row), as_value(&expected));
            }
        }
        // What was read and written again is the same words: nothing but the values is in a frame.
        let copies: Vec<Column> = (0..frame.columns()).map(|index| copy(&frame, index)).collect();
        let mut again = Vec::new();
        encode(&copies.iter().collect::<Vec<_>>(), rows, &mut again).unwrap();
        prop_assert_eq!(again, words);
    }

    /// In a room of any size: what `encode` gives, or nothing.
    #[test]
    fn what_is_encoded_in_place_is_the_same((rows, twins) in frame(), spare in 0_usize..9, lacking in 1_usize..9) {
        let (words, _) = encoded(&twins, rows);
        let columns: Vec<Column> = twins.iter().map(Twin::column).collect();
        let columns: Vec<&Column> = columns.iter().collect();
        let mut room = vec![u64::MAX; words.len() + spare];
        prop_assert_eq!(encode_within(&columns, rows, &mut room), Ok(Some(words.len())));
        prop_assert_eq!(&room[..words.len()], &words[..]);
        prop_assert!(room[words.len()..].iter().all(|word| *word == u64::MAX));
        let mut small = vec![0; words.len().saturating_sub(lacking)];
        prop_assert_eq!(encode_within(&columns, rows, &mut small), Ok(None));
    }

    /// Every type in the wrong place is refused, and so is every other number of columns.
    #[test]
    fn a_frame_of_other_types_is_refused((rows, twins) in frame(), wrong in crate::twin::column_type()) {
        let (words, types) = encoded(&twins, rows);
        for index in 0..types.len() {
            let mut others = types.clone();
            others[index] = wrong;
            prop_assert_eq!(Frame::check(&words, &others).is_ok(), wrong == types[index]);
        }
        let mut more = types.clone();
        more.push(wrong);
        prop_assert!(Frame::check(&words, &more).is_err());
        if let [_, fewer @ ..] = &types[..] {
            prop_assert!(Frame::check(&words, fewer).is_err());
        }
    }
}

/// The column at `index`, owned.
fn copy(frame: &Frame<'_>, index: usize) -> Column {
    let view = frame.column(index);
    let mut column = Column::new(view.column_type());
    if view.is_scalar() {
        column.extend_from(view, 0..1);
        column.make_scalar();
    } else {
        column.extend_from(view, 0..frame.rows());
    }
    column
}

#[test]
fn encode_refuses_what_does_not_fit() {
    let mut column = Column::new(ColumnType::Bool);
    column.push_bool(true);
    let mut words = vec![1, 2, 3];
    assert_eq!(
        encode(&[&column, &column], 2, &mut words),
        Err(EncodeError::RowCount { column: 0 })
    );
    assert!(words.is_empty());
    let scalar = Column::scalar(ColumnType::Bool, Value::Bool(true)).unwrap();
    assert_eq!(
        encode(&[&scalar, &column], 2, &mut words),
        Err(EncodeError::RowCount { column: 1 })
    );
    assert_eq!(encode(&[&scalar], MAX_ROWS + 1, &mut words), Err(EncodeError::TooLarge));
    assert_eq!(
        encode(&vec![&scalar; MAX_COLUMNS + 1], 1, &mut words),
        Err(EncodeError::TooLarge)
    );
    assert!(words.is_empty());
    // The limits themselves are within them.
    encode(&vec![&scalar; MAX_COLUMNS], MAX_ROWS, &mut words).unwrap();
    let types = vec![ColumnType::Bool; MAX_COLUMNS];
    assert_eq!(Frame::check(&words, &types).unwrap().rows(), MAX_ROWS);
}

/// The worked example of docs/frame.md: every word of its code block is what `encode` writes.
#[test]
fn the_specification_has_this_example() {
    let mut price = Column::new(ColumnType::F64);
    price.push_f64(1.25);
    price.push_null();
    price.push_f64(f64::NAN);
    let mut segment = Column::new(ColumnType::String);
    segment.push_str("sport");
    segment.push_str("");
    segment.push_str("käse");
    let mut vector = Column::new(ColumnType::Vector(3));
    vector.push_vector(&[1.0, 2.0, -0.0]);
    vector.push_vector(&[0.5, 0.25, 4.0]);
    vector.push_vector(&[0.0, 8.0, 1.0]);
    let is_mobile = Column::scalar(ColumnType::Bool, Value::Bool(true)).unwrap();
    let mut words = Vec::new();
    encode(&[&price, &segment, &vector, &is_mobile], 3, &mut words).unwrap();

    let page = include_str!("../../../../docs/frame.md");
    let (_, example) = page.split_once("```frame\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let documented: Vec<String> = example.lines().map(|line| line[..26].to_owned()).collect();
    let hex = |(index, word): (usize, &u64)| {
        let digits = format!("{word:016x}");
        format!(
            "{index:>5}  {}_{}_{}_{}",
            &digits[..4],
            &digits[4..8],
            &digits[8..12],
            &digits[12..]
        )
    };
    let encoded: Vec<String> = words.iter().enumerate().map(hex).collect();
    assert_eq!(documented, encoded, "\n{}", encoded.join("\n"));
}
