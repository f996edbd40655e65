use std::path::Path;

use crate::transcript::Transcript;

fn check(name: &str, code: i32, arguments: &[&str]) {
    Transcript::new(Path::new(".")).run(code, arguments).expect(name);
}

#[test]
fn every_command_has_help() {
    check("help", 0, &["--help"]);
    check("help-init", 0, &["init", "--help"]);
    check("help-build", 0, &["build", "--help"]);
    check("help-check", 0, &["check", "--help"]);
    check("help-backfill", 0, &["backfill", "--help"]);
    check("help-audit", 0, &["audit", "--help"]);
    check("help-verify", 0, &["verify", "--help"]);
    check("help-diff", 0, &["diff", "--help"]);
    check("help-materialize", 0, &["materialize", "--help"]);
    check("help-publish", 0, &["publish", "--help"]);
    check("help-prepare", 0, &["prepare", "--help"]);
    check("help-rebuild", 0, &["rebuild", "--help"]);
    check("help-replay", 0, &["replay", "--help"]);
    check("help-snapshot", 0, &["snapshot", "--help"]);
    check("help-snapshot-build", 0, &["snapshot", "build", "--help"]);
    check("help-snapshot-diff", 0, &["snapshot", "diff", "--help"]);
    check("help-snapshot-inspect", 0, &["snapshot", "inspect", "--help"]);
    check("help-snapshot-get", 0, &["snapshot", "get", "--help"]);
    check("help-snapshot-verify", 0, &["snapshot", "verify", "--help"]);
}

#[test]
fn what_is_not_understood_ends_with_2() {
    Transcript::new(Path::new("."))
        .run(2, &["frobnicate"])
        .run(2, &["check"])
        .run(2, &["snapshot", "get", "a.snapshot"])
        .run(2, &["publish", "--watermark", "yesterday"])
        .run(
            2,
            &["materialize", "--view", "v", "--out", "o", "--watermark", "2024-02-30"],
        )
        .expect("usage");
}
