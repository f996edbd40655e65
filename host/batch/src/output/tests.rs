use std::fs;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use unskew_frame::{Column, ColumnType};

use super::*;
use crate::array::{array_to_column, column_to_array, status_to_array};

pub(crate) type OutputColumn = (String, ArrayRef);

/// Writes a file of one row group.
pub(crate) fn write_columns(
    path: &Path,
    rows: usize,
    columns: &[OutputColumn],
    options: OutputOptions,
) -> Result<OutputFile, WriteError> {
    let types: Vec<_> = columns
        .iter()
        .map(|(name, array)| (name.clone(), array.data_type().clone()))
        .collect();
    let arrays: Vec<ArrayRef> = columns.iter().map(|(_, array)| Arc::clone(array)).collect();
    check_free(&Storage::default(), path, options)?;
    let failed = |source| io_error(path, source);
    let temporary = tempfile::NamedTempFile::new_in(directory_of(path)).map_err(failed)?;
    let file = temporary.reopen().map_err(failed)?;
    let (mut writer, encoder) = TableWriter::create(path, file, &types)?;
    let mut group = encoder.begin(0);
    group.push(rows, &arrays, Vec::new())?;
    writer.append(group.finish()?)?;
    let written = writer.finish()?;
    let (_, temporary) = temporary.keep().map_err(|error| failed(error.error))?;
    commit(&Storage::default(), &temporary, path, options)?;
    Ok(OutputFile {
        path: path.to_owned(),
        rows: written.rows,
        bytes: written.bytes,
        digest: written.digest,
    })
}

fn columns() -> Vec<OutputColumn> {
    let mut vectors = Column::new(ColumnType::Vector(2));
    vectors.push_vector(&[0.5, -0.0]);
    vectors.push_null();
    let mut times = Column::new(ColumnType::Timestamp);
    times.push_timestamp(i64::MIN);
    times.push_timestamp(i64::MAX);
    let statuses = [unskew_snapshot::Status::Present, unskew_snapshot::Status::NotFound];
    vec![
        (
            "click".to_owned(),
            Arc::new(Int64Array::from(vec![Some(1), None])) as ArrayRef,
        ),
        ("vectors".to_owned(), column_to_array(&vectors, 2)),
        ("times".to_owned(), column_to_array(&times, 2)),
        ("status".to_owned(), status_to_array(&statuses)),
    ]
}

fn files(folder: &Path) -> Vec<String> {
    let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    fs::read_dir(folder).unwrap().map(name).collect()
}

#[test]
fn what_is_written_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.parquet");
    let written = write_columns(&path, 2, &columns(), OutputOptions::default()).unwrap();
    assert_eq!(written.rows, 2);
    let bytes = fs::read(&path).unwrap();
    assert_eq!(written.bytes, bytes.len() as u64);
    assert_eq!(written.digest, Digest::of(&bytes));
    assert_eq!(files(folder.path()), ["out.parquet"]);

    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap();
    let metadata = builder.metadata().file_metadata();
    assert_eq!(metadata.created_by(), Some(CREATED_BY));
    let batch = builder.build().unwrap().next().unwrap().unwrap();
    for (name, array) in columns() {
        assert_eq!(batch.column_by_name(&name), Some(&array), "{name}");
    }
    let vectors = batch.column_by_name("vectors").unwrap();
    let column = array_to_column(vectors, ColumnType::Vector(2)).unwrap();
    assert_eq!(column.view().vector(0)[1].to_bits(), (-0.0_f32).to_bits());
}

#[test]
fn the_same_columns_are_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str| {
        let path = folder.path().join(name);
        write_columns(&path, 2, &columns(), OutputOptions::default())
            .unwrap()
            .digest
    };
    assert_eq!(write("a.parquet"), write("b.parquet"));
}

#[test]
fn a_file_is_replaced_only_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.parquet");
    fs::write(&path, "mine").unwrap();
    let error = write_columns(&path, 2, &columns(), OutputOptions::default()).unwrap_err();
    assert!(matches!(error, WriteError::Exists { .. }));
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    assert_eq!(files(folder.path()), ["out.parquet"]);
    write_columns(&path, 2, &columns(), OutputOptions { overwrite: true }).unwrap();
    assert!(fs::read(&path).unwrap().starts_with(b"PAR1"));
}

#[test]
fn columns_that_make_no_file_leave_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.parquet");
    let column = |name: &str| (name.to_owned(), Arc::new(StringArray::from(vec!["a"])) as ArrayRef);
    let message = |columns: &[OutputColumn], rows| {
        let error = write_columns(&path, rows, columns, OutputOptions::default()).unwrap_err();
        error.to_string().replace(&format!("{}/", folder.path().display()), "")
    };
    assert_eq!(
        message(&[column("a"), column("b"), column("a")], 1),
        "cannot write out.parquet: two columns are named `a`: rename one"
    );
    assert_eq!(
        message(&[column("")], 1),
        "cannot write out.parquet: a column has no name"
    );
    assert!(files(folder.path()).is_empty());

    let nowhere = folder.path().join("gone/out.parquet");
    let error = write_columns(&nowhere, 1, &[column("a")], OutputOptions::default()).unwrap_err();
    assert!(matches!(error, WriteError::Io { .. }));
}

#[test]
fn a_file_without_rows_has_its_columns() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.parquet");
    let columns = [(
        "a".to_owned(),
        Arc::new(Int64Array::from(Vec::<i64>::new())) as ArrayRef,
    )];
    write_columns(&path, 0, &columns, OutputOptions::default()).unwrap();
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap();
    assert_eq!(builder.schema().field(0).name(), "a");
    assert_eq!(builder.metadata().file_metadata().num_rows(), 0);
}
