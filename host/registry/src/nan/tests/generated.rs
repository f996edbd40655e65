//! Modules from random numbers that do little but compute with floats.

use super::{check, engine};

/// splitmix64
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    fn one_of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// Writes functions as text.
struct Writer {
    random: Random,
    /// The functions that may be called.
    functions: usize,
}

const CONSTANTS: [&str; 9] = ["0", "-0", "1.5", "-3", "inf", "-inf", "nan", "-nan", "1e30"];

impl Writer {
    /// An expression of type f32 or f64.
    fn float(&mut self, width: u32, depth: u32) -> String {
        let f = format!("f{width}");
        if depth == 0 {
            return match self.random.below(6) {
                0 => format!("({f}.const {})", self.random.one_of(&CONSTANTS)),
                1 => format!("({f}.const nan:0x{:x})", 1 + self.random.below(0x3f_ffff)),
                2 => format!("({f}.load {})", self.address()),
                3 => format!("({f}.convert_i32_s (i32.const {}))", self.random.below(9)),
                _ => format!("(local.get ${f}_{})", self.random.below(4)),
            };
        }
        let depth = depth - 1;
        let value = self.float(width, depth);
        match self.random.below(16) {
            0..6 => {
                let operation = self.random.one_of(&["add", "sub", "mul", "div", "min", "max"]);
                format!("({f}.{operation} {value} {})", self.float(width, depth))
            }
            6 => {
                let operation = self.random.one_of(&["sqrt", "ceil", "floor", "trunc", "nearest"]);
                format!("({f}.{operation} {value})")
            }
            7 => format!("({f}.{} {value})", self.random.one_of(&["neg", "abs"])),
            8 => format!("({f}.copysign {value} {})", self.float(width, depth)),
            9 => format!(
                "(select {value} {} {})",
                self.float(width, depth),
                self.condition(depth)
            ),
            10 => {
                let condition = self.condition(depth);
                format!(
                    "(if (result {f}) {condition} (then {value}) (else {}))",
                    self.float(width, depth)
                )
            }
            11 if width == 64 => format!("(f64.promote_f32 {})", self.float(32, depth)),
            11 => format!("(f32.demote_f64 {})", self.float(64, depth)),
            12 => format!("({f}.reinterpret_i{width} (i{width}.reinterpret_{f} {value}))"),
            13 => format!("(local.tee ${f}_{} {value})", self.random.below(4)),
            14 if self.functions > 0 && width == 64 => {
                let callee = self.random.below(self.functions as u64);
                format!("(call $f{callee} {value} {})", self.float(32, depth))
            }
            14 => {
                let condition = self.condition(depth);
                format!(
                    "(block (result {f}) (drop (br_if 0 {value} {condition})) {})",
                    self.float(width, depth)
                )
            }
            _ => {
                let lanes = if width == 64 { "f64x2" } else { "f32x4" };
                format!("({lanes}.extract_lane {} {})", self.random.below(2), self.vector(depth))
            }
        }
    }

    fn vector(&mut self, depth: u32) -> String {
        if depth == 0 {
            return format!("(v128.load {})", self.address());
        }
        let depth = depth - 1;
        let (lanes, width) = [("f64x2", 64), ("f32x4", 32)][self.random.below(2) as usize];
        let value = self.vector(depth);
        match self.random.below(5) {
            0 | 1 => {
                let operation = self
                    .random
                    .one_of(&["add", "sub", "mul", "div", "min", "max", "pmin", "pmax"]);
                format!("({lanes}.{operation} {value} {})", self.vector(depth))
            }
            2 => {
                let operation = self.random.one_of(&["sqrt", "neg", "abs", "floor", "nearest"]);
                format!("({lanes}.{operation} {value})")
            }
            3 => format!("({lanes}.splat {})", self.float(width, depth)),
            _ => format!("({lanes}.replace_lane 1 {value} {})", self.float(width, depth)),
        }
    }

    fn condition(&mut self, depth: u32) -> String {
        let operation = self.random.one_of(&["lt", "eq", "ge", "ne"]);
        let value = self.float(64, depth.min(1));
        format!("(f64.{operation} {value} {})", self.float(64, 0))
    }

    fn address(&mut self) -> String {
        format!("(i32.const {})", 16 * self.random.below(16))
    }

    fn statement(&mut self, depth: u32) -> String {
        let width = [32, 64][self.random.below(2) as usize];
        let (address, value) = (self.address(), self.float(width, 3));
        match self.random.below(9) {
            0 => format!("(f{width}.store {address} {value})"),
            1 => format!("(i{width}.store {address} (i{width}.reinterpret_f{width} {value}))"),
            2 => format!("(v128.store {address} {})", self.vector(2)),
            3 => format!("(global.set $g{width} {value})"),
            4 if depth > 0 => format!(
                "(local.set $i (i32.const 3)) (loop $l {} (br_if $l (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))",
                self.statements(0)
            ),
            5 if depth > 0 => {
                let (condition, then) = (self.condition(2), self.statements(depth - 1));
                format!("(if {condition} (then {then}) (else {}))", self.statements(depth - 1))
            }
            6 if depth > 0 => format!("(if {} (then (return {})))", self.condition(2), self.float(64, 2)),
            _ => format!("(local.set $f{width}_{} {value})", self.random.below(4)),
        }
    }

    fn statements(&mut self, depth: u32) -> String {
        (0..1 + self.random.below(5)).map(|_| self.statement(depth)).collect()
    }

    fn module(seed: u64) -> String {
        let mut writer = Self {
            random: Random(seed),
            functions: 0,
        };
        let mut functions = String::new();
        for index in 0..3 {
            let body = writer.statements(2);
            let result = writer.float(64, 3);
            functions += &format!(
                r#"(func $f{index} (export "f{index}") (param $f64_0 f64) (param $f32_0 f32) (result f64)
                (local $f64_1 f64) (local $f64_2 f64) (local $f64_3 f64) (local $f32_1 f32) (local $f32_2 f32)
                (local $f32_3 f32) (local $i i32) {body} {result})"#
            );
            writer.functions += 1;
        }
        format!(
            r#"(module (memory (export "memory") 1) (data (i32.const 24) "\01\00\00\00\00\00\f4\7f\01\00\a0\ff")
            (global $g32 (export "g32") (mut f32) (f32.const 0)) (global $g64 (export "g64") (mut f64) (f64.const 0))
            {functions})"#
        )
    }
}

#[test]
fn functions_of_floats_show_what_the_engine_shows() {
    let engines = [engine(true), engine(false)];
    for seed in 0..400 {
        let module = wat::parse_str(Writer::module(seed)).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        check(&engines, &module);
    }
}
