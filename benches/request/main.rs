//! A whole bid, from its fields to the model's matrix, against the same by hand: one user and up to 128 candidates, features
//! of the user, of each item and of each pair of them, and a row transform on top.
//!
//! The native path reads hashbrown tables on the heap and calls the transform's own Rust source; both sides write the same
//! matrix of f32s, row by row, and are compared bit for bit before anything is timed. What is timed on the host's side is the
//! filling of the request, the evaluation and the writing of the matrix. Bids are about random rows of tables far larger than
//! the caches; both sides get the same bids, in blocks that take turns.

mod data;
mod native;
mod served;

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use clap::Parser;
use hdrhistogram::Histogram;
use serde_json::json;
use unskew::Host;
use unskew_snapshot_benches::{Figures, processor};

use crate::data::{Bids, Rows, Widths};
use crate::native::{Native, NativePath};
use crate::served::{Parts, SERVICES, Serving};

/// The setting by which glibc's allocator asks for huge pages, as the snapshots do.
const TUNABLES: &str = "GLIBC_TUNABLES";
const HUGE_PAGES: &str = "glibc.malloc.hugetlb=1";

const CANDIDATES: [usize; 4] = [1, 8, 32, 128];
const THREADS: [usize; 2] = [1, 2];
/// The value of missing cells: its bits are compared, too.
const MISSING: f32 = f32::NAN;
/// Bids that are compared before any is timed.
const CHECKED: usize = 500;

#[derive(Parser)]
#[command(about = "A whole bid, against the same by hand")]
struct Options {
    /// Fewer rounds and smaller tables: under a minute once built.
    #[arg(long)]
    quick: bool,
    /// One JSON object a line on standard output, the table on standard error.
    #[arg(long)]
    json: bool,
    /// Only these features in all: 24, 64 or 256.
    #[arg(long, value_delimiter = ',')]
    features: Vec<usize>,
    /// Only these candidates: 1, 8, 32 or 128.
    #[arg(long, value_delimiter = ',')]
    candidates: Vec<usize>,
    /// One side alone, once round, for a profiler: nothing is compared or printed.
    #[arg(long, value_enum)]
    profile: Option<Side>,
    /// What `cargo bench` passes.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Side {
    Native,
    Unskew,
}

impl Options {
    /// Of values in each table.
    fn table_bytes(&self) -> u64 {
        match (self.profile, self.quick) {
            // What is done does not depend on the size.
            (Some(_), _) => 1 << 20,
            (None, true) => 48 << 20,
            (None, false) => 192 << 20,
        }
    }

    fn rounds(&self) -> usize {
        if self.quick { 7 } else { 21 }
    }

    /// The bids of a block: fewer where they are longer.
    fn bids(&self, candidates: usize) -> usize {
        let bids = if self.quick { 24_000 } else { 80_000 };
        (bids / (candidates + 7)).max(100)
    }
}

fn main() -> std::io::Result<()> {
    if std::env::var_os(TUNABLES).is_none() {
        // The allocator reads its settings when a process begins.
        let mut again = Command::new(std::env::current_exe()?);
        return Err(again.args(std::env::args_os().skip(1)).env(TUNABLES, HUGE_PAGES).exec());
    }
    let options = Options::parse();
    let is_wanted = |features: usize| options.features.is_empty() || options.features.contains(&features);
    say(&options, &heads());
    if is_wanted(24) {
        run::<4, 6, 4>(&options)?;
    }
    if is_wanted(64) {
        run::<14, 24, 16>(&options)?;
    }
    if is_wanted(256) {
        run::<62, 100, 84>(&options)?;
    }
    Ok(())
}

fn run<const USER: usize, const ITEM: usize, const PAIR: usize>(options: &Options) -> std::io::Result<()> {
    let widths = Widths {
        user: USER,
        item: ITEM,
        pair: PAIR,
    };
    let rows = Rows::of_bytes(options.table_bytes(), widths);
    let directory = tempfile::tempdir()?;
    eprintln!("request: making {rows:?} of {widths:?}");
    let host = served::host(directory.path(), widths, rows);
    let native = Native::<USER, ITEM, PAIR>::new(rows);
    let bytes = host.health().mapped_bytes;
    for candidates in CANDIDATES {
        if !options.candidates.is_empty() && !options.candidates.contains(&candidates) {
            continue;
        }
        let case = Case {
            host: &host,
            native: &native,
            rows,
            bytes,
            features: widths.total(),
            candidates,
        };
        case.run(options);
    }
    Ok(())
}

