use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use unskew::Digest;
use unskew_snapshot::{Status, format_duration_us};

use crate::storage::Storage;

/// What a training set was made of: written beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackfillManifest {
    /// [`SEMANTICS_VERSION`](crate::SEMANTICS_VERSION).
    pub semantics: u32,
    /// The version of unskew that made it.
    #[serde(default)]
    pub version: String,
    /// The compiler that made unskew.
    #[serde(default)]
    pub toolchain: String,
    /// Of the question, the definitions, the modules and the inputs as they were before they were read: two training sets of
    /// one job are the same bytes.
    #[serde(default = "no_digest")]
    pub job: Digest,
    /// The service.
    pub service: String,
    /// The moment of the freeze, in microseconds.
    pub freeze_at_us: Option<i64>,
    /// How much later than it happened everything was taken to be known, in microseconds.
    #[serde(default)]
    pub lag_us: u64,
    /// Which rows of the spine it is of; empty if all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub filter: String,
    /// The rows.
    pub rows: u64,
    /// The training set.
    pub output: Digest,
    /// Its size.
    #[serde(default)]
    pub output_bytes: u64,
    /// The files that were read: path, size, digest.
    pub inputs: Vec<InputEntry>,
    /// The modules by name.
    pub modules: BTreeMap<String, Digest>,
    /// The generation of a store that the modules are of, if they are of one.
    #[serde(default)]
    pub generation: Option<u64>,
    /// Per view, the rows chosen by row bytes alone.
    pub ties: BTreeMap<String, u64>,
    /// What became of the rows of each view.
    #[serde(default)]
    pub views: BTreeMap<String, ViewEntry>,
    /// Failures of components, each of one row: in the file `<output>.quarantine.jsonl`.
    #[serde(default)]
    pub quarantined: u64,
    /// The native code's settings.
    pub engine: Digest,
}

/// What became of the rows of a view.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewEntry {
    /// Those of the spine.
    pub rows: ViewCounts,
    /// Those of its history.
    pub history: HistoryCounts,
    /// How much later than it happened an event may have become known and counts, in microseconds; for ever if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lateness_us: Option<u64>,
}

/// The rows of a spine by what a view has for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewCounts {
    /// It has a row for them.
    pub present: u64,
    /// It has none that they may see.
    pub not_found: u64,
    /// The last row that they may see is older than the time to live.
    pub outside_ttl: u64,
    /// A part of their key is missing.
    pub without_key: u64,
    /// The view's module failed.
    pub failed: u64,
}

/// The rows of a history by what was made of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryCounts {
    /// All of them.
    pub rows: u64,
    /// Left out, as a part of their key is missing.
    pub without_key: u64,
    /// Left out, as they are events that became known later than the view's lateness allows: those that the last row of the spine
    /// could see else, of all entities.
    #[serde(default)]
    pub late: u64,
    /// Left out, as no row of the spine can see them: of other entities, or later. A few of them may not be counted.
    pub unseen: u64,
}

impl ViewCounts {
    pub(crate) fn of(statuses: &[Status]) -> Self {
        let count = |wanted: Status| statuses.iter().filter(|status| **status == wanted).count() as u64;
        Self {
            present: count(Status::Present),
            not_found: count(Status::NotFound),
            outside_ttl: count(Status::Expired),
            without_key: 0,
            failed: count(Status::Failed),
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.present += other.present;
        self.not_found += other.not_found;
        self.outside_ttl += other.outside_ttl;
        self.without_key += other.without_key;
        self.failed += other.failed;
    }
}

fn no_digest() -> Digest {
    Digest([0; 32])
}

/// A file that a backfill read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InputEntry {
    /// Its path.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Its digest.
    pub digest: Digest,
}

/// Where the manifest of a training set is.
pub fn manifest_path(output: &Path) -> PathBuf {
    let mut path = output.as_os_str().to_owned();
    path.push(".manifest.json");
    path.into()
}

