use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use unskew_snapshot::{Backing, EventTime};

use crate::audit::Audit;
use crate::fresh::{Events, Fresh, FreshOptions, PushError, Pushed};
use crate::generation::ActivateError;
use crate::generations::{Generations, LoadOptions, Refresh};
use crate::health::{Health, NotReady};
use crate::instance::CallLimits;
use crate::metrics::{Metrics, Registry};
use crate::request::{MAX_CANDIDATES, Service};
use crate::runtime::Runtime;
use crate::session::Session;
use crate::store::Store;
use crate::watch::Watch;

/// How a host is opened.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// The limits of every call of a transform.
    pub limits: CallLimits,
    /// The private cache of native code; by default `compiled` in the store. The host notes there which generation of the store
    /// it served last, to start from it where the current one is damaged.
    pub compiled_dir: Option<PathBuf>,
    /// A directory of this host alone, where it keeps what it pins, revokes and quarantines over a restart. None: a restart
    /// forgets them.
    pub state_dir: Option<PathBuf>,
    /// The most candidates of one request.
    pub max_candidates: usize,
    /// How long [`Host::open`] waits for the first generation of an empty store.
    pub wait: Duration,
    /// What snapshots are read from: the files' own pages, or copies that nobody else can change.
    pub snapshots: Backing,
    /// The most bytes of snapshots in memory at once. During a swap both generations are, less what they share; a generation
    /// that would go beyond is refused. No limit by default.
    pub memory_bytes: Option<u64>,
    /// How many generations before the current one stay in memory for [`Host::rollback`]. They are let go when a new
    /// generation would not fit within [`memory_bytes`](Self::memory_bytes) beside them.
    pub kept_generations: usize,
    /// How many calls of transforms may fail, within a second or two, before the generation is quarantined: the host goes back
    /// to the one before and tries this one again after half a minute, then a minute, and so on up to an hour.
    pub max_failures: u32,
    /// One call of each instance in so many is made again by another thread, on a fresh instance: a module that keeps something
    /// from call to call gives itself away, and its generation is left like one whose calls fail. None where it is 0.
    pub audit_every: u32,
    /// How [fresh events](Host::push) are taken and kept.
    pub fresh: FreshOptions,
    /// Whether the store is followed by a thread: whenever its file system tells of a change, and this often besides. None:
    /// only [`Host::refresh`] looks.
    pub follow: Option<Duration>,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self {
            limits: CallLimits::SERVING,
            compiled_dir: None,
            state_dir: None,
            max_candidates: MAX_CANDIDATES,
            wait: Duration::ZERO,
            snapshots: Backing::File,
            memory_bytes: None,
            kept_generations: 1,
            max_failures: 32,
            audit_every: 1_024,
            fresh: FreshOptions::default(),
            follow: None,
        }
    }
}

/// The embedded host of a process: serves the current generation of a store to any number of threads. Cheap to clone.
///
/// A generation is served whole or not at all, and from one moment to the next; whatever goes wrong with a new one, the one
/// before goes on serving, and [`health`](Self::health) says why.
#[derive(Clone, Debug)]
pub struct Host {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub options: HostOptions,
    pub generations: Arc<Generations>,
    /// After the generations, which its thread outlives by a moment.
    watch: Option<Watch>,
}

impl Host {
    /// Opens `store` and activates its current generation or, where that cannot be loaded, the one that was served last from
    /// the same cache of native code. Blocks for the loading and checking of files, and for [`HostOptions::wait`] where the
    /// store has no generation yet. Starts up to four threads: deadlines, housekeeping, and two to follow the store.
    ///
    /// # Errors
    /// See [`ActivateError`]: every one names the file or the definition at fault.
    pub fn open(store: impl AsRef<Path>, options: HostOptions) -> Result<Self, ActivateError> {
        let store = Store::new(store.as_ref());
        let runtime = Runtime::new()?;
        let number = wait_for_generation(&store, options.wait);
        let load_options = LoadOptions {
            compiled: options.compiled_dir.clone().unwrap_or_else(|| store.compiled_dir()),
            state_dir: options.state_dir.clone(),
            backing: options.snapshots,
            limits: options.limits,
            memory_bytes: options.memory_bytes,
            kept_generations: options.kept_generations,
            max_failures: options.max_failures.max(1),
            metrics: Arc::new(Registry::new()),
            audit: Arc::new(Audit::new(options.audit_every)),
            fresh: Arc::new(Fresh::open(options.fresh.clone(), options.limits)?),
        };
        let root = store.root().to_owned();
        let generations = Arc::new(Generations::open(runtime, store, load_options, number)?);
        generations.housekeeper.attend(&generations);
        let watch = options.follow.map(|poll| Watch::new(&generations, &root, poll));
        Ok(Self {
            shared: Arc::new(Shared {
                options,
                generations,
                watch: watch.transpose()?,
            }),
        })
    }

    /// Activates the store's current generation, if it is another than the one served and the host is not held elsewhere.
    /// Requests go on meanwhile; each sees one generation throughout.
    ///
    /// # Errors
    /// See [`ActivateError`]. The generation before goes on serving.
    pub fn refresh(&self) -> Result<Refresh, ActivateError> {
        self.shared.generations.refresh()
    }

    /// The number of the generation that is served.
    pub fn current(&self) -> u64 {
        self.shared.generations.current.load().number
    }

    /// The number of the store's current generation, as last seen.
    pub fn latest_seen(&self) -> u64 {
        self.shared.generations.latest_seen()
    }

