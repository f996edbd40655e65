use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::backfill::{BackfillError, Backfilled};
use crate::engine::Engine;
use crate::job::Job;
use crate::manifest::{BackfillManifest, manifest_path};
use crate::output::{OutputFile, OutputOptions, WriteError, commit};
use crate::quarantine::{Quarantined, quarantine_path};
use crate::storage::Storage;
use crate::unfinished::Unfinished;

/// The training set before it has its name.
pub(crate) const OUTPUT: &str = "output.parquet";
/// The rows for which a component failed, before the file has its name.
pub(crate) const QUARANTINE: &str = "quarantine.jsonl";

/// A training set that is there, with all that belongs to it.
pub(crate) struct Finished {
    pub manifest: BackfillManifest,
}

impl Finished {
    pub fn backfilled(self, path: &Path, engine: Engine<'_>) -> Backfilled {
        Backfilled {
            spine_read: engine.spine.scan().pruning(),
            history_read: engine.history_read(),
            plan: engine.plan,
            output: OutputFile {
                path: path.to_owned(),
                rows: self.manifest.rows,
                bytes: self.manifest.output_bytes,
                digest: self.manifest.output,
            },
            manifest: self.manifest,
        }
    }
}

/// Gives a training set that is whole its name, and its manifest and the file of quarantined rows theirs. It may be called
/// again after any step of it, by another process: what has its name already is left alone.
pub(crate) fn finish(
    storage: &Storage,
    unfinished: Unfinished,
    path: &Path,
    manifest: BackfillManifest,
) -> Result<Finished, BackfillError> {
    let output = unfinished.file(OUTPUT);
    if output.exists() {
        let options = OutputOptions {
            overwrite: unfinished.may_overwrite()?,
        };
        commit(storage, &output, path, options)?;
    }
    let replace = OutputOptions { overwrite: true };
    let quarantine = unfinished.file(QUARANTINE);
    match manifest.quarantined > 0 {
        true if quarantine.exists() => commit(storage, &quarantine, &quarantine_path(path), replace)?,
        true => {}
        // Of a training set that was here before.
        false => remove(storage, &quarantine_path(path)),
    }
    let kept = unfinished.manifest_file();
    if kept.exists() {
        commit(storage, &kept, &manifest_path(path), replace)?;
    }
    unfinished.remove();
    Ok(Finished { manifest })
}

/// Removes what is at `path`, if it is there and may be removed.
fn remove(storage: &Storage, path: &Path) {
    match storage.at(path) {
        Ok(Some(at)) => drop(at.objects.remove(at.url)),
        _ => drop(fs::remove_file(path)),
    }
}

/// The manifest of the training set at `path`, if it is what this job makes, as it made it.
pub(crate) fn is_done(storage: &Storage, path: &Path, job: &Job) -> Option<BackfillManifest> {
    let manifest = BackfillManifest::read_from(storage, &manifest_path(path)).ok()?;
    let is_it = || matches!(storage.digest(path), Ok((_, digest)) if digest == manifest.output);
    (manifest.job == job.digest() && is_it()).then_some(manifest)
}

/// Writes the rows for which a component failed, one a line.
pub(crate) fn write_quarantined(path: &Path, rows: &[Quarantined]) -> Result<(), WriteError> {
    let write = || -> io::Result<()> {
        let mut out = BufWriter::new(File::create(path)?);
        for row in rows {
            serde_json::to_writer(&mut out, row)?;
            out.write_all(b"\n")?;
        }
        out.flush()?;
        out.get_ref().sync_all()
    };
    match rows.is_empty() {
        true => Ok(()),
        false => write().map_err(|source| WriteError::Io {
            path: path.to_owned(),
            source,
        }),
    }
}
