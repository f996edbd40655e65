//! How late the calls of hostile components end, and what they leave behind.
//!
//! Every case of the tests that can be called is called under the limits of serving, after its answers to a good and to a bad
//! batch were compared with what they must be. A call may take its deadline and a millisecond: the rows are the cases that come
//! nearest. Then all cases are called over and over, with a deadline of a millisecond, and the memory of the process is read:
//! it must not grow.
//!
//! `cargo bench -p unskew-benches --bench hostile -- [--quick] [--json] [--calls 20] [--rounds 1000]`

use std::error::Error;
use std::fs;
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::json;
use unskew::{CallError, CallLimits, Instance, Module, Store};
use unskew_snapshot_benches::processor;
use unskew_tests::hostile::{BAD_ROWS, Expected, GOOD_ROWS, Guest, cases};

/// What a call may take beyond its deadline.
const ALLOWED: Duration = Duration::from_millis(1);
/// How many cases are shown.
const SHOWN: usize = 10;

#[derive(Parser)]
#[command(about = "How late calls of hostile components end, and what they leave behind")]
struct Options {
    /// Five calls of each case and a hundred rounds.
    #[arg(long)]
    quick: bool,
    /// One JSON object a line on standard output, the table on standard error.
    #[arg(long)]
    json: bool,
    /// What `cargo bench` passes.
    #[arg(long, hide = true)]
    bench: bool,
    /// How often each case is called and timed.
    #[arg(long, default_value_t = 20)]
    calls: usize,
    /// How often all cases are called while memory is watched.
    #[arg(long, default_value_t = 1_000)]
    rounds: usize,
}

/// A case that can be called.
struct Callable {
    name: &'static str,
    guest: Guest,
    module: Module,
    /// None for one that is answered.
    error: Option<CallError>,
}

impl Callable {
    /// Calls the bad batch, then a good one, which must be answered; what the bad call took.
    fn call(&self, instance: &mut Instance) -> Result<Duration, Box<dyn Error>> {
        let start = Instant::now();
        let result = self.guest.call(instance, BAD_ROWS);
        let took = start.elapsed();
        if result.as_ref().err() != self.error.as_ref() {
            let detail = instance.detail();
            return Err(format!("{}: {:?}, not {:?}: {detail}", self.name, result.err(), self.error).into());
        }
        match self.guest.call(instance, GOOD_ROWS) {
            Ok(answer) if answer == self.guest.answer(GOOD_ROWS) => Ok(took),
            answer => Err(format!("{}: a good batch gave {answer:?}", self.name).into()),
        }
    }
}

/// What the calls of a case took, ascending.
struct Timed {
    name: &'static str,
    took: Vec<Duration>,
}

impl Timed {
    fn median(&self) -> Duration {
        self.took[self.took.len() / 2]
    }

