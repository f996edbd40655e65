//! A host among what goes wrong around it: other processes, files that are gone, closed or changed, a full disk, a small stack.
//! What must not take the tests with it, or needs other rights, runs as a process of its own: `src/bin/actor.rs`.

#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use unskew::{Cpu, Digest, Host, HostOptions, ModuleError, Store, decode_artefact};
use unskew_registry::{compile_into, prepare, put_module};
use unskew_tests::hostile::Guest;
use unskew_tests::stamped::{Answer, ITEMS, answer, fill, publish, request};
use unskew_tests::{chain, patient, runtime};

use crate::operate::wait_until;

const ACTOR: &str = env!("CARGO_BIN_EXE_actor");
const ROWS: u64 = 500;

/// A store of generations 1 to `count`.
fn published(count: u64) -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = Store::new(directory.path().join("store"));
    fs::create_dir(store.root()).expect("a directory for the store");
    for generation in 1..=count {
        assert_eq!(
            publish(&store, generation, ROWS).expect("it can be published"),
            generation
        );
    }
    (directory, store)
}

fn act(role: &str, store: &Store, number: u64) -> Command {
    let mut command = Command::new(ACTOR);
    command.arg(role).arg(store.root()).arg(number.to_string());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

#[track_caller]
fn assert_success(output: &Output) {
    assert!(
        output.status.success(),
        "{}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

/// One answer of every value, of the generation that is served.
#[track_caller]
fn assert_serves(host: &Host, generation: u64) {
    let mut request = request(host).expect("the service is published");
    let rows = [7; ITEMS + 1];
    fill(&mut request, &rows).expect("it fits");
    assert_eq!(answer(&mut host.session(), &request, &rows), Answer::Right);
    assert_eq!(host.current(), generation);
}

#[test]
fn a_small_stack_evaluates_or_says_so() {
    let (_directory, store) = published(1);
    assert_success(&act("stack", &store, 0).output().expect("the actor runs"));
}

#[test]
fn a_thousand_swaps_leave_memory_as_it_was() {
    let (_directory, store) = published(2);
    assert_success(&act("swap", &store, 1_000).output().expect("the actor runs"));
}

/// Root may read everything, unless it gives that up.
#[test]
fn what_may_not_be_read_is_named_and_the_last_good_generation_serves() {
    let (_directory, store) = published(2);
    let mut setpriv = Command::new("setpriv");
    setpriv.args([
        "--bounding-set",
        "-dac_override,-dac_read_search",
        "--inh-caps",
        "-all",
        ACTOR,
        "deny",
    ]);
    setpriv.arg(store.root());
    let is_root = fs::metadata("/proc/self").is_ok_and(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata) == 0);
    let mut command = if is_root { setpriv } else { act("deny", &store, 0) };
    assert_success(&command.output().expect("the actor runs, under setpriv(1) for root"));
}

#[test]
fn processes_share_a_store_and_its_native_code() {
    let (_directory, store) = published(1);
    let last = 8;
    let hosts = [(); 2].map(|()| act("serve", &store, last).spawn().expect("the actor runs"));
    let others = [("publish", last - 1), ("prepare", 12), ("prepare", 12)]
        .map(|(role, number)| act(role, &store, number).spawn().expect("the actor runs"));
    for other in others {
        assert_success(&other.wait_with_output().expect("it ends"));
    }
    let manifest = store.manifest(last).expect("it is published");
    prepare(&store, &store.compiled_dir(), &manifest, Cpu::best(), |_, _, _| ()).expect("it can be prepared");
    for host in hosts {
        assert_success(&host.wait_with_output().expect("it ends"));
    }
    let left: Vec<_> = temporary_files(store.root());
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_store_that_is_removed_does_not_show() {
    let (_directory, store) = published(2);
    let options = HostOptions {
        follow: Some(Duration::from_millis(20)),
        ..patient()
    };
    let host = Host::open(store.root(), options).unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_serves(&host, 2);
    fs::remove_dir_all(store.root()).expect("a store can be removed");
    wait_until("it is missed", || host.health().failure.is_some());
    assert!(!host.is_up_to_date());
    assert_serves(&host, 2);
    // A new one in its place, which counts from 1.
    fs::create_dir(store.root()).expect("a directory for the store");
    publish(&store, 1, ROWS).expect("it can be published");
    wait_until("generation 1 is served", || host.current() == 1);
    assert_serves(&host, 1);
}

/// Whichever byte of native code is changed, it is never loaded, and compiled again when asked for.
#[test]
fn changed_native_code_is_never_loaded() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = Store::new(directory.path());
    let component = Guest::default().component();
    let digest: Digest = put_module(&store, &component).expect("it keeps to the contract");
    let compiled = store.compiled_dir();
    let path = Store::compiled_path(&compiled, &digest, Cpu::best());
    compile_into(&store, &compiled, &digest).expect("it compiles");
    let good = fs::read(&path).expect("it is there");
    assert!(decode_artefact(&digest, &good).is_ok());
    let header = 0..96;
    for at in header.chain((96..good.len()).step_by(37)).chain([good.len() - 1]) {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        assert!(decode_artefact(&digest, &bytes).is_err(), "byte {at}");
        // Through files now and then: it is the same check.
        if at % 11 != 0 {
            continue;
        }
        fs::write(&path, &bytes).expect("the cache can be written");
        let error = runtime().load(&compiled, &digest).expect_err("it is changed");
        assert!(
            matches!(error, ModuleError::Refused { is_artefact: true, .. }),
            "byte {at}: {error}"
        );
        let again = compile_into(&store, &compiled, &digest).expect("it compiles");
        assert!(!again.is_cached, "byte {at}");
        assert_eq!(fs::read(&path).expect("it is there"), good, "byte {at}");
    }
    for len in [0, 1, 95, 96, good.len() / 2, good.len() - 1] {
        assert!(decode_artefact(&digest, &good[..len]).is_err(), "{len} bytes");
    }
    runtime().load(&compiled, &digest).expect("it is whole again");
}

/// Every file below a directory that is not published, or is to be one day.
fn temporary_files(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            found.extend(temporary_files(&entry.path()));
        } else if name.starts_with(".tmp") || name.ends_with(".tmp") || name.ends_with(".draft") {
            found.push(name);
        }
    }
    found
}

