use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take};
use unskew::{EvaluateError, Instance, Instances, ViewRead};
use unskew_frame::{Column, ColumnType};
use unskew_snapshot::{EntityKey, EventTime, Status, encode_row};

use super::Engine;
use super::history::{History, time_at};
use super::join::column;
use super::result::PartitionRows;
use super::scatter::too_large;
use super::spine_columns::SpineColumns;
use crate::aggregate::{Asked, Asking, CallRows, Entities, Questions, fold_range};
use crate::array::{column_to_array, value_at};
use crate::asof::{Moments, NO_ROW, Versions};
use crate::backfill::BackfillError;
use crate::words::{KeyColumns, KeyWords};

pub(super) use crate::aggregate::States;

/// What is joined: the rows of the spine and the events of one part.
pub(super) struct Events<'a> {
    pub history: &'a History,
    pub columns: &'a SpineColumns,
    pub spine: &'a RecordBatch,
    pub source: Vec<RecordBatch>,
    /// Whether there are no later events.
    pub is_last: bool,
}

/// Runs the aggregate of a view on the events and the queries of a part. `states` is what earlier parts know of entities.
///
/// Where the module fails on some queries it is called again with half of them, down to the one that it fails on: that row has
/// no values.
pub(super) fn join_events(
    engine: &Engine<'_>,
    instances: &mut Instances,
    states: &mut States,
    events: Events<'_>,
) -> Result<PartitionRows, BackfillError> {
    let Events {
        history,
        columns,
        spine,
        source,
        is_last,
    } = events;
    let (ViewRead::Aggregate { inputs, .. }, Some(instance)) = (&history.step.read, instances.view(history.view))
    else {
        return Err(BackfillError::View {
            view: history.step.view.clone(),
            reason: "its module has no instance".to_owned(),
        });
    };
    let events = concat_batches(history.schema(), &source).map_err(too_large)?;
    drop(source);
    let entities = sort_out(engine, history, columns, spine, &events, !is_last);
    let key_of = |entity: usize| key_of(&entities, entity, columns.keys(spine), history.keys(&events));
    let known: Vec<Option<Result<Vec<u8>, String>>> = match states.is_empty() {
        true => Vec::new(),
        false => {
            let state = |entity| states.get(&key_of(entity)?).cloned();
            (0..entities.entities.len()).map(state).collect()
        }
    };
    let sorted_events = sorted_events(history, &events, &entities.events)?;
    let questions = Questions {
        entities: &entities,
        reach: columns.reach,
        limits: CallRows::of(&sorted_events, engine.budget.instance_bytes()),
        events: &sorted_events,
        queries: &sorted_queries(engine, columns, spine, inputs, &entities.queries)?,
        states: &known,
    };
    let mut reading = Reading {
        engine,
        questions: &questions,
        asking: Asking::new(&questions),
        done: (columns.result_types.iter())
            .map(|column_type| Column::new(*column_type))
            .collect(),
        order: Vec::with_capacity(entities.queries.len()),
        failed: Vec::new(),
    };
    reading.read_all(instance, history, &key_of)?;
    let Reading {
        done, order, failed, ..
    } = reading;

    let mut statuses = vec![Status::NotFound; spine.num_rows()];
    let mut places = vec![(NO_ROW, 0); spine.num_rows()];
    for (index, entity) in entities.entities.iter().enumerate() {
        let is_known = known.get(index).is_some_and(Option::is_some);
        for query in entity.queries.clone() {
            if is_known || entities.visible[query] > 0 {
                statuses[entities.queries[query] as usize] = Status::Present;
            }
        }
    }
    for (place, query) in (0..).zip(&order) {
        places[entities.queries[*query as usize] as usize] = (0, place);
    }
    let numbers = columns.row_numbers(spine);
    let mut quarantined = Vec::with_capacity(failed.len());
    for (query, reason) in failed {
        let row = entities.queries[query] as usize;
        statuses[row] = Status::Failed;
        let value = |(slot, array): (&usize, &ArrayRef)| (*slot, array.slice(row, 1));
        let key: Vec<(usize, ArrayRef)> = columns.key_slots().iter().zip(columns.keys(spine)).map(value).collect();
        quarantined.push(engine.quarantined(
            numbers[row],
            EventTime(columns.times(spine)[row]),
            &key,
            (&history.step.view, instance.module_name()),
            reason,
        ));
    }
    if !is_last {
        carry_states(&questions, states, instance, key_of);
    }
    Ok(PartitionRows {
        statuses,
        places,
        pieces: vec![done.iter().map(|column| column_to_array(column, order.len())).collect()],
        ties: 0,
        quarantined,
    })
}

