use std::fs;
use std::path::Path;

use crate::shop::{shop, write};
use crate::transcript::{Transcript, run};

#[test]
fn a_damaged_snapshot_is_refused_and_named() {
    let folder = shop();
    materialize(folder.path());
    let whole = fs::read(folder.path().join("price.snapshot")).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for (name, content) in [
        ("half.snapshot", whole[..whole.len() / 2].to_vec()),
        ("flipped.snapshot", flipped),
        ("empty.snapshot", Vec::new()),
        (
            "text.snapshot",
            b"not a snapshot, and long enough to have had a header".repeat(100),
        ),
    ] {
        write(folder.path(), name, content);
    }
    let mut transcript = Transcript::new(folder.path());
    for name in ["half", "flipped", "empty", "text", "absent"] {
        transcript.run(1, &["snapshot", "verify", &format!("{name}.snapshot")]);
    }
    transcript
        .run(1, &["snapshot", "inspect", "half.snapshot"])
        .run(1, &["snapshot", "get", "half.snapshot", "1"])
        .run(1, &["snapshot", "verify", "."])
        .expect("bad-snapshot");
}

#[test]
fn every_bit_of_a_snapshot_counts() {
    let folder = shop();
    materialize(folder.path());
    let whole = fs::read(folder.path().join("price.snapshot")).unwrap();
    // A few places of a file of a few kilobytes; the library's own tests flip them all.
    for offset in (0..whole.len()).step_by(whole.len() / 16) {
        let mut flipped = whole.clone();
        flipped[offset] ^= 0x10;
        write(folder.path(), "flipped.snapshot", flipped);
        let output = run(folder.path(), &["snapshot", "verify", "flipped.snapshot"]);
        assert_eq!(output.status.code(), Some(1), "offset {offset}");
    }
}

#[test]
fn a_key_is_read_as_its_type() {
    let folder = shop();
    materialize(folder.path());
    Transcript::new(folder.path())
        .run(0, &["snapshot", "inspect", "price.snapshot"])
        .run(0, &["snapshot", "get", "price.snapshot", "1"])
        .run(0, &["snapshot", "get", "price.snapshot", "2", "--json"])
        .run(0, &["snapshot", "get", "price.snapshot", "-7"])
        .run(0, &["snapshot", "get", "price.snapshot", "3", "--json"])
        .run(1, &["snapshot", "get", "price.snapshot", "one"])
        .run(1, &["snapshot", "get", "price.snapshot", "9223372036854775808"])
        .run(1, &["snapshot", "get", "price.snapshot", "1", "2"])
        .expect("snapshot");
}

#[track_caller]
fn materialize(folder: &Path) {
    let arguments = [
        "materialize",
        "--view",
        "item_price",
        "--watermark",
        "2024-01-14",
        "--out",
        "price.snapshot",
    ];
    let output = run(folder, &arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
