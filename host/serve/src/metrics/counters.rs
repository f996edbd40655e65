use std::sync::Arc;

use unskew_snapshot::{Row, Status};

use crate::evaluation::{EvaluateError, Evaluation};
use crate::matrix::{Layout, Source};
use crate::metrics::histogram::{Counter, Recorder};
use crate::metrics::stopwatch::Stopwatch;
use crate::metrics::{CallMetrics, FailureKind, FeatureMetrics, ServiceMetrics, ViewMetrics};
use crate::plan::{Plan, ViewRead};

/// One request in so many is timed.
pub const SAMPLED: u64 = 64;
/// The bound of the first bucket of requests, lookups and calls.
pub(super) const FIRST_NS: u64 = 100;

const STATUSES: usize = Status::ALL.len();

/// What a session counts of one service of one generation. The session that has it adds; who scrapes reads.
#[derive(Debug)]
pub(crate) struct Counters {
    pub plan: Arc<Plan>,
    requests: Counter,
    refused: Counter,
    rows: Counter,
    duration: Recorder,
    lookup_duration: Recorder,
    views: Box<[ViewCounters]>,
    /// By feature, by status.
    features: Box<[[Counter; STATUSES]]>,
    /// The features that are read from columns, and their slots.
    slots: Box<[(usize, usize)]>,
    /// Of aggregates by view, then of transforms.
    calls: Box<[CallCounters]>,
}

#[derive(Debug)]
struct ViewCounters {
    lookups: [Counter; STATUSES],
    /// By 64 features of the snapshot, which of them the model reads.
    read: Box<[u64]>,
    /// By feature of the snapshot, the feature of the model; none has the greatest number.
    features: Box<[u32]>,
}

#[derive(Debug)]
struct CallCounters {
    failures: [Counter; FailureKind::ALL.len()],
    duration: Recorder,
}

/// The times of a request, if it is one of those that are timed.
#[derive(Debug)]
pub(crate) struct Timing {
    /// Of the request, and of its parts.
    watches: Option<(Stopwatch, Stopwatch)>,
}

impl Counters {
    pub fn new(plan: &Arc<Plan>, layout: &Layout) -> Self {
        let sources: Vec<Source> = (0..plan.features.len()).map(|feature| layout.source(feature)).collect();
        let call = || CallCounters {
            failures: Default::default(),
            duration: Recorder::new(FIRST_NS),
        };
        let view = |index: usize| {
            let of_view = |source: &Source| match source {
                Source::Row { view, feature } if *view == index => Some(*feature),
                _ => None,
            };
            let count = sources.iter().filter_map(of_view).max().map(|last| last + 1);
            let mut read = vec![0_u64; count.unwrap_or(0).div_ceil(64)];
            let mut features = vec![u32::MAX; count.unwrap_or(0)];
            for (number, source) in (0..).zip(&sources) {
                if let Some(feature) = of_view(source) {
                    read[feature / 64] |= 1 << (feature % 64);
                    features[feature] = number;
                }
            }
            ViewCounters {
                lookups: Default::default(),
                read: read.into(),
                features: features.into(),
            }
        };
        Self {
            plan: Arc::clone(plan),
            requests: Counter::default(),
            refused: Counter::default(),
            rows: Counter::default(),
            duration: Recorder::new(FIRST_NS),
            lookup_duration: Recorder::new(FIRST_NS),
            views: (0..plan.views.len()).map(view).collect(),
            features: plan.features.iter().map(|_| Default::default()).collect(),
            slots: sources
                .iter()
                .enumerate()
                .filter_map(|(feature, source)| match source {
                    Source::Slot(slot) => Some((feature, *slot)),
                    Source::Row { .. } => None,
                })
                .collect(),
            calls: (0..plan.views.len() + plan.transforms.len()).map(|_| call()).collect(),
        }
    }

    /// Counts a request; one in [`SAMPLED`] is timed.
    #[inline]
    pub fn begin(&self) -> Timing {
        let is_timed = self.requests.get().is_multiple_of(SAMPLED);
        self.requests.add(1);
        Timing {
            watches: is_timed.then(|| (Stopwatch::start(), Stopwatch::start())),
        }
    }

    /// Counts a request that was refused.
    #[cold]
    pub fn refuse(&self) {
        self.refused.add(1);
    }

    /// Counts what became of the lookups of a request.
    #[inline]
    pub fn count_lookups(&self, evaluation: &Evaluation, timing: &mut Timing) {
        timing.lap(&self.lookup_duration);
        for (view, statuses) in self.views.iter().zip(&evaluation.statuses) {
            let present = statuses.iter().filter(|status| status.is_present()).count();
            view.lookups[Status::Present as usize].add(present as u64);
            if present < statuses.len() {
                for status in statuses.iter().filter(|status| !status.is_present()) {
                    view.lookups[*status as usize].add(1);
                }
            }
        }
    }

