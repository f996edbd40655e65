use std::collections::BTreeMap;

use unskew::{CallError, Instance, state_column};
use unskew_frame::{Column, ColumnType, ColumnView};
use unskew_snapshot::{EntityKey, EventTime, Status};

use crate::asof::Sight;
use crate::events::EventIndex;
use crate::table::Table;

/// The most events and the most queries of one call. An entity with more events is folded on the way, so no entity is too
/// hot for a frame.
pub(crate) const MAX_CALL_ROWS: usize = 1 << 16;

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

/// The queries of a view: for each row its entity, its time, and the time up to which it may see.
pub(crate) struct Queries<'a> {
    pub keys: &'a [Option<EntityKey>],
    pub times: &'a [EventTime],
    pub sight: Sight,
    /// The module's inputs, a row each or scalars.
    pub inputs: &'a [&'a Column],
    /// What all queries see besides the events.
    pub states: &'a States,
}

impl Queries<'_> {
    /// Whether each query's entity has an event that it may see.
    pub fn statuses(&self, log: &EventLog<'_>) -> Vec<Status> {
        (0..self.keys.len())
            .map(|row| match self.state(row).is_some() || self.visible(log, row) > 0 {
                true => Status::Present,
                false => Status::NotFound,
            })
            .collect()
    }

    /// What is known of a query's entity before the events.
    pub fn state(&self, row: usize) -> Option<&Result<Vec<u8>, String>> {
        self.states.get(self.keys[row].as_ref()?)
    }

    /// How many of its entity's events a query may see.
    fn visible(&self, log: &EventLog<'_>, row: usize) -> usize {
        let at = self.sight.seen_at(self.times[row]);
        self.keys[row].as_ref().map_or(0, |key| log.index.visible(key, at))
    }
}

/// Runs the fused batch form over the queries of these rows, none of whose entities lacks its state. Gives the outputs and, for
/// each row of them, its query.
///
/// ```text
/// group the queries by entity and sort each group by time
/// for each entity: while its queries see more than a call's worth of new events, fold a call's worth into its state
///                  queue (state, the events since, the queries that see them)
/// when the queue is full, and at the end: one call
/// ```
pub(crate) fn read_history(
    log: &EventLog<'_>,
    queries: &Queries<'_>,
    rows: &[u32],
    instance: &mut Instance,
    outputs: &[ColumnType],
) -> Result<(Vec<Column>, Vec<u32>), CallError> {
    let mut groups: BTreeMap<Option<&EntityKey>, Vec<u32>> = BTreeMap::new();
    for row in rows {
        groups
            .entry(queries.keys[*row as usize].as_ref())
            .or_default()
            .push(*row);
    }
    let mut run = Run {
        log,
        queries,
        instance,
        call: Call::new(log, queries),
        done: outputs.iter().map(|column_type| Column::new(*column_type)).collect(),
        order: Vec::with_capacity(rows.len()),
    };
    for (key, mut rows) in groups {
        rows.sort_by_key(|row| queries.times[*row as usize]);
        run.entity(key, &rows)?;
    }
    run.flush()?;
    Ok((run.done, run.order))
}

/// Adds all events of the log to the states of their entities, for a log of later events.
pub(crate) fn carry_states(log: &EventLog<'_>, states: &mut States, instance: &mut Instance) {
    for (key, events) in log.index.groups() {
        let before = match states.get(key) {
            None => None,
            Some(Ok(state)) => Some(state.clone()),
            Some(Err(_)) => continue,
        };
        let after = match fold_events(log, before, events, instance) {
            Ok(Some(state)) => Ok(state),
            Ok(None) => continue,
            Err(error) => Err(format!("{error}: {}", instance.detail())),
        };
        states.insert(key.clone(), after);
    }
}

/// The states of all entities that have events visible at `watermark`: key, time of the last event, state.
pub(crate) fn fold_states(
    log: &EventLog<'_>,
    watermark: EventTime,
    instance: &mut Instance,
    mut each: impl FnMut(&EntityKey, EventTime, &[u8]) -> Result<(), FoldError>,
) -> Result<(), FoldError> {
    for (key, events) in log.index.groups() {
        let visible = &events[..log.index.visible(key, watermark)];
        let Some(last) = visible.iter().map(|row| log.table.event_time()[*row as usize]).max() else {
            continue;
        };
        let state = fold_events(log, None, visible, instance)?;
        if let Some(state) = state {
            each(key, last, &state)?;
        }
    }
    Ok(())
}

/// Why states could not be made.
#[derive(Debug)]
pub(crate) enum FoldError {
    Call(CallError),
    Write(unskew_snapshot::WriteError),
}

