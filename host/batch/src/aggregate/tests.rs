use proptest::prelude::*;
use unskew::{CallLimits, Module};
use unskew_frame::Value;
use unskew_snapshot::{KeyPart, MICROS_PER_HOUR};

use super::*;
use crate::asof::Sight;
use crate::ctr_history::modules;

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
        index: EventIndex::build(keys.to_vec(), table),
        columns: table.columns().iter().collect(),
        call_rows,
    }
}

/// Outputs and statuses of queries, asked `call_rows` at a time.
fn read(events: &[Event], queries: &[Query], freeze_at: Option<i64>, call_rows: usize) -> (Vec<Column>, Vec<Status>) {
    let (keys, table) = table(events);
    let log = log(&keys, &table, call_rows);
    let query_keys: Vec<Option<EntityKey>> = queries.iter().map(|(entity, _)| entity.map(key)).collect();
    let times: Vec<EventTime> = queries.iter().map(|(_, time)| EventTime(time * HALF_HOUR)).collect();
    let prior = Column::scalar(ColumnType::F64, Value::F64(0.25)).unwrap();
    // One weight a row: a query must keep its own inputs wherever it lands.
    let mut weight = Column::new(ColumnType::F64);
    (0..queries.len()).for_each(|row| weight.push_f64(row as f64 + 1.0));
    let queries = Queries {
        keys: &query_keys,
        times: &times,
        sight: Sight {
            freeze_at: freeze_at.map(|at| EventTime(at * HALF_HOUR)),
            lag_us: 0,
        },
        inputs: &[&prior, &weight],
        states: &States::new(),
    };
    let types: Vec<ColumnType> = module()
        .descriptor()
        .outputs
        .iter()
        .map(|output| output.column_type)
        .collect();
    let rows: Vec<u32> = (0..queries.keys.len() as u32).collect();
    let (done, order) = read_history(&log, &queries, &rows, &mut instance(), &types).unwrap();
    let place = |row: &u32| order.iter().position(|query| query == row).unwrap();
    let in_order = |(column_type, done): (&ColumnType, &Column)| {
        let mut column = Column::new(*column_type);
        rows.iter()
            .map(place)
            .for_each(|place| column.extend_from(done.view(), place..place + 1));
        column
    };
    let outputs = types.iter().zip(&done).map(in_order).collect();
    (outputs, queries.statuses(&log))
}

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
    let at_once = read(&events, &queries, None, MAX_CALL_ROWS);
    let impressions_7d = |row: usize| at_once.0[6].value(row);
    assert_eq!(
        impressions_7d(0),
        Value::I64(700),
        "all of them are visible at 299 half hours, and within 7 days"
    );
    assert_eq!(impressions_7d(299), Value::I64(0));
    let states = fold(&events, 200, MAX_CALL_ROWS);
    assert_eq!(states.len(), 2);
    for call_rows in [1, 7, 64, 699, 700, 701] {
        assert!(
            read(&events, &queries, None, call_rows) == at_once,
            "{call_rows} rows a call"
        );
        assert_eq!(fold(&events, 200, call_rows), states, "{call_rows} rows a call");
    }
}

#[test]
fn nothing_gives_nothing() {
    let (outputs, statuses) = read(&[(1, 1, None, None)], &[], None, 8);
    assert!(outputs.iter().all(|output| output.rows() == 0) && statuses.is_empty());
    assert_eq!(
        fold(&[(1, 5, None, None)], 5, 8),
        [],
        "an event at the watermark is not before it"
    );
    assert_eq!(fold(&[], 5, 8), []);
    let (outputs, statuses) = read(&[], &[(Some(1), 1), (None, 1)], None, 8);
    assert_eq!(statuses, [Status::NotFound; 2]);
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
    ) {
        let at_once = read(&events, &queries, freeze_at, MAX_CALL_ROWS);
        let in_calls = read(&events, &queries, freeze_at, call_rows);
        prop_assert!(in_calls == at_once);
        prop_assert_eq!(fold(&events, 200, call_rows), fold(&events, 200, MAX_CALL_ROWS));
    }
}
