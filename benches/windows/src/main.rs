//! Count, sum, mean and last over 1 h, 24 h, 7 d and 30 d as of each row, Parquet to Parquet, by unskew through a component and by
//! other tools, against reading and sorting the events alone; and reading such windows when serving.
//!
//! Every tool runs in a process of its own, on the same files, in turns; the answers are compared before anything is told.
//! Counts and last values must be equal, sums and means equal but for a billionth: no other tool says in which order it adds, nor
//! rounds once.

mod agree;
mod data;
mod figures;
mod floor;
mod serving;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::{Parser, ValueEnum};
use unskew::{Module, Runtime, Store};
use unskew_backfill_benches::run::{Run, machine};
use unskew_batch::{BackfillOptions, OutputOptions, Project, Resources, backfill};
use unskew_registry::{BuildOptions, build_component, load_modules};

use crate::agree::Features;
use crate::data::Size;
use crate::figures::{Figures, run};

#[derive(Parser)]
struct Arguments {
    /// A tenth of the rows, one round.
    #[arg(long)]
    quick: bool,
    /// What is measured; all, if nothing is named.
    #[arg(long, value_enum)]
    case: Option<Case>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// A Python that has the packages of requirements.txt; without one unskew is compared with the floor alone.
    #[arg(long)]
    python: Option<PathBuf>,
    /// Where the files go.
    #[arg(long, default_value = "target/window-bench")]
    directory: PathBuf,
    /// How often each tool runs; the medians are told.
    #[arg(long)]
    rounds: Option<usize>,
    /// The memory of unskew, in MiB.
    #[arg(long, default_value_t = 1_024)]
    memory_mib: u64,
    /// Threads of every tool.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Runs one tool and prints its figures: what the bench starts as a process of its own.
    #[arg(long, hide = true)]
    role: Option<Role>,
    /// What cargo passes.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Case {
    /// 2 M rows with the clicks among 20 M impressions of a million users: 600,000 events.
    Clicks,
    /// 2 M rows with all 20 M impressions.
    Impressions,
    /// A request of one user, and of 100 users.
    Serving,
}

