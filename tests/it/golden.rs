//! Golden calls: what a module gave where it was published is what it must give everywhere, whatever it was asked before.

use std::fs;
use std::time::Duration;

use unskew::metrics::GoldenOutcome;
use unskew::{
    ActivateError, CallLimits, Column, ColumnType, Golden, GoldenError, Host, HostOptions, Module, ModuleEntry,
    Refresh, Store, Value,
};
use unskew_registry::{
    Draft, VECTORS_FILE, commit, compile_into, embed_vectors, make_golden, module_entries, put_golden, put_module,
    vector_calls,
};
use unskew_tests::{Fixture, chain, patient, root, runtime};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::host::{PROJECT, fixture, serve, watermark};
use crate::operate::wait_until;
use crate::refused::{flip, rewrite, shown};

const LIMITS: CallLimits = CallLimits {
    deadline: Duration::from_secs(20),
    ..CallLimits::SERVING
};

/// A row transform of one f64, `x`, that gives back the frame it was given, after `change`, instructions that may change it:
/// it is at `$at`, its rows are in `$rows` and its first value is 32 bytes behind.
fn echo(change: &str, store: &Store) -> Module {
    let words = |words: &[u32]| -> String {
        let bytes = words.iter().flat_map(|word| word.to_le_bytes());
        bytes.map(|byte| format!("\\{byte:02x}")).collect()
    };
    // Name, version, owner, description, inputs, outputs and kind; the column; the texts `echo1.0.0x`.
    let descriptor = words(&[256, 4, 260, 5, 265, 1, 265, 1, 128, 1, 128, 1, 0]);
    let column = words(&[265, 1, 0, 0, 0, 265, 0]);
    let core = format!(
        r#"(module
            (memory (export "memory") 1)
            (global $count (mut i32) (i32.const 0))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
            (func (export "unskew:transform/metadata@0.1.0#describe") (result i32) (i32.const 0))
            (func (export "unskew:transform/row@0.1.0#apply") (param $at i32) (param $len i32) (result i32) (local $rows i32)
                (local.set $rows (i32.load offset=8 (local.get $at)))
                {change}
                (i32.store (i32.const 512) (i32.const 0))
                (i32.store offset=4 (i32.const 512) (local.get $at))
                (i32.store offset=8 (i32.const 512) (local.get $len))
                (i32.const 512))
            (data (i32.const 0) "{descriptor}")
            (data (i32.const 128) "{column}")
            (data (i32.const 256) "echo1.0.0x"))"#
    );
    let mut resolve = Resolve::new();
    let package = resolve
        .push_path(root().join("wit/transform.wit"))
        .expect("the contract")
        .0;
    let world = resolve
        .select_world(&[package], Some("row-transform"))
        .expect("a world of it");
    let mut core = wat::parse_str(core).expect("the module is well formed");
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).expect("the types are the world's");
    let mut encoder = ComponentEncoder::default();
    encoder.module(&core).expect("a module of the world");
    let component = encoder.encode().expect("a component");
    let digest = put_module(store, &component).unwrap_or_else(|error| panic!("{}", chain(&error)));
    compile_into(store, &store.compiled_dir(), &digest).expect("it compiles");
    let loaded = runtime().load(&store.compiled_dir(), &digest);
    loaded.unwrap_or_else(|error| panic!("{}", chain(&error)))
}

/// Adds 1 to the first value of every call but the first.
const COUNTER: &str = "(if (global.get $count) (then
    (f64.store offset=32 (local.get $at) (f64.add (f64.const 1) (f64.load offset=32 (local.get $at))))))
    (global.set $count (i32.const 1))";
/// Makes the first value the number of the rows.
/// As the first, but only after a hundred calls.
const LATE_COUNTER: &str = "(if (i32.gt_u (global.get $count) (i32.const 100)) (then
    (f64.store offset=32 (local.get $at) (f64.add (f64.const 1) (f64.load offset=32 (local.get $at))))))
    (global.set $count (i32.add (i32.const 1) (global.get $count)))";
