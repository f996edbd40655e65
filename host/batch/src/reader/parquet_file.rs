use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_empty_array};
use arrow::datatypes::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::carry::{CarriedArrays, is_carried};
use super::{Growing, Place, ReadError, Request, SourceFile, Wanted, locate};
use crate::array::{CastError, append_array, array_to_column, column_to_array, text_bytes};

const BATCH_ROWS: usize = 8_192;
/// Where a value may be long: a batch of them is in memory at once.
const WIDE_BATCH_ROWS: usize = 1_024;

/// A Parquet file.
pub(super) struct Rows {
    path: PathBuf,
    batches: ParquetRecordBatchReader,
    /// Where the columns of the request are, and those to carry.
    wanted: Vec<Option<At>>,
    others: Vec<At>,
    rows: usize,
}

/// Where the values of a column are.
enum At {
    /// In the column of a batch.
    Batch(usize),
    /// In the name of a directory: the same in all rows.
    Partition(ArrayRef),
}

impl Rows {
    pub(super) fn open(
        source: &SourceFile,
        partition_types: &[DataType],
        file: File,
        request: &Request<'_>,
        carried: &mut CarriedArrays,
    ) -> Result<Self, ReadError> {
        let path = &source.path;
        let builder = guard(path, || ParquetRecordBatchReaderBuilder::try_new(file))?;
        let schema = Arc::clone(builder.schema());
        let names = source.all_names(schema.fields().iter().map(|field| field.name().as_str()));
        let in_file = schema.fields().len();
        let wanted = locate(path, &names, request.columns)?;
        let others: Vec<usize> = (0..names.len())
            .filter(|index| is_carried(names[*index], request))
            .collect();
        let other_names: Vec<&str> = others.iter().map(|index| names[*index]).collect();
        let is_first = carried.begin_file(path, &other_names)?;
        if is_first {
            for (position, index) in others.iter().enumerate() {
                let of_partition = index.checked_sub(in_file).map(|index| &partition_types[index]);
                let data_type = of_partition.unwrap_or_else(|| schema.field(*index).data_type());
                let empty = new_empty_array(data_type);
                push_carried(carried, path, 0, position, empty, request)?;
            }
        }

        // The projected columns come in the order of the file.
        let mut projected: Vec<usize> = wanted.iter().flatten().chain(&others).copied().collect();
        projected.retain(|index| *index < in_file);
        projected.sort_unstable();
        projected.dedup();
        let is_wide = projected
            .iter()
            .any(|index| !is_narrow(schema.field(*index).data_type()));
        let batch_rows = if is_wide { WIDE_BATCH_ROWS } else { BATCH_ROWS };
        let position = |index: usize| At::Batch(projected.partition_point(|projected| *projected < index));
        let wanted_at = |(wanted, index): (&Wanted, Option<usize>)| {
            let at = |index: usize| match index.checked_sub(in_file) {
                None => Ok(position(index)),
                Some(index) => {
                    let value = source.partitions[index].column(path, wanted)?;
                    Ok(At::Partition(column_to_array(&value, batch_rows)))
                }
            };
            index.map(at).transpose()
        };
        let other_at = |index: usize| match index.checked_sub(in_file) {
            None => position(index),
            Some(index) => At::Partition(source.partitions[index].array(&partition_types[index], batch_rows)),
        };
        let mask = ProjectionMask::roots(builder.parquet_schema(), projected.iter().copied());
        Ok(Self {
            path: path.to_owned(),
            batches: guard(path, || {
                builder.with_batch_size(batch_rows).with_projection(mask).build()
            })?,
            wanted: request
                .columns
                .iter()
                .zip(wanted)
                .map(wanted_at)
                .collect::<Result<_, _>>()?,
            others: others.into_iter().map(other_at).collect(),
            rows: 0,
        })
    }

