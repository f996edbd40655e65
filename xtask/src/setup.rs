use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{root, root_command, run};

const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "rust-web-src", "cargo-web"];
const TARGET: &str = "wasm32-unknown-unknown";

/// Makes sure that there is a compiler for the transforms: rustup's target, else Debian's packages, installing whichever
/// can be had.
pub fn wasm_toolchain() -> Result<(), String> {
    if has_rustup_target() || has_debian_packages() {
        return Ok(());
    }
    eprintln!("no Rust toolchain for WebAssembly yet: installing one");
    let rustup = run(root_command("rustup").args(["target", "add", TARGET]));
    if rustup.is_ok() && has_rustup_target() {
        return Ok(());
    }
    if apt_install(&DEBIAN_PACKAGES).is_ok() && has_debian_packages() {
        return Ok(());
    }
    Err(format!(
        "there is no Rust toolchain for WebAssembly and none could be installed. Run one of:\n  \
         rustup target add {TARGET}\n  \
         sudo apt-get install {}      (Debian)",
        DEBIAN_PACKAGES.join(" ")
    ))
}

/// Makes sure that there is strace(1), with which a test breaks system calls.
pub fn strace() -> Result<(), String> {
    let has_strace = || {
        let version = Command::new("strace").arg("--version").stdout(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    };
    if !cfg!(target_os = "linux") || has_strace() {
        return Ok(());
    }
    match apt_install(&["strace"]) {
        Ok(()) if has_strace() => Ok(()),
        _ => Err("strace(1) is missing and could not be installed: install the package `strace`".to_owned()),
    }
}

/// The other tools that tests and benches compare with.
const PYTHON_PACKAGES: &str = "tests/peers/requirements.txt";

/// A Python of a virtual environment that has the other tools, which are installed from PyPI if they are missing.
pub fn python() -> Result<PathBuf, String> {
    python_in("python", Path::new(PYTHON_PACKAGES))
}

/// The same of one tool that does not go together with the others: of the packages in `benches/backfill/<tool>.txt`.
pub fn python_of(tool: &str) -> Result<PathBuf, String> {
    let packages = Path::new("benches/backfill").join(tool).with_extension("txt");
    match root().join(&packages).exists() {
        true => python_in(&format!("python-{tool}"), &packages),
        false => Err(format!("there is no tool `{tool}`; there are: feast, pyspark")),
    }
}

fn python_in(name: &str, packages: &Path) -> Result<PathBuf, String> {
    let directory = root().join("target").join(name);
    let python = directory.join("bin/python");
    if !python.exists() {
        run(root_command("python3").args(["-m", "venv"]).arg(&directory))?;
    }
    run(Command::new(&python)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--requirement",
        ])
        .arg(root().join(packages)))?;
    Ok(python)
}

/// Installs packages where Debian's installer is.
fn apt_install(packages: &[&str]) -> Result<(), String> {
    if !Path::new("/usr/bin/apt-get").exists() {
        return Err("there is no apt-get".to_owned());
    }
    let apt = |arguments: &[&str]| {
        run(Command::new("apt-get")
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive"))
    };
    apt(&["update", "-qq"])?;
    apt(&[&["install", "-y", "-qq", "--no-install-recommends"], packages].concat())
}

fn has_rustup_target() -> bool {
    let output = root_command("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .output();
    output.is_ok_and(|output| {
        output.status.success() && Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir()
    })
}

fn has_debian_packages() -> bool {
    Command::new("dpkg")
        .arg("--status")
        .args(DEBIAN_PACKAGES)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
