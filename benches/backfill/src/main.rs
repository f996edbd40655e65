//! An as-of join, Parquet to Parquet, by unskew and by other tools, against reading and writing alone.
//!
//! Every tool runs in a process of its own, on the same files, in turns; the answers are compared before anything is told.

mod agree;
mod data;
mod files;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::json;
use unskew_batch::{BackfillOptions, OutputOptions, Project, Resources, backfill};

use crate::agree::Features;
use crate::data::Size;

#[derive(Parser)]
struct Arguments {
    /// A tenth of the rows, one round.
    #[arg(long)]
    quick: bool,
    /// What is joined.
    #[arg(long, value_enum, default_value_t)]
    case: Case,
    /// So many times the rows.
    #[arg(long, default_value_t = 1)]
    scale: u64,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// A Python that has the packages of requirements.txt; without one unskew is compared with the floor alone.
    #[arg(long)]
    python: Option<PathBuf>,
    /// Where the files go.
    #[arg(long, default_value = "target/backfill-bench")]
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

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Case {
    /// 2 M rows with 5 M rows of ten features, a million users.
    #[default]
    Join,
    /// 100 k rows with 10 M rows of two features, all of one user.
    Hot,
    /// 20 k rows with 50 k rows of 2,000 features.
    Wide,
}

impl Case {
    fn size(self, scale: u64, is_quick: bool) -> Size {
        let (spine_rows, history_rows, users, features) = match self {
            Self::Join => (2_000_000, 5_000_000, 1_000_000, 10),
            Self::Hot => (100_000, 10_000_000, 1, 2),
            Self::Wide => (20_000, 50_000, 10_000, 2_000),
        };
        let rows = |rows: u64| rows * scale / if is_quick { 10 } else { 1 };
        Size {
            spine_rows: rows(spine_rows),
            history_rows: rows(history_rows),
            users: rows(users).max(1),
            features,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Role {
    Floor,
    Unskew,
}

/// What one run took.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Run {
    version: String,
    wall_s: f64,
    cpu_s: f64,
    peak_mib: f64,
}

const PROJECT: &str = r#"
[project]
name = "bench"

[[entity]]
name = "user"
keys = [{ name = "user", type = "i64" }]

[[source]]
name = "history"
path = "history.parquet"
event_time = "t"

[[view]]
name = "history"
entity = "user"
source = "history"
features = [FEATURES]

[[service]]
name = "model"
request = [{ name = "user", type = "i64" }]
features = [NAMES]
"#;

fn project(size: &Size) -> String {
    let feature = |index: u64| {
        let feature_type = if index % 10 < 8 { "f64" } else { "i64" };
        format!("{{ name = \"f{index}\", type = \"{feature_type}\" }}")
    };
    let list = |each: &dyn Fn(u64) -> String| (0..size.features).map(each).collect::<Vec<_>>().join(", ");
    PROJECT
        .replace("FEATURES", &list(&feature))
        .replace("NAMES", &list(&|index| format!("\"history:f{index}\"")))
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    match arguments.role {
        Some(role) => run_role(&arguments, role),
        None => run_all(&arguments),
    }
}

/// The files of the bench.
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

    /// Writes what is not there yet.
    fn prepare(&self, size: &Size) -> Result<(), Box<dyn Error>> {
        fs::create_dir_all(&self.directory)?;
        fs::write(self.path("unskew.toml"), project(size))?;
        let mark = format!("{size:?}");
        if fs::read_to_string(self.path("size")).is_ok_and(|known| known == mark) {
            return Ok(());
        }
        data::write_spine(&self.path("spine.parquet"), size)?;
        data::write_history(&self.path("history.parquet"), size)?;
        Ok(fs::write(self.path("size"), mark)?)
    }
}

fn run_role(arguments: &Arguments, role: Role) -> Result<(), Box<dyn Error>> {
    let files = Files {
        directory: arguments.directory.clone(),
    };
    let (cpu, start) = (cpu_s()?, Instant::now());
    match role {
        Role::Floor => files::read_and_write(
            &files.path("spine.parquet"),
            &files.path("history.parquet"),
            &files.out("floor"),
            arguments.threads,
        )
        .map_err(|error| error.to_string())?,
        Role::Unskew => {
            let project = Project::load(&files.path("unskew.toml"))?;
            let options = BackfillOptions {
                service: "model".to_owned(),
                spine: files.path("spine.parquet"),
                time_column: "t".to_owned(),
                output: OutputOptions { overwrite: true },
                resources: Resources {
                    memory_bytes: arguments.memory_mib << 20,
                    threads: arguments.threads,
                    ..Resources::default()
                },
                ..BackfillOptions::default()
            };
            backfill(&project, &BTreeMap::new(), &options, &files.out("unskew"), |_| ())?;
        }
    }
    let run = Run {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        wall_s: start.elapsed().as_secs_f64(),
        cpu_s: cpu_s()? - cpu,
        peak_mib: peak_mib()?,
    };
    println!("{}", serde_json::to_string(&run)?);
    Ok(())
}

/// The processor time of this process so far.
fn cpu_s() -> Result<f64, Box<dyn Error>> {
    const TICKS_PER_S: f64 = 100.0;
    let stat = fs::read_to_string("/proc/self/stat")?;
    // Behind the name, which may have spaces: fields 14 and 15 of proc(5) are utime and stime.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks =
        |field: usize| -> Result<f64, Box<dyn Error>> { Ok(fields.get(field - 3).ok_or("a short stat")?.parse()?) };
    Ok((ticks(14)? + ticks(15)?) / TICKS_PER_S)
}

/// The most memory that this process has had.
fn peak_mib() -> Result<f64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .ok_or("no VmHWM")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}

const PEERS: [&str; 3] = ["duckdb", "polars", "pandas"];

fn run_all(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let size = arguments.case.size(arguments.scale, arguments.quick);
    let name = format!("{:?}-{}-{}", arguments.case, size.spine_rows, size.history_rows);
    let files = Files {
        directory: arguments.directory.join(name.to_lowercase()),
    };
    files.prepare(&size)?;
    let mut tools = vec!["floor", "unskew"];
    if arguments.python.is_some() {
        tools.extend(PEERS);
    }
    let rounds = arguments.rounds.unwrap_or(if arguments.quick { 1 } else { 3 });
    let mut runs: BTreeMap<&str, Vec<Run>> = BTreeMap::new();
    for round in 0..rounds {
        for tool in &tools {
            runs.entry(tool)
                .or_default()
                .push(run_tool(arguments, &files, &size, tool)?);
        }
        if round == 0 {
            compare(&files, &size, &tools, arguments.threads)?;
        }
    }
    tell(arguments, &size, &files, &tools, &runs)
}

/// Runs a tool in a process of its own.
fn run_tool(arguments: &Arguments, files: &Files, size: &Size, tool: &str) -> Result<Run, Box<dyn Error>> {
    let mut command = match (&arguments.python, PEERS.contains(&tool)) {
        (Some(python), true) => {
            let mut command = Command::new(python);
            command
                .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("peers.py"))
                .arg(tool);
            command.args(["spine.parquet", "history.parquet"].map(|name| files.path(name)));
            command.arg(files.out(tool));
            command.args([arguments.threads.to_string(), size.features.to_string()]);
            command
        }
        _ => {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["--role", tool, "--directory"]).arg(&files.directory);
            command.args(["--memory-mib", &arguments.memory_mib.to_string()]);
            command.args(["--threads", &arguments.threads.to_string()]);
            command
        }
    };
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("{tool} failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// That all tools gave the same, row by row and bit by bit.
fn compare(files: &Files, size: &Size, tools: &[&str], threads: usize) -> Result<(), Box<dyn Error>> {
    let ours = Features::read(&files.out("unskew"), size.features, threads)?;
    for tool in tools.iter().filter(|tool| PEERS.contains(tool)) {
        let theirs = Features::read(&files.out(tool), size.features, threads)?;
        if let Some(difference) = ours.difference(&theirs) {
            return Err(format!("{tool} has another answer: {difference}").into());
        }
    }
    Ok(())
}

fn tell(
    arguments: &Arguments,
    size: &Size,
    files: &Files,
    tools: &[&str],
    runs: &BTreeMap<&str, Vec<Run>>,
) -> Result<(), Box<dyn Error>> {
    let median = |tool: &str, figure: fn(&Run) -> f64| {
        let mut values: Vec<f64> = runs[tool].iter().map(figure).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let bytes = |name: &str| fs::metadata(files.path(name)).map_or(0, |metadata| metadata.len());
    let about = format!(
        "as-of join, {} spine rows x {} history rows of {} features, {} users (Zipf, exponent 1); {} + {} bytes of Parquet to \
         Parquet, zstd level 3; {} threads of {}; {} MiB for unskew; {} rounds, medians",
        size.spine_rows,
        size.history_rows,
        size.features,
        size.users,
        bytes("spine.parquet"),
        bytes("history.parquet"),
        arguments.threads,
        machine(),
        arguments.memory_mib,
        runs["unskew"].len(),
    );
    if !arguments.json {
        println!("{about}\n");
        println!(
            "{:<18} {:>8} {:>8} {:>8} {:>9} {:>12}",
            "", "wall s", "x floor", "cpu s", "peak MiB", "bytes"
        );
    }
    for tool in tools {
        let (wall_s, cpu_s, peak_mib) = (
            median(tool, |run| run.wall_s),
            median(tool, |run| run.cpu_s),
            median(tool, |run| run.peak_mib),
        );
        // Of each round, as what slows one down slows its neighbours down.
        let mut ratios: Vec<f64> = runs[tool]
            .iter()
            .zip(&runs["floor"])
            .map(|(run, floor)| run.wall_s / floor.wall_s)
            .collect();
        ratios.sort_by(f64::total_cmp);
        let ratio = ratios[ratios.len() / 2];
        let out = bytes(&format!("{tool}.parquet"));
        let name = format!("{tool} {}", runs[tool][0].version);
        match arguments.json {
            true => println!(
                "{}",
                json!({
                    "bench": "backfill", "case": tool, "version": runs[tool][0].version, "rows": size.spine_rows, "bytes": out,
                    "threads": arguments.threads, "value": wall_s, "unit": "s", "ratio": ratio, "relative_to": "floor",
                    "cpu_s": cpu_s, "peak_mib": peak_mib, "about": about,
                })
            ),
            false => println!("{name:<18} {wall_s:>8.2} {ratio:>8.2} {cpu_s:>8.2} {peak_mib:>9.0} {out:>12}"),
        }
    }
    Ok(())
}

/// The processor.
fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let names = cpus
        .lines()
        .filter_map(|line| line.strip_prefix("model name")?.split(':').nth(1));
    let names: Vec<&str> = names.map(str::trim).collect();
    format!("{} x {}", names.len(), names.first().unwrap_or(&"an unknown processor"))
}
