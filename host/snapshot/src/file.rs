use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::WriteError;

/// How many temporary names are tried; a crash may leave one behind.
const MAX_NAME_ATTEMPTS: u32 = 1_000;

/// A file that gets its name when it is whole and on disk, or leaves nothing.
#[derive(Debug)]
pub(crate) struct NewFile {
    path: PathBuf,
    temporary_path: PathBuf,
    file: File,
}

impl NewFile {
    /// Creates a file under a temporary name beside `path`, so that naming it is a matter of one directory.
    pub(crate) fn create(path: &Path) -> Result<Self, WriteError> {
        refuse_existing(path)?;
        let Some(name) = path.file_name() else {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "the path has no file name");
            return Err(WriteError::io(path, "create", error));
        };
        let mut attempt = 0;
        loop {
            let mut temporary_name = OsString::from(".");
            temporary_name.push(name);
            temporary_name.push(format!(".{}-{attempt}.tmp", std::process::id()));
            let temporary_path = path.with_file_name(temporary_name);
            match OpenOptions::new().write(true).create_new(true).open(&temporary_path) {
                Ok(file) => {
                    return Ok(Self {
                        path: path.to_owned(),
                        temporary_path,
                        file,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < MAX_NAME_ATTEMPTS => {
                    attempt += 1;
                }
                Err(error) => return Err(WriteError::io(&temporary_path, "create", error)),
            }
        }
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn temporary_path(&self) -> &Path {
        &self.temporary_path
    }

    /// Waits until the bytes are on disk, gives the file its name, and waits until the name is on disk.
    pub(crate) fn place(self) -> Result<PathBuf, WriteError> {
        self.file
            .sync_all()
            .map_err(|error| WriteError::io(&self.temporary_path, "sync", error))?;
        self.name()?;
        let directory = match self.path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        if let Err(error) = sync_directory(directory) {
            // The name may or may not survive a crash: better none than one that was reported as failed.
            let _ = fs::remove_file(&self.path);
            return Err(WriteError::io(directory, "sync", error));
        }
        Ok(self.path.clone())
    }

    /// A link fails where a rename would replace, so it names the file unless the name is taken, in one step. On file
    /// systems without links it is a check and a rename.
    fn name(&self) -> Result<(), WriteError> {
        match fs::hard_link(&self.temporary_path, &self.path) {
            Ok(()) => {
                // The file is in place, whole: it is no failure if its other name stays. `drop` tries once more.
                let _ = fs::remove_file(&self.temporary_path);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(WriteError::AlreadyExists {
                path: self.path.clone(),
            }),
            Err(_) => {
                refuse_existing(&self.path)?;
                fs::rename(&self.temporary_path, &self.path).map_err(|error| WriteError::io(&self.path, "name", error))
            }
        }
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // Gone already where the file got its name; and there is nobody to tell if it cannot be removed.
        let _ = fs::remove_file(&self.temporary_path);
    }
}

fn refuse_existing(path: &Path) -> Result<(), WriteError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(WriteError::AlreadyExists { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(WriteError::io(path, "inspect", error)),
    }
}

#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(not(unix))]
fn sync_directory(_path: &Path) -> io::Result<()> {
    Ok(())
}
