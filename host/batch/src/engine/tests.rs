use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;
use tempfile::TempDir;
use unskew_frame::Value;
use unskew_snapshot::{EventTime, Status};

use crate::backfill::{BackfillError, BackfillOptions, Resources, backfill, compute};
use crate::output::OutputOptions;
use crate::project::Project;
use crate::reader::Filter;
use crate::training_set::TrainingSet;

mod late;
mod objects;
mod odd;
mod oracle;

const PROJECT: &str = r#"
[project]
name = "test"

[[entity]]
name = "user"
keys = [{ name = "user", type = "i64" }]

[[entity]]
name = "pair"
keys = [{ name = "user", type = "i64" }, { name = "shop", type = "string" }]

[[source]]
name = "users"
path = "users.parquet"
event_time = "t"
known_at = "known"

[[source]]
name = "pairs"
path = "pairs.parquet"
event_time = "t"

[[view]]
name = "user_features"
entity = "user"
source = "users"
ttl = "6us"
features = [{ name = "score", type = "f64" }, { name = "label", type = "string", column = "shop" }]

[[view]]
name = "pair_features"
entity = "pair"
source = "pairs"
features = [{ name = "score", type = "f64" }]

[[service]]
name = "model"
request = [{ name = "user", type = "i64", nullable = true }, { name = "shop", type = "string", nullable = true }]
features = ["pair_features:score", "user_features:score", "user_features:label"]
"#;

/// A row of the spine or of a source.
#[derive(Clone, Debug)]
struct Row {
    user: Option<i64>,
    shop: Option<&'static str>,
    t: i64,
    known: Option<i64>,
    score: Option<f64>,
}

fn row() -> impl Strategy<Value = Row> {
    let user = prop::option::weighted(0.9, prop_oneof![4 => 0_i64..6, 1 => Just(i64::MIN), 1 => 6_i64..200]);
    let shop = prop::option::weighted(0.9, prop::sample::select(vec!["", "a", "b", "a\0"]));
    let t = prop_oneof![20 => 0_i64..30, 1 => Just(i64::MIN), 1 => Just(i64::MAX)];
    let known = prop::option::weighted(0.8, 0_i64..40);
    let score = prop::option::weighted(
        0.9,
        prop_oneof![8 => (0_i64..4).prop_map(|v| v as f64), 1 => Just(f64::NAN), 1 => Just(-0.0)],
    );
    (user, shop, t, known, score).prop_map(|(user, shop, t, known, score)| Row {
        user,
        shop,
        t,
        known,
        score,
    })
}

fn write_rows(path: &Path, rows: &[Row], row_group: usize) {
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "user",
            Arc::new(rows.iter().map(|row| row.user).collect::<Int64Array>()),
        ),
        (
            "shop",
            Arc::new(rows.iter().map(|row| row.shop).collect::<StringArray>()),
        ),
        (
            "score",
            Arc::new(rows.iter().map(|row| row.score).collect::<Float64Array>()),
        ),
        (
            "t",
            Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.t)).with_timezone("UTC")),
        ),
        (
            "known",
            Arc::new(
                rows.iter()
                    .map(|row| row.known)
                    .collect::<TimestampMicrosecondArray>()
                    .with_timezone("UTC"),
            ),
        ),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)));
    let batch = batch.unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(row_group))
        .build();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

struct Fixture {
    directory: TempDir,
    project: Project,
}

impl Fixture {
    fn new(spine: &[Row], users: &[Row], pairs: &[Row], row_group: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        write_rows(&path("spine.parquet"), spine, row_group);
        write_rows(&path("users.parquet"), users, row_group);
        write_rows(&path("pairs.parquet"), pairs, row_group);
        let project = Project::parse(&path("unskew.toml"), PROJECT).unwrap();
        Self { directory, project }
    }

