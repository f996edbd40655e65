//! Fresh events: what they cost reads that meet none, reads that meet some, and who pushes them; and how old an event is when it is
//! read; and what the same rows cost that came as a delta.
//!
//! Three hosts serve the same store: one that nothing was pushed to, one that has fresh events of other keys than are asked for, and
//! one that has some of all that are. Two more serve what was pushed to those as a delta on the same snapshots. They take turns. A read is `Session::lookup` of a random key in a table larger than the
//! caches, of which the first value is read; a request has a user and 100 candidates with an aggregate's state each. Before
//! anything is timed, every host is asked for rows and states, and its answers are compared with what was written and pushed.
//!
//! `cargo bench -p unskew-benches --bench fresh -- [--quick] [--json]`

use std::error::Error;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use hdrhistogram::Histogram;
use unskew::{EntityKey, EventTime, Events, FreshOptions, Host, HostOptions, KeyPart, Session, Value};
use unskew_snapshot_benches::{Arguments, Figure, Figures, Measure, Random, Report, Table, ns_each};
use unskew_tests::{Fixture, patient};

/// When the snapshots are made; whatever is pushed happens then.
const DAY: i64 = 1_705_276_800_000_000;
/// When requests ask.
const NOW: EventTime = EventTime(DAY + 1_000_000);
const CANDIDATES: usize = 100;
/// Entities with fresh events in the hosts that have some: 100,000 rows and as many states.
const FRESH: u64 = 100_000;

const PROJECT: &str = r#"
[project]
name = "fresh"

[[entity]]
name = "user"
keys = [{ name = "user", type = "i64" }]

[[entity]]
name = "item"
keys = [{ name = "item", type = "i64" }]

[[source]]
name = "users"
path = "users.csv"
event_time = "time"

[[source]]
name = "events"
path = "events.csv"
event_time = "time"

[[view]]
name = "users"
entity = "user"
source = "users"
features = [{ name = "number", type = "i64" }, { name = "price", type = "f64" }]

[[view]]
name = "history"
entity = "item"
source = "events"
module = "ctr-history"
inputs = { prior_ctr = 0.5, prior_weight = 1.0 }

[[service]]
name = "model"
request = [{ name = "user", type = "i64" }]
candidate = [{ name = "item", type = "i64" }]
features = ["users:number", "users:price", "history:impressions_7d", "history:clicks_7d", "history:ctr_1h"]
"#;

#[derive(Parser)]
#[command(about = "Fresh events: reads without and with them, pushes, and the age of an event at its first read")]
struct Options {
    #[command(flatten)]
    common: Arguments,
}

/// What is measured: a host, and which keys it has fresh events of.
struct Case {
    name: &'static str,
    host: Host,
    has_own: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let report = Report {
        bench: "fresh",
        json: options.common.json,
    };
    let rows: u64 = if options.common.quick { 400_000 } else { 2_000_000 };
    report.progress("making a store");
    let fixture = fixture(rows);
    let open = || Host::open(fixture.store.root(), host_options());
    let with_delta = [rows..rows + FRESH, 0..FRESH].map(|changed| {
        let fixture = files(rows);
        fixture.publish(EventTime(DAY));
        change(&fixture, rows, changed);
        fixture.publish_deltas(EventTime(DAY + 10));
        fixture
    });
    let of_delta = |fixture: &Fixture| Host::open(fixture.store.root(), host_options());
    let cases = [
        Case {
            name: "no fresh events",
            host: open()?,
            has_own: false,
        },
        Case {
            name: "of other keys",
            host: open()?,
            has_own: false,
        },
        Case {
            name: "of these keys",
            host: open()?,
            has_own: true,
        },
        Case {
            name: "the base of a delta",
            host: {
                let host = of_delta(&with_delta[0])?;
                host.pin(1)?;
                host
            },
            has_own: false,
        },
        Case {
            name: "a delta of other keys",
            host: of_delta(&with_delta[0])?,
            has_own: false,
        },
        Case {
            name: "a delta of these keys",
            host: of_delta(&with_delta[1])?,
            has_own: true,
        },
    ];
    report.progress("pushing");
    // Keys that are asked for are below `rows`, those of `other keys` are above.
    push_rows(&cases[1].host, rows..rows + FRESH)?;
    push_rows(&cases[2].host, 0..FRESH)?;
    report.progress("checking");
    for case in &cases {
        check(case, rows)?;
    }
    let mut table = Table::new(&["", "ns", "more than without"]);
    reads(&options, &report, &cases, rows, &mut table);
    let about = format!("{rows} rows a view, {FRESH} entities with fresh events; reads by one thread");
    report.table(&about, &table);
    pushes(&options, &report, open()?)?;
    ages(&options, &report, &open()?)
}

