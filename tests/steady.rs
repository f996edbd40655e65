//! What a request does in the steady state: it allocates nothing and makes no system call.
//!
//! A binary of its own, because it counts the allocations of the process, and runs itself under strace(1).

use std::path::Path;
use std::process::Command;

use unskew::{Features, Host, Request, Session, Value};
use unskew_snapshot::EventTime;
use unskew_tests::{Fixture, patient};

/// 2024-01-15T00:00:00Z.
const DAY: i64 = 1_705_276_800_000_000;
/// More than the requests of which one is timed.
const REQUESTS: usize = 300;
/// Where a child of this process finds its store.
const CHILD_STORE: &str = "UNSKEW_STEADY_STORE";

/// A service with everything that a request can meet: strings, several views, a missing row, an aggregate, a row transform
/// on top.
const PROJECT: &str = r#"
[project]
name = "steady"

[[entity]]
name = "user"
keys = [{ name = "user", type = "string" }]

[[entity]]
name = "item"
keys = [{ name = "item_id", type = "i64" }]

[[entity]]
name = "pair"
keys = [{ name = "user", type = "string" }, { name = "item_id", type = "i64" }]

[[source]]
name = "rows"
path = "rows.csv"
event_time = "time"

[[source]]
name = "events"
path = "events.csv"
event_time = "time"

[[view]]
name = "users"
entity = "user"
source = "rows"
features = [{ name = "price", type = "f64" }, { name = "label", type = "string" }]

[[view]]
name = "items"
entity = "item"
source = "rows"
features = [{ name = "price", type = "f64" }, { name = "number", type = "i64" }]

[[view]]
name = "pairs"
entity = "pair"
source = "rows"
features = [{ name = "number", type = "i64" }, { name = "price", type = "f64" }]

[[view]]
name = "history"
entity = "item"
source = "events"
module = "ctr-history"
inputs = { prior_ctr = 0.5, prior_weight = 1.0 }

[[service]]
name = "views"
request = [{ name = "user", type = "string" }]
candidate = [{ name = "item_id", type = "i64" }]
features = ["users:price", "users:label", "items:price", "items:number", "pairs:number", "pairs:price"]

[[service]]
name = "model"
request = [{ name = "user", type = "string" }, { name = "position", type = "i64", nullable = true }]
candidate = [{ name = "item_id", type = "i64" }]
features = ["users:price", "items:number", "pairs:price", "history:impressions_7d", "context:item_segment_hash", "context:ctr_logit"]

[[service.transform]]
name = "context"
module = "request-context"
inputs = { user_segment = "users:label", floor_price = "items:price", ctr_1d = "history:ctr_1d", ctr_7d = "history:ctr_7d" }
"#;

/// Where a host reads its rows: in snapshots that have all, or in snapshots and two deltas on each.
#[derive(Clone, Copy, Debug)]
enum Files {
    Whole,
    Deltas,
}

fn fixture(files: Files) -> Fixture {
    let (mut rows, mut events) = (
        "time,user,item_id,number,label,price\n".to_owned(),
        "time,item_id,clicked\n".to_owned(),
    );
    for item in 0..40 {
        let price = if item % 7 == 0 {
            String::new()
        } else {
            format!("{item}.5")
        };
        rows += &format!("{},u{},{item},{item},label {item},{price}\n", DAY - item, item % 5);
        events += &format!("{},{item},{}\n", DAY - 1 - item, item % 2);
    }
    let fixture = Fixture::new(PROJECT, &[("rows.csv", &rows), ("events.csv", &events)]);
    match files {
        Files::Whole => _ = fixture.publish(EventTime(DAY)),
        Files::Deltas => {
            fixture.publish(EventTime(DAY - 20));
            fixture.publish_deltas(EventTime(DAY - 10));
            let generation = fixture.publish_deltas(EventTime(DAY));
            let manifest = fixture.store.manifest(generation).expect("it was written");
            for (view, entry) in &manifest.snapshots {
                let rows: Vec<u64> = entry.files().map(|file| file.row_count).collect();
                assert!(rows.len() == 3 && !rows.contains(&0), "{view}: {rows:?}");
            }
        }
    }
    fixture
}

/// Fills the request with as many candidates, of whom not all have rows.
fn fill(request: &mut Request, number: usize) {
    request.reset(EventTime(DAY + 1));
    let user = ["u0", "u1", "u2", "nobody"][number % 4];
    request.set("user", Value::String(user)).expect("it has a user");
    for item in 0..[1, 3, 50, 130][number / 4 % 4] {
        request.push_candidate(&[Value::I64(item)]).expect("it has an item");
    }
}

