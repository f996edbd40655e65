//! Fresh events: what is served is what a backfill would compute of all that has arrived, whatever was pushed, published, rolled
//! back and restarted meanwhile.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use unskew::metrics::FreshMetrics;
use unskew::{FreshOptions, Host, HostOptions, PushError, Pushed, Refresh, Refusal, Session};
use unskew_batch::{ArrivalOptions, BackfillOptions, Project, replay_arrivals};
use unskew_frame::Value;
use unskew_snapshot::{EventTime, MICROS_PER_DAY, MICROS_PER_HOUR, Status};
use unskew_tests::hostile::{Function, Guest};
use unskew_tests::{Fixture, chain, patient};

use crate::log::{DAYS, ITEMS, Item, Log, Random, Row, START, spine_csv};

/// How many events at least an entity has behind a read that is told that they are from its future.
const PENDING: usize = 32;
const VIEWS: [&str; 3] = ["item_ctr", "segment_ctr", "item_context"];

/// A host of a generated log, and what it is to know.
struct World {
    log: Log,
    fixture: Fixture,
    host: Host,
    session: Session,
    journal: Option<PathBuf>,
    random: Random,
    /// The impressions and the rows of items that have arrived.
    arrived: [BTreeSet<usize>; 2],
    /// By generation, the time as of which its snapshots are.
    watermarks: Vec<(u64, i64)>,
    now: i64,
}

impl World {
    fn new(seed: u64, impressions: usize, has_known_at: bool, has_journal: bool) -> Self {
        Self::of(Log::generate(seed, impressions, has_known_at), seed, has_journal)
    }

    fn of(log: Log, seed: u64, has_journal: bool) -> Self {
        let fixture = log.fixture();
        let watermark = START + 2 * MICROS_PER_DAY;
        let generation = fixture.publish(EventTime(watermark));
        let journal = has_journal.then(|| fixture.path("journal"));
        let host = open(&fixture, journal.clone());
        Self {
            session: host.session(),
            host,
            journal,
            random: Random::new(seed ^ 0x5eed),
            arrived: Default::default(),
            watermarks: vec![(generation, watermark)],
            now: watermark,
            log,
            fixture,
        }
    }

    fn watermark(&self) -> i64 {
        let current = self.host.current();
        let known = self.watermarks.iter().find(|(generation, _)| *generation == current);
        known.expect("it was published here").1
    }

