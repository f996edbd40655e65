//! The library against a server of the S3 protocol.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::single_range_in_vec_init, reason = "a list of ranges")]

use std::fs::File;
use std::io::{self, Write};

use bytes::Bytes;
use unskew_batch::{Object, Objects};
use unskew_objects::CloudObjects;
use unskew_tests::bucket::BucketServer;

fn open(server: &BucketServer) -> CloudObjects {
    CloudObjects::with_variables(server.environment().map(|(name, value)| (name.to_owned(), value)))
}

fn file(bytes: usize) -> (File, Vec<u8>) {
    let bytes: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    io::Seek::rewind(&mut file).unwrap();
    (file, bytes)
}

#[test]
fn objects_are_found_listed_and_read_in_ranges() {
    let server = BucketServer::start();
    let keys = [
        "a/day=2026%2F01/x.parquet",
        "a/y z.parquet",
        "a/é?.parquet",
        "ab.parquet",
    ];
    keys.iter().for_each(|key| server.put(key, key.as_bytes()));
    let objects = open(&server);

    let mut listed = objects.list("s3://lake/a").unwrap();
    listed.sort_by(|(a, _), (b, _)| a.cmp(b));
    let names: Vec<&str> = listed.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["day=2026%2F01/x.parquet", "y z.parquet", "é?.parquet"]);
    for ((name, object), key) in listed.iter().zip(keys) {
        // The URL of what was listed leads to it again.
        assert_eq!(objects.find(&object.url).unwrap(), *object, "{name}");
        let read = objects.read(object, &[0..1, 2..4]).unwrap();
        assert_eq!(read, [Bytes::from(&key[0..1]), Bytes::from(&key.as_bytes()[2..4])]);
    }
    assert_eq!(objects.list("s3://lake").unwrap().len(), 4);
    assert_eq!(objects.list("s3://lake/absent").unwrap(), []);

    server.take_asked();
    let long = objects.find("s3://lake/a/y%20z.parquet").unwrap();
    objects.read(&long, &[0..3, 3..5, 7..9]).unwrap();
    assert_eq!(
        server.take_asked(),
        ["HEAD a/y z.parquet", "GET a/y z.parquet bytes=0-8"]
    );
}

#[test]
fn files_become_objects_whole() {
    let server = BucketServer::start();
    let objects = open(&server);
    for (key, size) in [("empty", 0), ("small", 100), ("large", (20 << 20) + 7)] {
        let url = format!("s3://lake/out/{key}");
        let (mut whole, bytes) = file(size);
        objects.write(&url, &mut whole, false).unwrap();
        assert!(server.get(&format!("out/{key}")).unwrap() == bytes, "{key}");

        let (mut other, _) = file(size + 1);
        let refused = objects.write(&url, &mut other, false).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists, "{refused}");
        assert_eq!(server.get(&format!("out/{key}")).unwrap().len(), size, "{key}");

        let (mut other, _) = file(size + 1);
        objects.write(&url, &mut other, true).unwrap();
        assert_eq!(server.get(&format!("out/{key}")).unwrap().len(), size + 1, "{key}");
        objects.remove(&url).unwrap();
        objects.remove(&url).unwrap();
        assert_eq!(server.get(&format!("out/{key}")), None, "{key}");
    }
    assert_eq!(server.uploads(), 0);
}

#[test]
fn what_passes_is_tried_again_and_what_does_not_is_named() {
    let server = BucketServer::start();
    let objects = open(&server);
    server.put("a.csv", "abc");
    server.put("secret/b.csv", "abc");
    let found = objects.find("s3://lake/a.csv").unwrap();
    server.take_asked();
    server.fail(2);
    assert_eq!(objects.read(&found, &[0..3]).unwrap(), ["abc"]);
    assert_eq!(server.take_asked().len(), 3);

    #[track_caller]
    fn check<T: std::fmt::Debug>(asked: io::Result<T>, kind: io::ErrorKind, expected: &str) {
        let error = asked.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    server.forbid("secret");
    let forbidden = io::ErrorKind::PermissionDenied;
    check(objects.find("s3://lake/secret/b.csv"), forbidden, "permission denied");
    check(objects.list("s3://lake/secret"), forbidden, "permission denied");
    let (mut file, _) = file(9 << 20);
    check(
        objects.write("s3://lake/secret/c", &mut file, true),
        forbidden,
        "permission denied",
    );
    check(
        objects.find("s3://lake/absent"),
        io::ErrorKind::NotFound,
        "no such object, or no such bucket",
    );
    check(objects.list("s3://ocean/a"), io::ErrorKind::NotFound, "NoSuchBucket");
    check(objects.find("s4://lake/a"), io::ErrorKind::InvalidInput, "s4");
    check(
        objects.find("s3://lake/a?versionId=1"),
        io::ErrorKind::InvalidInput,
        "a query",
    );

    server.put("a.csv", "abd");
    check(
        objects.read(&found, &[0..3]),
        io::ErrorKind::Other,
        "it changed while it was read",
    );
    let short = Object {
        bytes: 9,
        ..objects.find("s3://lake/a.csv").unwrap()
    };
    assert!(
        objects.read(&short, &[4..9]).is_err(),
        "there is less than it was said to have"
    );
}

#[test]
fn files_of_web_servers_are_read() {
    let server = BucketServer::start();
    let objects = open(&server);
    server.put("a.csv", "abcdef");
    let found = objects.find(&server.web_url("a.csv")).unwrap();
    assert_eq!((found.bytes, found.tag.as_deref()), (6, Some("\"1\"")));
    assert_eq!(objects.read(&found, &[2..4]).unwrap(), ["cd"]);
    assert_eq!(
        objects.find(&server.web_url("b.csv")).unwrap_err().kind(),
        io::ErrorKind::NotFound
    );
}
