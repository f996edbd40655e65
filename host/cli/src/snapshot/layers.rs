use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::{Value as Json, json};
use unskew::Digest;
use unskew_snapshot::{
    DEFAULT_MEMORY_BUDGET_BYTES, Layer, LayerError, LayerFlaw, Layers, Snapshot, SnapshotMeta, WriteProgress,
    WriteStage,
};

use super::open;
use crate::answer::{Answer, Facts, grouped};
use crate::failure::{Context, Failure};
use crate::output::{answer_written, check_directory};
use crate::watch::Watch;

/// Merge a snapshot and its deltas into one snapshot.
///
/// Gives the bytes that a snapshot of the same rows as of the newest delta's watermark has, in one pass over all files.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  unskew snapshot compact monday.snapshot tuesday.delta wednesday.delta --out wednesday.snapshot"
)]
pub struct Compact {
    /// The snapshot that the first delta follows.
    base: PathBuf,
    /// The deltas, in the order of their numbers.
    #[arg(required = true, value_name = "DELTA")]
    deltas: Vec<PathBuf>,
    /// The file to write; snapshots are never overwritten.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Write what changed from one snapshot to another as a delta.
///
/// A delta has the rows that were added or changed and the keys that were removed. A host serves it with the snapshot that it
/// follows. `unskew materialize --delta-from` makes one without the second snapshot.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  unskew snapshot delta monday.snapshot tuesday.snapshot --out tuesday.delta")]
pub struct Delta {
    /// The snapshot that the delta follows.
    before: PathBuf,
    /// The snapshot that it leads to.
    after: PathBuf,
    /// A delta that the first snapshot has already; give all of them in the order of their numbers.
    #[arg(long = "delta", value_name = "DELTA")]
    deltas: Vec<PathBuf>,
    /// The file to write; snapshots are never overwritten.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl Compact {
    pub fn run(self) -> Result<Answer, Failure> {
        check_directory(&self.out)?;
        let layers = open_layers(&self.base, &self.deltas)?;
        let watch = Watch::new();
        let mut last = None;
        let written = layers.compact(&self.out, &mut |progress| say(&watch, progress, &mut last))?;
        drop(watch);
        Ok(answer_written(&layers.schema().view, layers.watermark(), &written))
    }
}

impl Delta {
    pub fn run(self) -> Result<Answer, Failure> {
        check_directory(&self.out)?;
        let before = open_layers(&self.before, &self.deltas)?;
        let after = open_layers(&self.after, &[])?;
        let written = before
            .write_delta(&after, &self.out, DEFAULT_MEMORY_BUDGET_BYTES)
            .context(|| format!("no delta leads to {}", self.after.display()))?;
        Ok(answer_written(&after.schema().view, after.watermark(), &written))
    }
}

/// A line for each quarter where lines stay.
fn say(watch: &Watch, progress: WriteProgress, last: &mut Option<(WriteStage, u64)>) {
    let (stage, percent) = (progress.stage, progress.rows_done * 100 / progress.rows_total.max(1));
    if *last != Some((stage, percent / 25)) {
        *last = Some((stage, percent / 25));
        let verb = match stage {
            WriteStage::Sorting => "counting",
            _ => "writing",
        };
        watch.say(&format!("{verb} {} rows: {percent} %", grouped(progress.rows_total)));
    }
}

/// A snapshot with deltas on it.
pub fn open_layers(base: &Path, deltas: &[PathBuf]) -> Result<Layers, Failure> {
    let snapshot = open(base)?;
    layers_on(base, snapshot, deltas)
}

/// A snapshot that nothing is to follow: its file is not read once more for its digest.
pub fn open_whole(path: &Path) -> Result<Layers, Failure> {
    whole(path, open(path)?)
}

/// The same of one that is open.
pub fn whole(path: &Path, snapshot: Snapshot) -> Result<Layers, Failure> {
    Layers::of(Arc::new(snapshot)).map_err(|error| refused(path, &[], &error))
}

/// The same of a base that is open.
pub fn layers_on(base: &Path, snapshot: Snapshot, deltas: &[PathBuf]) -> Result<Layers, Failure> {
    let base_layer = Layer::new(Arc::new(snapshot), digest_of(base)?.0);
    let deltas_on = deltas
        .iter()
        .map(|path| Ok(Layer::new(Arc::new(open(path)?), digest_of(path)?.0)))
        .collect::<Result<_, Failure>>()?;
    Layers::new(base_layer, deltas_on).map_err(|error| refused(base, deltas, &error))
}

fn refused(base: &Path, deltas: &[PathBuf], error: &LayerError) -> Failure {
    let path = match error.layer().checked_sub(1) {
        None => base,
        Some(delta) => &deltas[delta],
    };
    let help = match error.flaw() {
        LayerFlaw::NotABase => "give the snapshot that it follows first",
        LayerFlaw::TooMany | LayerFlaw::TooLarge => "compact the first of them with `unskew snapshot compact`",
        _ => "give the deltas of one base in the order of their numbers: `unskew snapshot inspect` tells them",
    };
    Failure::new(format!("{}: {error}", path.display())).help(help)
}

pub fn digest_of(path: &Path) -> Result<Digest, Failure> {
    let digest = File::open(path).and_then(Digest::of_reader);
    digest.context(|| format!("cannot read {}", path.display()))
}

/// What a delta says of what it follows.
pub fn delta_facts(facts: Facts, meta: &SnapshotMeta) -> Facts {
    match &meta.delta {
        None => facts,
        Some(of) => facts
            .with("delta", of.number)
            .with("removed keys", grouped(meta.removed_count))
            .with("base", Digest(of.base))
            .with("follows", Digest(of.previous)),
    }
}

/// The same as JSON; null of a whole snapshot.
pub fn delta_json(meta: &SnapshotMeta) -> Json {
    meta.delta.map_or(Json::Null, |of| {
        json!({
            "number": of.number,
            "removed": meta.removed_count,
            "base": Digest(of.base),
            "previous": Digest(of.previous),
        })
    })
}
