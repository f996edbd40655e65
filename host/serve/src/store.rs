use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::catalog::Catalog;
use crate::cpu::Cpu;
use crate::digest::Digest;
use crate::engine::settings_digest;

/// The version of [`Manifest`] that this crate writes and reads where no view has deltas.
pub const MANIFEST_FORMAT: u32 = 2;
/// Its version where a view has: a program from before deltas would serve old values from the rest.
pub const MANIFEST_FORMAT_WITH_DELTAS: u32 = 3;

/// How a manifest's file begins; then come the digest of all that follows this line, and the end of the line.
const DIGEST_OPENS: &[u8] = b"{\n  \"digest\": \"";
const DIGEST_CLOSES: &[u8] = b"\",\n";

/// A directory of published generations, and of the modules and snapshots that they name by digest:
///
/// ```text
/// current                      the number of the current generation and its checksum: `7 1f3a...`
/// generations/000000000007.json
/// modules/<sha256>.wasm
/// goldens/<sha256>.golden      calls of a module and what they give
/// snapshots/<sha256>.snapshot
/// compiled/                    a host's private cache of native code; never published
/// ```
///
/// Files are written once under a temporary name and renamed; `current` alone is replaced. A manifest's first field is the
/// digest of all that follows it; modules and snapshots are named by theirs. So a damaged file is told from another one. An
/// operator may write a number alone into `current`.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// One generation: what it defines and the digest of everything it serves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_FORMAT`] or [`MANIFEST_FORMAT_WITH_DELTAS`].
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
    /// The file of its golden calls: see [`Golden`](crate::Golden).
    pub golden: Digest,
}

/// A snapshot in a generation, and the deltas on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SnapshotEntry {
    /// The file.
    pub digest: Digest,
    /// It holds what was known before this time, in microseconds.
    pub watermark_us: i64,
    /// Its rows.
    pub row_count: u64,
    /// Events that it leaves out because they were late, if its view declares a lateness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_count: Option<u64>,
    /// In the order of their numbers: what is served is as of the last one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deltas: Vec<FileEntry>,
}

/// A file of a view: a snapshot or a delta.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// The file.
    pub digest: Digest,
    /// Its watermark, in microseconds.
    pub watermark_us: i64,
    /// Its rows; of a delta the keys that it removes, too.
    pub row_count: u64,
    /// Events that it leaves out because they were late, if its view declares a lateness; of a delta, those since the file before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_count: Option<u64>,
}

impl SnapshotEntry {
    /// A snapshot without deltas.
    pub fn new(base: FileEntry) -> Self {
        let FileEntry {
            digest,
            watermark_us,
            row_count,
            late_count,
        } = base;
        Self {
            digest,
            watermark_us,
            row_count,
            late_count,
            deltas: Vec::new(),
        }
    }

    /// The snapshot alone.
    pub fn base(&self) -> FileEntry {
        FileEntry {
            digest: self.digest,
            watermark_us: self.watermark_us,
            row_count: self.row_count,
            late_count: self.late_count,
        }
    }

    /// The snapshot, then its deltas.
    pub fn files(&self) -> impl Iterator<Item = FileEntry> {
        [self.base()].into_iter().chain(self.deltas.iter().copied())
    }

    /// The last of its files, as of whose watermark it is served.
    pub fn newest(&self) -> FileEntry {
        self.deltas.last().copied().unwrap_or(self.base())
    }
}

impl Manifest {
    /// The format of a manifest with these snapshots.
    pub fn format_of(snapshots: &BTreeMap<String, SnapshotEntry>) -> u32 {
        match snapshots.values().all(|entry| entry.deltas.is_empty()) {
            true => MANIFEST_FORMAT,
            false => MANIFEST_FORMAT_WITH_DELTAS,
        }
    }

    /// The file of the manifest: JSON with the digest of everything after it as its first field.
    ///
    /// # Errors
    /// JSON has no words for something in it, such as a number that is not finite.
    pub fn encode(&self) -> Result<Vec<u8>, String> {
        let json = serde_json::to_vec_pretty(self).map_err(|error| error.to_string())?;
        let fields = json.strip_prefix(b"{\n").ok_or("it has no fields")?;
        let mut body = fields.to_vec();
        body.push(b'\n');
        let digest = Digest::of(&body).to_string();
        let bytes = [DIGEST_OPENS, digest.as_bytes(), DIGEST_CLOSES, &body].concat();
        match Self::decode(&bytes)? == *self {
            true => Ok(bytes),
            false => Err("it reads back with other values".to_owned()),
        }
    }

    /// The manifest in a file's bytes.
    ///
    /// # Errors
    /// They are damaged or of another format.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }

        let Some((digest, body)) = split_digest(bytes) else {
            // Of a format without it, or no manifest at all.
            let Head { format } = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
            return Err(other_format(format).unwrap_or_else(|| "its first field is not its digest".to_owned()));
        };
        let found = Digest::of(body);
        if found.to_string().as_bytes() != digest {
            return Err(format!(
                "the digest of its fields is {found}, not what its first field says"
            ));
        }
        let Head { format } = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        match other_format(format) {
            Some(reason) => Err(reason),
            None => {
                let manifest: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
                match Self::format_of(&manifest.snapshots) == format {
                    true => Ok(manifest),
                    false => Err(format!(
                        "it is of format {format}, and has deltas or not as only the other has"
                    )),
                }
            }
        }
    }
}

fn split_digest(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (digest, rest) = bytes.strip_prefix(DIGEST_OPENS)?.split_at_checked(DIGEST_CHARS)?;
    Some((digest, rest.strip_prefix(DIGEST_CLOSES)?))
}

/// `sha256:` and 64 digits.
const DIGEST_CHARS: usize = 7 + 64;

fn other_format(format: u32) -> Option<String> {
    let is_known = [MANIFEST_FORMAT, MANIFEST_FORMAT_WITH_DELTAS].contains(&format);
    (!is_known).then(|| format!("it is of format {format}, this version reads {MANIFEST_FORMAT}: publish again"))
}

fn current_checksum(generation: u64) -> String {
    format!("{:016x}", xxh3_64(generation.to_string().as_bytes()))
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

    /// A file of golden calls.
    pub fn golden_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("goldens").join(format!("{}.golden", digest.hex()))
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
        let damaged = |reason: &str| StoreError::Damaged {
            path: path.clone(),
            reason: reason.to_owned(),
        };
        let line = text.trim_end_matches(['\r', '\n']);
        let (number, checksum) = match line.split_once(' ') {
            Some((number, checksum)) => (number, Some(checksum)),
            None => (line, None),
        };
        let number = number
            .parse()
            .map_err(|_| damaged("it does not hold the number of a generation"))?;
        if checksum.is_some_and(|checksum| checksum != current_checksum(number)) {
            return Err(damaged(
                "its checksum is not that of its number: to make a generation current by hand, write its number alone",
            ));
        }
        Ok(Some(number))
    }

    /// What `current` holds when a generation is current.
    pub fn encode_current(generation: u64) -> String {
        format!("{generation} {}\n", current_checksum(generation))
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
        let manifest = Manifest::decode(&bytes).map_err(damaged)?;
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
