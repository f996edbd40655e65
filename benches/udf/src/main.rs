//! `request-context` as a component, and as a function of arrow-udf's WebAssembly runtime, against the same Rust source
//! compiled natively: from columns in memory to columns in memory, one thread, in turns.
//!
//! The peer takes and gives Arrow batches, which are made before anything is timed, in WebAssembly of its own making (the target
//! `wasm32-wasip1`, the same optimisation); its runtime has neither deadlines nor canonical NaNs. The outputs of all three are
//! compared value by value first.
//!
//! `cargo xtask bench udf [--quick] [--json]`

use std::error::Error;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Fields, Schema};
use arrow_udf_runtime::wasm::{FunctionHandle, Runtime};
use clap::Parser;
use request_context::RequestContext;
use serde_json::json;
use unskew::{CallLimits, Instance, Store};
use unskew_benches::{apply_native, output_columns, request_context_inputs};
use unskew_frame::{Column, ColumnType, Value};
use unskew_guest::{Output as _, RowTransform};
use unskew_snapshot_benches::{Figures, Measure, ns_each, processor};
use unskew_tests::component;

const NAME: &str = "request-context";
const ROWS: [usize; 4] = [1, 32, 256, 4_096];
const SIDES: [&str; 3] = ["native", "unskew", "arrow-udf"];
/// About what a turn takes.
const TURN: Duration = Duration::from_millis(5);

#[derive(Parser)]
#[command(about = "A transform as a component and as a function of another WebAssembly runtime")]
struct Options {
    /// Fewer rounds.
    #[arg(long)]
    quick: bool,
    /// One JSON object a line on standard output, the table on standard error.
    #[arg(long)]
    json: bool,
    /// The function as a module, which `cargo xtask bench udf` builds.
    #[arg(long)]
    module: PathBuf,
}

/// The peer, with its function.
struct Peer {
    runtime: Runtime,
    function: FunctionHandle,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let peer = Peer::new(&std::fs::read(&options.module)?)?;
    let mut instance = instance()?;
    let say = |line: String| match options.json {
        true => eprintln!("{line}"),
        false => println!("{line}"),
    };
    say(format!(
        "udf: {NAME}, columns to columns, 1 thread; {}; medians of rounds",
        processor()
    ));
    say("   rows   native ns   unskew ns   ratio   arrow-udf ns    ratio".to_owned());
    let rounds = if options.quick { 11 } else { 101 };
    for rows in ROWS {
        let columns = request_context_inputs(rows);
        let inputs: Vec<&Column> = columns.iter().collect();
        let batch = batch(&columns, rows)?;
        let (mut native, mut served) = (output_columns::<RequestContext>(), output_columns::<RequestContext>());
        apply_native::<RequestContext>(&inputs, rows, &mut native);
        instance.apply(&inputs, rows, &mut served)?;
        if native != served {
            return Err(format!("{rows} rows: the component and its native twin differ").into());
        }
        compare(&native, &peer.call(&batch)?, rows)?;

        let mut by_native = || {
            native.iter_mut().for_each(Column::clear);
            apply_native::<RequestContext>(black_box(&inputs), rows, &mut native);
        };
        let mut by_unskew = || {
            served.iter_mut().for_each(Column::clear);
            instance
                .apply(black_box(&inputs), rows, &mut served)
                .expect("the call succeeds");
        };
        let mut by_peer = || drop(black_box(peer.call(black_box(&batch)).expect("the call succeeds")));
        let calls = [
            calls_of(&mut by_native),
            calls_of(&mut by_unskew),
            calls_of(&mut by_peer),
        ];
        let figures = Figures::take(
            rounds,
            vec![
                Measure::new(SIDES[0], || {
                    ns_each(calls[0], || (0..calls[0]).for_each(|_| by_native()))
                }),
                Measure::new(SIDES[1], || {
                    ns_each(calls[1], || (0..calls[1]).for_each(|_| by_unskew()))
                }),
                Measure::new(SIDES[2], || ns_each(calls[2], || (0..calls[2]).for_each(|_| by_peer()))),
            ],
        );
        let ns = SIDES.map(|side| figures.median_ns(side));
        let ratio = SIDES.map(|side| figures.median_ratio(side, SIDES[0]));
        say(format!(
            "{rows:>7} {:>11.0} {:>11.0} {:>7.2} {:>14.0} {:>8.2}",
            ns[0], ns[1], ratio[1], ns[2], ratio[2]
        ));
        if options.json {
            for (side, name) in SIDES.iter().enumerate() {
                println!(
                    "{}",
                    json!({
                        "bench": "udf", "case": format!("{rows}/{name}"), "rows": rows, "threads": 1, "unit": "ns",
                        "value": ns[side], "ratio": ratio[side], "relative_to": SIDES[0], "machine": processor(),
                    })
                );
            }
        }
    }
    Ok(())
}

