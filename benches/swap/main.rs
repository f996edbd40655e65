//! Requests while generations are swapped without a pause, against requests while none is.
//!
//! Two generations of two views each, and a module each; every row and every output of the module says which generation it is
//! of. A request looks up a user and 32 items and calls the module for them; all stamps of all its rows must be the generation
//! that it says it saw, and all other values those of its rows. Threads take requests one after the other, at full load, in turns
//! of seconds with and without swaps; a swap opens files that the kernel has in memory, as a host does that just fetched them.
//! Quantiles are medians of those of the turns, and their ratios medians of those within a round, so that what else the machine
//! does in one of them does not show. Whether a slow request lost its processor to another thread is asked of the system; the
//! lines `alone` leave those requests out.
//!
//! `cargo bench -p unskew-benches --bench swap -- [--quick] [--json] [--bytes 1073741824] [--threads 1,2] [--private]`

mod memory;
mod serving;

use std::error::Error;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use hdrhistogram::Histogram;
use serde_json::json;
use unskew::{Backing, CallLimits, Host, HostOptions, Store};
use unskew_snapshot_benches::processor;
use unskew_tests::stamped::{ITEMS, ROW_BYTES, VIEWS, generation_bytes, publish, set_current};

use memory::Memory;
use serving::{Found, Turn, check, serve};

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
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Whether snapshots are copied into memory of the process.
    #[arg(long)]
    private: bool,
    /// Where the store is for as long as the bench runs.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    directory: PathBuf,
}

/// A store with two generations of so many rows in each view.
struct Stamped {
    store: Store,
    rows: u64,
    generation_bytes: u64,
}

/// The columns of the table.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];

fn main() -> Result<(), Box<dyn Error>> {
    let mut options = Options::parse();
    if options.quick {
        (options.bytes, options.seconds, options.rounds) = (64 << 20, 1, 3);
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
            snapshots: match options.private {
                true => Backing::Private,
                false => Backing::File,
            },
            ..HostOptions::default()
        },
    )?;
    let stamped = Stamped {
        rows,
        generation_bytes: generation_bytes(&store, 1)?,
        store,
    };
    check(&host, &stamped)?;
    let say = |text: &str| {
        if options.json {
            eprintln!("{text}")
        } else {
            println!("{text}")
        }
    };
    say(&format!(
        "swap: {} rows of {ROW_BYTES} B in each of {} views, {:.0} MiB a generation, {}; requests of {ITEMS} items\n{}\n",
        stamped.rows,
        VIEWS.len(),
        mib(stamped.generation_bytes),
        if options.private { "copied" } else { "mapped" },
        processor()
    ));
    say("threads  turn            requests    p50 us    p99 us  p99.9 us  p99.99 us    max ms");
    for threads in &options.threads {
        run(&options, &host, &stamped, *threads, &say)?;
    }
    Ok(())
}

/// What a case took beside its requests.
struct Swaps {
    count: u64,
    took: Duration,
    peak_bytes: u64,
}

fn run(
    options: &Options,
    host: &Host,
    stamped: &Stamped,
    threads: usize,
    say: &dyn Fn(&str),
) -> Result<(), Box<dyn Error>> {
    let before = Memory::now(stamped)?;
    let turn = AtomicU8::new(Turn::Pause as u8);
    let (swaps, rounds) = thread::scope(|scope| -> Result<(Swaps, Vec<Found>), Box<dyn Error>> {
        let serving: Vec<_> = (0..threads)
            .map(|seed| {
                scope.spawn({
                    let turn = &turn;
                    move || serve(host, stamped, seed as u64, turn, options.rounds).map_err(|error| error.to_string())
                })
            })
            .collect();
        let swaps = take_turns(options, host, stamped, &turn);
        turn.store(Turn::End as u8, Ordering::Relaxed);
        let mut rounds = (0..options.rounds)
            .map(|_| Found::new())
            .collect::<Result<Vec<_>, _>>()?;
        for thread in serving {
            let found = thread.join().map_err(|_| "a thread panicked")??;
            for (round, found) in rounds.iter_mut().zip(&found) {
                round.add(found)?;
            }
        }
        Ok((swaps?, rounds))
    })?;
    report(options, stamped, threads, &swaps, &rounds, say);
    let after = Memory::settled(stamped, &before)?;
    let sum = |count: fn(&Found) -> u64| rounds.iter().map(count).sum::<u64>();
    let (requests, failed, mixed) = (
        sum(|found| found.requests),
        sum(|found| found.failed),
        sum(|found| found.mixed),
    );
    say(&format!(
        "         {} swaps of {:.2} s; of {requests} requests {failed} failed and {mixed} saw two generations\n         \
         before and after: {before}; {after}; at most {:.0} MiB, {:.2} generations\n",
        swaps.count,
        swaps.took.as_secs_f64() / swaps.count.max(1) as f64,
        mib(swaps.peak_bytes),
        swaps.peak_bytes as f64 / stamped.generation_bytes as f64
    ));
    match failed + mixed {
        0 => Ok(()),
        _ => Err(format!("{failed} requests failed and {mixed} saw two generations").into()),
    }
}

