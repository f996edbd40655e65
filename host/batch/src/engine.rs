//! How a backfill is computed: in phases, each of which reads its input in pieces and is run by all cores.
//!
//! ```text
//! for each view of the service:
//!     scatter  divide the spine and the view's history by entity key; what memory does not hold goes to files
//!     join     each partition by itself: the as-of join, or the windows through the view's module
//! emit         read the spine again, in its order:
//!     gather   the views' results, which lie by partition
//!              run the row transforms; hand over row groups, in order
//! ```
//!
//! What a row gets depends on its own entity and on nothing else, so neither the number of partitions nor of threads nor the
//! budget of memory shows in the result, to the bit.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use tempfile::TempDir;
use unskew::{Descriptor, Module, Plan};

use self::history::History;
use self::memory::Budget;
use self::spine_rows::SpineRows;
use crate::backfill::{BackfillError, BackfillOptions, Progress};
use crate::project::Project;
use crate::reader::{InputFile, Pruning, ReadError, Scan};

pub(crate) mod emit;
mod gather;
mod history;
mod join;
pub(crate) mod memory;
mod result;
mod scatter;
mod spill;
mod spine_rows;
mod windows;

pub(crate) use spine_rows::concat_arrays;

/// A backfill that is being computed.
pub(crate) struct Engine<'a> {
    pub plan: Plan,
    pub modules: &'a BTreeMap<String, Module>,
    pub options: &'a BackfillOptions,
    pub spine: SpineRows,
    budget: Budget,
    histories: Vec<History>,
    ties: Vec<AtomicU64>,
    directory: TempDir,
    progress: &'a (dyn Fn(Progress<'_>) + Sync),
}

impl<'a> Engine<'a> {
    /// Opens all inputs and checks their columns.
    pub fn open(
        project: &Project,
        modules: &'a BTreeMap<String, Module>,
        descriptors: &BTreeMap<String, Descriptor>,
        options: &'a BackfillOptions,
        scratch: &Path,
        progress: &'a (dyn Fn(Progress<'_>) + Sync),
    ) -> Result<Self, BackfillError> {
        let plan = Plan::resolve(project.catalog(), &options.service, descriptors)?;
        let budget = Budget::new(options.resources.memory_bytes, options.resources.threads);
        let spine = SpineRows::open(options, &plan, budget.piece_bytes)?;
        let histories = plan
            .views
            .iter()
            .map(|step| History::open(project, descriptors, step))
            .collect::<Result<Vec<_>, _>>()?;
        for history in &histories {
            history.check_zone(spine.scan(), options)?;
        }
        let scratch = options.resources.spill_dir.as_deref().unwrap_or(scratch);
        let directory = tempfile::Builder::new().prefix(".unskew-").tempdir_in(scratch);
        Ok(Self {
            ties: plan.views.iter().map(|_| AtomicU64::new(0)).collect(),
            directory: directory.map_err(|source| BackfillError::Spill {
                path: scratch.to_owned(),
                source,
            })?,
            plan,
            modules,
            options,
            spine,
            budget,
            histories,
            progress,
        })
    }

    /// Joins all views and then runs `emit`, while the digests of the files are taken. Gives what was read.
    pub fn run(&self, emit: impl FnOnce() -> Result<(), BackfillError>) -> Result<Vec<InputFile>, BackfillError> {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let digests = scope.spawn(|| self.digest_files(&stop));
            let computed = self.join_views().and_then(|()| emit());
            stop.store(computed.is_err(), Ordering::Relaxed);
            let files = digests.join();
            computed?;
            files
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                .map_err(Into::into)
        })
    }

    /// Per view of features, the rows chosen by row bytes alone.
    pub fn ties(&self) -> BTreeMap<String, u64> {
        let of_features = self.plan.views.iter().zip(&self.ties);
        of_features
            .filter(|(step, _)| matches!(step.read, unskew::ViewRead::Features(_)))
            .map(|(step, ties)| (step.view.clone(), ties.load(Ordering::Relaxed)))
            .collect()
    }

    /// How much of the history of each view was read.
    pub fn history_read(&self) -> BTreeMap<String, Pruning> {
        let of_view = |history: &History| (history.step.view.clone(), history.read_of());
        self.histories.iter().map(of_view).collect()
    }

    fn join_views(&self) -> Result<(), BackfillError> {
        self.tell(Progress::Spine(self.spine.scan().row_count() as usize));
        for (view, history) in self.histories.iter().enumerate() {
            let joined = join::join_view(self, view, history)?;
            self.ties[view].store(joined.ties, Ordering::Relaxed);
            self.spine.add_result(view, joined.result);
            self.tell(Progress::View(&history.step.view));
        }
        Ok(())
    }

    fn digest_files(&self, stop: &AtomicBool) -> Result<Vec<InputFile>, ReadError> {
        let scans = std::iter::once(self.spine.scan()).chain(self.histories.iter().map(|history| &history.scan));
        let files: Vec<Vec<InputFile>> = scans
            .map(|scan: &Scan| scan.digest_files(stop))
            .collect::<Result<_, _>>()?;
        Ok(files.into_iter().flatten().collect())
    }

    fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn tell(&self, progress: Progress<'_>) {
        (self.progress)(progress);
    }
}

#[cfg(test)]
mod tests;
