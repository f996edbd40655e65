//! Requests while generations are swapped without a pause, against requests while none is.
//!
//! Two generations of two views each, and a module each; every row and every output of the module says which generation it is
//! of. A request looks up a user and 32 items and calls the module for them; all stamps of all its rows must be the generation
//! that it says it saw, and all other values those of its rows. Threads take requests one after the other, at full load, in turns
//! of seconds with and without swaps; a swap opens files that the kernel has in memory, as a host does that just fetched them.
//!
//! `cargo bench -p unskew-benches --bench swap -- [--quick] [--json] [--bytes 1073741824] [--threads 1,2]`

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use hdrhistogram::Histogram;
use serde_json::json;
use unskew::{CallLimits, Host, HostOptions, Store};
use unskew_snapshot_benches::{Random, processor};
use unskew_tests::stamped::{
    Answer, ITEMS, ROW_BYTES, Rows, VIEWS, answer, fill, generation_bytes, publish, request, set_current,
};

const MAX_NS: u64 = 60_000_000_000;

#[derive(Parser)]
#[command(about = "The tail of requests during swaps of generations")]
struct Options {
    /// Generations of 64 MiB and turns of a second: under a minute once built.
    #[arg(long)]
    quick: bool,
    /// One JSON object a line on standard output, the table on standard error.
    #[arg(long)]
    json: bool,
    /// What `cargo bench` passes.
    #[arg(long, hide = true)]
    bench: bool,
    /// About the bytes of the snapshots of a generation.
    #[arg(long, default_value_t = 1 << 30)]
    bytes: u64,
    /// How many threads take requests: each number is a case.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
    threads: Vec<usize>,
    /// The length of a turn, in seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How often both turns are taken.
    #[arg(long, default_value_t = 4)]
    rounds: usize,
    /// Where the store is for as long as the bench runs.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    directory: PathBuf,
}

/// What goes on, for the threads that serve.
const PAUSE: u8 = 0;
const STEADY: u8 = 1;
const SWAPPING: u8 = 2;
const END: u8 = 3;

/// A store with two generations of so many rows in each view.
struct Stamped {
    store: Store,
    rows: u64,
}

/// What the threads that serve found.
struct Found {
    steady: Histogram<u64>,
    swapping: Histogram<u64>,
    requests: u64,
    mixed: u64,
    failed: u64,
}

impl Found {
    fn new() -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            steady: Histogram::new_with_max(MAX_NS, 3)?,
            swapping: Histogram::new_with_max(MAX_NS, 3)?,
            requests: 0,
            mixed: 0,
            failed: 0,
        })
    }

    fn add(&mut self, other: &Self) -> Result<(), Box<dyn Error>> {
        self.steady.add(&other.steady)?;
        self.swapping.add(&other.swapping)?;
        self.requests += other.requests;
        self.mixed += other.mixed;
        self.failed += other.failed;
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut options = Options::parse();
    if options.quick {
        (options.bytes, options.seconds, options.rounds) = (64 << 20, 1, 2);
    }
    let rows = options.bytes / (ROW_BYTES + 6) / VIEWS.len() as u64;
    let directory = tempfile::tempdir_in(&options.directory)?;
    let store = Store::new(directory.path());
    for generation in 1..=2 {
        eprintln!(
            "swap: writing generation {generation}: {rows} rows in each of {} views",
            VIEWS.len()
        );
        publish(&store, generation, rows)?;
    }
    let host = Host::open(
        store.root(),
        HostOptions {
            // A late call would be a failed read, which is counted; this machine may have other work.
            limits: CallLimits {
                deadline: Duration::from_secs(1),
                ..CallLimits::SERVING
            },
            kept_generations: 0,
            ..HostOptions::default()
        },
    )?;
    let stamped = Stamped { store, rows };
    check(&host, &stamped)?;
    let say = |text: &str| {
        if options.json {
            eprintln!("{text}")
        } else {
            println!("{text}")
        }
    };
    let generation_bytes = generation_bytes(&stamped.store, 1)?;
    say(&format!(
        "swap: {} rows of {ROW_BYTES} B in each of {} views, {:.0} MiB a generation; requests of {ITEMS} items\n{}\n",
        stamped.rows,
        VIEWS.len(),
        generation_bytes as f64 / f64::from(1 << 20),
        processor()
    ));
    say("threads  turn          requests    p50 us    p99 us  p99.9 us  p99.99 us    max ms   swaps  s/swap");
    for threads in &options.threads {
        run(&options, &host, &stamped, *threads, generation_bytes, &say)?;
    }
    Ok(())
}

