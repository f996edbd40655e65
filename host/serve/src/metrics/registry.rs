use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::matrix::Layout;
use crate::metrics::counters::{Counters, FIRST_NS, LookupCounters};
use crate::metrics::histogram::Recorder;
use crate::metrics::{
    GoldenMetrics, GoldenOutcome, Histogram, LookupMetrics, ServiceMetrics, SwapMetrics, SwapOutcome,
};
use crate::plan::Plan;

/// The bound of the first bucket of swaps and of golden calls: 0.1 ms.
const FIRST_SWAP_NS: u64 = 100_000;

/// The counters of all sessions of a host. Its lock is taken when a session, or its instances of a service, come or go, and
/// by who scrapes: by no request.
#[derive(Debug)]
pub(crate) struct Registry {
    sessions: Mutex<Sessions>,
    swaps: Mutex<Swaps>,
}

#[derive(Debug)]
struct Sessions {
    services: Vec<Arc<Counters>>,
    lookups: Vec<Arc<LookupCounters>>,
    /// What sessions counted that are gone, and generations that are left.
    retired: BTreeMap<String, ServiceMetrics>,
    retired_lookups: LookupMetrics,
}

#[derive(Debug)]
struct Swaps {
    durations: [Recorder; SwapOutcome::ALL.len()],
    golden: [Recorder; GoldenOutcome::ALL.len()],
}

impl Registry {
    pub fn new() -> Self {
        Self {
            sessions: Mutex::new(Sessions {
                services: Vec::new(),
                lookups: Vec::new(),
                retired: BTreeMap::new(),
                retired_lookups: LookupMetrics::new(),
            }),
            swaps: Mutex::new(Swaps {
                durations: std::array::from_fn(|_| Recorder::new(FIRST_SWAP_NS)),
                golden: std::array::from_fn(|_| Recorder::new(FIRST_SWAP_NS)),
            }),
        }
    }

    /// Counters of a service for one session at a time.
    pub fn counters(self: &Arc<Self>, plan: &Arc<Plan>, layout: &Layout) -> Counting {
        let counters = Arc::new(Counters::new(plan, layout));
        lock(&self.sessions).services.push(Arc::clone(&counters));
        Counting {
            counters,
            registry: Arc::clone(self),
        }
    }

    /// Counters of a session's lookups.
    pub fn lookup_counters(&self) -> Arc<LookupCounters> {
        let counters = Arc::new(LookupCounters::new());
        lock(&self.sessions).lookups.push(Arc::clone(&counters));
        counters
    }

    /// Keeps the counts of a session that goes.
    pub fn retire_lookups(&self, counters: &Arc<LookupCounters>) {
        let mut sessions = lock(&self.sessions);
        sessions.lookups.retain(|other| !Arc::ptr_eq(other, counters));
        sessions.retired_lookups.add(counters);
    }

    /// Counts a change of the generation, or the failure of one, and how long it took.
    pub fn count_swap(&self, outcome: SwapOutcome, took: Duration) {
        let swaps = lock(&self.swaps);
        swaps.durations[outcome as usize].record(took);
    }

    pub fn swaps(&self) -> Vec<SwapMetrics> {
        let swaps = lock(&self.swaps);
        let outcomes = SwapOutcome::ALL.into_iter().zip(&swaps.durations);
        outcomes
            .map(|(outcome, duration)| SwapMetrics {
                outcome,
                duration: duration.read(),
            })
            .collect()
    }

    /// Counts a run of a module's golden calls, and how long it took.
    pub fn count_golden(&self, outcome: GoldenOutcome, took: Duration) {
        let swaps = lock(&self.swaps);
        swaps.golden[outcome as usize].record(took);
    }

    pub fn golden(&self) -> Vec<GoldenMetrics> {
        let swaps = lock(&self.swaps);
        let outcomes = GoldenOutcome::ALL.into_iter().zip(&swaps.golden);
        outcomes
            .map(|(outcome, duration)| GoldenMetrics {
                outcome,
                duration: duration.read(),
            })
            .collect()
    }

    /// The sums of all sessions, by service.
    pub fn services(&self) -> Vec<ServiceMetrics> {
        let sessions = lock(&self.sessions);
        let mut services = sessions.retired.clone();
        for counters in &sessions.services {
            add(&mut services, counters.read());
        }
        services.into_values().collect()
    }

    pub fn lookups(&self) -> LookupMetrics {
        let sessions = lock(&self.sessions);
        let mut lookups = sessions.retired_lookups.clone();
        sessions.lookups.iter().for_each(|counters| lookups.add(counters));
        lookups
    }
}

impl LookupMetrics {
    fn new() -> Self {
        Self {
            found: 0,
            not_found: 0,
            duration: Histogram::new(FIRST_NS),
        }
    }

    fn add(&mut self, counters: &LookupCounters) {
        self.found += counters.found.get();
        self.not_found += counters.not_found.get();
        self.duration.add(&counters.duration.read());
    }
}

fn add(services: &mut BTreeMap<String, ServiceMetrics>, added: ServiceMetrics) {
    match services.get_mut(&added.service) {
        Some(sum) => sum.add(added),
        None => {
            services.insert(added.service.clone(), added);
        }
    }
}

/// The counters of a service in one session; when it goes, what it counted is kept.
#[derive(Debug)]
pub(crate) struct Counting {
    counters: Arc<Counters>,
    registry: Arc<Registry>,
}

impl std::ops::Deref for Counting {
    type Target = Counters;

    fn deref(&self) -> &Counters {
        &self.counters
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        let mut sessions = lock(&self.registry.sessions);
        sessions.services.retain(|other| !Arc::ptr_eq(other, &self.counters));
        add(&mut sessions.retired, self.counters.read());
    }
}

/// A thread that panicked left nothing half done but a count.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
