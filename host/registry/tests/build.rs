//! A transform from its source to a host's cache: the one test that runs the whole toolchain. The guest is written against
//! the contract alone, without the SDK.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};

use unskew::{Digest, ModuleEntry, Store};
use unskew_registry::{BuildError, BuildOptions, COMPONENT_BUDGET_BYTES, Draft, World};
use wasmtime::component::{Component, Linker, Val};

/// A copy of the guest and of the contract that it names, in a folder that is kept between runs so that dependencies are
/// compiled once.
fn checkout(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    for file in [
        "wit/transform.wit",
        "tests/guests/plain-row/Cargo.toml",
        "tests/guests/plain-row/Cargo.lock",
        "tests/guests/plain-row/src/lib.rs",
    ] {
        fs::create_dir_all(copy.join(file).parent().unwrap()).unwrap();
        fs::copy(root.join(file), copy.join(file)).unwrap();
    }
    copy.join("tests/guests/plain-row")
}

fn options(target: &str) -> BuildOptions {
    BuildOptions {
        target_dir: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join(target)),
        is_locked: true,
        ..BuildOptions::default()
    }
}

#[test]
fn a_crate_becomes_a_component_that_runs() {
    let guest = checkout("one");
    let built = unskew_registry::build_component(&guest, &options("one-target")).unwrap();
    assert_eq!((built.name.as_str(), built.world), ("plain-row", World::RowTransform));
    assert!(
        built.component.len() < COMPONENT_BUDGET_BYTES,
        "{} bytes",
        built.component.len()
    );
    assert!(
        !contains(&built.component, env!("CARGO_TARGET_TMPDIR")),
        "a path of this machine is in the component"
    );

    // Another checkout, another target folder, settings of a developer's own: the same bytes.
    let guest = checkout("two/deeper");
    let manifest = fs::read_to_string(guest.join("Cargo.toml")).unwrap();
    let profile = "\n[profile.release]\nopt-level = 1\ndebug = true\noverflow-checks = true\n";
    fs::write(guest.join("Cargo.toml"), manifest + profile).unwrap();
    let again = unskew_registry::build_component(&guest, &options("two-target")).unwrap();
    assert_eq!(Digest::of(&again.component), Digest::of(&built.component));

    runs(&built.component);
    is_published(&built.component);

    // A mistake in the source is cargo's to explain.
    fs::write(
        guest.join("src/lib.rs"),
        "compile_error!(\"this message belongs to a test\");",
    )
    .unwrap();
    let error = unskew_registry::build_component(&guest, &options("two-target")).unwrap_err();
    assert!(
        matches!(&error, BuildError::Compile { name, .. } if name == "plain-row"),
        "{error}"
    );
    fs::write(guest.join("src/lib.rs"), "//! Nothing.\n").unwrap();
    let error = unskew_registry::build_component(&guest, &options("two-target")).unwrap_err();
    assert!(matches!(error, BuildError::NoBindings { .. }), "{error}");
}

/// Instantiates it with an empty linker: there is nothing to import.
fn runs(component: &[u8]) {
    let engine = unskew::engine().unwrap();
    let artefact = unskew_registry::compile(component, unskew::Cpu::best()).unwrap();
    assert!(unskew::decode_artefact(&Digest::of(component), &artefact).is_ok());

    let component = Component::new(&engine, component).unwrap();
    let mut store = wasmtime::Store::new(&engine, ());
    store.set_epoch_deadline(1);
    let instance = Linker::<()>::new(&engine).instantiate(&mut store, &component).unwrap();
    let row = instance
        .get_export_index(&mut store, None, "unskew:transform/row@0.1.0")
        .unwrap();
    let apply = instance.get_export_index(&mut store, Some(&row), "apply").unwrap();
    let apply = instance.get_func(&mut store, apply).unwrap();
    let frame = Val::List(vec![Val::U64(1), Val::U64(u64::MAX)]);
    let mut results = [Val::Bool(false)];
    apply
        .call(&mut store, std::slice::from_ref(&frame), &mut results)
        .unwrap();
    assert_eq!(results, [Val::Result(Ok(Some(Box::new(frame))))]);
}

fn is_published(component: &[u8]) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path());
    let digest = unskew_registry::put_module(&store, component).unwrap();
    let entry = ModuleEntry {
        digest,
        version: "0.1.0".to_owned(),
        golden: unskew_registry::put_golden(&store, b"no calls").unwrap(),
    };
    let draft = Draft {
        modules: [("plain-row".to_owned(), entry)].into(),
        ..Draft::default()
    };
    let generation = unskew_registry::commit(&store, draft).unwrap();
    let manifest = store.manifest(generation).unwrap();
    let compiled = unskew_registry::prepare(
        &store,
        &store.compiled_dir(),
        &manifest,
        unskew::Cpu::best(),
        |_, _, _| {},
    )
    .unwrap();
    assert_eq!(compiled.len(), 1);
    let path = Store::compiled_path(&store.compiled_dir(), &digest, unskew::Cpu::best());
    assert!(unskew::decode_artefact(&digest, &fs::read(path).unwrap()).is_ok());
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}