    /// Time goes on. What happens and becomes known meanwhile arrives, but for some that is not known before it arrives, if there
    /// is no known-at; in another order; some of it early.
    fn advance(&mut self, by: i64) {
        self.now += by;
        let soon = self.now + MICROS_PER_HOUR;
        let times: [Vec<(i64, Option<i64>)>; 2] = [
            self.log
                .impressions
                .iter()
                .map(|event| (event.time, event.known_at))
                .collect(),
            self.log.items.iter().map(|item| (item.time, item.known_at)).collect(),
        ];
        let mut pushes: Vec<(usize, usize)> = Vec::new();
        for (kind, times) in times.iter().enumerate() {
            for (index, (time, known_at)) in times.iter().enumerate() {
                let from = known_at.map_or(*time, |known_at| known_at.max(*time));
                let is_late = !self.log.has_known_at && self.random.one_in(6);
                let is_early = from < soon && self.random.one_in(3);
                // What every snapshot of this log had from the first is not pushed: it did not arrive at this host.
                let is_new = from >= self.watermarks[0].1 && !self.arrived[kind].contains(&index);
                if is_new && (from <= self.now && !is_late || is_early) {
                    pushes.push((kind, index));
                }
            }
        }
        for index in (1..pushes.len()).rev() {
            pushes.swap(index, self.random.below(index as i64 + 1) as usize);
        }
        let mut rest = &pushes[..];
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(1 + self.random.below(rest.len().min(40) as i64) as usize);
            rest = after;
            self.push(batch);
        }
    }

    /// Pushes events to every view that is made of them.
    fn push(&mut self, batch: &[(usize, usize)]) {
        for (view, pushed) in VIEWS.iter().zip(push(&self.host, &self.log, batch, self.now)) {
            let pushed = pushed.expect("there is room");
            let of_view = batch
                .iter()
                .filter(|(kind, _)| *kind == usize::from(*view == "item_context"));
            assert_eq!(
                pushed.taken + pushed.covered + pushed.refused.len(),
                of_view.count(),
                "{view}"
            );
            let late = batch.iter().filter(|(kind, index)| {
                let event = || &self.log.impressions[*index];
                let has_key = || event().item.is_some() && (*view == "item_ctr" || event().segment.is_some());
                *view != "item_context" && *kind == 0 && self.log.is_late(event()) && has_key()
            });
            assert_eq!(pushed.refused_for(Refusal::Late), late.count(), "{view}: {pushed:?}");
            let is_left_out = |(_, refusal): &(usize, Refusal)| matches!(refusal, Refusal::NoKey | Refusal::Late);
            assert!(pushed.refused.iter().all(is_left_out), "{view}: {pushed:?}");
        }
        for (kind, index) in batch {
            self.arrived[*kind].insert(*index);
        }
    }

    /// What the host is to know: what its snapshots have, and what has arrived.
    fn known(&self) -> Log {
        let watermark = self.watermark();
        let has_become_known = |known_at: Option<i64>| known_at.is_none_or(|known_at| known_at <= watermark);
        let impressions = self.log.impressions.iter().enumerate().filter(|(index, event)| {
            self.arrived[0].contains(index) || event.time < watermark && has_become_known(event.known_at)
        });
        let items = self.log.items.iter().enumerate().filter(|(index, item)| {
            self.arrived[1].contains(index) || item.time <= watermark && has_become_known(item.known_at)
        });
        Log {
            impressions: impressions.map(|(_, event)| event.clone()).collect(),
            items: items.map(|(_, item)| item.clone()).collect(),
            has_known_at: self.log.has_known_at,
            lateness: self.log.lateness,
        }
    }

    /// Compares all features of every item and some segments at a time with what the rules say.
    fn check(&mut self, at: i64) {
        let (known, current, watermark) = (self.known(), self.host.current(), self.watermark());
        let service = self.host.service("features").expect("it is published");
        for segment in [Some("a"), Some("with, comma"), None] {
            let mut request = service.request(EventTime(at));
            request
                .set("segment", segment.map_or(Value::Null, Value::String))
                .expect("a field");
            for item in 0..ITEMS {
                request.push_candidate(&[Value::I64(item)]).expect("a field");
            }
            let served = self.session.evaluate(&request).expect("it is served");
            assert!(served.failures().is_empty(), "{:?}", served.failures());
            for item in 0..ITEMS {
                let row = Row {
                    time: at,
                    item: Some(item),
                    segment: segment.map(str::to_owned),
                    position: None,
                };
                let naive = known.naive(&row, None);
                for (feature, name) in served.names().enumerate() {
                    let (value, status) = (
                        served.value(item as usize, feature),
                        served.status(item as usize, feature),
                    );
                    let behind = || {
                        known
                            .impressions
                            .iter()
                            .filter(|event| event.item == Some(item) && !known.is_late(event))
                            .filter(|event| {
                                event
                                    .known_at
                                    .map_or(event.time + 1, |known_at| known_at.max(event.time + 1))
                                    > at
                            })
                    };
                    // A read so far behind that it is not kept what it sees.
                    if status == Status::Future && behind().count() >= PENDING {
                        continue;
                    }
                    assert_eq!(
                        (value, status),
                        (naive.values[feature], naive.statuses[feature]),
                        "`{name}` of item {item}, segment {segment:?}, at {at}, generation {current} as of {watermark}"
                    );
                }
            }
        }
    }

    /// A read now, and one that comes a little late.
    fn check_now(&mut self) {
        self.check(self.now);
        let late = self.now - self.random.below(MICROS_PER_HOUR);
        if late >= self.watermark() {
            self.check(late);
        }
    }

    fn publish(&mut self) {
        let watermark = self.now - self.random.below(3) * MICROS_PER_HOUR;
        let watermark = watermark.max(self.watermarks.last().map_or(0, |(_, watermark)| *watermark));
        // As deltas on what was published before, or whole.
        let generation = match self.random.one_in(3) {
            true => self.fixture.publish(EventTime(watermark)),
            false => self.fixture.publish_deltas(EventTime(watermark)),
        };
        self.watermarks.push((generation, watermark));
    }

    fn refresh(&mut self) {
        self.host.unpin();
        self.host.refresh().expect("what was published is good");
    }

    fn restart(&mut self) {
        // The old one lets go of its journal first.
        let empty = Fixture::host(&self.fixture);
        self.session = empty.session();
        self.host = empty;
        self.host = open(&self.fixture, self.journal.clone());
        self.session = self.host.session();
    }
}