    /// Whether the store's current generation is served, or another on purpose.
    pub fn is_up_to_date(&self) -> bool {
        self.health().is_up_to_date()
    }

    /// Serves a generation of the store, whatever becomes current there, until [`unpin`](Self::unpin). Loads it if it is not
    /// in memory.
    ///
    /// # Errors
    /// See [`ActivateError`]. What was served goes on serving, pinned or not as before.
    pub fn pin(&self, generation: u64) -> Result<(), ActivateError> {
        self.shared.generations.pin(generation)
    }

    /// Ends a [`pin`](Self::pin) or a [`rollback`](Self::rollback): from the next refresh on, the store's current generation
    /// is served.
    pub fn unpin(&self) {
        self.shared.generations.unpin();
        if let Some(watch) = &self.shared.watch {
            watch.wake();
        }
    }

    /// Whether the host stays at a generation.
    pub fn is_pinned(&self) -> bool {
        self.shared.generations.is_pinned()
    }

    /// Serves the generation before, which is still in memory, and stays there until [`unpin`](Self::unpin). Takes
    /// less than a millisecond, and waits for no load. Gives the number of that generation.
    ///
    /// # Errors
    /// [`ActivateError::NothingBefore`].
    pub fn rollback(&self) -> Result<u64, ActivateError> {
        self.shared.generations.rollback()
    }

    /// Never serves a generation again: until the process ends, or beyond that with [`HostOptions::state_dir`]. Where it is served, the one before takes its place; a newer
    /// one of the store is activated as ever.
    ///
    /// # Errors
    /// [`ActivateError::NothingBefore`]: it is served, and goes on until a refresh finds another.
    pub fn revoke(&self, generation: u64) -> Result<(), ActivateError> {
        self.shared.generations.revoke(generation)
    }

    /// What is served, and why it is not the newest.
    pub fn health(&self) -> Health {
        self.shared.generations.health()
    }

    /// Events of a view, to be filled and [pushed](Self::push), whose values are given in the order of `columns`: the parts of the
    /// entity's key, and the columns of the events of the view's module, or the features of a view without one, by their names. A
    /// column that may be missing need not be there.
    ///
    /// # Errors
    /// [`PushError::NoView`], [`PushError::Column`]: a column is unknown, or one is lacking.
    pub fn events(&self, view: &str, columns: &[&str]) -> Result<Events, PushError> {
        let generation = self.shared.generations.current.load();
        let overlay = generation.fresh(view).ok_or_else(|| generation.no_view(view))?;
        Events::new(&overlay.schema, columns)
    }

    /// Takes events that are newer than the snapshots: reads see them from the time that they say on, at once, in every
    /// generation in memory and in those to come, until a snapshot has them. See [`docs::fresh`](crate::docs::fresh) for what that
    /// means, costs and needs. `now` is when they arrive: what says that it is from later than
    /// [`FreshOptions::max_ahead`] after is refused.
    ///
    /// For any thread but one that answers requests: it runs the view's module, some microseconds an event and less for many at
    /// once, waits for other pushes to the view, allocates, and writes the journal if there is one.
    ///
    /// # Errors
    /// [`PushError`]: none of the events was taken. Events that are refused one by one are in [`Pushed`].
    pub fn push(&self, events: &Events, now: EventTime) -> Result<Pushed, PushError> {
        let generation = self.shared.generations.current.load_full();
        let view = events.view();
        let overlay = generation.fresh(view).ok_or_else(|| generation.no_view(view))?;
        if *events.schema() != *overlay.schema {
            return Err(PushError::Changed {
                view: view.to_owned(),
                generation: generation.number,
            });
        }
        self.shared.generations.fresh().push(overlay, events, now)
    }

    /// What was counted since the host was opened, and what it is like now. For a scrape: adds up the counters of all
    /// sessions, which go on counting, and allocates.
    pub fn metrics(&self) -> Metrics {
        self.shared.generations.read_metrics()
    }

    /// Whether requests at `now` are answered as the operator wants: for the readiness probe of a load balancer. A host that
    /// was opened is ready unless what it serves was revoked, or a view says that requests fail for its age.
    ///
    /// A generation whose transforms fail is no reason: its fallbacks are served, and a fleet that leaves its load balancer
    /// at once serves less. Nor is a newer generation that cannot be loaded. [`health`](Self::health) tells of both.
    ///
    /// # Errors
    /// [`NotReady`]: the first reason.
    pub fn ready(&self, now: EventTime) -> Result<(), NotReady> {
        self.shared.generations.ready(now)
    }

    /// A service of the generation that is served; none if it has no such service.
    pub fn service(&self, name: &str) -> Option<Service> {
        let current = self.shared.generations.current.load();
        current.service(name).map(|(_, service)| Service {
            plan: Arc::clone(&service.plan),
        })
    }

    /// A session, for one thread.
    pub fn session(&self) -> Session {
        Session::new(Arc::clone(&self.shared))
    }
}

fn wait_for_generation(store: &Store, wait: Duration) -> Result<u64, ActivateError> {
    const POLL: Duration = Duration::from_millis(50);
    let start = Instant::now();
    loop {
        match store.current() {
            Ok(Some(number)) => return Ok(number),
            Err(error) if start.elapsed() >= wait => return Err(error.into()),
            Ok(None) if start.elapsed() >= wait => {
                return Err(ActivateError::Empty {
                    path: store.root().to_owned(),
                });
            }
            _ => thread::sleep(POLL),
        }
    }
}
