//! What a host counts. Every session counts for itself, in memory that it alone writes; [`Host::metrics`](crate::Host::metrics)
//! adds up.

mod counters;
mod histogram;
mod registry;
mod stopwatch;

use unskew_snapshot::{EventTime, Status};

use crate::audit::Audits;
use crate::fresh::Refusal;
use crate::instance::CallError;

pub(crate) use counters::{LookupCounters, SAMPLED};
pub use histogram::{BUCKETS, Histogram};
pub(crate) use registry::{Counting, Registry};
pub(crate) use stopwatch::Stopwatch;

/// What a host counted since it was opened, and what it is like now: a plain copy, made when it is asked for. Counts never
/// fall while the host lives. Durations are of one request in 64.
#[derive(Clone, Debug, PartialEq)]
pub struct Metrics {
    /// The generation that is served.
    pub generation: u64,
    /// The store's current generation, as last seen.
    pub latest_generation: u64,
    /// How many generations are in memory.
    pub resident_generations: usize,
    /// The bytes of their snapshots.
    pub mapped_bytes: u64,
    /// How many generations are not served for a while because calls failed in them.
    pub quarantined_generations: usize,
    /// Sessions that live.
    pub sessions: usize,
    /// The snapshots that are served, by view.
    pub snapshots: Vec<SnapshotMetrics>,
    /// Changes of the generation, by outcome.
    pub swaps: Vec<SwapMetrics>,
    /// Golden calls of modules that were made before a generation was served, by outcome.
    pub golden: Vec<GoldenMetrics>,
    /// Calls that were made again on a fresh instance.
    pub audits: Audits,
    /// What was evaluated, by service.
    pub services: Vec<ServiceMetrics>,
    /// Lookups by [`Session::lookup`](crate::Session::lookup).
    pub lookups: LookupMetrics,
    /// Fresh events, by view that takes some.
    pub fresh: Vec<FreshMetrics>,
}

/// The events of a view that were pushed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FreshMetrics {
    /// The view.
    pub view: String,
    /// Entities with fresh events, in the last generation that was loaded.
    pub entities: u64,
    /// Those of them with an event that could not be counted in: their values are missing, with
    /// [`Status::Failed`].
    pub failed_entities: u64,
    /// What the module said when it last failed.
    pub failure: Option<String>,
    /// Whether a generation in memory has a snapshot so old that events which it does not have are forgotten: their time is
    /// between its watermark and a later one's; or whose lateness is greater than that by which events were refused since.
    pub has_gap: bool,
    /// Events that are kept: those that the snapshot of some generation in memory does not have.
    pub events: u64,
    /// The time of the first of them.
    pub oldest_event: Option<EventTime>,
    /// The memory of those events and of what the last generation made of them.
    pub bytes: u64,
    /// Events that were taken since the host was opened.
    pub taken: u64,
    /// Events that the snapshot had already when they were pushed.
    pub covered: u64,
    /// Events that are kept no longer, because all snapshots have them.
    pub forgotten: u64,
    /// Events that were not taken, by the number of a [`Refusal`].
    pub refused: [u64; Refusal::ALL.len()],
    /// Pushes that were refused as a whole, for want of memory.
    pub full: u64,
}

/// A snapshot that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotMetrics {
    /// The view.
    pub view: String,
    /// It holds what was known before this time: its age is the time of the scrape less this.
    pub watermark: EventTime,
    /// Its rows.
    pub rows: u64,
    /// Events that it leaves out because they were late, if its view declares a lateness.
    pub late: Option<u64>,
}

/// What becomes of an attempt to serve another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum SwapOutcome {
    /// The store's current generation was loaded and is served.
    Activated = 0,
    /// It could not be: the one before goes on.
    Failed = 1,
    /// A generation was pinned.
    Pinned = 2,
    /// The generation before is served because somebody said so.
    RolledBack = 3,
    /// The generation before is served because calls failed.
    Quarantined = 4,
}

impl SwapOutcome {
    /// Every outcome, by its number.
    pub const ALL: [Self; 5] = [
        Self::Activated,
        Self::Failed,
        Self::Pinned,
        Self::RolledBack,
        Self::Quarantined,
    ];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Activated => "activated",
            Self::Failed => "failed",
            Self::Pinned => "pinned",
            Self::RolledBack => "rolled_back",
            Self::Quarantined => "quarantined",
        }
    }
}

/// Attempts with one outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwapMetrics {
    /// What became of them.
    pub outcome: SwapOutcome,
    /// All of them, with what they took: loading and checking for the most part.
    pub duration: Histogram,
}

/// What becomes of the golden calls of a module, all of which are made in every way each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum GoldenOutcome {
    /// They gave what they gave where the module was published.
    Held = 0,
    /// They did not, or the module keeps something from call to call: its generation is not served.
    Differed = 1,
}

