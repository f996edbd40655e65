mod hot;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use proptest::prelude::*;
use unskew::{CallLimits, Kind, Module};
use unskew_frame::Value;
use unskew_snapshot::{KeyPart, MICROS_PER_HOUR, is_event_visible};

use super::*;
use crate::asof::{Moments, Sight, Versions};
use crate::ctr_history::modules;
use crate::words::{KeyColumns, KeyWords};

fn module() -> &'static Module {
    &modules()["ctr-history"]
}

fn instance() -> Instance {
    module().instantiate(CallLimits::BATCH).unwrap()
}

fn key(id: i64) -> EntityKey {
    EntityKey::new(&[KeyPart::I64(id)]).unwrap()
}

/// Events of (entity, half hours, late by half hours, clicked).
type Event = (i64, i64, Option<i64>, Option<bool>);
/// Queries of (entity, half hours).
type Query = (Option<i64>, i64);

const HALF_HOUR: i64 = MICROS_PER_HOUR / 2;

fn table(events: &[Event]) -> (Vec<Option<EntityKey>>, Table) {
    let mut clicked = Column::new(ColumnType::Bool);
    let (mut times, mut known_at, mut keys) = (Vec::new(), Vec::new(), Vec::new());
    for (entity, time, late, click) in events {
        clicked.push(click.map_or(Value::Null, Value::Bool)).unwrap();
        times.push(EventTime(time * HALF_HOUR));
        known_at.push(late.map(|late| EventTime((time + late) * HALF_HOUR)));
        keys.push(Some(key(*entity)));
    }
    (
        keys,
        Table::new(vec![("clicked".to_owned(), clicked)], times, Some(known_at)),
    )
}

fn log<'a>(keys: &[Option<EntityKey>], table: &'a Table, call_rows: usize) -> EventLog<'a> {
    EventLog {
        table,
        index: EventIndex::build(keys.to_vec(), table, None),
        columns: table.columns().iter().collect(),
        call_rows,
    }
}

/// Keys as a column of them, and their words.
fn words(keys: impl Iterator<Item = Option<i64>>) -> (Vec<ArrayRef>, KeyWords) {
    let keys: Int64Array = keys.collect();
    let rows = keys.len();
    let columns: Vec<ArrayRef> = vec![Arc::new(keys)];
    let words = KeyWords::lenient(&columns, rows);
    (columns, words)
}

/// Sorts out events and queries.
fn entities(events: &[Event], queries: &[Query], freeze_at: Option<i64>) -> Entities {
    let (keys, event_words) = words(events.iter().map(|event| Some(event.0)));
    let (query_keys, query_words) = words(queries.iter().map(|query| query.0));
    let event_time: Vec<i64> = events.iter().map(|event| event.1 * HALF_HOUR).collect();
    let known_at = |row: u32| {
        let event = &events[row as usize];
        event.2.map(|late| EventTime((event.1 + late) * HALF_HOUR))
    };
    let versions = Versions {
        words: &event_words,
        keys: KeyColumns::new(&keys),
        event_time: &event_time,
        known_at: Some(&known_at),
        encode: &|row, out| out.push(events[row as usize].3.map_or(2, u8::from)),
        carried: &[],
    };
    let times: Vec<i64> = queries.iter().map(|query| query.1 * HALF_HOUR).collect();
    let moments = Moments {
        words: &query_words,
        keys: KeyColumns::new(&query_keys),
        times: &times,
        sight: Sight {
            freeze_at: freeze_at.map(|at| EventTime(at * HALF_HOUR)),
            lag_us: 0,
        },
        ttl: None,
    };
    Entities::new(&versions, &moments, false)
}

/// Outputs of queries in their order, asked so many rows at a time.
fn read(events: &[Event], queries: &[Query], freeze_at: Option<i64>, limits: CallRows) -> Vec<Column> {
    read_within(events, queries, freeze_at, limits, reach()).0
}

/// That of the module's windows.
fn reach() -> Reach {
    match &module().descriptor().kind {
        Kind::Aggregate(aggregation) => Reach::of(&aggregation.windows),
        Kind::Row => unreachable!("ctr-history is an aggregate"),
    }
}

