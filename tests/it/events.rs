//! Events as they should not come, in files and in pushes: without order, from the future, with columns that nobody asked for.

use std::fs;
use std::time::Duration;

use unskew::{FreshOptions, Host, HostOptions, Refusal};
use unskew_batch::materialize;
use unskew_frame::Value;
use unskew_snapshot::{EventTime, MICROS_PER_DAY, MICROS_PER_HOUR, Snapshot};
use unskew_tests::{Fixture, chain, patient};

use crate::log::{DAYS, Impression, Log, Random, Row, START, spine_csv};

const HOUR: i64 = MICROS_PER_HOUR;

fn impression(time: i64, known_at: i64) -> Impression {
    Impression {
        time,
        known_at: Some(known_at),
        item: Some(1),
        segment: None,
        clicked: Some(true),
    }
}

/// The impressions of the last week of item 1 that a backfill counts at a time.
fn computed(fixture: &Fixture, at: i64) -> i64 {
    let row = Row {
        time: at,
        item: Some(1),
        segment: None,
        position: None,
    };
    fs::write(fixture.path("spine.csv"), spine_csv(&[row])).expect("a file in the fixture");
    let set = fixture.compute("features", "spine.csv", None);
    let feature = set
        .plan
        .feature_index("item_ctr:impressions_7d")
        .expect("the service has it");
    count(set.value(0, feature))
}

/// The same as a host serves it.
fn served(host: &Host, at: i64) -> i64 {
    let service = host.service("features").expect("it is published");
    let mut request = service.request(EventTime(at));
    request.push_candidate(&[Value::I64(1)]).expect("a field");
    let mut session = host.session();
    let served = session.evaluate(&request).expect("it is served");
    let feature = served.names().position(|name| name == "item_ctr:impressions_7d");
    count(served.value(0, feature.expect("the service has it")))
}

fn count(value: Value<'_>) -> i64 {
    match value {
        Value::I64(count) => count,
        other => panic!("{other:?} is no count"),
    }
}

/// An event of tomorrow, in a file or pushed, is seen from the microsecond behind its time and not before, whenever it became known; a
/// push that is further ahead than clocks may be is refused. So no read is given it early, and it drops nothing from a state.
#[test]
fn an_event_from_the_future_is_not_seen_before_its_time() {
    let now = START + 2 * MICROS_PER_DAY;
    let ahead = now + 2 * HOUR;
    let log = Log {
        impressions: vec![impression(now - HOUR, now - HOUR), impression(ahead, now)],
        items: Vec::new(),
        has_known_at: true,
        lateness: Some(0),
    };
    let fixture = log.fixture();
    fixture.publish(EventTime(now));
    let options = HostOptions {
        fresh: FreshOptions {
            max_ahead: Duration::from_secs(2 * 3_600),
            ..FreshOptions::default()
        },
        ..patient()
    };
    let host = Host::open(fixture.store.root(), options).unwrap_or_else(|error| panic!("{}", chain(&error)));
    let push = |time: i64| {
        let mut events = host.events("item_ctr", &["item_id", "clicked"]).expect("its columns");
        let values = [Value::I64(1), Value::Bool(true)];
        events
            .push(EventTime(time), Some(EventTime(now)), &values)
            .expect("of its types");
        host.push(&events, EventTime(now)).expect("there is room")
    };
    assert_eq!(push(ahead).taken, 1);
    for time in [ahead + 1, now + 365 * MICROS_PER_DAY, i64::MAX] {
        assert_eq!(push(time).refused, [(0, Refusal::Future)]);
    }
    for (at, count) in [(now, 1), (ahead, 1), (ahead + 1, 2), (ahead + HOUR, 2)] {
        assert_eq!(served(&host, at), count, "{at}");
        assert_eq!(computed(&fixture, at), count, "{at}");
    }
    // A snapshot has it as soon as reads may see it, and then it is not counted again.
    for (watermark, covered) in [(ahead, 0), (ahead + 1, 1)] {
        fixture.publish(EventTime(watermark));
        host.refresh().expect("it is good");
        assert_eq!(served(&host, ahead + 1), 2);
        assert_eq!(push(ahead).covered, covered);
        host.rollback().expect("the one before is in memory");
        host.unpin();
    }
}

/// Rows in any order give the same snapshot and the same training set, to the byte, and columns that nobody asked for change nothing.
#[test]
fn neither_order_nor_other_columns_matter() {
    let log = Log::generate(29, 400, true).with_lateness(3 * HOUR);
    let sorted = log.fixture();
    let text = fs::read_to_string(sorted.path("impressions.csv")).expect("a file in the fixture");
    let mut lines = text.lines();
    let header = lines.next().expect("a header").to_owned();
    let mut rows: Vec<&str> = lines.collect();
    let mut random = Random::new(5);
    for index in (1..rows.len()).rev() {
        rows.swap(index, random.below(index as i64 + 1) as usize);
    }
    let shuffled = log.fixture();
    let with_more = rows.iter().map(|row| format!("{row},note {}\n", row.len()));
    let content = format!("{header},nobody asks\n") + &with_more.collect::<String>();
    fs::write(shuffled.path("impressions.csv"), content).expect("a file in the fixture");

    let watermark = EventTime(START + DAYS * MICROS_PER_DAY / 2);
    let spine = spine_csv(&log.spine(30, 60, START, START + DAYS * MICROS_PER_DAY));
    let made = [&sorted, &shuffled].map(|fixture| {
        let path = fixture.path("ctr.snapshot");
        materialize(&fixture.project, &fixture.modules, "item_ctr", watermark, &path)
            .unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert!(
            Snapshot::open(&path)
                .expect("it is whole")
                .meta()
                .late
                .is_some_and(|late| late.count > 0)
        );
        fs::write(fixture.path("spine.csv"), &spine).expect("a file in the fixture");
        let set = fixture.compute("features", "spine.csv", None);
        let cells =
            (0..set.spine.rows()).flat_map(|row| (0..set.plan.features.len()).map(move |feature| (row, feature)));
        let cells: Vec<String> = cells
            .map(|(row, feature)| format!("{:?}", set.value(row, feature)))
            .collect();
        (fs::read(path).expect("it was written"), cells)
    });
    assert!(made[0] == made[1]);
}
