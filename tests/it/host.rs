//! A host and its store: generations that change under it, and requests.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use unskew::{ActivateError, EvaluateError, Host, HostOptions, Refresh};
use unskew_batch::Project;
use unskew_frame::Value;
use unskew_snapshot::{EventTime, MICROS_PER_HOUR};
use unskew_tests::{Fixture, chain, patient};

use crate::refused::shown;

/// 2024-01-15T00:00:00Z.
const DAY: i64 = 1_705_276_800_000_000;

pub const PROJECT: &str = r#"
[project]
name = "generations"

[[entity]]
name = "user"
keys = [{ name = "user", type = "i64" }]

[[source]]
name = "rows"
path = "rows.csv"
event_time = "time"

[[source]]
name = "events"
path = "events.csv"
event_time = "time"

[[view]]
name = "first"
entity = "user"
source = "rows"
features = [{ name = "number", type = "i64" }]

[[view]]
name = "second"
entity = "user"
source = "rows"
features = [{ name = "number", type = "i64" }, { name = "label", type = "string" }]

[[view]]
name = "history"
entity = "user"
source = "events"
module = "ctr-history"
inputs = { prior_ctr = 0.5, prior_weight = 1.0 }

[[service]]
name = "model"
request = [{ name = "tag", type = "string", nullable = true }]
candidate = [{ name = "user", type = "i64" }]
features = ["first:number", "second:number", "history:impressions_7d"]
"#;

/// The watermark at which every view says `number`.
pub fn watermark(number: i64) -> EventTime {
    EventTime(DAY + number * MICROS_PER_HOUR)
}

/// Users 0 to 3 whose every feature is n at the nth watermark.
pub fn fixture() -> Fixture {
    let (mut rows, mut events) = ("time,user,number,label\n".to_owned(), "time,user,clicked\n".to_owned());
    for number in 1..=9 {
        for user in 0..4 {
            let at = watermark(number).0;
            rows += &format!("{at},{user},{number},label {number}\n");
            events += &format!("{},{user},1\n", at - 1);
        }
    }
    Fixture::new(PROJECT, &[("rows.csv", &rows), ("events.csv", &events)])
}

/// Every value of a request of four candidates, in a line, and the generation that it saw.
pub fn serve(host: &Host) -> (Vec<i64>, u64) {
    let service = host.service("model").expect("it is published");
    let mut request = service.request(watermark(20));
    (0..4).for_each(|user| request.push_candidate(&[Value::I64(user)]).expect("a candidate"));
    let mut session = host.session();
    let served = session.evaluate(&request).expect("it is served");
    let mut values = Vec::new();
    for row in 0..served.rows() {
        values.extend((0..served.width()).map(|feature| match served.value(row, feature) {
            Value::I64(value) => value,
            other => panic!("{other:?}"),
        }));
    }
    (values, served.generation())
}

#[test]
fn a_refresh_switches_everything_at_once() {
    let fixture = fixture();
    assert_eq!(fixture.publish(watermark(1)), 1);
    let host = fixture.host();
    assert_eq!(serve(&host), (vec![1; 12], 1));
    assert_eq!(host.refresh().expect("nothing is new"), Refresh::Unchanged);
    assert_eq!(fixture.publish(watermark(2)), 2);
    assert_eq!(
        (serve(&host), host.current()),
        ((vec![1; 12], 1), 1),
        "published is not served"
    );
    assert_eq!(host.refresh().expect("it is whole"), Refresh::Activated(2));
    assert_eq!(serve(&host), (vec![2; 12], 2));
    // Back, as an operator does who finds the new one wrong.
    fs::write(fixture.store.current_path(), "1\n").expect("the store can be written");
    assert_eq!(host.refresh().expect("it is whole"), Refresh::Activated(1));
    assert_eq!(serve(&host), (vec![1; 12], 1));
}

