use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use crossbeam::queue::ArrayQueue;
use unskew_frame::ColumnType;
use unskew_snapshot::{EventTime, KeyType, Lateness, LayerError, Layers, OpenError as SnapshotError};

use crate::audit::Audit;
use crate::catalog::{Staleness, WhenStale};
use crate::descriptor::{Descriptor, Kind};
use crate::digest::Digest;
use crate::evaluation::EvaluateError;
use crate::fresh::{EventSchema, JournalError, Overlay, PushError};
use crate::generations::LoadOptions;
use crate::golden::{Golden, GoldenError};
use crate::instance::CallLimits;
use crate::metrics::{GoldenOutcome, Registry, Stopwatch};
use crate::module::{InstantiateError, Module, descriptors};
use crate::plan::{Plan, ResolveError, ViewRead, ViewStep};
use crate::resident::{Resident, check_digest, manifest_fits};
use crate::runtime::{ModuleError, Runtime};
use crate::session::Prepared;
use crate::store::{Manifest, ModuleEntry, Store, StoreError};

/// The name of the one feature of an aggregate's snapshot.
pub const STATE_FEATURE: &str = "state";

/// How long a golden call may run, at least.
const GOLDEN_DEADLINE: Duration = Duration::from_secs(2);

/// How many instances of a service are kept for sessions to come, at least.
const MIN_SPARE: usize = 16;

/// One consistent set of modules, snapshots and services: the unit of swap.
#[derive(Debug)]
pub(crate) struct Generation {
    pub number: u64,
    pub modules: BTreeMap<String, Module>,
    /// By view, whether a service reads it or not.
    pub snapshots: BTreeMap<String, ServedSnapshot>,
    /// In the order of the catalog.
    pub services: Vec<ServedService>,
    /// Calls that failed lately: halved every second.
    pub failures: AtomicU32,
    audit: Arc<Audit>,
}

/// A snapshot and the deltas on it, of one view.
#[derive(Clone, Debug)]
pub(crate) struct ServedSnapshot {
    pub key_types: Vec<KeyType>,
    pub layers: Arc<Layers>,
    /// None of a view that takes no events.
    pub fresh: Option<Arc<Overlay>>,
}

/// A service with the snapshots that its views read.
#[derive(Debug)]
pub(crate) struct ServedService {
    pub plan: Arc<Plan>,
    /// In the order of the plan's views.
    pub views: Vec<ServedView>,
    /// For sessions to take, so that no request makes instances. Those of sessions that are gone, or that moved on to another
    /// generation, come back to it.
    pub spare: ArrayQueue<Prepared>,
}

/// A view's snapshot and where its features are in it.
#[derive(Debug)]
pub(crate) struct ServedView {
    pub layers: Arc<Layers>,
    pub fresh: Option<Arc<Overlay>>,
    /// In the order of the view's features; the state of an aggregate.
    pub columns: Vec<usize>,
    staleness: Option<Staleness>,
}

impl ServedView {
    /// What is to happen to a request at `time` because the snapshot is too old for it.
    pub fn when_stale(&self, time: EventTime) -> Option<WhenStale> {
        let staleness = self
            .staleness
            .filter(|staleness| self.age_us(time) > staleness.max_age_us)?;
        Some(staleness.when_stale)
    }

    /// The error of a request that fails for it.
    pub fn stale(&self, view: &str, time: EventTime) -> EvaluateError {
        EvaluateError::Stale {
            view: view.to_owned(),
            age_us: self.age_us(time),
            max_age_us: self.staleness.map_or(u64::MAX, |staleness| staleness.max_age_us),
        }
    }

    /// How much later than the snapshot's watermark `time` is.
    pub fn age_us(&self, time: EventTime) -> u64 {
        let watermark = self.layers.watermark();
        u64::try_from(i128::from(time.0) - i128::from(watermark.0)).unwrap_or(0)
    }
}

