//! Components that are called directly: the same results as through the component model, and nothing of what they say is
//! trusted.

use std::cell::RefCell;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use unskew::{CallError, CallLimits, Column, ColumnType, DIRECT_INPUT, Instance, Module, Store, Value, output_columns};
use unskew_tests::component;
use unskew_tests::hostile::{BAD_ROWS, Function, Guest};

/// Long, so that no call is late for want of a processor.
const LIMITS: CallLimits = CallLimits {
    deadline: Duration::from_secs(20),
    ..CallLimits::BATCH
};

/// The module of a transform, and the same one without the export that lets it be called directly.
fn both(name: &str) -> [Module; 2] {
    let direct = component(name).to_vec();
    let mut lifted = direct.clone();
    let marker = DIRECT_INPUT.as_bytes();
    let at = direct
        .windows(marker.len())
        .position(|part| part == marker)
        .expect("the SDK's components may be called directly");
    lifted[at] = b'U';
    [direct, lifted].map(|component| {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut modules = unskew_tests::load(&Store::new(directory.path()), &[component]);
        modules.remove(name).expect("it has its name")
    })
}

fn value(column_type: ColumnType) -> BoxedStrategy<Option<Column>> {
    let values = |value: BoxedStrategy<Column>| prop::option::weighted(0.9, value).boxed();
    values(match column_type {
        ColumnType::F64 => any::<u64>()
            .prop_map(move |bits| scalar(column_type, Value::F64(f64::from_bits(bits))))
            .boxed(),
        ColumnType::I64 => (-3_i64..200)
            .prop_map(move |n| scalar(column_type, Value::I64(n)))
            .boxed(),
        ColumnType::Bool => any::<bool>()
            .prop_map(move |b| scalar(column_type, Value::Bool(b)))
            .boxed(),
        ColumnType::Timestamp => any::<i64>()
            .prop_map(move |t| scalar(column_type, Value::Timestamp(t)))
            .boxed(),
        _ => "\\PC{0,12}"
            .prop_map(move |text| scalar(column_type, Value::String(&text)))
            .boxed(),
    })
}

fn scalar(column_type: ColumnType, value: Value<'_>) -> Column {
    Column::scalar(column_type, value).expect("a value of the type")
}

/// `rows` rows of columns of these types, each with whether a value may be missing.
fn batch(columns: Vec<(ColumnType, bool)>) -> impl Strategy<Value = (usize, Vec<Column>)> {
    prop_oneof![Just(0_usize), Just(1), 2_usize..70, 60_usize..300].prop_flat_map(move |rows| {
        let columns = columns.clone().into_iter().map(move |(column_type, nullable)| {
            prop::collection::vec(value(column_type), rows).prop_map(move |values| {
                let mut column = Column::new(column_type);
                for value in &values {
                    match value {
                        Some(value) => column.push(value.value(0)).expect("a value of the type"),
                        None if nullable => column.push_null(),
                        None => column.push(zero(column_type)).expect("a value of the type"),
                    }
                }
                column
            })
        });
        (Just(rows), columns.collect::<Vec<_>>())
    })
}

fn zero(column_type: ColumnType) -> Value<'static> {
    match column_type {
        ColumnType::F64 => Value::F64(0.0),
        ColumnType::I64 => Value::I64(0),
        ColumnType::Bool => Value::Bool(false),
        ColumnType::Timestamp => Value::Timestamp(0),
        _ => Value::String(""),
    }
}

