//! Components that keep to the contract's types and to nothing else: each of [`cases`] ends as it must, and what comes after
//! it is answered.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use unskew::{CallError, CallLimits, EvaluateError, Host, HostOptions, Instance, Session, Status, Store};
use unskew_frame::{Column, ColumnType, Value};
use unskew_snapshot::EventTime;
use unskew_tests::hostile::{BAD_ROWS, Case, Expected, Function, GOOD_ROWS, Guest, RESULT, cases, frame};
use unskew_tests::{Fixture, chain};

/// Long, so that no call is late for want of a processor.
const LIMITS: CallLimits = CallLimits {
    deadline: Duration::from_secs(20),
    ..CallLimits::SERVING
};
/// For those who never end by themselves.
const SHORT: CallLimits = CallLimits {
    deadline: Duration::from_millis(400),
    ..CallLimits::SERVING
};

#[test]
fn every_hostile_component_ends_as_it_must() {
    let cases = cases();
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases.len(), "each case has a name of its own");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = Store::new(directory.path());
    let next = AtomicUsize::new(0);
    let wrong: Vec<String> = thread::scope(|scope| {
        let run = || {
            let cases = std::iter::from_fn(|| cases.get(next.fetch_add(1, Ordering::Relaxed)));
            cases
                .filter_map(|case| check(&store, case).err())
                .collect::<Vec<String>>()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("no panic"))
            .collect()
    });
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

/// What is wrong with what became of a case.
fn check(store: &Store, case: &Case) -> Result<(), String> {
    let name = case.name;
    match (case.expected, case.load_into(store)) {
        (Expected::Published(detail) | Expected::Loaded(detail), Err(error)) if error.contains(detail) => Ok(()),
        (expected @ (Expected::Published(_) | Expected::Loaded(_)), Ok(_)) => {
            Err(format!("{name}: it is loaded, not {expected:?}"))
        }
        (expected, Err(error)) => Err(format!("{name}: `{error}`, not {expected:?}")),
        (Expected::Failed(error, detail), Ok(module)) => fails(case, &module, error, detail),
        (Expected::Answered, Ok(module)) => {
            let mut instance = module.instantiate(LIMITS).map_err(|error| format!("{name}: {error}"))?;
            let answer = guest(case).call(&mut instance, BAD_ROWS);
            answer
                .map(drop)
                .map_err(|error| format!("{name}: {error}, {}", instance.detail()))
        }
    }
}

fn guest(case: &Case) -> &Guest {
    case.guest().expect("what can be loaded can be called")
}

/// The bad batch fails twice, and a good batch is answered before, in between and afterwards.
fn fails(case: &Case, module: &unskew::Module, error: CallError, detail: &str) -> Result<(), String> {
    let name = case.name;
    let limits = if error.is_deadline() { SHORT } else { LIMITS };
    let mut instance = module.instantiate(limits).map_err(|error| format!("{name}: {error}"))?;
    let good = |instance: &mut Instance| {
        // A short deadline may be missed for want of a processor.
        let answer = (0..10).find_map(|_| guest(case).call(instance, GOOD_ROWS).ok());
        match answer == Some(guest(case).answer(GOOD_ROWS)) {
            true => Ok(()),
            false => Err(format!("{name}: a good batch gave {answer:?}, {}", instance.detail())),
        }
    };
    good(&mut instance)?;
    for _ in 0..2 {
        let start = Instant::now();
        let result = guest(case).call(&mut instance, BAD_ROWS);
        let took = start.elapsed();
        if result.as_ref().err() != Some(&error) || !instance.detail().contains(detail) {
            return Err(format!(
                "{name}: {result:?}, `{}`, not {error:?}, `{detail}`",
                instance.detail()
            ));
        }
        // Other tests have the processors, too: what a deadline is worth is measured by a bench.
        if took > limits.deadline + Duration::from_secs(10) {
            return Err(format!("{name}: it took {took:?}"));
        }
        if instance.detail().len() > 4_096 {
            return Err(format!(
                "{name}: {} bytes are kept of its message",
                instance.detail().len()
            ));
        }
        good(&mut instance)?;
    }
    Ok(())
}

/// Whatever a trapped call left behind is gone: the next runs on fresh memory.
#[test]
fn nothing_outlives_a_trap() {
    let cell = RESULT + 64;
    // The first bad batch writes a number; one that finds it written answers, which it must never get to do.
    let guest = Guest::does(
        Function::Apply,
        &format!(
            "(if (i32.load (i32.const {cell})) (then (return (i32.const {})))) (i32.store (i32.const {cell}) (i32.const 1))",
            RESULT + 16
        ),
    );
    let mut instance = guest.instance(LIMITS);
    for _ in 0..3 {
        assert_eq!(
            guest.call(&mut instance, BAD_ROWS),
            Err(CallError::Trap),
            "{}",
            instance.detail()
        );
        assert!(instance.detail().contains("unreachable"));
    }
}