impl Generation {
    /// Refuses a generation that would not fit in memory beside what is `resident`.
    pub fn check_memory(
        store: &Store,
        options: &LoadOptions,
        number: u64,
        resident: &Resident,
    ) -> Result<(), ActivateError> {
        manifest_fits(store, &store.manifest(number)?, resident, options.memory_bytes)
    }

    /// A service, and its place among the services.
    pub fn service(&self, name: &str) -> Option<(usize, &ServedService)> {
        let mut services = self.services.iter().enumerate();
        services.find(|(_, served)| served.plan.service == name)
    }

    /// The fresh events of a view.
    pub fn fresh(&self, view: &str) -> Option<&Arc<Overlay>> {
        self.snapshots.get(view)?.fresh.as_ref()
    }

    pub fn no_view(&self, view: &str) -> PushError {
        PushError::NoView {
            view: view.to_owned(),
            generation: self.number,
        }
    }

    /// Instances of the service at this place for a session: spare ones, or new ones.
    pub fn prepared(
        &self,
        service: usize,
        limits: CallLimits,
        metrics: &Arc<Registry>,
    ) -> Result<Prepared, InstantiateError> {
        let served = &self.services[service];
        match served.spare.pop() {
            Some(prepared) => Ok(prepared),
            None => {
                let prepared = Prepared::new(self.number, service, served, &self.modules, limits, metrics)?;
                Ok(prepared.audited(&self.audit))
            }
        }
    }

    /// Loads and checks everything that a generation names and that is not `resident`: digests, native code, snapshots, that
    /// they fit together, that the modules give what they gave where they were published, and that instances can be made, of
    /// which there are as many as `sessions`. Counts in what happened since its snapshots were made.
    pub fn load(
        runtime: &Runtime,
        store: &Store,
        options: &LoadOptions,
        number: u64,
        resident: &Resident,
        sessions: usize,
    ) -> Result<Self, ActivateError> {
        let manifest = store.manifest(number)?;
        manifest_fits(store, &manifest, resident, options.memory_bytes)?;
        let mut modules = BTreeMap::new();
        for (name, entry) in &manifest.modules {
            let module = match resident.modules.get(&entry.digest) {
                Some(module) => module.clone(),
                None => runtime.load(&options.compiled, &entry.digest)?,
            };
            check_golden(store, options, name, entry, &module)?;
            modules.insert(name.clone(), module);
        }
        let mut snapshots = BTreeMap::new();
        for (view, entry) in &manifest.snapshots {
            let layers = resident.layers(store, options, view, entry)?;
            let served = ServedSnapshot {
                key_types: layers.schema().key_types(),
                fresh: overlay(&manifest, &modules, view, &layers, options),
                layers,
            };
            snapshots.insert(view.clone(), served);
        }
        let descriptors = descriptors(&modules);
        let mut services = Vec::new();
        for service in &manifest.catalog.services {
            let plan = Arc::new(Plan::resolve(&manifest.catalog, &service.name, &descriptors)?);
            let views = plan
                .views
                .iter()
                .map(|step| served_view(&manifest, &snapshots, &descriptors, step))
                .collect::<Result<_, _>>()?;
            let spare = ArrayQueue::new(sessions.max(MIN_SPARE));
            // One at least, which shows that it can be done.
            let served = ServedService { plan, views, spare };
            while served.spare.len() < sessions.max(1) {
                let prepared = Prepared::new(
                    number,
                    services.len(),
                    &served,
                    &modules,
                    options.limits,
                    &options.metrics,
                )?;
                if served.spare.push(prepared.audited(&options.audit)).is_err() {
                    break;
                }
            }
            services.push(served);
        }
        let generation = Self {
            number,
            modules,
            snapshots,
            services,
            failures: AtomicU32::new(0),
            audit: Arc::clone(&options.audit),
        };
        options.fresh.join(&generation);
        Ok(generation)
    }
}

