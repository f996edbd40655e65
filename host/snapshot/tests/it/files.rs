//! What is not a snapshot file is said to be what it is.

use std::fs::{self, File};
use std::io::Write;

use unskew_snapshot::{Backing, OpenOptions, Snapshot};

use crate::reseal::{HEADER_BYTES, reseal, reseal_header};
use crate::rows::{file, key};

#[test]
fn files_of_other_kinds_and_versions_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let with_version = |version: u32| {
        let mut file = file(3, 10);
        file[8..12].copy_from_slice(&version.to_le_bytes());
        reseal(&mut file);
        file
    };
    let cases: [(&str, Vec<u8>, &str); 6] = [
        (
            "image.png",
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec(),
            "is not a snapshot file: it begins otherwise",
        ),
        (
            "table.parquet",
            b"PAR1\x15\x04\x15".to_vec(),
            "is not a snapshot file: it begins otherwise",
        ),
        (
            "notes.txt",
            b"hello".to_vec(),
            "is not a snapshot file: it begins otherwise",
        ),
        (
            "old",
            with_version(0),
            "has format version 0; this program reads version 1",
        ),
        (
            "new",
            with_version(2),
            "has format version 2; this program reads version 1",
        ),
        (
            "cut",
            file(3, 10)[..200].to_vec(),
            "is corrupt in its header at offset 200: the file ends in its header",
        ),
    ];
    for (name, bytes, message) in cases {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let error = Snapshot::open(&path).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(&path.display().to_string()) && text.ends_with(message),
            "{text}"
        );
        assert_eq!(error.is_unsupported_version(), text.contains("version"));
    }
}

#[cfg(unix)]
#[test]
fn a_link_is_followed_and_a_dangling_one_is_not_found() {
    let folder = tempfile::tempdir().unwrap();
    let (target, link) = (folder.path().join("target"), folder.path().join("link"));
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let error = Snapshot::open(&link).unwrap_err();
    assert!(error.to_string().starts_with("cannot find the snapshot "), "{error}");
    fs::write(&target, file(5, 10)).unwrap();
    assert!(Snapshot::open(&link).unwrap().get(key(3).as_ref()).is_some());
}

/// Far longer than this machine's memory, and nearly all of it a hole.
#[test]
fn a_file_that_claims_to_be_long_takes_no_memory() {
    const BYTES: u64 = 1 << 42;
    let folder = tempfile::tempdir().unwrap();
    let mut with_length = file(3, 10)[..HEADER_BYTES].to_vec();
    with_length[16..24].copy_from_slice(&BYTES.to_le_bytes());
    reseal_header(&mut with_length);
    let cases = [
        (Vec::new(), "it begins otherwise"),
        (file(3, 10), "the header is of a file of"),
        (with_length, "the header contradicts itself"),
    ];
    for (start, message) in cases {
        let path = folder.path().join("bomb");
        let mut bomb = File::create(&path).unwrap();
        bomb.write_all(&start).unwrap();
        bomb.set_len(BYTES).unwrap();
        for backing in [Backing::File, Backing::Private] {
            let options = OpenOptions {
                backing,
                ..OpenOptions::default()
            };
            let error = Snapshot::open_with(&path, &options, &mut |_| {})
                .unwrap_err()
                .to_string();
            assert!(error.contains(message), "{backing:?}: {error}");
        }
    }
}
