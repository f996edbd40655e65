//! Disks that are full and files that may not be read or written. strace(1) breaks the calls.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::resume::{BACKFILL, folder_of, leftovers, made, succeed};
use crate::transcript::{command, text};

/// Runs a backfill in a folder, some of whose calls are answered with an error.
fn run_broken(folder: &Path, options: &[&str], more: &[&str]) -> Output {
    let whole = command(
        folder,
        &[BACKFILL, &["--save-after", "0s", "--out", "out.parquet"], more].concat(),
    );
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-qq"])
        .args(options)
        .arg(whole.get_program())
        .args(whole.get_args());
    for (name, value) in whole.get_envs() {
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    let output = strace.current_dir(folder).output();
    output.expect("strace(1) is needed: install it, or run `cargo xtask test`, which does")
}

/// How often a backfill makes a call.
fn count(folder: &Path, call: &str) -> usize {
    let trace = format!("--trace={call}");
    let output = run_broken(folder, &["--seccomp-bpf", &trace, "-o", "calls"], &["--overwrite"]);
    succeed(&output);
    let calls = fs::read_to_string(folder.join("calls")).unwrap();
    calls.lines().filter(|line| line.contains(&format!(" {call}("))).count()
}

#[test]
fn a_backfill_on_a_full_disk_says_so_and_goes_on_when_there_is_room() {
    let folder = folder_of(3_000);
    let folder = folder.path();
    let whole = [BACKFILL, &["--out", "whole.parquet"]].concat();
    succeed(&command(folder, &whole).output().unwrap());
    let counts = ["write", "fsync", "rename"].map(|call| (call, count(folder, call)));

    let mut first = Some("--overwrite");
    for (call, count) in counts {
        assert!(count > 3, "{call}: {count}");
        for from in [count / 3, count - 1] {
            let inject = format!("--inject={call}:error=ENOSPC:when={from}+");
            let trace = format!("--trace={call}");
            let more = first.take().unwrap_or("--resume");
            let output = run_broken(folder, &["--seccomp-bpf", &trace, &inject, "-o", "/dev/null"], &[more]);
            let said = text(&output.stderr);
            let case = format!("{call} from {from} of {count}: {said}");
            assert!(!said.contains("panicked"), "{case}");
            if output.status.success() {
                // It had less to do than the one that was counted.
                continue;
            }
            assert_eq!(output.status.code(), Some(1), "{case}");
            // Where nothing can be written, nothing can be said.
            if call != "write" {
                assert!(said.contains("No space left on device"), "{case}");
                assert!(said.contains("what was done is kept"), "{case}");
                assert!(said.contains("--resume"), "{case}");
            }
        }
    }
    let resume = [BACKFILL, &["--out", "out.parquet", "--resume"]].concat();
    succeed(&command(folder, &resume).output().unwrap());
    assert!(made(folder, "out.parquet") == made(folder, "whole.parquet"));
    assert_eq!(leftovers(folder), Vec::<String>::new());
}

#[test]
fn what_may_not_be_read_or_written_is_named() {
    let folder = folder_of(40);
    let folder = folder.path();
    let check = |path: &str, call: &str, expected: &str| {
        let inject = format!("--inject={call}:error=EACCES");
        let output = run_broken(folder, &["-P", path, &inject, "-o", "/dev/null"], &[]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(expected) && said.contains("Permission denied"), "{said}");
        assert!(!folder.join("out.parquet").exists());
    };
    check("history.csv", "openat", "cannot read ");
    check("out.parquet.unfinished", "mkdir", "out.parquet.unfinished");
    check("out.parquet.unfinished/lock", "openat", "out.parquet.unfinished/lock");
}
