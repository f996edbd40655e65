use std::sync::OnceLock;

use proptest::prelude::*;
use unskew_frame::{ColumnType, Value};
use unskew_snapshot::{
    FeatureColumn, KeyColumn, KeyPart, KeyType, SnapshotSchema, SnapshotWriter, WriteOptions, encode_row, is_visible,
};

use super::*;
use crate::catalog::{EntityColumn, Field};
use crate::fresh::event::EventSchema;

const WATERMARK: i64 = 10;

fn schema(is_aggregate: bool) -> Arc<EventSchema> {
    Arc::new(EventSchema {
        view: "view".to_owned(),
        is_aggregate,
        keys: vec![EntityColumn {
            name: "key".to_owned(),
            key_type: KeyType::I64,
        }],
        columns: vec![Field {
            name: "value".to_owned(),
            column_type: ColumnType::I64,
            nullable: true,
        }],
    })
}

fn key() -> EntityKey {
    EntityKey::new(&[KeyPart::I64(1)]).unwrap()
}

fn event(schema: &Arc<EventSchema>, time: i64, known_at: Option<i64>, value: i64) -> Arc<Event> {
    let mut row = Vec::new();
    encode_row(&[Value::I64(value)], &mut row);
    Arc::new(Event {
        schema: Arc::clone(schema),
        key: key(),
        event_time: EventTime(time),
        known_at: known_at.map(EventTime),
        row: row.into(),
    })
}

/// A snapshot of the greatest of these versions at the watermark.
fn snapshot(events: &[Arc<Event>]) -> Snapshot {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("view.snapshot");
    let schema = SnapshotSchema {
        view: "view".into(),
        key: vec![KeyColumn::new("key", KeyType::I64)],
        features: vec![FeatureColumn::new("value", ColumnType::I64)],
        ttl: None,
    };
    let mut writer = SnapshotWriter::create(&path, WriteOptions::new(schema, EventTime(WATERMARK))).unwrap();
    if let Some(event) = greatest(events, WATERMARK) {
        writer
            .push(key().as_ref(), event.event_time, event.known_at, &[value(event)])
            .unwrap();
    }
    writer.finish().unwrap();
    Snapshot::open(&path).unwrap()
}

fn value(event: &Event) -> Value<'static> {
    let mut columns = event.schema.value_columns();
    event.append_to(&mut columns);
    match columns[0].value(0) {
        Value::I64(value) => Value::I64(value),
        _ => Value::Null,
    }
}

/// The as-of rule, in a loop over everything.
fn greatest(events: &[Arc<Event>], at: i64) -> Option<&Event> {
    let visible = events
        .iter()
        .filter(|event| is_visible(event.event_time, event.known_at, EventTime(at)));
    visible
        .map(|event| &**event)
        .max_by(|a, b| compare_versions(&a.version(), &b.version()))
}

