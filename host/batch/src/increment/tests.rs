use std::fmt::Write as _;
use std::fs::{self, File};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;

use unskew_snapshot::{Layer, diff};

use super::*;
use crate::ctr_history::modules;
use crate::materialize::materialize;

const PROJECT: &str = r#"
[project]
name = "shop"

[[entity]]
name = "item"
keys = [{ name = "item", type = "i64" }]

[[source]]
name = "events"
path = "events.csv"
event_time = "time"
KNOWN_AT

[[view]]
name = "last"
entity = "item"
source = "events"
ttl = "3d"
features = [{ name = "clicked", type = "bool" }]

[[view]]
name = "ctr"
entity = "item"
source = "events"
module = "ctr-history"
LATENESS
inputs = { prior_ctr = 0.1, prior_weight = 10 }
"#;

/// Events of (item, hour, hours until it was known, clicked).
type Event = (i64, i64, Option<i64>, bool);

const HOUR: i64 = 3_600_000_000;

fn project(folder: &Path, has_known_at: bool, lateness: Option<i64>) -> Project {
    let known_at = if has_known_at { "known_at = \"known\"" } else { "" };
    let lateness = lateness.map(|hours| format!("lateness = \"{hours}h\""));
    let text = PROJECT
        .replace("KNOWN_AT", known_at)
        .replace("LATENESS", &lateness.unwrap_or_default());
    Project::parse(&folder.join("unskew.toml"), &text).unwrap()
}

fn csv(events: &[Event]) -> String {
    let mut text = "item,time,known,clicked\n".to_owned();
    for (item, hour, late, clicked) in events {
        let known = late.map_or(String::new(), |late| ((hour + late) * HOUR).to_string());
        let _ = writeln!(text, "{item},{},{known},{clicked}", hour * HOUR);
    }
    text
}

fn layer(path: &Path) -> Layer {
    let digest = unskew::Digest::of(&fs::read(path).unwrap());
    Layer::new(Arc::new(Snapshot::open(path).unwrap()), digest.0)
}

