use std::fs;

use unskew_frame::{ColumnType, Value};

use super::*;
use crate::{EntityKey, FeatureColumn, KeyColumn, KeyPart, KeyType, MAX_VALUE_BYTES, OpenError, SchemaError, Snapshot};

fn options() -> WriteOptions {
    let schema = SnapshotSchema {
        view: "users".to_owned(),
        key: vec![KeyColumn::new("user", KeyType::I64)],
        features: vec![
            FeatureColumn::new("name", ColumnType::String),
            FeatureColumn::new("ctr", ColumnType::F64),
        ],
        ttl: None,
    };
    WriteOptions::new(schema, EventTime(100))
}

fn id(id: i64) -> EntityKey {
    EntityKey::new(&[KeyPart::I64(id)]).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_appears_whole_under_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users");
    let mut writer = SnapshotWriter::create(&path, options()).unwrap();
    let values = [Value::String("a"), Value::F64(0.5)];
    writer.push(id(1).as_ref(), EventTime(100), None, &values).unwrap();
    assert!(!path.exists());
    let written = writer.finish().unwrap();
    assert_eq!(names(folder.path()), ["users"]);
    assert_eq!(written.path, path);
    assert_eq!(written.file_bytes, fs::metadata(&path).unwrap().len());
    assert_eq!((written.row_count, written.ties), (1, 0));

    let snapshot = Snapshot::open(&path).unwrap();
    assert_eq!(snapshot.get(id(1).as_ref()).unwrap().str(0), "a");
    let bytes = fs::read(&path).unwrap();
    assert_eq!(Snapshot::from_bytes(bytes).unwrap().meta(), snapshot.meta());
}

#[test]
fn an_existing_file_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users");
    let late = SnapshotWriter::create(&path, options()).unwrap();
    let other = SnapshotWriter::create(&path, options()).unwrap();
    fs::write(&path, "first").unwrap();
    assert!(late.finish().unwrap_err().is_already_exists());
    assert!(other.finish().unwrap_err().is_already_exists());
    let error = SnapshotWriter::create(&path, options()).unwrap_err();
    assert!(error.is_already_exists());
    assert_eq!(fs::read(&path).unwrap(), b"first");
    assert_eq!(names(folder.path()), ["users"]);
}

#[test]
fn a_writer_that_is_dropped_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = SnapshotWriter::create(&folder.path().join("users"), options()).unwrap();
    let values = [Value::Null, Value::Null];
    writer.push(id(1).as_ref(), EventTime(0), None, &values).unwrap();
    assert_eq!(names(folder.path()).len(), 1);
    drop(writer);
    assert!(names(folder.path()).is_empty());
}

