//! What is not a snapshot file is said to be what it is.

use std::fs;

use unskew_snapshot::Snapshot;

use crate::hostile::reseal;
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