fn sort_out(
    engine: &Engine<'_>,
    history: &History,
    columns: &SpineColumns,
    spine: &RecordBatch,
    events: &RecordBatch,
    wants_all: bool,
) -> Entities {
    let known_at = history.known_at(events);
    let known_at = known_at.map(|array| move |row: u32| time_at(array, row as usize));
    let encode = |row: u32, out: &mut Vec<u8>| {
        for (array, column_type) in events.columns().iter().zip(&history.types) {
            encode_row(&[value_at(array, *column_type, row as usize)], out);
        }
    };
    let versions = Versions {
        words: &KeyWords::lenient(history.keys(events), events.num_rows()),
        keys: KeyColumns::new(history.keys(events)),
        event_time: history.event_time(events),
        known_at: known_at
            .as_ref()
            .map(|known_at| known_at as &dyn Fn(u32) -> Option<EventTime>),
        encode: &encode,
        carried: &[],
    };
    let moments = Moments {
        words: &KeyWords::lenient(columns.keys(spine), spine.num_rows()),
        keys: KeyColumns::new(columns.keys(spine)),
        times: columns.times(spine),
        sight: engine.options.sight(),
        ttl: None,
    };
    Entities::new(&versions, &moments, wants_all)
}

fn key_of(entities: &Entities, entity: usize, spine: &[ArrayRef], events: &[ArrayRef]) -> Option<EntityKey> {
    let entity = entities.entities.get(entity).filter(|entity| entity.has_key)?;
    let (columns, row) = match entities.queries.get(entity.queries.clone())?.first() {
        Some(row) => (spine, *row),
        None => (events, *entities.events.get(entity.events.start)?),
    };
    let mut key = EntityKey::default();
    KeyColumns::new(columns).encode(row as usize, &mut key).ok()?;
    Some(key)
}

/// The times of these events, then the columns of the module's events.
fn sorted_events(history: &History, events: &RecordBatch, rows: &[u32]) -> Result<Vec<Column>, BackfillError> {
    let rows = UInt32Array::from(rows.to_vec());
    let sorted = |index: usize, column_type: ColumnType| {
        let sorted = take(events.column(index), &rows, None).map_err(too_large)?;
        column(&sorted, column_type)
    };
    let event_time = history.types.len();
    let mut columns = vec![sorted(event_time, ColumnType::Timestamp)?];
    for index in history.key_columns..event_time {
        columns.push(sorted(index, history.types[index])?);
    }
    Ok(columns)
}

/// The times of these queries, then their inputs; a constant is a scalar.
fn sorted_queries(
    engine: &Engine<'_>,
    columns: &SpineColumns,
    spine: &RecordBatch,
    inputs: &[usize],
    rows: &[u32],
) -> Result<Vec<Column>, BackfillError> {
    let mut at = Column::new(ColumnType::Timestamp);
    for row in rows {
        at.push_timestamp(columns.times(spine)[*row as usize]);
    }
    let order = UInt32Array::from(rows.to_vec());
    let input = |slot: &usize| {
        let definition = &engine.plan.slots[*slot];
        match (
            &definition.constant,
            columns.inputs.iter().position(|known| known == slot),
        ) {
            (Some(constant), _) => Ok(constant.clone()),
            (None, Some(index)) => {
                let sorted = take(columns.input(spine, index), &order, None).map_err(too_large)?;
                column(&sorted, definition.column_type)
            }
            (None, None) => Ok(Column::new(definition.column_type)),
        }
    };
    let inputs: Result<Vec<Column>, BackfillError> = inputs.iter().map(input).collect();
    Ok(std::iter::once(at).chain(inputs?).collect())
}

/// Adds all events to what is known of their entities, for a part of later events.
fn carry_states(
    questions: &Questions<'_>,
    states: &mut States,
    instance: &mut Instance,
    key_of: impl Fn(usize) -> Option<EntityKey>,
) {
    for (index, entity) in questions.entities.entities.iter().enumerate() {
        let Some(key) = key_of(index).filter(|_| !entity.events.is_empty()) else {
            continue;
        };
        let mut state = match states.get(&key) {
            None => None,
            Some(Ok(state)) => Some(state.clone()),
            Some(Err(_)) => continue,
        };
        let mut fold = || {
            for first in entity.events.clone().step_by(questions.limits.rows) {
                let events = first..entity.events.end.min(first + questions.limits.rows);
                state = fold_range(questions.events, state.as_deref(), events, instance)?;
            }
            Ok(())
        };
        let folded: Result<(), unskew::CallError> = fold();
        let after = match (folded, state) {
            (Ok(()), Some(state)) => Ok(state),
            (Ok(()), None) => continue,
            (Err(error), _) => Err(match questions.reach.has_exact_tail {
                false => format!("{error}: {}", instance.detail()),
                true => format!(
                    "{} events and those before, kept for later ones: {error}: {}; {CROWD_HELP}",
                    entity.events.len(),
                    instance.detail()
                ),
            }),
        };
        states.insert(key, after);
    }
}

