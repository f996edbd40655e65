//! What the source must be like, read from the source and from cargo.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use unskew_tests::root;

/// The only files that may have unsafe code.
const UNSAFE_FILES: [&str; 8] = [
    "benches/compare/src/lmdb.rs",
    "benches/snapshot/src/prefetch.rs",
    "guest-sdk/macros/src/export.rs",
    "guest-sdk/src/component.rs",
    "host/registry/src/features.rs",
    "host/serve/src/load.rs",
    "host/snapshot/src/map.rs",
    "host/snapshot/src/prefetch.rs",
];
const MAX_LINES: usize = 600;

/// The files of the repository, without what is built, by their paths in it.
fn files() -> Vec<String> {
    let mut files = Vec::new();
    let mut directories = vec![root().to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a directory of the repository") {
            let path = entry.expect("an entry of it").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "target" && name != ".git" {
                    directories.push(path);
                }
            } else if let Ok(path) = path.strip_prefix(root()) {
                files.push(path.to_string_lossy().into_owned());
            }
        }
    }
    files.sort();
    assert!(files.len() > 50, "the repository is here");
    files
}

fn rust_files() -> Vec<String> {
    files().into_iter().filter(|path| path.ends_with(".rs")).collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/") || path.contains("/benches/") || path.starts_with("tests/")
}

/// The text without comments and string literals, so that words in them are no code.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    for line in text.lines() {
        let mut in_string = false;
        let mut previous = ' ';
        for letter in line.chars() {
            if letter == '"' && previous != '\\' && previous != '\'' {
                in_string = !in_string;
            } else if !in_string {
                code.push(letter);
                if code.ends_with("//") {
                    code.truncate(code.len() - 2);
                    break;
                }
            }
            previous = letter;
        }
        code.push('\n');
    }
    code
}

fn has_word(code: &str, word: &str) -> bool {
    code.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .any(|found| found == word)
}

/// The names of the crates that `package` is made of, itself included and macros apart, which run where it is built.
fn tree(package: &str, options: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "-p",
            package,
            "-e",
            "normal,no-proc-macro",
            "--prefix",
            "none",
            "--offline",
            "--locked",
            "-f",
            "{p}",
        ])
        .args(options)
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

#[track_caller]
fn assert_without(package: &str, forbidden: &[&str]) {
    let below = tree(package, &[]);
    let found: Vec<&String> = below
        .iter()
        .filter(|name| {
            forbidden.iter().any(|forbidden| match forbidden.strip_suffix('*') {
                Some(prefix) => name.starts_with(prefix),
                None => name == forbidden,
            })
        })
        .collect();
    assert!(found.is_empty(), "{package} must not stand on {found:?}");
}

#[test]
fn crates_stand_on_those_below_them() {
    let frame: BTreeSet<String> = ["bytemuck", "unskew-frame"].map(str::to_owned).into();
    assert_eq!(tree("unskew-frame", &[]), frame);
    assert_without("unskew-snapshot", &["wasmtime*", "arrow*", "parquet"]);
    // What is embedded in a serving process runs code and compiles none. (The engine takes three collections from the
    // compiler's family: cranelift-bforest, -bitset and -entity.)
    assert_without(
        "unskew",
        &[
            "cranelift-codegen*",
            "cranelift-frontend",
            "cranelift-native",
            "wasmtime-internal-cranelift",
            "winch*",
            "regalloc2",
            "arrow*",
            "parquet",
            "tokio",
            "clap",
            "prometheus*",
            "wit-component",
            "wit-parser",
            "wat",
            "wast",
        ],
    );
    assert_without(
        "unskew-guest",
        &["wasmtime*", "unskew", "unskew-snapshot", "serde", "rkyv"],
    );

    // Beside the layers: what a serving process may add to the host.
    assert_without(
        "unskew-metrics",
        &[
            "unskew-registry",
            "unskew-batch",
            "unskew-cli",
            "cranelift-codegen*",
            "arrow*",
            "tokio",
            "clap",
        ],
    );

    assert_without(
        "unskew-batch",
        &["object_store", "tokio", "hyper", "ureq", "rustls", "ring"],
    );

    // Each may stand on those before it.
    let layers = [
        "unskew-frame",
        "unskew-snapshot",
        "unskew",
        "unskew-registry",
        "unskew-batch",
        "unskew-objects",
        "unskew-cli",
    ];
    for (index, package) in layers.iter().enumerate() {
        assert_without(package, &layers[index + 1..]);
        let below = tree(package, &["--depth", "1"]);
        assert!(below.contains(*package), "{package} is a crate");
    }
}

/// The library files, without tests, whose code has one of these words.
fn library_files_with(words: &[&str]) -> Vec<String> {
    let is_library = |path: &String| {
        ["host/", "guest-sdk/", "wit/", "transforms/"]
            .iter()
            .any(|part| path.starts_with(part))
            && !path.starts_with("host/cli/")
            && !is_test(path)
    };
    rust_files()
        .into_iter()
        .filter(is_library)
        .filter(|path| {
            let code = code_of(&read(path));
            words.iter().any(|word| has_word(&code, word))
        })
        .collect()
}

