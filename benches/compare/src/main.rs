//! Lookups in a snapshot and in what else could serve features from one machine's memory, in one run on the same rows.
//!
//! | store | how |
//! |---|---|
//! | unskew | a snapshot, opened as a private copy; `get`, `get_many` |
//! | hashbrown | a map from i64 on the heap, with its default hash |
//! | LMDB | heed; integer keys, appended in order; one read transaction |
//! | redb | inserted in order, compacted; a cache with room for everything; one read transaction |
//! | RocksDB, blocks | one compacted level, Bloom filters of whole keys, hash index in blocks, a warm cache with room for everything |
//! | RocksDB, mmap | plain tables, hashed by whole keys, mapped into memory |
//! | Redis | 7 or later over a unix socket, nothing saved; `GET`, `MGET`; the server on another core |
//!
//! Rows have an i64 key, an event time, a word of presence bits and 5 values: 64 bytes. Measured for each:
//!
//! - one lookup at a time: one value is read, and hangs the next key on it, so that no two overlap; relative to one dependent
//!   memory miss in as many cells of 64 bytes
//! - 100 at a time, by a call for many where the store has one, then all values of the rows are read
//! - bytes a row, on disk or in memory, whichever the store serves from; the time to load unsorted rows until all is ready
//!
//! Stores take turns in rounds; the medians count, and of ratios the median of the rounds'. Keys are in the store's own form
//! before the clock runs. Everything is in memory: files are in the page cache. The process asks its allocator for huge pages,
//! which hashbrown and the caches of redb and RocksDB then have; files have small ones.
//!
//! Before anything is timed, every store is asked for all keys of its sample, every value compared, and for keys it has not.
//!
//! `cargo run --release --manifest-path benches/compare/Cargo.toml -- [--quick] [--json] [--rows 4000000] [--without redis]`
//!
//! The first build compiles RocksDB, three quarters of an hour of one core, and needs a C++ compiler and libclang. Without it:
//! `cargo run --release --no-default-features --manifest-path benches/compare/Cargo.toml -- --without rocksdb`

mod hash_map;
mod lmdb;
mod peer;
mod redb_table;
mod redis;
#[cfg(feature = "rocksdb")]
mod rocks;
mod snapshot;

use std::error::Error;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::{Parser, ValueEnum};
use unskew_snapshot_benches::{Arguments, Figure, Figures, Machine, Measure, Report, Table};

use crate::peer::{BATCH_KEYS, Contestant, Entry, ROW_BYTES};

/// The setting by which glibc's allocator asks for huge pages.
const TUNABLES: &str = "GLIBC_TUNABLES";
const HUGE_PAGES: &str = "glibc.malloc.hugetlb=1";

#[derive(Parser)]
#[command(about = "Lookups in a snapshot and in other stores")]
struct Options {
    #[command(flatten)]
    common: Arguments,
    /// Rows.
    #[arg(long, default_value_t = 4_000_000)]
    rows: u64,
    /// Stores to leave out, separated by commas.
    #[arg(long, value_delimiter = ',', value_enum)]
    without: Vec<Store>,
    /// Where files go for as long as the bench runs.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    directory: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Store {
    Hashbrown,
    Lmdb,
    Redb,
    Rocksdb,
    Redis,
}

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::var_os(TUNABLES).is_none() {
        // The allocator reads its settings when a process begins.
        let mut again = Command::new(std::env::current_exe()?);
        return Err(again
            .args(std::env::args_os().skip(1))
            .env(TUNABLES, HUGE_PAGES)
            .exec()
            .into());
    }
    let mut options = Options::parse();
    if options.common.quick {
        options.rows = 1_000_000;
    }
    let report = Report {
        bench: "compare",
        json: options.common.json,
    };
    let folder = tempfile::tempdir_in(&options.directory)?;
    let contestants = contestants(&report, &options, folder.path())?;
    let pages = contestants[0].pages();
    let machine = Machine::new(options.rows, ROW_BYTES, pages, options.common.lookups())?;
    if machine.pages() != pages {
        report.progress("the memory of `miss` is in other pages than the snapshot: its ratios say little");
    }
    let mut measures: Vec<Measure<'_>> = machine.measures();
    for contestant in &contestants {
        measures.extend(contestant.measures());
    }
    report.progress("measuring");
    let figures = Figures::take(options.common.rounds(), measures);
    show(&report, options.rows, &figures, &contestants);
    Ok(())
}