fn open(fixture: &Fixture, journal_dir: Option<PathBuf>) -> Host {
    let options = HostOptions {
        fresh: FreshOptions {
            journal_dir,
            // Events from the next hour are seen when it has come.
            max_ahead: std::time::Duration::from_secs(3_600),
            ..FreshOptions::default()
        },
        ..patient()
    };
    // The thread that frees the old host's generations may still have its journal for a moment.
    for _ in 0..500 {
        match Host::open(fixture.store.root(), options.clone()) {
            Ok(host) => return host,
            Err(error) if chain(&error).contains("another host") => std::thread::yield_now(),
            Err(error) => panic!("{}", chain(&error)),
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("the journal stays locked");
}

/// Pushes events of a log, in the order of `batch`, to each of [`VIEWS`].
fn push(host: &Host, log: &Log, batch: &[(usize, usize)], now: i64) -> [Result<Pushed, PushError>; 3] {
    let columns: [&[&str]; 3] = [
        &["item_id", "clicked"],
        // In another order than the view's.
        &["clicked", "item_id", "segment"],
        &["item_id", "price", "category"],
    ];
    std::array::from_fn(|view| {
        let mut events = host.events(VIEWS[view], columns[view])?;
        for (kind, index) in batch {
            match (view, kind) {
                (0 | 1, 0) => {
                    let event = &log.impressions[*index];
                    let item = event.item.map_or(Value::Null, Value::I64);
                    let clicked = event.clicked.map_or(Value::Null, Value::Bool);
                    let segment = event.segment.as_deref().map_or(Value::Null, Value::String);
                    let values = [[item, clicked, Value::Null], [clicked, item, segment]][view];
                    let values = &values[..columns[view].len()];
                    events.push(EventTime(event.time), event.known_at.map(EventTime), values)?;
                }
                (2, 1) => {
                    let Item {
                        time,
                        known_at,
                        item,
                        price,
                        category,
                    } = &log.items[*index];
                    let item = item.map_or(Value::Null, Value::I64);
                    let price = price.map_or(Value::Null, |cents| Value::F64(cents as f64 / 100.0));
                    let category = category.as_deref().map_or(Value::Null, Value::String);
                    events.push(EventTime(*time), known_at.map(EventTime), &[item, price, category])?;
                }
                _ => {}
            }
        }
        host.push(&events, EventTime(now))
    })
}

/// A process that pushes is killed, again and again: every event that it was told was taken is there after the restart, once.
#[test]
fn what_a_killed_process_was_told_is_there_once() {
    let fixture = Log::generate(11, 50, false).fixture();
    let watermark = EventTime(START + 2 * MICROS_PER_DAY);
    fixture.publish(watermark);
    let journal = fixture.store.root().join("journal");
    let impressions = |host: &Host, item: u64| {
        let mut session = host.session();
        let mut request = host
            .service("features")
            .expect("it is published")
            .request(EventTime(watermark.0 + MICROS_PER_HOUR));
        request.set("segment", Value::Null).expect("a field");
        request.push_candidate(&[Value::I64(item as i64)]).expect("a field");
        let served = session.evaluate(&request).expect("it is served");
        let mut names = served.names();
        let feature = names.position(|name| name == "item_ctr:impressions_7d");
        match served.value(0, feature.expect("the service has it")) {
            Value::I64(count) => count,
            other => panic!("{other:?} is no count"),
        }
    };
    // Items that the log does not have.
    let first = 1_000;
    let mut next = first;
    for kill in 0..4 {
        let mut child = Command::new(env!("CARGO_BIN_EXE_actor"))
            .args([
                "push".into(),
                fixture.store.root().as_os_str().to_owned(),
                next.to_string().into(),
            ])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the actor runs");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let told: Vec<u64> = lines
            .by_ref()
            .take(1 + 37 * kill)
            .map(|line| line.expect("a line").parse().expect("a number"))
            .collect();
        child.kill().expect("it runs until it is killed");
        assert_eq!(child.wait().expect("it was killed").signal(), Some(9));
        drop(lines);
        let last = *told.last().expect("it was killed after the first");
        let host = open(&fixture, Some(journal.clone()));
        for item in first..=last {
            assert_eq!(impressions(&host, item), 1, "item {item} after kill {kill}");
        }
        // One more may have been taken than it could say, and some that were in the pipe.
        let beyond: Vec<i64> = (last + 1..)
            .map(|item| impressions(&host, item))
            .take_while(|count| *count != 0)
            .collect();
        assert!(beyond.iter().all(|count| *count == 1), "{beyond:?}");
        next = last + 1 + beyond.len() as u64;
    }
}

fn of_items(host: &Host) -> FreshMetrics {
    let metrics = host
        .metrics()
        .fresh
        .into_iter()
        .find(|metrics| metrics.view == "item_ctr");
    metrics.expect("the view takes events")
}

/// What happens between two reads.
#[derive(Clone, Copy, Debug)]
enum Step {
    Advance(i64),
    Publish,
    Refresh,
    Rollback,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..20 * MICROS_PER_HOUR).prop_map(Step::Advance),
        2 => Just(Step::Publish),
        2 => Just(Step::Refresh),
        1 => Just(Step::Rollback),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_no_event_is_lost_or_counted_twice(
        seed: u64,
        impressions in 100_usize..500,
        has_known_at: bool,
        lateness in prop::option::of(0..MICROS_PER_DAY),
        steps in prop::collection::vec(step(), 6..14),
    ) {
        let mut log = Log::generate(seed, impressions, has_known_at);
        if let Some(lateness) = lateness {
            log = log.with_lateness(lateness);
        }
        let mut world = World::of(log, seed, true);
        for step in steps {
            match step {
                Step::Advance(by) if world.now + by < START + DAYS * MICROS_PER_DAY => world.advance(by),
                Step::Advance(_) => {}
                Step::Publish => world.publish(),
                Step::Refresh => world.refresh(),
                Step::Rollback => _ = world.host.rollback(),
                Step::Restart => world.restart(),
            }
            world.check_now();
        }
    }
}

/// More events of an item than are kept one by one, in any order: reads of now and of a little earlier are right, and of long ago
/// they say that they come too late.
#[test]
fn an_entity_with_many_events_is_read_right_or_not_at_all() {
    let mut log = Log::generate(17, 900, true);
    for event in &mut log.impressions {
        event.item = Some(1);
    }
    let mut world = World::of(log, 17, false);
    for _ in 0..8 {
        world.advance(14 * MICROS_PER_HOUR);
        world.check_now();
        for back in [1, 10, 100].map(|minutes| minutes * MICROS_PER_HOUR / 60) {
            if world.now - back >= world.watermark() {
                world.check(world.now - back);
            }
        }
    }
    world.publish();
    world.refresh();
    world.check_now();
    let service = world.host.service("features").expect("it is published");
    let mut request = service.request(EventTime(world.watermark() + 1));
    request.push_candidate(&[Value::I64(1)]).expect("a field");
    world.advance(14 * MICROS_PER_HOUR);
    let served = world.session.evaluate(&request).expect("it is served");
    assert_eq!(served.status(0, 0), Status::Future);
}

const SUMS: &str = r#"
[project]
name = "sums"

[[entity]]
name = "key"
keys = [{ name = "key", type = "i64" }]

[[source]]
name = "events"
path = "events.csv"
event_time = "time"

[[view]]
name = "sums"
entity = "key"
source = "events"
module = "guest"
inputs = { x = 1.0 }

[[service]]
name = "model"
candidate = [{ name = "key", type = "i64" }]
features = ["sums:x"]

[[service]]
name = "with-fallback"
candidate = [{ name = "key", type = "i64" }]
features = ["sums:x"]
fallbacks = { "sums:x" = -1.0 }
"#;

/// An event that the module fails on is refused, and costs no other anything; one that a newer module fails on, after it was taken,
/// costs its own entity its values.
#[test]
fn an_event_that_a_module_fails_on_is_alone_in_that() {
    let mut fixture = Fixture::new(SUMS, &[("events.csv", &format!("time,key,x\n{START},9,5\n"))]);
    let mut publish = |poison: f64| {
        let guest = Guest {
            poison: Some(poison),
            ..Guest::does(Function::Fold, "")
        };
        let module = guest
            .load_into(&fixture.store)
            .unwrap_or_else(|error| panic!("{error}"));
        fixture.modules.insert("guest".to_owned(), module);
        (fixture.publish(EventTime(START + 1)), fixture.store.root().to_owned())
    };
    let (_, root) = publish(99.0);
    let host = Host::open(root, patient()).unwrap_or_else(|error| panic!("{}", chain(&error)));
    let mut events = host.events("sums", &["x", "key"]).expect("its columns");
    for (key, x) in [(1, 1.0), (2, 99.0), (3, 2.0)] {
        let values = [Value::F64(x), Value::I64(key)];
        events.push(EventTime(START + 1), None, &values).expect("of its types");
    }
    let pushed = host.push(&events, EventTime(START + 1)).expect("there is room");
    assert_eq!((pushed.taken, &pushed.refused[..]), (2, &[(1, Refusal::Failed)][..]));
    assert!(pushed.failure.is_some_and(|failure| failure.contains("trapped")));

    let mut session = host.session();
    let mut answers = |host: &Host, service: &str| {
        let mut request = host
            .service(service)
            .expect("it is published")
            .request(EventTime(START + 2));
        for key in [1, 2, 3, 9] {
            request.push_candidate(&[Value::I64(key)]).expect("a field");
        }
        let served = session.evaluate(&request).expect("it is served");
        [0, 1, 2, 3].map(|row| {
            (
                served.status(row, 0),
                served.value(row, 0) == Value::F64(-1.0),
                served.value(row, 0).is_null(),
            )
        })
    };
    let statuses = |answers: [(Status, bool, bool); 4]| answers.map(|(status, ..)| status);
    let before = [Status::Present, Status::NotFound, Status::Present, Status::Present];
    assert_eq!(statuses(answers(&host, "model")), before);
    let (generation, _) = publish(2.0);
    assert_eq!(host.refresh().expect("it is good"), Refresh::Activated(generation));
    // Without a value: what the module gives without a state is not of this entity.
    let model = answers(&host, "model");
    assert_eq!(
        statuses(model),
        [Status::Present, Status::NotFound, Status::Failed, Status::Present]
    );
    assert_eq!(model.map(|(.., is_missing)| is_missing), [false, false, true, false]);
    let model = answers(&host, "with-fallback");
    assert_eq!(
        statuses(model),
        [Status::Present, Status::NotFound, Status::Defaulted, Status::Present]
    );
    assert_eq!(
        model.map(|(_, is_fallback, _)| is_fallback),
        [false, false, true, false]
    );
    let metrics = &host.metrics().fresh[0];
    assert_eq!((metrics.failed_entities, metrics.events), (1, 2), "{metrics:?}");
    host.rollback().expect("the one before is in memory");
    assert_eq!(statuses(answers(&host, "model")), before);
}

/// Each generation counts by its own lateness, the one that is served says what was refused, and a restart counts none that was not.
#[test]
fn a_late_event_is_counted_by_no_generation_that_refuses_it() {
    let mut log = Log::generate(23, 50, true);
    let mut fixture = log.fixture();
    let watermark = EventTime(START + 2 * MICROS_PER_DAY);
    let publish = |fixture: &mut Fixture, hours: i64, log: &mut Log| {
        log.lateness = Some(hours * MICROS_PER_HOUR);
        fixture.project = Project::parse(&fixture.path("unskew.toml"), &log.toml()).expect("a project");
        fixture.publish(watermark)
    };
    publish(&mut fixture, 1, &mut log);
    let journal = Some(fixture.path("journal"));
    let mut host = open(&fixture, journal.clone());
    let snapshots = host.metrics().snapshots;
    let late = snapshots.iter().map(|snapshot| (snapshot.view.clone(), snapshot.late));
    let mut expected: Vec<_> = log
        .late(watermark.0)
        .into_iter()
        .map(|(view, late)| (view, Some(late)))
        .collect();
    expected.insert(0, ("item_context".to_owned(), None));
    assert_eq!(late.collect::<Vec<_>>(), expected);
    // An event of an item of its own that became known at the watermark, so many hours after it happened.
    let push = |host: &Host, item: i64, late_us: i64| {
        let mut events = host.events("item_ctr", &["item_id"]).expect("its columns");
        let event_time = EventTime(watermark.0 + 1 - late_us);
        let known_at = Some(EventTime(watermark.0 + 1));
        events
            .push(event_time, known_at, &[Value::I64(item)])
            .expect("of its types");
        let pushed = host.push(&events, EventTime(watermark.0 + 1)).expect("there is room");
        (pushed.taken, pushed.refused_for(Refusal::Late))
    };
    let counts = |host: &Host| {
        let service = host.service("features").expect("it is published");
        let mut request = service.request(EventTime(watermark.0 + 2));
        for item in 1_000..1_005 {
            request.push_candidate(&[Value::I64(item)]).expect("a field");
        }
        let mut session = host.session();
        let served = session.evaluate(&request).expect("it is served");
        let feature = served.names().position(|name| name == "item_ctr:impressions_7d");
        let feature = feature.expect("the service has it");
        [0, 1, 2, 3, 4].map(|row| match served.value(row, feature) {
            Value::I64(count) => count,
            other => panic!("{other:?} is no count"),
        })
    };
    const HOUR: i64 = MICROS_PER_HOUR;
    assert_eq!(push(&host, 1_000, HOUR), (1, 0));
    assert_eq!(push(&host, 1_001, HOUR + 1), (0, 1));
    assert_eq!(counts(&host), [1, 0, 0, 0, 0]);
    let metrics = of_items(&host);
    assert_eq!(
        (metrics.refused[Refusal::Late as usize], metrics.events, metrics.has_gap),
        (1, 1, false)
    );

    // One that would have taken what was refused says that it lacks it.
    publish(&mut fixture, 3, &mut log);
    host.refresh().expect("it is good");
    assert!(of_items(&host).has_gap);
    assert_eq!(push(&host, 1_002, 2 * HOUR), (1, 0));
    assert_eq!(push(&host, 1_003, 4 * HOUR), (0, 1));
    assert_eq!(counts(&host), [1, 0, 1, 0, 0]);
    host.rollback().expect("the one before is in memory");
    assert_eq!(counts(&host), [1, 0, 0, 0, 0]);
    // Refused by the one that is served, and counted by the other.
    assert_eq!(push(&host, 1_004, 2 * HOUR), (0, 1));
    assert_eq!(counts(&host), [1, 0, 0, 0, 0]);
    host.unpin();
    host.refresh().expect("it is good");
    assert_eq!(counts(&host), [1, 0, 1, 0, 1]);

    let restart = |host: Host, fixture: &Fixture| {
        drop(host);
        open(fixture, journal.clone())
    };
    host = restart(host, &fixture);
    assert_eq!(counts(&host), [1, 0, 1, 0, 1]);
    // What the journal has is not counted by a generation that would have refused it.
    publish(&mut fixture, 1, &mut log);
    host = restart(host, &fixture);
    assert_eq!(counts(&host), [1, 0, 0, 0, 0]);
}

/// An event that is pushed twice is counted twice, and the comparison finds it.
#[test]
fn a_fault_is_found() {
    let mut world = World::new(7, 300, true, false);
    world.advance(MICROS_PER_DAY);
    world.check_now();
    let twice = *world.arrived[0]
        .iter()
        .find(|index| {
            let event = &world.log.impressions[**index];
            event.item.is_some()
                && event.time < world.now
                && event.known_at.is_none_or(|known_at| known_at <= world.now)
        })
        .expect("one has arrived");
    world.push(&[(0, twice)]);
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.check(world.now)));
    assert!(found.is_err(), "nobody noticed");
}

