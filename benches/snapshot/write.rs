//! Writing a snapshot: rows in no order, pushed one by one, then sorted, indexed, written and synced by `finish`.
//!
//! One thread. Keys are made beforehand; the time of `push` has the making of values in it, a few nanoseconds each. Before the
//! rounds one file is written, opened and asked for every 97th row; the rounds' files must have the same bytes.
//!
//! `cargo bench -p unskew-snapshot-benches --bench write -- [--quick] [--json] [--rows 4000000]`

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use unskew_snapshot::Snapshot;
use unskew_snapshot_benches::{
    Arguments, EncodedKeys, Figure, Figures, KeyKind, Report, RowShape, Table, snapshot_key, value, write_snapshot,
};
use xxhash_rust::xxh3::xxh3_64;

const CHECKED_ROW_STEP: usize = 97;

#[derive(Parser)]
#[command(about = "The rate of writing a snapshot from unsorted rows")]
struct Options {
    #[command(flatten)]
    common: Arguments,
    /// Rows.
    #[arg(long, default_value_t = 4_000_000)]
    rows: u64,
    /// The width of a row that holds its key, event time, presence bits and values.
    #[arg(long, default_value_t = 64)]
    row_bytes: usize,
    /// How often the file is written.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Where the files go for as long as the bench runs.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    directory: PathBuf,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut options = Options::parse();
    if options.common.quick {
        (options.rows, options.row_bytes, options.rounds) = (1_000_000, 64, 3);
    }
    let report = Report {
        bench: "write",
        json: options.common.json,
    };
    let mut table = Table::new(&[
        "rows x bytes, key",
        "file B/row",
        "push ns/row",
        "finish ns/row",
        "rows/s",
        "file MB/s",
    ]);
    for key in [KeyKind::I64, KeyKind::String] {
        let shape = RowShape {
            key,
            row_bytes: options.row_bytes,
        };
        table.push(run(&report, &options, shape)?);
    }
    report.table("writing a snapshot from unsorted rows; medians", &table);
    Ok(())
}

fn run(report: &Report, options: &Options, shape: RowShape) -> Result<Vec<String>, Box<dyn Error>> {
    let rows = options.rows;
    let case = format!("{} B, {}", shape.row_bytes, shape.key.name());
    report.progress(&format!("{rows} rows of {case}"));
    let folder = tempfile::tempdir_in(&options.directory)?;
    let path = folder.path().join("rows.snapshot");
    let keys = EncodedKeys::new(shape.key, 0..rows);
    let first = write(&path, shape, &keys, rows)?;
    check(&path, shape, rows)?;

    let mut rounds = Vec::new();
    for _ in 0..options.rounds {
        fs::remove_file(&path)?;
        let round = write(&path, shape, &keys, rows)?;
        if round.digest != first.digest {
            return Err("the same rows gave a file of other bytes".into());
        }
        rounds.push(round);
    }
    let figures = taken(&rounds);
    let [push_ns, finish_ns, total_ns] = ["push", "finish", "total"].map(|name| figures.median_ns(name));
    report.figures(
        [("push", push_ns), ("finish", finish_ns), ("total", total_ns)].map(|(name, ns)| Figure {
            case: format!("{case}/{name}"),
            rows,
            bytes: first.file_bytes,
            value: ns,
            unit: "ns",
            ratio: None,
        }),
    );
    let file_bytes = first.file_bytes as f64 / rows as f64;
    Ok(vec![
        format!("{rows} x {case}"),
        format!("{file_bytes:.1}"),
        format!("{push_ns:.0}"),
        format!("{finish_ns:.0}"),
        format!("{:.0}", 1e9 / total_ns),
        format!("{:.0}", 1e3 * file_bytes / total_ns),
    ])
}

/// One writing, in nanoseconds a row.
struct Round {
    push_ns: f64,
    finish_ns: f64,
    file_bytes: u64,
    digest: u64,
}

fn write(path: &Path, shape: RowShape, keys: &EncodedKeys, rows: u64) -> Result<Round, Box<dyn Error>> {
    let start = Instant::now();
    let mut pushed = start;
    let written = write_snapshot(path, shape, keys, || pushed = Instant::now())?;
    let end = Instant::now();
    Ok(Round {
        push_ns: (pushed - start).as_nanos() as f64 / rows as f64,
        finish_ns: (end - pushed).as_nanos() as f64 / rows as f64,
        file_bytes: written.file_bytes,
        digest: xxh3_64(&fs::read(path)?),
    })
}

fn check(path: &Path, shape: RowShape, rows: u64) -> Result<(), Box<dyn Error>> {
    let snapshot = Snapshot::open(path)?;
    for row in (0..rows).step_by(CHECKED_ROW_STEP) {
        let key = snapshot_key(shape.key, row);
        let is_right = snapshot.get(key.as_ref()).is_some_and(|found| {
            let mut features = 0..shape.feature_count();
            features.all(|feature| found.f64(feature) == value(row, feature))
        });
        if !is_right {
            return Err(format!("the row of the key {key} is wrong").into());
        }
    }
    if snapshot.len() as u64 != rows {
        return Err(format!("{rows} rows were pushed and {} are there", snapshot.len()).into());
    }
    Ok(())
}

/// The rounds as figures.
fn taken(rounds: &[Round]) -> Figures {
    type Of = fn(&Round) -> f64;
    let parts: [(&str, Of); 3] = [
        ("push", |round| round.push_ns),
        ("finish", |round| round.finish_ns),
        ("total", |round| round.push_ns + round.finish_ns),
    ];
    Figures::given(parts.map(|(name, of)| (name.to_owned(), rounds.iter().map(of).collect())))
}
