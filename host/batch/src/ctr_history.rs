//! Real aggregates for tests.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use tempfile::TempDir;
use unskew::{Module, Runtime, Store};
use unskew_registry::{BuildOptions, build_component, load_modules};

type Modules = BTreeMap<String, Module>;

/// `transforms/ctr-history` by its name, built once a process.
pub(crate) fn modules() -> &'static Modules {
    static MODULES: OnceLock<(Modules, TempDir)> = OnceLock::new();
    &MODULES.get_or_init(|| build("transforms/ctr-history")).0
}

/// `benches/windows/exact`: count, sum, mean and last over windows with exact tails.
pub(crate) fn exact_spend() -> &'static Module {
    static MODULES: OnceLock<(Modules, TempDir)> = OnceLock::new();
    MODULES
        .get_or_init(|| build("benches/windows/exact"))
        .0
        .values()
        .next()
        .unwrap()
}

fn build(crate_dir: &str) -> (Modules, TempDir) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let options = BuildOptions {
        target_dir: Some(root.join("target/wasm")),
        ..BuildOptions::default()
    };
    let built = build_component(&root.join(crate_dir), &options).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path());
    let modules = load_modules(&Runtime::new().unwrap(), &store, &[built.component]).unwrap();
    (modules, directory)
}
