use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::concat;
use arrow::datatypes::{Schema, SchemaRef};
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, KeyValue, PageIndexPolicy, ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataReader,
};
use parquet::file::statistics::Statistics;
use parquet::file::writer::SerializedFileWriter;

use crate::backfill::BackfillError;
use crate::output::{Values, WriteError, is_whole, parquet_error, parquet_writer, write_error};
use crate::quarantine::Quarantined;
use crate::unfinished::{SavedFile, Unfinished};

/// Encodes row groups, on any thread.
pub(crate) struct RowGroupEncoder {
    path: PathBuf,
    schema: SchemaRef,
    /// Makes the writers of columns whose values are [`Values::Repeated`], and of those whose values are not.
    columns: ArrowRowGroupWriterFactory,
    plain: ArrowRowGroupWriterFactory,
    step_rows: usize,
}

/// An encoded row group.
pub(crate) enum RowGroup {
    Held {
        columns: Vec<ArrowColumnChunk>,
        rows: usize,
        quarantined: Vec<Quarantined>,
    },
    /// The only one of a file of its own.
    Saved {
        file: File,
        metadata: ParquetMetaData,
        quarantined: Vec<Quarantined>,
    },
}

/// What is written at a time is a step: so many rows that they take about as many bytes. Pages end where steps do, so how many there
/// are depends on the columns alone.
const STEP_BYTES: usize = 1 << 20;
const MAX_STEP_ROWS: usize = 1 << 13;
/// The least rows of a step, and those that say what the values of a column are like.
pub(crate) const MIN_STEP_ROWS: usize = 1 << 10;
/// The key of what a saved row group says of its rows.
const QUARANTINED: &str = "unskew.quarantined";

impl RowGroupEncoder {
    pub fn new(
        path: PathBuf,
        schema: SchemaRef,
        columns: ArrowRowGroupWriterFactory,
        plain: ArrowRowGroupWriterFactory,
    ) -> Self {
        Self {
            path,
            step_rows: step_rows(&schema),
            schema,
            columns,
            plain,
        }
    }

    /// Begins row group `index`.
    pub fn begin(&self, index: usize) -> OpenRowGroup<'_> {
        OpenRowGroup {
            encoder: self,
            index,
            writers: Vec::new(),
            waiting: Vec::new(),
            waiting_rows: 0,
            rows: 0,
            quarantined: Vec::new(),
        }
    }

    /// The writers of the columns of a row group that begins with these rows.
    fn writers(&self, index: usize, columns: &[ArrayRef]) -> parquet::errors::Result<Vec<ArrowColumnWriter>> {
        let repeated = self.columns.create_column_writers(index)?;
        let mut plain = self.plain.create_column_writers(index)?.into_iter();
        let mut writers = Vec::with_capacity(repeated.len());
        let mut repeated = repeated.into_iter();
        for (field, array) in self.schema.fields().iter().zip(columns) {
            let leaves = compute_leaves(field, array)?.len();
            let are_different = leaves == 1 && are_different(&array.slice(0, array.len().min(MIN_STEP_ROWS)));
            for (repeated, plain) in repeated.by_ref().zip(plain.by_ref()).take(leaves) {
                writers.push(if are_different { plain } else { repeated });
            }
        }
        Ok(writers)
    }

    /// Saves row group `index` as a file of its own.
    pub fn save(&self, unfinished: &Unfinished, index: usize, group: RowGroup) -> Result<RowGroup, BackfillError> {
        let path = unfinished.save(&saved_name(index), |out| {
            let write = || -> parquet::errors::Result<()> {
                let (mut writer, _) = parquet_writer::<&mut SavedFile>(out, &self.schema, Values::Repeated)?;
                let quarantined = serde_json::to_string(group.quarantined()).unwrap_or_default();
                writer.append_key_value_metadata(KeyValue::new(QUARANTINED.to_owned(), quarantined));
                group.append_to(&mut writer)?;
                writer.finish().map(drop)
            };
            write().map_err(|error| write_error(&self.path, error).into())
        })?;
        RowGroup::open(&path).map_err(|error| write_error(&path, error).into())
    }

    /// Row group `index`, if it was saved.
    pub fn find(&self, unfinished: &Unfinished, index: usize) -> Option<RowGroup> {
        RowGroup::open(unfinished.saved(&saved_name(index))?).ok()
    }
}