impl BackfillManifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// The file is missing or is no manifest.
    pub fn read(path: &Path) -> Result<Self, ManifestError> {
        Self::read_from(&Storage::default(), path)
    }

    /// The same of one that may be in a storage.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_from(storage: &Storage, path: &Path) -> Result<Self, ManifestError> {
        let text = storage.read_all(path).map_err(|source| ManifestError::Read {
            path: path.to_owned(),
            source,
        })?;
        serde_json::from_slice(&text).map_err(|error| ManifestError::Malformed {
            path: path.to_owned(),
            reason: error.to_string(),
        })
    }

    /// Compares the training set at `output` and all inputs with what the manifest says. Reads all of them. Gives those that
    /// are not what they were, none if all are.
    pub fn verify(&self, storage: &Storage, output: &Path) -> Vec<Stale> {
        let inputs = self
            .inputs
            .iter()
            .map(|input| (input.path.as_path(), Some(input.bytes), input.digest));
        let all = std::iter::once((output, None, self.output)).chain(inputs);
        all.filter_map(|(path, bytes, digest)| {
            let reason = match check(storage, path, bytes, digest) {
                Ok(()) => return None,
                Err(reason) => reason,
            };
            let path = path.to_owned();
            Some(Stale { path, reason })
        })
        .collect()
    }

    /// What another backfill was made of that this one was not: code, data, or the question itself. Paths of inputs are
    /// compared by their names and digests, so that a copy elsewhere is the same input.
    pub fn diff(&self, other: &Self) -> Vec<Difference> {
        let mut differences = Vec::new();
        let mut push = |kind, what: &str, before: String, after: String| {
            if before != after {
                let what = what.to_owned();
                differences.push(Difference {
                    kind,
                    what,
                    before,
                    after,
                });
            }
        };
        push(Moved::Question, "service", self.service.clone(), other.service.clone());
        push(
            Moved::Question,
            "freeze",
            time(self.freeze_at_us),
            time(other.freeze_at_us),
        );
        push(
            Moved::Question,
            "lag",
            format!("{} us", self.lag_us),
            format!("{} us", other.lag_us),
        );
        push(Moved::Question, "where", shown_filter(self), shown_filter(other));
        let views: BTreeSet<&String> = self.views.keys().chain(other.views.keys()).collect();
        for view in &views {
            let lateness = |manifest: &Self| manifest.views.get(*view).and_then(|entry| entry.lateness_us);
            let shown = |lateness: Option<u64>| lateness.map_or("none".to_owned(), format_duration_us);
            let what = format!("lateness of {view}");
            push(Moved::Question, &what, shown(lateness(self)), shown(lateness(other)));
        }
        push(
            Moved::Code,
            "semantics",
            self.semantics.to_string(),
            other.semantics.to_string(),
        );
        push(Moved::Code, "version", self.version.clone(), other.version.clone());
        push(
            Moved::Code,
            "toolchain",
            self.toolchain.clone(),
            other.toolchain.clone(),
        );
        push(Moved::Code, "engine", self.engine.to_string(), other.engine.to_string());
        for name in self.modules.keys().chain(other.modules.keys()).collect::<BTreeSet<_>>() {
            let digest =
                |modules: &BTreeMap<String, Digest>| modules.get(name).map_or("none".to_owned(), Digest::to_string);
            push(
                Moved::Code,
                &format!("module {name}"),
                digest(&self.modules),
                digest(&other.modules),
            );
        }
        let (before, after) = (by_name(&self.inputs), by_name(&other.inputs));
        for name in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
            let shown = |inputs: &BTreeMap<String, Vec<Digest>>| match inputs.get(name).map(Vec::as_slice) {
                None => "none".to_owned(),
                Some(digests) => digests.iter().map(Digest::to_string).collect::<Vec<_>>().join(", "),
            };
            push(Moved::Data, &format!("input {name}"), shown(&before), shown(&after));
        }
        push(Moved::Result, "rows", self.rows.to_string(), other.rows.to_string());
        for name in self.ties.keys().chain(other.ties.keys()).collect::<BTreeSet<_>>() {
            let ties = |ties: &BTreeMap<String, u64>| ties.get(name).copied().unwrap_or(0).to_string();
            push(
                Moved::Result,
                &format!("ties in {name}"),
                ties(&self.ties),
                ties(&other.ties),
            );
        }
        for view in &views {
            let late = |manifest: &Self| {
                manifest
                    .views
                    .get(*view)
                    .map_or(0, |entry| entry.history.late)
                    .to_string()
            };
            push(Moved::Result, &format!("late in {view}"), late(self), late(other));
        }
        push(
            Moved::Result,
            "training set",
            self.output.to_string(),
            other.output.to_string(),
        );
        differences
    }
}

/// A file that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stale {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// What differs between two manifests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Of what kind it is.
    pub kind: Moved,
    /// What it is.
    pub what: String,
    /// As the first says.
    pub before: String,
    /// As the second says.
    pub after: String,
}

/// What moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// What was asked for.
    Question,
    /// What computed it.
    Code,
    /// What it was computed from.
    Data,
    /// What came out.
    Result,
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Question => "question",
            Self::Code => "code",
            Self::Data => "data",
            Self::Result => "result",
        })
    }
}

/// Why a manifest could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The file is missing or unreadable.
    #[error("cannot read the manifest {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no manifest.
    #[error("{} is not the manifest of a backfill: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

fn check(storage: &Storage, path: &Path, bytes: Option<u64>, digest: Digest) -> Result<(), String> {
    match storage.digest(path) {
        Err(error) => Err(format!("cannot be read: {error}")),
        Ok((len, _)) if bytes.is_some_and(|bytes| bytes != len) => {
            Err(format!("has {len} bytes, not {}", bytes.unwrap_or_default()))
        }
        Ok((_, found)) if found != digest => Err(format!("is {found}, not {digest}")),
        Ok(_) => Ok(()),
    }
}

fn shown_filter(manifest: &BackfillManifest) -> String {
    match manifest.filter.is_empty() {
        true => "all rows".to_owned(),
        false => manifest.filter.clone(),
    }
}

fn time(micros: Option<i64>) -> String {
    micros.map_or("none".to_owned(), |micros| {
        unskew_snapshot::EventTime(micros).to_string()
    })
}

/// The digests of the inputs by the names of their files: those of one name in order.
fn by_name(inputs: &[InputEntry]) -> BTreeMap<String, Vec<Digest>> {
    let mut names: BTreeMap<String, Vec<Digest>> = BTreeMap::new();
    for input in inputs {
        let name = input
            .path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        names.entry(name).or_default().push(input.digest);
    }
    names.values_mut().for_each(|digests| digests.sort_unstable());
    names
}

#[cfg(test)]
mod tests;