/// What is to be done about an entity that has more events than there is room for.
const CROWD_HELP: &str = "a window with an exact tail keeps the time of every event: give it a hop, as in 30d/1h, or the backfill \
                              more memory";

/// The key of an entity.
type KeyOf<'a> = dyn Fn(usize) -> Option<EntityKey> + 'a;

/// The queries that were answered.
struct Reading<'a> {
    engine: &'a Engine<'a>,
    questions: &'a Questions<'a>,
    asking: Asking<'a>,
    done: Vec<Column>,
    /// The query of each row of `done`.
    order: Vec<u32>,
    failed: Vec<(usize, String)>,
}

impl Reading<'_> {
    fn read_all(
        &mut self,
        instance: &mut Instance,
        history: &History,
        key_of: &KeyOf<'_>,
    ) -> Result<(), BackfillError> {
        let entities = &self.questions.entities.entities;
        // Up to the next entity of which nothing is known, again and again.
        let mut first = 0;
        for (index, entity) in entities.iter().enumerate() {
            let Some(reason) = self.questions.lost(index) else {
                continue;
            };
            self.read(instance, history, key_of, first..entity.queries.start)?;
            for query in entity.queries.clone() {
                self.engine.count_quarantined(|| reason.to_owned())?;
                self.failed.push((query, reason.to_owned()));
            }
            first = entity.queries.end;
        }
        self.read(instance, history, key_of, first..self.questions.entities.queries.len())
    }

    fn read(
        &mut self,
        instance: &mut Instance,
        history: &History,
        key_of: &KeyOf<'_>,
        queries: std::ops::Range<usize>,
    ) -> Result<(), BackfillError> {
        let mut first = queries.start;
        while first < queries.end {
            let rows = self.order.len();
            let Asked { queries: count, result } = self.asking.ask(instance, first..queries.end, &mut self.done);
            let end = first + count;
            match result {
                Ok(()) => self.order.extend(first as u32..end as u32),
                Err(error) => {
                    self.engine.proceed()?;
                    let described = self.describe(
                        &history.step.view,
                        EvaluateError::call(&history.step.view, instance, error),
                        first,
                        key_of,
                    );
                    // One query may also fail because others of its call took the memory.
                    let is_last_try = count == 1 && self.engine.options.max_quarantined == 0;
                    if !error.is_of_rows() || is_last_try {
                        return Err(described);
                    }
                    self.forget_behind(rows);
                    if count == 1 {
                        let reason = match self.asking.crowd() {
                            None => format!("{error}: {}", instance.detail()),
                            Some(events) => {
                                format!(
                                    "{events} events in its windows: {error}: {}; {CROWD_HELP}",
                                    instance.detail()
                                )
                            }
                        };
                        self.engine.count_quarantined(|| described.to_string())?;
                        self.failed.push((first, reason));
                    } else {
                        let half = first + count / 2;
                        self.read(instance, history, key_of, first..half)?;
                        self.read(instance, history, key_of, half..end)?;
                    }
                }
            }
            first = end;
        }
        Ok(())
    }

    /// What a failure on a query is: with the entity, where it has too many events for a call.
    fn describe(&self, view: &str, source: EvaluateError, query: usize, key_of: &KeyOf<'_>) -> BackfillError {
        match self.asking.crowd() {
            None => source.into(),
            Some(events) => BackfillError::Entity {
                view: view.to_owned(),
                key: key_of(self.questions.entities.of_query(query)).map_or_else(String::new, |key| key.to_string()),
                events,
                source: source.into(),
            },
        }
    }

    /// Drops what a call gave before it failed.
    fn forget_behind(&mut self, rows: usize) {
        for column in &mut self.done {
            if column.rows() > rows {
                let mut kept = Column::new(column.column_type());
                kept.extend_from(column.view(), 0..rows);
                *column = kept;
            }
        }
    }
}
