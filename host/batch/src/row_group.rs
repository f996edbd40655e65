use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, KeyValue, PageIndexPolicy, ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataReader,
};
use parquet::file::statistics::Statistics;
use parquet::file::writer::SerializedFileWriter;

use crate::backfill::BackfillError;
use crate::output::{WriteError, parquet_error, parquet_writer, write_error};
use crate::quarantine::Quarantined;
use crate::unfinished::{SavedFile, Unfinished};

/// Encodes row groups, on any thread.
pub(crate) struct RowGroupEncoder {
    path: PathBuf,
    schema: SchemaRef,
    columns: ArrowRowGroupWriterFactory,
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

/// The key of what a saved row group says of its rows.
const QUARANTINED: &str = "unskew.quarantined";

impl RowGroupEncoder {
    pub fn new(path: PathBuf, schema: SchemaRef, columns: ArrowRowGroupWriterFactory) -> Self {
        Self { path, schema, columns }
    }

    /// Encodes and compresses `rows` rows as row group `index`.
    pub fn encode(
        &self,
        index: usize,
        rows: usize,
        columns: &[ArrayRef],
        quarantined: Vec<Quarantined>,
    ) -> Result<RowGroup, WriteError> {
        let encode = || -> parquet::errors::Result<Vec<ArrowColumnChunk>> {
            let mut writers = self.columns.create_column_writers(index)?.into_iter();
            let mut chunks = Vec::new();
            for (field, array) in self.schema.fields().iter().zip(columns) {
                for leaf in compute_leaves(field, array)? {
                    let mut writer = writers
                        .next()
                        .ok_or_else(|| ParquetError::General("too few columns".to_owned()))?;
                    writer.write(&leaf)?;
                    chunks.push(writer.close()?);
                }
            }
            Ok(chunks)
        };
        Ok(RowGroup::Held {
            columns: encode().map_err(|error| parquet_error(&self.path, &error))?,
            rows,
            quarantined,
        })
    }

    /// Saves row group `index` as a file of its own.
    pub fn save(&self, unfinished: &Unfinished, index: usize, group: RowGroup) -> Result<RowGroup, BackfillError> {
        let path = unfinished.save(&saved_name(index), |out| {
            let write = || -> parquet::errors::Result<()> {
                let (mut writer, _) = parquet_writer::<&mut SavedFile>(out, &self.schema)?;
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
