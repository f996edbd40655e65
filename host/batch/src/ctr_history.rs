//! A real aggregate for tests.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use tempfile::TempDir;
use unskew::{Module, Runtime, Store};
use unskew_registry::{BuildOptions, build_component, load_modules};

/// `transforms/ctr-history` by its name, built once a process.
pub(crate) fn modules() -> &'static BTreeMap<String, Module> {
    static MODULES: OnceLock<(BTreeMap<String, Module>, TempDir)> = OnceLock::new();
    let (modules, _) = MODULES.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
        let options = BuildOptions {
            target_dir: Some(root.join("target/wasm")),
            ..BuildOptions::default()
        };
        let built = build_component(&root.join("transforms/ctr-history"), &options).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(directory.path());
        let modules = load_modules(&Runtime::new().unwrap(), &store, &[built.component]).unwrap();
        (modules, directory)
    });
    modules
}