struct Case<'a> {
    host: &'a Host,
    native: &'a dyn NativePath,
    rows: Rows,
    bytes: u64,
    features: usize,
    candidates: usize,
}

/// What one side took: the median by round, and bid by bid. Medians, because a bid during which the machine does something else
/// takes milliseconds.
struct Taken {
    median_ns: Vec<f64>,
    bid_ns: Histogram<u64>,
}

impl Taken {
    fn new() -> Self {
        Self {
            median_ns: Vec::new(),
            bid_ns: Histogram::new_with_max(1_000_000_000, 3).expect("good bounds"),
        }
    }
}

impl Case<'_> {
    fn run(&self, options: &Options) {
        if let Some(side) = options.profile {
            let mut bids = self.bids(7, 0);
            self.block(side, options.bids(self.candidates), &mut bids, &mut Taken::new());
            return;
        }
        self.check();
        for threads in THREADS {
            let (native, unskew) = self.take(options, threads);
            let figures = Figures::given([
                ("native".to_owned(), native.median_ns.clone()),
                ("unskew".to_owned(), unskew.median_ns.clone()),
            ]);
            let ratio = figures.median_ratio("unskew", "native");
            for (name, taken) in [("native", &native), ("unskew", &unskew)] {
                self.print(options, threads, name, taken, figures.median_ns(name), ratio);
            }
        }
        self.print_parts(options);
    }

    fn bids(&self, seed: u64, thread: usize) -> Bids {
        Bids::new(seed + ((thread as u64) << 32), self.rows, self.candidates)
    }

    /// Compares the matrices of both sides, bit for bit.
    fn check(&self) {
        let mut serving = Serving::new(self.host, SERVICES[0]);
        let (mut served, mut by_hand) = (Vec::new(), Vec::new());
        let mut bids = self.bids(1, 0);
        let mut missing = 0;
        for number in 0..CHECKED {
            let bid = bids.next();
            serving.evaluate(bid, MISSING, &mut served);
            self.native.evaluate(bid, MISSING, &mut by_hand);
            let bits = |cells: &[f32]| cells.iter().map(|cell| cell.to_bits()).collect::<Vec<u32>>();
            assert_eq!(
                bits(&served),
                bits(&by_hand),
                "bid {number} of {} candidates differs",
                self.candidates
            );
            missing += served.iter().filter(|cell| cell.is_nan()).count();
        }
        let cells = CHECKED * self.candidates * self.features;
        assert!(
            missing > cells / 100 && missing < cells / 2,
            "{missing} of {cells} are missing"
        );
        serving.check();
    }

    /// Blocks of both sides in turns, on so many threads at once.
    fn take(&self, options: &Options, threads: usize) -> (Taken, Taken) {
        let (mut native, mut unskew) = (Taken::new(), Taken::new());
        for round in 0..=options.rounds() {
            // The first round warms up.
            let mut sides = [(Side::Native, &mut native), (Side::Unskew, &mut unskew)];
            if round % 2 == 1 {
                sides.reverse();
            }
            for (side, taken) in sides {
                let blocks: Vec<Taken> = std::thread::scope(|scope| {
                    let block = |thread: usize| {
                        let mut bids = self.bids(2 + round as u64, thread);
                        let mut taken = Taken::new();
                        self.block(side, options.bids(self.candidates), &mut bids, &mut taken);
                        taken
                    };
                    let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || block(thread))).collect();
                    running
                        .into_iter()
                        .map(|block| block.join().expect("no panic"))
                        .collect()
                });
                if round > 0 {
                    let medians = blocks.iter().flat_map(|block| &block.median_ns);
                    taken.median_ns.push(medians.sum::<f64>() / threads as f64);
                    for block in &blocks {
                        taken.bid_ns.add(&block.bid_ns).expect("the same bounds");
                    }
                }
            }
        }
        (native, unskew)
    }

    /// Some bids, one after the other.
    fn block(&self, side: Side, count: usize, bids: &mut Bids, taken: &mut Taken) {
        let mut matrix = Vec::new();
        let mut serving = Serving::new(self.host, SERVICES[0]);
        // The first few make what later ones use again.
        for number in 0..count + count / 10 + 5 {
            let bid = bids.next();
            let start = Instant::now();
            match side {
                Side::Native => self.native.evaluate(bid, MISSING, &mut matrix),
                Side::Unskew => serving.evaluate(bid, MISSING, &mut matrix),
            }
            let elapsed = start.elapsed();
            std::hint::black_box(&matrix);
            if number >= count / 10 + 5 {
                taken.bid_ns.saturating_record(elapsed.as_nanos() as u64);
            }
        }
        taken.median_ns.push(taken.bid_ns.value_at_quantile(0.5) as f64);
    }

    fn print(&self, options: &Options, threads: usize, name: &str, taken: &Taken, median_ns: f64, ratio: f64) {
        let quantile = |quantile: f64| taken.bid_ns.value_at_quantile(quantile);
        let quantiles = [0.5, 0.99, 0.999, 0.9999].map(quantile);
        if options.json {
            let mut object = json!({
                "bench": "request",
                "case": format!("{}x{}/{name}", self.candidates, self.features),
                "rows": self.rows.users + self.rows.items + self.rows.pairs,
                "bytes": self.bytes,
                "threads": threads,
                "value": median_ns,
                "unit": "ns",
                "p50": quantiles[0],
                "p99": quantiles[1],
                "p999": quantiles[2],
                "p9999": quantiles[3],
                "machine": processor(),
            });
            if name == "unskew" {
                object["ratio"] = json!(ratio);
                object["relative_to"] = json!("native");
            }
            println!("{object}");
        }
        let micros = |ns: u64| format!("{:>9.2}", ns as f64 / 1e3);
        let ratio = if name == "unskew" {
            format!("{ratio:.2}")
        } else {
            String::new()
        };
        say(
            options,
            &format!(
                "{:>3} x {:<3} {threads} {name:<7} {:>9.2} {} {} {} {} {ratio:>6}",
                self.candidates,
                self.features,
                median_ns / 1e3,
                micros(quantiles[0]),
                micros(quantiles[1]),
                micros(quantiles[2]),
                micros(quantiles[3]),
            ),
        );
    }

    /// What the parts of the host's side take, with the transform and without.
    fn print_parts(&self, options: &Options) {
        for service in SERVICES {
            let mut serving = Serving::new(self.host, service);
            let mut bids = self.bids(1, 0);
            let mut matrix = Vec::new();
            let mut taken: Vec<Parts> = Vec::new();
            for number in 0..options.bids(self.candidates) + 20 {
                let parts = serving.evaluate_in_parts(bids.next(), MISSING, &mut matrix);
                if number >= 20 {
                    taken.push(parts);
                }
            }
            let median = |part: fn(&Parts) -> Duration| {
                let mut durations: Vec<Duration> = taken.iter().map(part).collect();
                durations.sort_unstable();
                durations[durations.len() / 2].as_nanos() as f64 / 1e3
            };
            say(
                options,
                &format!(
                    "            {service:<5}: request {:.2}, evaluate {:.2}, matrix {:.2} us",
                    median(|parts| parts.request),
                    median(|parts| parts.evaluate),
                    median(|parts| parts.matrix),
                ),
            );
        }
    }
}

fn heads() -> String {
    format!(
        "request: candidates x features, threads; us a bid; {}\n{:<18} {:>9} {:>9} {:>9} {:>9} {:>9} {:>6}",
        processor(),
        "",
        "median",
        "p50",
        "p99",
        "p99.9",
        "p99.99",
        "ratio"
    )
}

fn say(options: &Options, line: &str) {
    if options.json {
        eprintln!("{line}");
    } else {
        println!("{line}");
    }
}
