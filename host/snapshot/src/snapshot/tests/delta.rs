//! Deltas, as files.

use std::fs;
use std::path::PathBuf;

use super::reseal::reseal;
use super::*;
use crate::DeltaOf;

const OF: DeltaOf = DeltaOf {
    base: [0xb; 32],
    previous: [0xd; 32],
    number: 2,
};

fn key(id: i64, name: &str) -> EntityKey {
    EntityKey::new(&[KeyPart::I64(id), KeyPart::String(name)]).unwrap()
}

/// A changed row, and two keys that are removed, one of them long.
fn small_delta() -> Vec<u8> {
    let mut options = WriteOptions::new(all_types(), EventTime(200));
    options.delta = Some(OF);
    let mut rows = Rows::new(Path::new("/tmp/unnamed"), options).unwrap();
    let mut values = vec![Value::Null; 8];
    values[2] = Value::String("new");
    rows.push(key(1, "a").as_ref(), EventTime(150), None, &values).unwrap();
    rows.push_removed(key(3, "ccc").as_ref()).unwrap();
    rows.push_removed(key(4, LONG).as_ref()).unwrap();
    let mut out = Cursor::new(Vec::new());
    rows.write(&mut out, &mut |_| {}).unwrap();
    out.into_inner()
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/format-1-delta.snapshot")
}

/// Of the golden file.
const DIGEST: u64 = 0x8be8_2d30_b8b3_c8d3;

/// The golden file of a delta, as it was when deltas came. `UPDATE_EXPECT=1` writes the file where there is none; it never replaces
/// it.
#[test]
fn the_golden_delta_of_format_1_opens() {
    if std::env::var_os("UPDATE_EXPECT").is_some() && !path().exists() {
        fs::write(path(), small_delta()).unwrap();
    }
    let bytes = fs::read(path()).unwrap();
    let digest = xxhash_rust::xxh3::xxh3_64(&bytes);
    assert_eq!(digest, DIGEST, "the golden file was changed: {digest:#x}");
    for snapshot in [Snapshot::open(&path()).unwrap(), open(&small_delta()).unwrap()] {
        let meta = snapshot.meta();
        assert_eq!((meta.delta, meta.row_count, meta.removed_count), (Some(OF), 3, 2));
        assert_eq!(meta.event_times, Some((EventTime(150), EventTime(150))));
        // Of the one row: removed keys have no nulls.
        assert_eq!(meta.statistics[0].null_count, 1);
        let row = snapshot.get(key(1, "a").as_ref()).unwrap();
        assert_eq!((row.is_removed(), row.str(2)), (false, "new"));
        for removed in [key(3, "ccc"), key(4, LONG)] {
            let row = snapshot.get(removed.as_ref()).unwrap();
            assert!(row.is_removed() && row.values().all(|value| value.is_null()));
            assert_eq!(row.key(), removed.as_ref());
        }
        assert_eq!(snapshot.iter().filter(|(_, row)| row.is_removed()).count(), 2);
    }
    if open(&bytes).unwrap().meta().builder == concat!("unskew-snapshot ", env!("CARGO_PKG_VERSION")) {
        assert!(bytes == small_delta());
    }
}

#[test]
fn every_bit_flip_of_a_delta_is_refused() {
    let file = small_delta();
    for bit in 0..8 * file.len() {
        let mut flipped = file.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let error = open(&flipped).unwrap_err();
        assert!(error.is_corrupt(), "bit {bit}: {error}");
    }
}

/// One change that the checksums vouch for, and the check that finds it.
#[test]
fn each_check_of_a_delta_finds_its_flaw() {
    let file = small_delta();
    let at = |snapshot: &Snapshot, key: &EntityKey| {
        let index = snapshot.get(key.as_ref()).unwrap().index().as_u32() as usize;
        snapshot.ranges.rows.start + index * snapshot.row_bytes_each() as usize
    };
    let snapshot = open(&file).unwrap();
    let (changed, removed) = (at(&snapshot, &key(1, "a")), at(&snapshot, &key(3, "ccc")));
    let flags = 8 + snapshot.header.shape.key_bytes as usize;
    let extension = file.windows(32).position(|bytes| bytes == OF.base).unwrap();
    let row_bytes = snapshot.row_bytes_each() as usize;
    let malformed = "what it says of the base of a delta is malformed";
    let cases = [
        (removed, 1, "a removed key has a time or a value"),
        (removed + flags + 1, 1, "a removed key has a time or a value"),
        (removed + row_bytes - 9, 1, "a removed key has a time or a value"),
        (removed + row_bytes - 1, 1, "a removed key has a time or a value"),
        (
            removed + flags,
            file[removed + flags] ^ 0x20,
            "the event time is later than the watermark",
        ),
        (
            changed + flags,
            file[changed + flags] ^ 0x20,
            "a removed key has a time or a value",
        ),
        (extension + 64, 1, malformed),
        (extension + 64, 0, malformed),
        (extension + 64, 9, malformed),
        (extension + 68, 1, malformed),
        (extension + 72, 1, "it counts 1 removed keys, there are 2"),
        (extension + 72, 3, "it has event times without rows"),
        (extension + 72, 4, "it counts 4 removed keys, more than rows"),
    ];
    for (at, byte, flaw) in cases {
        let mut damaged = file.clone();
        damaged[at] = byte;
        assert_ne!(damaged, file, "{at} {flaw}");
        reseal(&mut damaged);
        let error = open(&damaged)
            .err()
            .map_or("opened".to_owned(), |error| error.to_string());
        assert!(error.contains(flaw), "{at} {byte}: {error}, not {flaw}");
    }
}

#[test]
fn a_key_is_removed_once_and_in_a_delta_alone() {
    let whole = WriteOptions::new(all_types(), EventTime(100));
    let delta = WriteOptions {
        delta: Some(DeltaOf::first([1; 32])),
        duplicates: crate::DuplicateKeys::AsOf,
        ..whole.clone()
    };
    let mut rows = Rows::new(Path::new("/tmp/unnamed"), whole.clone()).unwrap();
    let error = rows.push_removed(key(1, "a").as_ref()).unwrap_err();
    assert!(matches!(error, WriteError::NotADelta { .. }), "{error}");

    let mut rows = Rows::new(Path::new("/tmp/unnamed"), delta.clone()).unwrap();
    let error = rows.push_removed(id(1).as_ref()).unwrap_err();
    assert!(matches!(error, WriteError::Key { row: 0, .. }), "{error}");
    rows.push(key(1, "a").as_ref(), EventTime(1), None, &[Value::Null; 8])
        .unwrap();
    rows.push_removed(key(1, "a").as_ref()).unwrap();
    let error = rows.write(&mut Cursor::new(Vec::new()), &mut |_| {}).unwrap_err();
    assert!(matches!(error, WriteError::DuplicateKey { .. }), "{error}");

    for number in [0, 9] {
        let of = DeltaOf { number, ..OF };
        let options = WriteOptions {
            delta: Some(of),
            ..delta.clone()
        };
        let error = Rows::new(Path::new("/tmp/unnamed"), options).unwrap_err();
        assert!(matches!(error, WriteError::DeltaNumber), "{error}");
    }
}
