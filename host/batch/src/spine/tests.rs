use std::fs;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use unskew_snapshot::KeyType;

use super::*;
use crate::ReadError;

fn options() -> SpineOptions {
    let field = |name: &str, column_type, nullable| Field {
        name: name.to_owned(),
        column_type,
        nullable,
    };
    SpineOptions {
        time_column: "t".to_owned(),
        keys: vec![EntityColumn {
            name: "item_id".to_owned(),
            key_type: KeyType::I64,
        }],
        fields: vec![
            field("position", ColumnType::I64, false),
            field("item_id", ColumnType::String, true),
            field("country", ColumnType::String, true),
        ],
        label_types: BTreeMap::from([("click".to_owned(), ColumnType::Bool)]),
    }
}

fn read(text: &str) -> Result<Spine, ReadError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spine.csv");
    fs::write(&path, text).unwrap();
    Spine::read(&path, &options())
}

#[test]
fn a_spine_has_times_keys_fields_and_carries_the_rest() {
    let spine = read("click,t,item_id,position,fold\n1,10,7,3,1\n0,10,,3,2\n1,10,7,3,1\n").unwrap();
    assert_eq!(spine.rows(), 3);
    assert_eq!(spine.times, [EventTime(10); 3]);
    let item = spine.key("item_id").unwrap().view();
    assert_eq!((item.i64(0), item.is_present(1)), (7, false));
    assert_eq!(spine.field("item_id").unwrap().view().str(2), "7");
    assert_eq!(spine.field("country").unwrap().null_count(), 3);
    assert_eq!(spine.field("fold"), None);
    let names: Vec<_> = spine.labels.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["click", "fold"]);
    assert!(spine.labels[0].1.as_boolean().value(0));
    assert_eq!(spine.labels[1].1.as_primitive::<Int64Type>().values(), &[1, 2, 1]);
}

#[test]
fn a_spine_lacks_neither_times_nor_fields_that_must_be_there() {
    let column = |text| match read(text) {
        Err(ReadError::MissingColumn { column, .. } | ReadError::MissingValue { column, .. }) => column,
        other => panic!("{other:?}"),
    };
    assert_eq!(column("item_id,position\n7,3\n"), "t");
    assert_eq!(column("t,item_id\n1,7\n"), "position");
    assert_eq!(column("t,item_id,position\n1,7,\n"), "position");
    assert_eq!(column("t,item_id,position\n,7,3\n"), "t");
}
