use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// What a spool keeps in memory before it needs a file.
const SPOOL_MEMORY_BYTES: usize = 4 << 20;
const BUFFER_BYTES: usize = 1 << 20;

/// Where files without names are made; they are gone when they are closed, however the process ends.
#[derive(Clone, Debug)]
pub(crate) struct SpillDirectory(pub(crate) PathBuf);

impl SpillDirectory {
    /// The directory of the file that is written, unless another was asked for.
    pub(crate) fn beside(path: &Path, asked: Option<&Path>) -> Self {
        let beside = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        Self(asked.unwrap_or(beside).to_owned())
    }

    pub(crate) fn file(&self) -> io::Result<File> {
        tempfile::tempfile_in(&self.0)
    }
}

/// Bytes that are written one after the other, and then read once from the first.
#[derive(Debug)]
pub(crate) struct Spool {
    directory: SpillDirectory,
    /// What is not in the file.
    memory: Vec<u8>,
    file: Option<BufWriter<File>>,
    bytes: u64,
}

impl Spool {
    pub(crate) fn new(directory: SpillDirectory) -> Self {
        Self {
            directory,
            memory: Vec::new(),
            file: None,
            bytes: 0,
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        if let Some(file) = &mut self.file {
            return file.write_all(bytes);
        }
        self.memory.extend_from_slice(bytes);
        if self.memory.len() > SPOOL_MEMORY_BYTES {
            let mut file = BufWriter::with_capacity(BUFFER_BYTES, self.directory.file()?);
            file.write_all(&self.memory)?;
            self.memory = Vec::new();
            self.file = Some(file);
        }
        Ok(())
    }

    /// The bytes, from the first; the spool has none then.
    pub(crate) fn take_reader(&mut self) -> io::Result<Box<dyn Read>> {
        Ok(match self.file.take() {
            None => Box::new(io::Cursor::new(core::mem::take(&mut self.memory))),
            Some(file) => {
                let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
                file.seek(SeekFrom::Start(0))?;
                Box::new(BufReader::with_capacity(BUFFER_BYTES, file))
            }
        })
    }
}
