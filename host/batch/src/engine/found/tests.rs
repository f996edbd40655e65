use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, StringArray};
use arrow::datatypes::Int64Type;

use super::*;

#[test]
fn the_rank_of_a_row_is_how_many_are_before_it() {
    let found = FoundRows::new(5);
    for (spine_row, row) in [(0, 63), (1, 0), (3, 64), (4, 199)] {
        found.set(spine_row, Status::Present, row);
    }
    let (rows, set) = found.finish(200);
    assert_eq!(rows, [63, 0, NOT_FOUND, 64, 199]);
    let ranks: Vec<u32> = [0, 1, 63, 64, 65, 199, 200, 300].map(|row| set.rank(row)).to_vec();
    assert_eq!(ranks, [0, 1, 1, 2, 3, 3, 4, 4]);
    let taken = |rows: Range<usize>| -> Vec<usize> {
        let mask = set.mask(&rows);
        rows.clone().filter(|row| mask.value(row - rows.start)).collect()
    };
    assert_eq!(taken(0..200), [0, 63, 64, 199]);
    assert_eq!(taken(60..65), [63, 64]);
    assert_eq!(taken(65..199), [0; 0]);
}

#[test]
fn rows_are_gathered_from_their_pieces_with_the_reason_of_those_that_are_not_there() {
    let found = FoundRows::new(6);
    for (spine_row, row) in [(0, 9), (1, 2), (2, 2), (4, 7)] {
        found.set(spine_row, Status::Present, row);
    }
    found.set(3, Status::Expired, 1);
    let (rows, set) = found.finish(10);
    // Rows 2, 7 and 9; no row of the second piece was taken.
    let pieces = vec![
        vec![
            Arc::new(Int64Array::from(vec![Some(20)])) as ArrayRef,
            Arc::new(StringArray::from(vec!["b"])),
        ],
        vec![
            Arc::new(Int64Array::from(Vec::<i64>::new())),
            Arc::new(StringArray::from(Vec::<&str>::new())),
        ],
        vec![
            Arc::new(Int64Array::from(vec![None, Some(90)])),
            Arc::new(StringArray::from(vec![None, Some("z")])),
        ],
    ];
    let result = FoundResult::new(rows, set, pieces, vec![DataType::Int64, DataType::Utf8]);
    let gathered = result.gather(0..6, &[1, 0]).ok().unwrap();
    let numbers: Vec<Option<i64>> = gathered.columns[1].as_primitive::<Int64Type>().iter().collect();
    assert_eq!(numbers, [Some(90), Some(20), Some(20), None, None, None]);
    let texts: Vec<Option<&str>> = gathered.columns[0].as_string::<i32>().iter().collect();
    assert_eq!(texts, [Some("z"), Some("b"), Some("b"), None, None, None]);
    assert_eq!(
        gathered.statuses,
        [
            Status::Present,
            Status::Present,
            Status::Present,
            Status::Expired,
            Status::Present,
            Status::NotFound
        ]
    );
    let some = result.gather(1..3, &[0]).ok().unwrap();
    assert_eq!((some.columns[0].null_count(), some.columns[0].len()), (0, 2));
}
