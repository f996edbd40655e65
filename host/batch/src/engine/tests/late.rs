//! Backfills of views that declare a lateness: as though the late events were not there, and they are counted.

use arrow::array::BooleanArray;

use super::*;
use crate::audit::{AuditOptions, audit};
use crate::backfill::Backfilled;
use crate::ctr_history::modules;
use crate::manifest::{Moved, ViewEntry};

const PROJECT: &str = r#"
[project]
name = "late"

[[entity]]
name = "user"
keys = [{ name = "user", type = "i64" }]

[[source]]
name = "clicks"
path = "clicks.parquet"
event_time = "t"
known_at = "known"

[[view]]
name = "ctr"
entity = "user"
source = "clicks"
module = "ctr-history"
inputs = { prior_ctr = 0.1, prior_weight = 10 }
LATENESS

[[service]]
name = "model"
request = [{ name = "user", type = "i64", nullable = true }]
features = ["ctr:impressions_7d", "ctr:clicks_7d", "ctr:impressions_1h"]
"#;

const MINUTE: i64 = 60_000_000;

/// An event: user, minute, minutes until it was known, clicked.
type Event = (Option<i64>, i64, Option<i64>, bool);

struct Shop {
    directory: TempDir,
    events: Vec<Event>,
    last: i64,
}

