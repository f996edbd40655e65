use std::os::unix::fs::PermissionsExt;

use super::*;

/// A machine with compilers that only say what they are.
struct Machine {
    root: tempfile::TempDir,
    path: Vec<PathBuf>,
}

impl Machine {
    fn new() -> Self {
        Self {
            root: tempfile::tempdir().unwrap(),
            path: Vec::new(),
        }
    }

    /// An installation with a `rustc` and a `cargo`, and `files` below its `lib/rustlib`.
    fn with(mut self, name: &str, release: &str, files: &[&str]) -> Self {
        let sysroot = self.root.path().join(name);
        let bin = sysroot.join("bin");
        let script = format!(
            "#!/bin/sh\nif [ \"$1\" = --print ]; then echo {}; else echo 'rustc {release} ({name})'; echo 'host: h'; echo 'release: {release}'; fi\n",
            sysroot.display()
        );
        write(&bin.join("rustc"), &script);
        write(&bin.join("cargo"), "#!/bin/sh\n");
        for file in files {
            write(&sysroot.join("lib/rustlib").join(file), "");
        }
        self.path.push(bin);
        self
    }

    fn with_program(mut self, path: &str) -> Self {
        let path = self.root.path().join(path);
        write(&path, "");
        self.path.push(path.parent().unwrap().to_owned());
        self
    }

    fn find(&self) -> Result<Toolchain, ToolchainError> {
        Toolchain::find_in(&env::join_paths(&self.path).unwrap())
    }

    #[track_caller]
    fn check(&self, sysroot: &str, builds_std: bool, linker: &str) {
        let found = self.find().unwrap();
        assert_eq!(found.sysroot(), self.root.path().join(sysroot));
        assert_eq!(found.builds_std(), builds_std);
        assert_eq!(found.linker, self.root.path().join(linker));
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

const CORE: &str = "wasm32-unknown-unknown/lib/libcore-1.rlib";
const STD: &str = "wasm32-unknown-unknown/lib/libstd-1.rlib";
const SOURCE: &str = "src/rust/library/std/Cargo.toml";
const LINKER: &str = "h/bin/rust-lld";

#[test]
fn an_installed_library_comes_before_source() {
    let machine =
        Machine::new()
            .with("debian", "1.96.0", &[SOURCE, LINKER])
            .with("rustup", "1.95.0", &[CORE, STD, LINKER]);
    machine.check("rustup", false, "rustup/lib/rustlib/h/bin/rust-lld");
}

#[test]
fn source_is_built_with_the_linker_of_another_installation() {
    let machine = Machine::new()
        .with("rustup", "1.95.0", &[LINKER])
        .with("debian", "1.96.0", &[SOURCE]);
    machine.check("debian", true, "rustup/lib/rustlib/h/bin/rust-lld");
}

#[test]
fn the_latest_linker_on_the_path_is_taken() {
    let machine = Machine::new()
        .with("debian", "1.96.0", &[SOURCE])
        .with_program("tools/wasm-ld")
        .with_program("tools/wasm-ld-9")
        .with_program("tools/wasm-ld-22")
        .with_program("tools/wasm-ld-wrapper");
    machine.check("debian", true, "tools/wasm-ld-22");
    let dangling = machine.root.path().join("tools/rust-lld");
    std::os::unix::fs::symlink(machine.root.path().join("nowhere"), dangling).unwrap();
    machine.check("debian", true, "tools/wasm-ld-22");
}

#[test]
fn half_a_library_is_none() {
    let machine = Machine::new()
        .with("half", "1.96.0", &[CORE, LINKER])
        .with("whole", "1.96.0", &[CORE, STD, LINKER]);
    machine.check("whole", false, "whole/lib/rustlib/h/bin/rust-lld");
}

#[test]
fn what_is_missing_and_what_to_run_is_said() {
    #[track_caller]
    fn check(machine: &Machine, parts: &[&str]) {
        let error = machine.find().unwrap_err().to_string();
        let ways_out = [
            "rustup target add wasm32-unknown-unknown",
            "apt-get install rustc-web rust-web-src cargo-web",
        ];
        for part in parts.iter().chain(&ways_out) {
            assert!(error.contains(part), "expected `{part}` in: {error}");
        }
    }
    check(&Machine::new(), &["no Rust compiler on the PATH"]);
    check(
        &Machine::new().with("plain", "1.96.0", &[LINKER]),
        &[
            "rustc 1.96.0 (plain)",
            "has neither a standard library for wasm32-unknown-unknown nor its source\n",
        ],
    );
    check(
        &Machine::new().with("unlinked", "1.96.0", &[SOURCE]),
        &["rustc 1.96.0 (unlinked)", "has no linker for WebAssembly\n"],
    );
    check(
        &Machine::new().with("old", "1.63.0", &[CORE, STD, LINKER]),
        &["is older than 1.85\n"],
    );
}

#[test]
fn settings_of_an_outer_cargo_are_dropped() {
    for name in [
        "CARGO",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_MAKEFLAGS",
        "CARGO_MANIFEST_DIR",
        "CARGO_PROFILE_RELEASE_LTO",
        "CARGO_TARGET_DIR",
        "RUSTC",
        "RUSTC_WRAPPER",
        "RUSTFLAGS",
        "RUSTUP_TOOLCHAIN",
    ] {
        assert!(is_inherited_setting(OsStr::new(name)), "{name}");
    }
    for name in [
        "CARGO_HOME",
        "CARGO_NET_OFFLINE",
        "CARGO_REGISTRIES_MINE_INDEX",
        "CARGO_HTTP_PROXY",
        "PATH",
        "HOME",
    ] {
        assert!(!is_inherited_setting(OsStr::new(name)), "{name}");
    }
}
