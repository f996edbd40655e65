//! Reading the windows of users when serving: requests as a bidder makes them, of one user and of 100, whose states are in a
//! snapshot. Answers are compared with a count over the events before anything is timed.

use std::collections::BTreeMap;
use std::error::Error;

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use unskew::{EventTime, Host, Service, Session, Value};
use unskew_batch::publish;
use unskew_snapshot_benches::{Figure, Figures, Measure, Random, Report, Table, ns_each};
use unskew_tests::patient;

use crate::{Arguments, Case, Files, feature_names};
use unskew_backfill_benches::files::read;

const CANDIDATES: usize = 100;
/// The windows of `hopped-spend`: length and hop.
const WINDOWS_US: [(i64, i64); 4] = [
    (HOUR_US, HOUR_US / 12),
    (24 * HOUR_US, HOUR_US),
    (7 * 24 * HOUR_US, 6 * HOUR_US),
    (30 * 24 * HOUR_US, 24 * HOUR_US),
];
const HOUR_US: i64 = 3_600_000_000;

/// The events of a user: time and amount, in the order of time.
type Users = BTreeMap<i64, Vec<(i64, f64)>>;

pub fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let report = Report {
        bench: "windows",
        json: arguments.json,
    };
    // A tenth of the rows: as many events of a user as there are of all.
    let size = Case::Serving.size(true);
    let files = Files {
        directory: arguments.directory.join("serving"),
    };
    report.progress("making a store");
    files.prepare(&size, "hopped-spend")?;
    let (users, traffic, now) = events(&files, arguments.threads)?;
    publish(
        &files.project()?,
        &files.modules()?,
        &files.store(),
        ["spend"],
        now,
        |_| (),
    )?;
    let host = Host::open(files.store().root(), patient())?;
    report.progress("checking");
    check(&host, &users, now)?;

    report.progress("reading");
    let service = |name| host.service(name).ok_or("there is no such service");
    let (model, candidates) = (service("model")?, service("candidates")?);
    let everyone: Vec<i64> = users.keys().copied().collect();
    let mut cases = Vec::new();
    for (whose, asked) in [("any user", &everyone), ("users as they come", &traffic)] {
        cases.push((format!("one of {whose}"), measure_one(&host, &model, asked, now)));
        cases.push((
            format!("{CANDIDATES} of {whose}"),
            measure_many(&host, &candidates, asked, now),
        ));
    }
    let names: Vec<String> = cases.iter().map(|(name, _)| name.clone()).collect();
    let measures = cases.into_iter().map(|(name, take)| Measure::new(name, take));
    let figures = Figures::take(if arguments.quick { 5 } else { 9 }, measures.collect());
    let mut table = Table::new(&["a request of", "us"]);
    for name in &names {
        let ns = figures.median_ns(name);
        table.push(vec![name.clone(), format!("{:.2}", ns / 1e3)]);
        report.figures([Figure {
            case: format!("serving/{name}"),
            rows: users.len() as u64,
            bytes: 0,
            value: ns,
            unit: "ns",
            ratio: None,
        }]);
    }
    let events: usize = users.values().map(Vec::len).sum();
    let about = format!(
        "a request whose 4 windows x 4 aggregates are read by the component from the states of its users, {events} events of {} \
         users; `as they come`: most requests are of those with most events",
        users.len()
    );
    report.table(&about, &table);
    Ok(())
}

/// The events by user, the users as events have them, and a time after all.
fn events(files: &Files, threads: usize) -> Result<(Users, Vec<i64>, EventTime), Box<dyn Error>> {
    let (mut users, mut traffic, mut last) = (Users::new(), Vec::new(), 0);
    for batch in read(&files.path("events.parquet"), threads, usize::MAX).map_err(|error| error.to_string())? {
        let keys = batch.column(0).as_primitive::<Int64Type>().values();
        let times = batch.column(1).as_primitive::<TimestampMicrosecondType>().values();
        let amounts = batch.column(2).as_primitive::<Float64Type>().values();
        for ((user, time), amount) in keys.iter().zip(times).zip(amounts) {
            users.entry(*user).or_default().push((*time, *amount));
            last = last.max(*time);
        }
        traffic.extend(keys.iter().step_by(7));
    }
    Ok((users, traffic, EventTime(last + 1)))
}

/// Compares what is served with the events.
fn check(host: &Host, users: &Users, now: EventTime) -> Result<(), Box<dyn Error>> {
    let names = feature_names();
    let mut session = host.session();
    let service = host.service("model").ok_or("there is no service")?;
    for (user, events) in users.iter().step_by(users.len() / 1_000 + 1) {
        let mut request = service.request(now);
        request.set("user", Value::I64(*user))?;
        let served = session.evaluate(&request)?;
        for (window, (length, hop)) in WINDOWS_US.iter().enumerate() {
            let tail = (now.as_micros() - length).div_euclid(*hop) * hop;
            let within: Vec<f64> = events
                .iter()
                .filter(|(time, _)| *time >= tail)
                .map(|(_, amount)| *amount)
                .collect();
            let served = |feature: usize| served.value(0, 4 * window + feature);
            let sum: f64 = within.iter().sum();
            let is_sum = match served(1) {
                Value::F64(served) => (served - sum).abs() <= crate::TOLERANCE * sum.max(1.0),
                _ => within.is_empty(),
            };
            let last = within.last().map_or(Value::Null, |amount| Value::F64(*amount));
            if served(0) != Value::I64(within.len() as i64) || served(3) != last || !is_sum {
                return Err(format!("{} of user {user} is {:?}", names[4 * window], served(0)).into());
            }
        }
    }
    Ok(())
}

/// Requests of one measure.
const REQUESTS: usize = 2_000;

fn measure_one<'a>(host: &Host, service: &Service, asked: &'a [i64], now: EventTime) -> Box<dyn FnMut() -> f64 + 'a> {
    let (mut session, mut request) = (host.session(), service.request(now));
    let mut random = Random::new(1);
    let mut matrix = Vec::new();
    Box::new(move || {
        ns_each(REQUESTS, || {
            for _ in 0..REQUESTS {
                request.reset(now);
                let user = asked[random.below(asked.len() as u64) as usize];
                request.set("user", Value::I64(user)).expect("a field");
                evaluate(&mut session, &request, &mut matrix);
            }
        })
    })
}

fn measure_many<'a>(host: &Host, service: &Service, asked: &'a [i64], now: EventTime) -> Box<dyn FnMut() -> f64 + 'a> {
    let (mut session, mut request) = (host.session(), service.request(now));
    let mut random = Random::new(2);
    let mut matrix = Vec::new();
    Box::new(move || {
        ns_each(REQUESTS / 10, || {
            for _ in 0..REQUESTS / 10 {
                request.reset(now);
                for _ in 0..CANDIDATES {
                    let user = asked[random.below(asked.len() as u64) as usize];
                    request.push_candidate(&[Value::I64(user)]).expect("a field");
                }
                evaluate(&mut session, &request, &mut matrix);
            }
        })
    })
}

fn evaluate(session: &mut Session, request: &unskew::Request, matrix: &mut Vec<f32>) {
    let served = session.evaluate(request).expect("it is served");
    served.write_f32(f32::NAN, matrix);
}
