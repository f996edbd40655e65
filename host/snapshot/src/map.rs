#![expect(unsafe_code, reason = "mapping a file into memory is unsafe by nature")]

use std::fs::{self, File};
use std::path::Path;

use memmap2::Mmap;
use rkyv::util::AlignedVec;

use crate::OpenError;
use crate::header::SECTION_ALIGN;

/// The bytes of a snapshot, from wherever, aligned for its sections.
pub(crate) enum Map {
    File(Mmap),
    Memory(AlignedVec<{ SECTION_ALIGN as usize }>),
}

impl Map {
    /// Maps a regular file. Anything else is refused before it is opened, for opening a FIFO would wait for its writer.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let metadata = fs::metadata(path).map_err(|error| OpenError::io(path, "find", error))?;
        check_kind(path, &metadata)?;
        let file = File::open(path).map_err(|error| OpenError::io(path, "open", error))?;
        let metadata = file.metadata().map_err(|error| OpenError::io(path, "inspect", error))?;
        check_kind(path, &metadata)?;
        if metadata.len() == 0 {
            return Err(OpenError::Empty { path: path.to_owned() });
        }
        // SAFETY: the bytes behind the returned slice must not change while it lives. Snapshots are immutable once they
        // have their name: a writer renames a finished file and nothing writes to it again. A file that is changed all the
        // same cannot break an invariant of the type system's making: bytes are read as integers, floats and lengths, every
        // length is checked again where it is used, and text is validated at each read, so a changed file gives wrong values
        // and not wrong memory, short of a change while a text is held. A file that is cut short raises SIGBUS.
        let map = unsafe { Mmap::map(&file) };
        map.map(Self::File).map_err(|error| OpenError::io(path, "map", error))
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let mut aligned = AlignedVec::with_capacity(bytes.len());
        aligned.extend_from_slice(bytes);
        Self::Memory(aligned)
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::File(map) => map,
            Self::Memory(bytes) => bytes,
        }
    }
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
