//! Transforms that fail while a host serves: what a request loses, and what the host does about it.

use std::time::{Duration, Instant};

use unskew::{CallError, CallLimits, EvaluateError, Host, HostOptions, Refresh, Session, Status, Value};
use unskew_tests::{Fixture, chain, patient};

use crate::host::{PROJECT, watermark};
use crate::operate::{reopen, wait_until};
use unskew_tests::hostile::{BAD_ROWS, Function, Guest};

/// In place of the service of [`PROJECT`].
const SERVICE: &str = r#"
[[service]]
name = "model"
candidate = [{ name = "user", type = "i64" }, { name = "x", type = "f64" }]
features = ["first:number", "once:x", "twice:x", "history:impressions_7d"]

[[service.transform]]
name = "once"
module = "guest"

[[service.transform]]
name = "twice"
module = "guest"
inputs = { x = "once:x" }
"#;

/// Features of the service, in its order.
const NUMBER: usize = 0;
const ONCE: usize = 1;
const TWICE: usize = 2;
const HISTORY: usize = 3;

/// A store with the generations 1 to `count` of a service with `guest`.
fn published(guest: &Guest, count: i64) -> Fixture {
    published_as(guest, count, SERVICE)
}

fn published_as(guest: &Guest, count: i64, service: &str) -> Fixture {
    let (views, _) = PROJECT.split_once("[[service]]").expect("it has a service");
    let rows = format!("time,user,number,label\n{},7,5,five\n", watermark(0).0);
    let events = format!("time,user,clicked\n{},7,1\n", watermark(0).0);
    let mut fixture = Fixture::new(
        &format!("{views}{service}"),
        &[("rows.csv", &rows), ("events.csv", &events)],
    );
    let module = guest
        .load_into(&fixture.store)
        .unwrap_or_else(|error| panic!("{error}"));
    fixture.modules.insert("guest".to_owned(), module);
    for number in 1..=count {
        assert_eq!(fixture.publish(watermark(number)), number as u64);
    }
    fixture
}

fn open(fixture: &Fixture, options: HostOptions) -> Host {
    Host::open(fixture.store.root(), options).unwrap_or_else(|error| panic!("{}", chain(&error)))
}

/// What became of each feature of a request of so many candidates, the same for all of them, and the errors.
fn evaluate(host: &Host, session: &mut Session, candidates: usize) -> ([Status; 4], Vec<EvaluateError>) {
    let mut request = host.service("model").expect("it is published").request(watermark(20));
    for candidate in 0..candidates {
        let fields = [Value::I64(7), Value::F64(candidate as f64)];
        request.push_candidate(&fields).expect("a candidate");
    }
    let features = session.evaluate(&request).expect("a request that fits is answered");
    let statuses = [NUMBER, ONCE, TWICE, HISTORY].map(|feature| features.status(0, feature));
    for row in 0..candidates {
        assert_eq!(features.value(row, NUMBER), Value::I64(5));
        assert_eq!(features.value(row, HISTORY), Value::I64(1));
        for feature in [ONCE, TWICE] {
            let expected = match statuses[feature] {
                Status::Failed => Value::Null,
                _ => Value::F64(row as f64),
            };
            assert_eq!(features.value(row, feature), expected);
            assert_eq!(features.status(row, feature), statuses[feature]);
        }
    }
    let mut matrix = Vec::new();
    features.write_f64(-1.0, &mut matrix);
    assert_eq!(matrix.len(), 4 * candidates);
    (statuses, features.failures().to_vec())
}

fn trap() -> Guest {
    Guest::does(Function::Apply, "(unreachable)")
}

const GOOD: [Status; 4] = [Status::Present; 4];
const BAD: [Status; 4] = [Status::Present, Status::Failed, Status::Failed, Status::Present];

#[test]
fn a_trap_costs_a_request_its_own_features() {
    let fixture = published(&trap(), 1);
    let host = open(&fixture, patient());
    let mut session = host.session();
    for _ in 0..3 {
        assert_eq!(evaluate(&host, &mut session, 2), (GOOD, Vec::new()));
        let (statuses, failures) = evaluate(&host, &mut session, BAD_ROWS);
        assert_eq!(statuses, BAD);
        // The second takes no missing value, so it is not called.
        let [EvaluateError::Call { step, error, .. }] = &failures[..] else {
            panic!("{failures:?}");
        };
        assert_eq!((step.as_str(), *error), ("once", CallError::Trap));
    }
    let metrics = host.metrics();
    let service = metrics.services.iter().find(|service| service.service == "model");
    let service = service.expect("it was evaluated");
    let failures: Vec<_> = service
        .calls
        .iter()
        .map(|call| (call.step.as_str(), call.failures))
        .collect();
    assert_eq!(
        failures,
        [("history", [0; 5]), ("once", [3, 0, 0, 0, 0]), ("twice", [0; 5])]
    );
    let failed = service
        .features
        .iter()
        .map(|feature| feature.missing[Status::Failed as usize]);
    assert_eq!(failed.collect::<Vec<u64>>(), [0, 3, 3, 0]);
}

