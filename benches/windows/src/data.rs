//! Events of users, most of them of a few, and rows that ask about them.

use std::error::Error;
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;

use unskew_backfill_benches::files::properties;

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
/// 2024-01-01T00:00:00Z.
const START_US: i64 = 1_704_067_200_000_000;
/// How long the log is.
const SPAN_US: i64 = 30 * 86_400_000_000;

/// The spine: `row`, `user` and `t`, in the order of `t`.
pub fn write_spine(path: &Path, size: &Size) -> Result<(), Box<dyn Error>> {
    let row_count = size.spine_rows;
    write(path, row_count, |rows| {
        let random = |row: u64, salt: u64| mix(row, 0x51ae + salt);
        let numbers = rows.clone().map(|row| row as i64);
        let users = rows.clone().map(|row| user(random(row, 0), size.users));
        let at = rows.map(|row| time(row, row_count, random(row, 1), 1));
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
    write(path, row_count, |rows| {
        let random = |row: u64, salt: u64| mix(row, 0xfea7 + salt);
        let rows: Vec<u64> = rows.filter(|row| random(*row, 3) % 100 < size.percent).collect();
        let users = rows.iter().map(|row| user(random(*row, 0), size.users));
        let at = rows.iter().map(|row| time(*row, row_count, random(*row, 1), 0));
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

/// Writes `rows` rows of what `columns` gives for a range of them.
fn write(
    path: &Path,
    rows: u64,
    columns: impl Fn(Range<u64>) -> Vec<(String, ArrayRef)>,
) -> Result<(), Box<dyn Error>> {
    let batch = |start: u64| RecordBatch::try_from_iter(columns(start..rows.min(start + ROWS_PER_BATCH)));
    let schema = batch(rows)?.schema();
    let mut writer = ArrowWriter::try_new(File::create(path)?, schema, Some(properties()?))?;
    for start in (0..rows).step_by(ROWS_PER_BATCH as usize) {
        writer.write(&batch(start)?)?;
    }
    writer.close()?;
    Ok(())
}

fn times(times: impl Iterator<Item = i64>) -> TimestampMicrosecondArray {
    TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC")
}

/// Ascending, even or odd, so that no time of the spine is one of an event.
fn time(row: u64, rows: u64, random: u64, parity: i64) -> i64 {
    let step = SPAN_US / rows as i64;
    START_US + row as i64 * step + (random % (step as u64 / 2)) as i64 * 2 + parity
}

/// Of a Zipf distribution with exponent 1: a few users have most rows.
fn user(random: u64, users: u64) -> i64 {
    let rank = ((users as f64 + 1.0).ln() * unit(random)).exp() as u64 - 1;
    // The ranks apart from each other.
    (rank.min(users - 1).wrapping_mul(7_919) % users) as i64
}

/// A random number as one from 0 up to 1.
fn unit(random: u64) -> f64 {
    (random >> 11) as f64 / (1_u64 << 53) as f64
}

/// The numbers of splitmix64.
fn mix(row: u64, salt: u64) -> u64 {
    let value = (row.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(salt.wrapping_mul(0xd1b5_4a32_d192_ed03));
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
