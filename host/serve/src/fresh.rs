//! Events that are newer than the snapshots: pushed by the process itself, seen by its next read.
//!
//! ```text
//!  push --> log of the view: what some generation's snapshot has not    --> journal, if there is one
//!             |
//!             +--> overlay of the view in the generation that is served      <-- reads
//!             +--> overlays in the generations before it, for a rollback
//!             +--> overlay in the generation that is being loaded
//! ```
//!
//! An overlay belongs to a generation and holds, for each entity with fresh events, what the snapshot would hold if it had them.
//! A push counts its events into the overlays of all generations in memory before it returns, so a switch to any of them,
//! forward or back, changes code, snapshots and overlays with the one pointer. A new generation's overlay is made of the log
//! while pushes go on: what is in the log when the overlay is added to the view is caught up with, and what comes later is pushed
//! to it too. The order in which events are counted in does not matter, which is a law of aggregates and of the as-of rule.

mod entry;
mod event;
mod fold;
mod journal;
mod log;
mod overlay;
mod writer;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use unskew_snapshot::EventTime;

pub(crate) use entry::{Answer, Entry};
pub(crate) use event::EventSchema;
pub use event::{Events, MAX_PUSH_EVENTS, Refusal};
pub(crate) use fold::EventColumns;
pub use journal::{Durability, JournalError};
pub(crate) use overlay::{Filter, Overlay};

use crate::engine::BATCH_INSTANCE_BYTES;
use crate::fresh::journal::Journal;
use crate::fresh::log::ViewLog;
use crate::generation::Generation;
use crate::instance::CallLimits;
use crate::metrics::FreshMetrics;
use crate::stack::{EVALUATE_STACK_BYTES, has_room};
use crate::sync::{Mutex, MutexGuard};

/// How long a module may take for a thousand events, at least. No request waits for it.
const FOLD_DEADLINE: Duration = Duration::from_secs(2);

/// How fresh events are taken and kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreshOptions {
    /// The most memory of a view's fresh events and of what is computed from them, in bytes: for all generations in memory
    /// together. A push beyond it is refused as a whole. One push may go beyond it by the states that it makes.
    pub max_view_bytes: usize,
    /// The most fresh events of one entity; those beyond are refused.
    pub max_entity_events: usize,
    /// How much later than the time of the push an event may say that it happened or became known: clocks differ. It is seen by
    /// reads from that time on, as always; events from further in the future are refused.
    pub max_ahead: Duration,
    /// A directory of this host alone, where events are kept over a restart. None: a restart forgets them.
    pub journal_dir: Option<PathBuf>,
    /// What an event in the journal outlives.
    pub durability: Durability,
}

impl Default for FreshOptions {
    fn default() -> Self {
        Self {
            max_view_bytes: 256 << 20,
            max_entity_events: 1 << 16,
            max_ahead: Duration::from_secs(1),
            journal_dir: None,
            durability: Durability::Process,
        }
    }
}

/// What became of the events of a push.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Events that reads see from now on, from the time that they say.
    pub taken: usize,
    /// Events that the snapshot that is served has already, by the rule that it was made by: they happened, and became known,
    /// before its watermark. They are not counted again.
    pub covered: usize,
    /// Events that were not taken, by their index, and why.
    pub refused: Vec<(usize, Refusal)>,
    /// What the module said, where it failed.
    pub failure: Option<String>,
}

impl Pushed {
    /// How many events were not taken for a reason.
    pub fn refused_for(&self, reason: Refusal) -> usize {
        self.refused.iter().filter(|(_, refusal)| *refusal == reason).count()
    }
}

/// Why events were not pushed, none of them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// There is no such view, or its module is not there.
    #[error("generation {generation} has no view `{view}` that takes events")]
    NoView {
        /// The view.
        view: String,
        /// The generation that is served.
        generation: u64,
    },
    /// A column is none of the view's, is of another type, or is missing.
    #[error("events of view `{view}`, `{column}`: {reason}")]
    Column {
        /// The view.
        view: String,
        /// The column.
        column: String,
        /// What is wrong.
        reason: String,
    },
    /// The generation that is served has other columns than the events were made for.
    #[error(
        "events of view `{view}` have other columns since generation {generation}: make them anew with `Host::events`"
    )]
    Changed {
        /// The view.
        view: String,
        /// The generation that is served.
        generation: u64,
    },
    /// There are as many events as one push may have.
    #[error("events of view `{view}`: a push has at most {MAX_PUSH_EVENTS}, of 64 MiB together: push these first")]
    TooMany {
        /// The view.
        view: String,
    },
    /// The view's fresh events take as much memory as they may.
    #[error(
        "the fresh events of view `{view}` take {used} bytes, the limit is {limit}: publish a newer snapshot of it, which takes \
         their place, or raise `max_view_bytes`"
    )]
    Full {
        /// The view.
        view: String,
        /// What they take.
        used: usize,
        /// [`FreshOptions::max_view_bytes`].
        limit: usize,
    },
    /// The events could not be written to the journal.
    #[error("the events were not taken, for the journal does not have them")]
    Journal(#[from] JournalError),
    /// The calling thread has too little of its stack left.
    #[error("a push needs {needed} bytes of its thread's stack: start the thread with a larger one")]
    Stack {
        /// How much it needs.
        needed: usize,
    },
}