#[test]
fn a_transform_that_takes_missing_values_is_called_with_them() {
    let fixture = published(
        &Guest {
            nullable: true,
            ..trap()
        },
        1,
    );
    let host = open(&fixture, patient());
    let (statuses, failures) = evaluate(&host, &mut host.session(), BAD_ROWS);
    assert_eq!(
        (statuses, failures.len()),
        (BAD, 2),
        "it was called, and trapped itself: {failures:?}"
    );
}

/// A fallback stands for the value, also where the next transform reads it, and each failed call is told.
#[test]
fn a_declared_fallback_takes_the_place_of_what_failed() {
    let fallbacks = r#"fallbacks = { "once:x" = 7.5 }"#;
    let fixture = published_as(
        &trap(),
        1,
        &SERVICE.replacen("features =", &format!("{fallbacks}\nfeatures ="), 1),
    );
    let host = open(&fixture, patient());
    let mut session = host.session();
    for rows in [2, BAD_ROWS, 2] {
        let mut request = host.service("model").expect("it is published").request(watermark(20));
        for candidate in 0..rows {
            let fields = [Value::I64(7), Value::F64(candidate as f64)];
            request.push_candidate(&fields).expect("a candidate");
        }
        let features = session.evaluate(&request).expect("a request that fits is answered");
        for row in 0..rows {
            let is_bad = rows == BAD_ROWS;
            let (status, once) = match is_bad {
                true => (Status::Defaulted, Value::F64(7.5)),
                false => (Status::Present, Value::F64(row as f64)),
            };
            assert_eq!((features.status(row, ONCE), features.value(row, ONCE)), (status, once));
            // It was called with the fallback, and trapped itself.
            let twice = match is_bad {
                true => (Status::Failed, Value::Null),
                false => (Status::Present, once),
            };
            assert_eq!((features.status(row, TWICE), features.value(row, TWICE)), twice);
            assert_eq!(features.status(row, HISTORY), Status::Present);
        }
        assert_eq!(features.failures().len(), if rows == BAD_ROWS { 2 } else { 0 });
    }
}

/// The guest traps in every call of this many rows: no call leaves anything that the next could trip over.
#[test]
fn an_instance_may_be_of_one_call() {
    let fixture = published(&trap(), 1);
    let limits = CallLimits {
        fresh_instance: true,
        ..patient().limits
    };
    let host = open(&fixture, HostOptions { limits, ..patient() });
    let mut session = host.session();
    for _ in 0..3 {
        assert_eq!(evaluate(&host, &mut session, 2), (GOOD, Vec::new()));
        assert_eq!(evaluate(&host, &mut session, BAD_ROWS).0, BAD);
    }
}

#[test]
fn an_answer_that_is_late_or_lies_costs_the_same() {
    let forever = Guest::does(Function::Apply, "(loop $forever (br $forever))");
    // The output of a bad batch is an empty list, which is no frame.
    for (guest, expected) in [(forever, CallError::Deadline), (Guest::default(), CallError::Output)] {
        let fixture = published(&guest, 1);
        let limits = CallLimits {
            deadline: Duration::from_millis(100),
            ..CallLimits::SERVING
        };
        let host = open(&fixture, HostOptions { limits, ..patient() });
        let mut session = host.session();
        let start = Instant::now();
        let (statuses, failures) = evaluate(&host, &mut session, BAD_ROWS);
        assert!(start.elapsed() < Duration::from_secs(10), "it ends");
        assert_eq!(statuses, BAD);
        assert!(
            matches!(&failures[..], [EvaluateError::Call { error, .. }] if *error == expected),
            "{failures:?}"
        );
    }
}