#[test]
fn what_cannot_be_pushed_is_refused_and_said() {
    let world = World::new(3, 50, false, false);
    let (host, now) = (&world.host, EventTime(world.now));
    let column = |error: Result<_, PushError>| match error {
        Err(PushError::Column { column, .. }) => column,
        other => panic!("{other:?}"),
    };
    assert!(matches!(host.events("nobody", &[]), Err(PushError::NoView { .. })));
    assert_eq!(
        column(host.events("item_ctr", &["item_id", "clicks"]).map(|_| ())),
        "clicks"
    );
    assert_eq!(column(host.events("item_ctr", &["clicked"]).map(|_| ())), "item_id");
    assert_eq!(
        column(host.events("item_ctr", &["item_id", "item_id"]).map(|_| ())),
        "item_id"
    );

    let mut events = host.events("item_ctr", &["item_id", "clicked"]).expect("its columns");
    let item = |item| [Value::I64(item), Value::Bool(true)];
    assert_eq!(column(events.push(now, None, &item(1)[..1])), "*");
    assert_eq!(
        column(events.push(now, None, &[Value::F64(1.0), Value::Null])),
        "item_id"
    );
    assert_eq!(
        column(events.push(now, None, &[Value::I64(1), Value::I64(1)])),
        "clicked"
    );
    let hour = MICROS_PER_HOUR;
    for (time, known_at, values) in [
        (now.0, None, item(1)),
        (now.0 - 1, None, item(1)),
        (now.0 - 1, Some(now.0 + 1), item(1)),
        (now.0 + hour, None, item(1)),
        (now.0 + hour + 1, None, item(1)),
        (now.0, Some(now.0 + hour + 1), item(1)),
        (now.0, None, [Value::Null, Value::Bool(true)]),
        (i64::MAX, None, item(1)),
    ] {
        let known_at = known_at.map(EventTime);
        events.push(EventTime(time), known_at, &values).expect("of its types");
    }
    let pushed = host.push(&events, now).expect("there is room");
    let future = Refusal::Future;
    assert_eq!((pushed.taken, pushed.covered), (3, 1));
    assert_eq!(
        pushed.refused,
        [(4, future), (5, future), (6, Refusal::NoKey), (7, future)]
    );
    let metrics = host.metrics().fresh;
    let metrics = metrics
        .iter()
        .find(|metrics| metrics.view == "item_ctr")
        .expect("it had events");
    assert_eq!(
        (metrics.taken, metrics.covered, metrics.events, metrics.entities),
        (3, 1, 3, 1)
    );
    assert_eq!(metrics.refused[future as usize], 3);
}

