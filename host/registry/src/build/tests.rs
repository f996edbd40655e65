use super::*;

fn crate_of(manifest: Option<&str>) -> (tempfile::TempDir, Result<Package, BuildError>) {
    let directory = tempfile::tempdir().unwrap();
    if let Some(manifest) = manifest {
        fs::write(directory.path().join("Cargo.toml"), manifest).unwrap();
    }
    let package = Package::read(directory.path());
    (directory, package)
}

#[test]
fn a_folder_must_hold_a_crate() {
    let (_directory, package) = crate_of(Some("[package]\nname = \"ctr-history\"\n"));
    assert_eq!(package.unwrap().name, "ctr-history");
    for manifest in [None, Some("[workspace]\n"), Some("[package]\nversion = \"1.0.0\"\n")] {
        let (_directory, package) = crate_of(manifest);
        assert!(matches!(package, Err(BuildError::NoCrate { .. })), "{manifest:?}");
    }
    let (_directory, package) = crate_of(Some("[package"));
    assert!(matches!(package, Err(BuildError::Manifest { .. })));
    let error = Package::read(Path::new("/no/such/folder")).err().unwrap();
    assert!(error.to_string().contains("/no/such/folder/Cargo.toml"), "{error}");
}

#[test]
fn notes_are_dropped_and_types_kept() {
    let wat = |notes: &str| {
        let text = format!(
            r#"(module {notes} (memory 1) (func (export "f") (result i32) i32.const 7) (data (i32.const 0) "{}"))"#,
            "x".repeat(300)
        );
        wat::parse_str(text).unwrap()
    };
    let bare = wat("");
    assert_eq!(without_notes(&bare).unwrap(), bare);
    let noted = wat(r#"(@custom "producers" "a") (@custom ".debug_line" "b") (@custom "name" "")"#);
    assert_ne!(noted, bare);
    assert_eq!(without_notes(&noted).unwrap(), bare);
    let typed = wat(r#"(@custom "component-type:w" "t")"#);
    assert_eq!(without_notes(&typed).unwrap(), typed);
    assert!(without_notes(&bare[..bare.len() - 1]).is_err());
}

#[test]
fn the_module_is_that_of_the_crate_itself() {
    let messages = br#"{"reason":"compiler-artifact","manifest_path":"/dep/Cargo.toml","filenames":["/t/dep.wasm"]}
not a message
{"reason":"build-script-executed","package_id":"x"}
{"reason":"compiler-artifact","manifest_path":"/me/Cargo.toml","filenames":["/t/me.d","/t/me.wasm"]}
{"reason":"build-finished","success":true}
"#;
    assert_eq!(
        module_path(messages, Path::new("/me/Cargo.toml")),
        Some(PathBuf::from("/t/me.wasm"))
    );
    assert_eq!(module_path(messages, Path::new("/other/Cargo.toml")), None);
}
