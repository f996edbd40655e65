use std::collections::BTreeMap;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, new_empty_array};
use arrow::compute::concat;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use unskew_frame::ColumnType;

use super::carry::is_carried;
use super::{Growing, Place, Read, ReadError, Request, locate, open};
use crate::array::{CastError, append_array, array_to_column, column_to_array, text_bytes};

const BATCH_ROWS: usize = 8_192;

/// Reads the files one after the other.
pub(super) fn read(paths: &[PathBuf], request: &Request<'_>) -> Result<Read, ReadError> {
    let mut columns = Growing::all(request.columns);
    let mut carried = CarriedArrays::default();
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let (file, input) = open(path)?;
        read_file(path, file, request, &mut columns, &mut carried)?;
        files.push(input);
    }
    Ok(Read {
        columns: columns.into_iter().map(|column| column.column).collect(),
        carried: carried.into_arrays(&paths[0])?,
        files,
    })
}

/// Appends the rows of a file.
fn read_file(
    path: &Path,
    file: File,
    request: &Request<'_>,
    columns: &mut [Growing],
    carried: &mut CarriedArrays,
) -> Result<(), ReadError> {
    let builder = guard(path, || ParquetRecordBatchReaderBuilder::try_new(file))?;
    let schema = Arc::clone(builder.schema());
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    let wanted = locate(path, &names, request.columns)?;
    let others: Vec<usize> = (0..names.len())
        .filter(|index| is_carried(names[*index], request))
        .collect();
    let other_names: Vec<&str> = others.iter().map(|index| names[*index]).collect();
    let is_first = carried.begin_file(path, &other_names)?;
    if is_first {
        for (position, index) in others.iter().enumerate() {
            let empty = new_empty_array(schema.field(*index).data_type());
            carried.push(path, 0, position, empty, request.carry)?;
        }
    }

    // The projected columns come in the order of the file.
    let mut projected: Vec<usize> = wanted.iter().flatten().chain(&others).copied().collect();
    projected.sort_unstable();
    projected.dedup();
    let array_of = |batch: &RecordBatch, index: usize| {
        let position = projected.partition_point(|projected| *projected < index);
        Arc::clone(batch.column(position))
    };
    let mask = ProjectionMask::roots(builder.parquet_schema(), projected.iter().copied());
    let mut batches = guard(path, || {
        builder.with_batch_size(BATCH_ROWS).with_projection(mask).build()
    })?;
    let mut rows = 0;
    while let Some(batch) = next_batch(path, &mut batches)? {
        for (column, index) in columns.iter_mut().zip(&wanted) {
            match index {
                Some(index) => append(path, rows, &array_of(&batch, *index), column)?,
                None => (0..batch.num_rows()).try_for_each(|row| column.push_null(path, place(rows + row)))?,
            }
        }
        for (position, index) in others.iter().enumerate() {
            let array = array_of(&batch, *index);
            carried.push(path, rows, position, array, request.carry)?;
        }
        rows += batch.num_rows();
    }
    Ok(())
}

/// Appends an array whose first row is the file's row `first_row`, counted from 0.
fn append(path: &Path, first_row: usize, array: &ArrayRef, column: &mut Growing) -> Result<(), ReadError> {
    column.reserve(path, array.len(), text_bytes(array))?;
    let (rows, nulls) = (column.column.rows(), column.column.null_count());
    append_array(array, &mut column.column).map_err(|error| cast_error(path, first_row, &column.wanted.name, error))?;
    if !column.wanted.nullable && column.column.null_count() > nulls {
        let view = column.column.view();
        let is_missing = |row: &usize| !view.is_present(rows + row);
        let row = (0..array.len()).find(is_missing).unwrap_or(0);
        return Err(column.missing_value(path, place(first_row + row)));
    }
    Ok(())
}

fn place(row: usize) -> Place {
    Place::Row(row as u64 + 1)
}

fn cast_error(path: &Path, first_row: usize, column: &str, error: CastError) -> ReadError {
    let (path, column) = (path.to_owned(), column.to_owned());
    match error {
        CastError::Value { row, value, to, .. } => ReadError::Value {
            path,
            place: place(first_row + row),
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

fn next_batch(path: &Path, batches: &mut ParquetRecordBatchReader) -> Result<Option<RecordBatch>, ReadError> {
    guard(path, || batches.next().transpose())
}

/// Runs a step of the reader, which answers some damaged files with a panic.
fn guard<T, E: ToString>(path: &Path, step: impl FnOnce() -> Result<T, E>) -> Result<T, ReadError> {
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

/// The columns that were not asked for, by batches.
#[derive(Default)]
struct CarriedArrays {
    names: Option<Vec<String>>,
    batches: Vec<Vec<ArrayRef>>,
}

impl CarriedArrays {
    /// Every file has the columns of the first. Whether this is the first.
    fn begin_file(&mut self, path: &Path, names: &[&str]) -> Result<bool, ReadError> {
        if let Some(first) = &self.names {
            if let Some(lacking) = first.iter().find(|name| !names.contains(&name.as_str())) {
                return Err(ReadError::MissingColumn {
                    path: path.to_owned(),
                    column: lacking.clone(),
                    available: names.iter().map(|&name| name.to_owned()).collect(),
                });
            }
            if first != names {
                return Err(ReadError::Malformed {
                    path: path.to_owned(),
                    place: None,
                    reason: format!(
                        "the columns are {}, those of the first file {}: write all files with the same columns",
                        names.join(", "),
                        first.join(", ")
                    ),
                });
            }
            return Ok(false);
        }
        if let Some(twice) = (1..names.len()).find(|index| names[..*index].contains(&names[*index])) {
            return Err(ReadError::DuplicateColumn {
                path: path.to_owned(),
                column: names[twice].to_owned(),
            });
        }
        self.batches = vec![Vec::new(); names.len()];
        self.names = Some(names.iter().map(|&name| name.to_owned()).collect());
        Ok(true)
    }

    fn push(
        &mut self,
        path: &Path,
        first_row: usize,
        position: usize,
        array: ArrayRef,
        types: Option<&BTreeMap<String, ColumnType>>,
    ) -> Result<(), ReadError> {
        let name = &self.names.as_deref().unwrap_or_default()[position];
        let array = match types.and_then(|types| types.get(name)) {
            None => array,
            Some(column_type) => {
                let column =
                    array_to_column(&array, *column_type).map_err(|error| cast_error(path, first_row, name, error))?;
                column_to_array(&column, array.len())
            }
        };
        self.batches[position].push(array);
        Ok(())
    }

    fn into_arrays(self, path: &Path) -> Result<Vec<(String, ArrayRef)>, ReadError> {
        let mut arrays = Vec::new();
        for (name, batches) in self.names.unwrap_or_default().into_iter().zip(self.batches) {
            let batches: Vec<&dyn Array> = batches.iter().map(|batch| &**batch).collect();
            let array = concat(&batches).map_err(|error| ReadError::ColumnType {
                path: path.to_owned(),
                column: name.clone(),
                reason: format!("it is not of one type throughout: {error}"),
            })?;
            arrays.push((name, array));
        }
        Ok(arrays)
    }
}