/// At each watermark the snapshot from the one before is the one from scratch, byte by byte, and so is
/// the first with the deltas up to there. With a lateness its rows are those of the events that are not late, and it says how many are.
fn check(events: &[Event], has_known_at: bool, lateness: Option<i64>, watermarks: &[i64]) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("events.csv"), csv(events)).unwrap();
    let project = project(folder.path(), has_known_at, lateness);
    let is_late = |event: &&Event| lateness.is_some_and(|lateness| event.2.is_some_and(|late| late > lateness));
    let (late, timely): (Vec<&Event>, Vec<&Event>) = events.iter().partition(is_late);
    let twin = tempfile::tempdir().unwrap();
    fs::write(
        twin.path().join("events.csv"),
        csv(&timely.into_iter().copied().collect::<Vec<_>>()),
    )
    .unwrap();
    let twin = self::project(twin.path(), has_known_at, None);
    for view in ["last", "ctr"] {
        let path = |name: &str, index: usize| folder.path().join(format!("{view}-{name}-{index}"));
        let mut previous = path("empty", 0);
        materialize(&project, modules(), view, EventTime(i64::MIN), &previous).unwrap();
        let mut layers = Layers::new(layer(&previous), Vec::new()).unwrap();
        for (index, hour) in (1..).zip(watermarks) {
            let watermark = EventTime(hour * HOUR);
            let (whole, since) = (path("whole", index), path("since", index));
            materialize(&project, modules(), view, watermark, &whole).unwrap();
            materialize_since(&project, modules(), view, watermark, &previous, &since).unwrap();
            let same = fs::read(&whole).unwrap() == fs::read(&since).unwrap();
            assert!(same, "{view} at {hour} h");
            let made = Layers::of(Arc::new(Snapshot::open(&whole).unwrap())).unwrap();
            let count = late
                .iter()
                .filter(|(_, time, late, _)| time < hour && time + late.unwrap() <= *hour)
                .count();
            let lateness = lateness.filter(|_| view == "ctr").map(|hours| (hours * HOUR) as u64);
            let told = made.late().map(|late| (late.lateness.as_micros(), late.count));
            assert_eq!(
                told,
                lateness.map(|lateness| (lateness, count as u64)),
                "{view} at {hour} h"
            );
            if lateness.is_some() {
                let of_timely = path("twin", index);
                materialize(&twin, modules(), view, watermark, &of_timely).unwrap();
                let of_timely = Layers::of(Arc::new(Snapshot::open(&of_timely).unwrap())).unwrap();
                assert!(
                    diff(&of_timely, &made, &mut |_| ()).unwrap().is_empty(),
                    "{view} at {hour} h"
                );
            }
            let delta = path("delta", index);
            let before = Previous {
                path: &previous,
                layers: &layers,
            };
            materialize_delta(&project, modules(), view, watermark, before, &delta).unwrap();
            let deltas = layers.deltas().cloned().chain([layer(&delta)]).collect();
            layers = Layers::new(layers.base().clone(), deltas).unwrap();
            let compacted = path("compacted", index);
            layers.compact(&compacted, &mut |_| {}).unwrap();
            let same = fs::read(&whole).unwrap() == fs::read(&compacted).unwrap();
            assert!(same, "{view} at {hour} h by deltas");
            previous = since;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_snapshot_from_the_one_before_is_the_one_from_scratch(
        events in prop::collection::vec(
            (0..4_i64, 0..60_i64, prop::option::of(0..30_i64), any::<bool>()),
            0..60,
        ),
        has_known_at in any::<bool>(),
        lateness in prop::option::of(0..30_i64),
        watermarks in prop::collection::btree_set(0..100_i64, 1..4),
    ) {
        let watermarks: Vec<i64> = watermarks.into_iter().collect();
        check(&events, has_known_at, lateness.filter(|_| has_known_at), &watermarks);
    }
}

#[test]
fn late_corrections_replace_what_was_known() {
    // At hour 10 one value, of which two corrections become known later, the second of an earlier hour.
    let events = [
        (1, 10, Some(0), false),
        (1, 10, Some(5), true),
        (1, 9, Some(8), false),
        (2, 3, None, true),
    ];
    check(&events, true, None, &[9, 10, 14, 15, 17, 40]);
    check(&events, true, None, &[10, 10]);
    check(&events, true, Some(5), &[9, 10, 14, 15, 17, 40]);
}

#[test]
fn old_row_groups_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let hours: Vec<i64> = (0..100).collect();
    let batch = RecordBatch::try_from_iter([
        (
            "item",
            Arc::new(Int64Array::from_iter_values(hours.iter().map(|hour| hour % 7))) as ArrayRef,
        ),
        (
            "time",
            Arc::new(TimestampMicrosecondArray::from_iter_values(
                hours.iter().map(|hour| hour * HOUR),
            )),
        ),
        (
            "clicked",
            Arc::new(BooleanArray::from_iter(hours.iter().map(|hour| Some(hour % 3 == 0)))),
        ),
    ])
    .unwrap();
    let directory = folder.path().join("events");
    fs::create_dir(&directory).unwrap();
    for (name, rows) in [("a.parquet", 0..50), ("b.parquet", 50..100)] {
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(10))
            .build();
        let file = File::create(directory.join(name)).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch.slice(rows.start, 50)).unwrap();
        writer.close().unwrap();
    }
    let text = PROJECT
        .replace("KNOWN_AT", "")
        .replace("LATENESS", "")
        .replace("events.csv", "events");
    let project = Project::parse(&folder.path().join("unskew.toml"), &text).unwrap();
    let path = |name: &str| folder.path().join(name);
    for view in ["last", "ctr"] {
        let (first, whole, since) = (
            path(&format!("{view}-first")),
            path(&format!("{view}-whole")),
            path(&format!("{view}-since")),
        );
        materialize(&project, modules(), view, EventTime(65 * HOUR), &first).unwrap();
        materialize(&project, modules(), view, EventTime(90 * HOUR), &whole).unwrap();
        // The first file is older than the first watermark throughout: damage in it is not even seen.
        let a = directory.join("a.parquet");
        let bytes = fs::read(&a).unwrap();
        let mut damaged = bytes.clone();
        damaged[4..200].fill(0xff);
        fs::write(&a, damaged).unwrap();
        let made = materialize_since(&project, modules(), view, EventTime(90 * HOUR), &first, &since).unwrap();
        fs::write(&a, bytes).unwrap();
        assert_eq!(fs::read(&whole).unwrap(), fs::read(&since).unwrap(), "{view}");
        let names: Vec<_> = made.files.iter().filter_map(|file| file.path.file_name()).collect();
        assert_eq!(names, ["b.parquet"]);
    }
}