impl From<CallError> for FoldError {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

/// `state` with `events` added, a call's worth at a time.
pub(crate) fn fold_events(
    log: &EventLog<'_>,
    mut state: Option<Vec<u8>>,
    events: &[u32],
    instance: &mut Instance,
) -> Result<Option<Vec<u8>>, CallError> {
    for events in events.chunks(log.call_rows) {
        let mut states = state_column();
        push_state(&mut states, state.as_deref());
        let mut frame = EventColumns::new(log);
        frame.push(log, 0, events);
        let mut folded = state_column();
        instance.fold(&states, &frame.columns(), &mut folded)?;
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

struct Run<'a> {
    log: &'a EventLog<'a>,
    queries: &'a Queries<'a>,
    instance: &'a mut Instance,
    call: Call,
    done: Vec<Column>,
    /// The query of each row of `done`.
    order: Vec<u32>,
}

impl Run<'_> {
    /// Queues the queries of one entity, in the order of time.
    fn entity(&mut self, key: Option<&EntityKey>, rows: &[u32]) -> Result<(), CallError> {
        let events = key.and_then(|key| self.log.index.group(key)).unwrap_or_default();
        let call_rows = self.log.call_rows;
        let known = key.and_then(|key| self.queries.states.get(key));
        let (mut state, mut base, mut row) = (known.and_then(|state| state.clone().ok()), 0, 0);
        while row < rows.len() {
            // The events that are folded already count no more.
            let first_visible = self.queries.visible(self.log, rows[row] as usize);
            while first_visible - base > call_rows {
                let chunk = &events[base..base + call_rows];
                state = fold_events(self.log, state, chunk, self.instance)?;
                base += call_rows;
            }
            if self.call.is_full(call_rows) {
                self.flush()?;
            }
            let index = self.call.begin(state.as_deref());
            let mut seen = 0;
            while row < rows.len() && self.call.rows.len() < call_rows {
                let visible = self.queries.visible(self.log, rows[row] as usize) - base;
                if visible > call_rows {
                    break;
                }
                self.call.push_query(self.queries, index, rows[row], visible);
                seen = visible;
                row += 1;
            }
            self.call.events.push(self.log, index, &events[base..base + seen]);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), CallError> {
        let call = std::mem::replace(&mut self.call, Call::new(self.log, self.queries));
        if call.rows.is_empty() {
            return Ok(());
        }
        self.instance.batch(
            &call.states,
            &call.events.columns(),
            &call.query_columns(),
            call.rows.len(),
            &mut self.done,
        )?;
        self.order.extend(call.rows);
        Ok(())
    }
}

/// One call of the fused batch form.
struct Call {
    states: Column,
    events: EventColumns,
    query_states: Column,
    query_times: Column,
    query_visible: Column,
    inputs: Vec<Column>,
    /// The queries.
    rows: Vec<u32>,
}

impl Call {
    fn new(log: &EventLog<'_>, queries: &Queries<'_>) -> Self {
        Self {
            states: state_column(),
            events: EventColumns::new(log),
            query_states: Column::new(ColumnType::I64),
            query_times: Column::new(ColumnType::Timestamp),
            query_visible: Column::new(ColumnType::I64),
            inputs: queries
                .inputs
                .iter()
                .map(|input| Column::new(input.column_type()))
                .collect(),
            rows: Vec::new(),
        }
    }

    fn is_full(&self, call_rows: usize) -> bool {
        self.rows.len() >= call_rows || self.events.states.rows() >= call_rows
    }

    fn begin(&mut self, state: Option<&[u8]>) -> i64 {
        push_state(&mut self.states, state);
        self.states.rows() as i64 - 1
    }

    fn push_query(&mut self, queries: &Queries<'_>, state: i64, row: u32, visible: usize) {
        self.rows.push(row);
        let row = row as usize;
        self.query_states.push_i64(state);
        self.query_times.push_timestamp(queries.times[row].0);
        self.query_visible.push_i64(visible as i64);
        for (column, input) in self.inputs.iter_mut().zip(queries.inputs) {
            column.extend_from(input.view(), row..row + 1);
        }
    }

    fn query_columns(&self) -> Vec<&Column> {
        [&self.query_states, &self.query_times, &self.query_visible]
            .into_iter()
            .chain(&self.inputs)
            .collect()
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

    fn columns(&self) -> Vec<&Column> {
        [&self.states, &self.times].into_iter().chain(&self.columns).collect()
    }
}

#[cfg(test)]
mod tests;
