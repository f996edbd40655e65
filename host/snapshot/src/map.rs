#![expect(unsafe_code, reason = "mapping a file into memory is unsafe by nature")]

use std::fs::{self, File};
use std::io;
use std::path::Path;

use memmap2::{Mmap, MmapMut};
use rkyv::util::AlignedVec;

use crate::OpenError;
use crate::header::{HEADER_BYTES, Header, SECTION_ALIGN};
use crate::parallel::Threads;

/// What is copied between two calls to whoever watches, for each thread.
const COPY_BYTES: usize = 64 << 20;

/// The bytes of a snapshot, from wherever, aligned for its sections.
pub(crate) enum Map {
    /// A file's own pages, or pages of its own that a file was copied to.
    Pages(Mmap),
    Memory(AlignedVec<{ SECTION_ALIGN as usize }>),
}

impl Map {
    /// Maps a regular file. Anything else is refused before it is opened, for opening a FIFO would wait for its writer.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let (file, _) = open_file(path)?;
        // SAFETY: the bytes behind the returned slice must not change while it lives. Snapshots are immutable once they
        // have their name: a writer renames a finished file and nothing writes to it again. A file that is changed all the
        // same cannot break an invariant of the type system's making: bytes are read as integers, floats and lengths, every
        // length is checked again where it is used, and text is validated at each read, so a changed file gives wrong values
        // and not wrong memory, short of a change while a text is held. A file that is cut short raises SIGBUS.
        let map = unsafe { Mmap::map(&file) };
        map.map(Self::Pages).map_err(|error| OpenError::io(path, "map", error))
    }

    /// Copies a regular file into memory of this process, huge pages where the kernel gives them. What happens to the file
    /// afterwards does not show.
    pub(crate) fn copy(path: &Path, threads: Threads, progress: &mut dyn FnMut(u64, u64)) -> Result<Self, OpenError> {
        let failed = |error| OpenError::io(path, "read", error);
        let (file, file_bytes) = open_file(path)?;
        // No memory is taken for a file that only claims to be long.
        let mut start = [0; HEADER_BYTES];
        let start = &mut start[..HEADER_BYTES.min(usize::try_from(file_bytes).unwrap_or(HEADER_BYTES))];
        read_exact_at(&file, start, 0).map_err(failed)?;
        Header::decode(start, file_bytes).map_err(|flaw| flaw.in_file(path))?;
        let file_bytes = usize::try_from(file_bytes).map_err(|_| failed(io::ErrorKind::FileTooLarge.into()))?;
        let mut map = MmapMut::map_anon(file_bytes).map_err(|error| OpenError::io(path, "take memory for", error))?;
        advise_huge_pages(&map);
        let mut offset = 0;
        for wave in map.chunks_mut(COPY_BYTES * threads.count()) {
            let wave_bytes = wave.len();
            let chunk_bytes = wave_bytes.div_ceil(threads.count());
            threads
                .each(wave.chunks_mut(chunk_bytes).enumerate().collect(), |(index, chunk)| {
                    read_exact_at(&file, chunk, (offset + index * chunk_bytes) as u64)
                })
                .map_err(failed)?;
            offset += wave_bytes;
            progress(offset as u64, file_bytes as u64);
        }
        let map = map.make_read_only().map_err(failed)?;
        Ok(Self::Pages(map))
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let mut aligned = AlignedVec::with_capacity(bytes.len());
        aligned.extend_from_slice(bytes);
        Self::Memory(aligned)
    }

    /// Asks for huge pages behind the file's own, which few file systems give.
    pub(crate) fn advise_huge_pages(&self) {
        #[cfg(target_os = "linux")]
        if let Self::Pages(map) = self {
            let _ = map.advise(memmap2::Advice::HugePage);
        }
    }

    /// Brings a range of pages into memory and into the page table; whether the kernel can be asked to.
    pub(crate) fn populate(&self, offset: usize, len: usize) -> bool {
        #[cfg(target_os = "linux")]
        if let Self::Pages(map) = self {
            return map.advise_range(memmap2::Advice::PopulateRead, offset, len).is_ok();
        }
        let _ = (offset, len);
        false
    }

    /// Keeps the pages from being swapped or dropped.
    pub(crate) fn lock(&self) -> io::Result<()> {
        match self {
            #[cfg(unix)]
            Self::Pages(map) => map.lock(),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Pages(map) => map,
            Self::Memory(bytes) => bytes,
        }
    }
}

/// A regular file with bytes in it, and how many.
fn open_file(path: &Path) -> Result<(File, u64), OpenError> {
    let metadata = fs::metadata(path).map_err(|error| OpenError::io(path, "find", error))?;
    check_kind(path, &metadata)?;
    let file = File::open(path).map_err(|error| OpenError::io(path, "open", error))?;
    let metadata = file.metadata().map_err(|error| OpenError::io(path, "inspect", error))?;
    check_kind(path, &metadata)?;
    if metadata.len() == 0 {
        return Err(OpenError::Empty { path: path.to_owned() });
    }
    Ok((file, metadata.len()))
}

/// Asks for huge pages behind memory of this process.
pub(crate) fn advise_huge_pages(map: &MmapMut) {
    #[cfg(target_os = "linux")]
    let _ = map.advise(memmap2::Advice::HugePage);
    #[cfg(not(target_os = "linux"))]
    let _ = map;
}

#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            len => {
                bytes = &mut bytes[len..];
                offset += len as u64;
            }
        }
    }
    Ok(())
}

fn check_kind(path: &Path, metadata: &fs::Metadata) -> Result<(), OpenError> {
    if metadata.is_file() {
        return Ok(());
    }
    Err(OpenError::NotAFile {
        path: path.to_owned(),
        found: kind(metadata),
    })
}

#[cfg(unix)]
fn kind(metadata: &fs::Metadata) -> &'static str {
    use std::os::unix::fs::FileTypeExt;

    let file_type = metadata.file_type();
    if file_type.is_dir() {
        "a directory"
    } else if file_type.is_fifo() {
        "a FIFO"
    } else if file_type.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(not(unix))]
fn kind(metadata: &fs::Metadata) -> &'static str {
    if metadata.is_dir() {
        "a directory"
    } else {
        "not a regular file"
    }
}
