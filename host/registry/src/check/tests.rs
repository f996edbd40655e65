use super::*;
use crate::contract::SOURCE;
use crate::fixture::{component, component_of};

/// What is wrong with `bytes`, or the name of its world.
fn verdict(bytes: &[u8]) -> String {
    match check_component(bytes) {
        Ok(world) => world.to_string(),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn check(bytes: &[u8], parts: &[&str]) {
    let verdict = verdict(bytes);
    for part in parts {
        assert!(verdict.contains(part), "expected `{part}` in: {verdict}");
    }
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

/// The contract with another text in one place.
fn changed(from: &str, to: &str) -> String {
    assert!(SOURCE.contains(from), "the contract has no `{from}`");
    SOURCE.replace(from, to)
}

#[test]
fn both_worlds_of_the_contract_pass() {
    assert_eq!(check_component(&component("row-transform")), Ok(World::RowTransform));
    assert_eq!(
        check_component(&component("aggregate-transform")),
        Ok(World::AggregateTransform)
    );
}

#[test]
fn what_is_not_a_component_is_named() {
    check(b"", &["not WebAssembly", "unskew build"]);
    check(b"\0as", &["not WebAssembly"]);
    check(b"(component)", &["not WebAssembly", "not its source or its text"]);
    check(b"\x7fELF\x02\x01\x01\0\0\0\0\0", &["not WebAssembly"]);
    check(b"\0asm", &["not valid WebAssembly at offset 4", "cut short"]);
    check(b"\0asm\x0d\0\x02\0", &["not valid WebAssembly at offset 4"]);
    check(&wat("(module)"), &["a core module, not a component", "unskew build"]);
    check(&vec![0; MAX_COMPONENT_BYTES + 1], &["8388609 bytes, more than 8388608"]);
}

#[test]
fn a_package_of_wit_is_no_transform() {
    let mut resolve = wit_parser::Resolve::new();
    let package = resolve.push_source("transform.wit", SOURCE).unwrap();
    let bytes = wit_component::encode(&resolve, package).unwrap();
    assert_eq!(check_component(&bytes), Err(CheckError::WitPackage));
}

#[test]
fn every_cut_is_refused() {
    let whole = component("row-transform");
    for len in 0..whole.len() {
        // What is cut off may be no more than the name of the tool that made it, at a section's end.
        match check_component(&whole[..len]) {
            Ok(_) => assert!(whole[len..].windows(9).any(|part| part == b"producers"), "cut at {len}"),
            Err(CheckError::NotWebAssembly) => assert!(len < 4, "cut at {len}"),
            Err(CheckError::Invalid { offset, .. }) => {
                assert!(offset <= len.max(4), "cut at {len}: {offset}")
            }
            Err(CheckError::NoWorld { .. } | CheckError::MissingExport { .. }) => {}
            Err(other) => panic!("cut at {len}: {other}"),
        }
    }
}

#[test]
fn no_changed_byte_makes_it_panic() {
    let whole = component("aggregate-transform");
    for at in 0..whole.len() {
        for flip in [0x01, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            let _ = check_component(&bytes);
        }
    }
}

#[test]
fn imports_are_all_named() {
    let clock = wat(r#"(component
        (import "wasi:clocks/wall-clock@0.2.0" (instance (export "now" (func (result u64)))))
        (import "wasi:random/random@0.2.0" (instance (export "get-random-u64" (func (result u64))))))"#);
    check(
        &clock,
        &[
            "imports wasi:clocks/wall-clock@0.2.0, wasi:random/random@0.2.0",
            "imports nothing",
            "prediction time as an input",
        ],
    );
    check(
        &wat(r#"(component (import "log" (func (param "line" string))))"#),
        &["imports log;", "take what you need as inputs"],
    );
    check(
        &wat(r#"(component (import "env" (core module (import "" "f" (func)))))"#),
        &["imports env;"],
    );
    let random = changed(
        "world row-transform {",
        "interface dice { roll: func() -> u32; }\nworld row-transform {\n  import dice;",
    );
    check(
        &component_of(&random, "row-transform"),
        &["imports unskew:transform/dice@0.1.0;"],
    );
}

#[test]
fn imports_of_modules_inside_do_not_count() {
    let inside = wat(r#"(component
        (core module $m (import "" "f" (func)))
        (component (import "inner" (func))))"#);
    check(
        &inside,
        &["exports nothing and so neither world of unskew:transform@0.1.0"],
    );
}

#[test]
fn an_import_of_types_alone_is_an_import() {
    check(
        &wat(r#"(component (import "a:b/types@1.0.0" (instance
            (type $frame (list u64))
            (export "frame" (type (eq $frame))))))"#),
        &["imports a:b/types@1.0.0;"],
    );
}

#[test]
fn a_world_must_be_whole_and_only_one() {
    let other = "package a:b@1.0.0;\ninterface c { d: func(); }\nworld w { export c; }\nworld empty {}";
    check(&component_of(other, "w"), &["exports a:b/c@1.0.0 and so neither world"]);
    check(&component_of(other, "empty"), &["exports nothing and so neither world"]);

    let both = format!("{SOURCE}\nworld both {{ export metadata; export row; export aggregate; }}");
    check(&component_of(&both, "both"), &["exports both `row` and `aggregate`"]);

    let half = format!("{SOURCE}\nworld half {{ export row; }}");
    check(
        &component_of(&half, "half"),
        &["does not export unskew:transform/metadata@0.1.0", "row-transform"],
    );

    let version = changed("package unskew:transform@0.1.0;", "package unskew:transform@0.2.0;");
    check(
        &component_of(&version, "row-transform"),
        &["unskew:transform/row@0.2.0", "neither world of unskew:transform@0.1.0"],
    );
}

#[test]
fn types_are_compared_to_the_last_field() {
    #[track_caller]
    fn wrong(world: &str, from: &str, to: &str, parts: &[&str]) {
        check(&component_of(&changed(from, to), world), parts);
    }
    wrong(
        "row-transform",
        "apply: func(inputs: frame) -> result<frame, error>;",
        "apply: func(inputs: list<u8>) -> result<frame, error>;",
        &[
            "exports unskew:transform/row@0.1.0#apply as func(inputs: list<u8>) -> result<list<u64>,",
            "but the contract has func(inputs: list<u64>)",
        ],
    );
    wrong(
        "row-transform",
        "type frame = list<u64>;",
        "type frame = list<u32>;",
        &["#apply as func(inputs: list<u32>)"],
    );
    wrong(
        "row-transform",
        "    frame(string),",
        "    frame(u32),",
        &["variant { frame(u32)"],
    );
    wrong(
        "row-transform",
        "apply: func(inputs:",
        "apply: func(rows:",
        &["#apply as func(rows: list<u64>)"],
    );
    wrong(
        "row-transform",
        "apply: func(",
        "run: func(",
        &["does not export unskew:transform/row@0.1.0#apply"],
    );
    wrong(
        "row-transform",
        "    vector(u32),",
        "    vector(u64),",
        &["/metadata@0.1.0#describe as", "vector(u64)"],
    );
    wrong(
        "row-transform",
        "    nullable: bool,",
        "    optional: bool,",
        &["#describe as", "optional: bool"],
    );
    wrong(
        "aggregate-transform",
        "    hop-us: s64,",
        "",
        &["#describe as", "length-us: s64 }"],
    );
    wrong(
        "aggregate-transform",
        "merge: func(left: frame, right: frame) -> result<frame, error>;",
        "merge: func(left: frame, right: frame) -> frame;",
        &["/aggregate@0.1.0#merge as func(left: list<u64>, right: list<u64>) -> list<u64>,"],
    );
}

#[test]
fn names_of_types_do_not_count() {
    let renamed = SOURCE
        .replace("record descriptor", "record self-description")
        .replace("func() -> descriptor", "func() -> self-description");
    check(&component_of(&renamed, "row-transform"), &["row-transform"]);
}

#[test]
fn relaxed_simd_and_threads_are_refused() {
    check(
        &wat("(component (core module (func (param v128 v128 v128) (result v128)
            local.get 0 local.get 1 local.get 2 f32x4.relaxed_madd)))"),
        &["not valid WebAssembly", "relaxed SIMD"],
    );
    check(
        &wat("(component (core module (memory 1 1 shared)))"),
        &["not valid WebAssembly", "threads"],
    );
}
