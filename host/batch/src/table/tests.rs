use std::fs;
use std::path::Path;

use unskew::Digest;
use unskew_frame::Value;

use super::*;
use crate::array::column_to_array;
use crate::output::OutputOptions;
use crate::output::tests::write_columns;

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

fn source(path: &Path) -> TableSource {
    let column = |name: &str, column_type, nullable| ColumnRequest {
        name: name.to_owned(),
        column_type,
        required: true,
        nullable,
    };
    TableSource {
        path: path.to_owned(),
        columns: vec![
            column("id", ColumnType::I64, false),
            column("s", ColumnType::String, true),
        ],
        event_time: "t".to_owned(),
        known_at: Some("k".to_owned()),
    }
}

/// The same rows as CSV, as JSON lines, as a Parquet file, and as a directory of two of those.
fn write_sources(folder: &Path, rows: i64) -> Vec<TableSource> {
    let note = |row: i64| (row % 7 != 0).then(|| format!("note {row}"));
    let known_at = |row: i64| (row % 5 != 0).then(|| row + 100);
    let shown = |value: Option<i64>| value.map_or(String::new(), |value| value.to_string());
    let (mut csv, mut json) = ("s,id,t,k\n".to_owned(), String::new());
    for row in 0..rows {
        csv += &format!(
            "{},{row},{},{}\n",
            note(row).unwrap_or_default(),
            row * 2,
            shown(known_at(row))
        );
        let note = note(row).map_or(String::new(), |note| format!("\"s\":{note:?},"));
        let known_at = known_at(row).map_or(String::new(), |time| format!("\"k\":{time},"));
        json += &format!("{{{note}{known_at}\"id\":{row},\"t\":{}}}\n", row * 2);
    }
    fs::write(folder.join("a.csv"), csv).unwrap();
    fs::write(folder.join("a.jsonl"), json).unwrap();
    fs::create_dir(folder.join("parts")).unwrap();
    let half = rows / 2;
    for (name, part) in [
        ("a.parquet", 0..rows),
        ("parts/1.parquet", 0..half),
        ("parts/2.parquet", half..rows),
    ] {
        let mut columns = [ColumnType::I64, ColumnType::String, ColumnType::I64, ColumnType::I64].map(Column::new);
        let part_rows = part.clone().count();
        for row in part {
            let note = note(row);
            let values = [
                Value::I64(row),
                note.as_deref().map_or(Value::Null, Value::String),
                Value::I64(row * 2),
                known_at(row).map_or(Value::Null, Value::I64),
            ];
            for (column, value) in columns.iter_mut().zip(values) {
                column.push(value).unwrap();
            }
        }
        let arrays = ["id", "s", "t", "k"].iter().zip(&columns);
        let arrays: Vec<_> = arrays
            .map(|(name, column)| ((*name).to_owned(), column_to_array(column, part_rows)))
            .collect();
        write_columns(&folder.join(name), part_rows, &arrays, OutputOptions::default()).unwrap();
    }
    ["a.csv", "a.jsonl", "a.parquet", "parts"]
        .map(|name| source(&folder.join(name)))
        .into()
}

#[test]
fn the_chunks_of_a_source_are_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    for source in write_sources(folder.path(), 5_000) {
        let whole = Table::read(&source).unwrap();
        let mut first: Option<Table> = None;
        for (rows, bytes) in [(1_000, u64::MAX), (usize::MAX, 20_000), (1, 1), (usize::MAX, u64::MAX)] {
            let options = ChunkOptions {
                rows,
                bytes,
                digests: true,
            };
            let mut chunks = TableChunks::open(source.clone(), options).unwrap();
            let mut row = 0;
            let mut count = 0;
            let mut file = (PathBuf::new(), 0);
            for chunk in chunks.by_ref() {
                let TableChunk { path, first_row, table } = chunk.unwrap();
                if file.0 != path {
                    file = (path, row);
                }
                assert_eq!(first_row as usize, row - file.1);
                assert!(table.rows() > 0 && table.rows() <= rows.max(1_024));
                for index in 0..table.rows() {
                    let columns = table.columns().iter().zip(whole.columns());
                    assert!(
                        columns
                            .into_iter()
                            .all(|(chunk, whole)| chunk.value(index) == whole.value(row))
                    );
                    assert_eq!(table.event_time()[index], whole.event_time()[row]);
                    assert_eq!(table.known_at().unwrap()[index], whole.known_at().unwrap()[row]);
                    row += 1;
                }
                count += 1;
                first.get_or_insert(table);
            }
            assert_eq!(row, whole.rows());
            assert_eq!(chunks.files(), whole.files());
            let files = whole.files().len();
            assert!(if rows == usize::MAX && bytes == u64::MAX {
                count == files
            } else {
                count > files
            });
            assert_eq!(
                chunks.files()[0].digest,
                Digest::of(&fs::read(&chunks.files()[0].path).unwrap())
            );
        }
    }
}

#[test]
fn a_chunk_that_lacks_a_value_is_not_given_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    let check = |lines: &str, expect: &[Result<usize, &str>]| {
        fs::write(&path, lines).unwrap();
        let options = ChunkOptions {
            rows: 1,
            ..ChunkOptions::default()
        };
        let chunks = TableChunks::open(source(&path), options).unwrap();
        let directory = format!("{}/", folder.path().display());
        let found: Vec<Result<usize, String>> = chunks
            .map(|chunk| match chunk {
                Ok(chunk) => Ok(chunk.table.rows()),
                Err(error) => Err(error.to_string().replace(&directory, "")),
            })
            .collect();
        let expect: Vec<_> = expect.iter().map(|e| e.map_err(str::to_owned)).collect();
        assert_eq!(found, expect);
    };
    let whole = "{\"id\":1,\"t\":2,\"s\":\"a\",\"k\":3}\n";
    check("", &[]);
    check(whole, &[Ok(1)]);
    check(
        &format!("{whole}{{\"id\":1}}\n{whole}"),
        &[
            Ok(1),
            Err("a.jsonl: line 2, column `t`: the value is missing: fill it in, or leave the row out"),
        ],
    );
    check("{\"t\":2}\n", &[Err("a.jsonl: no column `id` (the file has t)")]);
    // That no line has `k` is known at the end.
    check(
        "{\"id\":1,\"t\":2,\"s\":\"a\"}\n",
        &[Ok(1), Err("a.jsonl: no column `k` (the file has id, s, t)")],
    );
}
