//! What is served is what a backfill computes, bit for bit, and both are what the rules of time say.

use std::fs;

use proptest::prelude::*;
use unskew::{Features, Service, Session};
use unskew_batch::{Parity, TrainingSet, replay};
use unskew_frame::Value;
use unskew_snapshot::{EventTime, MICROS_PER_DAY, MICROS_PER_HOUR};
use unskew_tests::Fixture;

use crate::log::{DAYS, Log, Row, START, spine_csv, time};

const SERVICES: [&str; 4] = ["features", "one_item", "no_candidates", "ranker"];

fn write_spine(fixture: &Fixture, name: &str, rows: &[Row]) {
    fs::write(fixture.path(name), spine_csv(rows)).expect("a file in the fixture");
}

/// Asks for the features of one row of a training set, alone.
fn serve_row<'a>(service: &Service, session: &'a mut Session, set: &TrainingSet, row: usize) -> Features<'a> {
    let plan = &set.plan;
    let mut request = service.request(set.spine.times[row]);
    let value = |slot: usize| set.evaluation.columns[slot].value(row);
    for (index, field) in plan.request.iter().enumerate() {
        request
            .set(&field.name, value(index + 1))
            .expect("a field of the service");
    }
    if !plan.candidate.is_empty() {
        let first = plan.request.len() + 1;
        let values: Vec<Value<'_>> = (first..first + plan.candidate.len()).map(value).collect();
        request.push_candidate(&values).expect("a candidate of the service");
    }
    session.evaluate(&request).expect("the request is served")
}

/// Publishes at the watermark and serves every row that is not before it: values and statuses are those of a backfill that
/// is frozen there, in requests of many candidates and of one.
fn check_served(log: &Log, watermark: i64, spine: &[Row]) {
    let fixture = log.fixture();
    fixture.publish(EventTime(watermark));
    let host = fixture.host();
    write_spine(&fixture, "spine.csv", spine);
    let with_item: Vec<Row> = spine.iter().filter(|row| row.item.is_some()).cloned().collect();
    write_spine(&fixture, "ranker.csv", &with_item);
    for name in SERVICES {
        let spine = if name == "ranker" { "ranker.csv" } else { "spine.csv" };
        let set = fixture.compute(name, spine, Some(EventTime(watermark)));
        let service = host.service(name).expect("the service is published");
        let mut session = host.session();
        let parity = replay(&service, &mut session, &set, |_| ()).expect("every row is served");
        assert_eq!(parity.rows as usize, set.spine.rows());
        assert_eq!(parity.values as usize, set.spine.rows() * service.feature_names().len());
        assert!(parity.is_exact(), "{name}: {:#?}", parity.named);

        let mut alone = Parity::default();
        for row in 0..set.spine.rows() {
            let served = serve_row(&service, &mut session, &set, row);
            assert_eq!(served.rows(), 1);
            for (feature, feature_name) in served.names().enumerate() {
                let at = set.spine.times[row];
                alone.compare(row, at, feature_name, served.value(0, feature), set.value(row, feature));
                assert_eq!(
                    served.status(0, feature),
                    set.status(row, feature),
                    "row {row} at {at}, `{feature_name}`"
                );
            }
        }
        assert!(alone.is_exact(), "{name}, row by row: {:#?}", alone.named);
    }
}

/// A backfill gives what the rules give, value by value and status by status.
fn check_rules(log: &Log, spine: &[Row], freeze_at: Option<i64>) {
    let fixture = log.fixture();
    write_spine(&fixture, "spine.csv", spine);
    let set = fixture.compute("features", "spine.csv", freeze_at.map(EventTime));
    assert_eq!(set.spine.rows(), spine.len());
    let last = spine.iter().map(|row| row.time).max();
    let last = last.map(|last| freeze_at.map_or(last, |freeze_at| freeze_at.min(last)));
    assert_eq!(set.late, log.late(last.unwrap_or(i64::MIN)));
    for (index, row) in spine.iter().enumerate() {
        assert_eq!(set.spine.times[index], time(row), "rows keep their order");
        let naive = log.naive(row, freeze_at);
        for (feature, step) in set.plan.features.iter().enumerate() {
            assert_eq!(
                (set.value(index, feature), set.status(index, feature)),
                (naive.values[feature], naive.statuses[feature]),
                "row {index} {row:?}, `{}`, frozen at {freeze_at:?}",
                step.name
            );
        }
    }
}

