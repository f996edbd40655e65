use std::fs::{self, File};
use std::sync::Arc;

use arrow::array::{Float32Array, Int32Array, ListArray, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow::datatypes::Int32Type;
use parquet::arrow::ArrowWriter;

use super::*;

fn check(survey: &Survey, expected: &str) {
    let column = |column: &SurveyedColumn| {
        let found = column.column_type.map_or("none".to_owned(), |found| found.to_string());
        let complete = if column.is_complete { "" } else { "?" };
        format!("{} {found}{complete}", column.name)
    };
    let columns: Vec<String> = survey.columns.iter().map(column).collect();
    assert_eq!(format!("{}: {}", survey.rows, columns.join(", ")), expected);
}

#[test]
fn the_types_of_text_files_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    let text = "key,when,on,amount,word,none\na,2024-01-01T00:00:00Z,2024-01-01,1,x,\nb,2024-01-02 00:00:00,2024-01-02,NA,1,\n";
    fs::write(&path, text).unwrap();
    check(
        &Survey::of(&path).unwrap(),
        "2: key string, when timestamp, on timestamp, amount i64?, word string, none string?",
    );
    let path = folder.path().join("a.jsonl");
    fs::write(&path, "{\"a\": 0.5, \"b\": true}\n{\"a\": 1}\n").unwrap();
    check(&Survey::of(&path).unwrap(), "2: a f64, b bool?");
    fs::write(&path, "").unwrap();
    check(&Survey::of(&path).unwrap(), "0: ");
}

#[test]
fn parquet_tells_its_types_and_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    for (name, second) in [("a.parquet", Some(2)), ("b.parquet", None)] {
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1)]), None]);
        let batch = RecordBatch::try_from_iter_with_nullable([
            (
                "key",
                Arc::new(Int32Array::from(vec![Some(1), second])) as ArrayRef,
                true,
            ),
            ("time", Arc::new(TimestampNanosecondArray::from(vec![1, 2])), false),
            ("score", Arc::new(Float32Array::from(vec![0.5, 1.0])), true),
            ("word", Arc::new(StringArray::from(vec!["a", "b"])), true),
            ("list", Arc::new(lists), true),
        ])
        .unwrap();
        let file = File::create(folder.path().join(name)).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }
    let expected = |complete| format!("key i64{complete}, time timestamp, score f32, word string, list none?");
    let first = Survey::of(&folder.path().join("a.parquet")).unwrap();
    check(&first, &format!("2: {}", expected("")));
    assert!(first.column("list").unwrap().stored.starts_with("List"), "{first:?}");
    check(&Survey::of(folder.path()).unwrap(), &format!("4: {}", expected("?")));
}