impl Case {
    fn size(self, is_quick: bool) -> Size {
        let rows = |rows: u64| if is_quick { rows / 10 } else { rows };
        Size {
            spine_rows: rows(2_000_000),
            impressions: rows(20_000_000),
            users: rows(1_000_000),
            percent: if self == Self::Clicks { 3 } else { 100 },
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Role {
    Floor,
    Unskew,
}

const WINDOWS: [&str; 4] = ["1h", "24h", "7d", "30d"];

const PROJECT: &str = r#"
[project]
name = "bench"

[[entity]]
name = "user"
keys = [{ name = "user", type = "i64" }]

[[source]]
name = "events"
path = "events.parquet"
event_time = "t"

[[view]]
name = "spend"
entity = "user"
source = "events"
module = "MODULE"

[[service]]
name = "model"
request = [{ name = "user", type = "i64" }]
features = [FEATURES]

[[service]]
name = "candidates"
candidate = [{ name = "user", type = "i64" }]
features = [FEATURES]
"#;

/// The features, of each window those of the module.
fn feature_names() -> Vec<String> {
    let of_window = |window: &&str| ["count", "sum", "mean", "last"].map(|name| format!("{name}_{window}"));
    WINDOWS.iter().flat_map(of_window).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    if let Some(role) = arguments.role {
        return run_role(&arguments, role);
    }
    for case in [Case::Clicks, Case::Impressions, Case::Serving] {
        match case {
            _ if arguments.case.is_some_and(|asked| asked != case) => {}
            Case::Serving => serving::run(&arguments)?,
            _ => run_tools(&arguments, case)?,
        }
    }
    Ok(())
}

/// The files of a case.
struct Files {
    directory: PathBuf,
}

impl Files {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn out(&self, tool: &str) -> PathBuf {
        self.path(&format!("{tool}.parquet"))
    }

    /// Writes what is not there yet, and compiles the module.
    fn prepare(&self, size: &Size, module: &str) -> Result<(), Box<dyn Error>> {
        fs::create_dir_all(&self.directory)?;
        let features: Vec<String> = feature_names().iter().map(|name| format!("\"spend:{name}\"")).collect();
        let project = PROJECT
            .replace("MODULE", module)
            .replace("FEATURES", &features.join(", "));
        fs::write(self.path("unskew.toml"), project)?;
        let built = build_component(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join(module.split('-').next().unwrap_or_default()),
            &BuildOptions {
                target_dir: Some(unskew_tests::root().join("target/wasm")),
                ..BuildOptions::default()
            },
        )?;
        fs::write(self.path("module.wasm"), built.component)?;
        self.modules()?;
        let mark = format!("{size:?}");
        if fs::read_to_string(self.path("size")).is_ok_and(|known| known == mark) {
            return Ok(());
        }
        data::write_spine(&self.path("spine.parquet"), size)?;
        data::write_events(&self.path("events.parquet"), size)?;
        Ok(fs::write(self.path("size"), mark)?)
    }

    fn store(&self) -> Store {
        Store::new(self.path("store"))
    }

    /// The module, whose native code is kept in the store.
    fn modules(&self) -> Result<BTreeMap<String, Module>, Box<dyn Error>> {
        let component = fs::read(self.path("module.wasm"))?;
        Ok(load_modules(&Runtime::new()?, &self.store(), &[component])?)
    }

    fn project(&self) -> Result<Project, Box<dyn Error>> {
        Ok(Project::load(&self.path("unskew.toml"))?)
    }
}

fn run_role(arguments: &Arguments, role: Role) -> Result<(), Box<dyn Error>> {
    let files = Files {
        directory: arguments.directory.clone(),
    };
    let work = || -> Result<(), Box<dyn Error>> {
        match role {
            Role::Floor => Ok(floor::read_and_sort(&files.path("events.parquet"), arguments.threads)
                .map_err(|error| error.to_string())?),
            Role::Unskew => {
                let options = BackfillOptions {
                    service: "model".to_owned(),
                    spine: files.path("spine.parquet"),
                    time_column: "t".to_owned(),
                    output: OutputOptions { overwrite: true },
                    max_quarantined: 0,
                    resources: Resources {
                        memory_bytes: arguments.memory_mib << 20,
                        threads: arguments.threads,
                        ..Resources::default()
                    },
                    ..BackfillOptions::default()
                };
                backfill(
                    &files.project()?,
                    &files.modules()?,
                    &options,
                    &files.out("unskew"),
                    |_| (),
                )?;
                Ok(())
            }
        }
    };
    Run::print(env!("CARGO_PKG_VERSION"), work)
}

const PEERS: [&str; 2] = ["duckdb", "polars"];

fn run_tools(arguments: &Arguments, case: Case) -> Result<(), Box<dyn Error>> {
    let size = case.size(arguments.quick);
    let name = format!("{case:?}-{}", size.impressions);
    let files = Files {
        directory: arguments.directory.join(name.to_lowercase()),
    };
    files.prepare(&size, "exact-spend")?;
    let mut tools = vec!["floor", "unskew"];
    if arguments.python.is_some() {
        tools.extend(PEERS);
    }
    let rounds = arguments.rounds.unwrap_or(if arguments.quick { 1 } else { 3 });
    let mut runs: BTreeMap<&str, Vec<Run>> = BTreeMap::new();
    for round in 0..rounds {
        for tool in &tools {
            let command = command_of(arguments, &files, tool)?;
            runs.entry(tool).or_default().push(run(tool, command)?);
        }
        if round == 0 {
            compare(&files, &tools, arguments.threads)?;
        }
    }
    tell(arguments, &size, &files, &tools, &runs);
    Ok(())
}

/// What runs a tool in a process of its own.
fn command_of(arguments: &Arguments, files: &Files, tool: &str) -> Result<Command, Box<dyn Error>> {
    let mut command;
    match (&arguments.python, PEERS.contains(&tool)) {
        (Some(python), true) => {
            command = Command::new(python);
            command
                .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("peers.py"))
                .arg(tool);
            command.args(["spine.parquet", "events.parquet"].map(|name| files.path(name)));
            command.arg(files.out(tool)).arg(arguments.threads.to_string());
        }
        _ => {
            command = Command::new(std::env::current_exe()?);
            command.args(["--role", tool, "--directory"]).arg(&files.directory);
            command.args(["--memory-mib", &arguments.memory_mib.to_string()]);
            command.args(["--threads", &arguments.threads.to_string()]);
        }
    }
    Ok(command)
}

/// How far from ours a sum or a mean of another tool may be, relative to it or to 1: they add in orders of their own, and Polars
/// takes away what leaves a window.
const TOLERANCE: f64 = 1e-9;

/// That all tools gave the same.
fn compare(files: &Files, tools: &[&str], threads: usize) -> Result<(), Box<dyn Error>> {
    let names = feature_names();
    let read = |tool: &str| Features::read(&files.out(tool), "spend", &names, threads);
    let tolerance = |name: &str| {
        if name.starts_with("count") || name.starts_with("last") {
            0.0
        } else {
            TOLERANCE
        }
    };
    let ours = read("unskew")?;
    for tool in tools.iter().filter(|tool| PEERS.contains(tool)) {
        let theirs = read(tool)?;
        let expected = if *tool == "polars" { 12 } else { names.len() };
        if theirs.count() != expected {
            return Err(format!("{tool} has {} features, not {expected}", theirs.count()).into());
        }
        if let Some(difference) = ours.difference(&theirs, tolerance)? {
            return Err(format!("{tool} has another answer: {difference}").into());
        }
    }
    Ok(())
}

fn tell(arguments: &Arguments, size: &Size, files: &Files, tools: &[&str], runs: &BTreeMap<&str, Vec<Run>>) {
    let bytes = |name: &str| fs::metadata(files.path(name)).map_or(0, |metadata| metadata.len());
    let about = format!(
        "count, sum, mean and last over {} as of each of {} rows, of {} % of {} impressions of {} users (Zipf, exponent 1); {} + {} \
         bytes of Parquet to Parquet, zstd level 3 (floats of unskew: 1); {} threads of {}; {} MiB for unskew; {} rounds, medians; \
         the floor reads and sorts the events; polars without last",
        WINDOWS.join(", "),
        size.spine_rows,
        size.percent,
        size.impressions,
        size.users,
        bytes("spine.parquet"),
        bytes("events.parquet"),
        arguments.threads,
        machine(),
        arguments.memory_mib,
        runs["unskew"].len(),
    );
    let figures = Figures {
        bench: "windows",
        about,
        rows: size.spine_rows,
        threads: arguments.threads,
        json: arguments.json,
    };
    for (index, tool) in tools.iter().enumerate() {
        let out = bytes(&format!("{tool}.parquet"));
        figures.print(index == 0, tool, &runs[tool], &runs["floor"], out);
    }
}
