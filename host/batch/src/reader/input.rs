use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Buf, Bytes};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::reader::{ChunkReader, Length};

use super::{ReadError, SourceFile, open_error};
use crate::storage::{Object, Objects, Storage};

/// What is read of the end of an object with its footer: the metadata of all but wide files.
const FOOTER_BYTES: u64 = 1 << 16;
/// What is read of an object where nobody said what would be needed.
const UNFORESEEN_BYTES: u64 = 1 << 18;
/// The bytes of objects that a scan holds unless it is told otherwise.
const HELD_BYTES: u64 = 64 << 20;

/// A Parquet file of a scan, which is read in ranges, by any thread.
pub(crate) enum Input {
    /// Opened whenever it is read: there may be more of them than can be open.
    File,
    Object(ObjectInput),
}

/// An object of a scan.
pub(crate) struct ObjectInput {
    objects: Arc<dyn Objects>,
    object: Arc<Object>,
    held: Arc<HeldRanges>,
    /// Held by a thread that fetches: another one often needs the same.
    fetching: Mutex<()>,
}

/// What was read last of the objects of a scan, as the next piece of it is often in the same row group.
pub(crate) struct HeldRanges {
    ranges: Mutex<VecDeque<Fetched>>,
    limit_bytes: AtomicU64,
}

impl Default for HeldRanges {
    fn default() -> Self {
        Self {
            ranges: Mutex::default(),
            limit_bytes: AtomicU64::new(HELD_BYTES),
        }
    }
}

#[derive(Clone)]
struct Fetched {
    object: Arc<Object>,
    start: u64,
    bytes: Bytes,
}

impl Input {
    /// The file as it was listed, and its size.
    pub fn of(source: &SourceFile, storage: &Storage, held: &Arc<HeldRanges>) -> Result<(Self, u64), ReadError> {
        let path = &source.path;
        let failed = |source| open_error(path, source);
        let Some(at) = storage.at(path).map_err(failed)? else {
            let metadata = File::open(path).and_then(|file| file.metadata()).map_err(failed)?;
            return Ok((Self::File, metadata.len()));
        };
        let object = match &source.object {
            Some(object) => object.clone(),
            None => at.objects.find(at.url).map_err(failed)?,
        };
        let bytes = object.bytes;
        let input = ObjectInput {
            objects: at.objects,
            object: Arc::new(object),
            held: Arc::clone(held),
            fetching: Mutex::new(()),
        };
        Ok((Self::Object(input), bytes))
    }

    /// A reader of the file's footer.
    pub fn footer(&self, path: &Path) -> Result<Reader, ReadError> {
        match self {
            Self::File => self.ranges(path, Vec::new),
            Self::Object(input) => {
                let end = input.object.bytes;
                let tail = end.saturating_sub(FOOTER_BYTES)..end;
                self.ranges(path, || vec![tail])
            }
        }
    }

    /// A reader of these ranges, ascending and apart from each other. Of an object they are read now, at once.
    pub fn ranges(&self, path: &Path, ranges: impl FnOnce() -> Vec<Range<u64>>) -> Result<Reader, ReadError> {
        let reader = match self {
            Self::File => File::open(path).map(Reader::File),
            Self::Object(input) => input.fetch(ranges()).map(Reader::Object),
        };
        reader.map_err(|source| open_error(path, source))
    }

    /// The object, if it is one.
    pub fn object(&self) -> Option<(&dyn Objects, &Object)> {
        match self {
            Self::File => None,
            Self::Object(input) => Some((&*input.objects, &input.object)),
        }
    }
}

impl ObjectInput {
    fn fetch(&self, mut ranges: Vec<Range<u64>>) -> io::Result<ObjectReader> {
        ranges.retain(|range| !range.is_empty());
        let fetching = lock(&self.fetching);
        let mut fetched = Vec::with_capacity(ranges.len());
        ranges.retain(|range| match self.held.find(&self.object, range) {
            Some(held) => {
                fetched.push(held);
                false
            }
            None => true,
        });
        if !ranges.is_empty() {
            let read = self.objects.read(&self.object, &ranges)?;
            for (range, bytes) in ranges.iter().zip(read) {
                if bytes.len() as u64 != range.end - range.start {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let object = Arc::clone(&self.object);
                let range = Fetched {
                    object,
                    start: range.start,
                    bytes,
                };
                self.held.hold(range.clone());
                fetched.push(range);
            }
        }
        drop(fetching);
        Ok(ObjectReader {
            objects: Arc::clone(&self.objects),
            object: Arc::clone(&self.object),
            fetched: fetched.into(),
        })
    }
}

impl HeldRanges {
    /// Has it hold about so many bytes. What is read at the moment is held beside them.
    pub fn limit(&self, bytes: u64) {
        self.limit_bytes.store(bytes, Ordering::Relaxed);
    }