#[test]
fn what_cannot_be_gone_on_from_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("events.csv"), csv(&[(1, 1, None, true)])).unwrap();
    let project = project(folder.path(), false, None);
    let path = |name: &str| folder.path().join(name);
    materialize(&project, modules(), "last", EventTime(5 * HOUR), &path("last")).unwrap();
    fs::write(path("damaged"), "not a snapshot").unwrap();
    let since = |view: &str, previous: &str, hour: i64| {
        let error = materialize_since(
            &project,
            modules(),
            view,
            EventTime(hour * HOUR),
            &path(previous),
            &path("out"),
        );
        let error = error.unwrap_err();
        assert!(!path("out").exists());
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        assert_eq!(
            error.to_string(),
            format!("cannot go on from {}", path(previous).display())
        );
        cause.unwrap()
    };
    assert_eq!(since("last", "damaged", 6), "it cannot be opened");
    assert_eq!(since("last", "absent", 6), "it cannot be opened");
    assert_eq!(
        since("ctr", "last", 6),
        "it is of view `last` and of other columns, keys or another TTL than view `ctr` has now"
    );
    assert_eq!(
        since("last", "last", 4),
        "its watermark, 1970-01-01T05:00:00.000000Z, is later than 1970-01-01T04:00:00.000000Z"
    );
}

/// A snapshot of another lateness has events that the view refuses now, or lacks some: it is made again.
#[test]
fn a_snapshot_of_another_lateness_is_not_gone_on_from() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("events.csv"),
        csv(&[(1, 1, Some(2), true), (1, 1, Some(9), true)]),
    )
    .unwrap();
    let path = |name: &str| folder.path().join(name);
    let cases = [
        (
            None,
            Some(2),
            "it was made with no lateness, the view has a lateness of 2h",
        ),
        (
            Some(2),
            None,
            "it was made with a lateness of 2h, the view has no lateness",
        ),
        (
            Some(2),
            Some(3),
            "it was made with a lateness of 2h, the view has a lateness of 3h",
        ),
    ];
    for (number, (before, now, reason)) in cases.into_iter().enumerate() {
        let base = path(&format!("base-{number}"));
        let earlier = project(folder.path(), true, before);
        materialize(&earlier, modules(), "ctr", EventTime(5 * HOUR), &base).unwrap();
        let project = project(folder.path(), true, now);
        let layers = Layers::new(layer(&base), Vec::new()).unwrap();
        let previous = Previous {
            path: &base,
            layers: &layers,
        };
        let to = EventTime(20 * HOUR);
        let since = materialize_since(&project, modules(), "ctr", to, &base, &path("out"));
        let delta = materialize_delta(&project, modules(), "ctr", to, previous, &path("out"));
        for made in [since, delta] {
            let error = made.unwrap_err();
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            assert_eq!(cause.as_deref(), Some(reason));
            assert!(!path("out").exists());
        }
        // A view of features has none.
        let last = path(&format!("last-{number}"));
        materialize(&earlier, modules(), "last", EventTime(5 * HOUR), &last).unwrap();
        materialize_since(
            &project,
            modules(),
            "last",
            to,
            &last,
            &path(&format!("later-{number}")),
        )
        .unwrap();
    }
}