/// The place for fresh events of a view, if they can be used.
fn overlay(
    manifest: &Manifest,
    modules: &BTreeMap<String, Module>,
    view: &str,
    layers: &Arc<Layers>,
    options: &LoadOptions,
) -> Option<Arc<Overlay>> {
    let catalog = &manifest.catalog;
    let view = catalog.views.iter().find(|defined| defined.name == view)?;
    let module = view
        .aggregate
        .as_ref()
        .and_then(|aggregate| modules.get(&aggregate.module));
    let descriptor = module.map(Module::descriptor);
    if view.aggregate.is_some() {
        check_state(descriptor, layers.newest().state_version).ok()?;
    }
    check_lateness(view.lateness(), layers).ok()?;
    let schema = EventSchema::new(catalog, view, descriptor, layers)?;
    let max_bytes = options.fresh.max_view_bytes();
    Some(Arc::new(Overlay::new(schema, layers, module, max_bytes)))
}

/// Makes the golden calls of a module.
fn check_golden(
    store: &Store,
    options: &LoadOptions,
    name: &str,
    entry: &ModuleEntry,
    module: &Module,
) -> Result<(), ActivateError> {
    let path = store.golden_path(&entry.golden);
    check_digest(&path, &entry.golden)?;
    let bytes = fs::read(&path).map_err(|source| ActivateError::Read { path, source })?;
    // No request waits for it, and a busy machine must not refuse a good module.
    let limits = CallLimits {
        deadline: options.limits.deadline.max(GOLDEN_DEADLINE),
        ..options.limits
    };
    let mut watch = Stopwatch::start();
    let held = Golden::decode(&bytes, module.descriptor()).and_then(|golden| golden.verify(module, limits));
    let outcome = match held {
        Ok(()) => GoldenOutcome::Held,
        Err(_) => GoldenOutcome::Differed,
    };
    options.metrics.count_golden(outcome, watch.lap());
    held.map_err(|source| ActivateError::Golden {
        module: name.to_owned(),
        source,
    })
}

/// Checks that a view's snapshot is what the plan reads.
fn served_view(
    manifest: &Manifest,
    snapshots: &BTreeMap<String, ServedSnapshot>,
    modules: &BTreeMap<String, Descriptor>,
    step: &ViewStep,
) -> Result<ServedView, ActivateError> {
    let mismatch = |reason: String| ActivateError::Schema {
        view: step.view.clone(),
        reason,
    };
    let served = snapshots.get(&step.view).ok_or_else(|| {
        mismatch(format!(
            "generation {} has no snapshot of it: materialize it and publish again",
            manifest.generation
        ))
    })?;
    let layers = &served.layers;
    check_lateness(step.lateness, layers).map_err(mismatch)?;
    let schema = layers.schema();
    if served.key_types != step.key_types {
        return Err(mismatch("its snapshot has a key of other types".to_owned()));
    }
    let column = |name: &str, column_type: ColumnType| {
        let index = schema
            .feature_index(name)
            .ok_or_else(|| mismatch(format!("its snapshot has no `{name}`")))?;
        let found = schema.features[index].column_type;
        if found != column_type {
            return Err(mismatch(format!("`{name}` is {column_type}, in its snapshot {found}")));
        }
        Ok(index)
    };
    let columns = match &step.read {
        ViewRead::Features(features) => {
            let fields = &manifest
                .catalog
                .views
                .iter()
                .find(|view| view.name == step.view)
                .ok_or_else(|| mismatch("it is not in the catalog".to_owned()))?
                .features;
            features
                .iter()
                .map(|(name, _)| {
                    let field = fields.iter().find(|field| field.name == *name);
                    column(name, field.map_or(ColumnType::Bytes, |field| field.column_type))
                })
                .collect::<Result<_, _>>()?
        }
        ViewRead::Aggregate { module, .. } => {
            check_state(modules.get(module), layers.newest().state_version).map_err(mismatch)?;
            vec![column(STATE_FEATURE, ColumnType::Bytes)?]
        }
    };
    Ok(ServedView {
        layers: Arc::clone(layers),
        fresh: served.fresh.clone(),
        columns,
        staleness: step.staleness,
    })
}

