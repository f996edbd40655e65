use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

use super::{Object, Objects, Storage, url_of};

/// Objects in memory. A tag is how often the object was written.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    objects: Mutex<BTreeMap<String, (Bytes, u64)>>,
    /// How many calls read ranges, and how many bytes they read.
    read: Mutex<(u64, u64)>,
}

impl Bucket {
    pub(crate) fn put(&self, url: &str, bytes: impl Into<Bytes>) {
        let mut objects = lock(&self.objects);
        let written = objects.get(url).map_or(0, |(_, written)| *written) + 1;
        objects.insert(url.to_owned(), (bytes.into(), written));
    }

    pub(crate) fn get(&self, url: &str) -> Option<Bytes> {
        lock(&self.objects).get(url).map(|(bytes, _)| bytes.clone())
    }

    /// The URLs.
    pub(crate) fn urls(&self) -> Vec<String> {
        lock(&self.objects).keys().cloned().collect()
    }

    /// How many calls read ranges since this was asked last, and how many bytes they read.
    pub(crate) fn take_read(&self) -> (u64, u64) {
        std::mem::take(&mut lock(&self.read))
    }

    pub(crate) fn storage(self: &Arc<Self>) -> Storage {
        Storage::with_objects(Arc::clone(self) as Arc<dyn Objects>)
    }
}

impl Objects for Bucket {
    fn find(&self, url: &str) -> io::Result<Object> {
        match lock(&self.objects).get(url) {
            None => Err(io::ErrorKind::NotFound.into()),
            Some((bytes, written)) => Ok(object(url, bytes, *written)),
        }
    }

    fn list(&self, url: &str) -> io::Result<Vec<(String, Object)>> {
        let directory = format!("{}/", url.trim_end_matches('/'));
        let objects = lock(&self.objects);
        let below = objects.iter().filter_map(|(url, (bytes, written))| {
            let name = url.strip_prefix(&directory)?;
            Some((name.to_owned(), object(url, bytes, *written)))
        });
        // No order is promised.
        Ok(below.rev().collect())
    }

    fn read(&self, found: &Object, ranges: &[Range<u64>]) -> io::Result<Vec<Bytes>> {
        let objects = lock(&self.objects);
        let (bytes, written) = objects.get(&found.url).ok_or(io::ErrorKind::NotFound)?;
        if found.tag != Some(written.to_string()) {
            return Err(io::Error::other("it changed while it was read"));
        }
        let mut read = lock(&self.read);
        read.0 += 1;
        read.1 += ranges.iter().map(|range| range.end - range.start).sum::<u64>();
        let slice = |range: &Range<u64>| bytes.slice(range.start as usize..range.end as usize);
        Ok(ranges.iter().map(slice).collect())
    }

    fn write(&self, url: &str, file: &mut File, may_replace: bool) -> io::Result<()> {
        if !may_replace && self.get(url).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        self.put(url, bytes);
        Ok(())
    }

    fn remove(&self, url: &str) -> io::Result<()> {
        lock(&self.objects).remove(url);
        Ok(())
    }
}

fn object(url: &str, bytes: &Bytes, written: u64) -> Object {
    Object {
        url: url.to_owned(),
        bytes: bytes.len() as u64,
        tag: Some(written.to_string()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

#[test]
fn a_path_with_a_scheme_is_a_url() {
    let check = |path: &str, is_url: bool| assert_eq!(url_of(Path::new(path)).is_some(), is_url, "{path}");
    check("s3://bucket/key.parquet", true);
    check("abfss://container@account.dfs.core.windows.net/x", true);
    check("https://example.com/x.csv", true);
    check("key.parquet", false);
    check("/data/s3://key", false);
    check("://key", false);
    check("7z://key", false);
}

#[test]
fn a_url_without_a_way_to_objects_is_an_error() {
    let error = Storage::default().open(Path::new("s3://bucket/key.csv")).unwrap_err();
    assert!(error.to_string().contains("it is a URL"), "{error}");
}

#[test]
fn objects_are_opened_and_digested_like_files() {
    let bucket = Arc::new(Bucket::default());
    bucket.put("s3://b/k", "abc");
    let storage = bucket.storage();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "abc").unwrap();
    let digest = |path: &Path| storage.digest(path).unwrap();
    assert_eq!(digest(Path::new("s3://b/k")), digest(file.path()));
    assert_eq!(storage.read_all(Path::new("s3://b/k")).unwrap(), b"abc");
    assert!(storage.exists(Path::new("s3://b/k")).unwrap());
    assert!(!storage.exists(Path::new("s3://b/l")).unwrap());
    assert_eq!(
        storage.digest(Path::new("s3://b/l")).unwrap_err().kind(),
        io::ErrorKind::NotFound
    );
}
