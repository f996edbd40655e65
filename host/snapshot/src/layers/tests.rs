use std::collections::BTreeMap;
use std::io::Cursor;

use proptest::prelude::*;
use unskew_frame::{ColumnType, Value};

use super::*;
use crate::writer::Rows;
use crate::{EntityKey, EntityKeys, FeatureColumn, KeyColumn, KeyPart, KeyType, LateEvents, Lateness, diff};

/// The rows of a snapshot: number and text by key, which is long where the flag says so.
type Table = BTreeMap<(i64, bool), (i64, Option<String>)>;

const TYPES: [KeyType; 2] = [KeyType::I64, KeyType::String];

const LONG: &str = "a key of so many bytes that every row would be wider for it, so it has its own section of the file";

fn key((id, is_long): (i64, bool)) -> EntityKey {
    EntityKey::new(&[KeyPart::I64(id), KeyPart::String(if is_long { LONG } else { "" })]).unwrap()
}

fn options(watermark: i64) -> WriteOptions {
    let schema = SnapshotSchema {
        view: "view".to_owned(),
        key: vec![
            KeyColumn::new("id", KeyType::I64),
            KeyColumn::new("name", KeyType::String),
        ],
        features: vec![
            FeatureColumn::new("number", ColumnType::I64),
            FeatureColumn::new("text", ColumnType::String),
        ],
        ttl: None,
    };
    let mut options = WriteOptions::new(schema, EventTime(watermark));
    options.state_version = Some(7);
    options
}

fn values(row: &(i64, Option<String>)) -> [Value<'_>; 2] {
    let (number, text) = row;
    [Value::I64(*number), text.as_deref().map_or(Value::Null, Value::String)]
}

/// The bytes of a file.
fn build(options: WriteOptions, group_bytes: u64, push: impl FnOnce(&mut Rows)) -> Vec<u8> {
    let mut rows = Rows::new(Path::new("/tmp/unnamed"), options).unwrap();
    rows.max_group_bytes = group_bytes;
    push(&mut rows);
    let mut out = Cursor::new(Vec::new());
    rows.write(&mut out, &mut |_| {}).unwrap();
    out.into_inner()
}

fn whole(watermark: i64, table: &Table, group_bytes: u64) -> Vec<u8> {
    build(options(watermark), group_bytes, |rows| {
        for (at, row) in table {
            rows.push(key(*at).as_ref(), EventTime(row.0), None, &values(row))
                .unwrap();
        }
    })
}

/// A file's digest, for tests: any function of its bytes will do.
fn layer(bytes: Vec<u8>) -> Layer {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&xxhash_rust::xxh3::xxh3_64(&bytes).to_le_bytes());
    Layer::new(Arc::new(Snapshot::from_bytes(bytes).unwrap()), digest)
}

/// The delta from one table to the next, by hand.
fn delta(of: DeltaOf, watermark: i64, before: &Table, after: &Table) -> Layer {
    let options = WriteOptions {
        delta: Some(of),
        ..options(watermark)
    };
    layer(build(options, output::MAX_GROUP_BYTES, |rows| {
        for (at, row) in after.iter().filter(|(at, row)| before.get(at) != Some(row)) {
            rows.push(key(*at).as_ref(), EventTime(row.0), None, &values(row))
                .unwrap();
        }
        for at in before.keys().filter(|at| !after.contains_key(at)) {
            rows.push_removed(key(*at).as_ref()).unwrap();
        }
    }))
}

/// The layers that lead from the first table to the last.
fn layers(tables: &[Table]) -> Layers {
    let mut layers = Layers::new(layer(whole(100, &tables[0], output::MAX_GROUP_BYTES)), Vec::new()).unwrap();
    for (watermark, pair) in (101..).zip(tables.windows(2)) {
        let next = delta(layers.next_delta().unwrap(), watermark, &pair[0], &pair[1]);
        let deltas = layers.deltas().cloned().chain([next]).collect();
        layers = Layers::new(layers.base().clone(), deltas).unwrap();
    }
    layers
}

fn compacted(layers: &Layers, group_bytes: u64) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    let directory = SpillDirectory::beside(Path::new("/tmp/unnamed"), None);
    layers.write(directory, &mut out, group_bytes, &mut |_| {}).unwrap();
    out.into_inner()
}