/// The table: all requests, and those that kept their processor.
fn report(options: &Options, stamped: &Stamped, threads: usize, swaps: &Swaps, rounds: &[Found], say: &dyn Fn(&str)) {
    let quantile = |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    for (suffix, is_alone) in [("", false), (", alone", true)] {
        let pairs = || rounds.iter().map(|round| round.pair(is_alone));
        for (name, is_swapping) in [("steady", false), ("swapping", true)] {
            let histograms: Vec<_> = pairs()
                .map(|(steady, swapping)| if is_swapping { swapping } else { steady })
                .collect();
            let of = |of_turn: &dyn Fn(&Histogram<u64>) -> f64| {
                median(histograms.iter().map(|histogram| of_turn(histogram)))
            };
            let count: u64 = histograms.iter().map(|histogram| histogram.len()).sum();
            let max = histograms.iter().map(|histogram| histogram.max()).max().unwrap_or(0);
            let values = QUANTILES.map(|(_, q)| of(&|histogram| quantile(histogram, q)));
            say(&format!(
                "{threads:7}  {:15} {count:8} {:9.2} {:9.2} {:9.2} {:10.2} {:9.2}",
                format!("{name}{suffix}"),
                values[0],
                values[1],
                values[2],
                values[3],
                max as f64 / 1e6
            ));
            if !options.json {
                continue;
            }
            for ((label, q), value) in QUANTILES.iter().zip(values) {
                let mut object = json!({
                    "bench": "swap", "case": format!("{name}{suffix}/{label}"), "rows": stamped.rows,
                    "bytes": stamped.generation_bytes, "threads": threads, "value": 1e3 * value, "unit": "ns",
                    "machine": processor(),
                });
                if is_swapping {
                    let ratios = pairs().map(|(steady, swapping)| quantile(swapping, *q) / quantile(steady, *q));
                    object["ratio"] = json!(median(ratios));
                    object["relative_to"] = json!("steady");
                    object["swaps"] = json!(swaps.count);
                }
                println!("{object}");
            }
        }
        let ratios = QUANTILES.map(|(label, q)| {
            let ratios = pairs().map(|(steady, swapping)| quantile(swapping, q) / quantile(steady, q));
            format!("{label} {:.2}", median(ratios))
        });
        say(&format!("         ratios{suffix}: {}", ratios.join(", ")));
    }
    let slow = |of: fn(&Found) -> [u64; 2]| rounds.iter().map(of).fold([0; 2], |a, b| [a[0] + b[0], a[1] + b[1]]);
    let [steady, swapping] = slow(|found| found.preempted);
    say(&format!(
        "         lost their processor: {steady} steady, {swapping} swapping"
    ));
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn take_turns(options: &Options, host: &Host, stamped: &Stamped, turn: &AtomicU8) -> Result<Swaps, Box<dyn Error>> {
    let seconds = Duration::from_secs(options.seconds);
    let mut swaps = Swaps {
        count: 0,
        took: Duration::ZERO,
        peak_bytes: 0,
    };
    for round in 0..options.rounds {
        turn.store(Turn::steady(round), Ordering::Relaxed);
        thread::sleep(seconds);
        memory::forget_peak();
        let start = Instant::now();
        turn.store(Turn::swapping(round), Ordering::Relaxed);
        // Two at least, so that both generations come.
        let mut here = 0;
        while here < 2 || start.elapsed() < seconds {
            set_current(&stamped.store, 3 - host.current())?;
            host.refresh()?;
            here += 1;
        }
        swaps.count += here;
        swaps.took += start.elapsed();
        swaps.peak_bytes = swaps.peak_bytes.max(memory::peak_bytes()?);
        // What was let go is freed in a moment, which is of neither turn.
        turn.store(Turn::Pause as u8, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(200));
    }
    Ok(swaps)
}
