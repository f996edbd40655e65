//! How a backfill is computed: in phases, each of which reads its input in pieces and is run by all cores.
//!
//! ```text
//! for each view of the service:
//!     scatter  divide the spine and the view's history by entity key; what memory does not hold goes to files
//!     join     each partition by itself: the as-of join, or the windows through the view's module
//!   or, where memory has room for the values that are given to rows:
//!     scatter  the same with the numbers of the history's rows instead of their values
//!     find     in each partition, the number of the row that each row of the spine is given
//!     fetch    the values of those rows, each once
//! emit         read the spine again, in its order:
//!     gather   the views' results, which lie by partition or by row of the history
//!              run the row transforms; hand over row groups, in order
//! ```
//!
//! What a row gets depends on its own entity and on nothing else, so neither the number of partitions nor of threads nor the
//! budget of memory shows in the result, to the bit.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use arrow::array::ArrayRef;
use tempfile::TempDir;
use unskew::{Descriptor, Module, Plan};
use unskew_snapshot::{EventTime, Lateness};

use self::history::History;
use self::memory::{Budget, keep_freed_memory};
use self::spine_rows::SpineRows;
use self::stage::Stages;
use crate::array::value_at;
use crate::backfill::{BackfillError, BackfillOptions, Phase, Progress, Resources};
use crate::job::InputStamp;
use crate::manifest::ViewEntry;
use crate::project::Project;
use crate::quarantine::{Quarantined, json_value};
use crate::reader::{InputFile, Pruning, Scan};
use crate::unfinished::Unfinished;

mod divide;
mod division;
pub(crate) mod emit;
mod find;
mod found;
mod gather;
mod history;
mod join;
mod membership;
pub(crate) mod memory;
mod pick;
mod result;
mod scatter;
mod spill;
mod spine_columns;
mod spine_rows;
mod stage;
mod windows;

pub(crate) use spine_rows::concat_arrays;

/// A backfill that is being computed.
pub(crate) struct Engine<'a> {
    pub plan: Plan,
    pub modules: &'a BTreeMap<String, Module>,
    pub options: &'a BackfillOptions,
    pub spine: SpineRows,
    /// Where it keeps what it does, if it can be resumed.
    pub unfinished: Option<Unfinished>,
    budget: Budget,
    histories: Vec<History>,
    /// What became of each view.
    views: Vec<OnceLock<JoinedCounts>>,
    temporary: Option<TempDir>,
    stages: Stages<'a>,
    started: Instant,
    quarantined: AtomicU64,
}

/// What is to be told of a view.
struct JoinedCounts {
    entry: ViewEntry,
    ties: u64,
    quarantined: Vec<Quarantined>,
}

