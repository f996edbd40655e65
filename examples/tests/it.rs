//! The examples do what they say.

use std::process::Command;

/// What an example prints.
fn printed(name: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_unskew-examples"))
        .arg(name)
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

#[test]
fn the_minimal_host_ranks() {
    let text = printed("minimal");
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with('[')).collect();
    assert_eq!(rows.len(), 3, "{text}");
    assert!(rows[0].starts_with("[10.5, "), "{text}");
    assert!(text.contains("item:price item_ctr:ctr_1d"), "{text}");
    assert!(!text.contains("NaN"), "{text}");
}

#[test]
fn generations_swap_under_load() {
    let text = printed("hot-swap");
    for line in [
        "serving generation 1",
        "serving generation 3",
        "rolled back to generation 2",
        " 0 failed",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    assert!(!text.contains("\n0 requests served"), "{text}");
}

#[test]
fn a_failing_transform_falls_back() {
    let text = printed("fallback");
    for line in [
        "item 1  cost per click: present",
        "item 8  cost per click: defaulted",
        "I64(500000) (defaulted)",
        "item 8  failed: `cost` (module `cost-per-click`)",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
}
