//! Every write-side system call of a build fails or is the process's last: what is left is nothing or the whole file.
//!
//! strace(1) breaks the calls of `examples/build_snapshot.rs`, which `cargo test` builds.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use unskew_snapshot::Snapshot;

/// What becomes of a call.
const FAULTS: [&str; 3] = ["error=ENOSPC", "error=EIO", "signal=KILL"];
/// Every call that creates, writes, syncs, names or removes a file.
const CALLS: [&str; 12] = [
    "openat",
    "write",
    "pwrite64",
    "writev",
    "lseek",
    "fsync",
    "fdatasync",
    "linkat",
    "link",
    "rename",
    "unlink",
    "unlinkat",
];

fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().with_file_name("examples").join("build_snapshot");
    assert!(
        program.exists(),
        "{} is missing: run `cargo test`, or `cargo build --examples` before",
        program.display()
    );
    program
}

/// Runs the build under strace with these options of it.
fn strace(options: &[String], path: &Path, rows: u32) -> Output {
    Command::new("strace")
        // Only the calls of interest stop the build.
        .args(["-f", "-qq", "--seccomp-bpf"])
        .args(options)
        .arg(program())
        .arg(path)
        .args([rows.to_string(), "0".to_owned()])
        .output()
        .expect("strace(1) is needed: install it, or run `cargo xtask test`, which does")
}

/// How often a build makes each call.
fn count_calls(folder: &Path, rows: u32) -> Vec<(&'static str, usize)> {
    let log = folder.join("calls");
    let options = [
        format!("--trace={}", CALLS.join(",")),
        "-o".to_owned(),
        log.display().to_string(),
    ];
    let output = strace(&options, &folder.join("counted"), rows);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let log = fs::read_to_string(log).unwrap();
    let count = |call: &str| log.lines().filter(|line| line.contains(&format!(" {call}("))).count();
    CALLS
        .iter()
        .map(|call| (*call, count(call)))
        .filter(|(_, count)| *count > 0)
        .collect()
}

fn temporary_files(folder: &Path) -> usize {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".tmp")).count()
}

/// Breaks each call of a build in each way, one build on each processor.
fn check(rows: u32, min_calls: usize) {
    let folder = tempfile::tempdir().unwrap();
    let calls = count_calls(folder.path(), rows);
    let whole = fs::read(folder.path().join("counted")).unwrap();
    assert_eq!(Snapshot::from_bytes(whole.clone()).unwrap().len(), rows as usize);
    assert!(
        calls.iter().map(|(_, count)| count).sum::<usize>() >= min_calls,
        "{calls:?}"
    );
    for needed in ["openat", "write", "fsync", "linkat", "unlink"] {
        assert!(
            calls.iter().any(|(call, _)| *call == needed),
            "{needed} is not in {calls:?}"
        );
    }

    let failures = AtomicU32::new(0);
    let cases: Vec<(&str, usize, &str)> = calls
        .iter()
        .flat_map(|(call, count)| (1..=*count).flat_map(|number| FAULTS.map(|fault| (*call, number, fault))))
        .collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((call, number, fault)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if check_case(call, *number, fault, rows, &whole) {
                        failures.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert!(failures.into_inner() > 0);
}

/// Breaks one call of a build; whether the build noticed.
fn check_case(call: &str, number: usize, fault: &str, rows: u32, whole: &[u8]) -> bool {
    let case = format!("call {number} of {call}: {fault}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made");
    let inject = format!("--inject={call}:{fault}:when={number}");
    let output = strace(
        &[format!("--trace={call}"), inject, "-o/dev/null".to_owned()],
        &path,
        rows,
    );
    let message = String::from_utf8_lossy(&output.stderr);
    if path.exists() {
        assert!(
            fs::read(&path).unwrap() == whole,
            "{case}: the file is not whole: {message}"
        );
    } else {
        assert!(!output.status.success(), "{case}: there is no file, and no error");
    }
    if fault.starts_with("error") {
        let left = temporary_files(folder.path());
        assert_eq!(left, 0, "{case}: temporary files are left: {message}");
        assert!(!message.contains("panicked"), "{case}: {message}");
    }
    fault.starts_with("error") && !output.status.success()
}

#[test]
fn a_build_in_memory_leaves_nothing_or_the_whole_file() {
    check(200, 10);
}

/// Runs and spools go to files without names.
#[test]
fn a_build_on_disk_leaves_nothing_or_the_whole_file() {
    check(6_000, 60);
}
