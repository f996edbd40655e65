//! Generations that a host must refuse, while the one before goes on serving.

use std::fs;
use std::path::{Path, PathBuf};

use unskew::{Cpu, Host, Refresh, SnapshotEntry, Store};
use unskew_frame::ColumnType;
use unskew_registry::{Draft, commit, module_entries, prepare, put_snapshot};
use unskew_snapshot::{
    FeatureColumn, KeyColumn, KeyType, LateEvents, Lateness, SnapshotSchema, SnapshotWriter, WriteOptions,
};
use unskew_tests::{Fixture, chain, patient};

use crate::host::{fixture, serve, watermark};

/// Replaces a file, which may be linked elsewhere, by one of other bytes.
pub fn rewrite(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).expect("the file is there");
    change(&mut bytes);
    fs::remove_file(path).expect("the file can be removed");
    fs::write(path, bytes).expect("the file can be written");
}

/// Flips a bit of the byte at `at`, or of the last.
pub fn flip(bytes: &mut [u8], at: usize) {
    let last = bytes.len() - 1;
    bytes[at.min(last)] ^= 1;
}

/// Publishes a second generation, spoils it, and expects it to be refused with a text that has all of `named`, while the
/// first goes on serving.
fn refused(spoil: impl FnOnce(&Fixture) -> Vec<String>) {
    let fixture = fixture();
    fixture.publish(watermark(1));
    let host = fixture.host();
    let before = serve(&host);
    fixture.publish(watermark(2));
    let named = spoil(&fixture);
    for _ in 0..2 {
        let error = chain(&host.refresh().expect_err("the generation is spoiled"));
        for name in &named {
            assert!(error.contains(name), "`{error}` does not name {name}");
        }
        assert_eq!((serve(&host), host.current()), (before.clone(), 1));
    }
    // A host that starts serves what the one before it served, and says why.
    let restarted = fixture.host();
    assert_eq!((serve(&restarted), restarted.current()), (before, 1));
    let failure = restarted.health().failure.expect("the current one is spoiled");
    assert!(
        named.iter().all(|name| failure.message.contains(name)),
        "{}",
        failure.message
    );
    // Without that, it does not start.
    let compiled = fs::read_dir(fixture.store.compiled_dir()).expect("the cache can be read");
    let notes = compiled.map(|entry| entry.expect("the cache can be read").path());
    let is_note = |path: &PathBuf| shown(path).contains("/served-");
    assert_eq!(
        notes.filter(is_note).map(fs::remove_file).filter(Result::is_ok).count(),
        1
    );
    let error = chain(&Host::open(fixture.store.root(), patient()).expect_err("nor is it opened"));
    assert!(named.iter().all(|name| error.contains(name)), "{error}");
}

pub fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn snapshot_of(fixture: &Fixture, generation: u64, view: &str) -> PathBuf {
    let manifest = fixture.store.manifest(generation).expect("it is published");
    fixture.store.snapshot_path(&manifest.snapshots[view].digest)
}

fn native_code(fixture: &Fixture) -> PathBuf {
    Store::compiled_path(
        &fixture.store.compiled_dir(),
        &fixture.modules["ctr-history"].digest(),
        Cpu::best(),
    )
}

#[test]
fn a_damaged_snapshot_is_refused() {
    for at in [0, 40, 200, usize::MAX] {
        refused(|fixture| {
            let path = snapshot_of(fixture, 2, "second");
            rewrite(&path, |bytes| flip(bytes, at));
            vec![shown(&path), "is damaged".to_owned()]
        });
    }
    refused(|fixture| {
        let path = snapshot_of(fixture, 2, "history");
        rewrite(&path, |bytes| bytes.truncate(bytes.len() / 2));
        vec![shown(&path), "is damaged".to_owned()]
    });
    refused(|fixture| {
        let path = snapshot_of(fixture, 2, "first");
        fs::remove_file(&path).expect("the file can be removed");
        vec![shown(&path), "cannot read".to_owned()]
    });
}

