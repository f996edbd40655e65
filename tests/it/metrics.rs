//! What a host counts, and how Prometheus sees it.

use std::collections::BTreeSet;

use serde_json::Value as Json;
use unskew::metrics::{GoldenOutcome, Metrics, ServiceMetrics, SwapOutcome};
use unskew::{EntityKey, Host, KeyPart, Session, Status, Value};
use unskew_snapshot::EventTime;
use unskew_tests::{Fixture, root};

use crate::host::watermark;

const PROJECT: &str = r#"
[project]
name = "counted"

[[entity]]
name = "user"
keys = [{ name = "user", type = "i64" }]

[[entity]]
name = "item"
keys = [{ name = "item", type = "i64" }]

[[source]]
name = "rows"
path = "rows.csv"
event_time = "time"

[[source]]
name = "items"
path = "items.csv"
event_time = "time"

[[view]]
name = "users"
entity = "user"
source = "rows"
features = [{ name = "score", type = "f64" }]

[[view]]
name = "items"
entity = "item"
source = "items"
ttl = "2h"
features = [{ name = "unread", type = "i64" }, { name = "price", type = "f64" }, { name = "stock", type = "i64" }]

[[service]]
name = "model"
request = [{ name = "user", type = "i64" }, { name = "floor", type = "f64", nullable = true }]
candidate = [{ name = "item", type = "i64" }]
features = ["items:stock", "users:score", "items:price", "floor"]
"#;

/// Items 0 to 3: whole, without a price, without price and stock, and of long ago.
const ITEMS: [i64; 4] = [0, 1, 2, 3];

fn fixture() -> Fixture {
    let time = |number: i64| watermark(number).0 - 1;
    let rows = format!("time,user,score\n{},7,0.5\n", time(1));
    let items = format!(
        "time,item,unread,price,stock\n{t},0,1,1.5,10\n{t},1,1,,10\n{t},2,1,,\n{old},3,1,1.5,10\n",
        t = time(1),
        old = time(-2)
    );
    Fixture::new(PROJECT, &[("rows.csv", &rows), ("items.csv", &items)])
}

/// One request of the user about the items, of which `unknown` more have no row.
fn request(host: &Host, session: &mut Session, user: i64, unknown: i64) {
    let mut request = host.service("model").expect("it is published").request(watermark(1));
    request.set("user", Value::I64(user)).expect("it has a user");
    for item in ITEMS.into_iter().chain((0..unknown).map(|n| 100 + n)) {
        request.push_candidate(&[Value::I64(item)]).expect("it has an item");
    }
    session.evaluate(&request).expect("the request fits");
}

fn only_service(metrics: &Metrics) -> &ServiceMetrics {
    let [service] = &metrics.services[..] else {
        panic!("{:?}", metrics.services);
    };
    service
}

/// By status, from pairs.
fn by_status(counts: &[(Status, u64)]) -> [u64; Status::ALL.len()] {
    let mut by_status = [0; Status::ALL.len()];
    counts
        .iter()
        .for_each(|(status, count)| by_status[*status as usize] = *count);
    by_status
}

#[track_caller]
fn check(host: &Host, requests: u64) {
    use Status::{Expired, NotFound, Null, Present};

    let metrics = host.metrics();
    let service = only_service(&metrics);
    assert_eq!(
        (service.requests, service.refused, service.rows),
        (requests, 0, requests * 6)
    );
    assert_eq!(service.duration.count(), requests.div_ceil(64));
    assert_eq!(service.lookup_duration.count(), requests.div_ceil(64));
    let lookups: Vec<_> = service
        .views
        .iter()
        .map(|view| (view.view.as_str(), view.lookups))
        .collect();
    // Half of the requests are of an unknown user, who is looked up once for all candidates.
    let users = by_status(&[(Present, requests / 2), (NotFound, requests / 2)]);
    let items = by_status(&[(Present, 3 * requests), (Expired, requests), (NotFound, 2 * requests)]);
    assert_eq!(lookups, [("items", items), ("users", users)]);
    let missing: Vec<_> = service
        .features
        .iter()
        .map(|feature| (feature.feature.as_str(), feature.missing))
        .collect();
    let of_items = |nulls: u64| by_status(&[(Null, nulls * requests), (Expired, requests), (NotFound, 2 * requests)]);
    assert_eq!(
        missing,
        [
            ("items:stock", of_items(1)),
            ("users:score", by_status(&[(NotFound, requests / 2)])),
            ("items:price", of_items(2)),
            ("floor", by_status(&[(Null, requests)])),
        ]
    );
}

