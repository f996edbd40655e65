use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use unskew::{Catalog, Digest, GoldenError, Manifest, ModuleEntry, SnapshotEntry, Store, StoreError};

use crate::check::{CheckError, check_component};
use crate::file;
use crate::vectors::VectorError;

/// What a generation is made of: a manifest before it has a number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Draft {
    /// Entities, views and services.
    pub catalog: Catalog,
    /// The modules by name.
    pub modules: BTreeMap<String, ModuleEntry>,
    /// The snapshots by view.
    pub snapshots: BTreeMap<String, SnapshotEntry>,
}

/// Publishes a component under its digest. A file that is there already is verified and kept.
///
/// # Errors
/// The component does not keep to the contract, or the store cannot be written.
pub fn put_module(store: &Store, component: &[u8]) -> Result<Digest, PublishError> {
    check_component(component)?;
    let digest = Digest::of(component);
    let path = store.module_path(&digest);
    if !is_published(&path, &digest)? {
        match file::create(&path, component) {
            Ok(()) => {}
            // Another publisher came first.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => verify(&path, &digest)?,
            Err(source) => return Err(PublishError::Write { path, source }),
        }
    }
    Ok(digest)
}

/// Publishes a snapshot file under its digest. A file that is there already is verified and kept.
///
/// The store shares the file where the file system allows, and copies it elsewhere: like every snapshot file, `source` must
/// not be changed afterwards. It may be deleted.
///
/// # Errors
/// The file cannot be read, or the store cannot be written.
pub fn put_snapshot(store: &Store, source: &Path) -> Result<Digest, PublishError> {
    let unreadable = |error| PublishError::Read {
        path: source.to_owned(),
        source: error,
    };
    // The digest is of what is linked, not of what `source` names later.
    File::open(source).map_err(unreadable)?;
    let linked =
        file::link_beside(&store.snapshot_path(&Digest([0; 32])), source).map_err(|error| PublishError::Write {
            path: store.root().join("snapshots"),
            source: error,
        })?;
    let digest = File::open(&linked).and_then(Digest::of_reader).map_err(unreadable)?;
    let path = store.snapshot_path(&digest);
    if !is_published(&path, &digest)? {
        match fs::hard_link(&linked, &path).and_then(|()| file::sync_dir(&path)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => verify(&path, &digest)?,
            Err(source) => return Err(PublishError::Write { path, source }),
        }
    }
    Ok(digest)
}

/// Makes a generation of what `draft` names, gives it the next number and makes it current. Of two publishers at once the one
/// with the greater number is current in the end; both generations stay.
///
/// # Errors
/// Something that it names is not in the store or is damaged, or the store cannot be written. `current` is then as before.
pub fn commit(store: &Store, draft: Draft) -> Result<u64, PublishError> {
    for (name, entry) in &draft.modules {
        verify_named(store.module_path(&entry.digest), &entry.digest, || {
            format!("module {name}")
        })?;
        verify_named(store.golden_path(&entry.golden), &entry.golden, || {
            format!("the golden calls of module {name}")
        })?;
    }
    for (view, entry) in &draft.snapshots {
        for (number, file) in entry.files().enumerate() {
            verify_named(store.snapshot_path(&file.digest), &file.digest, || match number {
                0 => format!("the snapshot of view {view}"),
                _ => format!("delta {number} of view {view}"),
            })?;
        }
    }

    let _lock = lock(store)?;
    let mut manifest = Manifest {
        format: Manifest::format_of(&draft.snapshots),
        generation: next_generation(store)?,
        catalog: draft.catalog,
        modules: draft.modules,
        snapshots: draft.snapshots,
    };
    loop {
        let path = store.manifest_path(manifest.generation);
        let bytes = manifest
            .encode()
            .map_err(|reason| PublishError::Unreadable { reason })?;
        match file::create(&path, &bytes) {
            Ok(()) => break,
            // Where the file system has no locks, or what another publisher left behind: never overwritten.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                manifest.generation = after(manifest.generation)?;
            }
            Err(source) => return Err(PublishError::Write { path, source }),
        }
    }
    let path = store.current_path();
    file::replace(&path, Store::encode_current(manifest.generation).as_bytes())
        .map_err(|source| PublishError::Write { path, source })?;
    Ok(manifest.generation)
}

