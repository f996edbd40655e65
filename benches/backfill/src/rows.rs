//! Rows that are made up: the same on every machine, in the order of their times.

use std::error::Error;
use std::fs::File;
use std::ops::Range;
use std::path::Path;

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;

use crate::files::properties;

/// 2024-01-01T00:00:00Z.
const START_US: i64 = 1_704_067_200_000_000;

/// Writes `rows` rows of what `columns` gives for a range of them, in batches.
///
/// # Errors
/// The file cannot be written, or the columns are of different lengths.
pub fn write(
    path: &Path,
    rows: u64,
    rows_per_batch: u64,
    columns: impl Fn(Range<u64>) -> Vec<(String, ArrayRef)>,
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

/// A column of times, in microseconds.
pub fn times(times: impl Iterator<Item = i64>) -> TimestampMicrosecondArray {
    TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC")
}

/// The time of one of so many rows within `span_us`: ascending, even or odd, so that no time of one file is one of another.
pub fn time(row: u64, rows: u64, span_us: i64, random: u64, parity: i64) -> i64 {
    let step = span_us / rows as i64;
    START_US + row as i64 * step + (random % (step as u64 / 2)) as i64 * 2 + parity
}

/// Of a Zipf distribution with exponent 1: a few users have most rows.
pub fn user(random: u64, users: u64) -> i64 {
    let rank = ((users as f64 + 1.0).ln() * unit(random)).exp() as u64 - 1;
    // The ranks apart from each other.
    (rank.min(users - 1).wrapping_mul(7_919) % users) as i64
}

/// A random number as one from 0 up to 1.
pub fn unit(random: u64) -> f64 {
    (random >> 11) as f64 / (1_u64 << 53) as f64
}

/// The numbers of splitmix64.
pub fn mix(row: u64, salt: u64) -> u64 {
    let value = (row.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(salt.wrapping_mul(0xd1b5_4a32_d192_ed03));
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
