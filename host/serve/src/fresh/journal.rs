use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use unskew_snapshot::{EntityKey, EventTime, KeyRef, decode_row};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::fresh::event::{Event, EventSchema};

/// How a segment begins; then comes its number.
const MAGIC: [u8; 8] = *b"UNSKEWJ1";
const START_BYTES: usize = MAGIC.len() + size_of::<u64>();
/// Of a record: the length of its body, a checksum of that, and one of the body.
const HEAD_BYTES: usize = 4 + 4 + 8;
/// A segment that is as long is the last one no longer.
const SEGMENT_BYTES: u64 = 64 << 20;

/// What kind a record is: the first byte of its body.
const SCHEMA: u8 = 1;
const EVENTS: u8 = 2;

/// What an event that was taken outlives, if there is a journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The end of the process, however it ends; not that of the machine, which writes to its disk some seconds later.
    #[default]
    Process,
    /// The end of the machine: each push waits for the disk.
    Machine,
}

/// The events of a host that no snapshot has yet, in files: numbered segments, of which the last one grows.
///
/// ```text
/// segment  "UNSKEWJ1", u64 number, records
/// record   u32 length, u32 checksum of the length, u64 checksum of the body, body
/// body     1, u32 number, JSON                     a schema of events
///          2, u32 schema, events                   those of one push, all or none of them
/// event    i64 event time, u8 whether there is a known-at, i64 known-at, u16 length, key, u32 length, canonical row
/// ```
///
/// Integers are little-endian, checksums xxh3 with the segment's number and the record's place as seed. A record that the last
/// segment ends within was not acknowledged: it is cut off. Whatever else is not as it was written is an error.
#[derive(Debug)]
pub(crate) struct Journal {
    directory: PathBuf,
    durability: Durability,
    segment_bytes: u64,
    /// Held while the host lives.
    _lock: File,
    /// In order; the last one grows if `file` is there.
    segments: Vec<Segment>,
    /// The end of the last segment. None after a write that failed: the next begins another one.
    file: Option<File>,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    path: PathBuf,
    bytes: u64,
    /// By number.
    schemas: Vec<Arc<EventSchema>>,
    /// By view, when the last of its events becomes visible.
    last: BTreeMap<String, EventTime>,
}

/// Why the journal of fresh events cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The operating system refused.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// Another host has the directory.
    #[error("{}: another host of this machine has it: give each a journal directory of its own", path.display())]
    Locked {
        /// The file that says so.
        path: PathBuf,
    },
    /// A file is not as it was written.
    #[error(
        "{}, offset {offset}: {reason}; move the file away to start without its events, and push them again if you have them",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
}

impl JournalError {
    /// Whether another host has the directory, which may let it go.
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Locked { .. })
    }
}

impl Journal {
    /// Opens the journal in `directory`, which is made if it is not there, and gives the events that it has.
    pub fn open(directory: &Path, durability: Durability) -> Result<(Self, Vec<Arc<Event>>), JournalError> {
        let lock = lock_directory(directory)?;
        let mut numbers = segment_numbers(directory)?;
        numbers.sort_unstable();
        let (mut segments, mut events) = (Vec::new(), Vec::new());
        for (index, number) in numbers.iter().enumerate() {
            let is_last = index + 1 == numbers.len();
            let mut segment = Segment::new(directory, *number);
            segment.read(is_last, &mut events)?;
            segments.push(segment);
        }
        let journal = Self {
            directory: directory.to_owned(),
            durability,
            segment_bytes: SEGMENT_BYTES,
            _lock: lock,
            segments,
            file: None,
        };
        Ok((journal, events))
    }