#[test]
fn every_lookup_and_every_missing_value_is_counted_over_sessions_and_generations() {
    let fixture = fixture();
    fixture.publish(watermark(1));
    let host = fixture.host();
    assert!(host.metrics().services.iter().all(|service| service.requests == 0));
    let mut session = host.session();
    for number in 0..130 {
        request(&host, &mut session, [7, 8][number % 2], 2);
    }
    check(&host, 130);
    let mut other = host.session();
    assert_eq!(host.metrics().sessions, 2);
    // In another generation, which is the same but for its number.
    fixture.publish(watermark(1));
    host.refresh().expect("it is whole");
    for number in 0..126 {
        request(&host, &mut session, [7, 8][number % 2], 2);
    }
    drop(session);
    // The sessions count apart, so each times its first request.
    let timed = only_service(&host.metrics()).duration.count();
    assert_eq!(timed, 3 + 2);
    let before = host.metrics();
    request(&host, &mut other, 7, 2);
    let after = host.metrics();
    assert_eq!(only_service(&after).requests, only_service(&before).requests + 1);
    drop(other);
    assert_eq!(only_service(&host.metrics()), only_service(&after));
    assert_eq!((host.metrics().sessions, host.metrics().generation), (0, 2));
}

#[test]
fn single_lookups_refusals_and_swaps_are_counted() {
    let fixture = fixture();
    fixture.publish(watermark(1));
    let host = fixture.host();
    let mut session = host.session();
    for user in [7, 8, 9] {
        let key = EntityKey::new(&[KeyPart::I64(user)]).expect("a short key");
        session
            .lookup("users", key.as_ref(), |row, _| assert_eq!(row.is_some(), user == 7))
            .expect("the view is there");
    }
    let empty = host.service("model").expect("it is published").request(watermark(1));
    let mut refused = empty.clone();
    refused.push_candidate(&[Value::I64(0)]).expect("it has an item");
    session.evaluate(&refused).expect_err("it has no user");
    fixture.publish(watermark(2));
    host.refresh().expect("it is whole");
    host.rollback().expect("the first is in memory");
    host.unpin();
    std::fs::write(fixture.store.current_path(), "77").expect("the store can be written");
    host.refresh().expect_err("there is no such generation");

    let metrics = host.metrics();
    assert_eq!((metrics.lookups.found, metrics.lookups.not_found), (1, 2));
    assert_eq!(metrics.lookups.duration.count(), 1);
    assert_eq!(
        (only_service(&metrics).requests, only_service(&metrics).refused),
        (1, 1)
    );
    let swaps: Vec<_> = metrics
        .swaps
        .iter()
        .map(|swap| (swap.outcome, swap.duration.count()))
        .collect();
    assert_eq!(
        swaps,
        [
            (SwapOutcome::Activated, 1),
            (SwapOutcome::Failed, 1),
            (SwapOutcome::Pinned, 0),
            (SwapOutcome::RolledBack, 1),
            (SwapOutcome::Quarantined, 0),
        ]
    );
    assert_eq!((metrics.generation, metrics.latest_generation), (1, 77));
    // Those of both modules, for each of both generations.
    let golden = metrics.golden.iter().map(|run| (run.outcome, run.duration.count()));
    assert_eq!(
        golden.collect::<Vec<_>>(),
        [(GoldenOutcome::Held, 4), (GoldenOutcome::Differed, 0)]
    );
    assert_eq!(metrics.audits, host.health().audits);
    let snapshots: Vec<(&str, EventTime, u64)> = metrics
        .snapshots
        .iter()
        .map(|s| (s.view.as_str(), s.watermark, s.rows))
        .collect();
    assert_eq!(snapshots, [("items", watermark(1), 4), ("users", watermark(1), 1)]);
}

