//! What benches from file to file share: reading and writing Parquet as fast as can be, and what a run took.

/// Parquet files.
pub mod files;
/// What a run took.
pub mod run;