    fn find(&self, object: &Arc<Object>, range: &Range<u64>) -> Option<Fetched> {
        let ranges = lock(&self.ranges);
        let is_it = |held: &&Fetched| Arc::ptr_eq(&held.object, object) && held.slice(range).is_some();
        ranges.iter().find(is_it).cloned()
    }

    fn hold(&self, range: Fetched) {
        let mut ranges = lock(&self.ranges);
        ranges.push_back(range);
        let mut bytes: u64 = ranges.iter().map(|range| range.bytes.len() as u64).sum();
        while self.limit_bytes.load(Ordering::Relaxed) < bytes
            && let Some(oldest) = ranges.pop_front()
        {
            bytes -= oldest.bytes.len() as u64;
        }
    }
}

impl Fetched {
    /// The bytes of a range, if they are all here.
    fn slice(&self, range: &Range<u64>) -> Option<Bytes> {
        let start = range.start.checked_sub(self.start)?;
        let end = range.end.checked_sub(self.start)?;
        (start <= end && end <= self.bytes.len() as u64).then(|| self.bytes.slice(start as usize..end as usize))
    }
}

/// What the Parquet reader reads from.
pub(crate) enum Reader {
    File(File),
    Object(ObjectReader),
}

/// Some ranges of an object; others are read where they are asked for.
#[derive(Clone)]
pub(crate) struct ObjectReader {
    objects: Arc<dyn Objects>,
    object: Arc<Object>,
    fetched: Arc<[Fetched]>,
}

/// The bytes from some place on.
pub(crate) enum From {
    File(BufReader<File>),
    Object {
        reader: ObjectReader,
        next: u64,
        bytes: Bytes,
    },
}

impl Length for Reader {
    fn len(&self) -> u64 {
        match self {
            Self::File(file) => file.len(),
            Self::Object(reader) => reader.object.bytes,
        }
    }
}

impl ChunkReader for Reader {
    type T = From;

    fn get_read(&self, start: u64) -> ParquetResult<From> {
        Ok(match self {
            Self::File(file) => From::File(file.get_read(start)?),
            Self::Object(reader) => From::Object {
                reader: reader.clone(),
                next: start,
                bytes: Bytes::new(),
            },
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        match self {
            Self::File(file) => file.get_bytes(start, length),
            Self::Object(reader) => {
                let end = start
                    .checked_add(length as u64)
                    .ok_or(ParquetError::NeedMoreData(length))?;
                Ok(reader.read(start..end)?)
            }
        }
    }
}

impl ObjectReader {
    fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        if self.object.bytes < range.end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(bytes) = self.fetched.iter().find_map(|fetched| fetched.slice(&range)) {
            return Ok(bytes);
        }
        let mut read = self.objects.read(&self.object, &[range])?;
        read.pop().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// What is at hand from a place on, or else some of it.
    fn from(&self, start: u64) -> io::Result<Bytes> {
        let at_hand = |fetched: &Fetched| fetched.slice(&(start..fetched.start + fetched.bytes.len() as u64));
        match self.fetched.iter().filter_map(at_hand).find(|bytes| !bytes.is_empty()) {
            Some(bytes) => Ok(bytes),
            None if self.object.bytes <= start => Ok(Bytes::new()),
            None => self.read(start..self.object.bytes.min(start + UNFORESEEN_BYTES)),
        }
    }
}

impl Read for From {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(out),
            Self::Object { reader, next, bytes } => {
                if bytes.is_empty() {
                    *bytes = reader.from(*next)?;
                }
                let count = bytes.len().min(out.len());
                bytes.copy_to_slice(&mut out[..count]);
                *next += count as u64;
                Ok(count)
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
