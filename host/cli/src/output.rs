//! Files that commands write.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::json;
use unskew_batch::url_of;
use unskew_snapshot::{EventTime, LateEvents, WriteError, Written};

use crate::answer::{Answer, Facts, counted, grouped};
use crate::failure::{Context, Failure};

/// Checks before long work that a file can be put at `path`: its directory is there. A URL needs none.
pub fn check_directory(path: &Path) -> Result<(), Failure> {
    if url_of(path).is_some() {
        return Ok(());
    }
    let directory = directory_of(path);
    match fs::metadata(directory) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(io::Error::from(io::ErrorKind::NotADirectory)),
        Err(error) => Err(error),
    }
    .map_err(|error: io::Error| {
        let is_missing = error.kind() == io::ErrorKind::NotFound;
        let failure = Failure::from(error);
        match is_missing {
            true => failure.help(format!("make the directory first: mkdir -p {}", directory.display())),
            false => failure,
        }
    })
    .context(|| format!("cannot write {}", path.display()))
}

/// Checks before long work that a snapshot can be put at `path`: its directory is there, and it is not.
pub fn check_new_snapshot(path: &Path) -> Result<(), Failure> {
    check_directory(path)?;
    match path.symlink_metadata() {
        Ok(_) => Err(WriteError::AlreadyExists { path: path.to_owned() }.into()),
        Err(_) => Ok(()),
    }
}

/// What a command says of a snapshot that it wrote.
pub fn answer_written(view: &str, watermark: EventTime, written: &Written) -> Answer {
    let path = written.path.display();
    let text = Facts::default()
        .with("view", view)
        .with("watermark", watermark)
        .with("rows", grouped(written.row_count))
        .with("ties", grouped(written.ties))
        .with_some("late", written.late.map(late_text))
        .with("file", &path)
        .with("size", format!("{} bytes", grouped(written.file_bytes)))
        .text();
    let json = json!({
        "view": view,
        "watermark": watermark.to_string(),
        "rows": written.row_count,
        "ties": written.ties,
        "late": written.late.map(|late| late.count),
        "path": path.to_string(),
        "bytes": written.file_bytes,
    });
    Answer::new(text, json)
}

/// What is said of events that a view leaves out.
pub fn late_text(late: LateEvents) -> String {
    format!(
        "{} left out, known more than {} after the fact",
        counted(late.count, "event"),
        late.lateness
    )
}

/// Puts `bytes` at `path` in one step, in place of what was there.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = directory_of(path);
    let mut builder = tempfile::Builder::new();
    builder.prefix(".unskew-").suffix(".tmp");
    #[cfg(unix)]
    builder.permissions(<fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o666));
    let mut file = builder.tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(directory)?.sync_all()
}

/// Whether two paths are of one file that is there, or the same URL.
pub fn is_same_file(a: &Path, b: &Path) -> bool {
    if let (Some(a), Some(b)) = (url_of(a), url_of(b)) {
        return a == b;
    }
    let real = |path: &Path| -> Option<PathBuf> { fs::canonicalize(path).ok() };
    real(a).is_some_and(|a| Some(a) == real(b))
}

/// The directory that a file at `path` is in.
pub fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
