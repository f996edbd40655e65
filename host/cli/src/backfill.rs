use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::{register, register_conditional_shutdown};
use unskew_batch::{
    BackfillError, BackfillOptions, DEFAULT_MAX_QUARANTINED, Interrupt, OutputOptions, Project, Pruning, ReadError,
    Resources, WriteError, backfill, manifest_path, quarantine_path,
};
use unskew_snapshot::{LateEvents, Lateness};

use crate::answer::{Answer, Facts, grouped};
use crate::failure::{Failure, INTERRUPTED};
use crate::output::{check_directory, is_same_file, late_text};
use crate::project::explain_source;
use crate::question::QuestionArgs;
use crate::value::{parse_bytes, parse_lag};
use crate::watch::{Style, Watch};

/// Compute the features of a service for the rows of a file.
///
/// Every row of the spine has a prediction time, the fields of a request and perhaps labels. Each gets the features that a
/// host would have served at that time, from what was known then and nothing later. The result is a Parquet file: the columns
/// of the spine, then the features. Beside it, <OUT>.manifest.json names everything it was made of.
///
/// Spines and sources are .csv, .jsonl or .parquet files, or directories of .parquet files, here or, by a URL such as
/// s3://bucket/rows.parquet, in S3, Google Cloud Storage, Azure or on the web.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  unskew backfill --service ranking --spine impressions.csv --out train.parquet \\
    --module modules/ctr-history.wasm --module modules/request-context.wasm")]
pub struct Backfill {
    #[command(flatten)]
    question: QuestionArgs,
    /// The Parquet file to write, or its URL.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Write a column <FEATURE>:status for every feature of a view: present, null, not_found, outside_ttl.
    #[arg(long)]
    statuses: bool,
    /// Replace the output if it is there, and begin anew if another backfill of it was not finished.
    #[arg(long)]
    overwrite: bool,
    /// Go on with a backfill of this output that was not finished, if there is one: the result is the same to the byte. It must
    /// be of the same inputs, modules, definitions and options.
    #[arg(long, conflicts_with = "overwrite")]
    resume: bool,
    /// The most rows for which a component may fail before the backfill does; 0 for none. They are in the output, with missing
    /// values or fallbacks, and are named in <OUT>.quarantine.jsonl.
    #[arg(long, value_name = "COUNT", default_value_t = DEFAULT_MAX_QUARANTINED)]
    max_quarantined: u64,
    /// How to say how far it is, on standard error.
    #[arg(long, value_name = "STYLE", value_enum, default_value_t)]
    progress: Style,
    #[command(flatten)]
    resources: ResourceArgs,
}

/// What the work may use. The result does not depend on it.
#[derive(Args, Debug)]
struct ResourceArgs {
    /// The memory that it may use, as in 2GiB or 512MiB; what does not fit is kept in files [default: 2GiB].
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    memory: Option<u64>,
    /// The threads that it may use [default: one a core].
    #[arg(long, value_name = "COUNT")]
    threads: Option<NonZero<usize>>,
    /// Where files go that hold what memory does not [default: beside the output].
    #[arg(long, value_name = "DIR")]
    spill_dir: Option<PathBuf>,
    /// How long it works before it saves what it does, to be resumed [default: 10s].
    #[arg(long, value_name = "DURATION", value_parser = parse_lag)]
    save_after: Option<u64>,
}

impl ResourceArgs {
    fn resources(&self) -> Resources {
        let default = Resources::default();
        Resources {
            memory_bytes: self.memory.unwrap_or(default.memory_bytes),
            threads: self.threads.map_or(default.threads, NonZero::get),
            spill_dir: self.spill_dir.clone(),
            save_after: self.save_after.map_or(default.save_after, Duration::from_micros),
            interrupt: default.interrupt,
        }
    }
}

