//! The `unskew` command: builds and checks transforms, backfills training sets, publishes generations and reads snapshots.
//!
//! Each command is a module and gives an [`Answer`](answer::Answer), which is printed as text or as JSON, or a
//! [`Failure`](failure::Failure). What a command says while it works goes to standard error.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answer;
mod audit;
mod backfill;
mod build;
mod check;
mod cli;
mod diff;
mod failure;
mod init;
mod materialize;
mod modules;
mod output;
mod prepare;
mod project;
mod publish;
mod question;
mod rebuild;
mod replay;
mod snapshot;
mod value;
mod verify;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::Cli;

/// What a command ends with that did what it was asked to, but for some rows.
const PARTIAL: u8 = 3;

/// Ends with 0; with 1 where the command failed; with 2 (in clap) where it was not understood; with 3 where some rows failed; with
/// 130 where it was interrupted.
fn main() -> ExitCode {
    let cli = Cli::parse();
    let is_json = cli.json;
    match cli.run().and_then(|answer| answer.print(is_json)) {
        Ok(true) => PARTIAL.into(),
        Ok(false) => ExitCode::SUCCESS,
        Err(failure) => failure.print().into(),
    }
}
