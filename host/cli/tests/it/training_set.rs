use std::path::Path;

use serde_json::Value as Json;

use crate::shop::{PRICES, shop, write};
use crate::transcript::{run, text};

/// What the command answers, as JSON.
#[track_caller]
fn answer(folder: &Path, arguments: &[&str]) -> Json {
    let output = run(folder, &[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn backfill(folder: &Path, more: &[&str]) -> Json {
    let arguments = ["backfill", "--service", "pricing", "--spine", "spine.csv", "--out"];
    answer(folder, &[&arguments[..], more].concat())
}

#[test]
fn a_training_set_is_verified_and_compared() {
    let folder = shop();
    let folder = folder.path();
    backfill(folder, &["a.parquet"]);
    let small = backfill(
        folder,
        &["b.parquet", "--memory", "1KiB", "--threads", "3", "--spill-dir", "."],
    );
    assert_eq!(small["rows"], 3);
    assert_eq!(answer(folder, &["verify", "a.parquet"])["inputs"], 2);
    let same = answer(folder, &["diff", "a.parquet", "b.parquet"]);
    assert_eq!(same["differences"], serde_json::json!([]));

    write(folder, "prices.csv", PRICES.replace("9.5", "9.75"));
    let output = run(folder, &["verify", "a.parquet"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("prices.csv has"), "{said}");

    // The price that was changed is older than the one that is read.
    backfill(folder, &["c.parquet"]);
    let moved = answer(folder, &["diff", "a.parquet", "c.parquet"]);
    let kinds: Vec<&Json> = moved["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| &d["kind"])
        .collect();
    assert_eq!(kinds, ["data"]);

    backfill(folder, &["d.parquet", "--lag", "2d"]);
    let moved = answer(folder, &["diff", "c.parquet", "d.parquet"]);
    let told: Vec<(&str, &str)> = moved["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| (d["kind"].as_str().unwrap(), d["what"].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ("question", "lag"),
            ("result", "ties in item_price"),
            ("result", "training set")
        ]
    );
    let output = run(folder, &["diff", "a.parquet", "absent.parquet"]);
    assert_eq!(output.status.code(), Some(1));
}
