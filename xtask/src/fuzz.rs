use std::path::Path;
use std::process::Stdio;

use crate::{root, root_command, run};

/// The targets of the package `fuzz`, and the folder of seeds of each.
const TARGETS: [(&str, &str); 3] = [
    ("open_bytes", "seeds"),
    ("open_fixed", "seeds"),
    ("states", "state-seeds"),
];
/// Enough for a few groups of rows; larger inputs only take longer.
const MAX_INPUT_BYTES: u32 = 16_384;

/// Runs each fuzz target under AddressSanitizer, from the committed seeds and what earlier runs found.
pub fn fuzz(seconds: u32) -> Result<(), String> {
    install()?;
    let fuzz = root().join("fuzz");
    for (target, seeds) in TARGETS {
        let corpus = fuzz.join("corpus").join(target);
        std::fs::create_dir_all(&corpus).map_err(|error| format!("cannot make {}: {error}", corpus.display()))?;
        let folder = |path: &Path| path.display().to_string();
        run(root_command("cargo")
            .current_dir(&fuzz)
            .args(["+nightly", "fuzz", "run", target])
            .args([folder(&corpus), folder(&fuzz.join(seeds)), "--".to_owned()])
            .args([
                format!("-max_total_time={seconds}"),
                format!("-max_len={MAX_INPUT_BYTES}"),
                "-print_final_stats=1".to_owned(),
            ]))?;
    }
    Ok(())
}

/// Runs components around generated core modules.
pub fn generated(components: u64, first_seed: u64) -> Result<(), String> {
    run(root_command("cargo")
        .args([
            "run",
            "--release",
            "--locked",
            "--manifest-path",
            "fuzz/generated/Cargo.toml",
        ])
        .args(["--target-dir", "target", "--"])
        .args(["--components", &components.to_string()])
        .args(["--first-seed", &first_seed.to_string()]))
}

/// Makes sure that there are a nightly toolchain, which has the sanitizer, and cargo-fuzz.
fn install() -> Result<(), String> {
    let works = |arguments: &[&str]| {
        let status = root_command("cargo")
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    };
    if !works(&["+nightly", "--version"]) {
        run(root_command("rustup").args(["toolchain", "install", "nightly", "--profile", "minimal"]))
            .map_err(|error| format!("fuzzing needs a nightly toolchain, for AddressSanitizer: {error}"))?;
    }
    if !works(&["fuzz", "--version"]) {
        run(root_command("cargo").args(["install", "cargo-fuzz", "--locked"]))?;
    }
    Ok(())
}