fn run(
    options: &Options,
    host: &Host,
    stamped: &Stamped,
    threads: usize,
    generation_bytes: u64,
    say: &dyn Fn(&str),
) -> Result<(), Box<dyn Error>> {
    let before = Memory::now(stamped)?;
    let turn = AtomicU8::new(PAUSE);
    let (mut swaps, mut swapping) = (0_u64, Duration::ZERO);
    let found = thread::scope(|scope| -> Result<Found, Box<dyn Error>> {
        let serving: Vec<_> = (0..threads)
            .map(|seed| {
                scope.spawn({
                    let turn = &turn;
                    move || serve(host, stamped, seed as u64, turn).map_err(|error| error.to_string())
                })
            })
            .collect();
        let result = take_turns(options, host, stamped, &turn, &mut swaps, &mut swapping);
        turn.store(END, Ordering::Relaxed);
        let mut found = Found::new()?;
        for thread in serving {
            found.add(&thread.join().map_err(|_| "a thread panicked")??)?;
        }
        result.map(|()| found)
    })?;
    let us = |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    let quantiles = [0.5, 0.99, 0.999, 0.9999];
    for (name, histogram) in [("steady", &found.steady), ("swapping", &found.swapping)] {
        let [p50, p99, p999, p9999] = quantiles.map(|quantile| us(histogram, quantile));
        let max_ms = histogram.max() as f64 / 1e6;
        let (count, each) = match name {
            "swapping" => (swaps, swapping.as_secs_f64() / swaps.max(1) as f64),
            _ => (0, 0.0),
        };
        say(&format!(
            "{threads:7}  {name:10} {:11} {p50:9.2} {p99:9.2} {p999:9.2} {p9999:10.2} {max_ms:9.2} {count:7} {each:7.3}",
            histogram.len()
        ));
        if options.json {
            for (quantile, value) in [("p50", p50), ("p99", p99), ("p99.9", p999), ("p99.99", p9999)] {
                let mut object = json!({
                    "bench": "swap", "case": format!("{name}/{quantile}"), "rows": stamped.rows, "bytes": generation_bytes,
                    "threads": threads, "value": 1e3 * value, "unit": "ns", "machine": processor(),
                });
                if name == "swapping" {
                    object["swaps"] = json!(swaps);
                    object["ratio"] = json!(
                        value
                            / us(
                                &found.steady,
                                quantiles[["p50", "p99", "p99.9", "p99.99"]
                                    .iter()
                                    .position(|q| *q == quantile)
                                    .unwrap_or(0)]
                            )
                    );
                    object["relative_to"] = json!("steady");
                }
                println!("{object}");
            }
        }
    }
    let ratio = |quantile| us(&found.swapping, quantile) / us(&found.steady, quantile);
    let after = Memory::settled(stamped, &before)?;
    say(&format!(
        "         ratio of p50 {:.2}, p99 {:.2}, p99.9 {:.2}, p99.99 {:.2}; of {} requests {} failed and {} saw two generations\n         \
         before and after: {before}; {after}\n",
        ratio(0.5),
        ratio(0.99),
        ratio(0.999),
        ratio(0.9999),
        found.requests,
        found.failed,
        found.mixed
    ));
    if found.failed + found.mixed > 0 {
        return Err(format!(
            "{} requests failed and {} saw two generations",
            found.failed, found.mixed
        )
        .into());
    }
    Ok(())
}