/// A row group that is being encoded and compressed, some rows at a time.
pub(crate) struct OpenRowGroup<'a> {
    encoder: &'a RowGroupEncoder,
    index: usize,
    /// None before the first rows are written.
    writers: Vec<ArrowColumnWriter>,
    /// The columns of rows that are too few to be written yet.
    waiting: Vec<Vec<ArrayRef>>,
    waiting_rows: usize,
    rows: usize,
    quarantined: Vec<Quarantined>,
}

impl OpenRowGroup<'_> {
    /// Appends `rows` rows. The bytes do not depend on how many there are at a time: they are written in steps.
    pub fn push(&mut self, rows: usize, columns: &[ArrayRef], quarantined: Vec<Quarantined>) -> Result<(), WriteError> {
        self.quarantined.extend(quarantined);
        self.rows += rows;
        let step_rows = self.encoder.step_rows;
        let mut start = 0;
        while start < rows {
            let step = (step_rows - self.waiting_rows).min(rows - start);
            let slices = columns.iter().map(|column| column.slice(start, step)).collect();
            self.waiting.push(slices);
            self.waiting_rows += step;
            start += step;
            if self.waiting_rows == step_rows {
                self.write_waiting()?;
            }
        }
        Ok(())
    }

    /// Ends it.
    pub fn finish(mut self) -> Result<RowGroup, WriteError> {
        if self.waiting_rows > 0 {
            self.write_waiting()?;
        }
        let columns: parquet::errors::Result<_> = self.writers.into_iter().map(ArrowColumnWriter::close).collect();
        Ok(RowGroup::Held {
            columns: columns.map_err(|error| parquet_error(&self.encoder.path, &error))?,
            rows: self.rows,
            quarantined: self.quarantined,
        })
    }

    fn write_waiting(&mut self) -> Result<(), WriteError> {
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting_rows = 0;
        let mut write = || -> parquet::errors::Result<()> {
            let whole = |index: usize| match waiting.as_slice() {
                [columns] => Ok(Arc::clone(&columns[index])),
                _ => {
                    let pieces: Vec<&dyn Array> = waiting.iter().map(|columns| &*columns[index]).collect();
                    concat(&pieces)
                }
            };
            let fields = self.encoder.schema.fields();
            let columns: Vec<ArrayRef> = (0..fields.len()).map(whole).collect::<Result<_, _>>()?;
            if self.writers.is_empty() {
                self.writers = self.encoder.writers(self.index, &columns)?;
            }
            let mut writers = self.writers.iter_mut();
            for (field, array) in fields.iter().zip(&columns) {
                for leaf in compute_leaves(field, array)? {
                    let writer = writers.next();
                    writer
                        .ok_or_else(|| ParquetError::General("too few columns".to_owned()))?
                        .write(&leaf)?;
                }
            }
            Ok(())
        };
        write().map_err(|error| parquet_error(&self.encoder.path, &error))
    }
}

fn step_rows(schema: &Schema) -> usize {
    /// Of a text, a list and the like, about.
    const WIDTH: usize = 32;
    let fields = schema.fields().iter();
    let row_bytes: usize = fields
        .map(|field| field.data_type().primitive_width().unwrap_or(WIDTH))
        .sum();
    let rows = (STEP_BYTES / row_bytes.max(1)).clamp(MIN_STEP_ROWS, MAX_STEP_ROWS);
    1 << rows.ilog2()
}

