use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use unskew_snapshot::{Layer, Layers, OpenOptions, Snapshot};

use crate::digest::Digest;
use crate::generation::{ActivateError, Generation};
use crate::generations::LoadOptions;
use crate::module::Module;
use crate::store::{FileEntry, Manifest, SnapshotEntry, Store};

/// What is in memory already: a generation takes from it what it has in common with others.
#[derive(Debug, Default)]
pub(crate) struct Resident {
    pub modules: BTreeMap<Digest, Module>,
    snapshots: BTreeMap<Digest, Arc<Snapshot>>,
    /// By the digests of their files.
    layers: BTreeMap<Vec<Digest>, Arc<Layers>>,
}

impl Resident {
    /// The parts of these generations.
    pub fn of(generations: impl IntoIterator<Item = Arc<Generation>>) -> Self {
        let mut resident = Self::default();
        for generation in generations {
            let modules = generation.modules.values();
            resident
                .modules
                .extend(modules.map(|module| (module.digest(), module.clone())));
            for served in generation.snapshots.values() {
                let layers = &served.layers;
                let files = || [layers.base()].into_iter().chain(layers.deltas());
                let snapshots = files().map(|layer| (Digest(layer.digest), Arc::clone(&layer.snapshot)));
                resident.snapshots.extend(snapshots);
                let digests = files().map(|layer| Digest(layer.digest)).collect();
                resident.layers.insert(digests, Arc::clone(layers));
            }
        }
        resident
    }

    /// The bytes of the snapshots, each counted once.
    pub fn snapshot_bytes(&self) -> u64 {
        self.snapshots.values().map(|snapshot| snapshot.file_bytes()).sum()
    }

    /// Something is in memory because it is served.
    fn is_serving(&self) -> bool {
        !self.modules.is_empty() || !self.snapshots.is_empty()
    }

    /// The snapshot of a view with its deltas.
    pub fn layers(
        &self,
        store: &Store,
        options: &LoadOptions,
        view: &str,
        entry: &SnapshotEntry,
    ) -> Result<Arc<Layers>, ActivateError> {
        let digests: Vec<Digest> = entry.files().map(|file| file.digest).collect();
        if let Some(layers) = self.layers.get(&digests) {
            return Ok(Arc::clone(layers));
        }
        let layer = |file: FileEntry| {
            let snapshot = self.snapshot(store, options, view, &file.digest)?;
            let meta = snapshot.meta();
            if (meta.watermark.0, meta.row_count) != (file.watermark_us, file.row_count) {
                return Err(ActivateError::Schema {
                    view: view.to_owned(),
                    reason:
                        "its snapshot has another watermark or number of rows than the manifest says: publish again"
                            .to_owned(),
                });
            }
            Ok(Layer::new(snapshot, file.digest.0))
        };
        let deltas = entry.deltas.iter().map(|delta| layer(*delta));
        let deltas = deltas.collect::<Result<_, _>>()?;
        let layers = Layers::new(layer(entry.base())?, deltas).map_err(|source| {
            let file = entry.files().nth(source.layer()).unwrap_or(entry.newest());
            ActivateError::Layers {
                view: view.to_owned(),
                path: store.snapshot_path(&file.digest),
                source,
            }
        })?;
        Ok(Arc::new(layers))
    }

    fn snapshot(
        &self,
        store: &Store,
        options: &LoadOptions,
        view: &str,
        digest: &Digest,
    ) -> Result<Arc<Snapshot>, ActivateError> {
        if let Some(snapshot) = self.snapshots.get(digest) {
            return Ok(Arc::clone(snapshot));
        }
        let path = store.snapshot_path(digest);
        check_digest(&path, digest)?;
        let open_options = OpenOptions {
            backing: options.backing,
            threads: self.is_serving().then(spare_threads),
            ..OpenOptions::default()
        };
        let opened = Snapshot::open_with(&path, &open_options, &mut |_| {});
        let snapshot = opened.map_err(|source| ActivateError::Snapshot {
            view: view.to_owned(),
            source,
        })?;
        Ok(Arc::new(snapshot))
    }
}

/// Refuses a generation whose snapshots would not fit beside those in memory, before any is opened.
pub(crate) fn manifest_fits(
    store: &Store,
    manifest: &Manifest,
    resident: &Resident,
    limit: Option<u64>,
) -> Result<(), ActivateError> {
    let Some(limit) = limit else {
        return Ok(());
    };
    let mut needed = 0;
    let files = manifest.snapshots.values().flat_map(SnapshotEntry::files);
    let digests: BTreeSet<Digest> = files.map(|file| file.digest).collect();
    for digest in digests
        .into_iter()
        .filter(|digest| !resident.snapshots.contains_key(digest))
    {
        let path = store.snapshot_path(&digest);
        let metadata = fs::symlink_metadata(&path).map_err(|source| ActivateError::Read { path, source })?;
        needed += metadata.len();
    }
    let resident = resident.snapshot_bytes();
    if resident.saturating_add(needed) <= limit {
        return Ok(());
    }
    Err(ActivateError::Memory {
        generation: manifest.generation,
        needed,
        resident,
        limit,
    })
}

/// With how many threads a snapshot is opened beside requests: half of the processors.
fn spare_threads() -> NonZero<usize> {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    NonZero::new(processors / 2).unwrap_or(NonZero::<usize>::MIN)
}

/// Only a regular file can be vouched for: what a link names may change without the store, and a FIFO would be waited for.
pub(crate) fn check_digest(path: &Path, digest: &Digest) -> Result<(), ActivateError> {
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
