use wasmparser::Validator;

use super::*;
use crate::check::FEATURES;

fn component(module: &str) -> Vec<u8> {
    wat::parse_str(format!(
        "(component (core module {module}) (core module $other) (component (core module {module})))"
    ))
    .unwrap()
}

#[test]
fn every_module_is_rewritten_and_the_rest_keeps_its_bytes() {
    let plain = component("(func (param f64) (result f64) (local.get 0))");
    assert_eq!(rewrite(&plain, FEATURES).unwrap(), plain);
    let shown = component("(func (param f64) (result f64) (f64.sqrt (local.get 0)))");
    let rewritten = rewrite(&shown, FEATURES).unwrap();
    Validator::new_with_features(FEATURES).validate_all(&rewritten).unwrap();
    let constant = 0x7ff8_0000_0000_0000_u64.to_le_bytes();
    let count = |bytes: &[u8]| bytes.windows(8).filter(|part| *part == constant).count();
    assert_eq!((count(&shown), count(&rewritten)), (0, 2));
}

#[test]
fn the_module_is_exported_where_it_says_that_it_can_be_called() {
    let one = |exports: &str| wat::parse_str(format!("(component (core module (func {exports})))")).unwrap();
    let name = unskew::DIRECT_MODULE.as_bytes();
    let is_exported = |component: &[u8]| {
        let rewritten = rewrite(component, FEATURES).unwrap();
        Validator::new_with_features(FEATURES).validate_all(&rewritten).unwrap();
        rewritten.windows(name.len()).any(|part| part == name)
    };
    assert!(is_exported(&one(r#"(export "unskew_input")"#)));
    assert!(!is_exported(&one(r#"(export "other")"#)));
    // Which of two it is, nothing says.
    assert!(!is_exported(&component(r#"(func (export "unskew_input"))"#)));
}