    /// Appends events that are taken together. After an error the journal is as before.
    pub fn append(&mut self, events: &[Arc<Event>]) -> Result<(), JournalError> {
        if events.is_empty() {
            return Ok(());
        }
        let is_full = |segment: &Segment| segment.bytes >= self.segment_bytes;
        if self.file.is_none() || self.segments.last().is_none_or(is_full) {
            self.begin_segment()?;
        }
        let durability = self.durability;
        let (Some(segment), Some(file)) = (self.segments.last_mut(), &mut self.file) else {
            return Ok(());
        };
        let (bytes, new_schemas) = segment.encode(events);
        let mut write = || {
            file.write_all(&bytes)?;
            match durability {
                Durability::Process => Ok(()),
                Durability::Machine => file.sync_data(),
            }
        };
        if let Err(source) = write() {
            // Nothing of it is to be read again. Where not even that can be done, the next start finds a record that is torn, or
            // one that was not acknowledged.
            let _ = file.set_len(segment.bytes);
            self.file = None;
            return Err(io_error(&segment.path, "write", source));
        }
        segment.bytes += bytes.len() as u64;
        segment.schemas.extend(new_schemas);
        events.iter().for_each(|event| segment.note(event));
        Ok(())
    }

    /// Removes the segments whose events are all of no use: `is_of_no_use` says of a view up to when they are.
    pub fn forget(&mut self, is_of_no_use: impl Fn(&str, EventTime) -> bool) {
        let mut kept = Vec::new();
        let last = self.segments.last().map(|segment| segment.number);
        for segment in self.segments.drain(..) {
            let is_over = segment.last.iter().all(|(view, from)| is_of_no_use(view, *from));
            // One without events is not worth a new one.
            let is_in_use = Some(segment.number) == last && self.file.is_some() && segment.last.is_empty();
            // What cannot be removed is tried again.
            if is_in_use || !is_over || fs::remove_file(&segment.path).is_err() {
                kept.push(segment);
            } else if Some(segment.number) == last {
                self.file = None;
            }
        }
        self.segments = kept;
    }

    fn begin_segment(&mut self) -> Result<(), JournalError> {
        let number = self.segments.last().map_or(1, |segment| segment.number + 1);
        let mut segment = Segment::new(&self.directory, number);
        let begin = || {
            let mut file = File::options().create_new(true).append(true).open(&segment.path)?;
            file.write_all(&[MAGIC, number.to_le_bytes()].concat())?;
            if self.durability == Durability::Machine {
                file.sync_all()?;
                File::open(&self.directory)?.sync_all()?;
            }
            Ok(file)
        };
        match begin() {
            Ok(file) => self.file = Some(file),
            Err(source) => {
                // So that the next attempt does not find it there.
                let _ = fs::remove_file(&segment.path);
                return Err(io_error(&segment.path, "create", source));
            }
        }
        segment.bytes = START_BYTES as u64;
        self.segments.push(segment);
        Ok(())
    }
}

impl Segment {
    fn new(directory: &Path, number: u64) -> Self {
        Self {
            number,
            path: directory.join(format!("events-{number:012}.journal")),
            bytes: 0,
            schemas: Vec::new(),
            last: BTreeMap::new(),
        }
    }

    fn note(&mut self, event: &Event) {
        let from = event.visible_from();
        match self.last.get_mut(&event.schema.view) {
            Some(last) => *last = from.max(*last),
            None => _ = self.last.insert(event.schema.view.clone(), from),
        }
    }

    /// The records of events, and the schemas among them that the segment has not.
    fn encode(&self, events: &[Arc<Event>]) -> (Vec<u8>, Vec<Arc<EventSchema>>) {
        let (mut bytes, mut schemas) = (Vec::new(), Vec::new());
        let mut body = Vec::new();
        for events in events.chunk_by(|a, b| Arc::ptr_eq(&a.schema, &b.schema)) {
            let schema = &events[0].schema;
            let mut known = self.schemas.iter().chain(&schemas);
            let number = known.position(|known| Arc::ptr_eq(known, schema) || known == schema);
            let number = number.unwrap_or_else(|| {
                let number = self.schemas.len() + schemas.len();
                schemas.push(Arc::clone(schema));
                // Names and types: JSON has words for them.
                let json = serde_json::to_vec(&**schema).unwrap_or_default();
                body = [&[SCHEMA][..], &(number as u32).to_le_bytes(), &json].concat();
                self.push_record(&body, &mut bytes);
                number
            });
            body.clear();
            body.push(EVENTS);
            body.extend_from_slice(&(number as u32).to_le_bytes());
            events.iter().for_each(|event| push_event(event, &mut body));
            self.push_record(&body, &mut bytes);
        }
        (bytes, schemas)
    }

