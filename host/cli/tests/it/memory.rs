//! What the memory of a backfill is, measured from outside.
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use tempfile::TempDir;

use crate::transcript::{command, run, text};

const FEATURES: usize = 24;
const HISTORY_ROWS: i64 = 1_000_000;
const SPINE_ROWS: i64 = 8_000;
const MEMORY_MIB: u64 = 64;

fn project(features: usize) -> String {
    let list = |each: fn(usize) -> String| (0..features).map(each).collect::<Vec<_>>().join(", ");
    format!(
        r#"[project]
name = "large"

[[entity]]
name = "user"
keys = [{{ name = "user", type = "i64" }}]

[[source]]
name = "history"
path = "history.parquet"
event_time = "t"

[[view]]
name = "history"
entity = "user"
source = "history"
features = [{}]

[[service]]
name = "model"
request = [{{ name = "user", type = "i64" }}]
features = [{}]
"#,
        list(|index| format!("{{ name = \"f{index}\", type = \"f64\" }}")),
        list(|index| format!("\"history:f{index}\"")),
    )
}

/// Rows of `users` users at ascending times, in row groups that are written as they are: a test need not wait for more.
fn write(path: &Path, rows: i64, users: i64, step_us: i64, features: usize) {
    const GROUP_ROWS: i64 = 1 << 16;
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_max_row_group_row_count(Some(GROUP_ROWS as usize));
    let batch = |first: i64| {
        let rows = first..rows.min(first + GROUP_ROWS);
        let times = TimestampMicrosecondArray::from_iter_values(rows.clone().map(|row| row * step_us));
        let mut columns: Vec<(String, ArrayRef)> = vec![
            (
                "user".to_owned(),
                Arc::new(Int64Array::from_iter_values(
                    rows.clone().map(|row| row * 7_919 % users),
                )),
            ),
            ("t".to_owned(), Arc::new(times.with_timezone("UTC"))),
        ];
        let values: ArrayRef = Arc::new(Float64Array::from_iter_values(rows.map(|row| row as f64)));
        columns.extend((0..features).map(|index| (format!("f{index}"), Arc::clone(&values))));
        RecordBatch::try_from_iter(columns).expect("columns of one length")
    };
    let file = File::create(path).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch(0).schema(), Some(properties.build())).expect("a writer");
    for first in (0..rows).step_by(GROUP_ROWS as usize) {
        writer.write(&batch(first)).expect("it can be written");
    }
    writer.close().expect("it can be written");
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("unskew.toml"), project(FEATURES)).expect("a file");
    write(
        &folder.path().join("history.parquet"),
        HISTORY_ROWS,
        30_000,
        1,
        FEATURES,
    );
    // Half of the users, from the first to the last row of the history.
    let step_us = HISTORY_ROWS / SPINE_ROWS;
    write(&folder.path().join("spine.parquet"), SPINE_ROWS, 15_000, step_us, 0);
    folder
}

const BACKFILL: &[&str] = &[
    "backfill",
    "--service",
    "model",
    "--spine",
    "spine.parquet",
    "--time-column",
    "t",
];

/// The most memory that a process has until it ends, in MiB; without the pages of the command's own file, which are many of one
/// that is built for tests.
fn peak_mib(child: &mut Child) -> u64 {
    const NAME: &str = "RssAnon:";
    let path = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0;
    while child.try_wait().expect("it can be waited for").is_none() {
        let status = fs::read_to_string(&path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(NAME));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak_kib = peak_kib.max(kib.unwrap_or(0));
        thread::sleep(Duration::from_millis(2));
    }
    peak_kib >> 10
}

/// Values that are read once their rows are known, and values that are divided with their rows and saved: all of them take three
/// times the budget.
#[test]
fn a_backfill_keeps_to_its_memory() {
    let folder = folder();
    let bytes = HISTORY_ROWS as u64 * (FEATURES as u64 + 2) * 8;
    assert!(
        fs::metadata(folder.path().join("history.parquet"))
            .expect("a file")
            .len()
            > bytes * 9 / 10
    );
    assert!(bytes > (3 * MEMORY_MIB) << 20);
    let memory = format!("{MEMORY_MIB}MiB");
    for (out, save_after) in [("a.parquet", "1h"), ("b.parquet", "0s")] {
        let more = [
            "--memory",
            &memory,
            "--threads",
            "2",
            "--save-after",
            save_after,
            "--out",
            out,
        ];
        let mut command = command(folder.path(), &[BACKFILL, &more].concat());
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it can be run");
        let peak = peak_mib(&mut child);
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(
            peak > 0 && peak <= MEMORY_MIB * 5 / 4,
            "{peak} MiB of {MEMORY_MIB}, {out}"
        );
    }
    let bytes = |name: &str| fs::read(folder.path().join(name)).expect("an output");
    assert!(bytes("a.parquet") == bytes("b.parquet"));
}

#[test]
fn too_little_memory_for_wide_rows_is_refused_with_what_is_enough() {
    const WIDE: usize = 300;
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("unskew.toml"), project(WIDE)).expect("a file");
    write(&folder.path().join("history.parquet"), 100, 10, 1, WIDE);
    write(&folder.path().join("spine.parquet"), SPINE_ROWS, 10, 1, 0);
    let backfill = |memory: &str| {
        let out = ["--memory", memory, "--threads", "2", "--out", "a.parquet"];
        run(folder.path(), &[BACKFILL, &out].concat())
    };
    let output = backfill("100MiB");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("100 MiB are too little memory"), "{said}");
    let words: Vec<&str> = said.split_whitespace().collect();
    let give = words.iter().position(|word| *word == "give").expect("a word of advice");
    let output = backfill(&format!("{}MiB", words[give + 1]));
    assert!(output.status.success(), "{}", text(&output.stderr));
}
