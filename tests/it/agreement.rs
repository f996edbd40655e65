//! As-of joins are those of DuckDB, Polars and pandas, row by row, where their rules are the same: docs/backfill.md says where
//! they are not.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value as Json;
use unskew_batch::{BackfillOptions, Filter, OutputOptions, Project, backfill};
use unskew_tests::{chain, python, root};

const CASES: usize = 24;

/// The entity's key is an integer in even cases and a text in odd ones.
fn project(case: usize) -> String {
    let key_type = ["i64", "string"][case % 2];
    let view = |name: &str, ttl: &str| {
        format!(
            r#"
[[view]]
name = "{name}"
entity = "user"
source = "history"
{ttl}
features = [{{ name = "n", type = "i64" }}, {{ name = "x", type = "f64" }}, {{ name = "word", type = "string" }}]
"#
        )
    };
    format!(
        r#"
[project]
name = "agreement"

[[entity]]
name = "user"
keys = [{{ name = "user", type = "{key_type}" }}]

[[source]]
name = "history"
path = "history.parquet"
event_time = "t"
{}{}
[[service]]
name = "model"
request = [{{ name = "user", type = "{key_type}", nullable = true }}]
features = ["all:n", "all:x", "all:word", "recent:n", "recent:x", "recent:word"]
"#,
        view("all", ""),
        view("recent", "ttl = \"5s\"")
    )
}

/// The training set of the case in `folder`.
fn train(folder: &Path, case: usize, lag_us: u64) {
    let text = project(case);
    let project = Project::parse(&folder.join("unskew.toml"), &text).unwrap_or_else(|error| panic!("{error}"));
    let options = BackfillOptions {
        service: "model".to_owned(),
        spine: folder.join("spine.parquet"),
        time_column: "t".to_owned(),
        filter: Filter::default(),
        freeze_at: None,
        lag_us,
        statuses: false,
        output: OutputOptions { overwrite: true },
        ..BackfillOptions::default()
    };
    let made = backfill(
        &project,
        &Default::default(),
        &options,
        &folder.join("train.parquet"),
        |_| (),
    );
    made.unwrap_or_else(|error| panic!("case {case}: {}", chain(&error)));
}

/// Runs a task of `tests/peers/agree.py`.
fn agree(task: &str, folder: &Path) -> Json {
    let output = Command::new(python())
        .arg(root().join("tests/peers/agree.py"))
        .arg(task)
        .arg(folder)
        .arg(CASES.to_string())
        .stderr(Stdio::inherit())
        .output()
        .expect("Python runs");
    assert!(output.status.success(), "agree.py {task} failed: it says why above");
    serde_json::from_slice(&output.stdout).expect("its answer is JSON")
}

#[test]
fn joins_are_those_of_duckdb_polars_and_pandas() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let case_folder = |case: usize| folder.path().join(case.to_string());
    (0..CASES).for_each(|case| fs::create_dir(case_folder(case)).expect("a folder in it"));
    agree("make", folder.path());

    (0..CASES).for_each(|case| train(&case_folder(case), case, 0));
    let answer = agree("check", folder.path());
    let differences = &answer["differences"];
    for tool in ["duckdb", "polars", "pandas"] {
        assert_eq!(differences[tool], 0, "{answer:#}");
    }
    let (rows, present) = (answer["rows"].as_u64(), answer["present"].as_u64());
    assert!(Some(10_000) < rows && Some(3_000) < present, "{answer:#}");

    // What is compared can differ: a microsecond's lag hides the rows of the very time.
    (0..CASES).for_each(|case| train(&case_folder(case), case, 1));
    let answer = agree("check", folder.path());
    for tool in ["duckdb", "polars", "pandas"] {
        assert!(answer["differences"][tool].as_u64() > Some(100), "{answer:#}");
    }
}
