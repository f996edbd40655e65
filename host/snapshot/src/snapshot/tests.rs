mod delta;
mod golden;
mod hostile;
mod late;
mod opening;
#[path = "../../tests/shared/reseal.rs"]
mod reseal;
mod round_trip;

use std::io::Cursor;
use std::path::Path;

use unskew_frame::{ColumnType, Value};

use crate::header::{HEADER_BYTES, Section, u64_at};
use crate::output::MAX_GROUP_BYTES;
use crate::writer::Rows;
use crate::{
    EntityKey, EntityKeys, EventTime, FeatureColumn, HashedKey, KeyColumn, KeyPart, KeyRef, KeyType, OpenError,
    Snapshot, SnapshotSchema, Status, Ttl, WriteError, WriteOptions,
};

/// A row to be pushed: key, event time, known-at, values.
type Pushed<'a> = (EntityKey, i64, Option<i64>, Vec<Value<'a>>);

/// The bytes of the file, and the ties.
fn build(options: WriteOptions, rows: &[Pushed<'_>]) -> Result<(Vec<u8>, u64), WriteError> {
    build_in_groups(options, rows, MAX_GROUP_BYTES)
}

/// The same with groups of as few rows as there may be, if `max_group_bytes` is little.
fn build_in_groups(
    options: WriteOptions,
    rows: &[Pushed<'_>],
    max_group_bytes: u64,
) -> Result<(Vec<u8>, u64), WriteError> {
    let mut store = Rows::new(Path::new("/tmp/unnamed"), options)?;
    store.max_group_bytes = max_group_bytes;
    for (key, event_time, known_at, values) in rows {
        let known_at = known_at.map(EventTime);
        store.push(key.as_ref(), EventTime(*event_time), known_at, values)?;
    }
    let mut out = Cursor::new(Vec::new());
    let output = store.write(&mut out, &mut |_| {})?;
    let bytes = out.into_inner();
    assert_eq!(output.file_bytes, bytes.len() as u64);
    Ok((bytes, output.ties))
}

fn id(id: i64) -> EntityKey {
    EntityKey::new(&[KeyPart::I64(id)]).unwrap()
}

/// A view of every column type, with a composite key.
fn all_types() -> SnapshotSchema {
    SnapshotSchema {
        view: "all".to_owned(),
        key: vec![
            KeyColumn::new("id", KeyType::I64),
            KeyColumn::new("name", KeyType::String),
        ],
        features: vec![
            FeatureColumn::new("f64", ColumnType::F64),
            FeatureColumn::new("bool", ColumnType::Bool),
            FeatureColumn::new("text", ColumnType::String),
            FeatureColumn::new("f32", ColumnType::F32),
            FeatureColumn::new("i64", ColumnType::I64),
            FeatureColumn::new("state", ColumnType::Bytes),
            FeatureColumn::new("time", ColumnType::Timestamp),
            FeatureColumn::new("vector", ColumnType::Vector(3)),
        ],
        ttl: Some(Ttl::from_micros(50)),
    }
}

/// The text of a key that is too long for its row.
const LONG: &str = "a key of so many bytes that every row would be wider for it, so it has its own section of the file";

/// Four rows of every type: small enough to try every bit.
fn small_file() -> Vec<u8> {
    let key = |id, name| EntityKey::new(&[KeyPart::I64(id), KeyPart::String(name)]).unwrap();
    let rows = [
        (
            key(1, "a"),
            90,
            None,
            vec![
                Value::F64(0.5),
                Value::Bool(true),
                Value::String("text"),
                Value::F32(-2.5),
                Value::I64(-7),
                Value::Bytes(&[0, 255]),
                Value::Timestamp(12),
                Value::Vector(&[1.0, 2.0, 3.0]),
            ],
        ),
        (key(2, ""), 100, Some(100), vec![Value::Null; 8]),
        (
            key(3, "ccc"),
            -5,
            Some(-10),
            vec![
                Value::F64(f64::NAN),
                Value::Bool(false),
                Value::String(""),
                Value::F32(f32::NAN),
                Value::I64(0),
                Value::Bytes(&[]),
                Value::Timestamp(0),
                Value::Null,
            ],
        ),
        (key(4, LONG), 0, None, vec![Value::Null; 8]),
    ];
    let mut options = WriteOptions::new(all_types(), EventTime(100));
    options.module_digest = Some([7; 32]);
    options.state_version = Some(3);
    build(options, &rows).unwrap().0
}

fn open(bytes: &[u8]) -> Result<Snapshot, OpenError> {
    Snapshot::from_bytes(bytes.to_vec())
}

/// Reads everything there is, in every way there is.
fn read_all(snapshot: &Snapshot) -> u64 {
    let mut read = 0;
    for (key, row) in snapshot.iter() {
        read += format!("{key}{:?}", row.event_time()).len() as u64;
        for value in row.values() {
            read += format!("{value:?}").len() as u64;
        }
        assert_eq!(snapshot.get(key).map(|row| row.index()), Some(row.index()));
    }
    assert!(snapshot.get(id(77).as_ref()).is_none());
    read
}

#[test]
fn a_row_has_its_values_by_type_and_by_status() {
    let snapshot = open(&small_file()).unwrap();
    let key = EntityKey::new(&[KeyPart::I64(1), KeyPart::String("a")]).unwrap();
    let row = snapshot.get(key.as_ref()).unwrap();
    assert_eq!(row.key(), key.as_ref());
    assert_eq!(row.event_time(), EventTime(90));
    assert_eq!(row.f64(0).to_bits(), 0.5_f64.to_bits());
    assert!(row.bool(1));
    assert_eq!(row.str(2), "text");
    assert_eq!(row.f32(3).to_bits(), (-2.5_f32).to_bits());
    assert_eq!(row.i64(4), -7);
    assert_eq!(row.bytes(5), [0, 255]);
    assert_eq!(row.timestamp(6), 12);
    assert_eq!(row.vector(7), [1.0, 2.0, 3.0]);
    for (at, status) in [
        (89, Status::Future),
        (90, Status::Present),
        (140, Status::Present),
        (141, Status::Expired),
    ] {
        assert_eq!(row.value_status(0, EventTime(at)), status, "{at}");
    }

    let nulls = EntityKey::new(&[KeyPart::I64(2), KeyPart::String("")]).unwrap();
    let row = snapshot.get(nulls.as_ref()).unwrap();
    assert!(row.values().all(|value| value.is_null()));
    assert_eq!(row.value_status(7, EventTime(100)), Status::Null);
    assert_eq!(row.value_status(7, EventTime(151)), Status::Expired);
    assert_eq!(
        (row.f64(0), row.bool(1), row.str(2), row.bytes(5)),
        (0.0, false, "", &[][..])
    );
    assert_eq!(row.vector(7), [0.0; 3]);
}

#[test]
fn meta_is_what_was_written() {
    let snapshot = open(&small_file()).unwrap();
    let meta = snapshot.meta();
    assert_eq!(meta.schema, all_types());
    assert_eq!(meta.watermark, EventTime(100));
    assert_eq!(meta.module_digest, Some([7; 32]));
    assert_eq!(meta.state_version, Some(3));
    assert_eq!(meta.row_count, 4);
    assert_eq!(meta.event_times, Some((EventTime(-5), EventTime(100))));
    let statistics = |feature: usize| {
        let of = meta.statistics[feature];
        (of.null_count, of.nan_count, of.range)
    };
    assert_eq!(statistics(0), (2, 1, Some((0.5, 0.5))));
    assert_eq!(statistics(1), (2, 0, Some((0.0, 1.0))));
    assert_eq!(statistics(2), (2, 0, None));
    assert_eq!(statistics(4), (2, 0, Some((-7.0, 0.0))));
    assert_eq!(statistics(7), (3, 0, None));
    assert_eq!(meta.builder, concat!("unskew-snapshot ", env!("CARGO_PKG_VERSION")));
    assert_eq!((snapshot.len(), snapshot.is_empty()), (4, false));
    assert_eq!(snapshot.file_bytes(), small_file().len() as u64);
}

#[test]
fn an_empty_snapshot_finds_nothing() {
    let (bytes, _) = build(WriteOptions::new(all_types(), EventTime(0)), &[]).unwrap();
    let snapshot = open(&bytes).unwrap();
    assert!(snapshot.is_empty());
    assert_eq!(snapshot.iter().len(), 0);
    assert!(snapshot.get(id(1).as_ref()).is_none());
    let mut rows = vec![None; 9];
    snapshot.get_many(&[id(1).as_ref()], &mut rows);
    assert_eq!(rows, [None]);
}

#[test]
fn a_key_of_other_types_is_not_found() {
    let snapshot = open(&small_file()).unwrap();
    for parts in [
        &[][..],
        &[KeyPart::I64(1)],
        &[KeyPart::I64(1), KeyPart::Bytes(b"a")],
        &[KeyPart::String("a"), KeyPart::I64(1)],
    ] {
        let key = EntityKey::new(parts).unwrap();
        assert!(snapshot.get(key.as_ref()).is_none(), "{parts:?}");
    }
}

/// No two keys of one hash are at hand, so another key is looked for in the slots of a stored one.
#[test]
fn a_key_of_no_parts_is_not_found() {
    let rows: Vec<Pushed<'_>> = (0..100).map(|n| (id(n), 0, None, vec![Value::F64(0.5)])).collect();
    let schema = SnapshotSchema {
        view: "one".to_owned(),
        key: vec![KeyColumn::new("id", KeyType::I64)],
        features: vec![FeatureColumn::new("f", ColumnType::F64)],
        ttl: None,
    };
    let (bytes, _) = build(WriteOptions::new(schema, EventTime(1)), &rows).unwrap();
    let snapshot = open(&bytes).unwrap();
    let mut keys = EntityKeys::default();
    keys.push_missing();
    keys.push([KeyPart::I64(3)]).unwrap();
    let keys = [keys.get(0), keys.get(1)];
    keys.into_iter().for_each(|key| snapshot.prefetch(key));
    let mut found = [None; 2];
    let hashed: Vec<HashedKey<'_>> = keys.iter().map(|key| (*key).into()).collect();
    snapshot.get_into(&hashed, &mut found);
    assert_eq!(found, [None, snapshot.get(keys[1]).map(|row| row.index())]);
    assert!(snapshot.get(keys[0]).is_none() && found[1].is_some());
}

#[test]
fn a_hash_without_its_key_is_not_a_hit() {
    let snapshot = open(&small_file()).unwrap();
    for (key, row) in snapshot.iter() {
        let found = |asked: KeyRef<'_>| snapshot.find(asked, key.hash());
        assert_eq!(found(key), Some(row.index().as_u32()));
        assert_eq!(found(id(1).as_ref()), None);
    }
}

/// A row is found by its whole key: neither a part of one nor one with more parts is it.
#[test]
fn a_key_that_begins_as_another_is_not_it() {
    let snapshot = open(&small_file()).unwrap();
    let (stored, _) = snapshot
        .iter()
        .find(|(key, _)| key.to_string() == r#"(1, "a")"#)
        .unwrap();
    let longer = EntityKey::new(&[KeyPart::I64(1), KeyPart::String("a"), KeyPart::Bytes(b"")]).unwrap();
    let shorter = id(1);
    for asked in [longer.as_ref(), shorter.as_ref()] {
        assert_eq!(snapshot.find(asked, stored.hash()), None, "{asked}");
    }
}

/// Groups of 64 rows on average are overfull by chance.
#[test]
fn rows_without_a_slot_are_found_behind_the_others() {
    let rows: Vec<Pushed<'_>> = (0..5_000)
        .map(|i| {
            let key = EntityKey::new(&[KeyPart::I64(i), KeyPart::String(if i % 50 == 0 { LONG } else { "" })]).unwrap();
            let mut values = vec![Value::Null; 8];
            values[4] = Value::I64(3 * i);
            values[5] = Value::Bytes(b"state");
            (key, 0, None, values)
        })
        .collect();
    let (file, _) = build_in_groups(WriteOptions::new(all_types(), EventTime(0)), &rows, 1).unwrap();
    let snapshot = open(&file).unwrap();
    assert!(snapshot.header.shape.overflow_count > 20, "{:?}", snapshot.header.shape);
    let keys: Vec<_> = rows.iter().map(|(key, ..)| key.as_ref()).collect();
    let mut many = Vec::new();
    snapshot.get_many(&keys, &mut many);
    for ((key, .., values), index) in rows.iter().zip(&many) {
        let row = snapshot.get(key.as_ref()).unwrap();
        assert_eq!(Some(row.index()), *index);
        assert_eq!(row.key(), key.as_ref());
        assert!(row.values().eq(values.iter().copied()));
    }
    assert!(snapshot.get(id(7).as_ref()).is_none());
    let order: Vec<_> = snapshot.iter().map(|(key, _)| (key.hash(), key)).collect();
    assert!(order.len() == 5_000 && order.is_sorted_by(|a, b| a < b));
}

#[test]
fn a_snapshot_is_shared_between_threads() {
    fn check<T: Send + Sync>() {}
    check::<Snapshot>();
    check::<crate::Row<'_>>();
}
