use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::CompressionType;
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions};

use crate::backfill::BackfillError;

/// A file of batches that is being written: Arrow IPC, compressed with lz4.
pub(crate) struct SpillWriter<W: Write = BufWriter<File>> {
    path: PathBuf,
    writer: FileWriter<W>,
    batches: usize,
}

/// A whole file of batches.
#[derive(Debug)]
pub(crate) struct SpillFile {
    path: PathBuf,
    batches: usize,
    /// Whether it is worth something after this process.
    is_saved: bool,
}

/// The name of the note in a file's footer.
const NOTE: &str = "unskew";

impl SpillWriter {
    pub fn create(path: PathBuf, schema: &SchemaRef) -> Result<Self, BackfillError> {
        match File::create(&path) {
            Ok(file) => Self::to(BufWriter::with_capacity(1 << 16, file), path, schema),
            Err(error) => Err(spill_error(&path, error.into())),
        }
    }

    pub fn finish(mut self) -> Result<SpillFile, BackfillError> {
        self.end()?;
        Ok(SpillFile {
            path: self.path,
            batches: self.batches,
            is_saved: false,
        })
    }
}

impl<W: Write> SpillWriter<W> {
    /// Writes to `out`, which is at `path`.
    pub fn to(out: W, path: PathBuf, schema: &SchemaRef) -> Result<Self, BackfillError> {
        let create = || -> Result<_, ArrowError> {
            let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME))?;
            FileWriter::try_new_with_options(out, schema, options)
        };
        Ok(Self {
            writer: create().map_err(|error| spill_error(&path, error))?,
            path,
            batches: 0,
        })
    }

    pub fn push(&mut self, batch: &RecordBatch) -> Result<(), BackfillError> {
        let written = self.writer.write(batch);
        written.map_err(|error| spill_error(&self.path, error))?;
        self.batches += 1;
        Ok(())
    }

    /// Says something about the batches, once.
    pub fn note(&mut self, text: String) {
        self.writer.write_metadata(NOTE, text);
    }

    /// Writes what ends the file.
    pub fn end(&mut self) -> Result<(), BackfillError> {
        let finished = self.writer.finish();
        finished.map_err(|error| spill_error(&self.path, error))
    }
}

impl SpillFile {
    /// The file at `path`, which is not removed, and its note.
    pub fn saved(path: PathBuf) -> Result<(Self, String), BackfillError> {
        let mut file = Self {
            path,
            batches: 0,
            is_saved: true,
        };
        let reader = file.open()?.reader;
        let note = reader.custom_metadata().get(NOTE).cloned().unwrap_or_default();
        file.batches = reader.num_batches();
        Ok((file, note))
    }

    /// How many batches it holds.
    pub fn batches(&self) -> usize {
        self.batches
    }

    /// Opens it for reading any of its batches.
    pub fn open(&self) -> Result<SpillReader<'_>, BackfillError> {
        let open = || -> Result<_, ArrowError> {
            let file = BufReader::with_capacity(1 << 16, File::open(&self.path)?);
            FileReader::try_new(file, None)
        };
        Ok(SpillReader {
            path: &self.path,
            reader: open().map_err(|error| spill_error(&self.path, error))?,
        })
    }

    /// All batches, in their order.
    pub fn read_all(&self) -> Result<Vec<RecordBatch>, BackfillError> {
        let mut reader = self.open()?;
        (0..self.batches).map(|batch| reader.read(batch)).collect()
    }
}

impl Drop for SpillFile {
    fn drop(&mut self) {
        if !self.is_saved {
            // Its directory goes at the end; until then the room is worth having.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

pub(crate) struct SpillReader<'a> {
    path: &'a Path,
    reader: FileReader<BufReader<File>>,
}

impl SpillReader<'_> {
    /// One of the batches.
    pub fn read(&mut self, batch: usize) -> Result<RecordBatch, BackfillError> {
        let mut read = || {
            self.reader.set_index(batch)?;
            let batch = self.reader.next().transpose()?;
            batch.ok_or_else(|| ArrowError::IpcError("the file is cut short".to_owned()))
        };
        read().map_err(|error| spill_error(self.path, error))
    }
}

fn spill_error(path: &Path, error: ArrowError) -> BackfillError {
    let source = match error {
        ArrowError::IoError(_, source) => source,
        error => std::io::Error::other(error.to_string()),
    };
    BackfillError::Spill {
        path: path.to_owned(),
        source,
    }
}
