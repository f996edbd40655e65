use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use unskew::Digest;

use crate::hashing::HashingWriter;

/// Objects that have a URL, as those of S3 have: what it takes to read sources from them and to write outputs to them.
///
/// # Errors
/// Each method's are of the kind that tells what to do: [`NotFound`](io::ErrorKind::NotFound),
/// [`PermissionDenied`](io::ErrorKind::PermissionDenied), [`AlreadyExists`](io::ErrorKind::AlreadyExists). What may pass was
/// tried again before.
pub trait Objects: fmt::Debug + Send + Sync {
    /// The object at `url`, without its bytes.
    fn find(&self, url: &str) -> io::Result<Object>;

    /// The objects below `url`, which is taken for a directory, each with its path from there. In any order; none if there is
    /// no such directory.
    fn list(&self, url: &str) -> io::Result<Vec<(String, Object)>>;

    /// Some ranges of the bytes of an object, ascending and apart from each other, at once.
    ///
    /// # Errors
    /// Also where the object is no longer the one that was found.
    fn read(&self, object: &Object, ranges: &[Range<u64>]) -> io::Result<Vec<Bytes>>;

    /// Writes a file as the object at `url`, which is there with all of its bytes or not at all.
    ///
    /// # Errors
    /// Also where there is one already, unless it may be replaced.
    fn write(&self, url: &str, file: &mut File, may_replace: bool) -> io::Result<()>;

    /// Removes the object at `url`, if it is there.
    fn remove(&self, url: &str) -> io::Result<()>;
}

/// An object as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its URL.
    pub url: String,
    /// Its size.
    pub bytes: u64,
    /// What changes whenever its bytes do, where the storage has that: an entity tag.
    pub tag: Option<String>,
}

/// Where inputs are and outputs go: files and, where they were given a way to, objects.
#[derive(Clone, Debug, Default)]
pub struct Storage {
    objects: Option<Arc<dyn Objects>>,
}

/// What is read of an object at a time, where all of it is: so many parts of so many bytes.
const PART_BYTES: u64 = 8 << 20;
const PARTS: u64 = 4;

impl PartialEq for Storage {
    /// Whether both lead to the same objects.
    fn eq(&self, other: &Self) -> bool {
        match (&self.objects, &other.objects) {
            (Some(objects), Some(others)) => Arc::ptr_eq(objects, others),
            (None, None) => true,
            _ => false,
        }
    }
}

impl Storage {
    /// Files, and objects.
    pub fn with_objects(objects: Arc<dyn Objects>) -> Self {
        Self { objects: Some(objects) }
    }

    /// The object that a path names, if it is a URL.
    ///
    /// # Errors
    /// There is no way to objects.
    pub(crate) fn at<'a>(&self, path: &'a Path) -> io::Result<Option<At<'a>>> {
        match (url_of(path), &self.objects) {
            (None, _) => Ok(None),
            (Some(url), Some(objects)) => Ok(Some(At {
                objects: Arc::clone(objects),
                url,
            })),
            (Some(_), None) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "it is a URL, and only files are read and written here",
            )),
        }
    }

    /// The file at `path`, to be read; of an object, a copy that nobody else sees.
    pub(crate) fn open(&self, path: &Path) -> io::Result<File> {
        match self.at(path)? {
            None => File::open(path),
            Some(at) => {
                let mut copy = tempfile::tempfile()?;
                let object = at.objects.find(at.url)?;
                copy_object(&*at.objects, &object, &mut copy, &AtomicBool::new(false))?;
                copy.rewind()?;
                Ok(copy)
            }
        }
    }

    /// The size and the digest of what is at `path`.
    pub(crate) fn digest(&self, path: &Path) -> io::Result<(u64, Digest)> {
        match self.at(path)? {
            None => {
                let file = File::open(path)?;
                Ok((file.metadata()?.len(), Digest::of_reader(file)?))
            }
            Some(at) => {
                let object = at.objects.find(at.url)?;
                let digest = digest_of(&*at.objects, &object, &AtomicBool::new(false))?;
                Ok((object.bytes, digest.unwrap_or(Digest([0; 32]))))
            }
        }
    }

    /// Whether there is anything at `path`.
    pub(crate) fn exists(&self, path: &Path) -> io::Result<bool> {
        let found = match self.at(path)? {
            None => path.symlink_metadata().map(drop),
            Some(at) => at.objects.find(at.url).map(drop),
        };
        match found {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// All bytes of what is at `path`: something small.
    pub(crate) fn read_all(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open(path)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// An object that a path names.
pub(crate) struct At<'a> {
    pub objects: Arc<dyn Objects>,
    pub url: &'a str,
}

/// The URL that a path is, if it is one: it begins with a scheme and `://`.
pub fn url_of(path: &Path) -> Option<&str> {
    let text = path.to_str()?;
    let (scheme, _) = text.split_once("://")?;
    let mut letters = scheme.chars();
    let is_scheme = letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter));
    is_scheme.then_some(text)
}

/// The digest of an object; none once `stop` is set.
pub(crate) fn digest_of(objects: &dyn Objects, object: &Object, stop: &AtomicBool) -> io::Result<Option<Digest>> {
    let mut hashing = HashingWriter::new(io::sink());
    copy_object(objects, object, &mut hashing, stop)?;
    let (_, digest, _) = hashing.finish();
    Ok((!stop.load(Ordering::Relaxed)).then_some(digest))
}

/// Copies the bytes of an object, until `stop` is set.
fn copy_object(objects: &dyn Objects, object: &Object, out: &mut impl Write, stop: &AtomicBool) -> io::Result<()> {
    let mut start = 0;
    while start < object.bytes && !stop.load(Ordering::Relaxed) {
        let parts = (0..PARTS).map(|part| start + part * PART_BYTES);
        let parts = parts.take_while(|start| *start < object.bytes);
        let parts: Vec<Range<u64>> = parts.map(|start| start..object.bytes.min(start + PART_BYTES)).collect();
        for bytes in objects.read(object, &parts)? {
            out.write_all(&bytes)?;
        }
        start += PARTS * PART_BYTES;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
