//! Events of users, most of them of a few, and rows that ask about them.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array};
use unskew_backfill_benches::rows::{mix, time, times, unit, user, write};

/// How much there is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub spine_rows: u64,
    pub impressions: u64,
    pub users: u64,
    /// Of a hundred impressions, how many are events; those that were clicked, or all.
    pub percent: u64,
}

/// The rows that are made at a time.
const ROWS_PER_BATCH: u64 = 1 << 16;
/// How long the log is.
const SPAN_US: i64 = 30 * 86_400_000_000;

/// The spine: `row`, `user` and `t`, in the order of `t`.
pub fn write_spine(path: &Path, size: &Size) -> Result<(), Box<dyn Error>> {
    let row_count = size.spine_rows;
    write(path, row_count, ROWS_PER_BATCH, |rows| {
        let random = |row: u64, salt: u64| mix(row, 0x51ae + salt);
        let numbers = rows.clone().map(|row| row as i64);
        let users = rows.clone().map(|row| user(random(row, 0), size.users));
        let at = rows.map(|row| time(row, row_count, SPAN_US, random(row, 1), 1));
        vec![
            (
                "row".to_owned(),
                Arc::new(Int64Array::from_iter_values(numbers)) as ArrayRef,
            ),
            ("user".to_owned(), Arc::new(Int64Array::from_iter_values(users))),
            ("t".to_owned(), Arc::new(times(at))),
        ]
    })
}

/// The events: `user`, `t` and `amount`, in the order of `t`. No two rows have the same time, so there are no ties, which other
/// tools break differently.
pub fn write_events(path: &Path, size: &Size) -> Result<(), Box<dyn Error>> {
    let row_count = size.impressions;
    write(path, row_count, ROWS_PER_BATCH, |rows| {
        let random = |row: u64, salt: u64| mix(row, 0xfea7 + salt);
        let rows: Vec<u64> = rows.filter(|row| random(*row, 3) % 100 < size.percent).collect();
        let users = rows.iter().map(|row| user(random(*row, 0), size.users));
        let at = rows
            .iter()
            .map(|row| time(*row, row_count, SPAN_US, random(*row, 1), 0));
        // Prices of impressions, in micros of a currency.
        let amounts = rows.iter().map(|row| (unit(random(*row, 2)) * 1e7).round() / 1e6);
        vec![
            (
                "user".to_owned(),
                Arc::new(Int64Array::from_iter_values(users)) as ArrayRef,
            ),
            ("t".to_owned(), Arc::new(times(at))),
            ("amount".to_owned(), Arc::new(Float64Array::from_iter_values(amounts))),
        ]
    })
}