/// Held by one publisher at a time, so that a lesser number never replaces a greater one as current. The system lets it go
/// when a publisher dies.
fn lock(store: &Store) -> Result<File, PublishError> {
    let path = store.root().join(".lock");
    let lock = || {
        fs::create_dir_all(store.root())?;
        let file = File::options().create(true).append(true).open(&path)?;
        match file.lock() {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(file),
            result => result.map(|()| file),
        }
    };
    lock().map_err(|source| PublishError::Write {
        path: path.clone(),
        source,
    })
}

/// One more than every number in use.
fn next_generation(store: &Store) -> Result<u64, PublishError> {
    let mut numbers = BTreeSet::from([store.current()?.unwrap_or(0)]);
    let first = store.manifest_path(1);
    let directory = first.parent().unwrap_or(store.root());
    let read = |source| PublishError::Read {
        path: directory.to_owned(),
        source,
    };
    match fs::read_dir(directory) {
        Ok(entries) => {
            for entry in entries {
                let name = entry.map_err(read)?.file_name();
                let number: Option<u64> = name.to_str().and_then(|name| name.strip_suffix(".json")?.parse().ok());
                numbers.extend(number);
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(read(error)),
    }
    let last = numbers.last().copied().unwrap_or(0);
    after(last)
}

fn after(generation: u64) -> Result<u64, PublishError> {
    generation.checked_add(1).ok_or(PublishError::NumbersSpent)
}

fn verify_named(path: PathBuf, digest: &Digest, what: impl FnOnce() -> String) -> Result<(), PublishError> {
    if is_published(&path, digest)? {
        return Ok(());
    }
    Err(PublishError::Missing {
        what: what(),
        digest: *digest,
        path,
    })
}

fn verify(path: &Path, digest: &Digest) -> Result<(), PublishError> {
    is_published(path, digest).map(|_| ())
}

/// Whether the file is there; then it holds what its digest says.
pub(crate) fn is_published(path: &Path, digest: &Digest) -> Result<bool, PublishError> {
    let found = file::digest(path).map_err(|source| PublishError::Read {
        path: path.to_owned(),
        source,
    })?;
    match found {
        None => Ok(false),
        Some(found) if found == *digest => Ok(true),
        Some(found) => Err(PublishError::Damaged {
            path: path.to_owned(),
            found,
        }),
    }
}

/// Why something is not published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The component does not keep to the contract.
    #[error("cannot publish a component that does not keep to the contract")]
    Check(#[from] CheckError),
    /// A module gives other values than when it was published, or keeps something from call to call.
    #[error(transparent)]
    Golden(#[from] GoldenError),
    /// A module does not give what its author says that it gives.
    #[error("a module does not keep to its golden vectors")]
    Vectors(#[from] VectorError),
    /// A generation names what is not in the store.
    #[error("{what} is {digest}, which the store does not have: publish it first, {} is missing", path.display())]
    Missing {
        /// The module or the snapshot.
        what: String,
        /// Its digest.
        digest: Digest,
        /// Where it should be.
        path: PathBuf,
    },
    /// A file's bytes are not those of its digest.
    #[error("{} is damaged, its bytes are those of {found}: move it away and publish it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The digest of what it holds.
        found: Digest,
    },
    /// The manifest could not be read back.
    #[error("the generation could not be read back: {reason}; are all the constants of the catalog finite numbers?")]
    Unreadable {
        /// What is wrong.
        reason: String,
    },
    /// There is no number after the last generation's.
    #[error(
        "the last generation has the greatest number there is: remove the file in `generations` that no publisher wrote"
    )]
    NumbersSpent,
    /// The store's state cannot be read.
    #[error("cannot read the store's current generation")]
    Store(#[from] StoreError),
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or the directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store cannot be written.
    #[error("cannot write {}: check that the directory can be written and has room", path.display())]
    Write {
        /// The file or the directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests;
