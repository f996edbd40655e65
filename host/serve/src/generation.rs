use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use unskew_frame::ColumnType;
use unskew_snapshot::{OpenError as SnapshotError, Snapshot};

use crate::descriptor::{Descriptor, Kind};
use crate::digest::Digest;
use crate::module::{Module, descriptors};
use crate::plan::{Plan, ResolveError, ViewRead, ViewStep};
use crate::runtime::{ModuleError, Runtime};
use crate::store::{Manifest, Store, StoreError};

/// The name of the one feature of an aggregate's snapshot.
pub const STATE_FEATURE: &str = "state";

/// One consistent set of modules, snapshots and services: the unit of swap.
#[derive(Debug)]
pub(crate) struct Generation {
    pub number: u64,
    pub modules: BTreeMap<String, Module>,
    pub services: BTreeMap<String, ServedService>,
}

/// A service with the snapshots that its views read.
#[derive(Debug)]
pub(crate) struct ServedService {
    pub plan: Arc<Plan>,
    /// In the order of the plan's views.
    pub views: Vec<ServedView>,
}

/// A view's snapshot and where its features are in it.
#[derive(Debug)]
pub(crate) struct ServedView {
    pub snapshot: Arc<Snapshot>,
    /// In the order of the view's features; the state of an aggregate.
    pub columns: Vec<usize>,
}

impl Generation {
    /// Loads and checks everything that a generation names: digests, native code, snapshots, and that they fit together.
    pub fn load(runtime: &Runtime, store: &Store, compiled: &Path, number: u64) -> Result<Self, ActivateError> {
        let manifest = store.manifest(number)?;
        let mut modules = BTreeMap::new();
        for (name, entry) in &manifest.modules {
            modules.insert(name.clone(), runtime.load(compiled, &entry.digest)?);
        }
        let mut snapshots = BTreeMap::new();
        for (view, entry) in &manifest.snapshots {
            let path = store.snapshot_path(&entry.digest);
            check_digest(&path, &entry.digest)?;
            let snapshot = Snapshot::open(&path).map_err(|source| ActivateError::Snapshot {
                view: view.clone(),
                source,
            })?;
            let meta = snapshot.meta();
            if (meta.watermark.0, meta.row_count) != (entry.watermark_us, entry.row_count) {
                return Err(ActivateError::Schema {
                    view: view.clone(),
                    reason:
                        "its snapshot has another watermark or number of rows than the manifest says: publish again"
                            .to_owned(),
                });
            }
            snapshots.insert(view.as_str(), Arc::new(snapshot));
        }
        let descriptors = descriptors(&modules);
        let mut services = BTreeMap::new();
        for service in &manifest.catalog.services {
            let plan = Plan::resolve(&manifest.catalog, &service.name, &descriptors)?;
            let views = plan
                .views
                .iter()
                .map(|step| served_view(&manifest, &snapshots, &descriptors, step))
                .collect::<Result<_, _>>()?;
            services.insert(
                service.name.clone(),
                ServedService {
                    plan: Arc::new(plan),
                    views,
                },
            );
        }
        Ok(Self {
            number,
            modules,
            services,
        })
    }
}

/// Only a regular file can be vouched for: what a link names may change without the store, and a FIFO would be waited for.
fn check_digest(path: &Path, digest: &Digest) -> Result<(), ActivateError> {
    let read = |source| ActivateError::Read {
        path: path.to_owned(),
        source,
    };
    if !fs::symlink_metadata(path).map_err(read)?.is_file() {
        return Err(ActivateError::NotAFile { path: path.to_owned() });
    }
    let found = Digest::of_reader(File::open(path).map_err(read)?).map_err(read)?;
    if found == *digest {
        return Ok(());
    }
    Err(ActivateError::Digest {
        path: path.to_owned(),
        found,
    })
}

/// Checks that a view's snapshot is what the plan reads.
fn served_view(
    manifest: &Manifest,
    snapshots: &BTreeMap<&str, Arc<Snapshot>>,
    modules: &BTreeMap<String, Descriptor>,
    step: &ViewStep,
) -> Result<ServedView, ActivateError> {
    let mismatch = |reason: String| ActivateError::Schema {
        view: step.view.clone(),
        reason,
    };
    let snapshot = snapshots.get(step.view.as_str()).ok_or_else(|| {
        mismatch(format!(
            "generation {} has no snapshot of it: materialize it and publish again",
            manifest.generation
        ))
    })?;
    let schema = snapshot.schema();
    if schema.key_types() != step.key_types {
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
            check_state(modules.get(module), snapshot.meta().state_version).map_err(mismatch)?;
            vec![column(STATE_FEATURE, ColumnType::Bytes)?]
        }
    };
    Ok(ServedView {
        snapshot: Arc::clone(snapshot),
        columns,
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
    /// The engine cannot be made.
    #[error(transparent)]
    Engine(#[from] crate::engine::EngineError),
}