/// A scalar answers for every row.
#[test]
fn a_scalar_is_an_answer() {
    let seven = Column::scalar(ColumnType::F64, Value::F64(7.0)).expect("a scalar");
    let guest = Guest::answers(Function::Apply, frame(&[&seven], BAD_ROWS));
    let output = guest
        .call(&mut guest.instance(LIMITS), BAD_ROWS)
        .expect("a frame like any other");
    assert_eq!(output.rows(), BAD_ROWS);
    assert!((0..BAD_ROWS).all(|row| output.value(row) == Value::F64(7.0)));
}

/// A component may move NaNs about without computing; what the host hands on is canonical all the same.
#[test]
fn every_nan_is_canonical() {
    let mut words = frame(&[&Guest::default().input(BAD_ROWS)], BAD_ROWS);
    for (word, bits) in words[4..]
        .iter_mut()
        .zip([0x7ff8_0000_0000_0001, 0xfff8_0000_0000_0000, 0x7ff0_0000_0000_0001])
    {
        *word = bits;
    }
    let guest = Guest::answers(Function::Apply, words);
    let output = guest
        .call(&mut guest.instance(LIMITS), BAD_ROWS)
        .expect("NaN is a number like any other");
    for row in 0..3 {
        let Value::F64(value) = output.value(row) else {
            panic!("row {row}")
        };
        assert_eq!(value.to_bits(), 0x7ff8_0000_0000_0000);
    }
    assert_eq!(output.value(3), Value::F64(3.0));
}

/// A component that frees its result when the engine says so, as those made with wit-bindgen do: the engine says so before
/// the host has the result, unless the host copies it out.
#[test]
fn a_result_is_read_before_it_is_freed() {
    let freed = "(memory.fill (i32.const 4096) (i32.const 0xa5) (i32.const 256))";
    let guest = Guest {
        // Nothing, and on to what a good batch gets.
        bad: (Function::Apply, "(br 0)".to_owned()),
        post_return: freed.to_owned(),
        ..Guest::default()
    };
    let mut instance = guest.instance(LIMITS);
    for rows in [0, 1, BAD_ROWS, 20] {
        assert_eq!(
            guest.call(&mut instance, rows),
            Ok(guest.input(rows)),
            "{}",
            instance.detail()
        );
    }
}

/// A module whose start needs more than the limits of a call cannot be instantiated within them.
#[test]
fn an_instance_keeps_to_its_memory() {
    let module = Guest {
        pages: 8,
        ..Guest::default()
    }
    .load()
    .expect("8 pages are few");
    let limits = |memory_bytes| CallLimits { memory_bytes, ..LIMITS };
    module.instantiate(limits(8 << 16)).expect("it fits exactly");
    let error = module.instantiate(limits((8 << 16) - 1)).expect_err("it does not fit");
    assert!(error.to_string().contains("`guest`"), "{error}");
    let mut instance = module.instantiate(LIMITS).expect("it fits");
    let mut folded = unskew::state_column();
    let result = instance.fold(&unskew::state_column(), &[], &mut folded);
    assert_eq!(result, Err(CallError::WrongKind), "{}", instance.detail());
}

/// Gives, in the first row, what it finds in memory that it took for itself, and leaves there what the second row has.
fn spy() -> Guest {
    const TAKEN: u32 = 1 << 16;
    let words = frame(&[&Guest::default().input(BAD_ROWS)], BAD_ROWS);
    let guest = Guest {
        name: "spy".to_owned(),
        ..Guest::answers(Function::Apply, words)
    };
    let answer = guest.result[1];
    // Behind the four words of a frame's beginning lie its values.
    let look = format!(
        "(if (i32.eq (memory.size) (i32.const 1)) (then (drop (memory.grow (i32.const 1)))))
         (i64.store offset=32 (i32.const {answer}) (i64.load (i32.const {TAKEN})))
         (i64.store (i32.const {TAKEN}) (i64.load offset=40 (local.get $at0)))
         (i32.const {})",
        RESULT + 16
    );
    Guest {
        bad: (Function::Apply, look),
        ..guest
    }
}