/// The outputs, and how many events were sent to calls to be read or folded.
fn read_within(
    events: &[Event],
    queries: &[Query],
    freeze_at: Option<i64>,
    limits: CallRows,
    reach: Reach,
) -> (Vec<Column>, usize) {
    let entities = entities(events, queries, freeze_at);
    let (mut event_times, mut clicked) = (Column::new(ColumnType::Timestamp), Column::new(ColumnType::Bool));
    for row in &entities.events {
        let (_, time, _, click) = events[*row as usize];
        event_times.push_timestamp(time * HALF_HOUR);
        clicked.push(click.map_or(Value::Null, Value::Bool)).unwrap();
    }
    // One weight a row: a query must keep its own inputs wherever it lands.
    let (mut times, mut weight) = (Column::new(ColumnType::Timestamp), Column::new(ColumnType::F64));
    for row in &entities.queries {
        times.push_timestamp(queries[*row as usize].1 * HALF_HOUR);
        weight.push_f64(f64::from(*row) + 1.0);
    }
    let prior = Column::scalar(ColumnType::F64, Value::F64(0.25)).unwrap();
    let questions = Questions {
        entities: &entities,
        events: &[event_times, clicked],
        queries: &[times, prior, weight],
        states: &[],
        reach,
        limits,
    };
    let types = module().descriptor().outputs.iter().map(|output| output.column_type);
    let mut done: Vec<Column> = types.clone().map(Column::new).collect();
    let (mut asking, mut instance) = (Asking::new(&questions), instance());
    let mut first = 0;
    while first < queries.len() {
        let asked = asking.ask(&mut instance, first..queries.len(), &mut done);
        asked.result.unwrap();
        assert!(asked.queries > 0, "a call takes a query at least");
        first += asked.queries;
    }
    let place = |row: usize| {
        entities
            .queries
            .iter()
            .position(|query| *query as usize == row)
            .unwrap()
    };
    let in_order = |(column_type, done): (ColumnType, &Column)| {
        let mut column = Column::new(column_type);
        (0..queries.len())
            .map(place)
            .for_each(|place| column.extend_from(done.view(), place..place + 1));
        column
    };
    (types.zip(&done).map(in_order).collect(), asking.events_sent)
}

/// All in one call.
const AT_ONCE: CallRows = CallRows {
    rows: MAX_CALL_ROWS,
    events: MAX_CALL_ROWS,
    hot_events: MAX_CALL_ROWS,
    hot_queries: MAX_CALL_ROWS,
};

fn fold(events: &[Event], watermark: i64, call_rows: usize) -> Vec<(EntityKey, EventTime, Vec<u8>)> {
    let (keys, table) = table(events);
    let log = log(&keys, &table, call_rows);
    let mut states = Vec::new();
    let watermark = EventTime(watermark * HALF_HOUR);
    let each = |key: &EntityKey, last, state: &[u8]| {
        states.push((key.clone(), last, state.to_vec()));
        Ok(())
    };
    fold_states(&log, watermark, &mut instance(), each).unwrap();
    states
}

/// One entity has 700 events and another a few; calls of 1, 7 and 64 rows give what one call gives.
#[test]
fn an_entity_that_is_too_hot_for_a_call_is_folded_on_the_way() {
    let mut events: Vec<Event> = (0..700).map(|n| (1, n / 3, None, Some(n % 4 == 0))).collect();
    events.extend((0..5).map(|n| (2, n * 40, Some(3), None)));
    let mut queries: Vec<Query> = (0..300).rev().map(|n| (Some(1), n)).collect();
    queries.extend([
        (Some(2), 90),
        (None, 10),
        (Some(3), 10),
        (Some(1), 500),
        (Some(1), 500),
        (Some(2), 0),
    ]);
    let at_once = read(&events, &queries, None, AT_ONCE);
    let impressions_7d = |row: usize| at_once[6].value(row);
    assert_eq!(
        impressions_7d(0),
        Value::I64(700),
        "all of them are visible at 299 half hours, and within 7 days"
    );
    assert_eq!(impressions_7d(299), Value::I64(0));
    let states = fold(&events, 200, MAX_CALL_ROWS);
    assert_eq!(states.len(), 2);
    for call_rows in [1, 7, 64, 699, 700, 701] {
        for (events_of_one, hot_queries) in [(call_rows, call_rows), (3 * call_rows, 5), (1_000, 1)] {
            let limits = CallRows {
                rows: call_rows,
                events: events_of_one,
                hot_events: 2 * events_of_one,
                hot_queries,
            };
            assert!(read(&events, &queries, None, limits) == at_once, "{limits:?}");
        }
        assert_eq!(fold(&events, 200, call_rows), states, "{call_rows} rows a call");
    }
}

