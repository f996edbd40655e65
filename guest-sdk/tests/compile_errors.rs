//! What an author reads when a transform cannot be. Each case is a crate that does not compile, beside what the compiler
//! says; `TRYBUILD=overwrite cargo test -p unskew-guest --test compile_errors` writes the latter anew.
//!
//! The errors in `macros` are ours to the letter. Those in `compiler` are put together by the compiler from our notes, so
//! their files are those of one compiler, without the sources of the standard library, from which it would quote.

use std::env;
use std::path::Path;
use std::process::Command;

/// The compiler that the files in `compiler` are of.
const COMPILER: &str = "rustc 1.95.";

#[test]
fn compile_errors_are_readable() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/compile_errors/macros/*.rs");
    let (version, sysroot) = (rustc("--version"), rustc("--print=sysroot"));
    if version.starts_with(COMPILER) && !Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library").exists() {
        cases.compile_fail("tests/compile_errors/compiler/*.rs");
    } else {
        eprintln!(
            "tests/compile_errors/compiler is not compared: it is of {COMPILER} without rust-src, this is {version}"
        );
    }
}

fn rustc(argument: &str) -> String {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg(argument).output();
    output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}