    fn longest(&self) -> Duration {
        self.took[self.took.len() - 1]
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut options = Options::parse();
    if options.quick {
        (options.calls, options.rounds) = (5, 100);
    }
    let say = |text: &str| {
        if options.json {
            eprintln!("{text}")
        } else {
            println!("{text}")
        }
    };
    let directory = tempfile::tempdir()?;
    let store = Store::new(directory.path());
    let (callable, refused) = load(&store)?;
    let limits = CallLimits::SERVING;
    say(&format!(
        "hostile: {} components: {refused} are not loaded, {} are called {} times, on one thread\n{}\n",
        callable.len() + refused,
        callable.len(),
        options.calls,
        processor()
    ));

    let mut timed = time(&callable, limits, options.calls)?;
    timed.sort_by_key(|timed| std::cmp::Reverse(timed.longest()));
    let ms = |duration: Duration| 1e3 * duration.as_secs_f64();
    say(&format!(
        "deadline {} ms; a call may take {} ms\n\n{:44}  median ms  longest ms",
        ms(limits.deadline),
        ms(limits.deadline + ALLOWED),
        "case"
    ));
    for timed in timed.iter().take(SHOWN) {
        say(&format!(
            "{:44} {:10.2} {:11.2}",
            timed.name,
            ms(timed.median()),
            ms(timed.longest())
        ));
    }
    let is_late = |took: Duration| took > limits.deadline + ALLOWED;
    let calls: usize = timed.iter().map(|timed| timed.took.len()).sum();
    let late_calls: usize = timed
        .iter()
        .map(|timed| timed.took.iter().filter(|took| is_late(**took)).count())
        .sum();
    let late_medians = timed.iter().filter(|timed| is_late(timed.median())).count();
    say(&format!(
        "\nlater than that: {late_calls} of {calls} calls, the median of {late_medians} of {} cases",
        timed.len()
    ));
    if options.json {
        for timed in &timed {
            let over = timed.longest().saturating_sub(limits.deadline);
            println!(
                "{}",
                json!({
                    "bench": "hostile", "case": timed.name, "rows": BAD_ROWS, "threads": 1, "unit": "ns",
                    "value": timed.longest().as_nanos() as u64, "median": timed.median().as_nanos() as u64,
                    "over_deadline": over.as_nanos() as u64, "machine": processor(),
                })
            );
        }
    }

    let growth = watch_memory(&callable, options.rounds)?;
    say(&format!(
        "{} rounds of all of them, at a deadline of 1 ms: resident memory {:.1} MiB after a tenth of them, {:.1} at the end",
        options.rounds,
        growth.0 as f64 / f64::from(1 << 20),
        growth.1 as f64 / f64::from(1 << 20)
    ));
    if options.json {
        println!(
            "{}",
            json!({
                "bench": "hostile", "case": "resident growth", "rows": BAD_ROWS, "threads": 1, "unit": "bytes",
                "value": growth.1 as i64 - growth.0 as i64, "rounds": options.rounds, "machine": processor(),
            })
        );
    }
    match late_medians {
        0 => Ok(()),
        _ => Err(format!(
            "{late_medians} cases end later than their deadline and {} ms",
            ms(ALLOWED)
        )
        .into()),
    }
}

/// The cases that can be called, and how many are refused before, each as it must be.
fn load(store: &Store) -> Result<(Vec<Callable>, usize), Box<dyn Error>> {
    let mut callable = Vec::new();
    let mut refused = 0;
    for case in cases() {
        match (case.expected, case.load_into(store)) {
            (Expected::Published(_) | Expected::Loaded(_), Err(_)) => refused += 1,
            (Expected::Failed(..) | Expected::Answered, Ok(module)) => callable.push(Callable {
                name: case.name,
                guest: case.guest().ok_or("what can be loaded can be called")?.clone(),
                module,
                error: match case.expected {
                    Expected::Failed(error, _) => Some(error),
                    _ => None,
                },
            }),
            (expected, loaded) => {
                return Err(format!("{}: {:?}, not {expected:?}", case.name, loaded.map(drop)).into());
            }
        }
    }
    Ok((callable, refused))
}

fn time(callable: &[Callable], limits: CallLimits, calls: usize) -> Result<Vec<Timed>, Box<dyn Error>> {
    let mut timed = Vec::new();
    for case in callable {
        let mut instance = case.module.instantiate(limits)?;
        case.call(&mut instance)?;
        let mut took = (0..calls)
            .map(|_| case.call(&mut instance))
            .collect::<Result<Vec<_>, _>>()?;
        took.sort();
        timed.push(Timed { name: case.name, took });
    }
    Ok(timed)
}

/// The resident bytes after a tenth of the rounds and after all of them.
fn watch_memory(callable: &[Callable], rounds: usize) -> Result<(u64, u64), Box<dyn Error>> {
    let limits = CallLimits {
        deadline: Duration::from_millis(1),
        ..CallLimits::SERVING
    };
    let mut instances = callable
        .iter()
        .map(|case| case.module.instantiate(limits))
        .collect::<Result<Vec<_>, _>>()?;
    let mut first = 0;
    for round in 0..rounds {
        if round == rounds / 10 {
            first = resident_bytes()?;
        }
        for (case, instance) in callable.iter().zip(&mut instances) {
            // What traps may be late here, and late is no wonder with a deadline as short.
            let result = case.guest.call(instance, BAD_ROWS);
            if result.is_ok() && case.error.is_some() {
                return Err(format!("{}: it was answered", case.name).into());
            }
        }
    }
    Ok((first, resident_bytes()?))
}

fn resident_bytes() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let kib = status.lines().find_map(|line| {
        line.strip_prefix("VmRSS:")?
            .trim()
            .strip_suffix(" kB")?
            .parse::<u64>()
            .ok()
    });
    Ok(kib.ok_or("the system does not tell")? << 10)
}
