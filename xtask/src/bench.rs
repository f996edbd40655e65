use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{root, root_command, setup};

/// The benches, in the order in which they run when none is named.
const BENCHES: [&str; 11] = [
    "evaluate", "knobs", "request", "fresh", "swap", "hostile", "lookup", "layouts", "write", "backfill", "windows",
];
/// The bench that runs when it is named: it builds the stores that it compares, which takes long.
const COMPARE: &str = "compare";
/// The same, of another runtime of WebAssembly, and the function that it runs.
const UDF: &str = "udf";
const UDF_TARGET: &str = "wasm32-wasip1";
/// The benches that other tools are installed for, and their packages.
const WITH_PEERS: [(&str, &str); 2] = [
    ("backfill", "unskew-backfill-benches"),
    ("windows", "unskew-window-benches"),
];

#[derive(clap::Args)]
pub struct Arguments {
    /// evaluate, knobs, request, fresh, swap, hostile, lookup, layouts, write, backfill, windows, compare or udf; all but
    /// compare, which builds RocksDB, and udf, which builds another runtime, if none is named.
    name: Option<String>,
    /// Fewer samples and smaller tables: about a minute once built.
    #[arg(long)]
    quick: bool,
    /// One JSON object a line on standard output, the bench's own words on standard error.
    #[arg(long)]
    json: bool,
    /// Of the bench of backfills: join, uniform, hot or wide.
    #[arg(long)]
    case: Option<String>,
    /// Of the bench of backfills: so many times the rows.
    #[arg(long)]
    scale: Option<u64>,
    /// Of the bench of backfills: tools that take long, feast or pyspark (which needs Java), to be compared too.
    #[arg(long, value_delimiter = ',')]
    with: Vec<String>,
}

/// Runs the bench that is named, or all.
pub fn run(arguments: &Arguments) -> Result<(), String> {
    match &arguments.name {
        None => BENCHES.iter().try_for_each(|name| run_one(name, arguments)),
        Some(name) if BENCHES.contains(&name.as_str()) || name == COMPARE => run_one(name, arguments),
        Some(name) if name == UDF => run_udf(arguments),
        Some(name) => Err(format!(
            "there is no bench `{name}`; there are: {}, {COMPARE}, {UDF}",
            BENCHES.join(", ")
        )),
    }
}

fn run_one(name: &str, arguments: &Arguments) -> Result<(), String> {
    if name == "evaluate" || name == "knobs" {
        setup::wasm_toolchain()?;
        return run_evaluate(name, arguments);
    }
    let package = match name {
        "request" | "fresh" | "swap" | "hostile" => "unskew-benches",
        _ => "unskew-snapshot-benches",
    };
    if package == "unskew-benches" || name == "windows" {
        setup::wasm_toolchain()?;
    }
    let mut command = root_command("cargo");
    if let Some((_, package)) = WITH_PEERS.iter().find(|(bench, _)| *bench == name) {
        // With the other tools that are there; with none of them where Python is not.
        let python = setup::python();
        command.args(["run", "--release", "--locked", "--package", package, "--"]);
        match python {
            Ok(python) => drop(command.arg("--python").arg(python)),
            Err(error) => eprintln!("without other tools: {error}"),
        }
        for tool in &arguments.with {
            command.arg(format!("--{tool}")).arg(setup::python_of(tool)?);
        }
        command.args(arguments.case.iter().flat_map(|case| ["--case", case]));
        command.args(
            arguments
                .scale
                .iter()
                .flat_map(|scale| ["--scale".to_owned(), scale.to_string()]),
        );
    } else if name == COMPARE {
        command.args([
            "run",
            "--release",
            "--locked",
            "--manifest-path",
            "benches/compare/Cargo.toml",
        ]);
        command.args(["--target-dir", "target/compare", "--"]);
    } else {
        command.args(["bench", "--locked", "--package", package, "--bench", name, "--"]);
    }
    command.args(arguments.quick.then_some("--quick"));
    command.args(arguments.json.then_some("--json"));
    crate::run(&mut command)
}

