use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use unskew::{FileEntry, Manifest, Module, SnapshotEntry, Store, StoreError};
use unskew_registry::{Draft, commit, module_entries, put_snapshot};
use unskew_snapshot::{EventTime, Layer, Layers, OpenError, Snapshot};

use crate::backfill::BackfillError;
use crate::increment::{Previous, materialize_delta};
use crate::materialize::{Materialized, materialize};
use crate::project::Project;

/// Materializes `views` as of `watermark`, puts their snapshots into the store and makes the store's next generation of
/// them, of `modules` and of the project's catalog. Gives its manifest. `on_view` is called before each view.
///
/// Each snapshot is opened with the full check before it is published.
///
/// # Errors
/// See [`PublishError`]. The store's generation stays what it was; complete snapshots may be left in it.
pub fn publish<'a>(
    project: &Project,
    modules: &BTreeMap<String, Module>,
    store: &Store,
    views: impl IntoIterator<Item = &'a str>,
    watermark: EventTime,
    on_view: impl FnMut(&str),
) -> Result<Manifest, PublishError> {
    let publisher = Publisher::new(project, modules, store, watermark)?;
    publisher.publish(views, &BTreeMap::new(), on_view)
}

/// The same with a delta of each view that the store's current generation has a snapshot of to go on from: see
/// [`materialize_delta`]. A view is materialized whole where its snapshot has as many deltas as it may have, or is of another
/// schema, of another version of its module, of another lateness, or of a later time.
///
/// # Errors
/// As of [`publish`].
pub fn publish_deltas<'a>(
    project: &Project,
    modules: &BTreeMap<String, Module>,
    store: &Store,
    views: impl IntoIterator<Item = &'a str>,
    watermark: EventTime,
    on_view: impl FnMut(&str),
) -> Result<Manifest, PublishError> {
    let publisher = Publisher::new(project, modules, store, watermark)?;
    let current = match store.current()? {
        Some(generation) => store.manifest(generation)?.snapshots,
        None => BTreeMap::new(),
    };
    publisher.publish(views, &current, on_view)
}

struct Publisher<'a> {
    project: &'a Project,
    modules: &'a BTreeMap<String, Module>,
    store: &'a Store,
    watermark: EventTime,
    /// In the store, where the files can be linked instead of copied.
    scratch: tempfile::TempDir,
}

impl<'a> Publisher<'a> {
    fn new(
        project: &'a Project,
        modules: &'a BTreeMap<String, Module>,
        store: &'a Store,
        watermark: EventTime,
    ) -> Result<Self, PublishError> {
        let scratch = fs::create_dir_all(store.root())
            .and_then(|()| tempfile::Builder::new().prefix(".tmp-").tempdir_in(store.root()))
            .map_err(|source| PublishError::Scratch {
                path: store.root().to_owned(),
                source,
            })?;
        Ok(Self {
            project,
            modules,
            store,
            watermark,
            scratch,
        })
    }

    /// Publishes the views, those among `current` as deltas where that is possible.
    fn publish<'v>(
        self,
        views: impl IntoIterator<Item = &'v str>,
        current: &BTreeMap<String, SnapshotEntry>,
        mut on_view: impl FnMut(&str),
    ) -> Result<Manifest, PublishError> {
        let mut snapshots = BTreeMap::new();
        for (index, view) in views.into_iter().enumerate() {
            on_view(view);
            // A name of ours: a view's name may be one that no file can have.
            let path = self.scratch.path().join(format!("{index}.snapshot"));
            let with_delta = match current.get(view) {
                Some(entry) => self.put_delta(view, entry, &path)?,
                None => None,
            };
            let entry = match with_delta {
                Some(entry) => entry,
                None => {
                    let made = materialize(self.project, self.modules, view, self.watermark, &path)?;
                    SnapshotEntry::new(self.put(&made, &path)?)
                }
            };
            snapshots.insert(view.to_owned(), entry);
        }
        let draft = Draft {
            catalog: self.project.catalog().clone(),
            modules: module_entries(self.store, self.modules)?,
            snapshots,
        };
        Ok(self.store.manifest(commit(self.store, draft)?)?)
    }

    /// The snapshot of a view with one more delta; `None` where it is to be made whole.
    fn put_delta(&self, view: &str, entry: &SnapshotEntry, path: &Path) -> Result<Option<SnapshotEntry>, PublishError> {
        let layer = |file: FileEntry| {
            let snapshot = Snapshot::open(&self.store.snapshot_path(&file.digest)).ok()?;
            Some(Layer::new(Arc::new(snapshot), file.digest.0))
        };
        let deltas = entry.deltas.iter().map(|delta| layer(*delta)).collect();
        let layers = layer(entry.base())
            .zip(deltas)
            .map(|(base, deltas)| Layers::new(base, deltas));
        // What cannot be read is not gone on from.
        let Some(Ok(layers)) = layers else { return Ok(None) };
        let previous = Previous {
            path: &self.store.snapshot_path(&entry.digest),
            layers: &layers,
        };
        let made = match materialize_delta(self.project, self.modules, view, self.watermark, previous, path) {
            Ok(made) => made,
            Err(BackfillError::Previous { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut entry = entry.clone();
        entry.deltas.push(self.put(&made, path)?);
        Ok(Some(entry))
    }

    fn put(&self, made: &Materialized, path: &Path) -> Result<FileEntry, PublishError> {
        Snapshot::open(path).map_err(PublishError::Written)?;
        Ok(FileEntry {
            digest: put_snapshot(self.store, path)?,
            watermark_us: self.watermark.as_micros(),
            row_count: made.written.row_count,
            late_count: made.written.late.map(|late| late.count),
        })
    }
}

/// Why no generation was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The store cannot be written.
    #[error("cannot write into the store {}", path.display())]
    Scratch {
        /// The store.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A view cannot be materialized.
    #[error(transparent)]
    Materialize(#[from] BackfillError),
    /// A snapshot that was just written cannot be opened.
    #[error("a snapshot was not written as it should be")]
    Written(#[source] OpenError),
    /// The store refuses a snapshot or the generation.
    #[error(transparent)]
    Store(#[from] unskew_registry::PublishError),
    /// The new generation cannot be read.
    #[error(transparent)]
    Manifest(#[from] StoreError),
}
