//! Deltas through a host: what is served from a snapshot and the deltas on it is what is served from a whole snapshot.

use std::fs;

use unskew::Host;
use unskew_batch::Project;
use unskew_frame::Value;
use unskew_registry::{Draft, commit};
use unskew_snapshot::{EventTime, MAX_DELTAS, MICROS_PER_DAY, MICROS_PER_HOUR};
use unskew_tests::chain;

use crate::log::{ITEMS, Log, START};

/// Values and statuses of every item, by their bits.
fn answers(host: &Host, at: i64) -> Vec<String> {
    let mut session = host.session();
    let service = host.service("features").expect("it is published");
    let mut request = service.request(EventTime(at));
    request.set("segment", Value::String("a")).expect("a field");
    for item in 0..ITEMS {
        request.push_candidate(&[Value::I64(item)]).expect("a field");
    }
    let served = session.evaluate(&request).expect("it is served");
    let rows = 0..ITEMS as usize;
    let cells = rows.flat_map(|row| (0..served.width()).map(move |feature| (row, feature)));
    let cell = |(row, feature)| match served.value(row, feature) {
        Value::F64(value) => format!("{:x} {}", value.to_bits(), served.status(row, feature)),
        value => format!("{value:?} {}", served.status(row, feature)),
    };
    cells.map(cell).collect()
}

/// A change of what is published.
type Change<'a> = &'a dyn Fn(&mut Draft);

fn watermark(step: usize) -> EventTime {
    EventTime(START + 2 * MICROS_PER_DAY + step as i64 * 5 * MICROS_PER_HOUR)
}

#[test]
fn a_host_serves_a_base_with_deltas_as_it_serves_the_whole() {
    let log = Log::generate(7, 400, true);
    let (deltas, whole) = (log.fixture(), log.fixture());
    deltas.publish(watermark(0));
    let mut host = None;
    for step in 1..=MAX_DELTAS + 1 {
        let generation = deltas.publish_deltas(watermark(step));
        whole.publish(watermark(step));
        let host = host.get_or_insert_with(|| deltas.host());
        // The first step is opened, the others are loaded beside what is served.
        host.refresh().expect("it is good");
        assert_eq!(host.current(), generation);
        let manifest = deltas.store.manifest(generation).expect("it was written");
        for (view, entry) in &manifest.snapshots {
            // After the last delta that there may be, the view is whole again.
            assert_eq!(entry.deltas.len(), step % (MAX_DELTAS + 1), "{view}");
        }
        let (newest, whole) = (host.health(), whole.host());
        assert_eq!(newest.watermarks, whole.health().watermarks);
        let rows = |host: &Host| {
            host.metrics()
                .snapshots
                .iter()
                .map(|snapshot| snapshot.rows)
                .collect::<Vec<_>>()
        };
        assert_eq!(rows(host), rows(&whole));
        for hours in [0, 3] {
            let at = watermark(step).0 + hours * MICROS_PER_HOUR;
            assert_eq!(answers(host, at), answers(&whole, at), "{step}");
        }
    }
    // What was loaded before is shared: a rollback is of other deltas on the same base.
    let host = host.expect("it was opened");
    host.rollback().expect("the generation before is in memory");
    let at = watermark(MAX_DELTAS).0;
    whole.publish(watermark(MAX_DELTAS));
    assert_eq!(answers(&host, at), answers(&whole.host(), at));
}

/// A snapshot has events that a view of another lateness would refuse, or lacks some: no delta makes up for that.
#[test]
fn a_view_of_another_lateness_is_made_whole() {
    let mut log = Log::generate(12, 300, true).with_lateness(MICROS_PER_HOUR);
    let mut fixture = log.fixture();
    fixture.publish(watermark(0));
    log.lateness = Some(3 * MICROS_PER_HOUR);
    fixture.project = Project::parse(&fixture.path("unskew.toml"), &log.toml()).expect("a project");
    let generation = fixture.publish_deltas(watermark(1));
    let snapshots = fixture.store.manifest(generation).expect("it was written").snapshots;
    let deltas = snapshots
        .iter()
        .map(|(view, entry)| (view.as_str(), entry.deltas.len()));
    assert_eq!(
        deltas.collect::<Vec<_>>(),
        [("item_context", 1), ("item_ctr", 0), ("segment_ctr", 0)]
    );
    let whole = log.fixture();
    whole.publish(watermark(1));
    let at = watermark(1).0 + 1;
    assert_eq!(answers(&fixture.host(), at), answers(&whole.host(), at));
}

#[test]
fn deltas_that_do_not_follow_each_other_are_not_served() {
    let fixture = Log::generate(8, 100, false).fixture();
    fixture.publish(watermark(0));
    fixture.publish_deltas(watermark(1));
    let generation = fixture.publish_deltas(watermark(2));
    let host = fixture.host();
    let good = fixture.store.manifest(generation).expect("it was written");
    let publish = |change: &dyn Fn(&mut Draft)| {
        let mut draft = Draft {
            catalog: good.catalog.clone(),
            modules: good.modules.clone(),
            snapshots: good.snapshots.clone(),
        };
        change(&mut draft);
        commit(&fixture.store, draft).map_err(|error| chain(&error))
    };
    let entry = good.snapshots["item_ctr"].clone();
    let path = |delta: usize| {
        fixture
            .store
            .snapshot_path(&entry.deltas[delta].digest)
            .display()
            .to_string()
    };
    let cases: [(Change<'_>, String); 3] = [
        (
            &|draft| {
                draft
                    .snapshots
                    .get_mut("item_ctr")
                    .expect("it is there")
                    .deltas
                    .reverse()
            },
            format!("view `item_ctr`: {}: it is delta 2 and follows sha256:", path(1)),
        ),
        (
            &|draft| {
                _ = draft
                    .snapshots
                    .get_mut("item_ctr")
                    .expect("it is there")
                    .deltas
                    .remove(0)
            },
            format!("view `item_ctr`: {}: it is delta 2 and follows sha256:", path(1)),
        ),
        (
            &|draft| {
                let other = draft.snapshots["segment_ctr"].clone();
                let entry = draft.snapshots.get_mut("item_ctr").expect("it is there");
                (entry.digest, entry.row_count) = (other.digest, other.row_count);
            },
            format!("view `item_ctr`: {}: it is a delta of the snapshot sha256:", path(0)),
        ),
    ];
    for (change, expected) in cases {
        publish(change).expect("the store has all files");
        let error = host.refresh().expect_err("they do not follow each other");
        assert!(
            chain(&error).starts_with(&expected),
            "{}, not {expected}",
            chain(&error)
        );
        assert_eq!(host.current(), generation);
    }
    // A delta that is missing is found by the publisher.
    fs::remove_file(path(1)).expect("it is there");
    let error = publish(&|_| ()).expect_err("a delta is missing");
    assert!(error.starts_with("delta 2 of view item_ctr is sha256:"), "{error}");
}