fn add(entry: &mut Entry, event: &Arc<Event>, snapshot: &Snapshot) {
    let row = || DetachedRow::new(snapshot, event.key.as_ref(), event.event_time, &[value(event)]);
    let in_snapshot = snapshot.get(event.key.as_ref());
    add_version(&mut entry.steps, &mut entry.is_cut, event, in_snapshot, row).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// At every time after the watermark, in whatever order versions come, the greatest that is visible is the answer.
    #[test]
    fn versions_answer_as_the_as_of_rule(
        rows in prop::collection::vec((0..30_i64, prop::option::of(0..30_i64), 0..3_i64), 0..MAX_STEPS),
    ) {
        let schema = schema(false);
        let events: Vec<_> = rows.iter().map(|(time, known_at, value)| event(&schema, *time, *known_at, *value)).collect();
        let snapshot = snapshot(&events);
        let mut entry = Entry::new(&key());
        for event in events.iter().filter(|event| !event.is_within(EventTime(WATERMARK))) {
            add(&mut entry, event, &snapshot);
        }
        prop_assert!(!entry.is_cut);
        for at in WATERMARK..32 {
            let row = match entry.clone().sealed().answer(EventTime(at)) {
                Answer::Snapshot => snapshot.get(key().as_ref()),
                Answer::Step(step) => Some(entry.row(step, &snapshot)),
                other => panic!("{other:?}"),
            };
            let expected = greatest(&events, at).map(|event| (event.event_time, value(event)));
            prop_assert_eq!(row.map(|row| (row.event_time(), row.value(0))), expected, "at {}", at);
        }
    }

    /// With more versions than are kept, reads are answered right or told that they come too late.
    #[test]
    fn what_is_not_kept_is_not_guessed(
        rows in prop::collection::vec((0..200_i64, prop::option::of(0..200_i64), 0..3_i64), 0..6 * MAX_STEPS),
    ) {
        let schema = schema(false);
        let events: Vec<_> = rows.iter().map(|(time, known_at, value)| event(&schema, *time, *known_at, *value)).collect();
        let snapshot = snapshot(&events);
        let mut entry = Entry::new(&key());
        for event in events.iter().filter(|event| !event.is_within(EventTime(WATERMARK))) {
            add(&mut entry, event, &snapshot);
        }
        prop_assert!(entry.steps.len() <= MAX_STEPS);
        let mut is_kept = false;
        for at in WATERMARK..202 {
            let row = match entry.clone().sealed().answer(EventTime(at)) {
                Answer::Future => {
                    prop_assert!(entry.is_cut && !is_kept);
                    continue;
                }
                Answer::Step(step) => Some(entry.row(step, &snapshot)),
                Answer::Snapshot => snapshot.get(key().as_ref()),
                other => panic!("{other:?}"),
            };
            is_kept = true;
            let expected = greatest(&events, at).map(|event| (event.event_time, value(event)));
            prop_assert_eq!(row.map(|row| (row.event_time(), row.value(0))), expected, "at {}", at);
        }
    }

    /// What is settled and what is pending are together what was added, and pending is what the settled state has not.
    #[test]
    fn pending_events_are_settled_in_their_order(
        pushes in prop::collection::vec(prop::collection::vec(0..200_i64, 1..40), 1..6),
    ) {
        static EMPTY: OnceLock<Snapshot> = OnceLock::new();
        let schema = schema(true);
        let snapshot = EMPTY.get_or_init(|| snapshot(&[]));
        let mut entry = Entry::new(&key());
        let (mut all, mut settled): (Vec<Arc<Event>>, Vec<Arc<Event>>) = Default::default();
        for push in pushes {
            let added: Vec<_> = push.iter().map(|time| event(&schema, *time, None, 0)).collect();
            all.extend(added.clone());
            let to_settle = entry.add_pending(&added);
            settled.extend(to_settle.clone());
            let row = || DetachedRow::new(snapshot, key().as_ref(), EventTime(0), &[Value::Null]).unwrap();
            let step = |events: &[Arc<Event>]| {
                let from = events.iter().map(|event| event.visible_from()).max().unwrap();
                Step::of_state(from, row())
            };
            entry.set_newest(step(&all));
            if !to_settle.is_empty() {
                entry.set_settled(step(&settled));
            }
            prop_assert!(entry.pending.len() <= MAX_PENDING);
            prop_assert_eq!(entry.pending.len() + settled.len(), all.len());
            prop_assert!(entry.pending.is_sorted_by_key(|event| event.visible_from()));
            for at in (0..202).step_by(3).map(EventTime) {
                let seen = |events: &[Arc<Event>]| events.iter().filter(|event| event.visible_from() <= at).count();
                let (expected, of_settled) = (seen(&all), seen(&settled));
                let is_kept = settled.is_empty() || of_settled == settled.len();
                let found = match entry.clone().sealed().answer(at) {
                    Answer::Snapshot => 0,
                    Answer::Step(step) if step + 1 == entry.steps.len() => all.len(),
                    Answer::Step(_) => settled.len(),
                    Answer::Late { step, events } => events + step.map_or(0, |_| settled.len()),
                    Answer::Future => {
                        prop_assert!(!is_kept);
                        continue;
                    }
                    Answer::Failed => panic!("nothing failed"),
                };
                prop_assert_eq!(found, expected);
            }
        }
    }
}
