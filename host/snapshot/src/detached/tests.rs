use proptest::prelude::*;
use unskew_frame::{ColumnType, Value};

use super::*;
use crate::{EntityKey, FeatureColumn, KeyColumn, KeyPart, KeyType, SnapshotSchema, SnapshotWriter, WriteOptions};

/// A snapshot with a row of each of these keys, whose features are of every type.
fn snapshot(keys: &[EntityKey], values: &[Value<'_>]) -> Snapshot {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.snapshot");
    let types = [
        ColumnType::F64,
        ColumnType::String,
        ColumnType::Bool,
        ColumnType::F32,
        ColumnType::Bytes,
        ColumnType::Vector(3),
        ColumnType::I64,
        ColumnType::Timestamp,
    ];
    let named = types.iter().enumerate();
    let schema = SnapshotSchema {
        view: "rows".into(),
        key: vec![KeyColumn::new("key", KeyType::String)],
        features: named
            .map(|(index, column_type)| FeatureColumn::new(format!("f{index}"), *column_type))
            .collect(),
        ttl: None,
    };
    let mut writer = SnapshotWriter::create(&path, WriteOptions::new(schema, EventTime(100))).unwrap();
    for key in keys {
        writer.push(key.as_ref(), EventTime(50), None, values).unwrap();
    }
    writer.finish().unwrap();
    Snapshot::open(&path).unwrap()
}

fn key(text: &str) -> EntityKey {
    EntityKey::new(&[KeyPart::String(text)]).unwrap()
}

fn some<T>(strategy: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>>
where
    T: std::fmt::Debug,
{
    proptest::option::weighted(0.8, strategy)
}

proptest! {
    /// Whatever is read of a row is the same whether the row is in the snapshot or beside it.
    #[test]
    fn a_detached_row_is_read_like_one_in_the_snapshot(
        text in "[a-z]{0,40}",
        (double, single) in (some(any::<f64>()), some(any::<f32>())),
        (word, bytes) in (some(".{0,9}"), some(prop::collection::vec(any::<u8>(), 0..9))),
        (flag, number, time) in (some(any::<bool>()), some(any::<i64>()), some(any::<i64>())),
        vector in some(any::<[f32; 3]>()),
        others in prop::collection::vec("[A-Z]{1,9}", 0..4),
    ) {
        let values = [
            double.map_or(Value::Null, Value::F64),
            word.as_deref().map_or(Value::Null, Value::String),
            flag.map_or(Value::Null, Value::Bool),
            single.map_or(Value::Null, Value::F32),
            bytes.as_deref().map_or(Value::Null, Value::Bytes),
            vector.as_ref().map_or(Value::Null, |vector| Value::Vector(vector)),
            number.map_or(Value::Null, Value::I64),
            time.map_or(Value::Null, Value::Timestamp),
        ];
        let of_row = key(&text);
        let mut keys: Vec<EntityKey> = others.iter().map(|text| key(text)).collect();
        keys.sort();
        keys.dedup();
        // In a snapshot that knows nothing of it, perhaps without rows, whose place for keys is then of no width.
        let beside = snapshot(&keys, &values);
        let detached = DetachedRow::new(&beside, of_row.as_ref(), EventTime(50), &values).unwrap();
        let within = snapshot(std::slice::from_ref(&of_row), &values);
        let (found, expected) = (detached.row(&beside), within.get(of_row.as_ref()).unwrap());
        prop_assert_eq!(found.key(), expected.key());
        prop_assert_eq!(found.event_time(), expected.event_time());
        prop_assert_eq!(found.null_bits(0), expected.null_bits(0));
        prop_assert!(found.values().eq(expected.values()));
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(found.f64s(0..1)), bits(expected.f64s(0..1)));
        prop_assert_eq!(found.i64s(6..7), expected.i64s(6..7));
        prop_assert_eq!((found.str(1), found.bytes(4)), (expected.str(1), expected.bytes(4)));
    }
}

#[test]
fn a_row_that_the_snapshot_could_not_hold_is_none() {
    let values = [Value::Null; 8];
    let snapshot = snapshot(&[], &values);
    let new = |key: &EntityKey, values: &[Value<'_>]| DetachedRow::new(&snapshot, key.as_ref(), EventTime(0), values);
    assert!(new(&key("a"), &values).is_some());
    assert!(new(&key("a"), &values[1..]).is_none());
    assert!(new(&EntityKey::new(&[KeyPart::I64(1)]).unwrap(), &values).is_none());
    let mut of_another_type = values;
    of_another_type[0] = Value::I64(1);
    assert!(new(&key("a"), &of_another_type).is_none());
    let (most, more) = (vec![0; MAX_VALUE_BYTES], vec![0; MAX_VALUE_BYTES + 1]);
    let mut long = values;
    long[4] = Value::Bytes(&most);
    assert!(new(&key("a"), &long).is_some());
    long[4] = Value::Bytes(&more);
    assert!(new(&key("a"), &long).is_none());
}
