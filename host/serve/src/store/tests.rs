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
                golden: digest,
            },
        )]),
        snapshots: BTreeMap::from([(
            "view".to_owned(),
            SnapshotEntry {
                deltas: Vec::new(),
                digest,
                watermark_us: -1,
                row_count: u64::MAX,
                late_count: None,
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
    assert_eq!(shown(store.golden_path(&digest)), format!("/s/goldens/{hex}.golden"));
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
    let (_directory, store) = store(&expected.encode().unwrap());
    assert_eq!(store.manifest(7).unwrap(), expected);
    let error = store.manifest(8).unwrap_err();
    assert!(
        matches!(&error, StoreError::Read { path, .. } if *path == store.manifest_path(8)),
        "{error}"
    );
}

#[test]
fn a_manifest_of_another_number_or_format_is_refused() {
    let check = |bytes: &[u8], expected: &str| {
        let (_directory, store) = store(bytes);
        let error = store.manifest(7).unwrap_err().to_string();
        let path = store.manifest_path(7);
        assert_eq!(error, format!("{} is damaged: {expected}", path.display()));
    };
    check(&manifest(6).encode().unwrap(), "it says that it is generation 6");
    // The first format had no digest.
    let older = Manifest {
        format: 1,
        ..manifest(7)
    };
    let of_format_1 = "it is of format 1, this version reads 2: publish again";
    check(&serde_json::to_vec_pretty(&older).unwrap(), of_format_1);
    assert_eq!(older.encode(), Err(of_format_1.to_owned()));
    let bare = serde_json::to_vec_pretty(&manifest(7)).unwrap();
    check(&bare, "its first field is not its digest");
}

/// It is plain JSON for everyone else.
#[test]
fn a_manifest_begins_with_the_digest_of_the_rest() {
    let bytes = manifest(7).encode().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (first, rest) = text.split_at(text.match_indices('\n').nth(1).unwrap().0 + 1);
    assert_eq!(json["digest"], Digest::of(rest.as_bytes()).to_string());
    assert_eq!(first, format!("{{\n  \"digest\": {},\n", json["digest"]));
    assert_eq!(json["generation"], 7);
}

#[test]
fn damage_anywhere_in_a_manifest_is_noticed() {
    let whole = manifest(7).encode().unwrap();
    let check = |bytes: &[u8], what: String| assert!(Manifest::decode(bytes).is_err(), "{what}");
    for len in 0..whole.len() {
        check(&whole[..len], format!("{len} bytes"));
    }
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            check(&bytes, format!("bit {bit} of byte {at}"));
        }
    }
    check(&[&whole[..], b" "].concat(), "a byte more".to_owned());
    let (_directory, store) = store(&whole[1..]);
    assert!(matches!(store.manifest(7), Err(StoreError::Damaged { .. })));
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
    let written = Store::encode_current(12);
    check(&written, Some(12));
    for len in 3..written.len() - 1 {
        check(&written[..len], None);
    }
    check(&written.replacen("12", "13", 1), None);
    let missing = Store::new(directory.path().join("missing"));
    assert!(
        matches!(missing.current(), Err(StoreError::Read { .. })),
        "no store is not an empty store"
    );
}