impl Backfill {
    pub fn run(self) -> Result<Answer, Failure> {
        self.check_out()?;
        let (project, loaded) = self.question.load()?;
        let options = BackfillOptions {
            generation: loaded.generation,
            statuses: self.statuses,
            output: OutputOptions {
                overwrite: self.overwrite,
            },
            resume: self.resume,
            max_quarantined: self.max_quarantined,
            resources: self.resources.resources(),
            ..self.question.into_options()
        };
        stop_on_signals(&options.resources.interrupt)?;
        let watch = Watch::styled(self.progress);
        let made = backfill(&project, &loaded.modules, &options, &self.out, |step| watch.step(step));
        drop(watch);
        let made = made.map_err(|error| explain(error, &project, &options))?;

        let file = &made.output;
        let features: Vec<&str> = made.plan.features.iter().map(|feature| feature.name.as_str()).collect();
        let manifest = manifest_path(&self.out);
        let mut facts = Facts::default()
            .with("service", &options.service)
            .with("rows", grouped(file.rows))
            .with("features", features.len());
        for (view, ties) in &made.manifest.ties {
            facts = facts.with(format!("ties in {view}"), grouped(*ties));
        }
        for (view, entry) in &made.manifest.views {
            let late = entry.lateness_us.map(|lateness_us| LateEvents {
                lateness: Lateness::from_micros(lateness_us),
                count: entry.history.late,
            });
            facts = facts.with_some(&format!("late in {view}"), late.map(late_text));
        }
        facts = facts.with_some("read of the spine", read_of(made.spine_read));
        for (view, read) in &made.history_read {
            facts = facts.with_some(&format!("read of {view}"), read_of(*read));
        }
        let quarantined = made.manifest.quarantined;
        let quarantine = (quarantined > 0).then(|| quarantine_path(&self.out));
        if let Some(path) = &quarantine {
            let named = format!("{}, named in {}", grouped(quarantined), path.display());
            facts = facts.with("failures", named);
        }
        let text = facts
            .with("file", file.path.display())
            .with("size", format!("{} bytes", grouped(file.bytes)))
            .with("digest", file.digest)
            .with("manifest", manifest.display())
            .text();
        let late = made
            .manifest
            .views
            .iter()
            .filter(|(_, entry)| entry.lateness_us.is_some());
        let late: BTreeMap<&String, u64> = late.map(|(view, entry)| (view, entry.history.late)).collect();
        let json = json!({
            "service": options.service,
            "rows": file.rows,
            "features": features,
            "ties": made.manifest.ties,
            "late": late,
            "spine_read": read_json(made.spine_read),
            "history_read": made.history_read.iter().map(|(view, read)| (view.clone(), read_json(*read))).collect::<serde_json::Map<_, _>>(),
            "path": file.path.display().to_string(),
            "bytes": file.bytes,
            "digest": file.digest,
            "manifest": manifest.display().to_string(),
            "quarantined": quarantined,
            "quarantine": quarantine.map(|path| path.display().to_string()),
        });
        Ok(Answer {
            text,
            json,
            is_partial: quarantined > 0,
        })
    }

    /// Checks before any work that the result can be written.
    fn check_out(&self) -> Result<(), Failure> {
        check_directory(&self.out)?;
        if is_same_file(&self.out, &self.question.spine) {
            return Err(Failure::new(format!("{} is the spine", self.out.display())).help("give another --out"));
        }
        if !self.overwrite && !self.resume && self.out.symlink_metadata().is_ok() {
            let path = self.out.clone();
            return Err(exists(WriteError::Exists { path }.into()));
        }
        Ok(())
    }
}

/// What was read, if that is not all.
fn read_of(read: Pruning) -> Option<String> {
    let part = |read: u64, of: u64, noun: &str| {
        (read < of).then(|| format!("{} of {}", grouped(read), crate::answer::counted(of, noun)))
    };
    let parts = [
        part(read.files_read, read.files, "file"),
        part(read.row_groups_read, read.row_groups, "row group"),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn read_json(read: Pruning) -> serde_json::Value {
    json!({
        "files": read.files,
        "files_read": read.files_read,
        "row_groups": read.row_groups,
        "row_groups_read": read.row_groups_read,
    })
}

/// Has the first signal to stop do so in an orderly way, and the second at once.
fn stop_on_signals(interrupt: &Interrupt) -> Result<(), Failure> {
    for signal in [SIGINT, SIGTERM] {
        let flag = interrupt.flag();
        // In this order: the first signal finds the flag down.
        register_conditional_shutdown(signal, i32::from(INTERRUPTED), Arc::clone(&flag))?;
        register(signal, flag)?;
    }
    Ok(())
}

/// The command line, with `--resume`.
fn resume_command() -> String {
    let quoted = |argument: String| match argument
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-_./=:+,@%".contains(c))
    {
        true if !argument.is_empty() => argument,
        _ => format!("'{}'", argument.replace('\'', "'\\''")),
    };
    let mut arguments: Vec<String> = std::env::args()
        .map(quoted)
        .filter(|argument| argument != "--overwrite")
        .collect();
    if !arguments.iter().any(|argument| argument == "--resume") {
        arguments.push("--resume".to_owned());
    }
    arguments.join(" ")
}

/// Says what to do about an error that arguments caused.
pub fn explain(error: BackfillError, project: &Project, options: &BackfillOptions) -> Failure {
    match &error {
        BackfillError::Write(WriteError::Exists { .. }) => exists(error.into()),
        BackfillError::Read(ReadError::MissingColumn { column, path, .. })
            if *column == options.time_column && *path == options.spine =>
        {
            Failure::from(error).help("name the spine's column of the prediction time: --time-column NAME")
        }
        BackfillError::Interrupted => Failure::from(error)
            .code(INTERRUPTED)
            .help(format!("go on with it: {}", resume_command())),
        BackfillError::Unfinished { .. } => {
            Failure::from(error).help("--resume goes on with it, --overwrite begins anew")
        }
        BackfillError::OtherJob { .. } => Failure::from(error).help("--overwrite begins anew"),
        BackfillError::Busy { .. } => Failure::from(error).help("wait for it, or give another --out"),
        BackfillError::Quarantined { .. } => Failure::from(error)
            .help("mend the module; or take the rows without what it gives: --max-quarantined COUNT"),
        BackfillError::Spill { .. } | BackfillError::Write(WriteError::Io { .. }) => Failure::from(error).help(
            format!("what was done is kept; then go on with it: {}", resume_command()),
        ),
        _ => explain_source(error, project),
    }
}

fn exists(failure: Failure) -> Failure {
    failure.help("--overwrite replaces it")
}
