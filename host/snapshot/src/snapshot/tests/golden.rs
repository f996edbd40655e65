//! A file of format 1 that must open for ever.

use std::fs;
use std::path::PathBuf;

use super::*;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/format-1.snapshot")
}

/// The values of the golden file, as they were when format 1 was frozen. `UPDATE_EXPECT=1` writes the file where there is
/// none; it never replaces it.
#[test]
fn the_golden_file_of_format_1_opens() {
    if std::env::var_os("UPDATE_EXPECT").is_some() && !path().exists() {
        fs::write(path(), small_file()).unwrap();
    }
    let bytes = fs::read(path()).unwrap();
    let digest = xxhash_rust::xxh3::xxh3_64(&bytes);
    assert_eq!(digest, DIGEST, "the golden file was changed: {digest:#x}");
    let snapshot = Snapshot::open(&path()).unwrap();
    assert_eq!(snapshot.meta().schema, all_types());
    assert_eq!(snapshot.meta().row_count, 4);
    let rows: Vec<String> = snapshot
        .iter()
        .map(|(key, row)| {
            format!(
                "{key} @{} {:?}",
                row.event_time().as_micros(),
                row.values().collect::<Vec<_>>()
            )
        })
        .collect();
    let mut expected = vec![
        r#"(1, "a") @90 [F64(0.5), Bool(true), String("text"), F32(-2.5), I64(-7), Bytes([0, 255]), Timestamp(12), Vector([1.0, 2.0, 3.0])]"#.to_owned(),
        r#"(2, "") @100 [Null, Null, Null, Null, Null, Null, Null, Null]"#.to_owned(),
        r#"(3, "ccc") @-5 [F64(NaN), Bool(false), String(""), F32(NaN), I64(0), Bytes([]), Timestamp(0), Null]"#.to_owned(),
        format!(r#"(4, "{LONG}") @0 [Null, Null, Null, Null, Null, Null, Null, Null]"#),
    ];
    let mut found = rows;
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

/// Of the golden file.
const DIGEST: u64 = 0x29c8_b7bf_f4df_5192;

/// While this program writes format 1 it writes the same bytes, its own name aside.
#[test]
fn a_file_written_today_differs_from_the_golden_one_at_most_in_its_builder() {
    let golden = Snapshot::open(&path()).unwrap();
    if golden.meta().builder == concat!("unskew-snapshot ", env!("CARGO_PKG_VERSION")) {
        assert!(fs::read(path()).unwrap() == small_file());
    }
    let today = open(&small_file()).unwrap();
    let slots = |snapshot: &Snapshot| snapshot.iter().map(|(_, row)| row.index()).collect::<Vec<_>>();
    assert_eq!(slots(&golden), slots(&today));
}
