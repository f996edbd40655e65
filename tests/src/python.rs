use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::root;

/// A Python with the packages of `tests/peers/requirements.txt`, which are installed from PyPI if they are missing.
///
/// # Panics
/// There is no Python, or it cannot be given them.
pub fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let output = Command::new(env!("CARGO"))
            .args(["run", "--quiet", "--locked", "--package", "xtask", "--", "python"])
            .current_dir(root())
            .stderr(Stdio::inherit())
            .output()
            .expect("cargo runs");
        assert!(
            output.status.success(),
            "`cargo xtask python` failed: it says why above"
        );
        let printed = String::from_utf8_lossy(&output.stdout);
        PathBuf::from(printed.lines().last().unwrap_or_default())
    })
}
