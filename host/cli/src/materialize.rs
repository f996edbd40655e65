use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use unskew_batch::{BackfillError, Previous, materialize, materialize_delta, materialize_since, url_of};
use unskew_snapshot::EventTime;

use crate::answer::Answer;
use crate::failure::Failure;
use crate::modules::{ModuleArgs, modules_of_view};
use crate::output::{answer_written, check_new_snapshot};
use crate::project::{ProjectArgs, check_defined, explain_source};
use crate::snapshot::layers::open_layers;
use crate::value::parse_time;
use crate::watch::Watch;

/// Write the snapshot of a view as of a time.
///
/// A snapshot holds, for each entity, what was known before the watermark: of a feature table the row that an as-of join
/// would choose, of an aggregate the state of its events. Hosts serve snapshots that were published: see `unskew publish`.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  unskew materialize --view item_ctr --watermark 2024-01-15 \\\n    --out item_ctr.snapshot --module modules/ctr-history.wasm"
)]
pub struct Materialize {
    #[command(flatten)]
    project: ProjectArgs,
    /// The view.
    #[arg(long, value_name = "NAME")]
    view: String,
    /// The time as of which the snapshot is.
    #[arg(long, value_name = "RFC3339", value_parser = parse_time)]
    watermark: EventTime,
    /// Go on from this snapshot of the view, as of an earlier time: the same bytes from less work.
    ///
    /// Only what became visible since is read; of Parquet, row groups that are older are passed over. Rows that were added
    /// behind its watermark without a known-at to tell of it are not seen: then do it without this.
    #[arg(long, value_name = "SNAPSHOT")]
    incremental: Option<PathBuf>,
    /// Write only what changed since this snapshot of the view, and the deltas on it that are given behind it, as the next delta.
    ///
    /// Reads what `--incremental` reads, and does not see what that does not. Serve the delta with its snapshot, or merge them with
    /// `unskew snapshot compact`.
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "incremental")]
    delta_from: Vec<PathBuf>,
    /// The file to write; snapshots are never overwritten.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    modules: ModuleArgs,
}

impl Materialize {
    pub fn run(self) -> Result<Answer, Failure> {
        let project = self.project.load()?;
        let views = &project.catalog().views;
        check_defined(
            "view",
            &self.view,
            project.path(),
            views.iter().map(|view| view.name.as_str()),
        )?;
        if url_of(&self.out).is_some() {
            return Err(
                Failure::new("a snapshot is written as a file, not to a URL").help("give a path, then publish it")
            );
        }
        check_new_snapshot(&self.out)?;
        let needed: BTreeSet<&str> = views
            .iter()
            .filter(|view| view.name == self.view)
            .flat_map(modules_of_view)
            .collect();
        let modules = self.modules.load(&self.project.store(), &needed)?.modules;

        let layers = match self.delta_from.split_first() {
            None => None,
            Some((base, deltas)) => Some((base, open_layers(base, deltas)?)),
        };
        let previous = layers.as_ref().map(|(path, layers)| Previous { path, layers });
        let watch = Watch::new();
        watch.say(&format!("materializing view {}", self.view));
        let made = match (&self.incremental, previous) {
            (_, Some(previous)) => {
                materialize_delta(&project, &modules, &self.view, self.watermark, previous, &self.out)
            }
            (Some(previous), _) => {
                materialize_since(&project, &modules, &self.view, self.watermark, previous, &self.out)
            }
            (None, None) => materialize(&project, &modules, &self.view, self.watermark, &self.out),
        };
        drop(watch);
        let made = made.map_err(|error| match error {
            BackfillError::Previous { .. } => {
                Failure::from(error).help("materialize from scratch, without --incremental and --delta-from")
            }
            error => explain_source(error, &project),
        })?;
        Ok(answer_written(&self.view, self.watermark, &made.written))
    }
}
