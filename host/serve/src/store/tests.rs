use super::*;

fn manifest(generation: u64) -> Manifest {
    let digest = Digest::of(b"file");
    Manifest {
        format: MANIFEST_FORMAT,
        generation,
        catalog: Catalog::default(),
        modules: BTreeMap::from([(
            "module".to_owned(),
            ModuleEntry {
                digest,
                version: "1.0.0".to_owned(),
            },
        )]),
        snapshots: BTreeMap::from([(
            "view".to_owned(),
            SnapshotEntry {
                digest,
                watermark_us: -1,
                row_count: u64::MAX,
            },
        )]),
    }
}

/// A store with `manifest` in the place of generation 7.
fn store(manifest: &[u8]) -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path());
    fs::create_dir(directory.path().join("generations")).unwrap();
    fs::write(store.manifest_path(7), manifest).unwrap();
    (directory, store)
}

#[test]
fn files_have_their_places() {
    let store = Store::new("/s");
    let digest = Digest::of(b"abc");
    let hex = digest.hex();
    let shown = |path: PathBuf| path.display().to_string();
    assert_eq!(shown(store.current_path()), "/s/current");
    assert_eq!(shown(store.manifest_path(7)), "/s/generations/000000000007.json");
    assert_eq!(
        shown(store.manifest_path(u64::MAX)),
        format!("/s/generations/{}.json", u64::MAX)
    );
    assert_eq!(shown(store.module_path(&digest)), format!("/s/modules/{hex}.wasm"));
    assert_eq!(
        shown(store.snapshot_path(&digest)),
        format!("/s/snapshots/{hex}.snapshot")
    );
    // Code for two settings, or for two levels of processors, lies side by side.
    for cpu in Cpu::ALL {
        let compiled = shown(Store::compiled_path(&store.compiled_dir(), &digest, cpu));
        assert_eq!(
            compiled,
            format!("/s/compiled/{hex}-{}.native", &settings_digest(cpu).hex()[..16])
        );
    }
    assert_ne!(settings_digest(Cpu::Baseline), settings_digest(Cpu::V3));
}

#[test]
fn a_manifest_comes_back() {
    let expected = manifest(7);
    let (_directory, store) = store(&serde_json::to_vec(&expected).unwrap());
    assert_eq!(store.manifest(7).unwrap(), expected);
    let error = store.manifest(8).unwrap_err();
    assert!(
        matches!(&error, StoreError::Read { path, .. } if *path == store.manifest_path(8)),
        "{error}"
    );
}

#[test]
fn a_manifest_of_another_number_or_format_is_refused() {
    let check = |manifest: &Manifest, expected: &str| {
        let (_directory, store) = store(&serde_json::to_vec(manifest).unwrap());
        let error = store.manifest(7).unwrap_err().to_string();
        let path = store.manifest_path(7);
        assert_eq!(error, format!("{} is damaged: {expected}", path.display()));
    };
    check(&manifest(6), "it says that it is generation 6");
    let newer = Manifest {
        format: 2,
        ..manifest(7)
    };
    check(&newer, "it is of format 2, this host reads 1");
}

#[test]
fn a_manifest_that_is_cut_short_is_refused() {
    let whole = serde_json::to_vec(&manifest(7)).unwrap();
    for len in 0..whole.len() {
        let (_directory, store) = store(&whole[..len]);
        assert!(
            matches!(store.manifest(7), Err(StoreError::Damaged { .. })),
            "{len} bytes"
        );
    }
}

#[test]
fn current_is_a_number_or_nothing() {
    let (directory, store) = store(b"");
    assert_eq!(store.current().unwrap(), None);
    let check = |text: &str, expected: Option<u64>| {
        fs::write(store.current_path(), text).unwrap();
        assert_eq!(store.current().ok().flatten(), expected, "{text:?}");
        assert_eq!(store.current().is_err(), expected.is_none(), "{text:?}");
    };
    check("7", Some(7));
    check("7\n", Some(7));
    check("18446744073709551615\n", Some(u64::MAX));
    check("18446744073709551616", None);
    check("", None);
    check("-7", None);
    check("7 8", None);
    check("generation 7", None);
    let missing = Store::new(directory.path().join("missing"));
    assert!(
        matches!(missing.current(), Err(StoreError::Read { .. })),
        "no store is not an empty store"
    );
}
