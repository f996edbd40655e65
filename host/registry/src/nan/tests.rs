mod generated;

use wasmtime::{Config, Engine, Extern, Instance, Module, Store, Val};

use super::*;
use crate::check::FEATURES;

/// An engine that canonicalises every NaN itself, or one that leaves them all.
fn engine(is_canonicalising: bool) -> Engine {
    let mut config = Config::new();
    config.wasm_relaxed_simd(false);
    config.wasm_wide_arithmetic(true);
    config.cranelift_nan_canonicalization(is_canonicalising);
    Engine::new(&config).unwrap()
}

/// What a module shows of what it computes: the results of its functions called in order, its globals and its memory.
fn run(engine: &Engine, module: &[u8]) -> Vec<String> {
    let module = Module::new(engine, module).unwrap();
    let mut store = Store::new(engine, ());
    let Ok(instance) = Instance::new(&mut store, &module, &[]) else {
        return vec!["it traps at its start".to_owned()];
    };
    let names: Vec<String> = module.exports().map(|export| export.name().to_owned()).collect();
    let mut seen = Vec::new();
    for name in &names {
        let Some(Extern::Func(function)) = instance.get_export(&mut store, name) else {
            continue;
        };
        let function_type = function.ty(&store);
        let zero = |value_type| match value_type {
            wasmtime::ValType::I32 => Val::I32(8),
            wasmtime::ValType::I64 => Val::I64(0x7ff0_0000_0000_0001),
            wasmtime::ValType::F32 => Val::F32(0xffa0_0001),
            wasmtime::ValType::F64 => Val::F64(0xfff4_0000_0000_0001),
            wasmtime::ValType::V128 => Val::V128(0x7ff4_0000_0000_0001_ffa0_0001_3f80_0000.into()),
            wasmtime::ValType::Ref(reference) => Val::null_ref(reference.heap_type()),
        };
        let arguments: Vec<Val> = function_type.params().map(zero).collect();
        let mut results: Vec<Val> = function_type.results().map(|_| Val::I32(0)).collect();
        match function.call(&mut store, &arguments, &mut results) {
            Ok(()) => seen.push(format!("{name} gives {results:?}")),
            Err(error) => seen.push(format!("{name} fails: {}", error.root_cause())),
        }
    }
    for name in &names {
        match instance.get_export(&mut store, name) {
            Some(Extern::Global(global)) => seen.push(format!("{name} is {:?}", global.get(&mut store))),
            Some(Extern::Memory(memory)) => {
                let words = memory.data(&store).chunks(8).enumerate();
                seen.extend(
                    words
                        .filter(|(_, word)| word.iter().any(|byte| *byte != 0))
                        .map(|(index, word)| format!("{name}[{}] {word:02x?}", 8 * index)),
                );
            }
            _ => {}
        }
    }
    seen
}

/// The rewritten module shows on an engine that leaves NaNs what the module shows on one that canonicalises all of them.
fn check(engines: &[Engine; 2], module: &[u8]) {
    let rewritten = canonicalise(module, FEATURES).unwrap();
    Validator::new_with_features(FEATURES).validate_all(&rewritten).unwrap();
    let (expected, found) = (run(&engines[0], module), run(&engines[1], &rewritten));
    if expected != found {
        let text = wasmprinter(module);
        panic!("{expected:#?}\n{found:#?}\n{text}");
    }
}

/// The module's bytes, for a report.
fn wasmprinter(module: &[u8]) -> String {
    module.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn module(body: &str) -> Vec<u8> {
    wat::parse_str(format!(
        r#"(module (memory (export "memory") 1) (global $g (export "g") (mut f64) (f64.const 0))
        (func (export "f") (param $x f64) (param $y f32) (result f64) (local $a f64) (local $b f64) (local $s f32) {body}))"#
    ))
    .unwrap()
}

/// How many canonicalisations the rewrite puts in.
fn count(body: &str) -> usize {
    let module = module(body);
    check(&[engine(true), engine(false)], &module);
    let rewritten = canonicalise(&module, FEATURES).unwrap();
    let constants = |bytes: &[u8]| {
        bytes
            .windows(9)
            .filter(|w| w[0] == 0x44 && w[1..] == CANONICAL_F64)
            .count()
    };
    constants(&rewritten) - constants(&module)
}

