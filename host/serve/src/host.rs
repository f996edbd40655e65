use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::generation::{ActivateError, Generation};
use crate::instance::CallLimits;
use crate::request::{MAX_CANDIDATES, Service};
use crate::runtime::Runtime;
use crate::session::Session;
use crate::store::Store;

/// How a host is opened.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// The limits of every call of a transform.
    pub limits: CallLimits,
    /// The private cache of native code; by default `compiled` in the store.
    pub compiled_dir: Option<PathBuf>,
    /// The most candidates of one request.
    pub max_candidates: usize,
    /// How long [`Host::open`] waits for the first generation of an empty store.
    pub wait: Duration,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self {
            limits: CallLimits::SERVING,
            compiled_dir: None,
            max_candidates: MAX_CANDIDATES,
            wait: Duration::ZERO,
        }
    }
}

/// The embedded host of a process: serves the current generation of a store to any number of threads. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Host {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub runtime: Runtime,
    pub options: HostOptions,
    store: Store,
    compiled: PathBuf,
    pub current: ArcSwap<Generation>,
    /// Held while a generation is loaded, so that two refreshes do not race.
    refreshing: Mutex<()>,
}

/// What a refresh did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// The current generation of the store is served already.
    Unchanged,
    /// This generation is served from now on.
    Activated(u64),
}

impl Host {
    /// Opens `store` and activates its current generation. Blocks for the loading and checking of its files, and for
    /// [`HostOptions::wait`] where the store has no generation yet. Starts two threads at most.
    ///
    /// # Errors
    /// See [`ActivateError`]: every one names the file or the definition at fault.
    pub fn open(store: impl AsRef<Path>, options: HostOptions) -> Result<Self, ActivateError> {
        let store = Store::new(store.as_ref());
        let runtime = Runtime::new()?;
        let number = wait_for_generation(&store, options.wait)?;
        let compiled = options.compiled_dir.clone().unwrap_or_else(|| store.compiled_dir());
        let generation = Generation::load(&runtime, &store, &compiled, number)?;
        Ok(Self {
            shared: Arc::new(Shared {
                runtime,
                options,
                store,
                compiled,
                current: ArcSwap::from_pointee(generation),
                refreshing: Mutex::new(()),
            }),
        })
    }

    /// Activates the store's current generation, if it is another than the one served. Requests go on meanwhile; each sees
    /// one generation throughout.
    ///
    /// # Errors
    /// See [`ActivateError`]. The generation before goes on serving.
    pub fn refresh(&self) -> Result<Refresh, ActivateError> {
        let shared = &self.shared;
        // A thread that panicked here left nothing half done: the switch is one store.
        let _refreshing = shared.refreshing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(number) = shared.store.current()? else {
            return Ok(Refresh::Unchanged);
        };
        if number == shared.current.load().number {
            return Ok(Refresh::Unchanged);
        }
        let generation = Generation::load(&shared.runtime, &shared.store, &shared.compiled, number)?;
        shared.current.store(Arc::new(generation));
        Ok(Refresh::Activated(number))
    }

    /// The number of the generation that is served.
    pub fn generation(&self) -> u64 {
        self.shared.current.load().number
    }

    /// A service of the generation that is served; none if it has no such service.
    pub fn service(&self, name: &str) -> Option<Service> {
        let current = self.shared.current.load();
        current.services.get(name).map(|service| Service {
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
