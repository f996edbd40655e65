//! The whole path on a real ad log: `cargo xtask demo`.
//!
//! It builds the transforms into components, backfills a training set over the first days, materializes snapshots as of
//! the start of the last day, serves the last day's impressions with every item as a candidate through the embedded host,
//! backfills the same rows as though nothing after that start were known, and compares every value bit for bit.

mod flights;
mod log;
mod replay;
mod report;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use hdrhistogram::Histogram;
use miette::{Context, IntoDiagnostic, Result, miette};
use unskew::{Host, HostOptions, Module, Runtime, Store};
use unskew_batch::{
    BackfillOptions, Moment, OutputOptions, Parity, Project, TrainingSet, backfill, compute, manifest_path, publish,
    replay,
};
use unskew_registry::{BuildOptions, COMPONENT_BUDGET_BYTES, build_component, load_modules};

use crate::log::Log;
use crate::report::Report;

const PROJECT: &str = include_str!("../open-bandit/unskew.toml");
const SERVICE: &str = "ranker";
/// Longer requests count as this long: a minute.
const LATENCY_NS_MAX: u64 = 60_000_000_000;
const TRANSFORMS: [&str; 2] = ["ctr-history", "request-context"];

#[derive(Parser)]
#[command(
    name = "cargo xtask demo",
    about = "One component in a backfill and in the embedded host, on a real ad log"
)]
struct Arguments {
    /// Generate a log instead of fetching the Open Bandit sample (package obp from PyPI).
    #[arg(long)]
    synthetic: bool,
    /// End with one JSON object on standard output.
    #[arg(long)]
    json: bool,
    /// Serve the last day's first N impressions only.
    #[arg(long, value_name = "N")]
    requests: Option<usize>,
    /// Replay whole logs as they arrived instead: events pushed and requests evaluated one by one, with swaps, rollbacks and restarts.
    #[arg(long)]
    replay: bool,
    /// With --replay: the first N rows of each log only.
    #[arg(long, value_name = "N", requires = "replay")]
    rows: Option<usize>,
    /// With --replay: of all that is by chance.
    #[arg(long, default_value_t = 1, requires = "replay")]
    seed: u64,
    /// With --replay: how many swaps, rollbacks and restarts, each.
    #[arg(long, default_value_t = 6, requires = "replay")]
    disturbances: usize,
    /// Where the files go; what is there from an earlier run is replaced.
    #[arg(long, default_value = "target/demo")]
    out: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .ok_or_else(|| miette!("the demo lies in no repository"))?;
    if arguments.replay {
        let options = replay::Options {
            out: arguments.out,
            synthetic: arguments.synthetic,
            rows: arguments.rows,
            seed: arguments.seed,
            disturbances: arguments.disturbances,
        };
        return replay::run(repository, &options);
    }
    let start = Instant::now();
    let mut report = Report::default();

    let log = if arguments.synthetic {
        Log::synthetic()
    } else {
        Log::open_bandit(&arguments.out)?
    };
    let directory = arguments.out.join("open-bandit");
    log.write(&directory, arguments.requests)?;
    std::fs::write(directory.join("unskew.toml"), PROJECT).into_diagnostic()?;
    let project = Project::load(&directory.join("unskew.toml")).into_diagnostic()?;
    report.log(&log, start.elapsed());

    let components = build(repository, &mut report)?;
    let runtime = Runtime::new().into_diagnostic()?;
    let store = Store::new(directory.join("store"));
    let modules = load_modules(&runtime, &store, &components).into_diagnostic()?;

    train(&project, &modules, &directory, &mut report)?;
    materialize(&project, &modules, &store, &log, &mut report)?;
    let parity = serve(&project, &modules, &store, &log, &mut report)?;

    report.print(&directory, arguments.json);
    if parity.is_exact() {
        return Ok(());
    }
    for mismatch in &parity.named {
        eprintln!("{mismatch}");
    }
    Err(miette!(
        "{} of {} values differ between batch and serving",
        parity.mismatches,
        parity.values
    ))
}