impl<'a> Engine<'a> {
    /// Opens all inputs and checks their columns.
    pub fn open(
        project: &Project,
        modules: &'a BTreeMap<String, Module>,
        descriptors: &BTreeMap<String, Descriptor>,
        options: &'a BackfillOptions,
        progress: &'a (dyn Fn(Progress<'_>) + Sync),
    ) -> Result<Self, BackfillError> {
        let plan = Plan::resolve(project.catalog(), &options.service, descriptors)?;
        let mut spine = SpineRows::open(project.storage(), options, &plan)?;
        let Resources {
            memory_bytes, threads, ..
        } = options.resources;
        let threads = spine.writing().threads_within(memory_bytes, threads);
        let threads = threads.map_err(|least_bytes| BackfillError::Memory {
            memory_bytes,
            least_bytes,
        })?;
        let budget = Budget::new(memory_bytes, threads);
        keep_freed_memory(memory_bytes);
        spine.read_in(budget.piece_bytes);
        let histories = plan
            .views
            .iter()
            .enumerate()
            .map(|(view, step)| History::open(project, descriptors, view, step, budget.piece_bytes))
            .collect::<Result<Vec<_>, _>>()?;
        for history in &histories {
            history.check_zone(spine.scan(), options)?;
        }
        let rows = histories.iter().map(|history| history.scan.row_count());
        Ok(Self {
            stages: Stages::new(spine.scan().row_count(), rows, progress),
            views: plan.views.iter().map(|_| OnceLock::new()).collect(),
            plan,
            modules,
            options,
            spine,
            unfinished: None,
            budget,
            histories,
            temporary: None,
            started: Instant::now(),
            quarantined: AtomicU64::new(0),
        })
    }

    /// Has it keep nothing but what memory does not hold, in a directory of its own in `scratch`.
    pub fn keep_nothing(&mut self, scratch: &Path) -> Result<(), BackfillError> {
        let scratch = self.options.resources.spill_dir.as_deref().unwrap_or(scratch);
        let made = tempfile::Builder::new().prefix(".unskew-").tempdir_in(scratch);
        self.temporary = Some(made.map_err(|source| BackfillError::Spill {
            path: scratch.to_owned(),
            source,
        })?);
        Ok(())
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
            files.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Per view of features, the rows chosen by row bytes alone.
    pub fn ties(&self) -> BTreeMap<String, u64> {
        let of_features = self.plan.views.iter().zip(&self.views);
        of_features
            .filter(|(step, _)| matches!(step.read, unskew::ViewRead::Features(_)))
            .map(|(step, joined)| (step.view.clone(), joined.get().map_or(0, |joined| joined.ties)))
            .collect()
    }

    /// Per view with a lateness, the events that were left out because they were late.
    pub fn late(&self) -> BTreeMap<String, u64> {
        let views = self.view_entries().into_iter();
        let late = views.filter(|(_, entry)| entry.lateness_us.is_some());
        late.map(|(view, entry)| (view, entry.history.late)).collect()
    }

    /// How much of the history of each view was read.
    pub fn history_read(&self) -> BTreeMap<String, Pruning> {
        let of_view = |history: &History| (history.step.view.clone(), history.read_of());
        self.histories.iter().map(of_view).collect()
    }

    /// What became of the rows of each view.
    pub fn view_entries(&self) -> BTreeMap<String, ViewEntry> {
        let entry = |joined: &OnceLock<JoinedCounts>| joined.get().map(|joined| joined.entry.clone());
        let views = self.plan.views.iter().zip(&self.views);
        views
            .filter_map(|(step, joined)| Some((step.view.clone(), entry(joined)?)))
            .collect()
    }

    /// The rows for which a view's module failed.
    pub fn quarantined_in_views(&self) -> Vec<Quarantined> {
        let joined = self.views.iter().filter_map(OnceLock::get);
        joined.flat_map(|joined| joined.quarantined.iter().cloned()).collect()
    }

    /// The files that are read, as they are.
    pub fn input_stamps(&self) -> Vec<InputStamp> {
        let mut stamps: Vec<InputStamp> = self.scans().flat_map(Scan::stamps).collect();
        stamps.sort();
        stamps.dedup();
        stamps
    }

    /// Where to save what is done, once that is worth it.
    pub fn saves(&self) -> Option<&Unfinished> {
        let is_worth_it = self.options.resources.save_after <= self.started.elapsed();
        self.unfinished.as_ref().filter(|_| is_worth_it)
    }

    /// Whether to go on.
    ///
    /// # Errors
    /// It was interrupted.
    pub fn proceed(&self) -> Result<(), BackfillError> {
        match self.options.resources.interrupt.is_raised() {
            true => Err(BackfillError::Interrupted),
            false => Ok(()),
        }
    }

    /// Counts a row for which a component failed.
    ///
    /// # Errors
    /// There are too many.
    pub fn count_quarantined(&self, reason: impl FnOnce() -> String) -> Result<(), BackfillError> {
        let limit = self.options.max_quarantined;
        match self.quarantined.fetch_add(1, Ordering::Relaxed) < limit {
            true => Ok(()),
            false => Err(BackfillError::Quarantined {
                limit,
                reason: reason(),
            }),
        }
    }

    /// A row of the spine for which a component failed, and the slots of its key.
    pub fn quarantined(
        &self,
        row: u64,
        at: EventTime,
        key: &[(usize, ArrayRef)],
        (step, module): (&str, &str),
        reason: String,
    ) -> Quarantined {
        let part = |(slot, array): &(usize, ArrayRef)| {
            let slot = &self.plan.slots[*slot];
            (slot.name.clone(), json_value(value_at(array, slot.column_type, 0)))
        };
        Quarantined {
            row: row + 1,
            prediction_time: at.to_string(),
            key: key.iter().map(part).collect(),
            step: step.to_owned(),
            module: module.to_owned(),
            reason,
        }
    }

    /// The slots of the entity keys that the spine has; without any, those of all its fields.
    pub fn key_slots(&self) -> BTreeSet<usize> {
        let of_spine: BTreeSet<usize> = self.plan.fields().map(|(slot, _)| slot).collect();
        let keys = self.plan.views.iter().flat_map(|view| view.keys.iter().copied());
        let keys: BTreeSet<usize> = keys.filter(|slot| of_spine.contains(slot)).collect();
        match keys.is_empty() {
            true => of_spine,
            false => keys,
        }
    }

    fn begin(&self, phase: Phase, view: Option<&str>, rows: u64, parts: usize) {
        self.stages.begin(phase, view, rows, parts as u64);
    }

    fn advance(&self, rows: u64, parts: u64) {
        self.stages.advance(rows, parts);
    }

    fn join_views(&self) -> Result<(), BackfillError> {
        for (view, history) in self.histories.iter().enumerate() {
            let joined = join::join_view(self, view, history)?;
            self.spine.add_result(view, joined.result);
            self.views[view].get_or_init(|| JoinedCounts {
                entry: ViewEntry {
                    rows: joined.counts,
                    history: joined.history,
                    lateness_us: history.step.lateness.map(Lateness::as_micros),
                },
                ties: joined.ties,
                quarantined: joined.quarantined,
            });
        }
        Ok(())
    }

    fn digest_files(&self, stop: &AtomicBool) -> Result<Vec<InputFile>, BackfillError> {
        let mut files = Vec::new();
        for scan in self.scans() {
            files.extend(scan.digest_files(stop)?);
        }
        if let Some(unfinished) = self.unfinished.as_ref().filter(|_| !stop.load(Ordering::Relaxed)) {
            unfinished.check_inputs(&files)?;
        }
        Ok(files)
    }

    fn scans(&self) -> impl Iterator<Item = &Scan> {
        std::iter::once(self.spine.scan()).chain(self.histories.iter().map(|history| &*history.scan))
    }

    fn scratch(&self) -> PathBuf {
        match (&self.unfinished, &self.temporary) {
            (Some(unfinished), _) => unfinished.scratch(),
            (None, Some(temporary)) => temporary.path().to_owned(),
            (None, None) => std::env::temp_dir(),
        }
    }
}

#[cfg(test)]
mod tests;
