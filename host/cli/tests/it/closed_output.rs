use std::fs::File;
use std::process::Stdio;

use crate::shop::shop;
use crate::transcript::{command, text};

const MATERIALIZE: [&str; 7] = [
    "materialize",
    "--view",
    "item_price",
    "--watermark",
    "2024-01-14",
    "--out",
    "p.snapshot",
];

/// The end of a pipe that nobody reads.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let folder = shop();
    let output = command(folder.path(), &MATERIALIZE).stdout(closed()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(!text(&output.stderr).contains("panicked"));
    assert!(folder.path().join("p.snapshot").exists());
    let help = command(folder.path(), &["--help"]).stdout(closed()).output().unwrap();
    assert_eq!(help.status.code(), Some(0), "{}", text(&help.stderr));
}

#[test]
fn nobody_need_listen_to_standard_error() {
    let folder = shop();
    let status = |arguments: &[&str]| {
        let status = command(folder.path(), arguments)
            .stdout(Stdio::null())
            .stderr(closed())
            .status();
        status.unwrap().code()
    };
    assert_eq!(status(&MATERIALIZE), Some(0));
    assert_eq!(status(&MATERIALIZE), Some(1), "it is there already");
    assert_eq!(status(&["check", "absent.wasm"]), Some(1));
}

#[test]
#[cfg(target_os = "linux")]
fn an_answer_that_cannot_be_written_is_a_failure() {
    let folder = shop();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = command(folder.path(), &MATERIALIZE).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("cannot write to standard output"),
        "{}",
        text(&output.stderr)
    );
}