fn host_options() -> HostOptions {
    HostOptions {
        fresh: FreshOptions {
            max_view_bytes: 512 << 20,
            ..FreshOptions::default()
        },
        ..patient()
    }
}

/// The files of a store, published.
fn fixture(rows: u64) -> Fixture {
    let fixture = files(rows);
    fixture.publish(EventTime(DAY));
    fixture
}

fn files(rows: u64) -> Fixture {
    let (users, events) = tables(rows);
    Fixture::new(PROJECT, &[("users.csv", &users), ("events.csv", &events)])
}

/// Adds to the files what [`push_rows`] pushes.
fn change(fixture: &Fixture, rows: u64, changed: std::ops::Range<u64>) {
    let (mut users, mut events) = tables(rows);
    for row in changed {
        let _ = writeln!(users, "{},{row},{},0.25", DAY + 1, row + 1);
        let _ = writeln!(events, "{},{row},1", DAY + 1);
    }
    for (name, text) in [("users.csv", users), ("events.csv", events)] {
        std::fs::write(fixture.path(name), text).expect("a file in the project");
    }
}

/// A user and an impression of an item in each row.
fn tables(rows: u64) -> (String, String) {
    let (mut users, mut events) = ("time,user,number,price\n".to_owned(), "time,item,clicked\n".to_owned());
    for row in 0..rows {
        // Writing to a string does not fail.
        let _ = writeln!(users, "{},{row},{row},0.5", DAY - 2);
        if row < rows / 4 {
            let _ = writeln!(events, "{},{row},0", DAY - 2);
        }
    }
    (users, events)
}

/// Pushes a row and a click of each of these.
fn push_rows(host: &Host, rows: std::ops::Range<u64>) -> Result<(), Box<dyn Error>> {
    let mut users = host.events("users", &["user", "number", "price"])?;
    let mut history = host.events("history", &["item", "clicked"])?;
    for row in rows {
        let row = row as i64;
        users.push(
            EventTime(DAY + 1),
            None,
            &[Value::I64(row), Value::I64(row + 1), Value::F64(0.25)],
        )?;
        history.push(EventTime(DAY + 1), None, &[Value::I64(row), Value::Bool(true)])?;
        for events in [&mut users, &mut history] {
            if events.len() == 1_000 {
                host.push(events, NOW)?;
                events.clear();
            }
        }
    }
    for events in [&users, &history] {
        host.push(events, NOW)?;
    }
    Ok(())
}

fn key(row: u64) -> EntityKey {
    EntityKey::new(&[KeyPart::I64(row as i64)]).expect("an integer is a key")
}

/// The number in the row of a user.
fn number(session: &Session, key: &EntityKey) -> Option<i64> {
    let read = session.lookup("users", key.as_ref(), |row, _| row.map(|row| row.i64(0)));
    read.expect("there is such a view")
}