/// Whether more than half of the values of a column of integers, times, texts or bytes differ from those before them: then a
/// dictionary takes time and room.
fn are_different(array: &ArrayRef) -> bool {
    let data = array.to_data();
    let mut seen: HashSet<&[u8]> = HashSet::with_capacity(array.len());
    if let Some(texts) = array.as_string_opt::<i32>() {
        seen.extend(texts.iter().flatten().map(str::as_bytes));
    } else if let Some(bytes) = array.as_binary_opt::<i32>() {
        seen.extend(bytes.iter().flatten());
    } else if let Some(width) = data
        .data_type()
        .primitive_width()
        .filter(|_| is_whole(data.data_type()))
    {
        let values = data.buffers().first().map_or(&[][..], |values| values.as_slice());
        let values = values.chunks_exact(width).skip(data.offset()).take(array.len());
        // Behind a missing value anything may lie.
        let present = values.enumerate().filter(|(row, _)| array.is_valid(*row));
        seen.extend(present.map(|(_, value)| value));
    }
    2 * seen.len() > array.len() - array.null_count()
}

fn saved_name(index: usize) -> String {
    format!("group-{index}")
}

impl RowGroup {
    fn open(path: &Path) -> parquet::errors::Result<Self> {
        let file = File::open(path)?;
        // All of it, as it was written.
        let options = ParquetMetaDataOptions::new().with_encoding_stats_as_mask(false);
        let metadata = ParquetMetaDataReader::new()
            .with_metadata_options(Some(options))
            .with_page_index_policy(PageIndexPolicy::Optional)
            .parse_and_finish(&file)?;
        let notes = metadata.file_metadata().key_value_metadata();
        let note = notes.and_then(|notes| notes.iter().find(|note| note.key == QUARANTINED));
        let quarantined = note.and_then(|note| serde_json::from_str(note.value.as_deref()?).ok());
        Ok(Self::Saved {
            quarantined: quarantined.ok_or_else(|| ParquetError::General("it is no row group of ours".to_owned()))?,
            file,
            metadata,
        })
    }

    pub fn rows(&self) -> usize {
        match self {
            Self::Held { rows, .. } => *rows,
            Self::Saved { metadata, .. } => usize::try_from(metadata.file_metadata().num_rows()).unwrap_or(0),
        }
    }

    /// Its rows for which a component failed.
    pub fn quarantined(&self) -> &[Quarantined] {
        match self {
            Self::Held { quarantined, .. } | Self::Saved { quarantined, .. } => quarantined,
        }
    }

    /// Appends it to a file, unless it has no rows. The bytes are the same, whether it is held or was saved.
    pub fn append_to<W: std::io::Write + Send>(
        self,
        writer: &mut SerializedFileWriter<W>,
    ) -> parquet::errors::Result<()> {
        if self.rows() == 0 {
            return Ok(());
        }
        let mut out = writer.next_row_group()?;
        match self {
            Self::Held { columns, .. } => {
                for column in columns {
                    column.append_to_row_group(&mut out)?;
                }
            }
            Self::Saved { file, metadata, .. } => {
                let pages = metadata.page_index_for_row_group(0);
                for (index, column) in metadata.row_group(0).columns().iter().enumerate() {
                    let closed = ColumnCloseResult {
                        bytes_written: column.compressed_size().unsigned_abs(),
                        rows_written: metadata.row_group(0).num_rows().unsigned_abs(),
                        metadata: as_written(column)?,
                        bloom_filter: None,
                        column_index: pages.column_index(index).cloned(),
                        offset_index: pages.offset_index(index).cloned(),
                    };
                    out.append_column(&file, closed)?;
                }
            }
        }
        out.close()?;
        Ok(())
    }
}

/// What the writer of a column said of it. Of its statistics it is not read back that old readers may have them too.
fn as_written(column: &ColumnChunkMetaData) -> parquet::errors::Result<ColumnChunkMetaData> {
    let is_signed = column.column_descr().sort_order().is_signed();
    macro_rules! compatible {
        ($statistics:expr, $($kind:ident),*) => {
            match $statistics {
                $(Statistics::$kind(values) => Statistics::$kind(values.with_backwards_compatible_min_max(is_signed)),)*
            }
        };
    }
    let builder = column.clone().into_builder();
    let builder = match column.statistics().cloned() {
        None => builder,
        Some(statistics) => builder.set_statistics(compatible!(
            statistics,
            Boolean,
            Int32,
            Int64,
            Int96,
            Float,
            Double,
            ByteArray,
            FixedLenByteArray
        )),
    };
    builder.build()
}

#[cfg(test)]
mod tests;
