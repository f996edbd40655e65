use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::concat_batches;
use unskew::{EvaluateError, Instance, Instances, ViewRead};
use unskew_frame::{Column, ColumnType};
use unskew_snapshot::{EntityKey, EventTime, Status};

use super::Engine;
use super::history::{History, time_at};
use super::join::column;
use super::result::PartitionRows;
use super::scatter::too_large;
use super::spine_columns::SpineColumns;
pub(super) use crate::aggregate::States;
use crate::aggregate::{EventLog, MAX_CALL_ROWS, Queries, carry_states, read_history};
use crate::array::column_to_array;
use crate::asof::NO_ROW;
use crate::backfill::BackfillError;
use crate::events::EventIndex;
use crate::table::Table;
use crate::words::{KeyColumns, KeyWords};

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
    let events = concat_batches(history.schema(), &source).map_err(too_large)?;
    drop(source);
    let table = table(history, &events)?;
    let log = EventLog {
        index: EventIndex::build(entity_keys(history.keys(&events), events.num_rows()), &table),
        columns: table.columns()[history.key_columns..].iter().collect(),
        table: &table,
        call_rows: MAX_CALL_ROWS,
    };
    let (ViewRead::Aggregate { inputs, .. }, Some(instance)) = (&history.step.read, instances.view(history.view))
    else {
        return Err(BackfillError::View {
            view: history.step.view.clone(),
            reason: "its module has no instance".to_owned(),
        });
    };
    let input_columns = input_columns(engine, columns, spine, inputs)?;
    let times: Vec<EventTime> = columns.times(spine).iter().copied().map(EventTime).collect();
    let keys = entity_keys(columns.keys(spine), spine.num_rows());
    let queries = Queries {
        keys: &keys,
        times: &times,
        sight: engine.options.sight(),
        inputs: &input_columns.iter().collect::<Vec<_>>(),
        states,
    };
    let mut order: Vec<u32> = (0..keys.len() as u32).collect();
    order.sort_by_key(|row| (&keys[*row as usize], times[*row as usize]));
    let mut reading = Reading {
        engine,
        log: &log,
        queries: &queries,
        types: &columns.result_types,
        done: columns
            .result_types
            .iter()
            .map(|column_type| Column::new(*column_type))
            .collect(),
        order: Vec::with_capacity(keys.len()),
        failed: Vec::new(),
    };
    reading.read(instance, history, &order)?;
    let Reading {
        done, order, failed, ..
    } = reading;

    let mut statuses = queries.statuses(&log);
    let mut places = vec![(NO_ROW, 0); keys.len()];
    for (place, row) in (0..).zip(&order) {
        places[*row as usize] = (0, place);
    }
    let numbers = columns.row_numbers(spine);
    let mut quarantined = Vec::with_capacity(failed.len());
    for (row, reason) in failed {
        statuses[row as usize] = Status::Failed;
        let row = row as usize;
        let value = |(slot, array): (&usize, &ArrayRef)| (*slot, array.slice(row, 1));
        let key: Vec<(usize, ArrayRef)> = columns.key_slots().iter().zip(columns.keys(spine)).map(value).collect();
        quarantined.push(engine.quarantined(
            numbers[row],
            times[row],
            &key,
            (&history.step.view, instance.module_name()),
            reason,
        ));
    }
    if !is_last {
        carry_states(&log, states, instance);
    }
    Ok(PartitionRows {
        statuses,
        places,
        pieces: vec![done.iter().map(|column| column_to_array(column, order.len())).collect()],
        ties: 0,
        quarantined,
    })
}

/// The queries that were answered.
struct Reading<'a> {
    engine: &'a Engine<'a>,
    log: &'a EventLog<'a>,
    queries: &'a Queries<'a>,
    types: &'a [ColumnType],
    done: Vec<Column>,
    /// The query of each row of `done`.
    order: Vec<u32>,
    failed: Vec<(u32, String)>,
}

impl Reading<'_> {
    fn read(&mut self, instance: &mut Instance, history: &History, rows: &[u32]) -> Result<(), BackfillError> {
        let reason_of = |row: &u32| Some(self.queries.state(*row as usize)?.as_ref().err()?.clone());
        let (lost, rows): (Vec<u32>, Vec<u32>) = rows.iter().partition(|row| reason_of(row).is_some());
        for row in lost {
            let reason = reason_of(&row).unwrap_or_default();
            self.engine.count_quarantined(|| reason.clone())?;
            self.failed.push((row, reason));
        }
        self.read_known(instance, history, &rows)
    }

    fn read_known(&mut self, instance: &mut Instance, history: &History, rows: &[u32]) -> Result<(), BackfillError> {
        let error = match read_history(self.log, self.queries, rows, instance, self.types) {
            Ok((columns, order)) => {
                for (done, column) in self.done.iter_mut().zip(&columns) {
                    done.extend_from(column.view(), 0..order.len());
                }
                self.order.extend(order);
                return Ok(());
            }
            Err(error) => error,
        };
        self.engine.proceed()?;
        let described = EvaluateError::call(&history.step.view, instance, error);
        match rows {
            _ if !error.is_of_rows() || self.engine.options.max_quarantined == 0 => Err(described.into()),
            [row] => {
                let reason = format!("{error}: {}", instance.detail());
                self.engine.count_quarantined(|| described.to_string())?;
                self.failed.push((*row, reason));
                Ok(())
            }
            rows => {
                let (first, second) = rows.split_at(rows.len() / 2);
                self.read_known(instance, history, first)?;
                self.read_known(instance, history, second)
            }
        }
    }
}

fn table(history: &History, events: &RecordBatch) -> Result<Table, BackfillError> {
    let typed = history.types.iter().zip(events.columns());
    let columns = typed.zip(&history.names).map(|((column_type, array), name)| {
        let column = column(array, *column_type)?;
        Ok((name.clone(), column))
    });
    let columns: Vec<(String, Column)> = columns.collect::<Result<_, BackfillError>>()?;
    let event_time = history.event_time(events).iter().copied().map(EventTime).collect();
    let known_at = history.known_at(events);
    let known_at = known_at.map(|array| (0..events.num_rows()).map(|row| time_at(array, row)).collect());
    Ok(Table::new(columns, event_time, known_at))
}

/// The inputs of the queries; a constant is a scalar.
fn input_columns(
    engine: &Engine<'_>,
    columns: &SpineColumns,
    spine: &RecordBatch,
    inputs: &[usize],
) -> Result<Vec<Column>, BackfillError> {
    let input = |slot: &usize| {
        let definition = &engine.plan.slots[*slot];
        match (
            &definition.constant,
            columns.inputs.iter().position(|known| known == slot),
        ) {
            (Some(constant), _) => Ok(constant.clone()),
            (None, Some(index)) => column(columns.input(spine, index), definition.column_type),
            (None, None) => Ok(Column::new(definition.column_type)),
        }
    };
    inputs.iter().map(input).collect()
}

fn entity_keys(columns: &[arrow::array::ArrayRef], rows: usize) -> Vec<Option<EntityKey>> {
    let words = KeyWords::lenient(columns, rows);
    let keys = KeyColumns::new(columns);
    let key = |row: usize| {
        let mut key = EntityKey::default();
        let has_key = words.is_present(row) && keys.encode(row, &mut key).is_ok();
        has_key.then_some(key)
    };
    (0..rows).map(key).collect()
}