impl Shop {
    fn new(events: &[Event], spine: &[(Option<i64>, i64)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let rows: String = spine
            .iter()
            .map(|(user, minute)| {
                let user = user.map_or(String::new(), |user| user.to_string());
                format!("{},{user}\n", minute * MINUTE)
            })
            .collect();
        fs::write(directory.path().join("spine.csv"), format!("t,user\n{rows}")).unwrap();
        Self {
            directory,
            events: events.to_vec(),
            last: spine.iter().map(|(_, minute)| *minute).max().unwrap(),
        }
    }

    /// With a lateness, of all events; or without, of those that are not late.
    fn run(&self, lateness: Option<i64>, left_out: Option<i64>, change: impl FnOnce(&mut BackfillOptions)) -> Run {
        let is_kept = |event: &&Event| !left_out.is_some_and(|lateness| is_late(event, lateness));
        let events: Vec<Event> = self.events.iter().filter(is_kept).copied().collect();
        write_events(&self.directory.path().join("clicks.parquet"), &events);
        let lateness = lateness.map(|minutes| format!("lateness = \"{minutes}m\""));
        let text = PROJECT.replace("LATENESS", &lateness.unwrap_or_default());
        let project = Project::parse(&self.directory.path().join("unskew.toml"), &text).unwrap();
        let mut options = BackfillOptions {
            service: "model".to_owned(),
            spine: self.directory.path().join("spine.csv"),
            time_column: "t".to_owned(),
            statuses: true,
            output: OutputOptions { overwrite: true },
            ..BackfillOptions::default()
        };
        change(&mut options);
        let path = self.directory.path().join("out.parquet");
        Run {
            made: backfill(&project, modules(), &options, &path, |_| ()),
            project,
            options,
        }
    }

    /// How many events the last row could see but for their lateness.
    fn late(&self, lateness: i64) -> u64 {
        let is_counted = |event: &&Event| {
            let (user, minute, delay, _) = **event;
            user.is_some() && is_late(event, lateness) && minute < self.last && minute + delay.unwrap() <= self.last
        };
        self.events.iter().filter(is_counted).count() as u64
    }
}

struct Run {
    made: Result<Backfilled, BackfillError>,
    project: Project,
    options: BackfillOptions,
}

impl Run {
    fn entry(&self) -> &ViewEntry {
        &self.made.as_ref().unwrap().manifest.views["ctr"]
    }
}

fn is_late(event: &Event, lateness: i64) -> bool {
    event.2.is_some_and(|delay| delay > lateness)
}

fn write_events(path: &Path, events: &[Event]) {
    let times = |time: &dyn Fn(&Event) -> Option<i64>| {
        let times = events.iter().map(|event| time(event).map(|minute| minute * MINUTE));
        Arc::new(times.collect::<TimestampMicrosecondArray>()) as ArrayRef
    };
    let users = Int64Array::from_iter(events.iter().map(|event| event.0));
    let clicked = BooleanArray::from_iter(events.iter().map(|event| Some(event.3)));
    let columns: [(&str, ArrayRef, bool); 4] = [
        ("user", Arc::new(users), true),
        ("clicked", Arc::new(clicked), true),
        ("t", times(&|event| Some(event.1)), true),
        ("known", times(&|event| Some(event.1 + event.2?)), true),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    // So that some are later than the spine throughout, and are not read.
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(64))
        .build();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// Of some users, in the order of time; delays of up to two hours, and some exactly the lateness of 30 minutes.
fn shop() -> Shop {
    let mixed = |index: i64| index.wrapping_mul(0x5851_f42d_4c95_7f2d).cast_unsigned() >> 33;
    let event = |index: i64| {
        let mixed = mixed(index).cast_signed();
        let delay = match mixed % 5 {
            0 => None,
            1 => Some(30 + mixed % 2),
            _ => Some(mixed / 7 % 120),
        };
        (
            (mixed % 19 != 0).then_some(mixed % 23),
            index * 3,
            delay,
            mixed % 3 == 0,
        )
    };
    let events: Vec<Event> = (0..1_200).map(event).collect();
    let spine: Vec<(Option<i64>, i64)> = (0..300)
        .map(|index| {
            let mixed = mixed(index + 5_000).cast_signed();
            ((mixed % 11 != 0).then_some(mixed % 26), mixed / 26 % 2_700)
        })
        .collect();
    Shop::new(&events, &spine)
}

#[test]
fn late_events_are_left_out_and_counted() {
    let shop = shop();
    for lateness in [0, 30] {
        let expected = shop.run(None, Some(lateness), |_| ());
        assert_eq!((expected.entry().history.late, expected.entry().lateness_us), (0, None));
        let late = shop.late(lateness);
        assert!(late > 100, "{late}");
        for (memory_bytes, threads) in [(1, 1), (64 << 10, 3), (1 << 30, 2)] {
            let run = shop.run(Some(lateness), None, |options| {
                options.resources.memory_bytes = memory_bytes;
                options.resources.threads = threads;
            });
            let digest = |run: &Run| run.made.as_ref().unwrap().manifest.output;
            assert_eq!(digest(&run), digest(&expected), "{lateness} min, {memory_bytes} bytes");
            assert_eq!(run.entry().history.late, late);
            assert_eq!(run.entry().lateness_us, Some((lateness * MINUTE).cast_unsigned()));
            assert_eq!(run.entry().rows, expected.entry().rows);
        }
    }
}

#[test]
fn an_audit_traces_no_row_to_a_late_event() {
    let shop = shop();
    let audited = |lateness, left_out| {
        let run = shop.run(lateness, left_out, |_| ());
        let options = AuditOptions {
            backfill: run.options,
            label: None,
            label_time: None,
            samples: 300,
            suspicious_auc: 0.95,
        };
        let found = audit(&run.project, modules(), &options, |_| ()).unwrap();
        let samples: Vec<_> = found
            .samples
            .iter()
            .map(|sample| {
                let origin = sample.origin.as_ref();
                (
                    sample.row,
                    origin.map(|origin| (origin.event_time, origin.known_at)),
                    sample.events,
                )
            })
            .collect();
        (samples, found.views[0].not_found, found.views[0].late)
    };
    let (expected, not_found, none) = audited(None, Some(30));
    assert_eq!(none, None);
    assert_eq!(audited(Some(30), None), (expected, not_found, Some(shop.late(30))));
}

#[test]
fn a_backfill_of_another_lateness_is_not_gone_on_with() {
    let shop = shop();
    let stopped = shop.run(Some(30), None, |options| {
        options.resources.save_after = std::time::Duration::ZERO;
        options.resources.interrupt.raise();
    });
    assert!(matches!(stopped.made, Err(BackfillError::Interrupted)));
    for (lateness, reason) in [
        (Some(31), "the lateness of view `ctr` was 30m, now it is 31m"),
        (None, "the lateness of view `ctr` was 30m, now it is none"),
    ] {
        let resumed = shop.run(lateness, None, |options| options.resume = true);
        let error = resumed.made.err().unwrap().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

/// The count is of the whole, wherever it was stopped.
#[test]
fn a_resumed_backfill_counts_as_one_that_was_not_stopped() {
    let shop = shop();
    let whole = shop.run(Some(30), None, |options| {
        options.resources.save_after = std::time::Duration::ZERO
    });
    let expected = whole.made.unwrap().manifest;
    let path = shop.directory.path().join("out.parquet");
    let mut interrupted = 0;
    for stop_at in (0..60).step_by(6) {
        let fresh = || BackfillOptions {
            resources: Resources {
                interrupt: crate::backfill::Interrupt::default(),
                ..whole.options.resources.clone()
            },
            ..whole.options.clone()
        };
        let (steps, options) = (AtomicUsize::new(0), fresh());
        let stop = |_: crate::backfill::Progress<'_>| {
            if steps.fetch_add(1, Ordering::Relaxed) == stop_at {
                options.resources.interrupt.raise();
            }
        };
        let stopped = backfill(&whole.project, modules(), &options, &path, stop);
        interrupted += usize::from(stopped.is_err());
        let resume = BackfillOptions {
            resume: true,
            ..fresh()
        };
        let made = backfill(&whole.project, modules(), &resume, &path, |_| ()).unwrap();
        assert_eq!(made.manifest, expected, "stopped at step {stop_at}");
    }
    assert!(interrupted > 3, "{interrupted} times");
}

#[test]
fn what_moved_names_the_lateness() {
    let shop = shop();
    let [before, after] = [Some(30), None].map(|lateness| shop.run(lateness, None, |_| ()).made.unwrap().manifest);
    assert_ne!(before.job, after.job);
    let differences = before.diff(&after);
    let of = |kind| differences.iter().filter(move |difference| difference.kind == kind);
    let question: Vec<_> = of(Moved::Question)
        .map(|moved| (&*moved.what, &*moved.before, &*moved.after))
        .collect();
    assert_eq!(question, [("lateness of ctr", "30m", "none")]);
    assert!(of(Moved::Result).any(|moved| moved.what == "late in ctr" && moved.after == "0"));
}