impl PushError {
    /// Whether the events would be taken when there is a newer snapshot.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}

/// The fresh events of a host, by view.
#[derive(Debug)]
pub(crate) struct Fresh {
    options: FreshOptions,
    /// Of the calls that fold events.
    limits: CallLimits,
    views: Mutex<BTreeMap<String, Arc<ViewLog>>>,
    journal: Option<Mutex<Journal>>,
}

impl Fresh {
    /// Reads the journal, if there is one.
    pub fn open(options: FreshOptions, limits: CallLimits) -> Result<Self, JournalError> {
        let limits = CallLimits {
            deadline: limits.deadline.max(FOLD_DEADLINE),
            memory_bytes: BATCH_INSTANCE_BYTES,
            result_bytes: BATCH_INSTANCE_BYTES,
            ..limits
        };
        let mut views: BTreeMap<String, Arc<ViewLog>> = BTreeMap::new();
        let journal = match &options.journal_dir {
            None => None,
            Some(directory) => {
                let (journal, events) = Journal::open(directory, options.durability)?;
                for event in events {
                    let log = views.entry(event.schema.view.clone()).or_default();
                    log.remember(event);
                }
                Some(Mutex::new(journal))
            }
        };
        Ok(Self {
            options,
            limits,
            views: Mutex::new(views),
            journal,
        })
    }

    /// The memory that the events of a view may take.
    pub fn max_view_bytes(&self) -> usize {
        self.options.max_view_bytes
    }

    /// Makes the overlays of a generation, which is not served yet, and keeps them up to date for as long as it is in memory.
    pub fn join(&self, generation: &Generation) {
        for overlay in generation.snapshots.values().filter_map(|served| served.fresh.as_ref()) {
            self.view(&overlay.schema.view).join(overlay, self.limits);
        }
    }

    /// Counts events into the overlays of all generations in memory, of which `overlay` is served.
    pub fn push(&self, overlay: &Arc<Overlay>, events: &Events, now: EventTime) -> Result<Pushed, PushError> {
        if !has_room(EVALUATE_STACK_BYTES) {
            let needed = EVALUATE_STACK_BYTES;
            return Err(PushError::Stack { needed });
        }
        let ahead_us = i64::try_from(self.options.max_ahead.as_micros()).unwrap_or(i64::MAX);
        let push = log::Push {
            events,
            latest: EventTime(now.0.saturating_add(ahead_us)),
            options: &self.options,
            limits: self.limits,
            journal: self.journal.as_ref(),
        };
        self.view(&overlay.schema.view).push(overlay, &push)
    }

    /// Forgets what the snapshots of all generations in memory have.
    pub fn forget_covered(&self) {
        let logs: Vec<_> = lock(&self.views)
            .iter()
            .map(|(view, log)| (view.clone(), Arc::clone(log)))
            .collect();
        let mut have = BTreeMap::new();
        for (view, log) in logs {
            have.insert(view, log.forget_covered());
        }
        if let Some(journal) = &self.journal {
            // What no generation in memory has a view for, nobody waits for.
            lock(journal).forget(|view, from| have.get(view).copied().flatten().is_none_or(|have| from <= have));
        }
    }

    pub fn metrics(&self) -> Vec<FreshMetrics> {
        let views = lock(&self.views);
        views.iter().map(|(view, log)| log.metrics(view)).collect()
    }

    fn view(&self, view: &str) -> Arc<ViewLog> {
        let mut views = lock(&self.views);
        Arc::clone(views.entry(view.to_owned()).or_default())
    }
}

/// A thread that panicked left nothing half done: what is staged is seen by nobody.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