fn build(repository: &Path, report: &mut Report) -> Result<Vec<Vec<u8>>> {
    let mut components = Vec::new();
    for name in TRANSFORMS {
        let start = Instant::now();
        let options = BuildOptions {
            target_dir: Some(repository.join("target/wasm")),
            ..BuildOptions::default()
        };
        let built = build_component(&repository.join("transforms").join(name), &options)
            .into_diagnostic()
            .wrap_err_with(|| format!("cannot build {name}"))?;
        if built.component.len() > COMPONENT_BUDGET_BYTES {
            return Err(miette!(
                "{name} is {} bytes, beyond {COMPONENT_BUDGET_BYTES}",
                built.component.len()
            ));
        }
        report.component(&built.name, &built.component, start.elapsed());
        components.push(built.component);
    }
    Ok(components)
}

/// The training set: the impressions before the last day, each as of its own time.
fn train(project: &Project, modules: &BTreeMap<String, Module>, directory: &Path, report: &mut Report) -> Result<()> {
    let start = Instant::now();
    let path = directory.join("training.parquet");
    let options = options(directory.join("train_spine.csv"), None);
    let made = backfill(project, modules, &options, &path, |_| {}).into_diagnostic()?;
    report.training(&made, &manifest_path(&path), start.elapsed());
    Ok(())
}

/// Snapshots as of the start of the last day, in a new generation of the store.
fn materialize(
    project: &Project,
    modules: &BTreeMap<String, Module>,
    store: &Store,
    log: &Log,
    report: &mut Report,
) -> Result<()> {
    let start = Instant::now();
    let views = project.catalog().views.iter().map(|view| view.name.as_str());
    let manifest = publish(project, modules, store, views, log.watermark, |_| {}).into_diagnostic()?;
    for (view, entry) in &manifest.snapshots {
        let path = store.snapshot_path(&entry.digest);
        report.snapshot(view, entry, std::fs::metadata(path).into_diagnostic()?.len());
    }
    report.generation(manifest.generation, start.elapsed());
    Ok(())
}

/// The last day through the host, against a backfill of the same rows that knows nothing after the watermark.
fn serve(
    project: &Project,
    modules: &BTreeMap<String, Module>,
    store: &Store,
    log: &Log,
    report: &mut Report,
) -> Result<Parity> {
    let start = Instant::now();
    let options = options(project.path().with_file_name("serve_spine.csv"), Some(log.watermark));
    let set: TrainingSet = compute(project, modules, &options, |_| {}).into_diagnostic()?;
    report.frozen(&set, start.elapsed());

    let host = Host::open(store.root(), HostOptions::default()).into_diagnostic()?;
    let service = host
        .service(SERVICE)
        .ok_or_else(|| miette!("the generation has no service `{SERVICE}`"))?;
    let mut session = host.session();
    let mut latency_ns: Histogram<u64> = Histogram::new_with_max(LATENCY_NS_MAX, 3).into_diagnostic()?;
    let (mut before, mut candidates) = (Instant::now(), 0);
    let start = Instant::now();
    let parity = replay(&service, &mut session, &set, |moment| match moment {
        Moment::Before => before = Instant::now(),
        Moment::After { rows } => {
            latency_ns.saturating_record(before.elapsed().as_nanos() as u64);
            candidates = candidates.max(rows);
        }
    })
    .into_diagnostic()?;
    report.parity(&parity, &latency_ns, candidates, start.elapsed());
    Ok(parity)
}

fn options(spine: PathBuf, freeze_at: Option<unskew_snapshot::EventTime>) -> BackfillOptions {
    BackfillOptions {
        service: SERVICE.to_owned(),
        spine,
        time_column: "timestamp".to_owned(),
        freeze_at,
        output: OutputOptions { overwrite: true },
        ..BackfillOptions::default()
    }
}
