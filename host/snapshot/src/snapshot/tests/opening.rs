//! What opening does with a file's bytes, and what it says of it.

use std::fs;
use std::num::NonZero;

use super::*;
use crate::{Backing, OpenOptions, OpenStage, Residency};

/// Rows enough for several blocks and groups.
fn large_file() -> Vec<u8> {
    let schema = SnapshotSchema {
        view: "ids".to_owned(),
        key: vec![KeyColumn::new("id", KeyType::I64)],
        features: vec![FeatureColumn::new("double", ColumnType::I64)],
        ttl: None,
    };
    let rows: Vec<Pushed<'_>> = (0..40_000).map(|i| (id(i), i, None, vec![Value::I64(2 * i)])).collect();
    build(WriteOptions::new(schema, EventTime(40_000)), &rows).unwrap().0
}

fn check_rows(snapshot: &Snapshot) {
    for i in 0..40_000 {
        assert_eq!(snapshot.get(id(i).as_ref()).map(|row| row.i64(0)), Some(2 * i));
    }
}

#[test]
fn every_backing_and_any_number_of_threads_give_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ids");
    fs::write(&path, large_file()).unwrap();
    for backing in [Backing::File, Backing::Private] {
        for threads in [None, NonZero::new(1), NonZero::new(7)] {
            let options = OpenOptions {
                backing,
                threads,
                ..OpenOptions::default()
            };
            let mut seen = Vec::new();
            let snapshot = Snapshot::open_with(&path, &options, &mut |progress| {
                assert!(progress.bytes_done <= progress.bytes_total);
                seen.push((progress.stage, progress.bytes_done == progress.bytes_total));
            })
            .unwrap();
            check_rows(&snapshot);
            let mut stages = vec![(OpenStage::Checking, true), (OpenStage::CheckingRows, true)];
            if backing == Backing::Private {
                stages.insert(0, (OpenStage::Copying, true));
            }
            assert!(stages.iter().all(|stage| seen.contains(stage)), "{seen:?}");
            assert_eq!(snapshot.residency().backing, backing);
            assert!(snapshot.residency().is_prefaulted);
            assert!(!snapshot.residency().is_locked && snapshot.residency().lock_refusal.is_none());
        }
    }
}

/// A mapped file would raise SIGBUS here.
#[test]
fn a_private_copy_survives_what_happens_to_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ids");
    fs::write(&path, large_file()).unwrap();
    let options = OpenOptions {
        backing: Backing::Private,
        ..OpenOptions::default()
    };
    let snapshot = Snapshot::open_with(&path, &options, &mut |_| {}).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(10).unwrap();
    check_rows(&snapshot);
    fs::remove_file(&path).unwrap();
    check_rows(&snapshot);
}

/// Whether pages may be locked depends on the limits of the user; what is reported is one or the other.
#[test]
fn locking_takes_or_says_why_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ids");
    fs::write(&path, large_file()).unwrap();
    let options = OpenOptions {
        is_locked: true,
        ..OpenOptions::default()
    };
    let snapshot = Snapshot::open_with(&path, &options, &mut |_| {}).unwrap();
    let Residency {
        is_locked,
        lock_refusal,
        ..
    } = snapshot.residency();
    assert_eq!(*is_locked, lock_refusal.is_none());
    check_rows(&snapshot);
}

#[test]
fn damage_is_found_whichever_thread_meets_it_and_the_first_is_named() {
    let file = large_file();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ids");
    let mut damaged = file.clone();
    for at in [file.len() / 2, file.len() / 4 * 3] {
        damaged[at] ^= 4;
    }
    fs::write(&path, &damaged).unwrap();
    for backing in [Backing::File, Backing::Private] {
        let options = OpenOptions {
            backing,
            ..OpenOptions::default()
        };
        let error = Snapshot::open_with(&path, &options, &mut |_| {}).unwrap_err();
        let block = file.len() / 2 / 65_536;
        assert!(error.is_corrupt());
        let expected = format!("in its rows at offset {}: the checksum of the block", block * 65_536);
        assert!(error.to_string().contains(&expected), "{error}");
    }
}
