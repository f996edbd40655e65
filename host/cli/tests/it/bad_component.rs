use unskew_tests::component;

use crate::shop::{files, shop, shop_with_components, write};
use crate::transcript::{Transcript, run, text};

#[test]
fn what_is_no_transform_is_refused_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let wat = |text: &str| wat::parse_str(text).unwrap();
    let whole = component("ctr-history");
    let mut damaged = whole.to_vec();
    damaged[whole.len() / 2..][..64].fill(0xff);
    for (name, content) in [
        ("empty.wasm", Vec::new()),
        ("text.wasm", b"(component)".to_vec()),
        ("four-bytes.wasm", whole[..4].to_vec()),
        ("half.wasm", whole[..whole.len() / 2].to_vec()),
        ("damaged.wasm", damaged),
        ("core.wasm", wat("(module (func (export \"f\")))")),
        ("nothing.wasm", wat("(component)")),
        (
            "clock.wasm",
            wat(r#"(component (import "wasi:clocks/wall-clock@0.2.0" (instance)))"#),
        ),
        ("large.wasm", vec![0; (8 << 20) + 1]),
    ] {
        write(folder.path(), name, content);
    }
    let mut transcript = Transcript::new(folder.path());
    transcript.run(1, &["check", "absent.wasm"]).run(1, &["check", "."]);
    for name in ["empty", "text", "four-bytes", "core", "nothing", "clock", "large"] {
        transcript.run(1, &["check", &format!("{name}.wasm")]);
    }
    transcript.expect("bad-component");

    // Offsets depend on the compiler that built the component.
    for name in ["half.wasm", "damaged.wasm"] {
        let output = run(folder.path(), &["check", name]);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(name) && error.contains("offset"), "{error}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_bad_component_publishes_nothing() {
    let folder = shop_with_components();
    write(folder.path(), "core.wasm", wat::parse_str("(module)").unwrap());
    Transcript::new(folder.path())
        .run(1, &["publish", "--watermark", "2024-01-14", "--module", "core.wasm"])
        .run(
            1,
            &[
                "publish",
                "--watermark",
                "2024-01-14",
                "--module",
                "request-context.wasm",
            ],
        )
        .expect("bad-publish");
    let store = folder.path().join(".unskew/store");
    assert!(!store.join("current").exists());
    assert!(!store.join("generations").exists());
}

#[test]
fn a_build_needs_a_crate() {
    let folder = shop();
    write(folder.path(), "Cargo.toml", "[workspace]\n");
    let before = files(folder.path());
    for (crate_dir, expected) in [
        ("absent", "cannot read absent/Cargo.toml"),
        (".", "is not the manifest of a crate"),
    ] {
        let output = run(folder.path(), &["build", crate_dir]);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(
            error.contains(expected) && error.contains("help: give the folder of a crate"),
            "{error}"
        );
    }
    assert_eq!(files(folder.path()), before);
}