/// Where matrices are written.
#[derive(Default)]
struct Matrices {
    rows: Vec<f32>,
    columns: Vec<f64>,
}

impl Matrices {
    fn write(&mut self, features: &Features<'_>) {
        assert!(features.failures().is_empty(), "{:?}", features.failures());
        features.write_f32(f32::NAN, &mut self.rows);
        features.write_columns_f64(-1.0, &mut self.columns);
    }
}

fn evaluate(session: &mut Session, request: &mut Request, matrices: &mut Matrices, count: usize) {
    for number in 0..count {
        fill(request, number);
        matrices.write(&session.evaluate(request).expect("the request fits"));
    }
}

#[test]
fn a_request_allocates_nothing() {
    for files in [Files::Whole, Files::Deltas] {
        let fixture = fixture(files);
        let host = fixture.host();
        allocates_nothing(&host, &mut host.session(), files);
    }
    // That allocations are counted at all.
    let fixture = fixture(Files::Whole);
    let host = fixture.host();
    let allocated = allocation_counter::measure(|| {
        evaluate(
            &mut host.session(),
            &mut host.service("views").expect("it is published").request(EventTime(DAY)),
            &mut Matrices::default(),
            1,
        )
    });
    assert!(allocated.count_total > 0);
}

/// Requests of every service, once all that they need is there.
fn allocates_nothing(host: &Host, session: &mut Session, files: Files) {
    for service in ["views", "model"] {
        let mut request = host.service(service).expect("it is published").request(EventTime(DAY));
        let mut matrices = Matrices::default();
        evaluate(session, &mut request, &mut matrices, REQUESTS);
        let allocated = allocation_counter::measure(|| evaluate(session, &mut request, &mut matrices, REQUESTS));
        let found = allocated.count_total;
        assert_eq!(found, 0, "allocations in {REQUESTS} requests of `{service}`, {files:?}");
        assert!(matrices.rows.iter().any(|cell| !cell.is_nan()), "there are values");
    }
}

/// Pushes events of half of the items: some that requests see, some that are from their future.
fn push(host: &Host) {
    let mut history = host.events("history", &["item_id", "clicked"]).expect("its columns");
    let mut items = host
        .events("items", &["item_id", "price", "number"])
        .expect("its columns");
    let mut users = host.events("users", &["user", "label"]).expect("its columns");
    for item in (0..40).step_by(2) {
        for later in [0, 5] {
            let time = EventTime(DAY + later);
            history
                .push(time, None, &[Value::I64(item), Value::Bool(true)])
                .expect("of its types");
            let after = EventTime(DAY + 1 + later);
            items
                .push(after, None, &[Value::I64(item), Value::F64(7.5), Value::Null])
                .expect("of its types");
        }
    }
    users
        .push(EventTime(DAY + 1), None, &[Value::String("u1"), Value::String("newer")])
        .expect("of its types");
    for events in [&history, &items, &users] {
        let pushed = host.push(events, EventTime(DAY)).expect("there is room");
        assert_eq!(pushed.taken, events.len());
    }
}

#[test]
fn a_request_that_sees_fresh_events_allocates_nothing() {
    for files in [Files::Whole, Files::Deltas] {
        sees_fresh_events(files);
    }
}

fn sees_fresh_events(files: Files) {
    let fixture = fixture(files);
    let host = fixture.host();
    let mut session = host.session();
    let mut request = host.service("model").expect("it is published").request(EventTime(DAY));
    let mut impressions = |session: &mut Session| {
        fill(&mut request, 8);
        let features = session.evaluate(&request).expect("the request fits");
        let feature = features
            .names()
            .position(|name| name == "history:impressions_7d")
            .expect("it is there");
        let number = |item| match features.value(item, feature) {
            Value::I64(number) => number,
            other => panic!("{other:?}"),
        };
        (number(0), number(1))
    };
    let (even, odd) = impressions(&mut session);
    push(&host);
    // The one of the two that is not from the future.
    assert_eq!(impressions(&mut session), (even + 1, odd));
    allocates_nothing(&host, &mut session, files);
}

