//! Switching, going back and freeing, in one interleaving of the threads after the other.
//!
//! The code under test is the code that runs: generations are loaded from a store, which has one snapshot in common, so that
//! the counts of that tell how many generations are in memory.

use std::collections::BTreeMap;
use std::fs;

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use unskew_frame::{ColumnType, Value};
use unskew_snapshot::{
    EntityKey, EventTime, FeatureColumn, KeyColumn, KeyPart, KeyType, SnapshotSchema, SnapshotWriter, WriteOptions,
};

use super::*;
use crate::catalog::{Catalog, Entity, EntityColumn, Field, View};
use crate::digest::Digest;
use crate::fresh::{Events, FreshOptions};
use crate::store::{MANIFEST_FORMAT, Manifest, SnapshotEntry};
use crate::sync::thread;

/// How many interleavings of each test are tried: by chance, and by chance with few changes of the thread that runs, which finds
/// what takes a certain order of few steps.
const RANDOM: usize = 200;
const PCT: usize = 200;
/// Of each of the model's threads, one of which loads generations.
const STACK_BYTES: usize = 1 << 20;
/// In the store; the first is current.
const GENERATIONS: u64 = 3;

/// Between the snapshots of a view that takes events.
const FRESH_WATERMARK: i64 = 10;

/// The view that takes events; the other is in no catalog.
fn catalog() -> Catalog {
    let entity = Entity {
        name: "key".to_owned(),
        keys: vec![EntityColumn {
            name: "key".to_owned(),
            key_type: KeyType::I64,
        }],
    };
    let feature = Field {
        name: "feature".to_owned(),
        column_type: ColumnType::I64,
        nullable: false,
    };
    let view = View {
        name: "fresh".to_owned(),
        entity: "key".to_owned(),
        ttl_us: None,
        features: vec![feature],
        aggregate: None,
        staleness: None,
        lateness_us: None,
    };
    Catalog {
        entities: vec![entity],
        views: vec![view],
        services: Vec::new(),
    }
}

/// As of a watermark, with the events up to it: a key a microsecond.
fn fresh_snapshot(store: &Store, watermark: i64) -> Digest {
    let draft = store.root().join("fresh");
    let schema = SnapshotSchema {
        view: "fresh".to_owned(),
        key: vec![KeyColumn::new("key", KeyType::I64)],
        features: vec![FeatureColumn::new("feature", ColumnType::I64)],
        ttl: None,
    };
    let mut writer = SnapshotWriter::create(&draft, WriteOptions::new(schema, EventTime(watermark))).unwrap();
    for time in 0..=watermark {
        let key = EntityKey::new(&[KeyPart::I64(time)]).unwrap();
        writer
            .push(key.as_ref(), EventTime(time), None, &[Value::I64(time)])
            .unwrap();
    }
    writer.finish().unwrap();
    let digest = Digest::of(&fs::read(&draft).unwrap());
    fs::rename(draft, store.snapshot_path(&digest)).unwrap();
    digest
}

/// Pushes the event of each of these times to the generation that is served then.
fn push(generations: &Generations, times: std::ops::Range<i64>) {
    for time in times {
        let generation = generations.current.load_full();
        let overlay = generation.fresh("fresh").unwrap();
        let mut events = Events::new(&overlay.schema, &["key", "feature"]).unwrap();
        events
            .push(EventTime(time), None, &[Value::I64(time), Value::I64(time)])
            .unwrap();
        let pushed = generations.fresh().push(overlay, &events, EventTime(time)).unwrap();
        assert_eq!(pushed.taken + pushed.covered, 1);
        // Whatever is served now has it: who pushed sees it.
        assert!(knows(&generations.current.load(), time), "event {time}");
    }
}

/// Whether a generation has the event of this time, in its snapshot or beside it; never in both.
fn knows(generation: &Generation, time: i64) -> bool {
    let key = EntityKey::new(&[KeyPart::I64(time)]).unwrap();
    let served = &generation.snapshots["fresh"];
    let is_in_snapshot = served.layers.get(key.as_ref()).is_some();
    let entry = served.fresh.as_ref().unwrap().get(key.as_ref().into());
    assert!(!(is_in_snapshot && entry.is_some()), "event {time} is there twice");
    is_in_snapshot || entry.is_some_and(|entry| entry.events == 1)
}

struct Model {
    directory: tempfile::TempDir,
    runtime: Runtime,
}

