//! Inputs of the benches, and their native twins: the same Rust source, compiled for this machine.

use unskew_frame::{Column, ColumnSlots, ColumnType, Value};
use unskew_guest::{Input, Output, RowTransform, apply_rows};

/// The inputs of `request-context` for `rows` rows: ids, positions, segments and rates that differ from row to row.
pub fn request_context_inputs(rows: usize) -> Vec<Column> {
    let columns = <request_context::RequestContext as RowTransform>::Input::COLUMNS;
    let mut inputs: Vec<Column> = columns.iter().map(|column| Column::new(column.column_type)).collect();
    for row in 0..rows {
        let n = row as i64;
        let segment = format!("segment-{}", row % 97);
        for (column, input) in columns.iter().zip(&mut inputs) {
            let value = match (column.name, column.column_type) {
                (_, ColumnType::Timestamp) => Value::Timestamp(1_575_072_000_000_000 + n * 1_000_003),
                ("item_id", _) => Value::I64(n * 7_919),
                (_, ColumnType::I64) => Value::I64(n % 5 + 1),
                (_, ColumnType::String) => Value::String(&segment),
                ("floor_price", _) => Value::F64(0.05 * (row % 60) as f64),
                _ if row % 11 == 3 => Value::Null,
                _ => Value::F64(0.001 * (row % 90 + 1) as f64),
            };
            input.push(value).expect("the value is of the column's type");
        }
    }
    inputs
}

/// Applies the transform natively, from columns to columns, which are written in place.
pub fn apply_native<T: RowTransform>(inputs: &[&Column], rows: usize, outputs: &mut [Column]) {
    let readers = T::Input::readers(|index| inputs[index].view());
    let mut slots = ColumnSlots::new(outputs, rows);
    apply_rows::<T>(&readers, rows, &mut T::Output::writers(&mut slots));
    outputs.iter_mut().for_each(Column::seal);
}

/// Columns for the outputs of a transform.
pub fn output_columns<T: RowTransform>() -> Vec<Column> {
    T::Output::COLUMNS
        .iter()
        .map(|column| Column::new(column.column_type))
        .collect()
}