/// What a call leaves in memory can be found by a later call of its instance, and by no other: not by one that takes the same
/// memory after it.
#[test]
fn memory_is_an_instances_own() {
    let guest = spy();
    let module = guest.load().unwrap_or_else(|error| panic!("{error}"));
    let found = |instance: &mut Instance| {
        let answer = guest
            .call(instance, BAD_ROWS)
            .expect("a right answer to all appearances");
        match answer.value(0) {
            Value::F64(value) => value,
            other => panic!("{other:?}"),
        }
    };
    let instance = || module.instantiate(LIMITS).expect("it can be made");
    let mut first = instance();
    assert_eq!(found(&mut first), 0.0);
    assert_eq!(found(&mut first), 1.0, "or this test could not fail");
    let mut second = instance();
    assert_eq!(found(&mut second), 0.0);
    drop((first, second));
    for _ in 0..100 {
        assert_eq!(found(&mut instance()), 0.0);
    }
    let limits = CallLimits {
        fresh_instance: true,
        ..LIMITS
    };
    let mut fresh = module.instantiate(limits).expect("it can be made");
    for _ in 0..100 {
        assert_eq!(found(&mut fresh), 0.0);
    }
}

/// Two services with one module, on one thread: neither finds anything of the other's requests, nor does another session.
#[test]
fn services_do_not_read_each_others_memory() {
    const TIME: i64 = 1_705_276_800_000_000;
    let service = |name: &str| {
        format!(
            r#"
[[service]]
name = "{name}"
candidate = [{{ name = "user", type = "i64" }}, {{ name = "x", type = "f64" }}]
features = ["first:number", "spy:x"]

[[service.transform]]
name = "spy"
module = "spy"
"#
        )
    };
    let project = format!("{VIEWS}{}{}", service("one"), service("other"));
    let rows = format!("time,user,number\n{TIME},7,5\n");
    let mut fixture = Fixture::new(&project, &[("rows.csv", &rows), ("events.csv", "time,user,x\n")]);
    let module = spy()
        .load_into(&fixture.store)
        .unwrap_or_else(|error| panic!("{error}"));
    fixture.modules.insert("spy".to_owned(), module);
    fixture.publish(EventTime(TIME + 1));
    let found = |session: &mut Session, host: &Host, service: &str, secret: f64| {
        let service = host.service(service).expect("it is published");
        let mut request = service.request(EventTime(TIME + 2));
        for _ in 0..BAD_ROWS {
            let fields = [Value::I64(7), Value::F64(secret)];
            request.push_candidate(&fields).expect("a candidate");
        }
        let features = session.evaluate(&request).expect("it is served");
        let Value::F64(found) = features.value(0, 1) else {
            panic!("{:?}", features.failures());
        };
        found
    };
    // The audit would find the spy; it is not what is tested.
    let options = |limits| HostOptions {
        limits,
        audit_every: 0,
        ..HostOptions::default()
    };
    let host = Host::open(fixture.store.root(), options(LIMITS)).unwrap_or_else(|error| panic!("{}", chain(&error)));
    let (mut session, mut another) = (host.session(), host.session());
    assert_eq!(found(&mut session, &host, "one", 42.5), 0.0);
    assert_eq!(found(&mut session, &host, "other", 77.0), 0.0);
    assert_eq!(found(&mut another, &host, "one", 1.0), 0.0);
    // Its own requests of before, as the documentation says.
    assert_eq!(found(&mut session, &host, "one", 2.0), 42.5);

    let limits = CallLimits {
        fresh_instance: true,
        ..LIMITS
    };
    let host = Host::open(fixture.store.root(), options(limits)).unwrap_or_else(|error| panic!("{}", chain(&error)));
    let mut session = host.session();
    for _ in 0..3 {
        assert_eq!(found(&mut session, &host, "one", 42.5), 0.0);
    }
}

/// Views of users 0 to 12, and of everyone's events.
const VIEWS: &str = r#"
[project]
name = "hostile"

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
"#;

/// A service whose `bad` is the case; a good transform stands before it and one that reads it behind it.
fn service_of(name: &str, function: Function) -> String {
    let (view, bad, feature) = match function {
        Function::Apply => (
            String::new(),
            format!("[[service.transform]]\nname = \"bad\"\nmodule = \"{name}\"\n"),
            "bad:x".to_owned(),
        ),
        _ => (
            format!(
                "[[view]]\nname = \"{name}\"\nentity = \"user\"\nsource = \"events\"\nmodule = \"{name}\"\ninputs = {{ x = 1.0 }}\n"
            ),
            String::new(),
            format!("{name}:x"),
        ),
    };
    format!(
        r#"{view}
[[service]]
name = "{name}"
candidate = [{{ name = "user", type = "i64" }}, {{ name = "x", type = "f64" }}]
features = ["first:number", "before:x", "{feature}", "behind:x"]

[[service.transform]]
name = "before"
module = "guest"
{bad}
[[service.transform]]
name = "behind"
module = "guest"
inputs = {{ x = "{feature}" }}
"#
    )
}

