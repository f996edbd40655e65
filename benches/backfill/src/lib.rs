//! What benches from file to file share: reading and writing Parquet as fast as can be, rows that are made up, and what a run took.

/// Parquet files.
pub mod files;
/// Rows that are made up.
pub mod rows;
/// What a run took.
pub mod run;
