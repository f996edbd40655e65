use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;

use unskew_backfill_benches::files::properties;

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
/// 2024-01-01T00:00:00Z.
const START_US: i64 = 1_704_067_200_000_000;
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
                    rows.clone().map(|row| time(row, size.spine_rows, random(row, 1), 1)),
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
                    rows.clone().map(|row| time(row, size.history_rows, random(row, 1), 0)),
                )),
            ),
        ];
        for index in 0..size.features {
            let random = |row| random(row, 2 + index);
            let unit = |row| (random(row) >> 11) as f64 / (1_u64 << 53) as f64;
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

fn write(
    path: &Path,
    rows: u64,
    rows_per_batch: u64,
    columns: impl Fn(std::ops::Range<u64>) -> Vec<(String, ArrayRef)>,
) -> Result<(), Box<dyn Error>> {
    let batch = |start: u64| RecordBatch::try_from_iter(columns(start..rows.min(start + rows_per_batch)));
    let schema = batch(rows)?.schema();
    let mut writer = ArrowWriter::try_new(File::create(path)?, schema, Some(properties()?))?;
    for start in (0..rows).step_by(rows_per_batch as usize) {
        writer.write(&batch(start)?)?;
    }
    writer.close()?;
    Ok(())
}

fn times(times: impl Iterator<Item = i64>) -> TimestampMicrosecondArray {
    TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC")
}

/// Ascending, even or odd, so that no time of the spine is one of the history.
fn time(row: u64, rows: u64, random: u64, parity: i64) -> i64 {
    let step = SPAN_US / rows as i64;
    START_US + row as i64 * step + (random % (step as u64 / 2)) as i64 * 2 + parity
}

/// Of a Zipf distribution with exponent 1: a few users have most rows.
fn user(random: u64, users: u64) -> i64 {
    let unit = (random >> 11) as f64 / (1_u64 << 53) as f64;
    let rank = ((users as f64 + 1.0).ln() * unit).exp() as u64 - 1;
    // The ranks apart from each other.
    (rank.min(users - 1).wrapping_mul(7_919) % users) as i64
}

/// The numbers of splitmix64.
fn mix(row: u64, salt: u64) -> u64 {
    let value = (row.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(salt.wrapping_mul(0xd1b5_4a32_d192_ed03));
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
