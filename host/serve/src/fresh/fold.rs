use std::sync::Arc;

use unskew_frame::{Column, ColumnType};

use crate::fresh::event::{Event, EventSchema};
use crate::instance::{CallError, Instance, state_column};

/// The most events, states and bytes of states of one call.
const MAX_CALL_EVENTS: usize = 1 << 10;
const MAX_CALL_STATES: usize = 1 << 8;
const MAX_CALL_STATE_BYTES: usize = 1 << 18;

/// A state and the events to be added to it.
#[derive(Debug)]
pub(super) struct Fold {
    /// None before the first event.
    pub state: Option<Vec<u8>>,
    pub events: Vec<Arc<Event>>,
}

/// Adds events to states, as many as fit in a call at once. Each of the results is a state, or why it came to none.
pub(super) fn fold(schema: &EventSchema, instance: &mut Instance, folds: Vec<Fold>) -> Vec<Result<Vec<u8>, CallError>> {
    let mut results = Vec::with_capacity(folds.len());
    let mut batch = Batch::default();
    for fold in folds {
        if batch.is_full(&fold) {
            batch.flush(schema, instance, &mut results);
        }
        if fold.events.len() <= MAX_CALL_EVENTS {
            batch.push(fold);
            continue;
        }
        batch.flush(schema, instance, &mut results);
        results.push(fold_many(schema, instance, fold));
    }
    batch.flush(schema, instance, &mut results);
    results
}

/// Adds more events to a state than fit in a call.
fn fold_many(schema: &EventSchema, instance: &mut Instance, fold: Fold) -> Result<Vec<u8>, CallError> {
    let mut state = fold.state;
    for events in fold.events.chunks(MAX_CALL_EVENTS) {
        let part = Fold {
            state: state.take(),
            events: events.to_vec(),
        };
        let mut folded = call(schema, instance, std::slice::from_ref(&part))?;
        state = folded.pop();
    }
    state.ok_or(CallError::Output)
}

/// What goes into the next call.
#[derive(Default)]
struct Batch {
    folds: Vec<Fold>,
    events: usize,
    state_bytes: usize,
}

impl Batch {
    fn is_full(&self, next: &Fold) -> bool {
        self.folds.len() >= MAX_CALL_STATES
            || self.events + next.events.len() > MAX_CALL_EVENTS
            || self.state_bytes + next.state.as_ref().map_or(0, Vec::len) > MAX_CALL_STATE_BYTES
    }

    fn push(&mut self, fold: Fold) {
        self.events += fold.events.len();
        self.state_bytes += fold.state.as_ref().map_or(0, Vec::len);
        self.folds.push(fold);
    }

    fn flush(&mut self, schema: &EventSchema, instance: &mut Instance, results: &mut Vec<Result<Vec<u8>, CallError>>) {
        let folds = std::mem::take(&mut self.folds);
        (self.events, self.state_bytes) = (0, 0);
        match call(schema, instance, &folds) {
            Ok(states) => results.extend(states.into_iter().map(Ok)),
            Err(error) if folds.len() <= 1 => results.extend(folds.iter().map(|_| Err(error))),
            // One of them is at fault: the others are not to suffer for it.
            Err(_) => {
                for fold in &folds {
                    let one = call(schema, instance, std::slice::from_ref(fold));
                    results.push(one.and_then(|mut states| states.pop().ok_or(CallError::Output)));
                }
            }
        }
    }
}

/// One call of the module.
fn call(schema: &EventSchema, instance: &mut Instance, folds: &[Fold]) -> Result<Vec<Vec<u8>>, CallError> {
    if folds.is_empty() {
        return Ok(Vec::new());
    }
    let mut states = state_column();
    let mut columns = EventColumns::new(schema);
    for (index, fold) in folds.iter().enumerate() {
        match &fold.state {
            Some(state) => states.push_bytes(state),
            None => states.push_null(),
        }
        fold.events.iter().for_each(|event| columns.push(index, event));
    }
    let mut folded = state_column();
    instance.fold(&states, &columns.columns().collect::<Vec<_>>(), &mut folded)?;
    let view = folded.view();
    let state = |index: usize| view.is_present(index).then(|| view.bytes(index).to_vec());
    (0..folds.len())
        .map(|index| state(index).ok_or(CallError::Output))
        .collect()
}

/// The frame of events of a call of an aggregate.
#[derive(Debug)]
pub(crate) struct EventColumns {
    states: Column,
    times: Column,
    values: Vec<Column>,
}

impl EventColumns {
    pub fn new(schema: &EventSchema) -> Self {
        Self {
            states: Column::new(ColumnType::I64),
            times: Column::new(ColumnType::Timestamp),
            values: schema.value_columns(),
        }
    }

    /// Drops the events and keeps the memory.
    pub fn clear(&mut self) {
        self.states.clear();
        self.times.clear();
        self.values.iter_mut().for_each(Column::clear);
    }

    /// Appends an event of the state of this index.
    pub fn push(&mut self, state: usize, event: &Event) {
        self.states.push_i64(state as i64);
        self.times.push_timestamp(event.event_time.0);
        event.append_to(&mut self.values);
    }

    pub fn columns(&self) -> impl Iterator<Item = &Column> {
        [&self.states, &self.times].into_iter().chain(&self.values)
    }
}
