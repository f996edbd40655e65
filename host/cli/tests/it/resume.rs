//! Backfills that are killed, stopped and resumed.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use tempfile::TempDir;

use crate::transcript::{command, run, text};

const PROJECT: &str = r#"[project]
name = "big"

[[entity]]
name = "user"
keys = [{ name = "user", type = "i64" }]

[[source]]
name = "history"
path = "history.csv"
event_time = "t"

[[source]]
name = "other"
path = "other.csv"
event_time = "t"

[[view]]
name = "history"
entity = "user"
source = "history"
features = [{ name = "a", type = "f64" }, { name = "b", type = "string" }]

[[view]]
name = "other"
entity = "user"
source = "other"
ttl = "30d"
features = [{ name = "a", type = "i64" }]

[[service]]
name = "model"
request = [{ name = "user", type = "i64" }]
features = ["history:a", "history:b", "other:a"]
"#;

/// A project of some rows: enough for several row groups and shares.
fn folder() -> TempDir {
    folder_of(12_000)
}

/// A project of so many rows of history.
pub fn folder_of(rows: u64) -> TempDir {
    const START_US: u64 = 1_704_067_200_000_000;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: String| fs::write(folder.path().join(name), text).expect("a file");
    let mixed = |row: u64, salt: u64| (row ^ salt << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
    let time = |row: u64| START_US + row * 7_000_000;
    // Wide rows make small row groups.
    let long = "x".repeat(3_000);
    let mut spine = "prediction_time,user,label,note\n".to_owned();
    let mut history = "t,user,a,b\n".to_owned();
    let mut other = "t,user,a\n".to_owned();
    for row in 0..rows {
        let user = |salt| mixed(row, salt) % 500;
        if row % 4 == 0 {
            spine += &format!("{},{},{},{long}\n", time(row), user(1), row % 2);
        }
        history += &format!(
            "{},{},{}.5,text {}\n",
            time(row),
            user(2),
            mixed(row, 3) % 100,
            mixed(row, 4) % 50
        );
        other += &format!("{},{},{}\n", time(row), user(5), mixed(row, 6) % 10);
    }
    write("unskew.toml", PROJECT.to_owned());
    write("spine.csv", spine);
    write("history.csv", history);
    write("other.csv", other);
    folder
}

pub const BACKFILL: &[&str] = &[
    "backfill",
    "--service",
    "model",
    "--spine",
    "spine.csv",
    "--memory",
    "1MiB",
    "--threads",
    "2",
];

fn backfill(folder: &Path, out: &str, more: &[&str]) -> Command {
    let arguments = [BACKFILL, &["--save-after", "0s", "--out", out], more].concat();
    command(folder, &arguments)
}

fn start(mut command: Command) -> Child {
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command can be run")
}

/// The bytes of a training set and its manifest, without the folder's name.
pub fn made(folder: &Path, out: &str) -> (Vec<u8>, String) {
    let manifest = fs::read_to_string(folder.join(format!("{out}.manifest.json"))).expect("a manifest");
    (fs::read(folder.join(out)).expect("a training set"), manifest)
}

#[track_caller]
pub fn succeed(output: &Output) {
    assert!(output.status.success(), "{}", text(&output.stderr));
}

pub fn leftovers(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    names
        .filter(|name| name.contains("unfinished") || name.starts_with(".unskew"))
        .collect()
}

#[test]
fn a_backfill_that_is_killed_is_resumed_to_the_byte() {
    let folder = folder();
    let folder = folder.path();
    let before = Instant::now();
    succeed(&backfill(folder, "whole.parquet", &[]).output().expect("it can be run"));
    let took = before.elapsed();
    let expected = made(folder, "whole.parquet");

    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let (mut kills, mut resumed) = (0, 0);
    while kills < 20 {
        let out = format!("killed-{}.parquet", kills % 3);
        let spill: &[&str] = if kills % 2 == 0 { &[] } else { &["--spill-dir", "."] };
        let mut child = start(backfill(folder, &out, &[&["--resume"], spill].concat()));
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        thread::sleep(took.mul_f64((seed >> 40) as f64 / (1 << 24) as f64));
        kills += 1;
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        // Some are killed again and again, some are let finish.
        if seed >> 62 == 0 || kills == 20 {
            resumed += u32::from(folder.join(format!("{out}.unfinished")).exists());
            succeed(
                &backfill(folder, &out, &[&["--resume"], spill].concat())
                    .output()
                    .expect("it can be run"),
            );
            assert!(made(folder, &out) == expected, "after {kills} kills");
            fs::remove_file(folder.join(&out)).expect("it can be removed");
        }
    }
    assert!(resumed > 0);
    for out in 0..3 {
        let out = format!("killed-{out}.parquet");
        succeed(
            &backfill(folder, &out, &["--resume", "--spill-dir", "."])
                .output()
                .expect("it can be run"),
        );
        assert!(made(folder, &out) == expected);
        // Once more: it is done.
        succeed(&backfill(folder, &out, &["--resume"]).output().expect("it can be run"));
    }
    assert_eq!(leftovers(folder), Vec::<String>::new());
}

/// One that was killed while it removed what it had kept found itself done when it was resumed, and left the rest for ever.
#[test]
fn what_a_finished_backfill_could_not_remove_is_removed_when_it_is_resumed() {
    let folder = folder();
    let folder = folder.path();
    succeed(&backfill(folder, "out.parquet", &[]).output().expect("it can be run"));
    let expected = made(folder, "out.parquet");
    let spill = folder.join(".unskew-left");
    let unfinished = folder.join("out.parquet.unfinished");
    for directory in [&spill, &unfinished] {
        fs::create_dir(directory).expect("it can be made");
    }
    fs::write(spill.join("result-0-0"), "left").expect("it can be written");
    fs::write(unfinished.join("spills.json"), format!("[{spill:?}]")).expect("it can be written");
    succeed(
        &backfill(folder, "out.parquet", &["--resume"])
            .output()
            .expect("it can be run"),
    );
    assert!(made(folder, "out.parquet") == expected);
    assert_eq!(leftovers(folder), Vec::<String>::new());
}

/// Kills a backfill once it has joined its first view.
fn kill_late(folder: &Path, out: &str) {
    let unfinished = folder.join(format!("{out}.unfinished"));
    let mut child = start(backfill(folder, out, &[]));
    let has_joined = || {
        let entries = fs::read_dir(&unfinished).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("result-1-"))
            .count()
            > 0
    };
    while !has_joined() {
        assert!(child.try_wait().expect("it can be asked").is_none(), "it ended");
        thread::sleep(Duration::from_millis(1));
    }
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
}

