use proptest::prelude::*;
use unskew_frame::{Column, ColumnType};
use unskew_snapshot::KeyPart;

use super::*;

fn key(id: i64) -> EntityKey {
    EntityKey::new(&[KeyPart::I64(id)]).unwrap()
}

/// Events of (key, event time, known-at, value).
fn table(events: &[(Option<i64>, i64, Option<i64>, i64)], with_known_at: bool) -> (Vec<Option<EntityKey>>, Table) {
    let mut values = Column::new(ColumnType::I64);
    events.iter().for_each(|event| values.push_i64(event.3));
    let times = events.iter().map(|event| EventTime(event.1)).collect();
    let known = events.iter().map(|event| event.2.map(EventTime)).collect();
    let keys = events.iter().map(|event| event.0.map(key)).collect();
    let columns = vec![("value".to_owned(), values)];
    (keys, Table::new(columns, times, with_known_at.then_some(known)))
}

#[test]
fn an_event_is_visible_the_microsecond_after_it_or_when_it_is_known() {
    let check = |event, known, at, expected: usize| {
        let (keys, table) = table(&[(Some(1), event, known, 0)], true);
        let index = EventIndex::build(keys, &table, None);
        assert_eq!(
            index.visible(&key(1), EventTime(at)),
            expected,
            "{event} {known:?} at {at}"
        );
    };
    check(10, None, 10, 0);
    check(10, None, 11, 1);
    check(10, Some(10), 10, 0);
    check(10, Some(10), 11, 1);
    check(10, Some(20), 19, 0);
    check(10, Some(20), 20, 1);
    check(i64::MAX - 1, None, i64::MAX, 1);
    check(i64::MAX, None, i64::MAX, 0);
    check(0, Some(i64::MAX), i64::MAX, 1);
    check(i64::MIN, None, i64::MIN, 0);
    check(i64::MIN, None, i64::MIN + 1, 1);
}

#[test]
fn events_at_the_last_instant_sort_behind_those_that_become_visible_then() {
    let events = [
        (Some(1), i64::MAX, None, 0),
        (Some(1), 0, Some(i64::MAX), 1),
        (Some(1), i64::MAX - 1, None, 2),
    ];
    let (keys, table) = table(&events, true);
    let index = EventIndex::build(keys, &table, None);
    assert_eq!(index.group(&key(1)), Some([1, 2, 0].as_slice()));
    assert_eq!(index.visible(&key(1), EventTime::MAX), 2);
}

#[test]
fn an_entity_without_events_and_events_without_an_entity() {
    let events = [(None, 1, None, 0), (Some(2), 1, None, 0), (Some(1), 1, None, 0)];
    let (keys, table) = table(&events, false);
    let index = EventIndex::build(keys, &table, None);
    assert_eq!(index.group(&key(3)), None);
    assert_eq!(index.visible(&key(3), EventTime::MAX), 0);
    let keys: Vec<_> = index.groups().into_iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(keys, [key(1), key(2)]);
}

fn small_time() -> impl Strategy<Value = i64> {
    prop_oneof![8 => 0_i64..12, 1 => Just(i64::MIN), 1 => Just(i64::MAX)]
}

proptest! {
    #[test]
    fn the_visible_events_are_a_prefix_in_one_order(
        mut events in prop::collection::vec(
            (prop::option::weighted(0.9, 0_i64..3), small_time(), prop::option::of(small_time()), 0_i64..3),
            0..40,
        ),
        with_known_at: bool,
        lateness in prop::option::of(0_u64..6),
        at in prop::collection::vec(small_time(), 1..8),
    ) {
        let (keys, first) = table(&events, with_known_at);
        let lateness = lateness.map(Lateness::from_micros);
        let index = EventIndex::build(keys, &first, lateness);
        let values = |index: &EventIndex, events: &[(Option<i64>, i64, Option<i64>, i64)], id| -> Vec<_> {
            let rows = index.group(&key(id)).unwrap_or_default();
            rows.iter().map(|row| events[*row as usize]).map(|e| (e.1, e.2.filter(|_| with_known_at), e.3)).collect()
        };
        let is_too_late = |row: &usize| {
            let (_, time, known_at, _) = events[*row];
            let by = known_at.filter(|_| with_known_at).map_or(0, |known_at| i128::from(known_at) - i128::from(time));
            lateness.is_some_and(|lateness| by > i128::from(lateness.as_micros()))
        };
        for at in at.into_iter().map(EventTime) {
            let is_seen = |row: &usize| {
                let known_at = events[*row].2.filter(|_| with_known_at).map(EventTime);
                is_event_visible(EventTime(events[*row].1), known_at, at)
            };
            let late = (0..events.len()).filter(|row| events[*row].0.is_some() && is_seen(row) && is_too_late(row));
            prop_assert_eq!(index.late(at), late.count() as u64);
            for id in 0..3 {
                let visible = |row: &usize| events[*row].0 == Some(id) && is_seen(row) && !is_too_late(row);
                let mut expected: Vec<u32> = (0..events.len()).filter(visible).map(|row| row as u32).collect();
                let count = index.visible(&key(id), at);
                let mut prefix = index.group(&key(id)).unwrap_or_default()[..count].to_vec();
                expected.sort_unstable();
                prefix.sort_unstable();
                prop_assert_eq!(prefix, expected);
            }
        }
        // Whatever the order of the file, the events are in the same one.
        let before: Vec<_> = (0..3).map(|id| values(&index, &events, id)).collect();
        events.reverse();
        let (keys, second) = table(&events, with_known_at);
        let index = EventIndex::build(keys, &second, lateness);
        let after: Vec<_> = (0..3).map(|id| values(&index, &events, id)).collect();
        prop_assert_eq!(after, before);
    }
}
