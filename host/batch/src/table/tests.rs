use std::fs;

use super::*;

#[test]
fn a_table_has_its_columns_and_times() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    fs::write(&path, "id,t,loaded,x\n7,10,20,0.5\n8,11,,\n").unwrap();
    let request = |name: &str, column_type| ColumnRequest {
        name: name.to_owned(),
        column_type,
        required: true,
        nullable: true,
    };
    let source = TableSource {
        path: path.clone(),
        columns: vec![request("x", ColumnType::F64), request("id", ColumnType::I64)],
        event_time: "t".to_owned(),
        known_at: Some("loaded".to_owned()),
    };
    let table = Table::read(&source).unwrap();
    assert_eq!(table.rows(), 2);
    assert_eq!(table.names(), ["x", "id"]);
    assert_eq!(table.columns().len(), 2);
    assert_eq!(table.column("id").unwrap().view().i64(1), 8);
    assert_eq!(table.column("t"), None);
    assert_eq!(table.event_time(), [EventTime(10), EventTime(11)]);
    assert_eq!(table.known_at(), Some([Some(EventTime(20)), None].as_slice()));
    assert_eq!(table.files()[0].path, path);

    let source = TableSource {
        known_at: None,
        event_time: "loaded".to_owned(),
        ..source
    };
    assert!(matches!(
        Table::read(&source),
        Err(ReadError::MissingValue { column, .. }) if column == "loaded"
    ));
}

#[test]
fn a_time_may_also_be_a_column() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    fs::write(&path, "t\n10\n").unwrap();
    let table = Table::read(&TableSource {
        path,
        columns: vec![ColumnRequest {
            name: "t".to_owned(),
            column_type: ColumnType::I64,
            required: true,
            nullable: false,
        }],
        event_time: "t".to_owned(),
        known_at: None,
    })
    .unwrap();
    assert_eq!(table.column("t").unwrap().view().i64(0), 10);
    assert_eq!(table.event_time(), [EventTime(10)]);
    assert_eq!(table.known_at(), None);
}