#[test]
fn a_request_outlives_its_generation_while_the_fields_are_the_same() {
    let mut fixture = fixture();
    fixture.publish(watermark(1));
    let host = fixture.host();
    let mut request = host.service("model").expect("it is published").request(watermark(20));
    request.push_candidate(&[Value::I64(0)]).expect("a candidate");
    let mut session = host.session();
    assert_eq!(
        session.evaluate(&request).expect("it is served").value(0, 0),
        Value::I64(1)
    );

    // Another list of features and the same fields.
    let swap = |text: &str, from: &str, to: &str| {
        assert!(text.contains(from), "the project has {from}");
        text.replace(from, to)
    };
    let path = fixture.path("unskew.toml");
    let parse = |text: &str| Project::parse(&path, text).expect("a good project");
    let relabelled = swap(
        PROJECT,
        r#"features = ["first:number", "#,
        r#"features = ["second:label", "#,
    );
    let refielded = swap(
        PROJECT,
        r#"{ name = "tag", type = "string", nullable = true }"#,
        r#"{ name = "tag", type = "i64" }"#,
    );
    let renamed = swap(PROJECT, r#"name = "model""#, r#"name = "other""#);
    let projects = [relabelled, refielded, renamed].map(|text| parse(&text));
    let [relabelled, refielded, renamed] = projects;

    fixture.project = relabelled;
    fixture.publish(watermark(2));
    host.refresh().expect("it is whole");
    let served = session.evaluate(&request).expect("the fields are the same");
    assert_eq!(served.value(0, 0), Value::String("label 2"));
    assert_eq!(served.names().next(), Some("second:label"));
    assert_eq!(served.generation(), 2);

    for (project, number) in [(refielded, 3), (renamed, 4)] {
        fixture.project = project;
        fixture.publish(watermark(number));
        host.refresh().expect("it is whole");
        let error = session
            .evaluate(&request)
            .expect_err("the request is of another service");
        assert!(
            matches!(&error, EvaluateError::ServiceChanged { service } if service == "model"),
            "{error}"
        );
    }
    assert!(host.service("model").is_none() && host.service("other").is_some());
}

#[test]
fn every_request_sees_one_generation() {
    const REFRESHES: u64 = 50;
    let fixture = fixture();
    for number in 1..=3 {
        fixture.publish(watermark(number));
    }
    let host = fixture.host();
    let is_done = AtomicBool::new(false);
    let counts: Vec<BTreeMap<u64, u64>> = thread::scope(|scope| {
        let serving = || {
            let mut seen = BTreeMap::new();
            let service = host.service("model").expect("it is published");
            let mut request = service.request(watermark(20));
            (0..4).for_each(|user| request.push_candidate(&[Value::I64(user)]).expect("a candidate"));
            let mut session = host.session();
            while !is_done.load(Ordering::Relaxed) {
                let served = session.evaluate(&request).expect("it is served throughout");
                let generation = served.generation();
                for row in 0..4 {
                    for feature in 0..3 {
                        assert_eq!(served.value(row, feature), Value::I64(generation as i64));
                    }
                }
                *seen.entry(generation).or_default() += 1;
            }
            seen
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(serving)).collect();
        for refresh in 0..REFRESHES {
            let number = 1 + refresh % 3;
            fs::write(fixture.store.current_path(), number.to_string()).expect("the store can be written");
            host.refresh().expect("it is whole");
            assert_eq!(host.current(), number);
        }
        is_done.store(true, Ordering::Relaxed);
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no request failed"))
            .collect()
    });
    let mut total: BTreeMap<u64, u64> = BTreeMap::new();
    counts
        .iter()
        .flatten()
        .for_each(|(generation, count)| *total.entry(*generation).or_default() += count);
    assert_eq!(total.keys().copied().collect::<Vec<u64>>(), [1, 2, 3], "{total:?}");
}

#[test]
fn a_store_that_cannot_be_opened_says_so() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let error = Host::open(directory.path(), HostOptions::default()).expect_err("the store is empty");
    assert!(
        matches!(&error, ActivateError::Empty { path } if path == directory.path()),
        "{error}"
    );
    assert!(chain(&error).contains("unskew publish"), "{error}");
    let missing = directory.path().join("missing");
    let error = chain(&Host::open(&missing, HostOptions::default()).expect_err("there is no store"));
    assert!(error.contains(&shown(&missing)), "{error}");
    let file = directory.path().join("file");
    fs::write(&file, "").expect("a file in the directory");
    let error = chain(&Host::open(&file, HostOptions::default()).expect_err("it is no directory"));
    assert!(error.contains(&shown(&file)), "{error}");
}

