//! What each part of a call costs: `request-context` as it is served, and with one thing changed at a time.
//!
//! The first group goes through [`unskew::Instance`], columns to columns; the second enters the core module over frames
//! that are written already, so that what is left is the guest's own time. Answers are compared before anything is timed.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use request_context::RequestContext;
use unskew::{CallLimits, Cpu, DIRECT_INPUT, Instance, Store};
use unskew_benches::{apply_native, output_columns, request_context_inputs};
use unskew_frame::{Column, encode};
use unskew_registry::{compile, core_module, put_module, rewritten};
use unskew_tests::{component, runtime};
use wasmtime::{Config, Engine, Memory, Module, Store as EngineStore, TypedFunc};

const NAME: &str = "request-context";
const ROWS: [usize; 4] = [1, 32, 256, 4_096];

/// The component, compiled for `cpu` and instantiated as a host does.
fn instance(component: &[u8], cpu: Cpu) -> Instance {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = Store::new(directory.path());
    let digest = put_module(&store, component).expect("a transform");
    let code = compile(component, cpu).expect("it compiles");
    std::fs::create_dir_all(store.compiled_dir()).expect("a directory of the store");
    std::fs::write(Store::compiled_path(&store.compiled_dir(), &digest, cpu), code).expect("a file of the store");
    let module = runtime().load(&store.compiled_dir(), &digest).expect("it loads");
    module.instantiate(CallLimits::BATCH).expect("an instance")
}

/// The same without the export that lets it be called directly.
fn lifted() -> Vec<u8> {
    let mut component = component(NAME).to_vec();
    let marker = DIRECT_INPUT.as_bytes();
    let at = component.windows(marker.len()).position(|part| part == marker);
    component[at.expect("the SDK's components may be called directly")] = b'U';
    component
}

/// A core module on an engine of its own.
struct Core {
    store: EngineStore<()>,
    memory: Memory,
    input: TypedFunc<(u32, u32), u32>,
    apply: TypedFunc<(u32, u32), u32>,
}

impl Core {
    fn new(module: &[u8], change: impl FnOnce(&mut Config)) -> Self {
        let mut config = unskew::config();
        change(&mut config);
        let engine = Engine::new(&config).expect("an engine");
        let module = Module::new(&engine, module).expect("it compiles");
        let mut store = EngineStore::new(&engine, ());
        store.set_epoch_deadline(u64::MAX / 2);
        let instance = wasmtime::Instance::new(&mut store, &module, &[]).expect("an instance");
        let memory = instance.get_memory(&mut store, "memory").expect("a memory");
        Self {
            memory,
            input: instance.get_typed_func(&mut store, DIRECT_INPUT).expect("the export"),
            apply: instance
                .get_typed_func(&mut store, "unskew:transform/row@0.1.0#apply")
                .expect("the export"),
            store,
        }
    }

    /// Writes a frame: its address and its words.
    fn put(&mut self, words: &[u64]) -> (u32, u32) {
        let count = words.len() as u32;
        let at = self.input.call(&mut self.store, (0, count)).expect("room for it");
        let bytes: &[u8] = bytemuck::cast_slice(words);
        self.memory.write(&mut self.store, at as usize, bytes).expect("it fits");
        (at, count)
    }

    fn call(&mut self, frame: (u32, u32)) -> u32 {
        self.apply.call(&mut self.store, frame).expect("the call succeeds")
    }

    /// The words that a call gave.
    fn answer(&self, at: u32) -> Vec<u64> {
        let memory = self.memory.data(&self.store);
        let word =
            |at: usize| u32::from_le_bytes([memory[at], memory[at + 1], memory[at + 2], memory[at + 3]]) as usize;
        let (start, words) = (word(at as usize + 4), word(at as usize + 8));
        bytemuck::cast_slice(&memory[start..start + 8 * words]).to_vec()
    }
}

fn frame(inputs: &[&Column], rows: usize) -> Vec<u64> {
    let mut words = Vec::new();
    encode(inputs, rows, &mut words).expect("the inputs fit a frame");
    words
}

fn throughput(inputs: &[&Column], rows: usize) -> Throughput {
    Throughput::ElementsAndBytes {
        elements: rows as u64,
        bytes: frame(inputs, rows).len() as u64 * 8,
    }
}

fn served(criterion: &mut Criterion) {
    let best = Cpu::best();
    let mut instances = [
        (format!("direct, {best}"), instance(component(NAME), best)),
        ("direct, baseline".to_owned(), instance(component(NAME), Cpu::Baseline)),
        (format!("component model, {best}"), instance(&lifted(), best)),
    ];
    let mut group = criterion.benchmark_group("served");
    for rows in ROWS {
        let inputs = request_context_inputs(rows);
        let inputs: Vec<&Column> = inputs.iter().collect();
        let (mut outputs, mut native) = (output_columns::<RequestContext>(), output_columns::<RequestContext>());
        apply_native::<RequestContext>(&inputs, rows, &mut native);
        group.throughput(throughput(&inputs, rows));
        group.bench_with_input(BenchmarkId::new("native", rows), &rows, |bencher, rows| {
            bencher.iter(|| apply_native::<RequestContext>(black_box(&inputs), *rows, &mut outputs));
        });
        for (name, instance) in &mut instances {
            let mut call = || {
                outputs.iter_mut().for_each(Column::clear);
                instance
                    .apply(black_box(&inputs), rows, &mut outputs)
                    .expect("the call succeeds");
            };
            call();
            assert_eq!(outputs, native, "{name} and the native twin differ");
            let mut call = || {
                outputs.iter_mut().for_each(Column::clear);
                instance
                    .apply(black_box(&inputs), rows, &mut outputs)
                    .expect("the call succeeds");
            };
            group.bench_with_input(BenchmarkId::new(&*name, rows), &rows, |bencher, _| {
                bencher.iter(&mut call)
            });
        }
    }
    group.finish();
}

fn guest(criterion: &mut Criterion) {
    let published = core_module(component(NAME)).expect("a core module");
    let component = rewritten(component(NAME)).expect("a component");
    let rewritten = core_module(&component).expect("a core module");
    let mut cores = [
        ("NaN where it shows, epochs", Core::new(rewritten, |_| {})),
        (
            "NaN by the engine, epochs",
            Core::new(published, |config| {
                config.cranelift_nan_canonicalization(true);
            }),
        ),
        ("no NaN, epochs", Core::new(published, |_| {})),
        (
            "NaN where it shows, no epochs",
            Core::new(rewritten, |config| {
                config.epoch_interruption(false);
            }),
        ),
        (
            "no NaN, no epochs",
            Core::new(published, |config| {
                config.epoch_interruption(false);
            }),
        ),
    ];
    let mut group = criterion.benchmark_group("guest");
    for rows in ROWS {
        let inputs = request_context_inputs(rows);
        let inputs: Vec<&Column> = inputs.iter().collect();
        let frame = frame(&inputs, rows);
        group.throughput(throughput(&inputs, rows));
        let mut expected = None;
        for (name, core) in &mut cores {
            let place = core.put(&frame);
            let at = core.call(place);
            let answer = core.answer(at);
            assert_eq!(*expected.get_or_insert_with(|| answer.clone()), answer, "{name}");
            group.bench_with_input(BenchmarkId::new(*name, rows), &rows, |bencher, _| {
                bencher.iter(|| core.call(black_box(place)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, served, guest);
criterion_main!(benches);
