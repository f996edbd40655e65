//! Files that appear whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use tempfile::{NamedTempFile, TempPath};
use unskew::Digest;

/// Puts `bytes` at `path` in one step, in place of what was there. The file and its directory are on the disk on return.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = write_beside(path, bytes)?;
    file.persist(path)?;
    sync_dir(path)
}

/// Puts `bytes` at `path` unless there is a file already.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] if there is one.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = write_beside(path, bytes)?;
    // A link, not a rename: a rename would replace what another publisher put there in between.
    fs::hard_link(file.path(), path)?;
    sync_dir(path)
}

/// A temporary name beside `path` for the contents of `source`: the same file where the file system allows, else a copy.
pub(crate) fn link_beside(path: &Path, source: &Path) -> io::Result<TempPath> {
    // A link must not be to a symbolic link, which could be pointed elsewhere later.
    let source = fs::canonicalize(source)?;
    let directory = directory_of(path);
    fs::create_dir_all(directory)?;
    let linked = tempfile::Builder::new()
        .prefix(TEMPORARY)
        .make_in(directory, |name| fs::hard_link(&source, name));
    let file = match linked {
        Ok(named) => {
            File::open(named.path())?.sync_all()?;
            return Ok(named.into_temp_path());
        }
        Err(_) => tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(directory)?,
    };
    io::copy(&mut File::open(&source)?, &mut file.as_file())?;
    file.as_file().sync_all()?;
    readable_by_all(file.as_file())?;
    Ok(file.into_temp_path())
}

/// Makes the names in the directory of `path` last.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

/// The digest of a file; none where there is no file.
pub(crate) fn digest(path: &Path) -> io::Result<Option<Digest>> {
    match File::open(path) {
        Ok(file) => Digest::of_reader(file).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// How names begin that nothing refers to yet.
const TEMPORARY: &str = ".tmp-";

fn write_beside(path: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    let directory = directory_of(path);
    fs::create_dir_all(directory)?;
    let mut file = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(directory)?;
    file.write_all(bytes)?;
    readable_by_all(file.as_file())?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Temporary files are made for their owner alone; what is published is for every host that can reach the store.
#[cfg(unix)]
fn readable_by_all(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable_by_all(_file: &File) -> io::Result<()> {
    Ok(())
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