#[track_caller]
fn refused(folder: &Path, more: &[&str], expected: &str) {
    let output = run(
        folder,
        &[BACKFILL, &["--save-after", "0s", "--out", "out.parquet"], more].concat(),
    );
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains(expected), "{said}");
}

#[test]
fn what_is_not_the_same_backfill_is_not_resumed() {
    let folder = folder();
    let folder = folder.path();
    kill_late(folder, "out.parquet");
    refused(folder, &[], "was not finished");
    refused(
        folder,
        &["--resume", "--lag", "1h"],
        "the lag was 0 us, now it is 3600000000 us",
    );
    refused(
        folder,
        &["--resume", "--statuses"],
        "whether statuses are written was false",
    );
    refused(
        folder,
        &["--resume", "--where", "label = 1"],
        "the condition was none, now it is label = 1",
    );

    let project = folder.join("unskew.toml");
    fs::write(&project, PROJECT.replace("30d", "31d")).expect("a file");
    refused(folder, &["--resume"], "the project defines something differently");
    fs::write(&project, PROJECT).expect("a file");

    let history = folder.join("history.csv");
    let bytes = fs::read(&history).expect("a file");
    let last = bytes[..bytes.len() - 1].iter().rposition(|byte| *byte == b'\n');
    fs::write(&history, &bytes[..=last.expect("lines")]).expect("a file");
    refused(folder, &["--resume"], "history.csv was written since");

    // What is there is not touched by any of these.
    fs::write(&history, &bytes).expect("a file");
    refused(folder, &["--resume"], "history.csv was written since");
    succeed(
        &backfill(folder, "out.parquet", &["--overwrite"])
            .output()
            .expect("it can be run"),
    );
    succeed(&backfill(folder, "other.parquet", &[]).output().expect("it can be run"));
    assert!(made(folder, "out.parquet").0 == made(folder, "other.parquet").0);
}

#[test]
fn what_is_damaged_since_is_made_again() {
    let folder = folder();
    let folder = folder.path();
    kill_late(folder, "out.parquet");
    let mut damaged = 0;
    for entry in fs::read_dir(folder.join("out.parquet.unfinished")).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if name.starts_with("result-0") {
            let mut bytes = fs::read(&path).expect("a file");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(&path, bytes).expect("a file");
            damaged += 1;
        }
    }
    assert!(damaged > 1);
    succeed(
        &backfill(folder, "out.parquet", &["--resume"])
            .output()
            .expect("it can be run"),
    );
    succeed(&backfill(folder, "whole.parquet", &[]).output().expect("it can be run"));
    assert!(made(folder, "out.parquet") == made(folder, "whole.parquet"));
}

#[cfg(unix)]
#[test]
fn a_backfill_that_is_interrupted_says_how_to_go_on() {
    let folder = folder();
    let folder = folder.path();
    let unfinished = folder.join("out.parquet.unfinished/job.json");
    let mut child = start(backfill(folder, "out.parquet", &["--progress", "json"]));
    while !unfinished.exists() {
        let ended = child.try_wait().expect("it can be asked");
        assert!(ended.is_none(), "it ended before it could be interrupted: {ended:?}");
        thread::sleep(Duration::from_millis(1));
    }
    let stop = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(stop.expect("kill can be run").success());
    let output = child.wait_with_output().expect("it ends");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("--out out.parquet --progress json --resume"), "{said}");
    let told: Vec<Json> = said
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    assert!(told.iter().all(|line| line["rows_all"].is_u64()), "{said}");

    succeed(
        &backfill(folder, "out.parquet", &["--resume"])
            .output()
            .expect("it can be run"),
    );
    succeed(&backfill(folder, "whole.parquet", &[]).output().expect("it can be run"));
    assert!(made(folder, "out.parquet") == made(folder, "whole.parquet"));
}