#[test]
fn an_empty_store_is_waited_for() {
    let options = |wait| HostOptions { wait, ..patient() };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (start, wait) = (Instant::now(), Duration::from_millis(150));
    Host::open(directory.path(), options(wait)).expect_err("nobody publishes");
    assert!(start.elapsed() >= wait);

    let fixture = fixture();
    thread::scope(|scope| {
        let opening = scope.spawn(|| Host::open(fixture.store.root(), options(Duration::from_secs(60))));
        thread::sleep(Duration::from_millis(100));
        fixture.publish(watermark(3));
        let host = opening.join().expect("no panic").expect("a generation came");
        assert_eq!(serve(&host), (vec![3; 12], 1));
    });
}

#[test]
fn a_request_that_does_not_fit_is_refused() {
    let fixture = fixture();
    fixture.publish(watermark(1));
    let host = Host::open(
        fixture.store.root(),
        HostOptions {
            max_candidates: 3,
            ..patient()
        },
    )
    .expect("the store is whole");
    let service = host.service("model").expect("it is published");
    assert!(host.service("models").is_none());
    let mut session = host.session();
    let mut request = service.request(watermark(20));
    let check = |result: Result<(), unskew::RequestError>, expected: &str| {
        assert_eq!(result.expect_err("it does not fit").to_string(), expected);
    };
    check(
        request.set("tags", Value::Null),
        "service `model`, `tags`: the service has no such request field",
    );
    check(
        request.set("user", Value::I64(1)),
        "service `model`, `user`: the service has no such request field",
    );
    check(
        request.set("tag", Value::I64(1)),
        "service `model`, `tag`: it is string",
    );
    request.set("tag", Value::String("x")).expect("it fits");
    check(
        request.set("tag", Value::String("y")),
        "service `model`, `tag`: it is set already",
    );
    check(
        request.push_candidate(&[Value::String("1")]),
        "service `model`, `user`: it is i64",
    );
    check(
        request.push_candidate(&[]),
        "service `model`, `candidate`: a candidate has 1 fields, not 0",
    );
    assert_eq!(request.candidates(), 0, "a refused candidate is not added");

    assert_eq!(
        session.evaluate(&request).expect("no candidates are no error").rows(),
        0
    );
    request.push_candidate(&[Value::Null]).expect("the type fits");
    assert_eq!(
        session.evaluate(&request).expect_err("user may not be missing"),
        EvaluateError::MissingField {
            service: "model".to_owned(),
            field: "user".to_owned()
        }
    );
    request.reset(watermark(20));
    (0..3).for_each(|user| request.push_candidate(&[Value::I64(user)]).expect("it fits"));
    assert_eq!(session.evaluate(&request).expect("three are few enough").rows(), 3);
    request.push_candidate(&[Value::I64(3)]).expect("it fits");
    assert_eq!(
        session.evaluate(&request).expect_err("four are too many"),
        EvaluateError::TooManyCandidates { rows: 4, limit: 3 }
    );
    request.reset(watermark(20));
    request.push_candidate(&[Value::I64(0)]).expect("it fits");
    assert_eq!(
        session
            .evaluate(&request)
            .expect("the session is as before")
            .value(0, 0),
        Value::I64(1)
    );
}

/// The states are of the future of this question: it is answered as though there were none, and says so.
#[test]
fn a_question_before_the_snapshot_is_told_apart() {
    let fixture = fixture();
    fixture.publish(watermark(2));
    let host = fixture.host();
    let mut request = host.service("model").expect("it is published").request(watermark(1));
    request.push_candidate(&[Value::I64(0)]).expect("a candidate");
    let mut session = host.session();
    let served = session.evaluate(&request).expect("it is served");
    for feature in 0..3 {
        assert_eq!(served.status(0, feature), unskew_snapshot::Status::Future);
    }
    assert_eq!(served.value(0, 0), Value::Null);
}