const NOSY: &str = "(f64.store offset=32 (local.get $at) (f64.convert_i32_u (local.get $rows)))";

fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = Store::new(directory.path());
    (directory, store)
}

#[test]
fn calls_of_the_repositorys_modules_come_back_and_hold() {
    let fixture = fixture();
    for module in fixture.modules.values() {
        let golden = make_golden(module).expect("it can be called");
        let answered = golden.calls.iter().filter(|call| call.outcome.is_ok()).count();
        assert!(answered >= 6, "{answered} of {} are answered", golden.calls.len());
        let bytes = golden.encode().expect("the calls are small");
        assert!(bytes.len() < 100_000, "{} bytes", bytes.len());
        let read = Golden::decode(&bytes, module.descriptor()).expect("it is whole");
        assert_eq!(read, golden);
        assert_eq!(
            make_golden(module).expect("it can be called"),
            golden,
            "they are the same again"
        );
        read.verify(module, LIMITS).expect("they hold");
    }
}

#[test]
fn a_bit_of_difference_is_found() {
    let module = &fixture().modules["request-context"];
    let mut golden = make_golden(module).expect("it can be called");
    let outputs = golden.calls[1].outcome.as_mut().expect("small numbers are answered");
    let index = outputs
        .iter()
        .position(|output| output.column_type() == ColumnType::F64);
    let output = &mut outputs[index.expect("there are floats")];
    let row = (0..output.rows())
        .find(|row| !output.value(*row).is_null())
        .expect("a value");
    let mut changed = Column::new(ColumnType::F64);
    for at in 0..output.rows() {
        match output.value(at) {
            Value::F64(value) if at == row => changed.push_f64(f64::from_bits(value.to_bits() ^ 1)),
            value => changed.push(value).expect("the type is the same"),
        }
    }
    *output = changed;
    let error = golden.verify(module, LIMITS).expect_err("a bit differs");
    assert!(matches!(error, GoldenError::Differs { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("`request-context`") && text.contains("call 1 (apply), output"),
        "{text}"
    );
    assert!(text.contains(&format!("row {row}: F64(")), "{text}");
}

#[test]
fn a_module_that_keeps_something_is_not_published() {
    let (_directory, store) = store();
    let publish = |change: &str| {
        let module = echo(change, &store);
        module_entries(&store, &[("echo".to_owned(), module)].into())
    };
    publish("").expect("an echo keeps nothing");
    let error = publish(COUNTER).expect_err("it counts its calls");
    assert!(
        error.to_string().contains("`echo` keeps something from call to call"),
        "{error}"
    );
    let error = publish(NOSY).expect_err("it counts its rows");
    assert!(
        error.to_string().contains("`echo` does not compute row by row"),
        "{error}"
    );
}

/// Commits generation 2 as 1 is, with other golden calls of a module.
fn with_golden(bytes: impl FnOnce(&Module, Golden) -> Vec<u8>) -> String {
    let fixture = fixture();
    fixture.publish(watermark(1));
    let host = fixture.host();
    let manifest = fixture.store.manifest(1).expect("it is published");
    let module = &fixture.modules["ctr-history"];
    let golden = make_golden(module).expect("it can be called");
    let mut modules = manifest.modules;
    let entry: &mut ModuleEntry = modules.get_mut("ctr-history").expect("it is there");
    entry.golden = put_golden(&fixture.store, &bytes(module, golden)).expect("the store can be written");
    let draft = Draft {
        catalog: manifest.catalog,
        modules,
        snapshots: manifest.snapshots,
    };
    commit(&fixture.store, draft).expect("all of it is in the store");
    let error = host.refresh().expect_err("the calls do not hold");
    assert!(matches!(error, ActivateError::Golden { .. }), "{error}");
    assert_eq!(serve(&host), (vec![1; 12], 1));
    let metrics = host.metrics();
    let differed = metrics.golden.iter().find(|run| run.outcome == GoldenOutcome::Differed);
    assert_eq!(differed.map(|run| run.duration.count()), Some(1));
    chain(&error)
}

#[test]
fn a_host_refuses_a_module_that_gives_something_else() {
    let text = with_golden(|_, mut golden| {
        let call = golden.calls.iter_mut().find(|call| call.outcome.is_ok());
        call.expect("an answer").outcome = Err(unskew::CallError::Trap);
        golden.encode().expect("the calls are small")
    });
    assert!(text.contains("it succeeds, expected: the transform trapped"), "{text}");
    let text = with_golden(|_, golden| {
        let mut bytes = golden.encode().expect("the calls are small");
        bytes.truncate(bytes.len() - 8);
        bytes
    });
    assert!(text.contains("its golden calls are damaged: it is cut short"), "{text}");
}

#[test]
fn damaged_golden_calls_are_named() {
    let fixture = fixture();
    fixture.publish(watermark(1));
    let entry = fixture.store.manifest(1).expect("it is published").modules["ctr-history"].clone();
    let path = fixture.store.golden_path(&entry.golden);
    let host = fixture.host();
    fixture.publish(watermark(2));
    rewrite(&path, |bytes| flip(bytes, 100));
    let error = chain(&host.refresh().expect_err("it is damaged"));
    assert!(error.contains(&shown(&path)), "{error}");

    // Whatever the bytes are: an error or other calls, never a panic.
    let module = &fixture.modules["ctr-history"];
    let whole = make_golden(module)
        .expect("it can be called")
        .encode()
        .expect("they are small");
    for at in (0..whole.len()).step_by(5) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        let _ = Golden::decode(&bytes, module.descriptor());
        assert!(Golden::decode(&whole[..at], module.descriptor()).is_err(), "{at} bytes");
    }
    fs::remove_file(&path).expect("the file can be removed");
    let error = chain(&host.refresh().expect_err("it is gone"));
    assert!(
        error.contains(&shown(&path)) && error.contains("cannot read"),
        "{error}"
    );
}

const ECHOED: &str = r#"
[[service]]
name = "model"
candidate = [{ name = "user", type = "i64" }, { name = "x", type = "f64" }]
features = ["first:number", "once:x"]

[[service.transform]]
name = "once"
module = "echo"
"#;

/// What no check before the switch can find: the audit does, and the generation is left.
#[test]
fn a_module_that_begins_to_keep_something_is_found_by_the_audit() {
    let (views, _) = PROJECT.split_once("[[service]]").expect("it has a service");
    let rows = format!("time,user,number,label\n{},7,5,five\n", watermark(0).0);
    let events = format!("time,user,clicked\n{},7,1\n", watermark(0).0);
    let mut fixture = Fixture::new(
        &format!("{views}{ECHOED}"),
        &[("rows.csv", &rows), ("events.csv", &events)],
    );
    fixture.modules.insert("echo".to_owned(), echo("", &fixture.store));
    fixture.publish(watermark(1));
    let options = HostOptions {
        audit_every: 8,
        ..patient()
    };
    let host = Host::open(fixture.store.root(), options).unwrap_or_else(|error| panic!("{}", chain(&error)));
    let mut session = host.session();
    let mut evaluate = || {
        let mut request = host.service("model").expect("it is published").request(watermark(20));
        for x in [0.5, 1.5] {
            request
                .push_candidate(&[Value::I64(7), Value::F64(x)])
                .expect("a candidate");
        }
        let features = session.evaluate(&request).expect("it is served");
        (features.value(0, 1) == Value::F64(0.5), features.generation())
    };
    wait_until("good calls are made again", || {
        assert_eq!(evaluate(), (true, 1));
        host.health().audits.exact >= 10
    });
    assert_eq!(host.health().audits.differing, 0);

    fixture
        .modules
        .insert("echo".to_owned(), echo(LATE_COUNTER, &fixture.store));
    fixture.publish(watermark(2));
    assert_eq!(host.refresh().expect("its golden calls hold"), Refresh::Activated(2));
    wait_until("generation 2 is left", || evaluate().1 == 1);
    let health = host.health();
    assert!(health.audits.differing > 0);
    assert!(host.metrics().audits.differing > 0);
    assert_eq!(health.quarantined, vec![2]);
    let message = health.failure.expect("it says why").message;
    assert!(
        message.contains("module `echo` keeps something from call to call: on a fresh instance, output 0, row 0"),
        "{message}"
    );
    assert_eq!(evaluate(), (true, 1));
}

/// What an author says of a transform, where it is not so: of the component itself, by vector, window and column.
#[test]
fn a_module_is_held_to_what_its_author_says() {
    let given = |transform: &str| {
        let path = root().join("transforms").join(transform).join(VECTORS_FILE);
        std::fs::read_to_string(path).expect("it has golden vectors")
    };
    let calls = |transform: &str, text: &str| {
        let (_directory, store) = store();
        let component = embed_vectors(unskew_tests::component(transform), text).expect("they can be read");
        let module = &unskew_tests::load(&store, std::slice::from_ref(&component))[transform];
        let calls = vector_calls(&component, module).map_err(|error| error.to_string());
        let published = module_entries(&store, &[(transform.to_owned(), module.clone())].into());
        assert_eq!(calls.is_err(), published.is_err(), "{published:?}");
        calls
    };
    for (transform, count) in [("request-context", 3), ("ctr-history", 6)] {
        let calls = calls(transform, &given(transform)).expect("they hold");
        assert_eq!(calls.len(), count, "{transform}");
    }

    for (transform, from, to, expected) in [
        (
            "request-context",
            "ctr_trend = 0.5",
            "ctr_trend = 0.5000000000000001",
            "golden.toml, vector 2 (a full one, in another zone): apply gives 0.5 for `ctr_trend`, expected 0.5000000000000001",
        ),
        (
            "request-context",
            "hour = 10, ",
            "",
            "golden.toml, vector 1 (a bare request, on a Monday at ten): out needs `hour`",
        ),
        (
            "request-context",
            "item_id = 7 }",
            "item = 7 }",
            "in has no column `item`; there are prediction_time, item_id",
        ),
        (
            "request-context",
            "item_id = 7 }",
            "item_id = 7.5 }",
            "`item_id` of in is not a whole number: 7.5",
        ),
        (
            "request-context",
            "[[vector]]\n",
            "[[vector]]\nat = 1\n",
            "a row transform has neither `events` nor `at`",
        ),
        (
            "ctr-history",
            "clicks_1d = 1",
            "clicks_1d = 2",
            "vector 2 (a click now, an impression yesterday, one whose outcome is not known): batch gives 1 for `clicks_1d`, expected 2",
        ),
        (
            "ctr-history",
            "09:59:59.999999Z",
            "10:00:00Z",
            "event 1 is not before `at`: no window has it",
        ),
        (
            "ctr-history",
            "at = 2024-01-15T10:00:00Z\n",
            "",
            "an aggregate needs `at`",
        ),
        (
            "ctr-history",
            "clicked = false",
            "clicked = 0",
            "`clicked` of event 2 is not true or false: 0",
        ),
        (
            "ctr-history",
            "out = {",
            "# out = {",
            "there is no `out`; the component gives\nout = { impressions_1h = 0, clicks_1h = 0, ctr_1h = 0.25,",
        ),
    ] {
        let text = given(transform);
        assert!(text.contains(from), "{transform}: {from}");
        let error = calls(transform, &text.replace(from, to)).expect_err(to);
        assert!(error.contains(expected), "{to}: {error}");
    }
}