fn instance() -> Result<Instance, Box<dyn Error>> {
    let directory = std::env::temp_dir().join(format!("unskew-udf-{}", std::process::id()));
    let modules = unskew_tests::load(&Store::new(&directory), &[component(NAME).to_vec()]);
    // Loaded: nothing of the store is read from here on.
    let _ = std::fs::remove_dir_all(&directory);
    Ok(modules[NAME].instantiate(CallLimits::BATCH)?)
}

/// The calls that take about a turn.
fn calls_of(call: &mut dyn FnMut()) -> usize {
    const TRIED: u32 = 16;
    let start = Instant::now();
    (0..TRIED).for_each(|_| call());
    (TURN.as_secs_f64() / (start.elapsed() / TRIED).as_secs_f64()).ceil() as usize
}

impl Peer {
    fn new(module: &[u8]) -> Result<Self, Box<dyn Error>> {
        let runtime = Runtime::new(module)?;
        let (bigint, text, double) = (DataType::Int64, DataType::Utf8, DataType::Float64);
        let arguments = vec![
            bigint.clone(),
            bigint.clone(),
            bigint,
            text,
            double.clone(),
            double.clone(),
            double,
        ];
        let function = runtime.find_function("request_context", arguments, DataType::Struct(output_fields()))?;
        Ok(Self { runtime, function })
    }

    fn call(&self, batch: &RecordBatch) -> Result<RecordBatch, Box<dyn Error>> {
        Ok(self.runtime.call(&self.function, batch)?)
    }
}

/// The outputs, as the peer has them.
fn output_fields() -> Fields {
    let outputs = output_columns::<RequestContext>();
    let names = <RequestContext as RowTransform>::Output::COLUMNS;
    names
        .iter()
        .zip(&outputs)
        .map(|(column, output)| {
            let data_type = match output.column_type() {
                ColumnType::F64 => DataType::Float64,
                _ => DataType::Int64,
            };
            Field::new(column.name, data_type, true)
        })
        .collect()
}

/// The inputs as an Arrow batch.
fn batch(columns: &[Column], rows: usize) -> Result<RecordBatch, Box<dyn Error>> {
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for column in columns {
        let values = (0..rows).map(|row| column.value(row));
        arrays.push(match column.column_type() {
            ColumnType::F64 => Arc::new(Float64Array::from_iter(values.map(|value| match value {
                Value::F64(value) => Some(value),
                _ => None,
            }))),
            ColumnType::String => Arc::new(StringArray::from_iter(values.map(|value| match value {
                Value::String(value) => Some(value.to_owned()),
                _ => None,
            }))),
            _ => Arc::new(Int64Array::from_iter(values.map(|value| match value {
                Value::I64(value) | Value::Timestamp(value) => Some(value),
                _ => None,
            }))),
        });
    }
    let fields: Vec<Field> = arrays
        .iter()
        .enumerate()
        .map(|(index, array)| Field::new(format!("c{index}"), array.data_type().clone(), true))
        .collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

fn compare(expected: &[Column], batch: &RecordBatch, rows: usize) -> Result<(), String> {
    let outputs = batch
        .column(0)
        .as_struct_opt()
        .ok_or("arrow-udf does not give a struct")?;
    for (index, column) in expected.iter().enumerate() {
        let output = outputs.column(index);
        for row in 0..rows {
            let found = match (output.is_null(row), column.column_type()) {
                (true, _) => Value::Null,
                (_, ColumnType::F64) => Value::F64(output.as_primitive::<Float64Type>().value(row)),
                _ => Value::I64(output.as_primitive::<Int64Type>().value(row)),
            };
            if found != column.value(row) {
                return Err(format!(
                    "output {index}, row {row} of {rows}: arrow-udf gives {found:?}, native {:?}",
                    column.value(row)
                ));
            }
        }
    }
    Ok(())
}