impl GoldenOutcome {
    /// Every outcome, by its number.
    pub const ALL: [Self; 2] = [Self::Held, Self::Differed];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Differed => "differed",
        }
    }
}

/// Runs of golden calls with one outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoldenMetrics {
    /// What became of them.
    pub outcome: GoldenOutcome,
    /// All of them, one for each module of each generation that was loaded, with what they took.
    pub duration: Histogram,
}

/// What was evaluated of a service, by all sessions and in all generations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceMetrics {
    /// The service.
    pub service: String,
    /// Requests that were evaluated or refused.
    pub requests: u64,
    /// Those that were refused: a field was missing, a view too old.
    pub refused: u64,
    /// Rows of all requests: candidates.
    pub rows: u64,
    /// Whole evaluations, of the requests that are timed.
    pub duration: Histogram,
    /// All lookups of a request together, of the requests that are timed.
    pub lookup_duration: Histogram,
    /// Lookups by view.
    pub views: Vec<ViewMetrics>,
    /// Calls of aggregates and row transforms.
    pub calls: Vec<CallMetrics>,
    /// Missing values by feature.
    pub features: Vec<FeatureMetrics>,
}

/// Lookups of a view. A key that is the same for all rows of a request is looked up once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewMetrics {
    /// The view.
    pub view: String,
    /// By the number of a [`Status`].
    pub lookups: [u64; Status::ALL.len()],
}

/// Missing values of a feature, by the number of a [`Status`]. A value that stands for all rows of a request counts once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureMetrics {
    /// As the service names it.
    pub feature: String,
    /// By the number of a [`Status`]; none is present.
    pub missing: [u64; Status::ALL.len()],
}

/// The calls of an aggregate or a row transform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallMetrics {
    /// The view or the transform.
    pub step: String,
    /// The module.
    pub module: String,
    /// Calls that failed, by the number of a [`FailureKind`].
    pub failures: [u64; FailureKind::ALL.len()],
    /// Calls in the requests that are timed.
    pub duration: Histogram,
}

/// How a call failed: see [`CallError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum FailureKind {
    /// [`CallError::Trap`].
    Trap = 0,
    /// [`CallError::Deadline`].
    Deadline = 1,
    /// [`CallError::Refused`].
    Refused = 2,
    /// [`CallError::Output`].
    Output = 3,
    /// [`CallError::TooLarge`], [`CallError::WrongKind`] and [`CallError::Stack`].
    Other = 4,
}

impl FailureKind {
    /// Every kind, by its number.
    pub const ALL: [Self; 5] = [Self::Trap, Self::Deadline, Self::Refused, Self::Output, Self::Other];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::Refused => "refused",
            Self::Output => "output",
            Self::Other => "other",
        }
    }

    pub(crate) fn of(error: CallError) -> Self {
        match error {
            CallError::Trap => Self::Trap,
            CallError::Deadline => Self::Deadline,
            CallError::Refused => Self::Refused,
            CallError::Output => Self::Output,
            CallError::TooLarge | CallError::WrongKind | CallError::Stack => Self::Other,
        }
    }
}

/// Lookups of single keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupMetrics {
    /// Those that found a row.
    pub found: u64,
    /// Those that did not.
    pub not_found: u64,
    /// One lookup in 64.
    pub duration: Histogram,
}

impl ServiceMetrics {
    /// The same service elsewhere: what one has and the other lacks, as another generation may, is kept.
    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.refused += other.refused;
        self.rows += other.rows;
        self.duration.add(&other.duration);
        self.lookup_duration.add(&other.lookup_duration);
        merge(
            &mut self.views,
            other.views,
            |a, b| a.view == b.view,
            |a, b| sum(&mut a.lookups, &b.lookups),
        );
        merge(
            &mut self.features,
            other.features,
            |a, b| a.feature == b.feature,
            |a, b| sum(&mut a.missing, &b.missing),
        );
        merge(
            &mut self.calls,
            other.calls,
            |a, b| (&a.step, &a.module) == (&b.step, &b.module),
            |a, b| {
                sum(&mut a.failures, &b.failures);
                a.duration.add(&b.duration);
            },
        );
    }
}

/// Adds each of `others` to the one that is the same, which is most likely in the same place.
fn merge<T>(sums: &mut Vec<T>, others: Vec<T>, is_same: impl Fn(&T, &T) -> bool, add: impl Fn(&mut T, &T)) {
    for (index, other) in others.into_iter().enumerate() {
        let is_it = |sum: &T| is_same(sum, &other);
        let place = match sums.get(index).is_some_and(is_it) {
            true => Some(index),
            false => sums.iter().position(is_it),
        };
        match place {
            Some(place) => add(&mut sums[place], &other),
            None => sums.push(other),
        }
    }
}

fn sum<const N: usize>(sums: &mut [u64; N], others: &[u64; N]) {
    sums.iter_mut().zip(others).for_each(|(sum, other)| *sum += other);
}
