use clap::{Parser, Subcommand};

use crate::answer::Answer;
use crate::failure::Failure;
use crate::{
    audit, backfill, build, check, diff, init, materialize, prepare, publish, rebuild, replay, snapshot, verify,
};

/// Feature transforms that give the same bits in training and in serving.
///
/// A transform is written once, built into a WebAssembly component, and that same component computes training sets from
/// history and features inside the serving process. Everything else is described in a project file, `unskew.toml`: entities,
/// sources, views and services.
///
/// The usual way: `init` a project, `build` a transform, `check` it, `backfill` a training set, `publish` a generation for the
/// hosts.
///
/// Results go to standard output, progress and errors to standard error. The exit code is 0, or 1 where the command failed, or
/// 2 where it was not understood, or 3 where some rows failed, or 130 where it was interrupted.
#[derive(Debug, Parser)]
#[command(name = "unskew", version)]
pub struct Cli {
    /// Print the result as one JSON object.
    #[arg(long, global = true, display_order = 900)]
    pub json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Init),
    Build(build::Build),
    Check(check::Check),
    Backfill(backfill::Backfill),
    Audit(audit::AuditArgs),
    Verify(verify::Verify),
    Diff(diff::Diff),
    Materialize(materialize::Materialize),
    Publish(publish::Publish),
    Prepare(prepare::Prepare),
    Rebuild(rebuild::Rebuild),
    Replay(replay::Replay),
    Snapshot(snapshot::SnapshotArgs),
}

impl Cli {
    /// Runs the command.
    pub fn run(self) -> Result<Answer, Failure> {
        match self.command {
            Command::Init(command) => command.run(),
            Command::Build(command) => command.run(),
            Command::Check(command) => command.run(),
            Command::Backfill(command) => command.run(),
            Command::Audit(command) => command.run(),
            Command::Verify(command) => command.run(),
            Command::Diff(command) => command.run(),
            Command::Materialize(command) => command.run(),
            Command::Publish(command) => command.run(),
            Command::Prepare(command) => command.run(),
            Command::Rebuild(command) => command.run(),
            Command::Replay(command) => command.run(),
            Command::Snapshot(command) => command.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn arguments_do_not_contradict_each_other() {
        super::Cli::command().debug_assert();
    }
}
