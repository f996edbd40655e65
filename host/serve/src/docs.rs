//! What an engineer who embeds the host reads once, and whoever operates it at night.
//!
//! - [`patterns`]: how to use it well
//! - [`operations`]: directories, threads, what to watch, what to do
//! - [`fresh`]: what happened since the snapshots
//! - [`adversity`]: what it does when something around it goes wrong
//! - [`limits`]: what it does not do, and what it does not promise
//! - [`performance`]: what costs what

pub mod adversity;
pub mod fresh;
pub mod limits;
pub mod operations;
pub mod patterns;
pub mod performance;