impl Model {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(directory.path());
        let draft = directory.path().join("draft");
        let schema = SnapshotSchema {
            view: "view".to_owned(),
            key: vec![KeyColumn::new("key", KeyType::I64)],
            features: vec![FeatureColumn::new("feature", ColumnType::I64)],
            ttl: None,
        };
        let writer = SnapshotWriter::create(&draft, WriteOptions::new(schema, EventTime(0))).unwrap();
        writer.finish().unwrap();
        let digest = Digest::of(&fs::read(&draft).unwrap());
        for folder in ["generations", "snapshots", "compiled"] {
            fs::create_dir(directory.path().join(folder)).unwrap();
        }
        fs::rename(draft, store.snapshot_path(&digest)).unwrap();
        for generation in 1..=GENERATIONS {
            let entry = SnapshotEntry {
                deltas: Vec::new(),
                digest,
                watermark_us: 0,
                row_count: 0,
                late_count: None,
            };
            let fresh = SnapshotEntry {
                deltas: Vec::new(),
                watermark_us: FRESH_WATERMARK * generation as i64,
                row_count: FRESH_WATERMARK as u64 * generation + 1,
                late_count: None,
                digest: fresh_snapshot(&store, FRESH_WATERMARK * generation as i64),
                ..entry
            };
            let manifest = Manifest {
                format: MANIFEST_FORMAT,
                generation,
                catalog: catalog(),
                modules: BTreeMap::new(),
                snapshots: BTreeMap::from([("view".to_owned(), entry), ("fresh".to_owned(), fresh)]),
            };
            fs::write(store.manifest_path(generation), manifest.encode().unwrap()).unwrap();
        }
        Self {
            directory,
            runtime: Runtime::new().unwrap(),
        }
    }

    fn set_current(&self, generation: u64) {
        let store = Store::new(self.directory.path());
        fs::write(store.current_path(), generation.to_string()).unwrap();
    }

    /// Generations that serve the first.
    fn open(&self) -> Arc<Generations> {
        self.set_current(1);
        let options = LoadOptions {
            compiled: self.directory.path().join("compiled"),
            state_dir: None,
            backing: Backing::File,
            limits: CallLimits::SERVING,
            memory_bytes: None,
            kept_generations: 1,
            max_failures: 1,
            metrics: Arc::new(Registry::new()),
            audit: Arc::new(Audit::new(0)),
            fresh: Arc::new(Fresh::open(FreshOptions::default(), CallLimits::SERVING).unwrap()),
        };
        let store = Store::new(self.directory.path());
        let generations = Arc::new(Generations::open(self.runtime.clone(), store, options, Ok(1)).unwrap());
        generations.housekeeper.attend(&generations);
        generations
    }

    /// Runs `scenario` in many interleavings.
    fn check(self, scenario: impl Fn(&Self) + Send + Sync + 'static) {
        let model = Arc::new(self);
        let scenario = Arc::new(scenario);
        let run = || {
            let (model, scenario) = (Arc::clone(&model), Arc::clone(&scenario));
            move || scenario(&model)
        };
        let config = || {
            let mut config = shuttle::Config::default();
            config.stack_size = STACK_BYTES;
            config
        };
        shuttle::Runner::new(RandomScheduler::new(RANDOM), config()).run(run());
        shuttle::Runner::new(PctScheduler::new(3, PCT), config()).run(run());
    }
}

/// A request: sees one generation from beginning to end, and is never the one who frees it.
fn request(generations: &Generations) {
    let guard = generations.current.load();
    let (number, generation) = (guard.number, Arc::downgrade(&guard));
    thread::yield_now();
    assert_eq!(guard.number, number);
    drop(guard);
    assert!(
        generation.strong_count() > 0,
        "generation {number} was freed by a request"
    );
}

fn requests(generations: &Arc<Generations>) -> thread::JoinHandle<()> {
    let generations = Arc::clone(generations);
    thread::spawn(move || (0..3).for_each(|_| request(&generations)))
}

fn spawn(generations: &Arc<Generations>, act: impl FnOnce(&Generations) + Send + 'static) -> thread::JoinHandle<()> {
    let generations = Arc::clone(generations);
    thread::spawn(move || act(&generations))
}

/// When all is done: what is in memory is what is served and kept, and each is there once.
fn settles(generations: &Generations) {
    let resident = generations.health().resident;
    let current = generations.current.load_full();
    let mut waits = 0;
    // Each has the snapshot once.
    while Arc::strong_count(&current.snapshots["view"].layers) != resident.len() {
        waits += 1;
        assert!(waits < 1_000, "more generations are in memory than {resident:?}");
        thread::yield_now();
    }
    let pinned = generations.health().pinned;
    assert!(
        pinned.is_none_or(|pinned| pinned == current.number),
        "{pinned:?} is pinned, {} is served",
        current.number
    );
    assert!(!generations.health().revoked.contains(&current.number) || resident.len() == 1);
    assert!(resident.len() <= 2);
}

