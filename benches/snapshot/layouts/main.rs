//! The bench that decided the layout of snapshot files: candidates, each as small as it can be, on the same rows.
//!
//! | layout | what it is |
//! |---|---|
//! | `buckets` | rows sorted by hash, a directory of buckets of one row on average, their keys read in turn |
//! | `hashes` | rows sorted by hash, a directory of buckets of 4 to 8, a binary search among stored hashes |
//! | `tags` | rows sorted by hash, a cache line of 16-bit tags for 16 rows on average |
//! | `probing` | an open table at load 0.91, rows in the order of their hashes, displaced rows behind their home |
//! | `pilots` | a perfect hash by a byte for 3 keys, searched for in groups of 4,096 keys, at load 0.96 |
//! | `windows` | two homes a key, in groups of 16,384 at load 0.915, rows in one of six slots near the homes |
//!
//! Keys are i64; a row is its key, its event time, a word of presence bits and its values, in huge pages unless told
//! otherwise. All hash the key as snapshots do. For each layout:
//!
//! - one lookup at a time, each hanging on a value of the one before, relative to one dependent memory miss
//! - 100 at a time, then all words of the rows found, relative to the maximum rate of reading random rows
//! - both again with a fifth of the keys unknown
//! - all its memory relative to that of the bare rows, and the time to build it from unsorted keys
//!
//! Every answer is checked before anything is timed. The measures of a layout and those of the machine take turns; layouts
//! come one after the other, so compare ratios and not nanoseconds.
//!
//! `cargo bench -p unskew-snapshot-benches --bench layouts -- [--quick] [--json] [--rows 4000000] [--row-bytes 64]`

mod buckets;
mod hashes;
mod layout;
mod pilot_search;
mod pilots;
mod probing;
mod store;
mod tags;
mod window_matching;
mod windows;

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use clap::Parser;
use unskew_snapshot_benches::{
    Arguments, Figure, Figures, Machine, Measure, Pages, Report, Sample, Table, Turns, entity_id, ns_each,
};

use crate::layout::{Key, Layout, MAX_BATCH_KEYS, encode, id_of};
use crate::store::{FIXED_WORDS, Shape, value_word};

const BATCH_KEYS: usize = 100;
const _: () = assert!(BATCH_KEYS <= MAX_BATCH_KEYS);
const UNKNOWN_PERCENT: u64 = 20;
const SINGLE: [&str; 2] = ["single", "single, unknown"];
const MANY: [&str; 2] = ["many", "many, unknown"];

#[derive(Parser)]
#[command(about = "Candidate layouts of a snapshot against one memory miss and the maximum rate of reading rows")]
struct Options {
    #[command(flatten)]
    common: Arguments,
    /// Rows.
    #[arg(long, default_value_t = 4_000_000)]
    rows: u64,
    /// The width of a row: a multiple of 8, with three words for key, event time and presence bits.
    #[arg(long, default_value_t = 64, value_parser = row_bytes)]
    row_bytes: usize,
    /// The pages that rows, indexes and the memory of the machine's own measures are in.
    #[arg(long, value_enum, default_value_t = Pages::Huge)]
    pages: Pages,
    /// Layouts, separated by commas: all if none is named.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

fn row_bytes(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(bytes) if bytes % 8 == 0 && bytes > 8 * FIXED_WORDS => Ok(bytes),
        _ => Err(format!(
            "a row has a multiple of 8 bytes, more than {}",
            8 * FIXED_WORDS
        )),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut options = Options::parse();
    if options.common.quick {
        (options.rows, options.row_bytes) = (1_000_000, 64);
    }
    let mut bench = Bench::new(&options)?;
    bench.run::<buckets::Buckets>()?;
    bench.run::<hashes::Hashes>()?;
    bench.run::<tags::Tags>()?;
    bench.run::<probing::Probing>()?;
    bench.run::<pilots::Pilots>()?;
    bench.run::<windows::Windows>()?;
    let about = format!(
        "layouts of {} rows x {} B with i64 keys, {} pages, {BATCH_KEYS} keys at a time; medians of interleaved rounds",
        options.rows,
        options.row_bytes,
        bench.machine.pages().name(),
    );
    bench.report.table(&about, &bench.table);
    Ok(())
}

struct Bench<'a> {
    options: &'a Options,
    report: Report,
    table: Table,
    shape: Shape,
    machine: Machine,
    /// All keys, in no order.
    ids: Vec<i64>,
    /// Without and with unknown keys.
    samples: [Sample; 2],
    questions: [Vec<Key>; 2],
}

impl<'a> Bench<'a> {
    fn new(options: &'a Options) -> Result<Self, Box<dyn Error>> {
        let lookups = options.common.lookups();
        let samples = [0, UNKNOWN_PERCENT].map(|percent| Sample::new(options.rows, Turns::COUNT * lookups, percent));
        Ok(Self {
            options,
            report: Report {
                bench: "layouts",
                json: options.common.json,
            },
            table: Table::new(&[
                "layout",
                "miss ns",
                "single ns",
                "x miss",
                "20% unknown",
                "max ns/row",
                "many ns/key",
                "% of max",
                "20% unknown",
                "bytes/rows",
                "build ns/key",
            ]),
            shape: Shape {
                row_words: options.row_bytes / 8,
                pages: options.pages,
            },
            machine: Machine::new(options.rows, options.row_bytes, options.pages, lookups)?,
            ids: (0..options.rows).map(entity_id).collect(),
            questions: [&samples[0], &samples[1]]
                .map(|sample| sample.rows.iter().map(|row| encode(entity_id(*row))).collect()),
            samples,
        })
    }

