//! The command as its users meet it: what it prints, its exit codes, and what it leaves behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bad_component;
mod bad_project;
mod bad_snapshot;
mod closed_output;
mod faults;
mod flights;
mod flow;
mod help;
mod init;
mod late;
mod memory;
mod objects;
mod rebuild;
mod resume;
mod shop;
mod snapshot_files;
mod training_set;
mod transcript;