/// One generation has a service for each case. The bad batch costs the case's features and those that need them; whatever else
/// is in the service is right, and a good batch is right altogether, through one session.
#[test]
fn serving_goes_on_beside_every_hostile_component() {
    const TIME: i64 = 1_705_276_800_000_000;
    let cases = cases();
    let callable: Vec<(&Guest, CallError)> = cases
        .iter()
        .filter_map(|case| match (case.expected, case.guest()) {
            (Expected::Failed(error, _), Some(guest)) => Some((guest, error)),
            _ => None,
        })
        .filter(|(guest, _)| matches!(guest.bad.0, Function::Apply | Function::Read))
        .filter(|(guest, _)| guest.column_type() == ColumnType::F64)
        // Whose allocator is bad is bad in every function, and an aggregate folds its snapshot first.
        .filter(|(guest, _)| guest.bad.0 == Function::Apply || guest.realloc.is_empty())
        .collect();
    assert!(callable.len() >= 40, "{}", callable.len());
    let mut project = VIEWS.to_owned();
    let (mut rows, mut events) = ("time,user,number\n".to_owned(), "time,user,x\n".to_owned());
    for user in 0..BAD_ROWS {
        rows += &format!("{TIME},{user},{}\n", 100 + user);
        events += &format!("{TIME},{user},1.0\n");
    }
    for (guest, _) in &callable {
        project += &service_of(&guest.name, guest.bad.0);
    }
    let mut fixture = Fixture::new(&project, &[("rows.csv", &rows), ("events.csv", &events)]);
    let good = Guest {
        // With any batch, on to what a good batch gets.
        bad: (Function::Apply, "(br 0)".to_owned()),
        ..Guest::default()
    };
    for guest in callable.iter().map(|(guest, _)| *guest).chain([&good]) {
        let module = guest
            .load_into(&fixture.store)
            .unwrap_or_else(|error| panic!("{error}"));
        fixture.modules.insert(guest.name.clone(), module);
    }
    fixture.publish(EventTime(TIME + 1));
    for limits in [SHORT, LIMITS] {
        let options = HostOptions {
            limits,
            max_failures: 1_000_000,
            ..HostOptions::default()
        };
        let host = Host::open(fixture.store.root(), options).unwrap_or_else(|error| panic!("{}", chain(&error)));
        let mut session = host.session();
        for (guest, error) in callable
            .iter()
            .filter(|(_, error)| error.is_deadline() == (limits == SHORT))
        {
            for rows in [GOOD_ROWS, BAD_ROWS, GOOD_ROWS, BAD_ROWS] {
                evaluate(&host, &mut session, guest, *error, rows);
            }
        }
        assert_eq!(host.current(), 1);
    }
}

fn evaluate(host: &Host, session: &mut Session, guest: &Guest, error: CallError, rows: usize) {
    const TIME: i64 = 1_705_276_800_000_000;
    let name = &guest.name;
    let mut request = host
        .service(name)
        .expect("it is published")
        .request(EventTime(TIME + 2));
    for row in 0..rows {
        let fields = [Value::I64(row as i64), Value::F64(row as f64)];
        request.push_candidate(&fields).expect("a candidate");
    }
    let is_bad = rows == BAD_ROWS;
    // A short deadline may be missed for want of a processor, by anyone; not ten times.
    for _ in 0..10 {
        let features = session.evaluate(&request).expect("a request that fits is answered");
        let failed: Vec<&CallError> = features
            .failures()
            .iter()
            .map(|failure| match failure {
                EvaluateError::Call { error, .. } => error,
                other => panic!("{name}: {other}"),
            })
            .collect();
        if failed != if is_bad { vec![&error] } else { Vec::new() } {
            assert!(
                failed.contains(&&CallError::Deadline),
                "{name}: {:?}",
                features.failures()
            );
            continue;
        }
        for row in 0..rows {
            let bad = match (is_bad, guest.bad.0) {
                (true, _) => Value::Null,
                (false, Function::Apply) => Value::F64(row as f64),
                (false, _) => Value::F64(7.0),
            };
            let expected = [Value::I64(100 + row as i64), Value::F64(row as f64), bad, bad];
            for (feature, expected) in expected.into_iter().enumerate() {
                assert_eq!(
                    features.value(row, feature),
                    expected,
                    "{name}, row {row}, feature {feature}"
                );
                let status = match expected {
                    Value::Null => Status::Failed,
                    _ => Status::Present,
                };
                assert_eq!(
                    features.status(row, feature),
                    status,
                    "{name}, row {row}, feature {feature}"
                );
            }
        }
        return;
    }
    panic!("{name}: {rows} rows late ten times");
}