    /// Appends the next rows; whether there were any.
    pub(super) fn next(
        &mut self,
        columns: &mut [Growing],
        carried: &mut CarriedArrays,
        request: &Request<'_>,
    ) -> Result<bool, ReadError> {
        let (path, rows) = (&self.path, self.rows);
        let Some(batch) = guard(path, || self.batches.next().transpose())? else {
            return Ok(false);
        };
        for (column, index) in columns.iter_mut().zip(&self.wanted) {
            match index {
                Some(at) => append(path, rows, &at.array(&batch), column)?,
                None => (0..batch.num_rows()).try_for_each(|row| column.push_null(path, place(rows + row)))?,
            }
        }
        for (position, at) in self.others.iter().enumerate() {
            push_carried(carried, path, rows, position, at.array(&batch), request)?;
        }
        self.rows += batch.num_rows();
        Ok(true)
    }
}

impl At {
    /// The values of the rows of a batch.
    fn array(&self, batch: &RecordBatch) -> ArrayRef {
        match self {
            Self::Batch(index) => Arc::clone(batch.column(*index)),
            Self::Partition(value) => value.slice(0, batch.num_rows()),
        }
    }
}

/// Whether all values of a type have the same few bytes.
fn is_narrow(data_type: &DataType) -> bool {
    data_type.primitive_width().is_some() || *data_type == DataType::Boolean
}

/// Carries an array whose first row is the file's row `first_row`, as the type that was declared, if one was.
fn push_carried(
    carried: &mut CarriedArrays,
    path: &Path,
    first_row: usize,
    position: usize,
    array: ArrayRef,
    request: &Request<'_>,
) -> Result<(), ReadError> {
    let name = carried.name(position);
    let array = match request.carry.and_then(|types| types.get(name)) {
        None => array,
        Some(column_type) => {
            let column = array_to_column(&array, *column_type)
                .map_err(|error| cast_error(path, |row| first_row + row, name, error))?;
            column_to_array(&column, array.len())
        }
    };
    carried.push(position, array);
    Ok(())
}

/// Appends an array whose first row is the file's row `first_row`, counted from 0.
fn append(path: &Path, first_row: usize, array: &ArrayRef, column: &mut Growing) -> Result<(), ReadError> {
    column.reserve(path, array.len(), text_bytes(array))?;
    let (rows, nulls) = (column.column.rows(), column.column.null_count());
    append_array(array, &mut column.column)
        .map_err(|error| cast_error(path, |row| first_row + row, &column.wanted.name, error))?;
    if !column.wanted.nullable && column.column.null_count() > nulls {
        let view = column.column.view();
        let is_missing = |row: &usize| !view.is_present(rows + row);
        let row = (0..array.len()).find(is_missing).unwrap_or(0);
        return Err(column.missing_value(path, place(first_row + row)));
    }
    Ok(())
}

pub(super) fn place(row: usize) -> Place {
    Place::Row(row as u64 + 1)
}

/// `row_in_file` gives the number in the file of a row of the array.
pub(super) fn cast_error(
    path: &Path,
    row_in_file: impl Fn(usize) -> usize,
    column: &str,
    error: CastError,
) -> ReadError {
    let (path, column) = (path.to_owned(), column.to_owned());
    match error {
        CastError::Value { row, value, to, .. } => ReadError::Value {
            path,
            place: place(row_in_file(row)),
            column,
            expected: to,
            value: super::error::shorten(value),
        },
        error => ReadError::ColumnType {
            path,
            column,
            reason: error.to_string(),
        },
    }
}

/// Runs a step of the reader, which answers some damaged files with a panic.
pub(crate) fn guard<T, E: ToString>(path: &Path, step: impl FnOnce() -> Result<T, E>) -> Result<T, ReadError> {
    // What a panic leaves behind is dropped with the error.
    let outcome = catch_unwind(AssertUnwindSafe(step));
    let reason = match outcome {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the reader gave up on it".to_owned(),
    };
    Err(ReadError::Malformed {
        path: path.to_owned(),
        place: None,
        reason: format!("cannot be read as Parquet, is it complete? {reason}"),
    })
}