/// From some call on there is no room: nothing half published is ever current, and what is there serves.
#[test]
fn a_full_disk_stops_publishers_and_no_host() {
    const CALLS: [&str; 6] = ["write", "fsync", "linkat", "link", "rename", "mkdir"];
    let (directory, store) = published(1);
    let strace = |options: &[String], role: &str, number: u64| {
        Command::new("strace")
            .args(["-f", "-qq", "--seccomp-bpf"])
            .args(options)
            .arg(ACTOR)
            .arg(role)
            .arg(store.root())
            .arg(number.to_string())
            .output()
            .expect("strace(1) is needed: install it, or run `cargo xtask test`, which does")
    };
    let log = directory.path().join("calls");
    let counted = strace(
        &[
            format!("--trace={}", CALLS.join(",")),
            "-o".to_owned(),
            log.display().to_string(),
        ],
        "publish",
        1,
    );
    assert_success(&counted);
    let log = fs::read_to_string(log).expect("strace wrote it");
    let mut refused = 0;
    for call in CALLS {
        let count = log.lines().filter(|line| line.contains(&format!(" {call}("))).count();
        for first in 1..=count.min(8) {
            let before = store
                .current()
                .expect("the store can be read")
                .expect("it has generations");
            let full = [
                format!("--trace={call}"),
                format!("--inject={call}:error=ENOSPC:when={first}+"),
                "-o/dev/null".to_owned(),
            ];
            let output = strace(&full, "publish", 1);
            let case = format!(
                "{call} from {first} of {count} on: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            assert!(!case.contains("panicked"), "{case}");
            let current = store
                .current()
                .expect("the store can be read")
                .expect("it has generations");
            refused += usize::from(!output.status.success());
            // Where nothing can be written, nothing can be said.
            assert!(
                output.status.success() || call == "write" || case.contains("No space left"),
                "{case}"
            );
            assert!(!output.status.success() || current > before, "{case}");
            let host = Host::open(store.root(), patient()).unwrap_or_else(|error| panic!("{case}: {}", chain(&error)));
            assert_serves(&host, current);
            let left = temporary_files(store.root());
            assert!(left.is_empty(), "{case}: {left:?}");
        }
    }
    assert!(refused > 10, "{refused} publications failed");
}