/// A FIFO would be waited for; what a link names may change without the store.
#[cfg(unix)]
#[test]
fn a_snapshot_that_is_no_file_of_the_store_is_refused() {
    refused(|fixture| {
        let path = snapshot_of(fixture, 2, "second");
        let elsewhere = fixture.path("elsewhere.snapshot");
        fs::rename(&path, &elsewhere).expect("the file can be moved");
        std::os::unix::fs::symlink(&elsewhere, &path).expect("the link can be made");
        vec![shown(&path), "is not a file of the store".to_owned()]
    });
    refused(|fixture| {
        let path = snapshot_of(fixture, 2, "second");
        fs::remove_file(&path).expect("the file can be removed");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.is_ok_and(|status| status.success()), "mkfifo(1) is needed");
        vec![shown(&path), "is not a file of the store".to_owned()]
    });
}

#[test]
fn a_damaged_manifest_is_refused() {
    // Each text is in the manifest once; its first byte is flipped.
    for (text, named) in [
        ("{", ".json is damaged"),
        ("\"format\"", ".json is damaged"),
        ("2,\n  \"generation\"", "the digest of its fields is"),
        ("2,\n  \"catalog\"", "the digest of its fields is"),
        ("sha256:", ".json is damaged"),
        ("\"entity\": [", ".json is damaged"),
    ] {
        refused(|fixture| {
            let path = fixture.store.manifest_path(2);
            rewrite(&path, |bytes| {
                let at = String::from_utf8_lossy(bytes)
                    .find(text)
                    .expect("the manifest has the text");
                flip(bytes, at);
            });
            vec![shown(&path), named.to_owned()]
        });
    }
    refused(|fixture| {
        let path = fixture.store.manifest_path(2);
        rewrite(&path, |bytes| bytes.truncate(bytes.len() - 3));
        vec![shown(&path), "is damaged".to_owned()]
    });
    refused(|fixture| {
        let path = fixture.store.manifest_path(2);
        fs::remove_file(&path).expect("the file can be removed");
        vec![shown(&path), "cannot read".to_owned()]
    });
    refused(|fixture| {
        let path = fixture.store.current_path();
        rewrite(&path, |bytes| bytes[0] = b'1');
        vec![shown(&path), "its checksum is not that of its number".to_owned()]
    });
    refused(|fixture| {
        let path = fixture.store.current_path();
        fs::write(&path, "two\n").expect("the store can be written");
        vec![shown(&path), "does not hold the number of a generation".to_owned()]
    });
}

/// Whatever byte of a manifest is flipped: the host says what is wrong and goes on serving.
#[test]
fn no_flipped_byte_of_a_manifest_is_served() {
    let fixture = fixture();
    fixture.publish(watermark(1));
    let host = fixture.host();
    fixture.publish(watermark(2));
    let path = fixture.store.manifest_path(2);
    let good = fs::read(&path).expect("it is published");
    for at in (0..good.len()).step_by(7) {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 7);
        fs::write(&path, bytes).expect("the store can be written");
        let error = host.refresh().expect_err("it is not what was published");
        assert!(chain(&error).contains(&shown(&path)), "{error}");
        assert_eq!(host.current(), 1);
    }
    assert_eq!(serve(&host), (vec![1; 12], 1));
    fs::write(&path, good).expect("the store can be written");
    assert_eq!(host.refresh().expect("it is mended"), Refresh::Activated(2));
}

#[test]
fn damaged_native_code_is_refused_until_it_is_prepared_again() {
    let prepare_again = "run `unskew prepare` on the store";
    let unusable = |spoil: &dyn Fn(&Path), named: &dyn Fn(&Fixture) -> String| {
        let fixture = fixture();
        fixture.publish(watermark(1));
        let host = fixture.host();
        fixture.publish(watermark(2));
        spoil(&native_code(&fixture));
        let error = chain(&Host::open(fixture.store.root(), patient()).expect_err("no host can start"));
        for name in [&named(&fixture), prepare_again] {
            assert!(error.contains(name), "`{error}` does not name {name}");
        }
        // A host that has the module in memory does not read its code again.
        assert_eq!(host.refresh().expect("all else is whole"), Refresh::Activated(2));
        assert_eq!(serve(&host), (vec![2; 12], 2));
    };
    for at in [0, 20, 50, 75, 90, 5_000, usize::MAX] {
        unusable(&|path| rewrite(path, |bytes| flip(bytes, at)), &|fixture| {
            shown(&native_code(fixture))
        });
    }
    unusable(
        &|path| fs::remove_file(path).expect("the file can be removed"),
        &|fixture| fixture.modules["ctr-history"].digest().to_string(),
    );

    let fixture = fixture();
    fixture.publish(watermark(1));
    let path = native_code(&fixture);
    rewrite(&path, |bytes| bytes.truncate(bytes.len() / 2));
    let error = Host::open(fixture.store.root(), patient()).expect_err("the code is cut short");
    assert!(chain(&error).contains(prepare_again), "{error}");
    let manifest = fixture.store.manifest(1).expect("it is published");
    let done = prepare(
        &fixture.store,
        &fixture.store.compiled_dir(),
        &manifest,
        Cpu::best(),
        |_, _, _| (),
    )
    .expect("it compiles");
    assert_eq!(
        done.iter().filter(|compiled| !compiled.is_cached).count(),
        1,
        "the other module is whole"
    );
    assert_eq!(serve(&fixture.host()), (vec![1; 12], 1));
}

