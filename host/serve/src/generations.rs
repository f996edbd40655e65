use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};

use arc_swap::ArcSwap;
use unskew_snapshot::{Backing, EventTime};

use crate::audit::Audit;
use crate::catalog::WhenStale;
use crate::evaluation::EvaluateError;
use crate::fresh::Fresh;
use crate::generation::{ActivateError, Generation};
use crate::health::{Failure, Health, NotReady};
use crate::housekeeping::Housekeeper;
use crate::instance::CallLimits;
use crate::metrics::{Metrics, Registry, SnapshotMetrics, Stopwatch, SwapOutcome};
use crate::note::{Note, Notebook};
use crate::quarantine::Quarantine;
use crate::resident::Resident;
use crate::runtime::Runtime;
use crate::session::Prepared;
use crate::stack::{Beside, on_own_thread};
use crate::store::Store;
use crate::sync::{Mutex, MutexGuard};

/// The generations of a host: the one that is served, those before it that stay mapped, and which may not be served.
///
/// Two locks, neither of which a request takes: `loading` while files are read and checked, `state` for moments. So a
/// rollback does not wait for a load.
#[derive(Debug)]
pub(crate) struct Generations {
    runtime: Runtime,
    store: Store,
    options: LoadOptions,
    notebook: Notebook,
    /// What a request takes its guard of.
    pub current: ArcSwap<Generation>,
    loading: Mutex<()>,
    state: Mutex<State>,
    pub housekeeper: Housekeeper,
    /// The sessions that live, for which instances are made before a generation is served.
    pub sessions: AtomicUsize,
}

/// How generations are loaded and kept.
#[derive(Clone, Debug)]
pub(crate) struct LoadOptions {
    pub compiled: PathBuf,
    pub state_dir: Option<PathBuf>,
    pub backing: Backing,
    pub limits: CallLimits,
    pub memory_bytes: Option<u64>,
    pub kept_generations: usize,
    pub max_failures: u32,
    /// Where sessions count.
    pub metrics: Arc<Registry>,
    pub audit: Arc<Audit>,
    pub fresh: Arc<Fresh>,
}

#[derive(Debug, Default)]
struct State {
    /// Served before, the last one last, and still mapped.
    kept: VecDeque<Arc<Generation>>,
    latest_seen: u64,
    pinned: Option<u64>,
    revoked: BTreeSet<u64>,
    quarantined: BTreeMap<u64, Quarantine>,
    /// Of the last attempt to load.
    failure: Option<Failure>,
    /// Of calls, until another generation is activated.
    call_failure: Option<Failure>,
    swaps: u64,
    /// Why the last note could not be written.
    note_failure: Option<Failure>,
}

impl State {
    /// Whether `number` is not to be served, whatever the store says.
    fn holds(&self, number: u64) -> bool {
        self.revoked.contains(&number)
            || self.pinned.is_some_and(|pinned| pinned != number)
            || self
                .quarantined
                .get(&number)
                .is_some_and(|quarantine| quarantine.is_active())
    }
}

/// What a refresh did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// The current generation of the store is served already.
    Unchanged,
    /// This generation is served from now on.
    Activated(u64),
    /// The store's current generation is this one, which is not served: the host is pinned to another, or it was revoked, or
    /// it is quarantined.
    Held(u64),
}

