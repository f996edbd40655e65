//! Lookups in a snapshot, through its public API, as shares of what the machine can do with rows of that size.
//!
//! - `get`: one key, verified, and one value read; which key is asked for depends on the value before, so that no two
//!   lookups overlap. Relative to one dependent memory miss.
//! - `get_many`: 100 keys, then all values of the rows that were found. Relative to the maximum rate of reading random rows.
//! - `limit`: how near to that rate a loop comes that only hashes keys and reads as many cells as their rows would take, in
//!   this layout and 100 keys at a time.
//!
//! Both lookups with keys that all have rows, and with one key in five unknown at random places. (After an unknown key nothing
//! that was read is left to depend on, so that the processor may begin the next lookup once it has guessed that there is no
//! row.)
//! What they are relative to is measured in the same rounds, in as many cells of the width of a row and in pages like those
//! that the opened snapshot is in: [`unskew_snapshot_benches::Machine`].
//!
//! Before anything is timed, every value is compared for every key that will be asked for.
//!
//! `cargo bench -p unskew-snapshot-benches --bench lookup -- [--quick] [--json] [--rows 4000000,16000000] [--pages small]`

use std::error::Error;
use std::hint::black_box;
use std::path::PathBuf;

use clap::Parser;
use unskew_snapshot::{KeyRef, RowIndex, Snapshot};
use unskew_snapshot_benches::{
    Arguments, EncodedKeys, Figure, Figures, KeyKind, Machine, Measure, Pages, Report, RowShape, Sample, Table, Turns,
    huge_bytes, ns_each, open_snapshot, value, write_snapshot,
};

/// The keys of one call of `get_many`.
const BATCH_KEYS: usize = 100;
const UNKNOWN_PERCENT: u64 = 20;
const MEASURES: [(&str, Kind, u64); 4] = [
    ("get", Kind::Single, 0),
    ("get, unknown", Kind::Single, UNKNOWN_PERCENT),
    ("get_many", Kind::Many, 0),
    ("get_many, unknown", Kind::Many, UNKNOWN_PERCENT),
];

#[derive(Parser)]
#[command(about = "Lookups in a snapshot against one memory miss and the maximum rate of reading rows")]
struct Options {
    #[command(flatten)]
    common: Arguments,
    /// Row counts, separated by commas.
    #[arg(long, value_delimiter = ',', default_values_t = [4_000_000, 16_000_000])]
    rows: Vec<u64>,
    /// Widths of a row that holds its key, event time, presence bits and values.
    #[arg(long, value_delimiter = ',', default_values_t = [64, 256])]
    row_bytes: Vec<usize>,
    /// Kinds of keys.
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = [KeyKind::I64, KeyKind::String])]
    keys: Vec<KeyKind>,
    /// Huge: the snapshot is opened as a private copy; small: in the file's pages.
    #[arg(long, value_enum, default_value_t = Pages::Huge)]
    pages: Pages,
    /// Where the files go for as long as the bench runs.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    directory: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Single,
    Many,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut options = Options::parse();
    if options.common.quick {
        (options.rows, options.row_bytes) = (vec![1_000_000], vec![64]);
    }
    let report = Report {
        bench: "lookup",
        json: options.common.json,
    };
    let mut table = Table::new(&[
        "rows x bytes, key",
        "pages",
        "file B/row",
        "file/payload",
        "miss ns",
        "get ns",
        "x miss",
        "20% unknown",
        "max ns/row",
        "limit",
        "get_many ns/key",
        "% of max",
        "20% unknown",
    ]);
    for &rows in &options.rows {
        for &row_bytes in &options.row_bytes {
            for &key in &options.keys {
                table.push(run(&report, &options, rows, RowShape { key, row_bytes })?);
            }
        }
    }
    let about = format!("snapshot lookups, get_many of {BATCH_KEYS} keys; medians of interleaved rounds");
    report.table(&about, &table);
    Ok(())
}

/// Writes, opens, checks and measures one table.
fn run(report: &Report, options: &Options, rows: u64, shape: RowShape) -> Result<Vec<String>, Box<dyn Error>> {
    report.progress(&format!(
        "{rows} rows of {} B with {} keys",
        shape.row_bytes,
        shape.key.name()
    ));
    let folder = tempfile::tempdir_in(&options.directory)?;
    let path = folder.path().join("rows.snapshot");
    write_snapshot(&path, shape, &EncodedKeys::new(shape.key, 0..rows), || {})?;

    let huge_before = huge_bytes();
    let snapshot = open_snapshot(&path, options.pages)?;
    let row_bytes = snapshot.row_bytes_each() as usize;
    let case = format!("{row_bytes} B, {}", shape.key.name());
    let pages = Pages::found(huge_before, snapshot.file_bytes());
    let lookups = options.common.lookups();
    let questions: Vec<(Sample, EncodedKeys)> = [0, UNKNOWN_PERCENT]
        .map(|percent| Sample::new(rows, Turns::COUNT * lookups, percent))
        .map(|sample| {
            let keys = EncodedKeys::new(shape.key, sample.rows.iter().copied());
            (sample, keys)
        })
        .into();
    for (sample, keys) in &questions {
        check(&snapshot, shape, sample, &keys.iter().collect::<Vec<_>>())?;
    }
    let machine = Machine::new(rows, row_bytes, pages, lookups)?;
    if machine.pages() != pages {
        report.progress("the memory of `miss` is in other pages than the snapshot: ratios say little");
    }
    let figures = measure(options, &snapshot, shape, &questions, &machine);
    report.figures(json(&figures, rows, snapshot.file_bytes(), &case, pages));
    Ok(line(&figures, &snapshot, shape, &case, pages))
}