#[test]
fn only_what_is_shown_is_canonicalised() {
    for (what, expected, body) in [
        ("a result", 1, "(f64.div (f64.const 0) (f64.const 0))"),
        (
            "arithmetic on arithmetic",
            1,
            "(f64.add (f64.mul (local.get $x) (local.get $x)) (f64.sqrt (local.get $x)))",
        ),
        ("a parameter is passed on", 0, "(local.get $x)"),
        (
            "a comparison",
            0,
            "(f64.convert_i32_s (f64.lt (f64.sqrt (local.get $x)) (f64.const 1)))",
        ),
        (
            "a conversion",
            0,
            "(f64.convert_i32_s (i32.trunc_sat_f64_s (f64.sqrt (local.get $x))))",
        ),
        (
            "a store",
            1,
            "(f64.store (i32.const 8) (f64.sqrt (local.get $x))) (f64.const 0)",
        ),
        (
            "a store of what was loaded",
            0,
            "(f64.store (i32.const 8) (f64.load (i32.const 0))) (f64.const 0)",
        ),
        (
            "bits",
            1,
            "(f64.convert_i64_s (i64.reinterpret_f64 (f64.sqrt (local.get $x))))",
        ),
        (
            "both halves of a product of bits",
            1,
            "(i64.mul_wide_u (i64.const 3) (i64.reinterpret_f64 (f64.sqrt (local.get $x)))) (drop) (f64.convert_i64_u)",
        ),
        (
            "a sign that is taken",
            1,
            "(f64.copysign (f64.const 1) (f64.sqrt (local.get $x)))",
        ),
        ("a sign that is turned", 1, "(f64.neg (f64.sqrt (local.get $x)))"),
        ("a global", 1, "(global.set $g (f64.sqrt (local.get $x))) (f64.const 0)"),
        (
            "a local of arithmetic alone, at its one use that shows it",
            1,
            "(local.set $a (f64.sqrt (local.get $x))) (local.set $a (f64.add (local.get $a) (local.get $a))) (local.get $a)",
        ),
        (
            "a local that also has a loaded value, where arithmetic is assigned to it",
            1,
            "(local.set $a (f64.load (i32.const 0))) (local.set $a (f64.sqrt (local.get $x))) (local.get $a)",
        ),
        (
            "a value below a block",
            1,
            "(f64.sqrt (local.get $x)) (block (drop (i32.const 1))) (block (param f64) (result f64))",
        ),
        (
            "an unreachable value",
            2,
            "(return (f64.sqrt (local.get $x))) (f64.add) (f64.add)",
        ),
    ] {
        assert_eq!(count(body), expected, "{what}");
    }
}

/// A NaN that is not computed keeps its payload, as the specification has it: a copy of bytes may go through floats.
#[test]
fn bits_that_are_only_passed_on_are_kept() {
    let module = module(
        "(local.set $a (f64.reinterpret_i64 (i64.const 0x7ff4000000000001))) \
         (f64.store (i32.const 8) (local.get $a)) (f64.store (i32.const 16) (f64.load (i32.const 8))) (local.get $a)",
    );
    let found = run(&engine(false), &canonicalise(&module, FEATURES).unwrap());
    assert!(
        found.contains(&"memory[16] [01, 00, 00, 00, 00, 00, f4, 7f]".to_owned()),
        "{found:?}"
    );
    check(&[engine(true), engine(false)], &module);
}

#[test]
fn a_module_without_code_stays_as_it_is() {
    let module = wat::parse_str("(module (memory 1))").unwrap();
    assert_eq!(canonicalise(&module, FEATURES).unwrap(), module);
}

#[test]
fn what_is_no_module_is_an_error() {
    let module = module("(f64.sqrt (local.get $x))");
    for end in 8..module.len() {
        // Cut between two sections it may be one.
        let _ = canonicalise(&module[..end], FEATURES);
    }
    assert!(canonicalise(&module[..module.len() - 1], FEATURES).is_err());
}
