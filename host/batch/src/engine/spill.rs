use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::CompressionType;
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions};

use crate::backfill::BackfillError;

/// A file of batches that is being written: Arrow IPC, compressed with lz4.
pub(crate) struct SpillWriter {
    path: PathBuf,
    writer: FileWriter<BufWriter<File>>,
    batches: usize,
}

/// A whole file of batches.
pub(crate) struct SpillFile {
    path: PathBuf,
    batches: usize,
}

impl SpillWriter {
    pub fn create(path: PathBuf, schema: &SchemaRef) -> Result<Self, BackfillError> {
        let create = || -> Result<_, ArrowError> {
            let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME))?;
            let file = BufWriter::with_capacity(1 << 16, File::create(&path)?);
            FileWriter::try_new_with_options(file, schema, options)
        };
        let writer = create().map_err(|error| spill_error(&path, error))?;
        Ok(Self {
            path,
            writer,
            batches: 0,
        })
    }

    pub fn push(&mut self, batch: &RecordBatch) -> Result<(), BackfillError> {
        let written = self.writer.write(batch);
        written.map_err(|error| spill_error(&self.path, error))?;
        self.batches += 1;
        Ok(())
    }

    pub fn finish(mut self) -> Result<SpillFile, BackfillError> {
        let finished = self.writer.finish();
        finished.map_err(|error| spill_error(&self.path, error))?;
        Ok(SpillFile {
            path: self.path,
            batches: self.batches,
        })
    }
}

impl SpillFile {
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
        // Its directory goes at the end; until then the room is worth having.
        let _ = std::fs::remove_file(&self.path);
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
