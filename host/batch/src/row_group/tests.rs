use std::fs;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, StringArray};
use arrow::datatypes::DataType;
use unskew_frame::{Column, ColumnType};
use unskew_snapshot::Status;

use super::*;
use crate::array::{column_to_array, status_to_array};
use crate::output::TableWriter;
use crate::unfinished::Begin;

/// Of every kind that Parquet encodes in its own way, with dictionaries that fit and that do not.
fn columns(rows: usize) -> Vec<(String, ArrayRef)> {
    let mut vectors = Column::new(ColumnType::Vector(2));
    let mut floats = Column::new(ColumnType::F64);
    for row in 0..rows {
        match row % 3 {
            0 => vectors.push_null(),
            _ => vectors.push_vector(&[row as f32, -0.0]),
        }
        floats.push_f64(row as f64 * 0.1);
    }
    let status = |row| [Status::Present, Status::NotFound][row % 2];
    let statuses: Vec<Status> = (0..rows).map(status).collect();
    let texts = (0..rows).map(|row| (row % 5 > 0).then(|| format!("{row} of many, each with its own text")));
    let columns: [(&str, ArrayRef); 7] = [
        (
            "few",
            Arc::new(Int64Array::from_iter_values((0..rows).map(|row| row as i64 % 3))),
        ),
        ("none", Arc::new(Int64Array::new_null(rows))),
        (
            "flags",
            Arc::new(
                (0..rows)
                    .map(|row| (row % 7 > 0).then_some(row % 2 == 0))
                    .collect::<BooleanArray>(),
            ),
        ),
        ("texts", Arc::new(texts.collect::<StringArray>())),
        ("floats", column_to_array(&floats, rows)),
        ("vectors", column_to_array(&vectors, rows)),
        ("status", status_to_array(&statuses)),
    ];
    columns.map(|(name, array)| (name.to_owned(), array)).into()
}

#[test]
fn a_saved_row_group_is_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let groups: Vec<_> = [20_000, 0, 1, 40_000].map(columns).into();
    let types: Vec<(String, DataType)> = groups[0]
        .iter()
        .map(|(name, array)| (name.clone(), array.data_type().clone()))
        .collect();
    let unfinished = Unfinished::open(&folder.path().join("out"), None, &Default::default(), Begin::Fresh).unwrap();
    let write = |name: &str, pieces: [usize; 4], is_saved: fn(usize) -> bool| {
        let path = folder.path().join(name);
        let (mut writer, encoder) = TableWriter::create(&path, File::create(&path).unwrap(), &types).unwrap();
        for (index, columns) in groups.iter().enumerate() {
            let arrays: Vec<ArrayRef> = columns.iter().map(|(_, array)| array.clone()).collect();
            let mut open = encoder.begin(index);
            // Pieces of any length are the same.
            let (rows, piece_rows) = (arrays[0].len(), pieces[index]);
            for start in (0..rows).step_by(piece_rows) {
                let piece_rows = piece_rows.min(rows - start);
                let piece: Vec<ArrayRef> = arrays.iter().map(|array| array.slice(start, piece_rows)).collect();
                open.push(piece_rows, &piece, Vec::new()).unwrap();
            }
            let mut group = open.finish().unwrap();
            if is_saved(index) {
                group = encoder.save(&unfinished, index, group).unwrap();
            }
            writer.append(group).unwrap();
        }
        writer.finish().unwrap();
        fs::read(&path).unwrap()
    };
    const WHOLE: [usize; 4] = [1 << 20; 4];
    let held = write("held", WHOLE, |_| false);
    let saved = write("saved", WHOLE, |_| true);
    let differ = held.iter().zip(&saved).position(|(a, b)| a != b);
    assert_eq!((held.len(), None), (saved.len(), differ));
    assert!(held == write("some", [700, 1, 1, 1_024], |index| index % 2 == 1));
    assert!(held == write("pieces", [9_999, 7, 7, 3_000], |_| false));
}