fn check(snapshot: &Snapshot, shape: RowShape, sample: &Sample, keys: &[KeyRef<'_>]) -> Result<(), String> {
    let mut many = Vec::new();
    for (batch, rows) in keys.chunks(BATCH_KEYS).zip(sample.rows.chunks(BATCH_KEYS)) {
        snapshot.get_many(batch, &mut many);
        for ((key, row), index) in batch.iter().zip(rows).zip(&many) {
            let single = snapshot.get(*key);
            if single.map(|found| found.index()) != *index {
                return Err(format!("get and get_many differ about the key {key}"));
            }
            let is_right = match single {
                Some(found) => {
                    let mut features = 0..shape.feature_count();
                    let all = found.f64s(features.clone());
                    sample.is_known(*row)
                        && features.all(|feature| {
                            found.f64(feature) == value(*row, feature) && all[feature] == found.f64(feature)
                        })
                }
                None => !sample.is_known(*row),
            };
            if !is_right {
                return Err(format!("the answer about the key {key} is wrong"));
            }
        }
    }
    Ok(())
}

fn measure(
    options: &Options,
    snapshot: &Snapshot,
    shape: RowShape,
    questions: &[(Sample, EncodedKeys)],
    machine: &Machine,
) -> Figures {
    let keys: Vec<Vec<KeyRef<'_>>> = questions.iter().map(|(_, keys)| keys.iter().collect()).collect();
    let turns = Turns::new(options.common.lookups());
    let mut measures = machine.measures();
    measures.push(machine.limit(&keys[0], BATCH_KEYS));
    for (name, kind, unknown_percent) in MEASURES {
        let keys = &keys[usize::from(unknown_percent != 0)];
        let turns = &turns;
        measures.push(Measure::new(name, move || {
            let keys = turns.next(keys);
            ns_each(keys.len(), || match kind {
                Kind::Single => look_up_singly(snapshot, keys),
                Kind::Many => look_up_many(snapshot, shape.feature_count(), keys),
            })
        }));
    }
    Figures::take(options.common.rounds(), measures)
}

/// One by one: `zero` is 0, which the compiler does not know, so that each key hangs on the value before.
fn look_up_singly(snapshot: &Snapshot, keys: &[KeyRef<'_>]) -> u64 {
    let zero = black_box(0);
    let mut dependency = 0;
    for index in 0..keys.len() {
        let key = keys[index + (dependency & zero) as usize];
        dependency = snapshot.get(key).map_or(0, |row| row.f64(0).to_bits());
    }
    dependency
}

fn look_up_many(snapshot: &Snapshot, feature_count: usize, keys: &[KeyRef<'_>]) -> u64 {
    let mut found: Vec<Option<RowIndex>> = Vec::with_capacity(BATCH_KEYS);
    let mut sum = 0_u64;
    for batch in keys.chunks(BATCH_KEYS) {
        snapshot.get_many(batch, &mut found);
        for index in found.iter().flatten() {
            let row = snapshot.row(*index);
            // As integers, for a sum of floats takes longer than a row.
            let values = row.f64s(0..feature_count).iter();
            sum = values.fold(sum, |sum, value| sum.wrapping_add(value.to_bits()));
        }
    }
    sum
}

/// What each measure is relative to.
fn relative_to(figures: &Figures, kind: Kind) -> (String, &'static str) {
    match kind {
        Kind::Single => (Machine::miss().to_owned(), "miss"),
        Kind::Many => (Machine::maximum_rate(figures), "max rate"),
    }
}

fn json<'a>(figures: &Figures, rows: u64, bytes: u64, case: &str, pages: Pages) -> Vec<Figure<'a>> {
    let figure = |name: &str, value: f64, ratio| Figure {
        case: format!("{case}, {} pages/{name}", pages.name()),
        rows,
        bytes,
        value,
        unit: "ns",
        ratio,
    };
    let base = [Kind::Single, Kind::Many].map(|kind| relative_to(figures, kind));
    let mut out: Vec<Figure<'a>> = base
        .iter()
        .map(|(measure, name)| figure(name, figures.median_ns(measure), None))
        .collect();
    let limit = (Machine::limit_name(), Kind::Many);
    let measures = MEASURES.iter().map(|(name, kind, _)| (*name, *kind));
    for (name, kind) in std::iter::once(limit).chain(measures) {
        let (base, base_name) = relative_to(figures, kind);
        let ratio = figures.median_ratio(name, &base);
        out.push(figure(name, figures.median_ns(name), Some((ratio, base_name))));
    }
    out
}

fn line(figures: &Figures, snapshot: &Snapshot, shape: RowShape, case: &str, pages: Pages) -> Vec<String> {
    let rows = snapshot.len() as f64;
    let file_bytes = snapshot.file_bytes() as f64;
    let maximum_rate = Machine::maximum_rate(figures);
    let times_miss = |name| format!("{:.2}", figures.median_ratio(name, Machine::miss()));
    // Of the rate, so the inverse of the times.
    let percent = |name| format!("{:.0}%", 100.0 * figures.median_ratio(&maximum_rate, name));
    vec![
        format!("{} x {case}", snapshot.len()),
        pages.name().to_owned(),
        format!("{:.1}", file_bytes / rows),
        format!("{:.2}", file_bytes / (rows * shape.payload_bytes() as f64)),
        format!("{:.1}", figures.median_ns(Machine::miss())),
        format!("{:.1}", figures.median_ns("get")),
        times_miss("get"),
        times_miss("get, unknown"),
        format!("{:.1}", figures.median_ns(&maximum_rate)),
        percent(Machine::limit_name()),
        format!("{:.1}", figures.median_ns("get_many")),
        percent("get_many"),
        percent("get_many, unknown"),
    ]
}
