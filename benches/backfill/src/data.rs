use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array};
use unskew_backfill_benches::rows::{mix, time, times, unit, user, write};

/// How much there is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub spine_rows: u64,
    pub history_rows: u64,
    pub users: u64,
    pub features: u64,
    /// Whether users have as many rows each; else a few have most.
    pub is_uniform: bool,
}

impl Size {
    fn user(&self, random: u64) -> i64 {
        match self.is_uniform {
            true => (random % self.users) as i64,
            false => user(random, self.users),
        }
    }
}

const ROWS_PER_BATCH: u64 = 1 << 16;
const SPAN_US: i64 = 90 * 86_400_000_000;

/// The spine: `row`, `user`, `t` and a `label`, in the order of `t`.
pub fn write_spine(path: &Path, size: &Size) -> Result<(), Box<dyn Error>> {
    write(path, size.spine_rows, ROWS_PER_BATCH, |rows| {
        let random = |row: u64, salt: u64| mix(row, 0x51ae + salt);
        vec![
            (
                "row".to_owned(),
                Arc::new(Int64Array::from_iter_values(rows.clone().map(|row| row as i64))) as ArrayRef,
            ),
            (
                "user".to_owned(),
                Arc::new(Int64Array::from_iter_values(
                    rows.clone().map(|row| size.user(random(row, 0))),
                )),
            ),
            (
                "t".to_owned(),
                Arc::new(times(
                    rows.clone()
                        .map(|row| time(row, size.spine_rows, SPAN_US, random(row, 1), 1)),
                )),
            ),
            (
                "label".to_owned(),
                Arc::new(Int64Array::from_iter_values(
                    rows.map(|row| i64::from(random(row, 2) % 50 == 0)),
                )),
            ),
        ]
    })
}

/// The history: `user`, `t` and the features, in the order of `t`. No two rows have the same time, so there are no ties,
/// which other tools break differently.
pub fn write_history(path: &Path, size: &Size) -> Result<(), Box<dyn Error>> {
    // Wide rows in batches of fewer.
    let rows_per_batch = ROWS_PER_BATCH / (size.features / 10).clamp(1, 64);
    write(path, size.history_rows, rows_per_batch, |rows| {
        let random = |row: u64, salt: u64| mix(row, 0xfea7 + salt);
        let mut columns = vec![
            (
                "user".to_owned(),
                Arc::new(Int64Array::from_iter_values(
                    rows.clone().map(|row| size.user(random(row, 0))),
                )) as ArrayRef,
            ),
            (
                "t".to_owned(),
                Arc::new(times(
                    rows.clone()
                        .map(|row| time(row, size.history_rows, SPAN_US, random(row, 1), 0)),
                )),
            ),
        ];
        for index in 0..size.features {
            let random = |row| random(row, 2 + index);
            let unit = |row| unit(random(row));
            let array: ArrayRef = match index % 10 {
                // Full precision, as means and rates are; then amounts of two decimals; then counts.
                0..4 => Arc::new(Float64Array::from_iter_values(rows.clone().map(unit))),
                4..8 => Arc::new(Float64Array::from_iter_values(
                    rows.clone().map(|row| (unit(row) * 100_000.0).round() / 100.0),
                )),
                _ => Arc::new(Int64Array::from_iter_values(
                    rows.clone().map(|row| (random(row) % 1_000) as i64),
                )),
            };
            columns.push((format!("f{index}"), array));
        }
        columns
    })
}