#[test]
fn what_the_journal_does_not_have_is_not_taken() {
    let mut world = World::new(19, 200, false, true);
    let directory = world.journal.clone().expect("it has a journal");
    let (host, now) = (world.host.clone(), world.now);
    let push = |item: i64| {
        let mut events = host.events("item_ctr", &["item_id"]).expect("its columns");
        events
            .push(EventTime(now), None, &[Value::I64(item)])
            .expect("of its types");
        host.push(&events, EventTime(now))
    };
    fs::remove_dir_all(&directory).expect("a directory that nothing was written to");
    let refused = push(1).expect_err("there is no place for it");
    assert!(matches!(refused, PushError::Journal(_)), "{refused}");
    assert!(chain(&refused).contains("events-"), "{}", chain(&refused));
    world.check(now + 1);
    assert_eq!(of_items(&host).events, 0);

    fs::create_dir(&directory).expect("it is gone");
    assert_eq!(push(1).expect("there is a place").taken, 1);
    let segments = || {
        let entries = fs::read_dir(&directory).expect("it is there");
        entries
            .filter(|entry| entry.as_ref().is_ok_and(|entry| entry.path().extension().is_some()))
            .count()
    };
    assert_eq!(segments(), 1);
    // Not before the last snapshot has it that is kept for a rollback.
    for _ in 0..2 {
        assert_eq!(segments(), 1);
        world.now += MICROS_PER_DAY;
        world.fixture.publish(EventTime(world.now));
        world.refresh();
    }
    let is_removed = (0..1_000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        segments() == 0
    });
    assert!(is_removed, "all snapshots have what is in it");
}