    fn options(&self, memory_bytes: u64, threads: usize, freeze_at: Option<i64>) -> BackfillOptions {
        BackfillOptions {
            service: "model".to_owned(),
            spine: self.directory.path().join("spine.parquet"),
            time_column: "t".to_owned(),
            filter: Filter::default(),
            freeze_at: freeze_at.map(EventTime),
            statuses: true,
            output: OutputOptions { overwrite: true },
            resources: Resources {
                memory_bytes,
                threads,
                spill_dir: Some(self.directory.path().to_owned()),
                ..Resources::default()
            },
            ..BackfillOptions::default()
        }
    }

    fn compute(&self, options: &BackfillOptions) -> TrainingSet {
        compute(&self.project, &BTreeMap::new(), options, |_| ()).unwrap()
    }

    /// The digest of the file.
    fn backfill(&self, options: &BackfillOptions) -> unskew::Digest {
        let path = self.directory.path().join("out.parquet");
        let made = backfill(&self.project, &BTreeMap::new(), options, &path, |_| ()).unwrap();
        assert_eq!(made.manifest.output, unskew::Digest::of(&fs::read(path).unwrap()));
        made.manifest.output
    }

    /// What is in the directory besides what was put there.
    fn leftovers(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(".unskew")).collect()
    }
}

fn cells(set: &TrainingSet) -> Vec<(String, Status)> {
    let features = set.plan.features.len();
    let cell = |row, feature| {
        let value = match set.value(row, feature) {
            Value::F64(value) => format!("{:016x}", value.to_bits()),
            value => format!("{value:?}"),
        };
        (value, set.status(row, feature))
    };
    (0..set.spine.rows())
        .flat_map(|row| (0..features).map(move |feature| (row, feature)))
        .map(|(row, feature)| cell(row, feature))
        .collect()
}

/// From everything in files to everything in memory.
const BUDGETS: [u64; 4] = [1, 64 << 10, 4 << 20, 1 << 30];

fn budget() -> impl Strategy<Value = u64> {
    prop::sample::select(BUDGETS.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_engine_is_the_nested_loop(
        spine in prop::collection::vec(row(), 0..40),
        users in prop::collection::vec(row(), 0..60),
        pairs in prop::collection::vec(row(), 0..60),
        row_group in 1_usize..50,
        budget in budget(),
        threads in 1_usize..4,
        freeze_at in prop::option::weighted(0.3, 0_i64..30),
        lag_us in prop_oneof![3 => Just(0_u64), 1 => 1_u64..9],
    ) {
        let fixture = Fixture::new(&spine, &users, &pairs, row_group);
        let mut options = fixture.options(budget, threads, freeze_at);
        options.lag_us = lag_us;
        let expected = oracle::compute(&fixture.project, &options);
        let set = fixture.compute(&options);
        prop_assert_eq!(cells(&set), expected.cells);
        prop_assert_eq!(&set.ties, &expected.ties);
        prop_assert_eq!(set.spine.rows(), spine.len());
        prop_assert_eq!(set.files.len(), 3);
        let labels: Vec<&str> = set.spine.labels.iter().map(|(name, _)| name.as_str()).collect();
        prop_assert_eq!(labels, ["score", "known"]);
        prop_assert_eq!(fixture.leftovers(), Vec::<String>::new());
    }
}

/// Rows of a few hot users and many others.
fn many_rows(count: i64, seed: i64) -> Vec<Row> {
    let row = |index: i64| {
        let mixed = (index + seed).wrapping_mul(0x5851_f42d_4c95_7f2d) >> 20;
        Row {
            user: (mixed % 31 != 0).then_some(if mixed % 3 == 0 { 7 } else { mixed % 500 }),
            shop: ["a", "b", "c"].get((mixed % 4).unsigned_abs() as usize).copied(),
            t: mixed % 10_000,
            known: (mixed % 5 != 0).then_some(mixed % 11_000),
            score: (mixed % 7 != 0).then_some((mixed % 13) as f64),
        }
    };
    (0..count).map(row).collect()
}

#[test]
fn the_same_file_is_made_whatever_the_budget_and_the_threads() {
    let (spine, users, pairs) = (many_rows(1_500, 1), many_rows(2_500, 2), many_rows(900, 3));
    let fixture = Fixture::new(&spine, &users, &pairs, 370);
    let expected = fixture.backfill(&fixture.options(1 << 30, 1, None));
    for budget in BUDGETS {
        for threads in [1, 3] {
            let options = fixture.options(budget, threads, None);
            assert_eq!(
                fixture.backfill(&options),
                expected,
                "{budget} bytes, {threads} threads"
            );
        }
    }
}

/// At every step of it: rows are being divided, joined, written.
#[test]
fn a_backfill_that_is_interrupted_is_resumed_to_the_byte() {
    let (spine, users, pairs) = (many_rows(1_500, 1), many_rows(2_500, 2), many_rows(900, 3));
    let fixture = Fixture::new(&spine, &users, &pairs, 370);
    let expected = fixture.backfill(&fixture.options(1 << 30, 1, None));
    let path = fixture.directory.path().join("out.parquet");
    let (mut interrupted, mut is_over) = (0, false);
    for stop_at in (0..).step_by(7) {
        for (memory_bytes, save_after) in [(64 << 10, 0), (1 << 30, 0), (1 << 30, 10)] {
            let mut options = fixture.options(memory_bytes, 2, None);
            options.resources.save_after = std::time::Duration::from_secs(save_after);
            let steps = AtomicUsize::new(0);
            let stop = |_: crate::backfill::Progress<'_>| {
                if steps.fetch_add(1, Ordering::Relaxed) == stop_at {
                    options.resources.interrupt.raise();
                }
            };
            let made = backfill(&fixture.project, &BTreeMap::new(), &options, &path, stop);
            is_over = made.is_ok();
            if let Err(error) = made {
                assert!(matches!(error, BackfillError::Interrupted), "{error:?}");
                interrupted += 1;
            }
            let options = BackfillOptions {
                resume: true,
                ..fixture.options(memory_bytes, 1, None)
            };
            assert_eq!(fixture.backfill(&options), expected, "stopped at step {stop_at}");
        }
        if is_over {
            break;
        }
    }
    assert!(interrupted > 10, "{interrupted} times");
    assert_eq!(fixture.leftovers(), Vec::<String>::new());
}

