use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use unskew::Digest;

use crate::backfill::BackfillError;
use crate::hashing::HashingWriter;
use crate::job::Job;
use crate::output::sync_directory;
use crate::reader::InputFile;
use crate::storage::url_of;

/// What a backfill keeps until it is done: the directory `<output>.unfinished`, and one of its own below the spill directory
/// if there is one.
///
/// ```text
/// lock                            held by the process that works here
/// job.json                        what is computed, of what, and by what
/// inputs.<digest>                 the digests of the inputs, once they are known
/// division-<view>.<digest>        how a view's rows are divided                        (below the spill directory)
/// result-<view>-<part>.<digest>   what a view gave for the rows of a part              (below the spill directory)
/// group-<number>.<digest>         a row group of the output
/// spills.json                     where the directories below spill directories are
/// manifest.json                   the output is whole: what is left is to give it its name
/// scratch/                        worth nothing to anybody else                        (below the spill directory)
/// ```
///
/// A file is saved under another name, synced and renamed, and its name ends with its digest: one that is there is whole, and
/// one that was damaged since is not taken.
#[derive(Debug)]
pub(crate) struct Unfinished {
    directory: PathBuf,
    spill: PathBuf,
    _lock: File,
    saved: BTreeMap<String, PathBuf>,
}

/// How to begin where another backfill of the same output was not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// Refuse.
    Fresh,
    /// Throw away what it did.
    Anew,
    /// Go on with it.
    Resume,
}

const LOCK: &str = "lock";
const JOB: &str = "job.json";
const INPUTS: &str = "inputs";
const MANIFEST: &str = "manifest.json";
const SPILLS: &str = "spills.json";
const SCRATCH: &str = "scratch";
const TEMPORARY: &str = ".tmp";

impl Unfinished {
    /// Where the backfill of `output` keeps what it did: beside it or, if it is no file, in the spill directory, if there is
    /// one, or the current one.
    pub fn path(output: &Path, spill_dir: Option<&Path>) -> PathBuf {
        let mut path = match url_of(output) {
            None => output.as_os_str().to_owned(),
            // Objects of one name are many.
            Some(url) => {
                let name = output.file_name().unwrap_or_default().to_string_lossy();
                let name = format!("{name}-{}", &Digest::of(url.as_bytes()).hex()[..8]);
                spill_dir.unwrap_or(Path::new("")).join(name).into()
            }
        };
        path.push(".unfinished");
        path.into()
    }

    /// Whether there is a backfill of `output` to go on with.
    pub fn is_at(output: &Path, spill_dir: Option<&Path>) -> bool {
        Self::path(output, spill_dir).join(JOB).exists()
    }

    /// Begins or resumes the backfill of `output`.
    ///
    /// # Errors
    /// Another process is at it; there is one that was not finished and `begin` says nothing of it, or it was another job; the
    /// directory cannot be written.
    pub fn open(output: &Path, spill_dir: Option<&Path>, job: &Job, begin: Begin) -> Result<Self, BackfillError> {
        let directory = Self::path(output, spill_dir);
        let failed = |source| keep_error(&directory, source);
        fs::create_dir_all(&directory).map_err(failed)?;
        let lock = lock(&directory)?;
        let spill = match spill_dir {
            None => directory.clone(),
            // Of this output alone, and the same for whoever resumes it.
            Some(spill_dir) => {
                let whole = std::path::absolute(&directory).unwrap_or_else(|_| directory.clone());
                let name = Digest::of(whole.as_os_str().as_encoded_bytes()).hex();
                spill_dir.join(format!(".unskew-{}", &name[..16]))
            }
        };
        let mut unfinished = Self {
            directory,
            spill,
            _lock: lock,
            saved: BTreeMap::new(),
        };
        unfinished.note_spill()?;
        let known = unfinished.read_job()?;
        match (known, begin) {
            (Some(_), Begin::Fresh) => {
                return Err(BackfillError::Unfinished {
                    path: unfinished.directory,
                });
            }
            (Some(known), Begin::Resume) => {
                let differences = known.differences(job);
                if !differences.is_empty() {
                    return Err(BackfillError::OtherJob {
                        path: unfinished.directory,
                        differences,
                    });
                }
                unfinished.find_saved()?;
            }
            (known, _) => {
                unfinished.clear(known.is_some())?;
                unfinished.write(JOB, |out| Ok(serde_json::to_writer_pretty(out, job)?))?;
            }
        }
        let scratch = unfinished.scratch();
        fs::create_dir_all(&scratch).map_err(|source| keep_error(&scratch, source))?;
        Ok(unfinished)
    }

