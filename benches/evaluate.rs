//! A component's call against the same Rust source compiled natively: columns to columns, one thread.
//!
//! Before anything is timed, the outputs of both are compared bit for bit. Then both take turns of half a millisecond, for the
//! clock of a shared machine moves within seconds: medians of the turns, of their ratios and of their differences. Criterion
//! follows with its statistics of either alone.
//!
//! `cargo bench -p unskew-benches --bench evaluate`; with `UNSKEW_CALLS=component:1:100000` that side alone makes so many calls
//! of so many rows, for a profiler.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use request_context::RequestContext;
use unskew::{CallLimits, Instance, Store};
use unskew_benches::{apply_native, output_columns, request_context_inputs};
use unskew_frame::{Column, encode};
use unskew_snapshot_benches::{Figures, ns_each};
use unskew_tests::{component, runtime};

fn instance(name: &str) -> Instance {
    let directory = std::env::temp_dir().join(format!("unskew-bench-{}", std::process::id()));
    let store = Store::new(&directory);
    let modules = unskew_tests::load(&store, &[component(name).to_vec()]);
    // Loaded: nothing of the store is read from here on.
    let _ = std::fs::remove_dir_all(&directory);
    runtime();
    modules[name]
        .instantiate(CallLimits::BATCH)
        .expect("the module can be instantiated")
}

const ROWS: [usize; 4] = [1, 32, 256, 4_096];
/// Turns of each side.
const TURNS: usize = 400;
const TURN: Duration = Duration::from_micros(500);

/// Both sides in turns.
fn in_turns(rows: usize, mut native: impl FnMut(), mut component: impl FnMut()) {
    let calls_of = |call: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..64).for_each(|_| call());
        (64.0 * TURN.as_secs_f64() / start.elapsed().as_secs_f64()).ceil() as usize
    };
    let calls = [calls_of(&mut native), calls_of(&mut component)];
    let mut taken = [Vec::new(), Vec::new()];
    for _ in 0..TURNS {
        taken[0].push(ns_each(calls[0], || (0..calls[0]).for_each(|_| native())));
        taken[1].push(ns_each(calls[1], || (0..calls[1]).for_each(|_| component())));
    }
    let mut differences: Vec<f64> = taken[1].iter().zip(&taken[0]).map(|(ns, native)| ns - native).collect();
    differences.sort_by(f64::total_cmp);
    let best = taken
        .each_ref()
        .map(|ns| ns.iter().copied().fold(f64::INFINITY, f64::min));
    let [native, component] = taken;
    let figures = Figures::given([("native".to_owned(), native), ("component".to_owned(), component)]);
    println!(
        "in turns, {rows} rows: native {:.0} ns, component {:.0} ns, ratio {:.2}, difference {:.0} ns; the best of each {:.0} and {:.0} ns",
        figures.median_ns("native"),
        figures.median_ns("component"),
        figures.median_ratio("component", "native"),
        differences[TURNS / 2],
        best[0],
        best[1],
    );
}

/// For a profiler: the calls that the environment asks for, and nothing else.
fn calls_alone(instance: &mut Instance) -> Option<()> {
    let asked = std::env::var("UNSKEW_CALLS").ok()?;
    let mut parts = asked.split(':');
    let is_native = parts.next()? == "native";
    let (rows, calls): (usize, usize) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let inputs = request_context_inputs(rows);
    let inputs: Vec<&Column> = inputs.iter().collect();
    let mut outputs = output_columns::<RequestContext>();
    for _ in 0..calls {
        outputs.iter_mut().for_each(Column::clear);
        match is_native {
            true => apply_native::<RequestContext>(black_box(&inputs), rows, &mut outputs),
            false => instance.apply(&inputs, rows, &mut outputs).expect("the call succeeds"),
        }
    }
    Some(())
}

fn row_transform(criterion: &mut Criterion) {
    let mut instance = instance("request-context");
    if calls_alone(&mut instance).is_some() {
        return;
    }
    let mut group = criterion.benchmark_group("request-context");
    for rows in ROWS {
        let inputs = request_context_inputs(rows);
        let inputs: Vec<&Column> = inputs.iter().collect();
        let (mut served, mut native) = (output_columns::<RequestContext>(), output_columns::<RequestContext>());
        instance.apply(&inputs, rows, &mut served).expect("the call succeeds");
        apply_native::<RequestContext>(&inputs, rows, &mut native);
        assert_eq!(served, native, "the component and its native twin differ");

        in_turns(
            rows,
            || {
                native.iter_mut().for_each(Column::clear);
                apply_native::<RequestContext>(black_box(&inputs), rows, &mut native);
            },
            || {
                served.iter_mut().for_each(Column::clear);
                instance
                    .apply(black_box(&inputs), rows, &mut served)
                    .expect("the call succeeds");
            },
        );

        let mut frame = Vec::new();
        encode(&inputs, rows, &mut frame).expect("the inputs fit a frame");
        group.throughput(Throughput::ElementsAndBytes {
            elements: rows as u64,
            bytes: frame.len() as u64 * 8,
        });
        group.bench_with_input(BenchmarkId::new("native", rows), &rows, |bencher, rows| {
            bencher.iter(|| {
                native.iter_mut().for_each(Column::clear);
                apply_native::<RequestContext>(black_box(&inputs), *rows, &mut native);
            });
        });
        group.bench_with_input(BenchmarkId::new("component", rows), &rows, |bencher, rows| {
            bencher.iter(|| {
                served.iter_mut().for_each(Column::clear);
                instance
                    .apply(black_box(&inputs), *rows, &mut served)
                    .expect("the call succeeds");
            });
        });
    }
    group.finish();
}

criterion_group!(benches, row_transform);
criterion_main!(benches);
