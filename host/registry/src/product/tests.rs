use wasmtime::{Config, Engine, Instance, Module, Store};

use super::*;

/// The function is wrong here, so that a call that is left shows.
const MODULE: &str = r#"(module
    (func $before (result i64) (i64.const 7))
    (func $fold (export "unskew_multiply_fold") (param i64 i64) (result i64) (i64.const -1))
    (func (export "folded") (param i64 i64) (result i64)
        (local $found i64)
        (block (result i64) (call $fold (local.get 0) (local.get 1)))
        (local.set $found)
        (if (result i64) (i64.eqz (local.get 0))
            (then (call $fold (i64.const 0) (i64.const 5)))
            (else (local.get $found))))
    (func (export "before") (param i64 i64) (result i64) (call $before))
)"#;

#[test]
fn calls_become_instructions_and_the_rest_stays() {
    let rewritten = with_wide_products(&wat::parse_str(MODULE).unwrap()).unwrap();
    assert_eq!(with_wide_products(&rewritten).unwrap(), rewritten);
    let mut config = Config::new();
    config.wasm_wide_arithmetic(true);
    let engine = Engine::new(&config).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &Module::new(&engine, &rewritten).unwrap(), &[]).unwrap();
    let [folded, before, itself] = ["folded", "before", MULTIPLY_FOLD]
        .map(|name| instance.get_typed_func::<(u64, u64), u64>(&mut store, name).unwrap());
    assert_eq!(before.call(&mut store, (1, 2)).unwrap(), 7);
    assert_eq!(itself.call(&mut store, (1, 2)).unwrap(), u64::MAX);

    let mut numbers = vec![
        0,
        1,
        2,
        u64::MAX,
        1 << 63,
        (1 << 63) - 1,
        1 << 32,
        (1 << 32) - 1,
        3_600_000_000,
    ];
    let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
    for shift in 0..64 {
        bits = bits.wrapping_mul(0xd134_2543_de82_ef95);
        numbers.push(bits >> shift);
    }
    for a in &numbers {
        for b in &numbers {
            let product = u128::from(*a) * u128::from(*b);
            let expected = product as u64 ^ (product >> 64) as u64;
            assert_eq!(folded.call(&mut store, (*a, *b)).unwrap(), expected, "{a} * {b}");
        }
    }
}

#[test]
fn what_is_not_that_function_stays() {
    for (from, to) in [
        (MULTIPLY_FOLD, "multiply_fold"),
        (
            "(export \"unskew_multiply_fold\") (param i64 i64) (result i64)",
            "(param i64 i64) (result i64) (i64.const -2)) (func (export \"unskew_multiply_fold\") (param i64 i64 i64) (result i64)",
        ),
        (
            "(func $before (result i64)",
            "(memory (export \"unskew_multiply_fold\") 1) (func $before (result i64)",
        ),
    ] {
        let mut text = MODULE.replace(from, to);
        if to.starts_with("(memory") {
            text = text.replace("(export \"unskew_multiply_fold\") (param", "(param");
        }
        let module = wat::parse_str(&text).unwrap();
        assert_eq!(with_wide_products(&module).unwrap(), module, "{to}");
    }
    assert!(with_wide_products(b"\0asm\x01\0\0\0\x0a\x7f").is_err());
}