fn check(case: &Case, rows: u64) -> Result<(), Box<dyn Error>> {
    let mut session = case.host.session();
    let mut random = Random::new(1);
    let service = case.host.service("model").ok_or("there is no service")?;
    for _ in 0..2_000 {
        let row = random.below(FRESH.min(rows / 4));
        let found = number(&session, &key(row));
        let expected = row as i64 + i64::from(case.has_own);
        if found != Some(expected) {
            return Err(format!("{}: {found:?} of user {row}, not {expected}", case.name).into());
        }
        let mut request = service.request(NOW);
        request.set("user", Value::I64(row as i64))?;
        request.push_candidate(&[Value::I64(row as i64)])?;
        let served = session.evaluate(&request)?;
        let expected = [
            Value::I64(expected),
            Value::F64(if case.has_own { 0.25 } else { 0.5 }),
            Value::I64(1 + i64::from(case.has_own)),
            Value::I64(i64::from(case.has_own)),
        ];
        let found: Vec<Value<'_>> = (0..expected.len()).map(|feature| served.value(0, feature)).collect();
        if found != expected {
            return Err(format!("{}: {found:?} of {row}, not {expected:?}", case.name).into());
        }
    }
    Ok(())
}

fn reads(options: &Options, report: &Report, cases: &[Case], rows: u64, table: &mut Table) {
    report.progress("reading");
    let lookups = options.common.lookups();
    // In the host that has fresh events of some keys, of those.
    let asked: Vec<Vec<EntityKey>> = cases
        .iter()
        .map(|case| {
            let mut random = Random::new(2);
            (0..lookups)
                .map(|_| key(random.below(if case.has_own { FRESH } else { rows })))
                .collect()
        })
        .collect();
    let sessions: Vec<Session> = cases.iter().map(|case| case.host.session()).collect();
    let measures = cases.iter().zip(&sessions).zip(&asked).map(|((case, session), keys)| {
        Measure::new(case.name, move || {
            ns_each(keys.len(), || {
                keys.iter()
                    .filter_map(|key| number(session, key))
                    .fold(0, i64::wrapping_add)
            })
        })
    });
    let figures = Figures::take(options.common.rounds(), measures.collect());
    print(report, table, "lookup", cases, &figures, rows);

    let requests = if options.common.quick { 300 } else { 2_000 };
    let measures = cases.iter().map(|case| {
        let mut session = case.host.session();
        let service = case.host.service("model").expect("it was asked before");
        let mut request = service.request(NOW);
        let mut random = Random::new(3);
        let mut matrix = Vec::new();
        Measure::new(case.name, move || {
            ns_each(requests, || {
                for _ in 0..requests {
                    request.reset(NOW);
                    request
                        .set("user", Value::I64(random.below(FRESH) as i64))
                        .expect("a field");
                    for _ in 0..CANDIDATES {
                        request
                            .push_candidate(&[Value::I64(random.below(FRESH) as i64)])
                            .expect("a field");
                    }
                    let served = session.evaluate(&request).expect("it is served");
                    served.write_f32(f32::NAN, &mut matrix);
                }
            })
        })
    });
    let figures = Figures::take(options.common.rounds(), measures.collect());
    print(report, table, "request, 100 candidates", cases, &figures, rows);
}

fn print(report: &Report, table: &mut Table, what: &str, cases: &[Case], figures: &Figures, rows: u64) {
    let base = figures.median_ns(cases[0].name);
    for case in cases {
        let ns = figures.median_ns(case.name);
        let ratio = figures.median_ratio(case.name, cases[0].name);
        table.push(vec![
            format!("{what}, {}", case.name),
            format!("{ns:.1}"),
            format!("{:+.1}", ns - base),
        ]);
        report.figures([Figure {
            case: format!("{what}/{}", case.name),
            rows,
            bytes: 0,
            value: ns,
            unit: "ns",
            ratio: Some((ratio, cases[0].name)),
        }]);
    }
}

