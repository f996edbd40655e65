//! A component's call against the same Rust source compiled natively: columns to columns, one thread.
//!
//! Before anything is timed, the outputs of both are compared bit for bit.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use request_context::RequestContext;
use unskew::{CallLimits, Instance, Store};
use unskew_benches::{apply_native, output_columns, request_context_inputs};
use unskew_frame::{Column, encode};
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

fn row_transform(criterion: &mut Criterion) {
    let mut instance = instance("request-context");
    let mut group = criterion.benchmark_group("request-context");
    for rows in [1, 32, 256, 4_096] {
        let inputs = request_context_inputs(rows);
        let inputs: Vec<&Column> = inputs.iter().collect();
        let (mut served, mut native) = (output_columns::<RequestContext>(), output_columns::<RequestContext>());
        instance.apply(&inputs, rows, &mut served).expect("the call succeeds");
        apply_native::<RequestContext>(&inputs, rows, &mut native);
        assert_eq!(served, native, "the component and its native twin differ");

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