fn tables() -> impl Strategy<Value = Vec<Table>> {
    let text = proptest::option::of(prop_oneof![8 => "[ab]{0,3}", 1 => Just("t".repeat(3_000))]);
    let table = proptest::collection::btree_map((0..80_i64, proptest::bool::weighted(0.1)), (0..3_i64, text), 0..120);
    let change = proptest::collection::vec(
        (0..80_i64, proptest::bool::weighted(0.1), proptest::option::of(0..5_i64)),
        0..40,
    );
    (table, proptest::collection::vec(change, 0..=MAX_DELTAS)).prop_map(|(first, changes)| {
        let mut tables = vec![first];
        for change in changes {
            let mut next = tables.last().unwrap().clone();
            for (id, is_long, number) in change {
                match number {
                    None => _ = next.remove(&(id, is_long)),
                    Some(number) => _ = next.insert((id, is_long), (number, Some(format!("t{number}")))),
                }
            }
            tables.push(next);
        }
        tables
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_base_with_deltas_reads_as_the_last_table_and_compacts_to_its_bytes(tables in tables()) {
        let layers = layers(&tables);
        let last = tables.last().unwrap();
        let watermark = 99 + tables.len() as i64;
        prop_assert_eq!((layers.len(), layers.watermark()), (last.len(), EventTime(watermark)));

        let mut keys = EntityKeys::default();
        for id in -20..100 {
            for is_long in [false, true] {
                keys.push(key((id, is_long)).parts(&TYPES).unwrap()).unwrap();
            }
        }
        keys.push_missing();
        let hashed: Vec<HashedKey<'_>> = (0..keys.len()).map(|index| keys.hashed(index)).collect();
        let mut found = vec![None; keys.len()];
        layers.get_into(&hashed, &mut found);
        let one = Layers::new(layer(compacted(&layers, output::MAX_GROUP_BYTES)), Vec::new()).unwrap();
        for (key, found) in hashed.iter().zip(found) {
            let bits = |row: Option<Row<'_>>| row.map(|row| (row.key().to_entity_key(), row.event_time(), format!("{:?}", row.values().collect::<Vec<_>>())));
            let single = bits(layers.get(key.key()));
            prop_assert_eq!(&bits(found.map(|index| layers.row(index))), &single);
            prop_assert_eq!(&bits(layers.find(*key).map(|index| layers.row(index))), &single);
            prop_assert_eq!(&bits(one.get(key.key())), &single);
        }
        let read: Vec<_> = layers.iter().map(|(key, row)| (key.to_entity_key(), row.event_time().as_micros())).collect();
        let mut expected: Vec<_> = last.iter().map(|(at, row)| (key(*at), row.0)).collect();
        expected.sort_by_key(|(key, _)| (key.as_ref().hash(), key.clone()));
        prop_assert_eq!(read, expected);

        for group_bytes in [output::MAX_GROUP_BYTES, 1] {
            prop_assert!(compacted(&layers, group_bytes) == whole(watermark, last, group_bytes));
        }
    }

    #[test]
    fn a_delta_of_two_snapshots_leads_from_the_one_to_the_other(tables in tables()) {
        let folder = tempfile::tempdir().unwrap();
        let Some((last, before)) = tables.split_last() else { return Ok(()) };
        if before.is_empty() {
            return Ok(());
        }
        let before = layers(before);
        let after = Layers::new(layer(whole(200, last, output::MAX_GROUP_BYTES)), Vec::new()).unwrap();
        let path = folder.path().join("delta");
        before.write_delta(&after, &path, crate::DEFAULT_MEMORY_BUDGET_BYTES).unwrap();
        let delta = layer(std::fs::read(&path).unwrap());
        let changes = diff(&before, &after, &mut |_| {}).unwrap();
        let meta = delta.snapshot.meta();
        prop_assert_eq!((meta.row_count, meta.removed_count), (changes.added + changes.changed + changes.removed, changes.removed));
        let deltas = before.deltas().cloned().chain([delta]).collect();
        let together = Layers::new(before.base().clone(), deltas).unwrap();
        let changes = diff(&together, &after, &mut |_| {}).unwrap();
        prop_assert!(changes.is_empty());
        prop_assert!(compacted(&together, output::MAX_GROUP_BYTES) == whole(200, last, output::MAX_GROUP_BYTES));
    }
}

fn table(rows: &[(i64, i64)]) -> Table {
    rows.iter()
        .map(|(id, number)| ((*id, false), (*number, None)))
        .collect()
}

#[test]
fn what_does_not_follow_is_refused_with_its_place_and_the_reason() {
    let tables = [table(&[(1, 1)]), table(&[(1, 2)]), table(&[(1, 3)])];
    let good = layers(&tables);
    let base = good.base().clone();
    let [first, second] = good.deltas().cloned().collect::<Vec<_>>().try_into().unwrap();
    let of = |options: &dyn Fn(&mut WriteOptions)| {
        let mut changed = WriteOptions {
            delta: Some(DeltaOf::first(base.digest)),
            ..self::options(101)
        };
        options(&mut changed);
        layer(build(changed, output::MAX_GROUP_BYTES, |_| {}))
    };
    let other_base = layers(&[table(&[(7, 7)]), table(&[(7, 8)])]);
    let other_base = other_base.deltas().next().unwrap().clone();
    let cases = [
        (vec![second.clone()], 1, "it is delta 2 and follows sha256:"),
        (
            vec![first.clone(), first.clone()],
            2,
            "it is delta 1 and follows sha256:",
        ),
        (
            vec![second.clone(), first.clone()],
            1,
            "it is delta 2 and follows sha256:",
        ),
        (vec![other_base], 1, "it is a delta of the snapshot sha256:"),
        (vec![base.clone()], 1, "it is a whole snapshot, not a delta"),
        (
            vec![of(&|o| o.schema.view = "other".to_owned())],
            1,
            "it is of view `other`, or of other columns",
        ),
        (
            vec![of(&|o| _ = o.schema.features.pop())],
            1,
            "it is of view `view`, or of other columns",
        ),
        (
            vec![of(&|o| o.module_digest = Some([1; 32]))],
            1,
            "its rows are of another version of the module",
        ),
        (
            vec![of(&|o| o.state_version = None)],
            1,
            "its rows are of another version of the module",
        ),
        (
            vec![of(&|o| o.late = late(5, 0))],
            1,
            "it was made with a lateness of 5us, the one before it with no lateness",
        ),
        (
            vec![of(&|o| o.watermark = EventTime(99))],
            1,
            "its watermark, 1970-01-01T00:00:00.000099Z, is before",
        ),
    ];
    for (deltas, place, flaw) in cases {
        let error = Layers::new(base.clone(), deltas).unwrap_err();
        assert!(
            error.to_string().starts_with(flaw) && error.layer() == place,
            "{error} at {}, not {flaw}",
            error.layer()
        );
    }
    let error = Layers::of(first.snapshot).unwrap_err();
    assert_eq!((error.layer(), error.flaw()), (0, &LayerFlaw::NotABase));
}

fn late(lateness: u64, count: u64) -> Option<LateEvents> {
    let lateness = Lateness::from_micros(lateness);
    Some(LateEvents { lateness, count })
}

/// What a snapshot leaves out is what its files leave out together, however they are made and compacted.
#[test]
fn late_events_are_counted_through_all_files() {
    let of = |watermark: i64, delta, count| {
        let options = WriteOptions {
            delta,
            late: late(5, count),
            ..options(watermark)
        };
        build(options, output::MAX_GROUP_BYTES, |_| {})
    };
    let base = layer(of(100, None, 3));
    let delta = layer(of(101, Some(DeltaOf::first(base.digest)), 4));
    let layers = Layers::new(base, vec![delta]).unwrap();
    assert_eq!(layers.late(), late(5, 7));
    assert!(compacted(&layers, output::MAX_GROUP_BYTES) == of(101, None, 7));

    let after = Layers::new(layer(of(102, None, 9)), Vec::new()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("delta");
    let written = layers.write_delta(&after, &path, 1 << 30).unwrap();
    assert_eq!(
        (written.late, Snapshot::open(&path).unwrap().meta().late),
        (late(5, 2), late(5, 2))
    );
}

#[test]
fn a_base_has_so_many_deltas_and_no_more() {
    let tables: Vec<Table> = (0..=MAX_DELTAS as i64).map(|number| table(&[(1, number)])).collect();
    let full = layers(&tables);
    assert_eq!((full.deltas().len(), full.next_delta()), (MAX_DELTAS, None));
    let after = Layers::new(layer(whole(200, &tables[0], output::MAX_GROUP_BYTES)), Vec::new()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let error = full
        .write_delta(&after, &folder.path().join("delta"), 1 << 30)
        .unwrap_err();
    assert!(error.to_string().contains("at most 8 deltas"), "{error}");
    assert!(full.filter_bytes() < 200, "{}", full.filter_bytes());
}
