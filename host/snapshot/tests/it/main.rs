//! Snapshot files that were damaged or made to deceive, through the public API.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod corpus;
mod corruption;
mod files;
mod hostile;
#[path = "../shared/reseal.rs"]
mod reseal;
mod rows;