    fn run<L: Layout>(&mut self) -> Result<(), Box<dyn Error>> {
        let only = &self.options.only;
        if !only.is_empty() && !only.iter().any(|name| name == L::NAME) {
            return Ok(());
        }
        self.report.progress(L::NAME);
        let start = Instant::now();
        let layout = L::build(&self.ids, self.shape)?;
        let build_ns = start.elapsed().as_nanos() as f64 / self.ids.len() as f64;
        for (sample, keys) in self.samples.iter().zip(&self.questions) {
            check(&layout, sample, keys)?;
        }
        let turns = &Turns::new(self.options.common.lookups());
        let mut measures = self.machine.measures();
        for (index, keys) in self.questions.iter().enumerate() {
            let layout = &layout;
            measures.push(Measure::new(SINGLE[index], move || {
                let keys = turns.next(keys);
                ns_each(keys.len(), || look_up_singly(layout, keys))
            }));
            measures.push(Measure::new(MANY[index], move || {
                let keys = turns.next(keys);
                ns_each(keys.len(), || look_up_many(layout, keys))
            }));
        }
        let figures = Figures::take(self.options.common.rounds(), measures);
        self.show::<L>(&figures, layout.bytes(), build_ns);
        Ok(())
    }

    fn show<L: Layout>(&mut self, figures: &Figures, bytes: usize, build_ns: f64) {
        let maximum_rate = Machine::maximum_rate(figures);
        let bases = [(SINGLE, Machine::miss(), "miss"), (MANY, &maximum_rate, "max rate")];
        let figure = |name: &str, value, unit, ratio| Figure {
            case: format!("{}/{name}", L::NAME),
            rows: self.options.rows,
            bytes: bytes as u64,
            value,
            unit,
            ratio,
        };
        let mut out = vec![figure("build", build_ns, "ns", None)];
        for (names, base, base_name) in bases {
            out.push(figure(base_name, figures.median_ns(base), "ns", None));
            for name in names {
                let ratio = figures.median_ratio(name, base);
                out.push(figure(name, figures.median_ns(name), "ns", Some((ratio, base_name))));
            }
        }
        self.report.figures(out);

        let times_miss = |name| format!("{:.2}", figures.median_ratio(name, Machine::miss()));
        // Of the rate, so the inverse of the times.
        let percent = |name| format!("{:.0}%", 100.0 * figures.median_ratio(&maximum_rate, name));
        let row_bytes = self.options.rows as f64 * self.options.row_bytes as f64;
        self.table.push(vec![
            L::NAME.to_owned(),
            format!("{:.1}", figures.median_ns(Machine::miss())),
            format!("{:.1}", figures.median_ns(SINGLE[0])),
            times_miss(SINGLE[0]),
            times_miss(SINGLE[1]),
            format!("{:.1}", figures.median_ns(&maximum_rate)),
            format!("{:.1}", figures.median_ns(MANY[0])),
            percent(MANY[0]),
            percent(MANY[1]),
            format!("{:.3}", bytes as f64 / row_bytes),
            format!("{build_ns:.0}"),
        ]);
    }
}

fn check<L: Layout>(layout: &L, sample: &Sample, keys: &[Key]) -> Result<(), String> {
    let mut slots = Vec::new();
    for (rows, batch) in sample.rows.chunks(BATCH_KEYS).zip(keys.chunks(BATCH_KEYS)) {
        layout.find_many(batch, &mut slots);
        for ((row, key), slot) in rows.iter().zip(batch).zip(&slots) {
            let found = layout.find(key);
            let is_right = found == *slot
                && match found.map(|slot| layout.row(slot)) {
                    Some([id, _, _, values @ ..]) => {
                        let mut values = values.iter().enumerate();
                        sample.is_known(*row)
                            && *id == id_of(key)
                            && values.all(|(feature, word)| *word == value_word(id.cast_signed(), feature))
                    }
                    Some(_) => false,
                    None => !sample.is_known(*row),
                };
            if !is_right {
                return Err(format!(
                    "{}: the answer about the key {} is wrong",
                    L::NAME,
                    id_of(key).cast_signed()
                ));
            }
        }
    }
    Ok(())
}

/// One by one: `zero` is 0, which the compiler does not know, so that each key hangs on the value before.
fn look_up_singly<L: Layout>(layout: &L, keys: &[Key]) -> u64 {
    let zero = black_box(0);
    let mut dependency = 0;
    for index in 0..keys.len() {
        let key = &keys[index + (dependency & zero) as usize];
        dependency = layout.find(key).map_or(0, |slot| layout.row(slot)[FIXED_WORDS]);
    }
    dependency
}

fn look_up_many<L: Layout>(layout: &L, keys: &[Key]) -> u64 {
    let mut slots = Vec::with_capacity(BATCH_KEYS);
    let mut sum = 0_u64;
    for batch in keys.chunks(BATCH_KEYS) {
        layout.find_many(batch, &mut slots);
        for slot in slots.iter().flatten() {
            sum = layout.row(*slot).iter().fold(sum, |sum, word| sum.wrapping_add(*word));
        }
    }
    sum
}
