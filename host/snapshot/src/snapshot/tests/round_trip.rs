//! The file against its twin, a `BTreeMap`.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;
use unskew_frame::{canonical_f32, canonical_f64};

use super::*;
use crate::DuplicateKeys;
use crate::schema::MAX_VALUE_BYTES;

/// A value of a row, owned; by column of [`all_types`].
#[derive(Clone, Debug)]
enum Owned {
    Null,
    F64(u64),
    Bool(bool),
    String(String),
    F32(u32),
    I64(i64),
    Bytes(Vec<u8>),
    Timestamp(i64),
    Vector(Vec<f32>),
}

impl Owned {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::F64(bits) => Value::F64(f64::from_bits(*bits)),
            Self::Bool(v) => Value::Bool(*v),
            Self::String(v) => Value::String(v),
            Self::F32(bits) => Value::F32(f32::from_bits(*bits)),
            Self::I64(v) => Value::I64(*v),
            Self::Bytes(v) => Value::Bytes(v),
            Self::Timestamp(v) => Value::Timestamp(*v),
            Self::Vector(v) => Value::Vector(v),
        }
    }

    /// As it is read back: with canonical NaN.
    fn canonical(&self) -> Self {
        match self {
            Self::F64(bits) => Self::F64(canonical_f64(f64::from_bits(*bits)).to_bits()),
            Self::F32(bits) => Self::F32(canonical_f32(f32::from_bits(*bits)).to_bits()),
            Self::Vector(v) => Self::Vector(v.iter().copied().map(canonical_f32).collect()),
            other => other.clone(),
        }
    }
}

#[derive(Clone, Debug)]
struct OwnedRow {
    key: (i64, String),
    event_time: i64,
    known_at: Option<i64>,
    values: Vec<Owned>,
}

impl OwnedRow {
    fn key(&self) -> EntityKey {
        EntityKey::new(&[KeyPart::I64(self.key.0), KeyPart::String(&self.key.1)]).unwrap()
    }

    fn pushed(&self) -> Pushed<'_> {
        let values = self.values.iter().map(Owned::value).collect();
        (self.key(), self.event_time, self.known_at, values)
    }
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => proptest::collection::vec(any::<u8>(), 0..20),
        1 => (any::<u8>(), MAX_VALUE_BYTES - 2..=MAX_VALUE_BYTES).prop_map(|(byte, len)| vec![byte; len]),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "\\PC{0,6}".boxed(),
        1 => (MAX_VALUE_BYTES - 2..=MAX_VALUE_BYTES).prop_map(|len| "t".repeat(len)).boxed(),
    ]
}

fn values() -> impl Strategy<Value = Vec<Owned>> {
    let f64_bits = prop_oneof![any::<u64>(), Just(0xfff8_0000_0000_0001), Just(1 << 63)];
    let f32_bits = prop_oneof![any::<u32>(), Just(0xffc0_0001), Just(1 << 31)];
    let columns = (
        f64_bits.prop_map(Owned::F64),
        any::<bool>().prop_map(Owned::Bool),
        text().prop_map(Owned::String),
        f32_bits.clone().prop_map(Owned::F32),
        any::<i64>().prop_map(Owned::I64),
        bytes().prop_map(Owned::Bytes),
        any::<i64>().prop_map(Owned::Timestamp),
        proptest::collection::vec(f32_bits.prop_map(f32::from_bits), 3).prop_map(Owned::Vector),
    );
    (columns, any::<[bool; 8]>()).prop_map(|((a, b, c, d, e, f, g, h), nulls)| {
        let mut values = vec![a, b, c, d, e, f, g, h];
        for (value, is_null) in values.iter_mut().zip(nulls) {
            if is_null {
                *value = Owned::Null;
            }
        }
        values
    })
}

fn rows(keys: i64) -> impl Strategy<Value = Vec<OwnedRow>> {
    let key = (0..keys, "[ab]{0,2}");
    let row = (key, -3..3_i64, proptest::option::of(0..2_i64), values());
    let row = row.prop_map(|(key, event_time, known_at, values)| OwnedRow {
        key,
        event_time,
        known_at,
        values,
    });
    proptest::collection::vec(row, 0..150)
}

fn options() -> WriteOptions {
    WriteOptions {
        duplicates: DuplicateKeys::AsOf,
        ..WriteOptions::new(all_types(), EventTime(100))
    }
}