    fn push_record(&self, body: &[u8], bytes: &mut Vec<u8>) {
        let seed = self.seed(self.bytes + bytes.len() as u64);
        let length = (body.len() as u32).to_le_bytes();
        bytes.extend_from_slice(&length);
        bytes.extend_from_slice(&(xxh3_64_with_seed(&length, seed) as u32).to_le_bytes());
        bytes.extend_from_slice(&xxh3_64_with_seed(body, seed).to_le_bytes());
        bytes.extend_from_slice(body);
    }

    /// So that a record counts in its place alone.
    fn seed(&self, offset: u64) -> u64 {
        self.number << 40 ^ offset
    }

    /// Reads the segment, and cuts off what is torn of the last one.
    fn read(&mut self, is_last: bool, events: &mut Vec<Arc<Event>>) -> Result<(), JournalError> {
        let bytes = fs::read(&self.path).map_err(|source| io_error(&self.path, "read", source))?;
        let start = [MAGIC, self.number.to_le_bytes()].concat();
        let is_begun = bytes.len() < START_BYTES && start.starts_with(&bytes);
        if !(bytes.starts_with(&start) || is_last && (is_begun || bytes.iter().all(|byte| *byte == 0))) {
            return Err(self.corrupt(0, "it is no journal of this version"));
        }
        let mut offset = START_BYTES.min(bytes.len());
        if !bytes.starts_with(&start) {
            offset = 0;
        }
        while offset >= START_BYTES && offset < bytes.len() {
            match self.record(&bytes, offset) {
                Ok(body) => {
                    self.take(body, events)
                        .ok_or_else(|| self.corrupt(offset, "a record makes no sense"))?;
                    offset += HEAD_BYTES + body.len();
                }
                Err(Flaw::Torn) if is_last => break,
                Err(Flaw::Torn) => return Err(self.corrupt(offset, "a record ends beyond the file")),
                Err(Flaw::Corrupt) => return Err(self.corrupt(offset, "a record is damaged")),
            }
        }
        if offset < bytes.len() {
            let cut = File::options()
                .write(true)
                .open(&self.path)
                .and_then(|file| file.set_len(offset as u64));
            cut.map_err(|source| io_error(&self.path, "shorten", source))?;
        }
        self.bytes = offset as u64;
        Ok(())
    }

    /// The body of the record at `offset`.
    fn record<'a>(&self, bytes: &'a [u8], offset: usize) -> Result<&'a [u8], Flaw> {
        let rest = &bytes[offset..];
        // A machine that ended may leave zeros where something was to be written.
        let damaged = || match rest.iter().all(|byte| *byte == 0) {
            true => Flaw::Torn,
            false => Flaw::Corrupt,
        };
        let seed = self.seed(offset as u64);
        let (head, rest) = rest.split_first_chunk::<HEAD_BYTES>().ok_or(Flaw::Torn)?;
        let (length, sums) = head.split_at(4);
        let (of_length, of_body) = sums.split_at(4);
        if (xxh3_64_with_seed(length, seed) as u32).to_le_bytes() != of_length {
            return Err(damaged());
        }
        let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
        let body = rest.get(..length).ok_or(Flaw::Torn)?;
        match xxh3_64_with_seed(body, seed).to_le_bytes() == of_body {
            true => Ok(body),
            // Of the last record, not all may have been written.
            false if rest.len() == length => Err(Flaw::Torn),
            false => Err(Flaw::Corrupt),
        }
    }

    fn take(&mut self, body: &[u8], events: &mut Vec<Arc<Event>>) -> Option<()> {
        let (kind, body) = body.split_first()?;
        let (number, mut body) = body.split_first_chunk()?;
        let number = u32::from_le_bytes(*number) as usize;
        match *kind {
            SCHEMA if number == self.schemas.len() => {
                self.schemas.push(Arc::new(serde_json::from_slice(body).ok()?));
            }
            EVENTS => {
                let schema = Arc::clone(self.schemas.get(number)?);
                while !body.is_empty() {
                    let event = take_event(&schema, &mut body)?;
                    self.note(&event);
                    events.push(Arc::new(event));
                }
            }
            _ => return None,
        }
        Some(())
    }

    fn corrupt(&self, offset: usize, reason: &'static str) -> JournalError {
        JournalError::Corrupt {
            path: self.path.clone(),
            offset: offset as u64,
            reason,
        }
    }
}

