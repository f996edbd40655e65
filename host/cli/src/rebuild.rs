use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use unskew_batch::materialize;

use crate::answer::{Answer, Facts, grouped};
use crate::failure::{Context, Failure};
use crate::modules::{ModuleArgs, modules_of_view};
use crate::output::{check_new_snapshot, late_text};
use crate::project::{ProjectArgs, check_defined, explain_source};
use crate::snapshot::diff::compare;
use crate::snapshot::layers::{open_layers, open_whole};
use crate::watch::Watch;

/// Make a snapshot again from its events, and compare.
///
/// Everything that the view's source knew before the snapshot's watermark is read from the beginning, as `unskew materialize` does,
/// and compared with the snapshot key by key, to the bit. Where a snapshot went on from the one before, this is the proof that
/// nothing was lost on the way; where the module keeps states of another version than the snapshot has, this makes the snapshot
/// that hosts ask for. The exit code is 3 where the two differ.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  unskew rebuild item_ctr.snapshot --module modules/ctr-history.wasm --out rebuilt.snapshot"
)]
pub struct Rebuild {
    #[command(flatten)]
    project: ProjectArgs,
    /// The snapshot; its view is the project's of the same name.
    snapshot: PathBuf,
    /// A delta on it; give all of them in the order of their numbers.
    #[arg(long = "delta", value_name = "DELTA")]
    deltas: Vec<PathBuf>,
    /// Keep what was made; snapshots are never overwritten.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How many of the keys that differ are shown.
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    keys: usize,
    #[command(flatten)]
    modules: ModuleArgs,
}

impl Rebuild {
    pub fn run(self) -> Result<Answer, Failure> {
        let before = open_layers(&self.snapshot, &self.deltas)?;
        let (name, watermark) = (before.schema().view.clone(), before.watermark());
        let project = self.project.load()?;
        let views = &project.catalog().views;
        check_defined(
            "view",
            &name,
            project.path(),
            views.iter().map(|view| view.name.as_str()),
        )
        .context(|| format!("{} is of a view `{name}`", self.snapshot.display()))?;
        let scratch = tempfile::tempdir().context(|| "cannot make a temporary folder".to_owned())?;
        let path = match &self.out {
            None => scratch.path().join("rebuilt.snapshot"),
            Some(out) => {
                check_new_snapshot(out)?;
                out.clone()
            }
        };
        let view = views.iter().filter(|view| view.name == name);
        let needed: BTreeSet<&str> = view.flat_map(modules_of_view).collect();
        let modules = self.modules.load(&self.project.store(), &needed)?.modules;

        let watch = Watch::new();
        watch.say(&format!("making view {name} again as of {watermark}"));
        let made = materialize(&project, &modules, &name, watermark, &path);
        drop(watch);
        let written = made.map_err(|error| explain_source(error, &project))?.written;
        let rows = written.row_count;
        let after = open_whole(&path)?;

        let facts = Facts::default()
            .with("view", &name)
            .with("watermark", watermark)
            .with("rows", grouped(rows))
            .with_some("late", written.late.map(late_text))
            .with_some("file", self.out.as_ref().map(|out| out.display()));
        let lateness = [&before, &after].map(|layers| layers.newest().lateness());
        let [of_snapshot, of_view] =
            lateness.map(|lateness| lateness.map_or("none".to_owned(), |lateness| lateness.to_string()));
        let differs = (of_snapshot != of_view)
            .then(|| format!("{of_view}, of the snapshot {of_snapshot}: other events are left out"));
        let facts = facts.with_some("lateness", differs);
        let versions = [&before, &after].map(|layers| layers.newest().state_version);
        let mut json = json!({
            "view": name,
            "watermark": watermark.to_string(),
            "rows": rows,
            "late": written.late.map(|late| late.count),
            "path": self.out.as_ref().map(|out| out.display().to_string()),
            "state_versions": versions,
        });
        if versions[0] != versions[1] {
            json["is_same"] = json!(false);
            let [stored, written] =
                versions.map(|version| version.map_or("none".to_owned(), |version| version.to_string()));
            let said = format!(
                "of version {stored}, made here of {written}: not the same bytes by design; serve what --out keeps"
            );
            return Ok(Answer {
                text: facts.with("states", said).text(),
                json,
                is_partial: true,
            });
        }
        let (found, compared) = compare([&before, &after], self.keys)?;
        json["is_same"] = json!(found.is_empty());
        json["diff"] = compared.json;
        let text = match found.is_empty() {
            true => facts.with("found", "the same, to the bit").text(),
            false => facts.with("found", "what differs below").text() + &compared.text,
        };
        Ok(Answer {
            text,
            json,
            is_partial: !found.is_empty(),
        })
    }
}
