use core::num::NonZero;
use std::fs;

use crate::map::Map;

/// How a snapshot is opened. The default maps the file and uses all cores for its checks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Where the rows are read from.
    pub backing: Backing,
    /// Whether the pages are locked in memory, so that none is swapped out or dropped. Needs `RLIMIT_MEMLOCK`; whether it took
    /// is in [`Residency`].
    pub is_locked: bool,
    /// The threads that copy and check the file: as many as run at once, if it is `None`.
    pub threads: Option<NonZero<usize>>,
}

/// Where the rows of an open snapshot are read from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backing {
    /// The file's own pages, shared by all processes that map it. The file must not be changed or shortened while it is open:
    /// a shortened one raises SIGBUS.
    #[default]
    File,
    /// A copy in memory of this process, on huge pages where the kernel gives them: a lookup in a large table is faster, and
    /// nothing that happens to the file afterwards shows.
    Private,
}

/// How far the opening of a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenProgress {
    /// What it does.
    pub stage: OpenStage,
    /// The bytes that it has done it with.
    pub bytes_done: u64,
    /// The bytes of the file.
    pub bytes_total: u64,
}

/// What opening does with the bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenStage {
    /// It copies them, for [`Backing::Private`].
    Copying,
    /// It brings them into memory and checks their checksums.
    Checking,
    /// It checks that every row is as a lookup expects it.
    CheckingRows,
}

/// What became of the memory of an open snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Residency {
    /// Where the rows are read from.
    pub backing: Backing,
    /// Whether all pages were brought into memory and into the page table, so that no read is the first of its page.
    pub is_prefaulted: bool,
    /// The bytes that are on huge pages.
    pub huge_page_bytes: u64,
    /// Whether the pages are locked in memory.
    pub is_locked: bool,
    /// Why they are not, where that was asked for.
    pub lock_refusal: Option<String>,
}

impl Residency {
    pub(crate) fn new(map: &Map, options: &OpenOptions, is_prefaulted: bool) -> Self {
        let locked = options.is_locked.then(|| map.lock());
        Self {
            backing: options.backing,
            is_prefaulted: is_prefaulted || options.backing == Backing::Private,
            huge_page_bytes: match map {
                Map::Pages(bytes) => huge_page_bytes(bytes),
                Map::Memory(_) => 0,
            },
            is_locked: matches!(locked, Some(Ok(()))),
            lock_refusal: locked.and_then(Result::err).map(|error| error.to_string()),
        }
    }
}

/// How much of the mapping of `bytes` is on huge pages, by what the kernel says of it; 0 where it does not say.
fn huge_page_bytes(bytes: &[u8]) -> u64 {
    let address = bytes.as_ptr().addr() as u64;
    let Ok(mappings) = fs::read_to_string("/proc/self/smaps") else {
        return 0;
    };
    let mut is_inside = false;
    let mut huge_kib = 0;
    for line in mappings.lines() {
        let (head, rest) = line.split_once(' ').unwrap_or((line, ""));
        if let Some((start, end)) = address_range(head) {
            is_inside = (start..end).contains(&address);
        } else if is_inside && ["AnonHugePages:", "ShmemPmdMapped:", "FilePmdMapped:"].contains(&head) {
            let kib = rest.trim().trim_end_matches(" kB").parse::<u64>();
            huge_kib += kib.unwrap_or(0);
        }
    }
    huge_kib << 10
}

/// The addresses of a line that begins a mapping.
fn address_range(head: &str) -> Option<(u64, u64)> {
    let (start, end) = head.split_once('-')?;
    let address = |text| u64::from_str_radix(text, 16).ok();
    Some((address(start)?, address(end)?))
}