impl Generations {
    /// Loads the generation that was pinned before the last start, or `current`, the store's, or, where that cannot be or is
    /// not to be served, the one that was served last.
    pub fn open(
        runtime: Runtime,
        store: Store,
        options: LoadOptions,
        current: Result<u64, ActivateError>,
    ) -> Result<Self, ActivateError> {
        let notebook = Notebook::open(&store, options.state_dir.as_deref(), &options.compiled)?;
        let note = notebook.read()?;
        let latest_seen = current.as_ref().ok().copied();
        let (candidates, mut failed) = candidates(&note, current);
        let mut loaded = None;
        for number in candidates {
            let load = || Generation::load(&runtime, &store, &options, number, &Resident::default(), 0);
            match on_own_thread(Beside::Nobody, load)? {
                Ok(generation) => {
                    loaded = Some(generation);
                    break;
                }
                // The first says why what should be served is not.
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        let generation = match (loaded, failed.take()) {
            (Some(generation), error) => {
                // For want of another, what was left is served all the same.
                let number = generation.number;
                let is_served = |error: &ActivateError| matches!(error, ActivateError::Quarantined { generation } if *generation == number);
                failed = error.filter(|error| !is_served(error));
                generation
            }
            (None, error) => return Err(error.unwrap_or(ActivateError::NothingBefore)),
        };
        let latest_seen = latest_seen.unwrap_or(generation.number);
        let state = State {
            latest_seen,
            failure: failed.map(|error| Failure::new(note.pinned.unwrap_or(latest_seen), &error)),
            pinned: note.pinned.filter(|pinned| *pinned == generation.number),
            revoked: note.revoked,
            quarantined: note.quarantined,
            ..State::default()
        };
        let housekeeper = Housekeeper::new()?;
        let generations = Self {
            runtime,
            store,
            options,
            notebook,
            current: ArcSwap::from_pointee(generation),
            loading: Mutex::new(()),
            state: Mutex::new(state),
            housekeeper,
            sessions: AtomicUsize::new(0),
        };
        generations.record(&mut lock(&generations.state));
        Ok(generations)
    }

    pub fn refresh(&self) -> Result<Refresh, ActivateError> {
        let _loading = lock(&self.loading);
        let mut watch = Stopwatch::start();
        let refreshed = self.try_refresh();
        let outcome = match &refreshed {
            Ok(Refresh::Activated(_)) => Some(SwapOutcome::Activated),
            Ok(Refresh::Unchanged | Refresh::Held(_)) => None,
            Err(_) => Some(SwapOutcome::Failed),
        };
        if let Some(outcome) = outcome {
            self.metrics().count_swap(outcome, watch.lap());
        }
        let mut state = lock(&self.state);
        match &refreshed {
            Ok(Refresh::Held(_)) => {}
            Ok(_) => state.failure = None,
            Err(error) => {
                let generation = state.latest_seen;
                let before = state.failure.take().filter(|failure| failure.generation == generation);
                let mut failure = Failure::new(generation, error);
                failure.attempts += before.map_or(0, |before| before.attempts);
                state.failure = Some(failure);
            }
        }
        refreshed
    }

    fn try_refresh(&self) -> Result<Refresh, ActivateError> {
        let Some(number) = self.store.current()? else {
            return Ok(Refresh::Unchanged);
        };
        {
            let mut state = lock(&self.state);
            state.latest_seen = number;
            if number == self.current.load().number {
                return Ok(Refresh::Unchanged);
            }
            if state.holds(number) {
                return Ok(Refresh::Held(number));
            }
        }
        let generation = self.resident_or_load(number)?;
        let mut state = lock(&self.state);
        // Somebody may have pinned or revoked meanwhile.
        if state.holds(number) {
            self.housekeeper.free(generation);
            return Ok(Refresh::Held(number));
        }
        self.switch(&mut state, generation);
        // With the switch: whoever sees the one sees the other.
        state.failure = None;
        state.call_failure = None;
        Ok(Refresh::Activated(number))
    }

    /// Serves `number`, from the store if it is not mapped, until [`unpin`](Self::unpin).
    pub fn pin(&self, number: u64) -> Result<(), ActivateError> {
        let _loading = lock(&self.loading);
        let mut watch = Stopwatch::start();
        let revoked = ActivateError::Revoked { generation: number };
        if lock(&self.state).revoked.contains(&number) {
            return Err(revoked);
        }
        let current = self.current.load_full();
        let generation = match current.number == number {
            true => current,
            false => self.resident_or_load(number)?,
        };
        let mut state = lock(&self.state);
        if state.revoked.contains(&number) {
            return Err(revoked);
        }
        // Others may have switched meanwhile.
        if self.current.load().number != number {
            self.switch(&mut state, generation);
            state.call_failure = None;
        }
        state.pinned = Some(number);
        self.record(&mut state);
        self.metrics().count_swap(SwapOutcome::Pinned, watch.lap());
        Ok(())
    }

    pub fn unpin(&self) {
        let mut state = lock(&self.state);
        state.pinned = None;
        self.record(&mut state);
    }

    /// Serves the generation before, which is still mapped, and stays there.
    pub fn rollback(&self) -> Result<u64, ActivateError> {
        let mut watch = Stopwatch::start();
        let mut state = lock(&self.state);
        let number = self.switch_back(&mut state)?;
        state.pinned = Some(number);
        self.record(&mut state);
        self.metrics().count_swap(SwapOutcome::RolledBack, watch.lap());
        Ok(number)
    }

    /// Never serves `number` again; where it is served, the generation before takes its place.
    pub fn revoke(&self, number: u64) -> Result<(), ActivateError> {
        let mut state = lock(&self.state);
        state.revoked.insert(number);
        let (gone, kept) = state.kept.drain(..).partition(|generation| generation.number == number);
        state.kept = kept;
        self.free_all(gone);
        if state.pinned == Some(number) {
            state.pinned = None;
        }
        let switched = match self.current.load().number == number {
            true => {
                let mut watch = Stopwatch::start();
                let switched = self.switch_back(&mut state);
                if switched.is_ok() {
                    self.metrics().count_swap(SwapOutcome::RolledBack, watch.lap());
                }
                switched.map(|_| ())
            }
            false => Ok(()),
        };
        self.record(&mut state);
        switched
    }

    /// Counts calls that failed in `generation`, and has it left when they are too many.
    pub fn note_failures(&self, generation: &Generation, failures: &[EvaluateError]) {
        let count = u32::try_from(failures.len()).unwrap_or(u32::MAX);
        let before = generation.failures.fetch_add(count, Ordering::Relaxed);
        let max = self.options.max_failures;
        // Once, by whoever goes beyond: the count is halved when somebody has dealt with it.
        if before < max && before.saturating_add(count) >= max {
            let last = failures.last().map(ToString::to_string).unwrap_or_default();
            let reason = format!("calls fail in it: {last}");
            self.housekeeper.quarantine(generation.number, reason);
        }
    }

    /// Makes sampled calls again, and leaves the generation of one that gives something else.
    pub fn run_audit(&self) {
        let limits = CallLimits {
            deadline: 4 * self.options.limits.deadline,
            ..self.options.limits
        };
        self.options
            .audit
            .run(limits, |generation, reason| self.quarantine(generation, &reason));
    }

    /// Goes back from a generation whose calls fail or cannot be made again, and does not serve it for a while: half a minute the first time, then
    /// twice as long each time. Stays where the operator wants it, and where there is nothing to go back to.
    pub fn quarantine(&self, number: u64, reason: &str) {
        let mut state = lock(&self.state);
        if self.current.load().number != number {
            return;
        }
        let mut watch = Stopwatch::start();
        let message = if state.pinned == Some(number) {
            format!("{reason}; it is pinned, so it is served all the same")
        } else if self.switch_back(&mut state).is_err() {
            format!("{reason}; no generation before it is in memory, so it is served all the same")
        } else {
            self.metrics().count_swap(SwapOutcome::Quarantined, watch.lap());
            let seconds = state.quarantined.entry(number).or_default().strike();
            format!("{reason}; it is tried again in {seconds} s")
        };
        state.call_failure = Some(Failure {
            generation: number,
            message,
            attempts: 1,
        });
        self.record(&mut state);
    }

    /// Keeps instances that a session needs no longer for the next one: a rollback then makes none.
    pub fn take_back(&self, prepared: Prepared) {
        let kept = {
            let state = lock(&self.state);
            let resident = state.kept.iter().find(|kept| kept.number == prepared.generation);
            resident.cloned()
        };
        let generation = kept.unwrap_or_else(|| self.current.load_full());
        let service = generation.services.get(prepared.service);
        if let Some(service) = service.filter(|service| Arc::ptr_eq(&service.plan, &prepared.plan)) {
            // Full: it is freed here.
            let _ = service.spare.push(prepared);
        }
    }

    /// The fresh events.
    pub fn fresh(&self) -> &Fresh {
        &self.options.fresh
    }

    /// Once a second.
    pub fn forget_some(&self) {
        self.options.fresh.forget_covered();
        let failures = &self.current.load().failures;
        // Relaxed: one that is counted meanwhile may be lost.
        failures.store(failures.load(Ordering::Relaxed) / 2, Ordering::Relaxed);
        for quarantine in lock(&self.state).quarantined.values_mut() {
            quarantine.pass_second();
        }
    }

    pub fn is_pinned(&self) -> bool {
        lock(&self.state).pinned.is_some()
    }

    pub fn latest_seen(&self) -> u64 {
        lock(&self.state).latest_seen
    }

    pub fn ready(&self, now: EventTime) -> Result<(), NotReady> {
        let current = self.current.load_full();
        let generation = current.number;
        if lock(&self.state).revoked.contains(&generation) {
            return Err(NotReady::Revoked { generation });
        }
        for served in &current.services {
            for (step, view) in served.plan.views.iter().zip(&served.views) {
                if view.when_stale(now) == Some(WhenStale::Fail) {
                    return Err(NotReady::Stale {
                        service: served.plan.service.clone(),
                        reason: view.stale(&step.view, now),
                    });
                }
            }
        }
        Ok(())
    }

    pub fn health(&self) -> Health {
        let state = lock(&self.state);
        let current = self.current.load_full();
        let resident = state.kept.iter().chain([&current]);
        Health {
            current: current.number,
            latest_seen: state.latest_seen,
            pinned: state.pinned,
            revoked: state.revoked.iter().copied().collect(),
            quarantined: {
                let quarantined = state.quarantined.iter();
                let active = quarantined.filter(|(_, quarantine)| quarantine.is_active());
                active.map(|(number, _)| *number).collect()
            },
            mapped_bytes: Resident::of(resident.clone().cloned()).snapshot_bytes(),
            resident: resident.map(|generation| generation.number).collect(),
            failure: {
                let of_calls = state.call_failure.as_ref().or(state.note_failure.as_ref());
                state.failure.as_ref().or(of_calls).cloned()
            },
            swaps: state.swaps,
            audits: self.options.audit.counts(),
            watermarks: {
                let snapshots = current.snapshots.iter();
                snapshots
                    .map(|(view, served)| (view.clone(), served.layers.watermark()))
                    .collect()
            },
        }
    }

    /// The counters of sessions.
    pub fn metrics(&self) -> &Arc<Registry> {
        &self.options.metrics
    }

    /// What is counted, and what is served now.
    pub fn read_metrics(&self) -> Metrics {
        let health = self.health();
        let current = self.current.load_full();
        let snapshots = current.snapshots.iter().map(|(view, served)| SnapshotMetrics {
            view: view.clone(),
            watermark: served.layers.watermark(),
            rows: served.layers.len() as u64,
            late: served.layers.late().map(|late| late.count),
        });
        Metrics {
            generation: current.number,
            latest_generation: health.latest_seen,
            resident_generations: health.resident.len(),
            mapped_bytes: health.mapped_bytes,
            quarantined_generations: health.quarantined.len(),
            sessions: self.sessions.load(Ordering::Relaxed),
            snapshots: snapshots.collect(),
            swaps: self.metrics().swaps(),
            golden: self.metrics().golden(),
            audits: health.audits,
            services: self.metrics().services(),
            lookups: self.metrics().lookups(),
            fresh: self.options.fresh.metrics(),
        }
    }

    /// A kept generation, or the store's, which shares with those in memory what is the same.
    fn resident_or_load(&self, number: u64) -> Result<Arc<Generation>, ActivateError> {
        let resident = {
            let state = lock(&self.state);
            if let Some(kept) = state.kept.iter().find(|kept| kept.number == number) {
                return Ok(Arc::clone(kept));
            }
            Resident::of(state.kept.iter().cloned().chain([self.current.load_full()]))
        };
        let sessions = self.sessions.load(Ordering::Relaxed);
        let load = |resident: &Resident| {
            on_own_thread(Beside::Requests, || {
                Generation::load(&self.runtime, &self.store, &self.options, number, resident, sessions)
            })?
        };
        let loaded = match load(&resident) {
            Err(ActivateError::Memory { .. }) => {
                drop(resident);
                // What is kept to roll back to makes room for what fits then, and stays where nothing is won.
                let current = Resident::of([self.current.load_full()]);
                Generation::check_memory(&self.store, &self.options, number, &current)?;
                let kept: Vec<_> = lock(&self.state).kept.drain(..).collect();
                self.free_all(kept);
                load(&current)
            }
            loaded => loaded,
        };
        loaded.map(Arc::new)
    }

    /// The one switch: what is served from now on is `generation`.
    fn switch(&self, state: &mut State, generation: Arc<Generation>) {
        state.kept.retain(|kept| kept.number != generation.number);
        let before = self.current.swap(generation);
        state.swaps += 1;
        state.kept.push_back(before);
        let surplus = state.kept.len().saturating_sub(self.options.kept_generations);
        let surplus: Vec<_> = state.kept.drain(..surplus).collect();
        self.free_all(surplus);
        self.record(state);
    }

    /// Back to the generation before. The one that is left is not kept: a second step back goes further.
    fn switch_back(&self, state: &mut State) -> Result<u64, ActivateError> {
        let before = state.kept.pop_back().ok_or(ActivateError::NothingBefore)?;
        let number = before.number;
        self.switch(state, before);
        self.free_all(state.kept.pop_back());
        Ok(number)
    }

    fn free_all(&self, generations: impl IntoIterator<Item = Arc<Generation>>) {
        generations
            .into_iter()
            .for_each(|generation| self.housekeeper.free(generation));
    }

    /// Notes what a next start must know. What cannot be noted is no reason not to serve now.
    fn record(&self, state: &mut State) {
        let note = Note {
            served: Some(self.current.load().number),
            pinned: state.pinned,
            revoked: state.revoked.clone(),
            quarantined: state.quarantined.clone(),
        };
        let written = self.notebook.write(&note);
        // In a cache that others may write for the host, the note is a help and not a promise.
        let failed = written.err().filter(|_| self.options.state_dir.is_some());
        state.note_failure = failed.map(|error| {
            let message = format!("a restart would forget what is pinned, revoked and quarantined: {error}");
            Failure {
                generation: self.current.load().number,
                message,
                attempts: 1,
            }
        });
    }
}

/// Which generations a start tries, in order, and why it does not try the store's current one.
fn candidates(note: &Note, current: Result<u64, ActivateError>) -> (Vec<u64>, Option<ActivateError>) {
    let is_quarantined = |number: &u64| {
        note.quarantined
            .get(number)
            .is_some_and(|quarantine| quarantine.is_active())
    };
    let (current, failed) = match current {
        Ok(number) if note.revoked.contains(&number) => (None, Some(ActivateError::Revoked { generation: number })),
        Ok(number) if is_quarantined(&number) => {
            (Some(number), Some(ActivateError::Quarantined { generation: number }))
        }
        Ok(number) => (Some(number), None),
        Err(error) => (None, Some(error)),
    };
    let served = note.served.filter(|number| !note.revoked.contains(number));
    let in_order = [
        note.pinned,
        current.filter(|number| !is_quarantined(number)),
        served,
        current,
    ];
    let mut candidates: Vec<u64> = Vec::new();
    for number in in_order.into_iter().flatten() {
        if !candidates.contains(&number) {
            candidates.push(number);
        }
    }
    (candidates, failed)
}

/// A thread that panicked left nothing half done: every change is one store.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, feature = "model"))]
mod tests;