#[test]
fn what_is_full_says_so_until_there_is_a_newer_snapshot() {
    let mut world = World::new(5, 300, false, false);
    let options = HostOptions {
        kept_generations: 0,
        fresh: FreshOptions {
            max_view_bytes: 20_000,
            max_entity_events: 3,
            ..FreshOptions::default()
        },
        ..patient()
    };
    let host = Host::open(world.fixture.store.root(), options).expect("it opens");
    let mut events = host.events("item_ctr", &["item_id"]).expect("its columns");
    let mut push = |host: &Host, first: i64, count: i64, now: i64| {
        events.clear();
        for item in first..first + count {
            events
                .push(EventTime(now), None, &[Value::I64(item)])
                .expect("of its types");
        }
        host.push(&events, EventTime(now))
    };
    let now = world.now;
    for _ in 0..3 {
        assert_eq!(push(&host, 1, 1, now).expect("there is room").taken, 1);
    }
    assert_eq!(
        push(&host, 1, 1, now).expect("there is room").refused,
        [(0, Refusal::EntityFull)]
    );
    let full = (0..1_000).find_map(|step| push(&host, 100 + 10 * step, 10, now).err());
    let full = full.expect("it is full at some time");
    assert!(
        full.is_full() && chain(&full).contains("publish a newer snapshot"),
        "{full}"
    );
    let metrics = of_items(&host);
    assert!(metrics.bytes < 40_000 && metrics.full == 1, "{metrics:?}");

    world.now += MICROS_PER_DAY;
    let generation = world.fixture.publish(EventTime(world.now));
    assert_eq!(host.refresh().expect("it is good"), Refresh::Activated(generation));
    // The thread that frees what is served no longer has to come to it.
    let is_forgotten = (0..1_000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        of_items(&host).events == 0
    });
    assert!(is_forgotten, "{:?}", of_items(&host));
    assert_eq!(push(&host, 1, 10, world.now).expect("there is room again").taken, 10);
}