/// Commits generation 3 as 2 is, with another snapshot of a view.
fn recommit(fixture: &Fixture, view: &str, entry: Option<SnapshotEntry>) {
    let mut snapshots = fixture.store.manifest(2).expect("it is published").snapshots;
    match entry {
        Some(entry) => snapshots.insert(view.to_owned(), entry),
        None => snapshots.remove(view),
    };
    let draft = Draft {
        catalog: fixture.project.catalog().clone(),
        modules: module_entries(&fixture.store, &fixture.modules).expect("they are as before"),
        snapshots,
    };
    commit(&fixture.store, draft).expect("all of it is in the store");
}

/// An empty snapshot of states in the store.
fn states(fixture: &Fixture, key: KeyType, state_version: Option<u32>, late: Option<LateEvents>) -> SnapshotEntry {
    let schema = SnapshotSchema {
        view: "history".to_owned(),
        key: vec![KeyColumn::new("user", key)],
        features: vec![FeatureColumn::new("state", ColumnType::Bytes)],
        ttl: None,
    };
    let mut options = WriteOptions::new(schema, watermark(2));
    options.state_version = state_version;
    options.late = late;
    let path = fixture.path("states.snapshot");
    let writer = SnapshotWriter::create(&path, options).expect("it can be written");
    writer.finish().expect("it can be written");
    SnapshotEntry {
        deltas: Vec::new(),
        digest: put_snapshot(&fixture.store, &path).expect("it can be published"),
        watermark_us: watermark(2).0,
        row_count: 0,
        late_count: None,
    }
}

#[test]
fn a_snapshot_that_does_not_fit_is_refused() {
    refused(|fixture| {
        let first = fixture.store.manifest(2).expect("it is published").snapshots["first"].clone();
        recommit(fixture, "history", Some(first));
        vec![
            "view `history`".to_owned(),
            "states that the module does not read".to_owned(),
        ]
    });
    refused(|fixture| {
        let history = fixture.store.manifest(2).expect("it is published").snapshots["history"].clone();
        recommit(fixture, "second", Some(history));
        vec!["view `second`".to_owned(), "its snapshot has no `number`".to_owned()]
    });
    refused(|fixture| {
        recommit(fixture, "second", None);
        vec!["view `second`".to_owned(), "has no snapshot of it".to_owned()]
    });
    for version in [None, Some(7)] {
        refused(|fixture| {
            recommit(fixture, "history", Some(states(fixture, KeyType::I64, version, None)));
            vec![
                "view `history`".to_owned(),
                "states that the module does not read".to_owned(),
            ]
        });
    }
    refused(|fixture| {
        recommit(fixture, "history", Some(states(fixture, KeyType::String, None, None)));
        vec!["view `history`".to_owned(), "a key of other types".to_owned()]
    });
    refused(|fixture| {
        let lateness = Lateness::from_micros(7_200_000_000);
        let late = Some(LateEvents { lateness, count: 0 });
        recommit(fixture, "history", Some(states(fixture, KeyType::I64, None, late)));
        vec![
            "view `history`".to_owned(),
            "its snapshot was made with a lateness of 2h, the view has no lateness: materialize it from scratch"
                .to_owned(),
        ]
    });
}
