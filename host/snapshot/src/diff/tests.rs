use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{EntityKey, EventTime, FeatureColumn, KeyColumn, KeyPart, KeyType, Snapshot, SnapshotWriter, WriteOptions};

/// The rows of a snapshot by key: event time, ctr by its bits, name.
type Rows = BTreeMap<i64, Values>;
type Values = (i64, Option<u64>, Option<String>);

fn snapshot(key_type: KeyType, features: &[(&str, ColumnType)], rows: &Rows) -> Layers {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let schema = SnapshotSchema {
        view: "view".to_owned(),
        key: vec![KeyColumn::new("key", key_type)],
        features: features
            .iter()
            .map(|(name, of_type)| FeatureColumn::new(*name, *of_type))
            .collect(),
        ttl: None,
    };
    let mut writer = SnapshotWriter::create(&path, WriteOptions::new(schema, EventTime(100))).unwrap();
    for (key, (event_time, ctr, name)) in rows {
        let values: Vec<Value<'_>> = features
            .iter()
            .map(|(_, of_type)| match of_type {
                ColumnType::F64 => ctr.map_or(Value::Null, |bits| Value::F64(f64::from_bits(bits))),
                ColumnType::String => name.as_deref().map_or(Value::Null, Value::String),
                _ => Value::I64(*key),
            })
            .collect();
        let key = match key_type {
            KeyType::I64 => EntityKey::new(&[KeyPart::I64(*key)]),
            _ => EntityKey::new(&[KeyPart::String(&key.to_string())]),
        };
        writer
            .push(key.unwrap().as_ref(), EventTime(*event_time), None, &values)
            .unwrap();
    }
    writer.finish().unwrap();
    Layers::of(Arc::new(Snapshot::open(&path).unwrap())).unwrap()
}

const BOTH: [(&str, ColumnType); 2] = [("ctr", ColumnType::F64), ("name", ColumnType::String)];

fn rows() -> impl Strategy<Value = Rows> {
    let ctr = proptest::option::of(prop_oneof![Just(0_u64), Just(1 << 63), Just(f64::NAN.to_bits())]);
    let row = (0..2_i64, ctr, proptest::option::of("[ab]?"));
    proptest::collection::btree_map(0..60_i64, row, 0..50)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn the_difference_is_that_of_two_maps(before in rows(), after in rows()) {
        let (first, second) = (snapshot(KeyType::I64, &BOTH, &before), snapshot(KeyType::I64, &BOTH, &after));
        let mut visited = BTreeMap::new();
        let diff = diff(&first, &second, &mut |key| {
            let (key, kind) = match key {
                KeyDiff::Added(key, _) => (key, "added"),
                KeyDiff::Removed(key, _) => (key, "removed"),
                KeyDiff::Changed(key, rows) => {
                    assert!(rows.iter().all(|row| row.key() == key));
                    (key, "changed")
                }
            };
            assert_eq!(visited.insert(key.to_string(), kind), None);
        }).unwrap();
        let mut expected = BTreeMap::new();
        for key in before.keys().chain(after.keys()) {
            let kind = match (before.get(key), after.get(key)) {
                (None, _) => "added",
                (_, None) => "removed",
                (a, b) if a != b => "changed",
                _ => continue,
            };
            expected.insert(key.to_string(), kind);
        }
        prop_assert_eq!(&visited, &expected);
        let of_kind = |kind: &str| expected.values().filter(|other| **other == kind).count() as u64;
        prop_assert_eq!([diff.added, diff.removed, diff.changed], ["added", "removed", "changed"].map(of_kind));
        prop_assert_eq!(diff.is_empty(), expected.is_empty());
        let both: Vec<_> = before.iter().filter_map(|(key, row)| Some((row, after.get(key)?))).collect();
        prop_assert_eq!(diff.changed + diff.unchanged, both.len() as u64);
        let count = |is: &dyn Fn(&Values, &Values) -> bool| {
            both.iter().filter(|(a, b)| is(a, b)).count() as u64
        };
        prop_assert_eq!(diff.event_time_changed, count(&|a, b| a.0 != b.0));
        prop_assert_eq!(diff.features[0].changed, count(&|a, b| a.1 != b.1));
        prop_assert_eq!(diff.features[0].became_null, count(&|a, b| a.1 != b.1 && b.1.is_none()));
        prop_assert_eq!(diff.features[1].changed, count(&|a, b| a.2 != b.2));
        prop_assert_eq!(diff.features[1].was_null, count(&|a, b| a.2 != b.2 && a.2.is_none()));
    }
}

#[test]
fn features_are_compared_by_name_where_their_types_are_one() {
    let rows: Rows = (0..5).map(|key| (key, (0, Some(0), None))).collect();
    let before = snapshot(
        KeyType::I64,
        &[
            ("gone", ColumnType::I64),
            ("ctr", ColumnType::F64),
            ("other", ColumnType::F64),
        ],
        &rows,
    );
    let after = snapshot(
        KeyType::I64,
        &[
            ("other", ColumnType::String),
            ("new", ColumnType::I64),
            ("ctr", ColumnType::F64),
        ],
        &rows,
    );
    let diff = diff(&before, &after, &mut |_| {}).unwrap();
    let features: Vec<_> = diff
        .features
        .iter()
        .map(|f| (f.name.as_str(), f.is_compared(), f.changed))
        .collect();
    assert_eq!(
        features,
        [
            ("gone", false, 0),
            ("ctr", true, 0),
            ("other", false, 0),
            ("new", false, 0)
        ]
    );
    assert_eq!(
        diff.features[2].types,
        [Some(ColumnType::F64), Some(ColumnType::String)]
    );
    assert_eq!((diff.unchanged, diff.is_empty()), (5, false));
}

#[test]
fn keys_of_different_types_are_not_compared() {
    let rows = Rows::from([(1, (0, None, None))]);
    let [ids, texts] = [KeyType::I64, KeyType::String].map(|key_type| snapshot(key_type, &BOTH, &rows));
    let error = diff(&ids, &texts, &mut |_| {}).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the entity keys have different types, (i64) and (string), so no key is in both"
    );
}