/// The whole of it, as `unskew replay` does it: a log that arrives event by event, with swaps, rollbacks and restarts between.
#[test]
fn a_log_is_served_as_it_arrived() {
    for (has_known_at, lateness) in [(false, None), (true, None), (true, Some(4 * MICROS_PER_HOUR))] {
        let mut log = Log::generate(11, 700, has_known_at);
        if let Some(lateness) = lateness {
            log = log.with_lateness(lateness);
        }
        let fixture = log.fixture();
        let start = START + 3 * MICROS_PER_DAY;
        let spine = log.spine(12, 300, start, START + DAYS * MICROS_PER_DAY);
        fs::write(fixture.path("spine.csv"), spine_csv(&spine)).expect("a file in the fixture");
        let mut options = ArrivalOptions {
            backfill: BackfillOptions {
                service: "features".to_owned(),
                spine: fixture.path("spine.csv"),
                time_column: "time".to_owned(),
                ..BackfillOptions::default()
            },
            snapshots_at: Some(EventTime(start)),
            disturbances: 2,
            seed: 13,
            push_twice: false,
        };
        let replay = |options: &ArrivalOptions| {
            let scratch = tempfile::tempdir().expect("a directory");
            let Fixture {
                project,
                modules,
                store,
                ..
            } = &fixture;
            replay_arrivals(project, modules, store, scratch.path(), options, |_, _| {})
                .unwrap_or_else(|error| panic!("{}", chain(&error)))
        };
        let found = replay(&options);
        assert!(found.parity.is_exact(), "{:#?}", found.parity.named);
        assert_eq!(found.parity.rows, 300);
        assert_eq!((found.rollbacks, found.restarts), (2, 2));
        assert!(found.swaps >= 2, "{found:?}");
        assert!(found.events > 400, "{found:?}");
        assert_eq!(found.late > 100, lateness.is_some(), "{found:?}");
        assert!(lateness.is_some() || found.late == 0, "{found:?}");
        options.push_twice = true;
        options.disturbances = 0;
        assert!(
            replay(&options).parity.mismatches > 0,
            "an event that is pushed twice is found"
        );
    }
}