#[test]
fn batch_and_serving_enter_components_through_one_function() {
    // The two ways into a component, which only `Instance` takes; module.rs calls `describe` alone.
    let entries = library_files_with(&["get_typed_func", "get_func", "TypedFunc"]);
    assert_eq!(
        entries,
        [
            "host/serve/src/direct.rs",
            "host/serve/src/lifted.rs",
            "host/serve/src/module.rs"
        ]
    );
    for (way, file) in [
        ("Direct", "host/serve/src/direct.rs"),
        ("Lifted", "host/serve/src/lifted.rs"),
    ] {
        let mut users = library_files_with(&[way]);
        users.retain(|user| user != file);
        assert_eq!(users, ["host/serve/src/instance.rs"], "{way}");
    }
    let module = code_of(&read("host/serve/src/module.rs"));
    assert_eq!(module.matches("get_typed_func::<(), (WitDescriptor,)>").count(), 1);
    assert_eq!(module.matches("get_typed_func").count(), 1);
    assert!(!has_word(&module, "TypedFunc"));
}

#[test]
fn time_is_an_argument() {
    // A backfill saves what it does after a while, and knows inputs by when they were changed.
    // host.rs waits for a first generation and runtime.rs counts deadlines, by the monotonic clock; what is counted has durations, and a scrape an age: no
    // value of a feature depends on either.
    assert_eq!(
        library_files_with(&["Instant", "SystemTime", "UNIX_EPOCH"]),
        [
            "host/batch/src/engine.rs",
            "host/batch/src/job.rs",
            "host/metrics/src/lib.rs",
            "host/serve/src/host.rs",
            "host/serve/src/metrics/stopwatch.rs",
            "host/serve/src/runtime.rs"
        ]
    );
}

#[test]
fn unsafe_code_is_where_it_is_expected() {
    let found: Vec<String> = rust_files()
        .into_iter()
        .filter(|path| has_word(&code_of(&read(path)), "unsafe"))
        .collect();
    assert_eq!(found, UNSAFE_FILES);
    for path in rust_files() {
        let text = read(&path);
        let is_expected = ["expect(", "allow(", "warn("].iter().any(|level| {
            code_of(&text).contains(&format!("{level}unsafe_code"))
                || code_of(&text).contains(&format!("{level}\n    unsafe_code"))
        });
        assert!(
            !is_expected || UNSAFE_FILES.contains(&path.as_str()),
            "{path} switches the lint off"
        );
    }
}

#[test]
fn the_scan_for_unsafe_sees_through_comments_and_strings() {
    let check = |text: &str, expected: bool| assert_eq!(has_word(&code_of(text), "unsafe"), expected, "{text}");
    check("unsafe { x() }", true);
    check("let a = \"b\"; unsafe fn f() {}", true);
    check("// unsafe", false);
    check("let a = \"unsafe\";", false);
    check("#![expect(unsafe_code)]", false);
    check("call(\"\\\"\", unsafe { x() })", true);
}

#[test]
fn the_engine_names_its_version() {
    let lock = read("Cargo.lock");
    let package = lock
        .split("[[package]]")
        .find(|package| package.contains("\nname = \"wasmtime\"\n"));
    let version = package
        .and_then(|package| package.lines().find_map(|line| line.strip_prefix("version = ")))
        .expect("the engine is in Cargo.lock")
        .trim_matches('"');
    let settings = unskew::settings(unskew::Cpu::Baseline);
    assert!(
        settings.lines().any(|line| line == format!("wasmtime {version}")),
        "{settings}"
    );
}

#[test]
fn files_are_short() {
    for path in rust_files() {
        let is_ours = ["host/", "guest-sdk/", "wit/", "transforms/"]
            .iter()
            .any(|start| path.starts_with(start));
        if !is_ours || is_test(&path) {
            continue;
        }
        let lines = read(&path).lines().count();
        assert!(
            lines <= MAX_LINES,
            "{path} has {lines} lines, more than {MAX_LINES}: split it"
        );
    }
}

#[test]
fn nothing_is_left_to_do() {
    // Written apart, so that this file has none of them.
    let forbidden = ["todo", "unimplemented"].map(|name| format!("{name}!")).into_iter();
    let forbidden: Vec<String> = forbidden
        .chain(["ignore", "should_panic"].map(|name| format!("#[{name}")))
        .collect();
    for path in rust_files() {
        let code = code_of(&read(&path));
        let found: Vec<&String> = forbidden.iter().filter(|word| code.contains(word.as_str())).collect();
        assert!(found.is_empty(), "{path} has {found:?}");
    }
}

#[test]
fn crates_take_the_lints_of_the_workspace() {
    let manifests: Vec<String> = files()
        .into_iter()
        .filter(|path| path.ends_with("/Cargo.toml"))
        .collect();
    assert!(manifests.len() > 10, "{manifests:?}");
    for path in manifests {
        let manifest = read(&path);
        // Guests of the tests are workspaces of their own.
        if manifest.lines().any(|line| line.trim() == "[workspace]") {
            continue;
        }
        let mut lines = manifest.lines().skip_while(|line| line.trim() != "[lints]").skip(1);
        assert_eq!(lines.next().map(str::trim), Some("workspace = true"), "{path}");
    }
}

/// The targets of the links of a Markdown text.
fn links(text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets
        .map(|target| target.split('#').next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn links_between_documents_lead_somewhere() {
    for path in files().into_iter().filter(|path| path.ends_with(".md")) {
        let directory: PathBuf = root().join(&path).parent().map(Path::to_owned).unwrap_or_default();
        for link in links(&read(&path)) {
            if link.is_empty() || link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            assert!(
                directory.join(&link).exists(),
                "{path} links to {link}, which is not there"
            );
        }
    }
}
