//! A long run of components around core modules that a generator made (wasm-smith): valid, without imports, with the exports
//! of a world, and with no sense.
//!
//! Each is published, compiled and loaded as any other, or refused with a reason; what is loaded is called in every function,
//! under the limits of serving, and may answer or fail. What must hold for all of them:
//!
//! - nothing panics and the process lives on
//! - no call ends later than its deadline and what is allowed beyond it
//! - a good transform in the same engine answers as before, after each of them
//! - those that end by themselves show the same bits where NaN is canonicalised by the rewrite as where the engine does it
//!
//! `cargo xtask generated [--components 10000] [--first-seed 0]`

mod made;
mod nan;

use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use unskew::{CallError, CallLimits, Instance, Store};
use unskew_tests::hostile::{Function, GOOD_ROWS, Guest, Kind, load};

use crate::made::Made;
use crate::nan::Engines;

/// What a call may take beyond its deadline.
const ALLOWED: Duration = Duration::from_millis(1);
/// A call that is late is made again so often, with a pause before: on a machine with other work the thread, or the one that
/// counts the ticks, may wait for a processor.
const ATTEMPTS: usize = 20;
const PAUSE: Duration = Duration::from_millis(50);
/// The stores of so many components are thrown away together.
const STORE_COMPONENTS: u64 = 100;
const LIMITS: CallLimits = CallLimits {
    deadline: Duration::from_millis(5),
    ..CallLimits::SERVING
};

#[derive(Parser)]
#[command(
    name = "generated",
    about = "Components around generated core modules: none may do any harm"
)]
struct Options {
    /// How many components.
    #[arg(long, default_value_t = 10_000)]
    components: u64,
    /// The seed of the first; the others follow it.
    #[arg(long, default_value_t = 0)]
    first_seed: u64,
}

/// What became of all of them.
#[derive(Default)]
struct Tally {
    not_made: u64,
    refused: BTreeMap<String, u64>,
    loaded: u64,
    no_instance: u64,
    calls: BTreeMap<String, u64>,
    compared: u64,
    longest: Duration,
    faults: Vec<String>,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let options = Options::parse();
    let engines = Engines::new()?;
    let good = Guest::default();
    let mut sentinel = good.instance(CallLimits::BATCH);
    let mut tally = Tally::default();
    let mut store = fresh_store()?;
    let resident_before = resident_mib();
    for index in 0..options.components {
        if index % STORE_COMPONENTS == 0 {
            store = fresh_store()?;
            eprintln!(
                "{index} of {}, {} faults, {} MiB",
                options.components,
                tally.faults.len(),
                resident_mib()
            );
        }
        let seed = options.first_seed + index;
        let Ok(made) = made::make(seed) else {
            tally.not_made += 1;
            continue;
        };
        let fault = |what: String| format!("seed {seed}: {what}");
        if let Err(error) = try_it(&made, &Store::new(store.path()), &mut tally) {
            tally.faults.push(fault(error));
        }
        if made.ends {
            tally.compared += 1;
            if let Err(error) = engines.compare(&made.component) {
                tally.faults.push(fault(error));
            }
        }
        if good.call(&mut sentinel, GOOD_ROWS) != Ok(good.answer(GOOD_ROWS)) {
            tally
                .faults
                .push(fault(format!("a good transform fails now: {}", sentinel.detail())));
        }
    }
    report(&options, &tally, resident_before);
    Ok(if tally.faults.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn fresh_store() -> std::io::Result<tempfile::TempDir> {
    tempfile::tempdir()
}

/// Publishes, compiles, loads and calls one.
fn try_it(made: &Made, store: &Store, tally: &mut Tally) -> Result<(), String> {
    let module = match load(store, &made.component) {
        Ok(module) => module,
        Err(reason) if reason.trim().is_empty() => return Err("it is refused without a reason".to_owned()),
        Err(reason) => {
            // The kind of reason, without what differs from one to the next.
            let reason = reason.rsplit_once(": ").map_or(reason.as_str(), |(_, last)| last);
            let kind: String = reason
                .chars()
                .filter(|letter| !letter.is_ascii_digit())
                .take(100)
                .collect();
            *tally.refused.entry(kind).or_default() += 1;
            return Ok(());
        }
    };
    tally.loaded += 1;
    let Ok(mut instance) = module.instantiate(LIMITS) else {
        tally.no_instance += 1;
        return Ok(());
    };
    for function in made.kind.functions() {
        for rows in [0, 1, GOOD_ROWS, 256] {
            call(&mut instance, made.kind, *function, rows, tally)?;
        }
    }
    Ok(())
}

fn call(instance: &mut Instance, kind: Kind, function: Function, rows: usize, tally: &mut Tally) -> Result<(), String> {
    let guest = Guest {
        kind,
        ..Guest::does(function, "")
    };
    let mut took = Duration::ZERO;
    for _ in 0..ATTEMPTS {
        let start = Instant::now();
        let result = guest.call(instance, rows);
        took = start.elapsed();
        let outcome = match result {
            Ok(_) => "answered".to_owned(),
            Err(error @ (CallError::WrongKind | CallError::Stack | CallError::TooLarge)) => {
                return Err(format!("{function:?} of {rows} rows: {error}"));
            }
            Err(error) => error.to_string(),
        };
        *tally.calls.entry(outcome).or_default() += 1;
        if took <= LIMITS.deadline + ALLOWED {
            tally.longest = tally.longest.max(took);
            return Ok(());
        }
        thread::sleep(PAUSE);
    }
    Err(format!(
        "{function:?} of {rows} rows took {took:?}, and so {ATTEMPTS} times"
    ))
}

fn report(options: &Options, tally: &Tally, resident_before: u64) {
    println!(
        "{} seeds from {}: {} gave no module, {} refused, {} loaded, of which {} cannot be instantiated",
        options.components,
        options.first_seed,
        tally.not_made,
        tally.refused.values().sum::<u64>(),
        tally.loaded,
        tally.no_instance
    );
    for (reason, count) in &tally.refused {
        println!("  refused {count}: {reason}");
    }
    for (outcome, count) in &tally.calls {
        println!("  calls {count}: {outcome}");
    }
    println!(
        "longest call {:.2} ms at a deadline of {} ms; {} compared bit for bit for NaN; resident {resident_before} MiB before, {} after",
        1e3 * tally.longest.as_secs_f64(),
        LIMITS.deadline.as_millis(),
        tally.compared,
        resident_mib()
    );
    println!("{} faults", tally.faults.len());
    for fault in &tally.faults {
        println!("{fault}");
    }
}

/// 0 where the system does not tell.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok())
        .map_or(0, |kib| kib >> 10)
}