enum Flaw {
    /// It may have been written in part.
    Torn,
    /// It was written and is not what it was.
    Corrupt,
}

fn push_event(event: &Event, body: &mut Vec<u8>) {
    body.extend_from_slice(&event.event_time.0.to_le_bytes());
    body.push(u8::from(event.known_at.is_some()));
    body.extend_from_slice(&event.known_at.map_or(0, |known_at| known_at.0).to_le_bytes());
    let key = event.key.as_bytes();
    body.extend_from_slice(&(key.len() as u16).to_le_bytes());
    body.extend_from_slice(key);
    body.extend_from_slice(&(event.row.len() as u32).to_le_bytes());
    body.extend_from_slice(&event.row);
}

fn take_event(schema: &Arc<EventSchema>, body: &mut &[u8]) -> Option<Event> {
    let event_time = EventTime(i64::from_le_bytes(take(body)?));
    let [has_known_at] = take(body)?;
    let known_at = EventTime(i64::from_le_bytes(take(body)?));
    let key = take_slice(usize::from(u16::from_le_bytes(take(body)?)), body)?;
    let length = u32::from_le_bytes(take(body)?) as usize;
    let row = take_slice(length, body)?;
    let key: EntityKey = KeyRef::from_bytes(key).ok()?.to_entity_key();
    let key_types: Vec<_> = schema.keys.iter().map(|key| key.key_type).collect();
    if !key.as_ref().has_types(&key_types) {
        return None;
    }
    decode_row(row, &mut schema.value_columns())?;
    Some(Event {
        schema: Arc::clone(schema),
        key,
        event_time,
        known_at: (has_known_at == 1).then_some(known_at),
        row: row.into(),
    })
}

fn take<const N: usize>(body: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = body.split_first_chunk()?;
    *body = rest;
    Some(*first)
}

fn take_slice<'a>(length: usize, body: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (first, rest) = body.split_at_checked(length)?;
    *body = rest;
    Some(first)
}

fn lock_directory(directory: &Path) -> Result<File, JournalError> {
    let path = directory.join("lock");
    let open = || {
        fs::create_dir_all(directory)?;
        File::options().create(true).append(true).open(&path)
    };
    let lock = open().map_err(|source| io_error(&path, "open", source))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(JournalError::Locked { path }),
        Err(TryLockError::Error(source)) => Err(io_error(&path, "lock", source)),
    }
}

fn segment_numbers(directory: &Path) -> Result<Vec<u64>, JournalError> {
    let list = || -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(directory)? {
            let name = entry?.file_name();
            let number = name
                .to_str()
                .and_then(|name| name.strip_prefix("events-")?.strip_suffix(".journal"));
            numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
        }
        Ok(numbers)
    };
    list().map_err(|source| io_error(directory, "list", source))
}

fn io_error(path: &Path, operation: &'static str, source: io::Error) -> JournalError {
    JournalError::Io {
        path: path.to_owned(),
        operation,
        source,
    }
}

#[cfg(test)]
mod tests;