/// How long a push takes an event, by how many are pushed together.
fn pushes(options: &Options, report: &Report, host: Host) -> Result<(), Box<dyn Error>> {
    report.progress("pushing");
    let count = if options.common.quick { 20_000 } else { 100_000 };
    let mut table = Table::new(&["events of a push", "us an event", "events a second"]);
    for together in [1, 10, 100, 1_000] {
        for view in ["users", "history"] {
            let columns: &[&str] = if view == "users" {
                &["user", "number"]
            } else {
                &["item", "clicked"]
            };
            let mut events = host.events(view, columns)?;
            let mut random = Random::new(together as u64);
            let start = Instant::now();
            for _ in 0..count / together {
                fill(&mut events, view, together, &mut random)?;
                let pushed = host.push(&events, NOW)?;
                if pushed.taken != together {
                    return Err(format!("{pushed:?}").into());
                }
            }
            let us = start.elapsed().as_secs_f64() * 1e6 / count as f64;
            table.push(vec![
                format!("{together}, {view}"),
                format!("{us:.2}"),
                format!("{:.0}", 1e6 / us),
            ]);
            report.figures([Figure {
                case: format!("push/{view}/{together}"),
                rows: count as u64,
                bytes: 0,
                value: 1e3 * us,
                unit: "ns",
                ratio: None,
            }]);
        }
    }
    report.table(
        "pushes of random keys below 100,000, one generation in memory, no journal",
        &table,
    );
    Ok(())
}

fn fill(events: &mut Events, view: &str, count: usize, random: &mut Random) -> Result<(), Box<dyn Error>> {
    events.clear();
    for _ in 0..count {
        let row = Value::I64(random.below(FRESH) as i64);
        let value = if view == "users" {
            Value::I64(1)
        } else {
            Value::Bool(true)
        };
        events.push(EventTime(DAY + 1 + random.below(900_000) as i64), None, &[row, value])?;
    }
    Ok(())
}

/// How long after the begin of a push another thread reads the event.
fn ages(options: &Options, report: &Report, host: &Host) -> Result<(), Box<dyn Error>> {
    report.progress("waiting for events");
    let count: i64 = if options.common.quick { 2_000 } else { 20_000 };
    let (seen, is_over) = (AtomicI64::new(0), AtomicBool::new(false));
    let mut ages: Histogram<u64> = Histogram::new_with_max(60_000_000_000, 3)?;
    std::thread::scope(|scope| -> Result<(), Box<dyn Error>> {
        scope.spawn(|| {
            let (session, key) = (host.session(), key(7));
            while !is_over.load(Ordering::Relaxed) {
                seen.store(number(&session, &key).unwrap_or(0), Ordering::Release);
            }
        });
        let push = || -> Result<(), Box<dyn Error>> {
            let mut events = host.events("users", &["user", "number"])?;
            for number in 1..=count {
                events.clear();
                events.push(
                    EventTime(DAY + number),
                    None,
                    &[Value::I64(7), Value::I64(1_000_000_000 + number)],
                )?;
                let start = Instant::now();
                host.push(&events, NOW)?;
                while seen.load(Ordering::Acquire) != 1_000_000_000 + number {
                    if start.elapsed() > Duration::from_secs(5) {
                        return Err("an event was not seen".into());
                    }
                    std::hint::spin_loop();
                }
                ages.record(start.elapsed().as_nanos() as u64)?;
            }
            Ok(())
        };
        let mut push = push;
        let pushed = push();
        is_over.store(true, Ordering::Relaxed);
        pushed
    })?;
    let mut table = Table::new(&["", "us"]);
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        let ns = ages.value_at_quantile(quantile) as f64;
        table.push(vec![
            format!("age of an event at its first read, {name}"),
            format!("{:.1}", ns / 1e3),
        ]);
        report.figures([Figure {
            case: format!("age/{name}"),
            rows: count as u64,
            bytes: 0,
            value: ns,
            unit: "ns",
            ratio: None,
        }]);
    }
    report.table(
        "from the begin of its push to a read by another thread that does nothing else",
        &table,
    );
    Ok(())
}
