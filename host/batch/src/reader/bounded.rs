use std::fs::File;
use std::io::{self, Read};

/// What is read of a text file at a time.
pub(super) const BUFFER_BYTES: usize = 1 << 16;
/// The most bytes of a row of a text file: as many as a row of a snapshot, and more than one that was not cut wrong.
/// Tests are content with fewer.
pub(super) const MAX_RECORD_BYTES: u64 = if cfg!(test) { 1 << 20 } else { 64 << 20 };
/// What is wrong with a longer one.
pub(super) const TOO_LONG: &str = "the row has over 64 MiB";

/// A text file that is read no further than a row may be long: a quote that is left open makes all that follows one row,
/// which would be read into memory.
pub(super) struct Bounded {
    file: File,
    record_bytes: u64,
}

impl Bounded {
    pub(super) fn new(file: File) -> Self {
        Self { file, record_bytes: 0 }
    }

    /// Begins a row, of which some may have been read with the one before.
    pub(super) fn begin_record(&mut self) {
        self.record_bytes = 0;
    }
}

impl Read for Bounded {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.record_bytes > MAX_RECORD_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, TOO_LONG));
        }
        let count = self.file.read(bytes)?;
        self.record_bytes += count as u64;
        Ok(count)
    }
}
