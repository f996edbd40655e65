//! An as-of join, Parquet to Parquet, by unskew and by other tools, against reading and writing alone.
//!
//! Every tool runs in a process of its own, on the same files, in turns; the answers are compared before anything is told.

mod agree;
mod data;
mod results;
mod tool;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use serde_json::json;
use unskew_backfill_benches::files;
use unskew_backfill_benches::run::Run;
use unskew_batch::{BackfillManifest, BackfillOptions, OutputOptions, Project, Resources, backfill, manifest_path};

use crate::agree::Features;
use crate::data::Size;
use crate::results::Results;
use crate::tool::Tool;

#[derive(Clone, Parser)]
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
    /// A Python that has PySpark, which is compared too.
    #[arg(long)]
    pyspark: Option<PathBuf>,
    /// A Python that has Feast, which is compared on a tenth of the rows, of users that have as many rows each and of those that
    /// do not, and on a hundredth of these.
    #[arg(long)]
    feast: Option<PathBuf>,
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
    /// The same of users that have as many rows each.
    Uniform,
    /// 100 k rows with 10 M rows of two features, all of one user.
    Hot,
    /// 20 k rows with 50 k rows of 2,000 features.
    Wide,
    /// 100 M rows with 5 M rows of ten features: unskew alone, in 4 GiB and in a quarter of it, which must give the same bytes.
    Spine,
}

impl Case {
    /// So many times the rows, divided by `parts`.
    fn size(self, scale: u64, parts: u64) -> Size {
        let (spine_rows, history_rows, users, features) = match self {
            Self::Join | Self::Uniform => (2_000_000, 5_000_000, 1_000_000, 10),
            Self::Hot => (100_000, 10_000_000, 1, 2),
            Self::Wide => (20_000, 50_000, 10_000, 2_000),
            Self::Spine => (100_000_000, 5_000_000, 1_000_000, 10),
        };
        let rows = |rows: u64| rows * scale / parts;
        Size {
            spine_rows: rows(spine_rows),
            history_rows: rows(history_rows),
            users: rows(users).max(1),
            features,
            is_uniform: self == Self::Uniform,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Role {
    Floor,
    Unskew,
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
    let answer = match role {
        Role::Floor => {
            let answer = files::read(&files.out("unskew"), arguments.threads, usize::MAX);
            answer.map_err(|error| error.to_string())?
        }
        Role::Unskew => Vec::new(),
    };
    Run::print(env!("CARGO_PKG_VERSION"), || {
        match role {
            Role::Floor => files::read_and_write(
                &files.path("spine.parquet"),
                &files.path("history.parquet"),
                &answer,
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
        Ok(())
    })
}

/// Runs the case that is asked for, and those of the tools that are compared on fewer rows.
fn run_all(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    if arguments.case == Case::Spine {
        return run_spine(arguments);
    }
    let pythons = [("pyspark", &arguments.pyspark), ("feast", &arguments.feast)];
    let mut tools = vec![Tool::ours("unskew"), Tool::ours("floor")];
    if let Some(python) = &arguments.python {
        tools.extend(["duckdb", "polars", "pandas"].map(|name| Tool::peer(name, python)));
    }
    let [pyspark, feast] = pythons.map(|(name, python)| Some(Tool::peer(name, python.as_ref()?)));
    tools.extend(pyspark);
    run_case(arguments, arguments.case, if arguments.quick { 10 } else { 1 }, &tools)?;
    if let Some(feast) = feast {
        // Of users with many rows it has no room for more than the last, or for as many.
        for (case, parts) in [(Case::Uniform, 10), (Case::Join, 10), (Case::Join, 100)] {
            run_case(arguments, case, parts, &[Tool::ours("unskew"), feast.clone()])?;
        }
    }
    Ok(())
}

/// A training set that no tool's memory holds, so that there is no other answer to compare it with.
fn run_spine(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let size = Case::Spine.size(arguments.scale, if arguments.quick { 10 } else { 1 });
    let files = Files {
        directory: arguments.directory.join(format!("spine-{}", size.spine_rows)),
    };
    files.prepare(&size)?;
    let mut made = Vec::new();
    for memory_mib in [4_096, 1_024] {
        let arguments = Arguments {
            memory_mib,
            ..arguments.clone()
        };
        let run = Tool::ours("unskew").run(&arguments, &files, &size)??;
        let manifest = BackfillManifest::read(&manifest_path(&files.out("unskew")))?;
        let told = format!(
            "backfill: {} rows with {} of ten features in {memory_mib} MiB, {} threads: {:.1} s, {:.1} s of processors, peak {:.0} MiB",
            manifest.rows, size.history_rows, arguments.threads, run.wall_s, run.cpu_s, run.peak_mib
        );
        match arguments.json {
            true => {
                println!(
                    "{}",
                    json!({ "bench": "backfill", "case": "spine", "rows": manifest.rows, "memory_mib": memory_mib, "run": run })
                )
            }
            false => println!("{told}"),
        }
        made.push((manifest.rows, manifest.output));
        fs::remove_file(files.out("unskew"))?;
    }
    match made[0] == made[1] && made[0].0 == size.spine_rows {
        true => Ok(()),
        false => Err("the budget shows in the training set, or rows are lost".into()),
    }
}

fn run_case(arguments: &Arguments, case: Case, parts: u64, tools: &[Tool]) -> Result<(), Box<dyn Error>> {
    let size = case.size(arguments.scale, parts);
    let name = format!("{case:?}-{}-{}", size.spine_rows, size.history_rows);
    let files = Files {
        directory: arguments.directory.join(name.to_lowercase()),
    };
    files.prepare(&size)?;
    let rounds = arguments.rounds.unwrap_or(if arguments.quick { 1 } else { 3 });
    let mut results = Results::default();
    for round in 0..rounds {
        for tool in tools {
            if round > 0 && tool.is_slow() {
                continue;
            }
            let outcome = tool.run(arguments, &files, &size)?;
            results.add(tool, outcome);
        }
        if round == 0 {
            compare(&files, &size, tools, arguments.threads, &mut results)?;
        }
    }
    results.tell(arguments, &size, &files, tools)
}

/// That all tools gave the same, row by row and bit by bit.
fn compare(
    files: &Files,
    size: &Size,
    tools: &[Tool],
    threads: usize,
    results: &mut Results,
) -> Result<(), Box<dyn Error>> {
    let ours = Features::read(&files.out("unskew"), size.features, threads)?;
    let peers: Vec<&Tool> = tools
        .iter()
        .filter(|tool| tool.is_peer() && results.has(tool))
        .collect();
    for tool in peers {
        let theirs = Features::read(&files.out(tool.name), size.features, threads)?;
        // Some leave out rows that have no features.
        let here = ours.rows_of(&theirs)?;
        if let Some(difference) = here.difference(&theirs) {
            return Err(format!("{} has another answer: {difference}", tool.name).into());
        }
        if here.row_count() < ours.row_count() {
            let lost = ours.row_count() - here.row_count();
            results.note(tool, format!("loses {lost} rows that have no features"));
        }
    }
    Ok(())
}