#[test]
fn a_generation_that_keeps_failing_is_left_for_the_one_before() {
    let fixture = published(&trap(), 2);
    let set_current = |number: u64| {
        std::fs::write(fixture.store.current_path(), number.to_string()).expect("the store can be written");
    };
    set_current(1);
    let host = open(
        &fixture,
        HostOptions {
            max_failures: 4,
            ..patient()
        },
    );
    set_current(2);
    assert_eq!(host.refresh().expect("it is whole"), Refresh::Activated(2));
    let mut session = host.session();
    wait_until("generation 2 is left", || {
        assert_eq!(evaluate(&host, &mut session, BAD_ROWS).0, BAD);
        host.current() == 1
    });
    let health = host.health();
    assert_eq!((health.quarantined, health.pinned), (vec![2], None));
    let message = health.failure.expect("it says why").message;
    assert!(
        message.contains("`once` (module `guest`)") && message.ends_with("in 30 s"),
        "{message}"
    );
    assert_eq!(host.refresh().expect("nothing fails"), Refresh::Held(2));
    assert!(!host.is_up_to_date(), "nobody meant this");
    assert_eq!(evaluate(&host, &mut session, 2), (GOOD, Vec::new()));

    // The one before fails as well, and there is none before it: serving goes on as well as it can.
    wait_until("it says so", || {
        assert_eq!(evaluate(&host, &mut session, BAD_ROWS).0, BAD);
        let failure = host.health().failure;
        failure.is_some_and(|failure| failure.generation == 1 && failure.message.contains("no generation before"))
    });
    assert_eq!(host.current(), 1);
    // A new one is activated as ever, and one that is pinned stays.
    fixture.publish(watermark(3));
    assert_eq!(host.refresh().expect("it is whole"), Refresh::Activated(3));
    assert_eq!(host.health().failure, None);
    host.pin(3).expect("it is served");
    wait_until("it says so", || {
        assert_eq!(evaluate(&host, &mut session, BAD_ROWS).0, BAD);
        host.health()
            .failure
            .is_some_and(|failure| failure.message.contains("it is pinned"))
    });
    assert_eq!(host.current(), 3);
}

/// Over a restart; and when it ends the generation is tried again, and left for twice as long.
#[test]
fn a_quarantine_outlives_a_restart_and_ends() {
    let fixture = published(&trap(), 2);
    let set_current = |number: u64| {
        std::fs::write(fixture.store.current_path(), number.to_string()).expect("the store can be written");
    };
    let options = HostOptions {
        max_failures: 4,
        state_dir: Some(fixture.path("state")),
        ..patient()
    };
    let leave = |host: &Host| {
        let mut session = host.session();
        wait_until("generation 2 is left", || {
            assert_eq!(evaluate(host, &mut session, BAD_ROWS).0, BAD);
            host.current() == 1
        });
        let health = host.health();
        assert_eq!(health.quarantined, vec![2]);
        health.failure.expect("it says why").message
    };
    set_current(1);
    let host = open(&fixture, options.clone());
    set_current(2);
    assert_eq!(host.refresh().expect("it is whole"), Refresh::Activated(2));
    let message = leave(&host);
    assert!(message.ends_with("in 30 s"), "{message}");
    drop(host);

    // The store's current one, and not what a start serves.
    let host = reopen(&fixture, &options);
    assert_eq!((host.current(), host.latest_seen()), (1, 2));
    assert_eq!(host.health().quarantined, vec![2]);
    let failure = host.health().failure.expect("it says why 2 is not served");
    assert_eq!(failure.generation, 2);
    assert!(failure.message.contains("its calls failed"), "{}", failure.message);
    assert_eq!(host.refresh().expect("nothing fails"), Refresh::Held(2));
    assert_eq!(evaluate(&host, &mut host.session(), 2), (GOOD, Vec::new()));
    drop(host);

    // A test does not wait for half a minute.
    let note = fixture.path("state").join("host.json");
    let text = std::fs::read_to_string(&note).expect("the host wrote it");
    assert_eq!(text.matches("\"seconds_left\": 30").count(), 1, "{text}");
    let text = text.replace("\"seconds_left\": 30", "\"seconds_left\": 2");
    std::fs::write(&note, text).expect("the directory can be written");
    let host = reopen(&fixture, &options);
    assert_eq!(host.refresh().expect("nothing fails"), Refresh::Held(2));
    wait_until("generation 2 is tried again", || {
        host.refresh().expect("it is whole") == Refresh::Activated(2)
    });
    let message = leave(&host);
    assert!(message.ends_with("in 60 s"), "{message}");
}