/// Ours first, and all that were not left out, loaded and checked.
fn contestants(report: &Report, options: &Options, folder: &Path) -> Result<Vec<Box<dyn Contestant>>, Box<dyn Error>> {
    let rows = options.rows;
    let lookups = if options.common.quick { 20_000 } else { 100_000 };
    let is_wanted = |store| !options.without.contains(&store);
    let mut contestants: Vec<Box<dyn Contestant>> = Vec::new();
    report.progress("loading the snapshot");
    contestants.push(Entry::<snapshot::SnapshotFile>::load(rows, folder, 5 * lookups)?);
    if is_wanted(Store::Hashbrown) {
        report.progress("loading hashbrown");
        contestants.push(Entry::<hash_map::HeapMap>::load(rows, folder, 5 * lookups)?);
    }
    if is_wanted(Store::Lmdb) {
        report.progress("loading LMDB");
        contestants.push(Entry::<lmdb::Lmdb>::load(rows, folder, 2 * lookups)?);
    }
    if is_wanted(Store::Redb) {
        report.progress("loading redb");
        contestants.push(Entry::<redb_table::Redb>::load(rows, folder, 2 * lookups)?);
    }
    if is_wanted(Store::Rocksdb) {
        report.progress("loading RocksDB");
        contestants.extend(rocksdb(rows, folder, lookups)?);
    }
    if is_wanted(Store::Redis) {
        report.progress("loading Redis");
        contestants.push(Entry::<redis::Redis>::load(rows, folder, lookups)?);
    }
    Ok(contestants)
}

#[cfg(feature = "rocksdb")]
fn rocksdb(rows: u64, folder: &Path, lookups: usize) -> Result<[Box<dyn Contestant>; 2], Box<dyn Error>> {
    Ok([
        Entry::<rocks::Blocks>::load(rows, folder, lookups)?,
        Entry::<rocks::Mapped>::load(rows, folder, lookups)?,
    ])
}

#[cfg(not(feature = "rocksdb"))]
fn rocksdb(_rows: u64, _folder: &Path, _lookups: usize) -> Result<[Box<dyn Contestant>; 0], Box<dyn Error>> {
    Err("this was built without RocksDB: build it with its default features, or use --without rocksdb".into())
}

fn show(report: &Report, rows: u64, figures: &Figures, contestants: &[Box<dyn Contestant>]) {
    let mut table = Table::new(&[
        "store",
        "load ns/row",
        "bytes/row",
        "get ns",
        "x miss",
        "x unskew",
        "100 keys, ns/key",
        "x miss",
        "x unskew",
    ]);
    let ours = &contestants[0];
    let miss = Machine::miss();
    for contestant in contestants {
        let mut line = vec![
            contestant.name().to_owned(),
            format!("{:.0}", contestant.load_ns()),
            format!("{:.0}", contestant.bytes() as f64 / rows as f64),
        ];
        for (index, measure) in contestant.measure_names().iter().enumerate() {
            let ours = &ours.measure_names()[index];
            let value = figures.median_ns(measure);
            let bases = [(miss, "miss"), (ours, "unskew")];
            let ratios = bases.map(|(base, name)| (figures.median_ratio(measure, base), name));
            line.push(format!("{value:.1}"));
            line.extend(ratios.map(|(ratio, _)| format!("{ratio:.2}")));
            report.figures(ratios.map(|ratio| Figure {
                case: measure.clone(),
                rows,
                bytes: contestant.bytes(),
                value,
                unit: "ns",
                ratio: Some(ratio),
            }));
        }
        report.figures([Figure {
            case: format!("{}/load", contestant.name()),
            rows,
            bytes: contestant.bytes(),
            value: contestant.load_ns(),
            unit: "ns",
            ratio: None,
        }]);
        table.push(line);
    }
    let about = format!(
        "{rows} rows x {ROW_BYTES} B with i64 keys, {BATCH_KEYS} keys at a time; one miss {:.1} ns in {} pages; medians of \
         interleaved rounds",
        figures.median_ns(miss),
        ours.pages().name(),
    );
    report.table(&about, &table);
}