/// The greatest version of each key, by a map of tuples.
fn twin(rows: &[OwnedRow]) -> BTreeMap<EntityKey, &OwnedRow> {
    let mut twin: BTreeMap<EntityKey, &OwnedRow> = BTreeMap::new();
    let order = |row: &OwnedRow| {
        let mut bytes = Vec::new();
        let values: Vec<_> = row.values.iter().map(Owned::value).collect();
        crate::encode_row(&values, &mut bytes);
        (row.event_time, row.known_at, bytes)
    };
    for row in rows {
        let kept = twin.entry(row.key()).or_insert(row);
        if order(row) > order(kept) {
            *kept = row;
        }
    }
    twin
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_snapshot_equals_its_twin(rows in rows(40)) {
        let pushed: Vec<_> = rows.iter().map(OwnedRow::pushed).collect();
        let (file, _) = build(options(), &pushed).unwrap();
        let snapshot = open(&file).unwrap();
        let twin = twin(&rows);

        prop_assert_eq!(snapshot.len(), twin.len());
        for (key, expected) in &twin {
            let row = snapshot.get(key.as_ref()).unwrap();
            prop_assert_eq!(row.event_time(), EventTime(expected.event_time));
            for (feature, value) in expected.values.iter().enumerate() {
                let expected = value.canonical();
                prop_assert_eq!(row.value(feature), expected.value());
                prop_assert_eq!(row.is_present(feature), !expected.value().is_null());
            }
        }
        let read: BTreeMap<_, _> = snapshot.iter().map(|(key, row)| (key.to_entity_key(), row.event_time())).collect();
        prop_assert_eq!(read.len(), twin.len());
        let order: Vec<_> = snapshot.iter().map(|(key, _)| (key.hash(), key)).collect();
        prop_assert!(order.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn the_order_of_pushes_does_not_matter(
        (rows, shuffled) in rows(6).prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
    ) {
        let pushed: Vec<_> = rows.iter().map(OwnedRow::pushed).collect();
        let shuffled: Vec<_> = shuffled.iter().map(OwnedRow::pushed).collect();
        prop_assert!(build(options(), &pushed).unwrap() == build(options(), &shuffled).unwrap());
    }

    #[test]
    fn many_lookups_equal_single_ones(
        rows in rows(40),
        asked in proptest::collection::vec((any::<Index>(), any::<bool>()), 0..300),
    ) {
        let pushed: Vec<_> = rows.iter().map(OwnedRow::pushed).collect();
        let snapshot = open(&build(options(), &pushed).unwrap().0).unwrap();
        let keys: Vec<_> = asked
            .iter()
            .map(|(index, is_known)| match *is_known && !rows.is_empty() {
                true => index.get(&rows).key(),
                false => id(index.index(1_000) as i64),
            })
            .collect();
        let keys: Vec<_> = keys.iter().map(EntityKey::as_ref).collect();
        let mut many = vec![None; 5];
        snapshot.get_many(&keys, &mut many);
        let single: Vec<_> = keys.iter().map(|key| snapshot.get(*key).map(|row| row.index())).collect();
        prop_assert_eq!(&many, &single);
        for (key, index) in keys.iter().zip(many) {
            if let Some(index) = index {
                prop_assert_eq!(snapshot.row(index).key(), *key);
            }
        }
    }
}

/// More than one block, more than one bucket bit, more than one batch of lookups.
#[test]
fn every_one_of_many_rows_is_found_and_no_other() {
    let schema = SnapshotSchema {
        view: "ids".to_owned(),
        key: vec![KeyColumn::new("id", KeyType::I64)],
        features: vec![FeatureColumn::new("double", ColumnType::I64)],
        ttl: None,
    };
    let rows: Vec<Pushed<'_>> = (0..20_000).map(|i| (id(i), i, None, vec![Value::I64(2 * i)])).collect();
    let (file, _) = build(WriteOptions::new(schema, EventTime(20_000)), &rows).unwrap();
    assert!(file.len() > 10 * 65_536);
    let snapshot = open(&file).unwrap();
    let keys: Vec<_> = (-5_000..25_000).map(id).collect();
    let keys: Vec<_> = keys.iter().map(EntityKey::as_ref).collect();
    let mut found = Vec::new();
    snapshot.get_many(&keys, &mut found);
    let capacity = found.capacity();
    for (i, index) in (-5_000..25_000).zip(&found) {
        let expected = (0..20_000).contains(&i).then_some(2 * i);
        assert_eq!(index.map(|index| snapshot.row(index).i64(0)), expected);
    }
    snapshot.get_many(&keys, &mut found);
    assert_eq!(found.capacity(), capacity);
}