    /// Counts the null values of a row of a view that the model reads.
    #[inline]
    pub fn count_nulls(&self, view: usize, row: Row<'_>) {
        let view = &self.views[view];
        for (word, read) in view.read.iter().enumerate() {
            let mut nulls = row.null_bits(word) & read;
            while nulls != 0 {
                let feature = view.features[64 * word + nulls.trailing_zeros() as usize];
                self.features[feature as usize][Status::Null as usize].add(1);
                nulls &= nulls - 1;
            }
        }
    }

    /// Times the aggregate of a view that has just been read, in a request that is timed.
    #[inline]
    pub fn time_view(&self, view: usize, timing: &mut Timing) {
        timing.lap(&self.calls[view].duration);
    }

    /// Times a transform that has just run, in a request that is timed.
    #[inline]
    pub fn time_transform(&self, transform: usize, timing: &mut Timing) {
        timing.lap(&self.calls[self.views.len() + transform].duration);
    }

    /// Counts what a request gave.
    #[inline]
    pub fn end(&self, evaluation: &Evaluation, timing: Timing) {
        self.rows.add(evaluation.rows as u64);
        for (feature, slot) in &self.slots {
            let fate = evaluation.fate(*slot);
            let count = match fate {
                None => evaluation.columns[*slot].null_count(),
                Some(_) => 1,
            };
            if count > 0 {
                self.features[*feature][fate.unwrap_or(Status::Null) as usize].add(count as u64);
            }
        }
        for failure in &evaluation.failures {
            self.count_failure(failure);
        }
        if let Some((mut watch, _)) = timing.watches {
            self.duration.record(watch.lap());
        }
    }

    #[cold]
    fn count_failure(&self, failure: &EvaluateError) {
        let EvaluateError::Call { step, error, .. } = failure else {
            return;
        };
        let views = self.plan.views.iter().map(|view| &view.view);
        let transforms = self.plan.transforms.iter().map(|transform| &transform.name);
        if let Some(index) = views.chain(transforms).position(|name| name == step) {
            self.calls[index].failures[FailureKind::of(*error) as usize].add(1);
        }
    }

    /// The counts as they are.
    pub fn read(&self) -> ServiceMetrics {
        let plan = &self.plan;
        let read = |counters: &[Counter; STATUSES]| std::array::from_fn(|status| counters[status].get());
        let views: Vec<ViewMetrics> = plan
            .views
            .iter()
            .zip(&self.views)
            .map(|(step, view)| ViewMetrics {
                view: step.view.clone(),
                lookups: read(&view.lookups),
            })
            .collect();
        let mut features: Vec<FeatureMetrics> = plan
            .features
            .iter()
            .zip(&self.features)
            .map(|(step, counters)| FeatureMetrics {
                feature: step.name.clone(),
                missing: read(counters),
            })
            .collect();
        // A row that is not there, or does not count, lacks all its features.
        for (view, metrics) in self.views.iter().zip(&views) {
            for feature in view.features.iter().filter(|feature| **feature != u32::MAX) {
                let missing = &mut features[*feature as usize].missing;
                for (status, count) in metrics.lookups.iter().enumerate().skip(1) {
                    missing[status] += count;
                }
            }
        }
        let steps = plan.views.iter().map(|step| match &step.read {
            ViewRead::Aggregate { module, .. } => Some((&step.view, module)),
            ViewRead::Features(_) => None,
        });
        let steps = steps.chain(plan.transforms.iter().map(|step| Some((&step.name, &step.module))));
        let calls = steps.zip(&self.calls).filter_map(|(step, call)| {
            let (step, module) = step?;
            Some(CallMetrics {
                step: step.clone(),
                module: module.clone(),
                failures: std::array::from_fn(|kind| call.failures[kind].get()),
                duration: call.duration.read(),
            })
        });
        ServiceMetrics {
            service: plan.service.clone(),
            requests: self.requests.get(),
            refused: self.refused.get(),
            rows: self.rows.get(),
            duration: self.duration.read(),
            lookup_duration: self.lookup_duration.read(),
            calls: calls.collect(),
            views,
            features,
        }
    }
}

impl Timing {
    #[inline]
    fn lap(&mut self, recorder: &Recorder) {
        if let Some((_, watch)) = &mut self.watches {
            recorder.record(watch.lap());
        }
    }

    /// Forgets what was done since the last lap.
    #[inline]
    pub fn skip(&mut self) {
        if let Some((_, watch)) = &mut self.watches {
            watch.lap();
        }
    }
}

/// What a session counts of its lookups by view and key.
#[derive(Debug)]
pub(crate) struct LookupCounters {
    pub found: Counter,
    pub not_found: Counter,
    pub duration: Recorder,
}

impl LookupCounters {
    pub fn new() -> Self {
        Self {
            found: Counter::default(),
            not_found: Counter::default(),
            duration: Recorder::new(FIRST_NS),
        }
    }
}