    /// For files that are worth nothing once the process has ended.
    pub fn scratch(&self) -> PathBuf {
        self.spill.join(SCRATCH)
    }

    /// What was saved under `name`, if it was.
    pub fn saved(&self, name: &str) -> Option<&Path> {
        self.saved.get(name).map(PathBuf::as_path)
    }

    /// The same, as JSON.
    pub fn saved_json<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_slice(&fs::read(self.saved(name)?).ok()?).ok()
    }

    /// Saves what `write` writes as `name`, as a whole or not at all, and gives its path.
    pub fn save(
        &self,
        name: &str,
        write: impl FnOnce(&mut SavedFile) -> Result<(), BackfillError>,
    ) -> Result<PathBuf, BackfillError> {
        let directory = self.directory_of(name);
        let temporary = directory.join(format!("{name}{TEMPORARY}"));
        let file = File::create(&temporary).map_err(|source| keep_error(&temporary, source))?;
        let mut out = HashingWriter::new(BufWriter::with_capacity(1 << 16, file));
        write(&mut out)?;
        let (mut out, digest, _) = out.finish();
        let path = directory.join(format!("{name}.{}", digest.hex()));
        let committed = out
            .flush()
            .and_then(|()| out.get_ref().sync_all())
            .and_then(|()| fs::rename(&temporary, &path))
            .and_then(|()| sync_directory(directory));
        committed.map_err(|source| keep_error(&temporary, source))?;
        Ok(path)
    }

    /// Saves a value as JSON.
    pub fn save_json(&self, name: &str, value: &impl Serialize) -> Result<(), BackfillError> {
        let write = |out: &mut SavedFile| {
            serde_json::to_writer(out, value)
                .map_err(|error| keep_error(&self.directory_of(name).join(name), error.into()))
        };
        self.save(name, write).map(drop)
    }

    /// What was made of it, if the output is whole.
    pub fn manifest<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&fs::read(self.directory.join(MANIFEST)).ok()?).ok()
    }

    /// Says that all is done but for the names.
    pub fn set_manifest(&self, manifest: &impl Serialize) -> Result<(), BackfillError> {
        self.write(MANIFEST, |out| {
            serde_json::to_writer_pretty(&mut *out, manifest)?;
            out.write_all(b"\n")
        })
    }

    /// Compares the digests of the inputs with those that were saved, or saves them.
    ///
    /// # Errors
    /// An input has another digest than when the backfill was begun.
    pub fn check_inputs(&self, files: &[InputFile]) -> Result<(), BackfillError> {
        let digests: BTreeMap<&Path, Digest> = files.iter().map(|file| (file.path.as_path(), file.digest)).collect();
        let Some(known) = self.saved_json::<BTreeMap<PathBuf, Digest>>(INPUTS) else {
            return self.save_json(INPUTS, &digests);
        };
        let is_same = |path: &Path| known.get(path) == digests.get(path);
        let changed = digests.keys().filter(|path| !is_same(path));
        let differences: Vec<String> = changed
            .map(|path| format!("{} has other bytes than then", path.display()))
            .collect();
        match differences.is_empty() {
            true => Ok(()),
            false => Err(BackfillError::OtherJob {
                path: self.directory.clone(),
                differences,
            }),
        }
    }

    /// Where a file is that is not saved piece by piece but kept beside what is.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Whether the backfill may replace a file at its output, as it was told when it was begun.
    pub fn may_overwrite(&self) -> Result<bool, BackfillError> {
        Ok(self.read_job()?.is_some_and(|job| job.overwrite))
    }

    /// The file of the manifest.
    pub fn manifest_file(&self) -> PathBuf {
        self.file(MANIFEST)
    }

    /// Removes everything: the backfill is done, or not worth going on with.
    pub fn remove(self) {
        // Without the job the rest is nobody's. What cannot be removed does no harm.
        let _ = fs::remove_file(self.directory.join(JOB));
        for spill in self.spills() {
            let _ = fs::remove_dir_all(&spill);
        }
        let _ = fs::remove_dir_all(&self.directory);
    }

    /// Removes what is left where a backfill of `output` was done and was ended while it removed everything.
    pub fn remove_remains(output: &Path, spill_dir: Option<&Path>) {
        let directory = Self::path(output, spill_dir);
        if let Some(lock) = directory.exists().then(|| lock(&directory).ok()).flatten() {
            let remains = Self {
                spill: directory.clone(),
                directory,
                _lock: lock,
                saved: BTreeMap::new(),
            };
            remains.remove();
        }
    }

    /// The directories that this backfill had below spill directories: it may have been resumed with another.
    fn spills(&self) -> Vec<PathBuf> {
        let known = fs::read(self.directory.join(SPILLS)).ok();
        known
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default()
    }

    fn note_spill(&self) -> Result<(), BackfillError> {
        let mut spills = self.spills();
        let spill = std::path::absolute(&self.spill).unwrap_or_else(|_| self.spill.clone());
        if self.spill == self.directory || spills.contains(&spill) {
            return Ok(());
        }
        spills.push(spill);
        self.write(SPILLS, |out| Ok(serde_json::to_writer(out, &spills)?))
    }

    fn read_job(&self) -> Result<Option<Job>, BackfillError> {
        let path = self.directory.join(JOB);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(keep_error(&path, source)),
        };
        // One that another version wrote differs in everything.
        Ok(Some(serde_json::from_slice(&text).unwrap_or_default()))
    }

    /// Removes what another job left; `had_job` whether there was one.
    fn clear(&self, had_job: bool) -> Result<(), BackfillError> {
        let remove = || -> io::Result<()> {
            if had_job {
                fs::remove_file(self.directory.join(JOB))?;
            }
            for directory in [&self.spill, &self.directory] {
                if !directory.exists() {
                    continue;
                }
                for entry in fs::read_dir(directory)? {
                    let path = entry?.path();
                    match path.is_dir() {
                        true => fs::remove_dir_all(&path)?,
                        false if path.file_name().is_some_and(|name| name == LOCK || name == SPILLS) => {}
                        false => fs::remove_file(&path)?,
                    }
                }
            }
            Ok(())
        };
        remove().map_err(|source| keep_error(&self.directory, source))?;
        fs::create_dir_all(&self.spill).map_err(|source| keep_error(&self.spill, source))
    }

    /// Finds what was saved and is what it was; the rest is removed.
    fn find_saved(&mut self) -> Result<(), BackfillError> {
        let mut directories = vec![self.directory.clone()];
        if self.spill != self.directory {
            fs::create_dir_all(&self.spill).map_err(|source| keep_error(&self.spill, source))?;
            directories.push(self.spill.clone());
        }
        for directory in directories {
            let mut find = || -> io::Result<()> {
                for entry in fs::read_dir(&directory)? {
                    let path = entry?.path();
                    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    if path.is_dir() {
                        fs::remove_dir_all(&path)?;
                    } else if let Some((name, digest)) = name.rsplit_once('.').filter(|(_, digest)| digest.len() == 64)
                    {
                        match Digest::of_reader(File::open(&path)?)?.hex() == digest {
                            true => drop(self.saved.insert(name.to_owned(), path)),
                            false => fs::remove_file(&path)?,
                        }
                    } else if name.ends_with(TEMPORARY) {
                        fs::remove_file(&path)?;
                    }
                }
                Ok(())
            };
            find().map_err(|source| keep_error(&directory, source))?;
        }
        Ok(())
    }

    fn directory_of(&self, name: &str) -> &Path {
        match name.starts_with("group") || name.starts_with("inputs") {
            true => &self.directory,
            false => &self.spill,
        }
    }

    /// Writes a file of a fixed name.
    fn write(
        &self,
        name: &str,
        write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> Result<(), BackfillError> {
        let path = self.directory.join(name);
        let temporary = self.directory.join(format!("{name}{TEMPORARY}"));
        let put = || -> io::Result<()> {
            let mut out = BufWriter::new(File::create(&temporary)?);
            write(&mut out)?;
            out.flush()?;
            out.get_ref().sync_all()?;
            fs::rename(&temporary, &path)?;
            sync_directory(&self.directory)
        };
        put().map_err(|source| keep_error(&path, source))
    }
}

/// What is being saved.
pub(crate) type SavedFile = HashingWriter<BufWriter<File>>;

/// Where there is a lock of another process, it is at work.
fn lock(directory: &Path) -> Result<File, BackfillError> {
    let path = directory.join(LOCK);
    let file = File::create(&path).map_err(|source| keep_error(&path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BackfillError::Busy {
            path: directory.to_owned(),
        }),
        // A file system without locks: nobody else can be told.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(source)) => Err(keep_error(&path, source)),
    }
}

fn keep_error(path: &Path, source: io::Error) -> BackfillError {
    BackfillError::Spill {
        path: path.to_owned(),
        source,
    }
}