#[test]
fn requests_see_one_generation_and_free_none() {
    Model::new().check(|model| {
        let generations = model.open();
        let readers = [requests(&generations), requests(&generations)];
        for number in [2, 3, 1] {
            model.set_current(number);
            assert_eq!(generations.refresh().unwrap(), Refresh::Activated(number));
        }
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        settles(&generations);
    });
}

/// What a refresh found in memory may be let go by a revocation meanwhile.
#[test]
fn a_generation_that_is_freed_twice_is_freed() {
    Model::new().check(|model| {
        let generations = model.open();
        model.set_current(2);
        generations.refresh().unwrap();
        model.set_current(1);
        let threads = [
            spawn(&generations, |generations| {
                _ = generations.refresh().unwrap();
            }),
            spawn(&generations, |generations| {
                _ = generations.revoke(1);
            }),
            requests(&generations),
        ];
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(generations.current.load().number, 2);
        settles(&generations);
    });
}

#[test]
fn a_revoked_generation_is_not_served_whoever_else_switches() {
    Model::new().check(|model| {
        let generations = model.open();
        model.set_current(2);
        let threads = [
            spawn(&generations, |generations| {
                _ = generations.refresh();
            }),
            spawn(&generations, |generations| generations.revoke(2).unwrap()),
            spawn(&generations, |generations| {
                _ = generations.pin(2);
            }),
            requests(&generations),
        ];
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(generations.current.load().number, 1);
        settles(&generations);
    });
}

#[test]
fn a_pinned_generation_stays_whoever_else_switches() {
    Model::new().check(|model| {
        let generations = model.open();
        model.set_current(2);
        generations.refresh().unwrap();
        model.set_current(3);
        let threads = [
            spawn(&generations, |generations| {
                _ = generations.refresh();
            }),
            spawn(&generations, |generations| generations.pin(2).unwrap()),
            spawn(&generations, |generations| generations.quarantine(3, "it fails")),
            requests(&generations),
        ];
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(generations.current.load().number, 2);
        settles(&generations);
    });
}

#[test]
fn a_rollback_waits_for_no_load_and_holds() {
    Model::new().check(|model| {
        let generations = model.open();
        model.set_current(2);
        generations.refresh().unwrap();
        model.set_current(3);
        let threads = [
            spawn(&generations, |generations| {
                _ = generations.refresh();
            }),
            spawn(&generations, |generations| {
                let number = generations.rollback().unwrap();
                assert_eq!(generations.health().pinned, Some(number));
                assert_eq!(generations.current.load().number, number);
                request(generations);
                assert_eq!(generations.refresh().unwrap(), Refresh::Held(3));
            }),
            requests(&generations),
        ];
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        settles(&generations);
    });
}

#[test]
fn a_failing_generation_is_left_once() {
    Model::new().check(|model| {
        let generations = model.open();
        model.set_current(2);
        generations.refresh().unwrap();
        let fails = |generations: &Generations| {
            let generation = generations.current.load();
            let failure = EvaluateError::ServiceChanged {
                service: "service".to_owned(),
            };
            generations.note_failures(&generation, &[failure]);
        };
        let threads = [
            spawn(&generations, fails),
            spawn(&generations, fails),
            spawn(&generations, |generations| {
                _ = generations.refresh();
            }),
            requests(&generations),
        ];
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        settles(&generations);
    });
}

/// Events that are pushed while generations are loaded, switched to and left are in each that is served, once.
#[test]
fn no_event_is_lost_or_there_twice_whoever_switches() {
    Model::new().check(|model| {
        let generations = model.open();
        push(&generations, 8..22);
        model.set_current(2);
        generations.refresh().unwrap();
        model.set_current(3);
        let threads = [
            spawn(&generations, |generations| push(generations, 22..25)),
            spawn(&generations, |generations| push(generations, 25..33)),
            spawn(&generations, |generations| {
                _ = generations.refresh();
                _ = generations.rollback();
            }),
            spawn(&generations, |generations| generations.forget_some()),
            requests(&generations),
        ];
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        generations.forget_some();
        let current = generations.current.load_full();
        assert!((8..33).all(|time| knows(&current, time)));
        // The one before as well, which the next rollback serves.
        if generations.rollback().is_ok() {
            let current = generations.current.load_full();
            assert!((11..33).all(|time| knows(&current, time)));
        }
    });
}
