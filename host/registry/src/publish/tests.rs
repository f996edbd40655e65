use super::*;
use crate::fixture::component;

fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path().join("store"));
    (directory, store)
}

fn module(store: &Store, digest: Digest) -> ModuleEntry {
    ModuleEntry {
        digest,
        version: "1.0.0".to_owned(),
        golden: crate::put_golden(store, b"no calls").unwrap(),
    }
}

fn snapshot(digest: Digest) -> SnapshotEntry {
    SnapshotEntry {
        deltas: Vec::new(),
        digest,
        watermark_us: 7,
        row_count: 1,
        late_count: None,
    }
}

/// The files of the store, without its lock.
fn files(store: &Store) -> Vec<String> {
    let mut found = Vec::new();
    let mut directories = vec![store.root().to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if !path.ends_with(".lock") {
                found.push(path.strip_prefix(store.root()).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_module_is_written_once() {
    let (_directory, store) = store();
    let bytes = component("row-transform");
    let digest = put_module(&store, &bytes).unwrap();
    assert_eq!(digest, Digest::of(&bytes));
    assert_eq!(fs::read(store.module_path(&digest)).unwrap(), bytes);
    let written = fs::metadata(store.module_path(&digest)).unwrap().modified().unwrap();
    assert_eq!(put_module(&store, &bytes).unwrap(), digest);
    assert_eq!(
        fs::metadata(store.module_path(&digest)).unwrap().modified().unwrap(),
        written
    );
    assert_eq!(files(&store), [format!("modules/{}.wasm", digest.hex())]);
}

#[test]
fn a_damaged_module_is_reported_not_replaced() {
    let (_directory, store) = store();
    let bytes = component("row-transform");
    let digest = put_module(&store, &bytes).unwrap();
    fs::write(store.module_path(&digest), b"damage").unwrap();
    let error = put_module(&store, &bytes).unwrap_err();
    assert!(
        matches!(&error, PublishError::Damaged { found, .. } if *found == Digest::of(b"damage")),
        "{error}"
    );
    assert_eq!(fs::read(store.module_path(&digest)).unwrap(), b"damage");
}

#[test]
fn what_is_no_transform_leaves_no_trace() {
    let (_directory, store) = store();
    let error = put_module(&store, b"text").unwrap_err();
    assert!(
        matches!(error, PublishError::Check(CheckError::NotWebAssembly)),
        "{error}"
    );
    assert!(!store.root().exists());
}

#[test]
fn a_snapshot_outlives_its_source() {
    let (directory, store) = store();
    let source = directory.path().join("a.snapshot");
    fs::write(&source, b"rows").unwrap();
    let digest = put_snapshot(&store, &source).unwrap();
    assert_eq!(put_snapshot(&store, &source).unwrap(), digest);
    fs::remove_file(&source).unwrap();
    assert_eq!(digest, Digest::of(b"rows"));
    assert_eq!(fs::read(store.snapshot_path(&digest)).unwrap(), b"rows");
    assert_eq!(files(&store), [format!("snapshots/{}.snapshot", digest.hex())]);
}

#[test]
fn a_snapshot_may_be_named_by_a_link() {
    let (directory, store) = store();
    let file = directory.path().join("a.snapshot");
    let link = directory.path().join("latest");
    fs::write(&file, b"rows").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let digest = put_snapshot(&store, &link).unwrap();
    fs::remove_file(&file).unwrap();
    assert!(fs::symlink_metadata(store.snapshot_path(&digest)).unwrap().is_file());
}

#[test]
fn a_snapshot_that_is_missing_is_named() {
    let (directory, store) = store();
    let source = directory.path().join("none.snapshot");
    let error = put_snapshot(&store, &source).unwrap_err();
    assert!(
        matches!(&error, PublishError::Read { path, .. } if *path == source),
        "{error}"
    );
}

#[test]
fn generations_count_up_and_the_last_is_current() {
    let (_directory, store) = store();
    let digest = put_module(&store, &component("row-transform")).unwrap();
    let draft = Draft {
        modules: [("m".to_owned(), module(&store, digest))].into(),
        ..Draft::default()
    };
    assert_eq!(commit(&store, draft.clone()).unwrap(), 1);
    assert_eq!(commit(&store, draft.clone()).unwrap(), 2);
    assert_eq!(store.current().unwrap(), Some(2));
    assert_eq!(store.manifest(2).unwrap().modules, draft.modules);

    // Back to the first: a number is not given twice.
    fs::write(store.current_path(), "1\n").unwrap();
    assert_eq!(commit(&store, draft.clone()).unwrap(), 3);
    // What is there is not overwritten, also where nothing points to it.
    fs::write(store.manifest_path(4), b"left behind").unwrap();
    assert_eq!(commit(&store, draft).unwrap(), 5);
    assert_eq!(fs::read(store.manifest_path(4)).unwrap(), b"left behind");
    assert_eq!(store.current().unwrap(), Some(5));
}

#[test]
fn a_generation_needs_all_that_it_names() {
    let (directory, store) = store();
    let digest = put_module(&store, &component("row-transform")).unwrap();
    let absent = Digest::of(b"absent");
    let draft = |name: &str, digest| Draft {
        modules: [(name.to_owned(), module(&store, digest))].into(),
        ..Draft::default()
    };
    commit(&store, draft("there", digest)).unwrap();
    let before = files(&store);

    let error = commit(&store, draft("ctr", absent)).unwrap_err();
    assert!(
        error.to_string().contains(&format!("module ctr is {absent}")),
        "{error}"
    );
    let error = commit(
        &store,
        Draft {
            snapshots: [("clicks".to_owned(), snapshot(absent))].into(),
            ..draft("there", digest)
        },
    )
    .unwrap_err();
    assert!(
        error.to_string().contains("the snapshot of view clicks is sha256:"),
        "{error}"
    );
    assert_eq!(files(&store), before);

    let source = directory.path().join("a.snapshot");
    fs::write(&source, b"rows").unwrap();
    let rows = put_snapshot(&store, &source).unwrap();
    fs::write(store.snapshot_path(&rows), b"rowz").unwrap();
    let damaged = Draft {
        snapshots: [("clicks".to_owned(), snapshot(rows))].into(),
        ..Draft::default()
    };
    let error = commit(&store, damaged).unwrap_err();
    assert!(matches!(error, PublishError::Damaged { .. }), "{error}");
    assert_eq!(store.current().unwrap(), Some(1));
}

#[test]
fn a_manifest_that_would_not_read_back_is_not_written() {
    use unskew::catalog::{Binding, ModuleUse, View};
    let (_directory, store) = store();
    let view = View {
        name: "v".to_owned(),
        entity: "e".to_owned(),
        ttl_us: None,
        features: Vec::new(),
        aggregate: Some(ModuleUse {
            module: "m".to_owned(),
            inputs: [("prior".to_owned(), Binding::F64(f64::NAN))].into(),
        }),
        staleness: None,
        lateness_us: None,
    };
    let draft = Draft {
        catalog: Catalog {
            views: vec![view],
            ..Catalog::default()
        },
        ..Draft::default()
    };
    let error = commit(&store, draft).unwrap_err();
    assert!(matches!(error, PublishError::Unreadable { .. }), "{error}");
    assert_eq!(store.current().unwrap(), None);
}

#[test]
fn a_damaged_store_is_not_written_to() {
    let (_directory, store) = store();
    commit(&store, Draft::default()).unwrap();
    fs::write(store.current_path(), "one").unwrap();
    assert!(matches!(commit(&store, Draft::default()), Err(PublishError::Store(_))));
    assert_eq!(fs::read_to_string(store.current_path()).unwrap(), "one");
    fs::write(store.current_path(), u64::MAX.to_string()).unwrap();
    assert!(matches!(
        commit(&store, Draft::default()),
        Err(PublishError::NumbersSpent)
    ));
}

#[test]
fn publishers_at_once_lose_nothing() {
    const PUBLISHERS: u64 = 4;
    const COMMITS: u64 = 8;
    let (_directory, store) = store();
    let bytes = component("row-transform");
    let mut numbers: Vec<u64> = std::thread::scope(|scope| {
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|publisher| {
                let (store, bytes) = (&store, &bytes);
                scope.spawn(move || {
                    let digest = put_module(store, bytes).unwrap();
                    let commit_one = |index| {
                        let draft = Draft {
                            modules: [(format!("m-{publisher}-{index}"), module(store, digest))].into(),
                            ..Draft::default()
                        };
                        let number = commit(store, draft.clone()).unwrap();
                        assert_eq!(store.manifest(number).unwrap().modules, draft.modules);
                        assert!(number <= store.current().unwrap().unwrap());
                        number
                    };
                    (0..COMMITS).map(commit_one).collect::<Vec<_>>()
                })
            })
            .collect();
        publishers.into_iter().flat_map(|p| p.join().unwrap()).collect()
    });
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=PUBLISHERS * COMMITS).collect::<Vec<_>>());
    assert_eq!(store.current().unwrap(), Some(PUBLISHERS * COMMITS));
}
