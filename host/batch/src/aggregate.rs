mod entities;
mod questions;
mod reach;

use std::collections::BTreeMap;

use unskew::{CallError, EvaluateError, Instance, state_column};
use unskew_frame::{Column, ColumnType, ColumnView};
use unskew_snapshot::{EntityKey, EventTime};

use crate::backfill::BackfillError;
use crate::events::EventIndex;
use crate::table::Table;

pub(crate) use entities::Entities;
pub(crate) use questions::{Asked, Asking, CallRows, Questions, fold_range};
pub(crate) use reach::Reach;

/// The events and the queries that are put together in one call.
pub(crate) const MAX_CALL_ROWS: usize = 1 << 14;

/// The events of several entities that are folded in one call, unless one has more: what states take is a multiple of them.
const MAX_FOLDED_TOGETHER: usize = 1 << 13;

/// The events of an aggregate view, ready to be handed to its module.
pub(crate) struct EventLog<'a> {
    pub table: &'a Table,
    pub index: EventIndex,
    /// The event's columns in the order of the module.
    pub columns: Vec<&'a Column>,
    /// The most events and the most queries of one call: [`MAX_CALL_ROWS`].
    pub call_rows: usize,
}

/// What is known of an entity before the events of a log: its state, or why there is none.
pub(crate) type States = BTreeMap<EntityKey, Result<Vec<u8>, String>>;

/// The states of all entities that have events visible at `watermark`: key, time of the last event, state.
pub(crate) fn fold_states(
    log: &EventLog<'_>,
    watermark: EventTime,
    instance: &mut Instance,
    mut each: impl FnMut(&EntityKey, EventTime, &[u8]) -> Result<(), FoldError>,
) -> Result<(), FoldError> {
    let mut folding = Folding::new(log);
    for (key, events) in log.index.groups() {
        let visible = &events[..log.index.visible(key, watermark)];
        let Some(last) = visible.iter().map(|row| log.table.event_time()[*row as usize]).max() else {
            continue;
        };
        if folding.events.states.rows() + visible.len() > log.call_rows.min(MAX_FOLDED_TOGETHER) {
            folding.finish(instance, &mut each)?;
        }
        if visible.len() > log.call_rows {
            if let Some(state) = fold_events(log, key, None, visible, instance)? {
                each(key, last, &state)?;
            }
        } else {
            folding.push(key, last, visible);
        }
    }
    folding.finish(instance, &mut each)
}

/// Entities whose events are folded in one call.
struct Folding<'a> {
    log: &'a EventLog<'a>,
    entities: Vec<(&'a EntityKey, EventTime)>,
    states: Column,
    events: EventColumns,
}

impl<'a> Folding<'a> {
    fn new(log: &'a EventLog<'a>) -> Self {
        Self {
            log,
            entities: Vec::new(),
            states: state_column(),
            events: EventColumns::new(log),
        }
    }

    fn push(&mut self, key: &'a EntityKey, last: EventTime, events: &[u32]) {
        self.events.push(self.log, self.entities.len() as i64, events);
        self.entities.push((key, last));
        self.states.push_null();
    }

    /// Gives the states of the entities so far.
    fn finish(
        &mut self,
        instance: &mut Instance,
        each: &mut impl FnMut(&EntityKey, EventTime, &[u8]) -> Result<(), FoldError>,
    ) -> Result<(), FoldError> {
        if self.entities.is_empty() {
            return Ok(());
        }
        let mut folded = state_column();
        instance.fold(&self.states, &self.events.columns(), &mut folded)?;
        let view = folded.view();
        for (row, (key, last)) in self.entities.drain(..).enumerate() {
            if view.is_present(row) {
                each(key, last, view.bytes(row))?;
            }
        }
        self.states.clear();
        self.events.clear();
        Ok(())
    }
}

/// Why states could not be made.
#[derive(Debug)]
pub(crate) enum FoldError {
    Call(CallError),
    /// Of an entity that has more events than go to one call.
    Entity {
        key: String,
        events: usize,
        error: CallError,
    },
    Write(unskew_snapshot::WriteError),
}

impl FoldError {
    /// What it means for a view whose states were made by `instance`.
    pub fn of_view(self, view: &str, instance: &Instance) -> BackfillError {
        let view = view.to_owned();
        match self {
            Self::Write(source) => BackfillError::Snapshot { view, source },
            Self::Call(error) => EvaluateError::call(&view, instance, error).into(),
            Self::Entity { key, events, error } => BackfillError::Entity {
                source: EvaluateError::call(&view, instance, error).into(),
                view,
                key,
                events,
            },
        }
    }
}

impl From<CallError> for FoldError {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

/// `state` with `events` added, a call's worth at a time.
pub(crate) fn fold_events(
    log: &EventLog<'_>,
    key: &EntityKey,
    mut state: Option<Vec<u8>>,
    events: &[u32],
    instance: &mut Instance,
) -> Result<Option<Vec<u8>>, FoldError> {
    let count = events.len();
    for events in events.chunks(log.call_rows) {
        let mut states = state_column();
        push_state(&mut states, state.as_deref());
        let mut frame = EventColumns::new(log);
        frame.push(log, 0, events);
        let mut folded = state_column();
        let result = instance.fold(&states, &frame.columns(), &mut folded);
        result.map_err(|error| FoldError::Entity {
            key: key.to_string(),
            events: count,
            error,
        })?;
        let view = folded.view();
        state = view.is_present(0).then(|| view.bytes(0).to_vec());
    }
    Ok(state)
}

fn push_state(states: &mut Column, state: Option<&[u8]>) {
    match state {
        Some(state) => states.push_bytes(state),
        None => states.push_null(),
    }
}

/// The events of a call.
struct EventColumns {
    states: Column,
    times: Column,
    columns: Vec<Column>,
}

impl EventColumns {
    fn new(log: &EventLog<'_>) -> Self {
        Self {
            states: Column::new(ColumnType::I64),
            times: Column::new(ColumnType::Timestamp),
            columns: log
                .columns
                .iter()
                .map(|column| Column::new(column.column_type()))
                .collect(),
        }
    }

    fn push(&mut self, log: &EventLog<'_>, state: i64, events: &[u32]) {
        for row in events {
            let row = *row as usize;
            self.states.push_i64(state);
            self.times.push_timestamp(log.table.event_time()[row].0);
            for (column, source) in self.columns.iter_mut().zip(&log.columns) {
                column.extend_from(ColumnView::from(*source), row..row + 1);
            }
        }
    }

    fn clear(&mut self) {
        self.states.clear();
        self.times.clear();
        self.columns.iter_mut().for_each(Column::clear);
    }

    fn columns(&self) -> Vec<&Column> {
        [&self.states, &self.times].into_iter().chain(&self.columns).collect()
    }
}

#[cfg(test)]
mod tests;