/// Who read fresh events and does not read on.
#[derive(Clone, Copy, Debug)]
enum Reader {
    /// Nobody.
    Nobody,
    /// A session that is gone, whose instances wait for the next one.
    Gone,
    /// A session between two calls.
    Paused,
    /// Features that are held.
    Holding,
}

/// How much memory so many pushes take that a reader lags behind, in bytes.
fn taken_behind(reader: Reader, pushes: usize) -> i64 {
    let fixture = fixture(Files::Whole);
    let host = fixture.host();
    push(&host);
    let mut session = host.session();
    let mut request = host.service("model").expect("it is published").request(EventTime(DAY));
    // All items, and a user that has a fresh event.
    fill(&mut request, 13);
    let pushes = || (0..pushes).for_each(|_| push(&host));
    match reader {
        Reader::Nobody => allocation_counter::measure(pushes),
        Reader::Gone => {
            session.evaluate(&request).expect("the request fits");
            drop(session);
            allocation_counter::measure(pushes)
        }
        Reader::Paused => {
            session.evaluate(&request).expect("the request fits");
            allocation_counter::measure(pushes)
        }
        Reader::Holding => {
            let features = session.evaluate(&request).expect("the request fits");
            let allocated = allocation_counter::measure(pushes);
            assert!(features.failures().is_empty());
            allocated
        }
    }
    .bytes_current
}

/// What is replaced is freed by who pushes as soon as no reader has it. One that lags has what its last request found, a row or a
/// state of each key, however much is pushed meanwhile.
#[test]
fn a_reader_that_lags_holds_back_what_it_found_and_no_more() {
    const FEW: usize = 8;
    const MANY: usize = 80;
    // The fresh items in two views, and the user.
    const FOUND: i64 = 20 + 20 + 1;
    const MAX_ENTRY_BYTES: i64 = 4 << 10;
    let nobody = [FEW, MANY].map(|pushes| taken_behind(Reader::Nobody, pushes));
    for reader in [Reader::Gone, Reader::Paused, Reader::Holding] {
        let held = |index: usize, pushes| taken_behind(reader, pushes) - nobody[index];
        let [few, many] = [held(0, FEW), held(1, MANY)];
        assert!(0 < few && few < FOUND * MAX_ENTRY_BYTES, "{reader:?}: {few} bytes");
        assert_eq!(many, few, "{reader:?}");
    }
}

/// What the other test runs: looks for two files that are not there, and serves between.
#[test]
fn child() {
    let Some(store) = std::env::var_os(CHILD_STORE) else {
        return;
    };
    let host = Host::open(store, patient()).expect("the store is whole");
    push(&host);
    let mut session = host.session();
    let mut request = host.service("model").expect("it is published").request(EventTime(DAY));
    let mut matrices = Matrices::default();
    evaluate(&mut session, &mut request, &mut matrices, REQUESTS);
    let mark = |name: &str| assert!(!Path::new(name).exists());
    mark("/steady-begins");
    evaluate(&mut session, &mut request, &mut matrices, REQUESTS);
    mark("/steady-ends");
}

#[test]
#[cfg(target_os = "linux")]
fn a_request_makes_no_system_call() {
    let fixture = fixture(Files::Deltas);
    let trace = fixture.path("trace");
    let output = Command::new("strace")
        .args(["--follow-forks", "--quiet=all", "--output"])
        .arg(&trace)
        .arg(std::env::current_exe().expect("this program has a path"))
        .args(["--exact", "child"])
        .env(CHILD_STORE, fixture.store.root())
        .output()
        .expect("strace runs: `cargo xtask test` installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let trace = std::fs::read_to_string(&trace).expect("strace has written");
    let line_with = |mark: &str| {
        trace
            .lines()
            .find(|line| line.contains(mark))
            .expect("the mark was traced")
    };
    let (begins, ends) = (line_with("/steady-begins"), line_with("/steady-ends"));
    let thread = begins.split_whitespace().next().expect("a line begins with its thread");
    let between: Vec<&str> = trace
        .lines()
        .skip_while(|line| *line != begins)
        .skip(1)
        .take_while(|line| *line != ends)
        .filter(|line| line.split_whitespace().next() == Some(thread))
        // The end of the first mark, where another thread's call was traced meanwhile.
        .filter(|line| !line.contains(" resumed>"))
        // Of one request in 64, on machines whose kernel does not map its clock.
        .filter(|line| !line.contains("clock_gettime("))
        .collect();
    assert!(between.is_empty(), "system calls in {REQUESTS} requests: {between:#?}");
}