fn take_turns(
    options: &Options,
    host: &Host,
    stamped: &Stamped,
    turn: &AtomicU8,
    swaps: &mut u64,
    swapping: &mut Duration,
) -> Result<(), Box<dyn Error>> {
    let seconds = Duration::from_secs(options.seconds);
    for _ in 0..options.rounds {
        turn.store(STEADY, Ordering::Relaxed);
        thread::sleep(seconds);
        let start = Instant::now();
        turn.store(SWAPPING, Ordering::Relaxed);
        // Two at least, so that both generations come.
        let mut here = 0;
        while here < 2 || start.elapsed() < seconds {
            set_current(&stamped.store, 3 - host.current())?;
            host.refresh()?;
            here += 1;
        }
        *swaps += here;
        *swapping += start.elapsed();
        // What was let go is freed in a moment, which is of neither turn.
        turn.store(PAUSE, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// Takes requests until the end.
fn serve(host: &Host, stamped: &Stamped, seed: u64, turn: &AtomicU8) -> Result<Found, Box<dyn Error>> {
    let mut found = Found::new()?;
    let mut session = host.session();
    let mut request = request(host)?;
    let mut random = Random::new(seed + 1);
    loop {
        let current = turn.load(Ordering::Relaxed);
        if current == END {
            return Ok(found);
        }
        let rows = pick(&mut random, stamped.rows);
        fill(&mut request, &rows)?;
        let start = Instant::now();
        let answer = answer(&mut session, &request, &rows);
        let ns = start.elapsed().as_nanos() as u64;
        found.requests += 1;
        match answer {
            Answer::Right => {}
            Answer::Mixed => found.mixed += 1,
            Answer::Failed => found.failed += 1,
        }
        // A request that another turn overtook is of neither.
        match turn.load(Ordering::Relaxed) {
            STEADY if current == STEADY => found.steady.record(ns)?,
            SWAPPING if current == SWAPPING => found.swapping.record(ns)?,
            _ => {}
        }
    }
}

fn pick(random: &mut Random, rows: u64) -> Rows {
    let mut picked = [0; ITEMS + 1];
    picked.fill_with(|| random.below(rows));
    picked
}

/// Before anything is timed: both generations answer rightly.
fn check(host: &Host, stamped: &Stamped) -> Result<(), Box<dyn Error>> {
    let mut session = host.session();
    let mut request = request(host)?;
    let mut random = Random::new(7);
    for generation in [2, 1] {
        set_current(&stamped.store, generation)?;
        host.refresh()?;
        for _ in 0..1_000 {
            let rows = pick(&mut random, stamped.rows);
            fill(&mut request, &rows)?;
            if answer(&mut session, &request, &rows) != Answer::Right {
                return Err(format!("generation {generation} gives wrong answers").into());
            }
        }
    }
    Ok(())
}

/// What this process has.
struct Memory {
    resident_bytes: u64,
    mappings: usize,
    files: usize,
    snapshots: usize,
}

impl Memory {
    fn now(stamped: &Stamped) -> Result<Self, Box<dyn Error>> {
        let maps = fs::read_to_string("/proc/self/maps")?;
        let status = fs::read_to_string("/proc/self/status")?;
        let kib = status.lines().find_map(|line| {
            line.strip_prefix("VmRSS:")?
                .trim()
                .strip_suffix(" kB")?
                .parse::<u64>()
                .ok()
        });
        let root = stamped.store.root().display().to_string();
        Ok(Self {
            resident_bytes: kib.ok_or("the system does not tell")? << 10,
            mappings: maps.lines().count(),
            files: fs::read_dir("/proc/self/fd")?.count(),
            snapshots: maps.lines().filter(|line| line.contains(&root)).count(),
        })
    }

    /// When what was let go is freed, or after a while.
    fn settled(stamped: &Stamped, before: &Self) -> Result<Self, Box<dyn Error>> {
        let start = Instant::now();
        loop {
            let now = Self::now(stamped)?;
            if now.snapshots == before.snapshots || start.elapsed() > Duration::from_secs(10) {
                return Ok(now);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl std::fmt::Display for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.0} MiB resident, {} mappings ({} of snapshots), {} files",
            self.resident_bytes as f64 / f64::from(1 << 20),
            self.mappings,
            self.snapshots,
            self.files
        )
    }
}
