use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use unskew::{EvaluateError, Instances, ViewRead};
use unskew_frame::{Column, ColumnType};
use unskew_snapshot::{EntityKey, EventTime};

use super::Engine;
use super::history::{History, time_at};
use super::join::{SpineColumns, column};
use super::result::PartitionRows;
use super::scatter::too_large;
use crate::aggregate::{EventLog, MAX_CALL_ROWS, Queries, read_history};
use crate::array::column_to_array;
use crate::backfill::BackfillError;
use crate::events::EventIndex;
use crate::table::Table;
use crate::words::{KeyColumns, KeyWords};

/// Runs the aggregate of a view on the events and the queries of a partition.
pub(crate) fn join_events(
    engine: &Engine<'_>,
    history: &History,
    columns: &SpineColumns,
    spine: &RecordBatch,
    source: Vec<RecordBatch>,
    instances: &mut Instances,
    view: usize,
) -> Result<PartitionRows, BackfillError> {
    let events = concat_batches(history.schema(), &source).map_err(too_large)?;
    drop(source);
    let table = table(history, &events)?;
    let log = EventLog {
        index: EventIndex::build(entity_keys(history.keys(&events), events.num_rows()), &table),
        columns: table.columns()[history.key_columns..].iter().collect(),
        table: &table,
        call_rows: MAX_CALL_ROWS,
    };
    let ViewRead::Aggregate { inputs, outputs, .. } = &history.step.read else {
        return Ok(PartitionRows {
            statuses: Vec::new(),
            places: Vec::new(),
            pieces: Vec::new(),
        });
    };
    let input_columns = input_columns(engine, columns, spine, inputs)?;
    let times: Vec<EventTime> = columns.times(spine).iter().copied().map(EventTime).collect();
    let queries = Queries {
        keys: &entity_keys(columns.keys(spine), spine.num_rows()),
        times: &times,
        sight: engine.options.sight(),
        inputs: &input_columns.iter().collect::<Vec<_>>(),
    };
    let types: Vec<ColumnType> = columns.result_types.clone();
    let statuses = queries.statuses(&log);
    let Some(instance) = instances.view(view) else {
        return Err(BackfillError::View {
            view: history.step.view.clone(),
            reason: "its module has no instance".to_owned(),
        });
    };
    let done = read_history(&log, &queries, instance, &types)
        .map_err(|error| EvaluateError::call(&engine.plan.views[view].view, instance, error))?;
    debug_assert_eq!(outputs.len(), done.len());
    let rows = spine.num_rows();
    Ok(PartitionRows {
        statuses,
        places: (0..rows as u32).map(|row| (0, row)).collect(),
        pieces: vec![done.iter().map(|column| column_to_array(column, rows)).collect()],
    })
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