const END: i64 = START + DAYS * MICROS_PER_DAY;

#[test]
fn a_large_log_is_served_as_it_was_computed() {
    let log = Log::generate(1, 4_000, false);
    // Within the log, at midnight, so that events lie right at the watermark.
    let watermark = START + 8 * MICROS_PER_DAY;
    let spine = log.spine(2, 600, watermark, watermark + 9 * MICROS_PER_DAY);
    check_served(&log, watermark, &spine);
}

#[test]
fn a_large_log_with_late_events_is_served_as_it_was_computed() {
    let log = Log::generate(3, 4_000, true);
    let watermark = START + 8 * MICROS_PER_DAY + 1;
    let spine = log.spine(4, 600, watermark, watermark + 9 * MICROS_PER_DAY);
    check_served(&log, watermark, &spine);
}

/// Snapshots leave out what the backfill leaves out.
#[test]
fn a_large_log_with_a_declared_lateness_is_served_as_it_was_computed() {
    let log = Log::generate(9, 2_000, true).with_lateness(5 * MICROS_PER_HOUR);
    let watermark = START + 8 * MICROS_PER_DAY;
    let spine = log.spine(10, 300, watermark, watermark + 9 * MICROS_PER_DAY);
    check_served(&log, watermark, &spine);
}

#[test]
fn a_large_backfill_is_what_the_rules_say() {
    for has_known_at in [false, true] {
        let log = Log::generate(5, 3_000, has_known_at);
        let spine = log.spine(6, 900, START - MICROS_PER_HOUR, END + 9 * MICROS_PER_DAY);
        check_rules(&log, &spine, None);
        check_rules(&log, &spine, Some(START + 5 * MICROS_PER_DAY));
    }
}

/// At exactly the watermark nothing needs to be frozen: the snapshot holds all that the backfill may see.
#[test]
fn at_the_watermark_serving_is_the_backfill() {
    let log = Log::generate(7, 2_000, true);
    let watermark = START + 8 * MICROS_PER_DAY;
    let mut spine = log.spine(8, 200, watermark, watermark + 1);
    spine.iter_mut().for_each(|row| row.time = watermark);
    let fixture = log.fixture();
    fixture.publish(EventTime(watermark));
    write_spine(&fixture, "spine.csv", &spine);
    let host = fixture.host();
    for name in ["features", "one_item", "no_candidates"] {
        let set = fixture.compute(name, "spine.csv", None);
        let service = host.service(name).expect("the service is published");
        let parity = replay(&service, &mut host.session(), &set, |_| ()).expect("every row is served");
        assert!(parity.is_exact(), "{name}: {:#?}", parity.named);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_log_is_served_as_it_was_computed(
        seed: u64,
        impressions in 0_usize..400,
        has_known_at: bool,
        (days, beyond) in (0..=DAYS, -1..=1_i64),
    ) {
        let log = Log::generate(seed, impressions, has_known_at);
        let watermark = START + days * MICROS_PER_DAY + beyond;
        let spine = log.spine(seed, 60, watermark, watermark + 9 * MICROS_PER_DAY);
        check_served(&log, watermark, &spine);
    }

    #[test]
    fn any_backfill_is_what_the_rules_say(
        seed: u64,
        impressions in 0_usize..400,
        has_known_at: bool,
        lateness in proptest::option::of(0..MICROS_PER_DAY),
        frozen in proptest::option::of(0..DAYS),
    ) {
        let mut log = Log::generate(seed, impressions, has_known_at);
        if let Some(lateness) = lateness {
            log = log.with_lateness(lateness);
        }
        let spine = log.spine(seed, 120, START - MICROS_PER_HOUR, END + 9 * MICROS_PER_DAY);
        check_rules(&log, &spine, frozen.map(|days| START + days * MICROS_PER_DAY));
    }
}