#[test]
fn an_input_without_rows_is_one() {
    let rows = many_rows(10, 1);
    for (spine, source) in [(&[][..], &rows[..]), (&rows[..], &[][..]), (&[][..], &[][..])] {
        let fixture = Fixture::new(spine, source, source, 10);
        for budget in [1, 1 << 30] {
            let set = fixture.compute(&fixture.options(budget, 2, None));
            assert_eq!(set.spine.rows(), spine.len());
            fixture.backfill(&fixture.options(budget, 2, None));
        }
    }
}

#[test]
fn a_damaged_file_is_named_and_nothing_is_left() {
    let rows = many_rows(200, 1);
    let fixture = Fixture::new(&rows, &rows, &rows, 50);
    let path = fixture.directory.path().join("users.parquet");
    let mut bytes = fs::read(&path).unwrap();
    // The first page's header, not the footer: the file opens.
    bytes[4..12].fill(0xff);
    fs::write(&path, bytes).unwrap();
    let out = fixture.directory.path().join("out.parquet");
    let made = backfill(
        &fixture.project,
        &BTreeMap::new(),
        &fixture.options(1, 2, None),
        &out,
        |_| (),
    );
    let error = made.err().unwrap();
    assert!(matches!(error, BackfillError::Read(_)), "{error:?}");
    let message = error.to_string();
    assert!(message.contains("users.parquet: row group 0, column `"), "{message}");
    assert!(!out.exists() && fixture.leftovers().is_empty());
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let rows = many_rows(10, 1);
    let fixture = Fixture::new(&rows, &rows, &rows, 10);
    let mut options = fixture.options(1, 1, None);
    options.resources.spill_dir = Some(fixture.directory.path().join("gone"));
    let made = compute(&fixture.project, &BTreeMap::new(), &options, |_| ());
    let error = made.err().unwrap();
    assert!(matches!(error, BackfillError::Spill { .. }), "{error:?}");
    assert!(error.to_string().contains("gone"), "{error}");
}