/// Builds the peer's module, then the bench, and runs it.
fn run_udf(arguments: &Arguments) -> Result<(), String> {
    setup::wasm_toolchain()?;
    crate::run(root_command("rustup").args(["target", "add", UDF_TARGET]))
        .map_err(|error| format!("the peer's module needs the target {UDF_TARGET}: {error}"))?;
    let cargo = |command: &str| {
        let mut cargo = root_command("cargo");
        cargo.args([
            command,
            "--release",
            "--locked",
            "--manifest-path",
            "benches/udf/Cargo.toml",
        ]);
        cargo
    };
    let modules = "target/udf";
    crate::run(cargo("build").args([
        "--package",
        "unskew-udf-guest",
        "--target",
        UDF_TARGET,
        "--target-dir",
        modules,
    ]))?;
    let module = format!("{modules}/{UDF_TARGET}/release/unskew_udf_guest.wasm");
    let mut bench = cargo("run");
    bench.args(["--target-dir", modules, "--", "--module", &module]);
    bench.args(arguments.quick.then_some("--quick"));
    bench.args(arguments.json.then_some("--json"));
    crate::run(&mut bench)
}

/// With `json` the figures are read from where criterion leaves them.
fn run_evaluate(name: &str, arguments: &Arguments) -> Result<(), String> {
    let mut command = root_command("cargo");
    command.args(["bench", "--package", "unskew-benches", "--bench", name, "--"]);
    if arguments.quick {
        command.arg("--quick");
    }
    let results = root().join("target/criterion");
    if !arguments.json {
        return crate::run(&mut command);
    }
    // What an earlier run left is not of this one.
    let _ = fs::remove_dir_all(&results);
    command.stdout(std::process::Stdio::from(std::io::stderr()));
    crate::run(&mut command)?;
    let mut cases = Vec::new();
    collect(&results, &mut cases)?;
    cases.sort_by_key(|case| (case.group.clone(), case.rows, case.function.clone()));
    for case in &cases {
        println!("{}", case.object(name, &cases));
    }
    Ok(())
}

/// One case of criterion's: `group/function/rows`.
struct Case {
    group: String,
    function: String,
    rows: u64,
    /// Of the inputs, as a frame.
    bytes: u64,
    median_ns: f64,
}

impl Case {
    fn read(estimates: &Path) -> Option<Self> {
        let benchmark: Value =
            serde_json::from_slice(&fs::read(estimates.with_file_name("benchmark.json")).ok()?).ok()?;
        let estimates: Value = serde_json::from_slice(&fs::read(estimates).ok()?).ok()?;
        Some(Self {
            group: benchmark["group_id"].as_str()?.to_owned(),
            function: benchmark["function_id"].as_str()?.to_owned(),
            rows: benchmark["value_str"].as_str()?.parse().ok()?,
            bytes: benchmark["throughput"]["ElementsAndBytes"]["bytes"].as_u64()?,
            median_ns: estimates["median"]["point_estimate"].as_f64()?,
        })
    }

    fn object(&self, bench: &str, cases: &[Self]) -> Value {
        let mut object = json!({
            "bench": bench,
            "case": format!("{}/{}", self.group, self.function),
            "rows": self.rows,
            "bytes": self.bytes,
            "threads": 1,
            "value": self.median_ns,
            "unit": "ns",
        });
        let native = cases
            .iter()
            .find(|case| case.group == self.group && case.rows == self.rows && case.function == "native");
        if let Some(native) = native.filter(|_| self.function != "native") {
            object["ratio"] = json!(self.median_ns / native.median_ns);
            object["relative_to"] = json!("native");
        }
        object
    }
}

fn collect(directory: &Path, cases: &mut Vec<Case>) -> Result<(), String> {
    let entries = fs::read_dir(directory).map_err(|error| format!("cannot read {}: {error}", directory.display()))?;
    for entry in entries.flatten() {
        let path: PathBuf = entry.path();
        if path.is_dir() {
            collect(&path, cases)?;
        } else if path.ends_with("new/estimates.json") {
            let case = Case::read(&path).ok_or_else(|| format!("cannot read {}", path.display()))?;
            cases.push(case);
        }
    }
    Ok(())
}
