use std::fs;

use super::*;

fn manifest(folder: &Path, names: &[&str]) -> BackfillManifest {
    let digest = |name: &str| {
        let path = folder.join(name);
        fs::write(&path, name).unwrap();
        InputEntry {
            path,
            bytes: name.len() as u64,
            digest: Digest::of(name.as_bytes()),
        }
    };
    fs::write(folder.join("out"), "out").unwrap();
    BackfillManifest {
        semantics: 1,
        version: "1.0.0".to_owned(),
        job: Digest::of(b"job"),
        service: "ranker".to_owned(),
        freeze_at_us: None,
        filter: String::new(),
        lag_us: 0,
        toolchain: "rustc 1".to_owned(),
        generation: Some(7),
        rows: 3,
        output: Digest::of(b"out"),
        output_bytes: 3,
        inputs: names.iter().map(|name| digest(name)).collect(),
        modules: BTreeMap::from([("ctr".to_owned(), Digest::of(b"ctr"))]),
        ties: BTreeMap::from([("users".to_owned(), 2)]),
        views: BTreeMap::new(),
        quarantined: 0,
        engine: Digest::of(b"engine"),
    }
}

#[test]
fn a_file_that_is_not_what_it_was_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let manifest = manifest(folder.path(), &["a", "b", "c", "d"]);
    assert_eq!(manifest.verify(&Storage::default(), &out), []);
    fs::write(folder.path().join("a"), "x").unwrap();
    fs::write(folder.path().join("b"), "longer").unwrap();
    fs::remove_file(folder.path().join("c")).unwrap();
    let stale = manifest.verify(&Storage::default(), &out);
    let names: Vec<_> = stale
        .iter()
        .map(|stale| stale.path.file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert!(stale[0].reason.starts_with("is sha256:"), "{}", stale[0].reason);
    assert_eq!(stale[1].reason, "has 6 bytes, not 1");
    assert!(stale[2].reason.starts_with("cannot be read"), "{}", stale[2].reason);
    fs::write(&out, "tuo").unwrap();
    assert_eq!(manifest.verify(&Storage::default(), &out)[0].path, out);
}

#[test]
fn what_moved_is_told_by_kind() {
    let folder = tempfile::tempdir().unwrap();
    let before = manifest(folder.path(), &["a", "b"]);
    assert_eq!(before.diff(&before), []);

    // The same files elsewhere are the same inputs.
    let elsewhere = tempfile::tempdir().unwrap();
    assert_eq!(before.diff(&manifest(elsewhere.path(), &["a", "b"])), []);

    let mut after = manifest(folder.path(), &["b", "c"]);
    after.modules.insert("ctr".to_owned(), Digest::of(b"other"));
    after.modules.insert("new".to_owned(), Digest::of(b"new"));
    after.freeze_at_us = Some(0);
    // Of the same modules, which alone count.
    after.generation = None;
    after.toolchain = "rustc 2".to_owned();
    after.rows = 4;
    let told: Vec<_> = before
        .diff(&after)
        .into_iter()
        .map(|d| (d.kind, d.what, d.before == "none"))
        .collect();
    let expected = [
        (Moved::Question, "freeze", true),
        (Moved::Code, "toolchain", false),
        (Moved::Code, "module ctr", false),
        (Moved::Code, "module new", true),
        (Moved::Data, "input a", false),
        (Moved::Data, "input c", true),
        (Moved::Result, "rows", false),
    ];
    assert_eq!(
        told,
        expected.map(|(kind, what, is_new)| (kind, what.to_owned(), is_new))
    );
}

#[test]
fn a_manifest_is_read_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let before = manifest(folder.path(), &["a"]);
    let path = manifest_path(&folder.path().join("out"));
    fs::write(&path, serde_json::to_vec(&before).unwrap()).unwrap();
    assert_eq!(BackfillManifest::read(&path).unwrap(), before);
    fs::write(&path, "{}").unwrap();
    assert!(matches!(
        BackfillManifest::read(&path),
        Err(ManifestError::Malformed { .. })
    ));
    fs::remove_file(&path).unwrap();
    assert!(matches!(BackfillManifest::read(&path), Err(ManifestError::Read { .. })));
}