fn check_state(module: Option<&Descriptor>, version: Option<u32>) -> Result<(), String> {
    let Some(Kind::Aggregate(aggregation)) = module.map(|descriptor| &descriptor.kind) else {
        return Err("its module is no aggregate".to_owned());
    };
    match version {
        Some(version) if aggregation.readable_state_versions.contains(&version) => Ok(()),
        _ => Err(
            "its snapshot holds states that the module does not read: materialize it with this version of the module"
                .to_owned(),
        ),
    }
}

/// The snapshot leaves out the late events that pushes refuse, and no others.
fn check_lateness(lateness: Option<Lateness>, layers: &Layers) -> Result<(), String> {
    let found = layers.newest().lateness();
    let shown =
        |lateness: Option<Lateness>| lateness.map_or("no lateness".to_owned(), |late| format!("a lateness of {late}"));
    match found == lateness {
        true => Ok(()),
        false => Err(format!(
            "its snapshot was made with {}, the view has {}: materialize it from scratch and publish again",
            shown(found),
            shown(lateness)
        )),
    }
}

/// Why a generation was not activated. The one before goes on serving.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ActivateError {
    /// The store has no generation.
    #[error("{} has no generation: publish one with `unskew publish`", path.display())]
    Empty {
        /// The store.
        path: PathBuf,
    },
    /// The store or the manifest cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A module cannot be loaded.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// A module does not give what it gave where it was published, or keeps something from call to call.
    #[error("module `{module}`")]
    Golden {
        /// The module.
        module: String,
        /// How it differs.
        source: GoldenError,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What should be a file of the store is a link or something else.
    #[error("{} is not a file of the store but a link or something else: publish it again", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A file is not the one that the manifest names.
    #[error("{} is damaged: its digest is {found}: publish it again", path.display())]
    Digest {
        /// The file.
        path: PathBuf,
        /// What its bytes have.
        found: Digest,
    },
    /// A snapshot cannot be opened.
    #[error("the snapshot of view `{view}`")]
    Snapshot {
        /// The view.
        view: String,
        /// Why.
        source: SnapshotError,
    },
    /// A delta does not follow the snapshot that it is published with.
    #[error("view `{view}`: {}: {source}", path.display())]
    Layers {
        /// The view.
        view: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: LayerError,
    },
    /// A snapshot does not fit the catalog or the module.
    #[error("view `{view}`: {reason}")]
    Schema {
        /// The view.
        view: String,
        /// What differs.
        reason: String,
    },
    /// A service cannot be resolved.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// An instance of a module cannot be made.
    #[error(transparent)]
    Instantiate(#[from] InstantiateError),
    /// The snapshots would take more memory than the host may.
    #[error(
        "generation {generation} needs {needed} bytes of snapshots beside the {resident} in memory, the host may have {limit}: \
         raise `memory_bytes`"
    )]
    Memory {
        /// The generation.
        generation: u64,
        /// The bytes of its snapshots that are not in memory.
        needed: u64,
        /// The bytes of those that are.
        resident: u64,
        /// [`HostOptions::memory_bytes`](crate::HostOptions::memory_bytes).
        limit: u64,
    },
    /// The generation was revoked.
    #[error("generation {generation} was revoked: this host does not serve it again")]
    Revoked {
        /// The generation.
        generation: u64,
    },
    /// Its calls failed before the last start.
    #[error(
        "generation {generation} was left before the last start, because its calls failed; it is tried again after a while"
    )]
    Quarantined {
        /// The generation.
        generation: u64,
    },
    /// No generation before the current one is in memory.
    #[error("no generation before the current one is in memory: pin one of the store's instead")]
    NothingBefore,
    /// The host's own directory cannot be used.
    #[error("{}: {reason}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The journal of fresh events cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The engine cannot be made.
    #[error(transparent)]
    Engine(#[from] crate::engine::EngineError),
}