#[test]
fn no_file_is_created_where_none_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing").join("users");
    let error = SnapshotWriter::create(&path, options()).unwrap_err();
    assert!(error.to_string().starts_with("cannot create "), "{error}");
    assert!(matches!(error, WriteError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound));
    let mut no_key = options();
    no_key.schema.key.clear();
    let error = SnapshotWriter::create(&folder.path().join("users"), no_key).unwrap_err();
    assert!(matches!(
        error,
        WriteError::Schema(SchemaError::KeyColumnCount { count: 0 })
    ));
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_row_that_does_not_fit_is_refused_and_the_others_are_written() {
    let long = "x".repeat(MAX_VALUE_BYTES + 1);
    let text = EntityKey::new(&[KeyPart::String("u1")]).unwrap();
    let ctr = Value::F64(0.5);
    type Refused<'a> = (&'a EntityKey, i64, Option<i64>, &'a [Value<'a>], &'a str);
    let cases: [Refused<'_>; 8] = [
        (
            &text,
            0,
            None,
            &[Value::Null, ctr],
            r#"row 1: the key "u1" does not fit the schema"#,
        ),
        (&id(2), 0, None, &[ctr], "row 2 has 1 values, the schema has 2 features"),
        (
            &id(2),
            0,
            None,
            &[Value::Null; 3],
            "row 3 has 3 values, the schema has 2 features",
        ),
        (
            &id(2),
            0,
            None,
            &[Value::String("kept?"), Value::I64(1)],
            "row 4: the value of feature `ctr` is not of type f64",
        ),
        (
            &id(2),
            0,
            None,
            &[Value::Bytes(b""), ctr],
            "row 5: the value of feature `name` is not of type string",
        ),
        (
            &id(2),
            0,
            None,
            &[Value::String(&long), ctr],
            "row 6: the value of feature `name` has 65537 bytes, more than 65536",
        ),
        (
            &id(2),
            101,
            None,
            &[Value::Null, ctr],
            "row 7: 1970-01-01T00:00:00.000101Z is later than the watermark 1970-01-01T00:00:00.000100Z",
        ),
        (
            &id(2),
            0,
            Some(101),
            &[Value::Null, ctr],
            "row 8: 1970-01-01T00:00:00.000101Z is later than the watermark 1970-01-01T00:00:00.000100Z",
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users");
    let mut writer = SnapshotWriter::create(&path, options()).unwrap();
    let values = [Value::String("a"), ctr];
    writer.push(id(1).as_ref(), EventTime(0), None, &values).unwrap();
    for (key, event_time, known_at, values, message) in cases {
        let known_at = known_at.map(EventTime);
        let pushed = writer.push(key.as_ref(), EventTime(event_time), known_at, values);
        assert_eq!(pushed.unwrap_err().to_string(), message);
    }
    writer.push(id(3).as_ref(), EventTime(0), None, &values).unwrap();
    assert_eq!(writer.finish().unwrap().row_count, 2);

    // As if the refused rows had never been pushed.
    let twin = folder.path().join("twin");
    let mut writer = SnapshotWriter::create(&twin, options()).unwrap();
    for row in [3, 1] {
        writer.push(id(row).as_ref(), EventTime(0), None, &values).unwrap();
    }
    writer.finish().unwrap();
    assert!(fs::read(path).unwrap() == fs::read(twin).unwrap());
}

#[test]
fn duplicates_are_refused_by_default() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = SnapshotWriter::create(&folder.path().join("users"), options()).unwrap();
    for event_time in [1, 2] {
        let values = [Value::Null, Value::Null];
        writer
            .push(id(7).as_ref(), EventTime(event_time), None, &values)
            .unwrap();
    }
    assert_eq!(
        writer.finish().unwrap_err().to_string(),
        "the key 7 has several rows: let the as-of rule choose, or push it once"
    );
    assert!(names(folder.path()).is_empty());
}

