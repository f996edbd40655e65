use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use unskew::{Manifest, Module, SnapshotEntry, Store, StoreError};
use unskew_registry::{Draft, commit, module_entries, put_snapshot};
use unskew_snapshot::{EventTime, OpenError, Snapshot};

use crate::backfill::BackfillError;
use crate::materialize::materialize;
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
    mut on_view: impl FnMut(&str),
) -> Result<Manifest, PublishError> {
    // In the store, where the files can be linked instead of copied.
    let scratch = fs::create_dir_all(store.root())
        .and_then(|()| tempfile::Builder::new().prefix(".tmp-").tempdir_in(store.root()))
        .map_err(|source| PublishError::Scratch {
            path: store.root().to_owned(),
            source,
        })?;
    let mut snapshots = BTreeMap::new();
    for (index, view) in views.into_iter().enumerate() {
        on_view(view);
        // A name of ours: a view's name may be one that no file can have.
        let path = scratch.path().join(format!("{index}.snapshot"));
        let made = materialize(project, modules, view, watermark, &path)?;
        Snapshot::open(&path).map_err(PublishError::Written)?;
        let entry = SnapshotEntry {
            digest: put_snapshot(store, &path)?,
            watermark_us: watermark.as_micros(),
            row_count: made.written.row_count,
        };
        snapshots.insert(view.to_owned(), entry);
    }
    let draft = Draft {
        catalog: project.catalog().clone(),
        modules: module_entries(store, modules)?,
        snapshots,
    };
    Ok(store.manifest(commit(store, draft)?)?)
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