/// The names of the metrics of a scrape, as a query has them.
fn names(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').expect("a name and a type");
        let suffixes: &[&str] = match kind {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_count", "_sum"],
            _ => &[""],
        };
        names.extend(suffixes.iter().map(|suffix| format!("{name}{suffix}")));
    }
    names
}

/// The words of a text that begin with the prefix of metrics.
fn words(text: &str) -> BTreeSet<String> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| word.starts_with("unskew_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_scrape_is_what_was_counted() {
    let fixture = fixture();
    fixture.publish(watermark(1));
    let host = fixture.host();
    let mut session = host.session();
    request(&host, &mut session, 7, 1);
    let text = unskew_metrics::text(&host).expect("it is written to memory");
    for line in [
        "unskew_generation 1",
        "unskew_snapshot_rows{view=\"items\"} 4",
        "unskew_requests_total{service=\"model\"} 1",
        "unskew_rows_total{service=\"model\"} 5",
        "unskew_lookups_total{service=\"model\",view=\"items\",result=\"present\"} 3",
        "unskew_lookups_total{service=\"model\",view=\"items\",result=\"outside_ttl\"} 1",
        "unskew_missing_values_total{service=\"model\",feature=\"items:price\",reason=\"null\"} 2",
        "unskew_request_seconds_count{service=\"model\"} 1",
        "unskew_request_seconds_bucket{le=\"+Inf\",service=\"model\"} 1",
        "unskew_swap_seconds_count{outcome=\"failed\"} 0",
        "unskew_golden_seconds_count{outcome=\"held\"} 2",
        "unskew_audits_total{outcome=\"differing\"} 0",
        "unskew_key_lookup_seconds_count 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(
        text.contains("unskew_request_seconds_bucket{le=\"1e-7\",service=\"model\"}"),
        "{text}"
    );
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn the_dashboard_and_the_documentation_name_the_metrics_of_a_scrape() {
    let fixture = fixture();
    fixture.publish(watermark(1));
    let names = names(&unskew_metrics::text(&fixture.host()).expect("it is written to memory"));
    let read = |path: &str| std::fs::read_to_string(root().join(path)).expect("a file of the repository");
    let dashboard: Json = serde_json::from_str(&read("host/metrics/grafana.json")).expect("it is JSON");
    let panels = dashboard["panels"].as_array().expect("it has panels");
    let queries: String = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().expect("a panel has queries"))
        .map(|target| target["expr"].as_str().expect("a query is a text"))
        .collect::<Vec<_>>()
        .join("\n");
    let queried = words(&queries);
    assert!(queried.is_subset(&names), "{:?}", queried.difference(&names));
    // Each metric has a place in the dashboard, too.
    let bases = |words: &BTreeSet<String>| -> BTreeSet<String> {
        let base = |word: &String| {
            let suffixes = ["_bucket", "_count", "_sum"];
            let base = suffixes.iter().find_map(|suffix| word.strip_suffix(suffix));
            base.unwrap_or(word).to_owned()
        };
        words.iter().map(base).collect()
    };
    assert_eq!(bases(&queried), bases(&names));
    let documented: BTreeSet<String> = read("host/metrics/src/lib.rs")
        .lines()
        .filter(|line| line.starts_with("//! | `unskew_"))
        .flat_map(|line| words(line.split('|').nth(1).unwrap_or_default()))
        .collect();
    assert_eq!(documented, bases(&names));
}
