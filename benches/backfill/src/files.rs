use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::arrow::arrow_writer::{ArrowColumnChunk, compute_leaves};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

/// The rows of a row group, of inputs and outputs.
pub const GROUP_ROWS: usize = 1 << 17;

/// An error of any thread.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Of inputs.
pub fn properties() -> Result<WriterProperties, parquet::errors::ParquetError> {
    Ok(builder()?.build())
}

/// Of outputs: as unskew writes them, floats without a dictionary and at level 1.
fn output_properties(schema: &Schema) -> Result<WriterProperties, parquet::errors::ParquetError> {
    let floats = schema.fields().iter().filter(|field| field.data_type().is_floating());
    let level = Compression::ZSTD(ZstdLevel::try_new(1)?);
    let as_written = |builder: WriterPropertiesBuilder, field: &FieldRef| {
        let column = ColumnPath::from(field.name().as_str());
        builder
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_compression(column, level)
    };
    Ok(floats.fold(builder()?, as_written).build())
}

fn builder() -> Result<WriterPropertiesBuilder, parquet::errors::ParquetError> {
    Ok(WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::Chunk))
}

/// The floor: reads every value of both files, then writes `answer`, the row groups of a training set that are in memory already,
/// all on `threads` threads, a row group at a time. It joins nothing.
pub fn read_and_write(
    spine: &Path,
    history: &Path,
    answer: &[RecordBatch],
    out: &Path,
    threads: usize,
) -> Result<(), Failure> {
    read(spine, threads, 0)?;
    read(history, threads, 0)?;
    write(out, answer, threads)
}

/// Reads all row groups and keeps the first `kept`.
pub fn read(path: &Path, threads: usize, kept: usize) -> Result<Vec<RecordBatch>, Failure> {
    let metadata = ArrowReaderMetadata::load(&File::open(path)?, ArrowReaderOptions::new())?;
    let groups = metadata.metadata().num_row_groups();
    let batches: Mutex<Vec<(usize, RecordBatch)>> = Mutex::new(Vec::new());
    on_threads(threads, groups, |group| {
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(File::open(path)?, metadata.clone())
            .with_row_groups(vec![group])
            .with_batch_size(GROUP_ROWS)
            .build()?;
        for batch in reader {
            let batch = batch?;
            if group < kept {
                lock(&batches).push((group, batch));
            }
        }
        Ok(())
    })?;
    let mut batches = batches.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    batches.sort_by_key(|(group, _)| *group);
    Ok(batches.into_iter().map(|(_, batch)| batch).collect())
}

fn write(path: &Path, groups: &[RecordBatch], threads: usize) -> Result<(), Failure> {
    let Some(first) = groups.first() else {
        return Ok(());
    };
    let schema = first.schema();
    let writer = ArrowWriter::try_new(File::create(path)?, schema.clone(), Some(output_properties(&schema)?))?;
    let (mut writer, factory) = writer.into_serialized_writer()?;
    let done: Mutex<Vec<(usize, Vec<ArrowColumnChunk>)>> = Mutex::new(Vec::new());
    on_threads(threads, groups.len(), |group| {
        let mut chunks = Vec::new();
        let mut columns = factory.create_column_writers(group)?.into_iter();
        for (field, array) in schema.fields().iter().zip(groups[group].columns()) {
            for leaf in compute_leaves(field, array)? {
                let mut column = columns.next().ok_or("a column has no writer")?;
                column.write(&leaf)?;
                chunks.push(column.close()?);
            }
        }
        lock(&done).push((group, chunks));
        Ok(())
    })?;
    let mut done = done.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    done.sort_by_key(|(group, _)| *group);
    for (_, chunks) in done {
        let mut group = writer.next_row_group()?;
        for chunk in chunks {
            chunk.append_to_row_group(&mut group)?;
        }
        group.close()?;
    }
    let file = writer.into_inner()?;
    file.sync_all()?;
    Ok(())
}

fn on_threads(threads: usize, tasks: usize, task: impl Fn(usize) -> Result<(), Failure> + Sync) -> Result<(), Failure> {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if tasks <= index {
                        break;
                    }
                    if let Err(error) = task(index) {
                        *lock(&failed) = Some(error);
                        break;
                    }
                }
            });
        }
    });
    failed
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
        .map_or(Ok(()), Err)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
