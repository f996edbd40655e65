use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::catalog::Catalog;
use crate::cpu::Cpu;
use crate::digest::Digest;
use crate::engine::settings_digest;

/// The version of [`Manifest`] that this crate writes and reads.
pub const MANIFEST_FORMAT: u32 = 1;

/// A directory of published generations, and of the modules and snapshots that they name by digest:
///
/// ```text
/// current                      the number of the current generation
/// generations/000000000007.json
/// modules/<sha256>.wasm
/// snapshots/<sha256>.snapshot
/// compiled/                    a host's private cache of native code; never published
/// ```
///
/// Files are written once under a temporary name and renamed; `current` alone is replaced.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// One generation: what it defines and the digest of everything it serves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_FORMAT`].
    pub format: u32,
    /// Counts up from 1 within a store.
    pub generation: u64,
    /// Entities, views and services.
    pub catalog: Catalog,
    /// The modules by name.
    pub modules: BTreeMap<String, ModuleEntry>,
    /// The snapshots by view.
    pub snapshots: BTreeMap<String, SnapshotEntry>,
}

/// A module in a generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModuleEntry {
    /// The component.
    pub digest: Digest,
    /// Its version, for people.
    pub version: String,
}

/// A snapshot in a generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SnapshotEntry {
    /// The file.
    pub digest: Digest,
    /// It holds what was known before this time, in microseconds.
    pub watermark_us: i64,
    /// Its rows.
    pub row_count: u64,
}

impl Store {
    /// The store in `root`. Nothing is read or made.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The file that holds the number of the current generation.
    pub fn current_path(&self) -> PathBuf {
        self.root.join("current")
    }

    /// The manifest of a generation.
    pub fn manifest_path(&self, generation: u64) -> PathBuf {
        self.root.join("generations").join(format!("{generation:012}.json"))
    }

    /// A component.
    pub fn module_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("modules").join(format!("{}.wasm", digest.hex()))
    }

    /// A snapshot file.
    pub fn snapshot_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("snapshots").join(format!("{}.snapshot", digest.hex()))
    }

    /// The directory of native code, unless a host was given another.
    pub fn compiled_dir(&self) -> PathBuf {
        self.root.join("compiled")
    }

    /// The native code of a component in the private cache `dir`, for this engine's settings and processors of this level.
    pub fn compiled_path(dir: &Path, digest: &Digest, cpu: Cpu) -> PathBuf {
        dir.join(format!("{}-{}.native", digest.hex(), &settings_digest(cpu).hex()[..16]))
    }

    /// The number of the current generation; none in an empty store.
    ///
    /// # Errors
    /// The store cannot be read, or `current` holds no number.
    pub fn current(&self) -> Result<Option<u64>, StoreError> {
        let path = self.current_path();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.root.is_dir() => return Ok(None),
            Err(source) => return Err(StoreError::Read { path, source }),
        };
        let number = text.trim().parse().map_err(|_| StoreError::Damaged {
            path,
            reason: "it does not hold the number of a generation".to_owned(),
        })?;
        Ok(Some(number))
    }

    /// The manifest of a generation.
    ///
    /// # Errors
    /// It is missing, damaged or of another format.
    pub fn manifest(&self, generation: u64) -> Result<Manifest, StoreError> {
        let path = self.manifest_path(generation);
        let bytes = fs::read(&path).map_err(|source| StoreError::Read {
            path: path.clone(),
            source,
        })?;
        let damaged = |reason: String| StoreError::Damaged {
            path: path.clone(),
            reason,
        };
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if manifest.format != MANIFEST_FORMAT {
            return Err(damaged(format!(
                "it is of format {}, this host reads {MANIFEST_FORMAT}",
                manifest.format
            )));
        }
        if manifest.generation != generation {
            return Err(damaged(format!(
                "it says that it is generation {}",
                manifest.generation
            )));
        }
        Ok(manifest)
    }
}

/// Why a store could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file or the directory is missing or unreadable.
    #[error("cannot read {}", path.display())]
    Read {
        /// What was read.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

#[cfg(test)]
mod tests;