/// Work is counted, not timed: an event of a hot entity goes to few calls however many there are, and one that no window of the
/// queries reaches goes to none.
#[test]
fn a_hot_entity_is_asked_in_linear_work() {
    const EVENTS: i64 = 3_000;
    // One a half hour, with a query behind each: 338 of them are within a week and an hour.
    let events: Vec<Event> = (0..EVENTS).map(|n| (1, n, None, Some(n % 4 == 0))).collect();
    let queries: Vec<Query> = (0..EVENTS).map(|n| (Some(1), n + 1)).collect();
    let last = (0..5).map(|n| (Some(1), EVENTS + n)).collect::<Vec<Query>>();
    let at_once = read(&events, &queries, None, AT_ONCE);
    for has_exact_tail in [false, true] {
        let reach = Reach {
            has_exact_tail,
            ..reach()
        };
        for (events_of_one, hot_events, times) in [(100, 400, 9), (700, 1_400, 4), (1_400, 1_400, 4)] {
            let limits = CallRows {
                rows: 50,
                events: events_of_one,
                hot_events,
                hot_queries: 1_000,
            };
            let (answers, sent) = read_within(&events, &queries, None, limits, reach);
            assert!(answers == at_once, "{limits:?}");
            let most = times * EVENTS as usize;
            assert!(
                sent <= most,
                "{sent} events were sent, more than {most}: {limits:?}, {reach:?}"
            );
            let (_, sent) = read_within(&events, &last, None, limits, reach);
            assert!(
                sent < 2 * 338,
                "{sent} events were sent for the last queries: {limits:?}, {reach:?}"
            );
        }
    }
}

#[test]
fn nothing_gives_nothing() {
    let outputs = read(&[(1, 1, None, None)], &[], None, AT_ONCE);
    assert!(outputs.iter().all(|output| output.rows() == 0));
    assert_eq!(
        fold(&[(1, 5, None, None)], 5, 8),
        [],
        "an event at the watermark is not before it"
    );
    assert_eq!(fold(&[], 5, 8), []);
    let outputs = read(&[], &[(Some(1), 1), (None, 1)], None, AT_ONCE);
    assert_eq!(outputs[0].value(1), Value::I64(0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_size_of_a_call_changes_nothing(
        events in proptest::collection::vec(
            (0_i64..3, -40_i64..400, proptest::option::of(0_i64..100), any::<Option<bool>>()),
            0..120,
        ),
        queries in proptest::collection::vec((proptest::option::weighted(0.9, 0_i64..4), -50_i64..500), 0..60),
        freeze_at in proptest::option::of(0_i64..400),
        call_rows in 1_usize..40,
        events_of_one in 1_usize..80,
        hot_events in 1_usize..200,
        hot_queries in 1_usize..20,
        has_exact_tail in any::<bool>(),
    ) {
        let at_once = read(&events, &queries, freeze_at, AT_ONCE);
        let limits = CallRows { rows: call_rows, events: events_of_one, hot_events, hot_queries };
        // That tails are exact changes what goes to a call, and never an answer.
        let reach = Reach { has_exact_tail, ..reach() };
        let in_calls = read_within(&events, &queries, freeze_at, limits, reach).0;
        prop_assert!(in_calls == at_once);
        prop_assert_eq!(fold(&events, 200, call_rows), fold(&events, 200, MAX_CALL_ROWS));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Against a twin that asks of every query and every event whether the one sees the other.
    #[test]
    fn a_query_sees_the_events_of_its_entity_that_are_known_before_it(
        events in proptest::collection::vec(
            (0_i64..3, -4_i64..12, proptest::option::of(0_i64..6), any::<Option<bool>>()),
            0..30,
        ),
        queries in proptest::collection::vec((proptest::option::weighted(0.9, 0_i64..4), -5_i64..20), 0..20),
        freeze_at in proptest::option::of(0_i64..15),
    ) {
        let entities = entities(&events, &queries, freeze_at);
        let mut asked: Vec<u32> = entities.queries.clone();
        asked.sort_unstable();
        prop_assert_eq!(asked, (0..queries.len() as u32).collect::<Vec<_>>());
        for (place, row) in entities.queries.iter().enumerate() {
            let (key, time) = queries[*row as usize];
            let at = EventTime(freeze_at.map_or(time, |freeze_at| freeze_at.min(time)) * HALF_HOUR);
            let sees = |(row, event): (usize, &Event)| {
                let known_at = event.2.map(|late| EventTime((event.1 + late) * HALF_HOUR));
                let is_seen = is_event_visible(EventTime(event.1 * HALF_HOUR), known_at, at);
                (Some(event.0) == key && is_seen).then_some(row as u32)
            };
            let mut expected: Vec<u32> = events.iter().enumerate().filter_map(sees).collect();
            let entity = &entities.entities[entities.of_query(place)];
            prop_assert!(entity.queries.contains(&place) && entity.has_key == key.is_some());
            let seen = entity.events.start..entity.events.start + entities.visible[place] as usize;
            prop_assert!(seen.end <= entity.events.end);
            let mut seen = entities.events[seen].to_vec();
            seen.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(seen, expected);
        }
    }
}
