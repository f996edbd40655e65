use super::*;
use crate::fixture::component;
use crate::{Draft, put_module};
use unskew::ModuleEntry;

fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path());
    (directory, store)
}

#[test]
fn an_artefact_belongs_to_its_component() {
    let component = component("row-transform");
    let artefact = compile(&component, Cpu::best()).unwrap();
    let digest = Digest::of(&component);
    assert!(unskew::decode_artefact(&digest, &artefact).is_ok());
    assert!(unskew::decode_artefact(&Digest::of(b"another"), &artefact).is_err());
    assert_eq!(
        compile(&component, Cpu::best()).unwrap(),
        artefact,
        "the same component gives the same code"
    );
}

#[test]
fn what_is_no_transform_is_not_compiled() {
    let error = compile(b"\0asm\x01\0\0\0", Cpu::best()).unwrap_err();
    assert!(matches!(error, CompileError::Check(CheckError::CoreModule)), "{error}");
}

#[test]
fn the_cache_is_filled_once_and_repaired() {
    let (_directory, store) = store();
    let digest = put_module(&store, &component("row-transform")).unwrap();
    let path = Store::compiled_path(&store.compiled_dir(), &digest, Cpu::best());

    let first = compile_into(&store, &store.compiled_dir(), &digest).unwrap();
    assert!(!first.is_cached);
    let whole = fs::read(&path).unwrap();
    assert_eq!(first.bytes, whole.len());
    assert!(compile_into(&store, &store.compiled_dir(), &digest).unwrap().is_cached);

    let foreign = unskew::encode_artefact(&Digest::of(b"another"), Cpu::best(), b"code");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let mut settings = whole.clone();
    settings[8] ^= 1;
    for damaged in [&b""[..], &whole[..whole.len() - 1], &flipped, &settings, &foreign] {
        fs::write(&path, damaged).unwrap();
        assert!(!compile_into(&store, &store.compiled_dir(), &digest).unwrap().is_cached);
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
    assert_eq!(
        fs::read_dir(store.compiled_dir()).unwrap().count(),
        1,
        "nothing temporary is left"
    );
}

#[test]
fn a_module_that_is_missing_or_damaged_is_not_compiled() {
    let (_directory, store) = store();
    let absent = Digest::of(b"absent");
    let error = compile_into(&store, &store.compiled_dir(), &absent).unwrap_err();
    assert!(
        matches!(&error, CompileError::Missing { digest, .. } if *digest == absent),
        "{error}"
    );

    let digest = put_module(&store, &component("row-transform")).unwrap();
    fs::write(store.module_path(&digest), component("aggregate-transform")).unwrap();
    let error = compile_into(&store, &store.compiled_dir(), &digest).unwrap_err();
    assert!(matches!(error, CompileError::Damaged { .. }), "{error}");
    assert!(!store.compiled_dir().exists());
}

#[test]
fn a_generation_is_prepared_with_progress() {
    let (_directory, store) = store();
    let row = put_module(&store, &component("row-transform")).unwrap();
    let aggregate = put_module(&store, &component("aggregate-transform")).unwrap();
    let entry = |digest| ModuleEntry {
        digest,
        version: "1.0.0".to_owned(),
        golden: crate::put_golden(&store, b"no calls").unwrap(),
    };
    let draft = Draft {
        modules: [("a", row), ("b", aggregate), ("c", row)]
            .map(|(name, digest)| (name.to_owned(), entry(digest)))
            .into(),
        ..Draft::default()
    };
    let generation = crate::commit(&store, draft).unwrap();
    let manifest = store.manifest(generation).unwrap();

    let mut heard = Vec::new();
    let compiled = prepare(
        &store,
        &store.compiled_dir(),
        &manifest,
        Cpu::best(),
        |compiled, done, all| heard.push((compiled.digest, done, all)),
    )
    .unwrap();
    assert_eq!(compiled.len(), 2, "one for each component, not for each name");
    assert!(compiled.iter().all(|compiled| !compiled.is_cached));
    assert_eq!(
        heard.iter().map(|(_, done, all)| (*done, *all)).collect::<Vec<_>>(),
        [(1, 2), (2, 2)]
    );
    let again = prepare(&store, &store.compiled_dir(), &manifest, Cpu::best(), |_, _, _| {}).unwrap();
    assert!(again.iter().all(|compiled| compiled.is_cached));
}