#[test]
fn a_row_transform_gives_the_same_both_ways() {
    let modules = both("request-context");
    let instances = RefCell::new(
        modules
            .each_ref()
            .map(|module| module.instantiate(LIMITS).expect("an instance")),
    );
    let descriptor = modules[0].descriptor();
    let inputs = descriptor.inputs.iter().map(|c| (c.column_type, c.nullable)).collect();
    let outputs = output_columns(&descriptor.outputs);
    let mut runner = TestRunner::new(Config::with_cases(40));
    let run = runner.run(&batch(inputs), |(rows, inputs)| {
        let inputs: Vec<&Column> = inputs.iter().collect();
        let [found, expected] = instances.borrow_mut().each_mut().map(|instance: &mut Instance| {
            let mut outputs = outputs.clone();
            let result = instance.apply(&inputs, rows, &mut outputs);
            (result, outputs)
        });
        prop_assert_eq!(&found, &expected);
        prop_assert_eq!(found.0, Ok(()));
        Ok(())
    });
    run.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn an_aggregate_gives_and_refuses_the_same_both_ways() {
    let modules = both("ctr-history");
    let instances = RefCell::new(
        modules
            .each_ref()
            .map(|module| module.instantiate(LIMITS).expect("an instance")),
    );
    let descriptor = modules[0].descriptor();
    let unskew::Kind::Aggregate(aggregation) = &descriptor.kind else {
        panic!("an aggregate");
    };
    let events = aggregation.events.iter().map(|c| (c.column_type, c.nullable)).collect();
    let inputs = descriptor.inputs.iter().map(|c| (c.column_type, c.nullable)).collect();
    let outputs = output_columns(&descriptor.outputs);
    let mut runner = TestRunner::new(Config::with_cases(20));
    let cases = (batch(events), batch(inputs), any::<bool>());
    let run = runner.run(&cases, |((event_rows, events), (query_rows, queries), is_damaged)| {
        let index = |rows: usize| {
            let mut column = Column::new(ColumnType::I64);
            (0..rows).for_each(|_| column.push_i64(0));
            column
        };
        let times = |rows: usize, first: i64| {
            let mut column = Column::new(ColumnType::Timestamp);
            (0..rows).for_each(|row| column.push_timestamp(first + row as i64 * 1_000_000));
            column
        };
        let leading = [index(event_rows), times(event_rows, 0)];
        let events: Vec<&Column> = leading.iter().chain(&events).collect();
        let leading = [index(query_rows), times(query_rows, 400_000_000)];
        let queries: Vec<&Column> = leading.iter().chain(&queries).collect();
        let mut states = Column::new(ColumnType::Bytes);
        match is_damaged {
            true => states.push_bytes(b"not a state"),
            false => states.push_null(),
        }
        let [found, expected] = instances.borrow_mut().each_mut().map(|instance: &mut Instance| {
            let (mut folded, mut outputs) = (unskew::state_column(), outputs.clone());
            let folding = instance.fold(&states, &events, &mut folded);
            let merging = folding.and_then(|()| {
                let mut merged = unskew::state_column();
                instance.merge(&folded, &folded, &mut merged).map(|()| merged)
            });
            let reading = folding.and_then(|()| instance.read(&folded, &queries, query_rows, &mut outputs));
            let detail = if folding.is_err() {
                instance.detail().to_owned()
            } else {
                String::new()
            };
            (folding, folded, merging, reading, outputs, detail)
        });
        prop_assert_eq!(found.0.is_err(), is_damaged);
        prop_assert_eq!(found, expected);
        Ok(())
    });
    run.unwrap_or_else(|error| panic!("{error}"));
}

/// A guest that says that it may be called directly, with what it gives for where frames go.
fn guest(input: &str) -> Guest {
    Guest {
        fields: format!(
            "(func (export \"{DIRECT_INPUT}\") (param $frame i32) (param $words i32) (result i32) {input})"
        ),
        ..Guest::default()
    }
}

fn numbers(rows: usize) -> Column {
    let mut column = Column::new(ColumnType::F64);
    (0..rows).for_each(|row| column.push_f64(row as f64));
    column
}

fn call(instance: &mut Instance, rows: usize) -> Result<Column, CallError> {
    let mut outputs = [Column::new(ColumnType::F64)];
    instance.apply(&[&numbers(rows)], rows, &mut outputs)?;
    let [output] = outputs;
    Ok(output)
}

fn instance(guest: &Guest) -> Instance {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let module = guest
        .load_into(&Store::new(directory.path()))
        .unwrap_or_else(|error| panic!("{error}"));
    module.instantiate(LIMITS).expect("an instance")
}

#[test]
fn room_for_a_frame_that_is_none_is_refused() {
    for (what, input, detail) in [
        ("behind the memory", "(i32.const 65536)", "outside of its memory"),
        ("the end of the memory", "(i32.const 65528)", "outside of its memory"),
        ("the last address", "(i32.const -8)", "outside of its memory"),
        ("not aligned", "(i32.const 4100)", "outside of its memory"),
    ] {
        let mut instance = instance(&guest(input));
        for _ in 0..2 {
            assert_eq!(call(&mut instance, 3), Err(CallError::Output), "{what}");
            assert!(instance.detail().contains(detail), "{what}: {}", instance.detail());
        }
    }
    let mut instance = instance(&guest("(unreachable)"));
    assert_eq!(call(&mut instance, 3), Err(CallError::Trap));
    assert_eq!(call(&mut instance, 3), Err(CallError::Trap));
}

#[test]
fn an_answer_that_is_none_is_refused_and_the_next_call_is_answered() {
    // The guest keeps its frames at 4096 and answers the bad batch as it is told.
    for (what, apply, result, detail) in [
        (
            "a result behind the memory",
            "(i32.const 65532)",
            [0; 4],
            "its result is outside",
        ),
        (
            "a result at the last address",
            "(i32.const -1)",
            [0; 4],
            "its result is outside",
        ),
        (
            "no such case",
            "(i32.const 528)",
            [2, 0, 0, 0],
            "neither a frame nor an error",
        ),
        (
            "a frame behind the memory",
            "(i32.const 528)",
            [0, 65_536, 1, 0],
            "its result is outside",
        ),
        (
            "a frame of 32 GiB",
            "(i32.const 528)",
            [0, 8, u32::MAX, 0],
            "its result is outside",
        ),
        (
            "a frame that is not aligned",
            "(i32.const 528)",
            [0, 4_100, 4, 0],
            "not aligned",
        ),
        ("an empty frame", "(i32.const 528)", [0, 4_096, 0, 0], "length"),
        (
            "an error of no case",
            "(i32.const 528)",
            [1, 9, 0, 0],
            "none of the contract's",
        ),
        (
            "an error behind the memory",
            "(i32.const 528)",
            [1, 0, 65_000, 70_000],
            "its error is outside",
        ),
    ] {
        let guest = Guest {
            bad: (Function::Apply, apply.to_owned()),
            result,
            ..guest("(i32.const 4096)")
        };
        let mut instance = instance(&guest);
        for _ in 0..2 {
            assert_eq!(call(&mut instance, 3), Ok(numbers(3)), "{what}: {}", instance.detail());
            assert_eq!(call(&mut instance, BAD_ROWS), Err(CallError::Output), "{what}");
            assert!(instance.detail().contains(detail), "{what}: {}", instance.detail());
        }
    }
}

#[test]
fn a_direct_call_traps_and_ends_at_its_deadline() {
    for (apply, expected) in [
        ("(unreachable)", CallError::Trap),
        ("(loop $forever (br $forever)) (unreachable)", CallError::Deadline),
        ("(drop (memory.grow (i32.const 2000))) (i32.const 528)", CallError::Trap),
    ] {
        let guest = Guest {
            bad: (Function::Apply, apply.to_owned()),
            ..guest("(i32.const 4096)")
        };
        let directory = tempfile::tempdir().expect("a temporary directory");
        let module = guest
            .load_into(&Store::new(directory.path()))
            .unwrap_or_else(|error| panic!("{error}"));
        let limits = CallLimits {
            deadline: Duration::from_millis(200),
            ..CallLimits::SERVING
        };
        let mut instance = module.instantiate(limits).expect("an instance");
        assert_eq!(call(&mut instance, BAD_ROWS), Err(expected), "{apply}");
        assert_eq!(call(&mut instance, 3), Ok(numbers(3)), "{apply}");
    }
}

/// A module that says so and is not what it says is called through the component model.
#[test]
fn another_signature_is_no_direct_module() {
    let guest = Guest {
        fields: format!("(func (export \"{DIRECT_INPUT}\") (param i32) (result i32) (unreachable))"),
        ..Guest::default()
    };
    assert_eq!(call(&mut instance(&guest), 3), Ok(numbers(3)));
}
