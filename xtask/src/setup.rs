use std::path::Path;
use std::process::{Command, Stdio};

use crate::{root_command, run};

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
    if Path::new("/usr/bin/apt-get").exists() {
        let apt = |arguments: &[&str]| {
            run(Command::new("apt-get")
                .args(arguments)
                .env("DEBIAN_FRONTEND", "noninteractive"))
        };
        let installed = apt(&["update", "-qq"]).and_then(|()| {
            apt(&[
                &["install", "-y", "-qq", "--no-install-recommends"],
                &DEBIAN_PACKAGES[..],
            ]
            .concat())
        });
        if installed.is_ok() && has_debian_packages() {
            return Ok(());
        }
    }
    Err(format!(
        "there is no Rust toolchain for WebAssembly and none could be installed. Run one of:\n  \
         rustup target add {TARGET}\n  \
         sudo apt-get install {}      (Debian)",
        DEBIAN_PACKAGES.join(" ")
    ))
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
