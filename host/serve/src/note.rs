use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::generation::ActivateError;
use crate::quarantine::Quarantine;
use crate::store::Store;

/// What a host remembers of its store from one start to the next.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Note {
    /// The generation that was served last: what to start from where the store's current one is damaged.
    pub served: Option<u64>,
    pub pinned: Option<u64>,
    pub revoked: BTreeSet<u64>,
    pub quarantined: BTreeMap<u64, Quarantine>,
}

/// Where a note is kept. In a directory of the host's own it is all of it; in the cache of native code, which hosts share, it
/// is the generation that was served last.
#[derive(Debug)]
pub(crate) struct Notebook {
    path: PathBuf,
    /// Held while the host lives.
    lock: Option<File>,
}

impl Notebook {
    /// The notebook in `state_dir`, or else in `compiled`.
    pub fn open(store: &Store, state_dir: Option<&Path>, compiled: &Path) -> Result<Self, ActivateError> {
        let Some(directory) = state_dir else {
            let root = fs::canonicalize(store.root()).unwrap_or_else(|_| store.root().to_owned());
            let name = xxh3_64(root.as_os_str().as_encoded_bytes());
            return Ok(Self {
                path: compiled.join(format!("served-{name:016x}")),
                lock: None,
            });
        };
        let path = directory.join("lock");
        let open = || {
            fs::create_dir_all(directory)?;
            File::options().create(true).append(true).open(&path)
        };
        let lock = open().map_err(|source| ActivateError::State {
            path: path.clone(),
            reason: source.to_string(),
        })?;
        if let Err(TryLockError::WouldBlock) = lock.try_lock() {
            return Err(ActivateError::State {
                path,
                reason: "another host of this machine has it: give each a `state_dir` of its own".to_owned(),
            });
        }
        Ok(Self {
            path: directory.join("host.json"),
            lock: Some(lock),
        })
    }

    /// What was written last. Nothing was, in a new directory.
    pub fn read(&self) -> Result<Note, ActivateError> {
        let damaged = |reason: String| ActivateError::State {
            path: self.path.clone(),
            reason: format!("{reason}; without the file the host starts with nothing pinned, revoked or quarantined"),
        };
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound || self.lock.is_none() => return Ok(Note::default()),
            Err(error) => return Err(damaged(error.to_string())),
        };
        if self.lock.is_some() {
            return serde_json::from_str(&text).map_err(|error| damaged(error.to_string()));
        }
        Ok(Note {
            served: text.trim().parse().ok(),
            ..Note::default()
        })
    }

    /// Writes the note in place of the last one. It outlives the process at once, and the machine a few seconds later.
    pub fn write(&self, note: &Note) -> io::Result<()> {
        if self.lock.is_none() {
            return match note.served {
                Some(served) => fs::write(&self.path, format!("{served}\n")),
                None => Ok(()),
            };
        }
        let draft = self.path.with_extension("json.new");
        fs::write(&draft, serde_json::to_vec_pretty(note)?)?;
        fs::rename(&draft, &self.path)
    }
}

#[cfg(test)]
mod tests;