#[test]
fn the_as_of_rule_chooses_among_duplicates_and_counts_ties() {
    // Event time, known at, ctr (null where it is NaN) of the rows of one key; the ctr that is kept; the ties.
    type Versions<'a> = &'a [(i64, Option<i64>, Option<f64>)];
    let cases: [(Versions<'_>, Option<f64>, u64); 7] = [
        (&[(1, None, Some(1.0)), (2, None, Some(0.5))], Some(0.5), 0),
        (&[(2, Some(9), Some(1.0)), (2, Some(10), Some(0.5))], Some(0.5), 0),
        (&[(2, None, Some(1.0)), (2, Some(i64::MIN), Some(0.5))], Some(0.5), 0),
        (&[(2, None, Some(0.5)), (2, None, Some(1.0))], Some(1.0), 1),
        (&[(2, None, Some(-1.0)), (2, None, None)], Some(-1.0), 1),
        (&[(2, None, Some(1.0)), (2, None, Some(1.0))], Some(1.0), 0),
        // A tie among versions that do not win is no contradiction in what is kept.
        (&[(1, None, Some(1.0)), (1, None, Some(2.0)), (2, None, None)], None, 0),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (number, (versions, kept, ties)) in cases.into_iter().enumerate() {
        let mut bytes = Vec::new();
        for is_reversed in [false, true] {
            let mut versions = versions.to_vec();
            if is_reversed {
                versions.reverse();
            }
            let options = WriteOptions {
                duplicates: DuplicateKeys::AsOf,
                ..options()
            };
            let path = folder.path().join(format!("{number}-{is_reversed}"));
            let mut writer = SnapshotWriter::create(&path, options).unwrap();
            for (event_time, known_at, ctr) in versions {
                let values = [Value::Null, ctr.map_or(Value::Null, Value::F64)];
                let known_at = known_at.map(EventTime);
                writer
                    .push(id(7).as_ref(), EventTime(event_time), known_at, &values)
                    .unwrap();
            }
            let written = writer.finish().unwrap();
            assert_eq!((written.row_count, written.ties), (1, ties), "case {number}");
            let snapshot = Snapshot::open(&path).unwrap();
            let row = snapshot.get(id(7).as_ref()).unwrap();
            assert_eq!(row.value(1), kept.map_or(Value::Null, Value::F64), "case {number}");
            bytes.push(fs::read(path).unwrap());
        }
        assert!(bytes[0] == bytes[1], "case {number}");
    }
}

/// Rows that are sorted on disk give the bytes of those sorted in memory, duplicates among them.
#[test]
fn the_memory_budget_does_not_show_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let spill = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for memory_budget_bytes in [0, 1 << 30] {
        let path = folder.path().join(format!("{memory_budget_bytes}"));
        let options = WriteOptions {
            duplicates: DuplicateKeys::AsOf,
            memory_budget_bytes,
            spill_directory: Some(spill.path().to_owned()),
            ..options()
        };
        let mut writer = SnapshotWriter::create(&path, options).unwrap();
        for row in 0..120_000_i64 {
            let name = format!("name {}", row % 1_000);
            let values = [Value::String(&name), Value::F64(row as f64)];
            let time = EventTime(row % 90);
            writer
                .push(id(row * 7 % 100_000).as_ref(), time, None, &values)
                .unwrap();
        }
        let mut stages = Vec::new();
        let written = writer
            .finish_with(&mut |progress| {
                assert!(progress.rows_done < progress.rows_total);
                stages.push((progress.stage, progress.rows_total));
            })
            .unwrap();
        stages.dedup();
        assert_eq!(stages, [(WriteStage::Sorting, 120_000), (WriteStage::Writing, 100_000)]);
        assert_eq!(written.row_count, 100_000);
        assert_eq!(names(spill.path()).len(), 0);
        files.push(fs::read(path).unwrap());
    }
    assert!(files[0] == files[1]);
    Snapshot::from_bytes(files.remove(0)).unwrap();
}

#[test]
fn a_writer_that_cannot_spill_says_where_and_does_not_finish() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let options = WriteOptions {
        memory_budget_bytes: 0,
        spill_directory: Some(missing.clone()),
        ..options()
    };
    let mut writer = SnapshotWriter::create(&folder.path().join("users"), options).unwrap();
    let text = "x".repeat(1_000);
    let mut push = |row| {
        writer.push(
            id(row).as_ref(),
            EventTime(0),
            None,
            &[Value::String(&text), Value::Null],
        )
    };
    let error = (0..10_000).find_map(|row| push(row).err()).unwrap();
    assert_eq!(error.to_string(), format!("cannot spill rows to {}", missing.display()));
    let error = writer.finish().unwrap_err();
    assert!(error.to_string().starts_with("cannot read rows from "), "{error}");
    assert!(names(folder.path()).is_empty());
}

#[test]
fn what_is_not_a_snapshot_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = Snapshot::open(folder.path()).unwrap_err();
    assert!(
        error.to_string().ends_with("is a directory, not a snapshot file"),
        "{error}"
    );
    assert!(!error.is_corrupt());

    let missing = folder.path().join("missing");
    let error = Snapshot::open(&missing).unwrap_err();
    assert!(matches!(error, OpenError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound));

    let empty = folder.path().join("empty");
    fs::write(&empty, "").unwrap();
    let error = Snapshot::open(&empty).unwrap_err();
    assert!(
        error.to_string().ends_with("empty is empty, not a snapshot file"),
        "{error}"
    );

    let text = folder.path().join("table.csv");
    fs::write(&text, "user,ctr\n1,0.5\n").unwrap();
    let error = Snapshot::open(&text).unwrap_err();
    assert!(
        error.to_string().contains("table.csv is not a snapshot file"),
        "{error}"
    );
}

/// Opening a FIFO without a writer would wait for ever; this test would, too.
#[cfg(unix)]
#[test]
fn a_fifo_and_a_socket_are_refused_without_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.is_ok_and(|status| status.success()), "mkfifo(1) is needed");
    let error = Snapshot::open(&fifo).unwrap_err();
    assert!(error.to_string().ends_with("is a FIFO, not a snapshot file"), "{error}");

    let socket = folder.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let error = Snapshot::open(&socket).unwrap_err();
    assert!(
        error.to_string().ends_with("is a socket, not a snapshot file"),
        "{error}"
    );
}
