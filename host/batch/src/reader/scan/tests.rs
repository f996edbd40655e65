use std::fs;

use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use super::*;

/// A file of rows `first..first + rows`: `id` is the row, `name` its text.
fn write(path: &Path, first: i64, rows: i64, row_group: usize) {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(first..first + rows));
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(
        (first..first + rows).map(|row| row.to_string()),
    ));
    let batch = RecordBatch::try_from_iter([("id", ids), ("name", names)]).unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(row_group))
        .set_data_page_row_count_limit(7)
        .set_write_batch_size(3)
        .build();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn wanted(name: &str, column_type: ColumnType, required: bool) -> Wanted {
    Wanted {
        name: name.to_owned(),
        column_type,
        required,
        nullable: true,
    }
}

/// The ids of all morsels, one after the other.
fn ids(scan: &Scan, morsels: &[Morsel]) -> Vec<i64> {
    let read = |morsel: &Morsel| {
        let piece = scan.read(morsel, &[0], false).unwrap();
        let ids = piece.columns[0].as_primitive::<Int64Type>().values().to_vec();
        assert_eq!(ids.len(), morsel.rows);
        assert_eq!(ids.first().copied(), Some(morsel.first_row as i64));
        ids
    };
    morsels.iter().flat_map(read).collect()
}

#[test]
fn morsels_are_all_rows_in_order() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("a.parquet"), 0, 50, 20);
    write(&folder.path().join("b.parquet"), 50, 1, 20);
    write(&folder.path().join("c.parquet"), 51, 33, 11);
    let columns = [wanted("id", ColumnType::I64, true)];
    let request = Request {
        columns: &columns,
        carry: None,
    };
    let scan = Scan::open(folder.path(), &request).unwrap();
    assert_eq!(scan.row_count(), 84);
    for (max_rows, align) in [(1, u64::MAX), (6, u64::MAX), (100, u64::MAX), (100, 16), (6, 16)] {
        let morsels = scan.morsels(max_rows, align);
        assert!(ids(&scan, &morsels).into_iter().eq(0..84));
        for morsel in &morsels {
            assert!((1..=max_rows).contains(&morsel.rows));
            let last_row = morsel.first_row + morsel.rows as u64 - 1;
            assert_eq!(morsel.first_row / align, last_row / align);
        }
    }
    let stop = AtomicBool::new(false);
    let files = scan.digest_files(&stop).unwrap();
    assert_eq!(files.len(), 3);
    assert_eq!(
        files[0].digest,
        Digest::of(&fs::read(folder.path().join("a.parquet")).unwrap())
    );
    stop.store(true, Ordering::Relaxed);
    assert!(scan.digest_files(&stop).unwrap().is_empty());
}

#[test]
fn text_and_parquet_are_read_alike() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("a.parquet"), 0, 3, 2);
    fs::write(folder.path().join("a.csv"), "id,name\n0,0\n1,1\n2,2\n").unwrap();
    let columns = [
        wanted("absent", ColumnType::F64, false),
        wanted("id", ColumnType::I64, true),
    ];
    let no_types = std::collections::BTreeMap::new();
    let request = Request {
        columns: &columns,
        carry: Some(&no_types),
    };
    for name in ["a.parquet", "a.csv"] {
        let scan = Scan::open(&folder.path().join(name), &request).unwrap();
        assert_eq!(scan.carried()[0].name(), "name");
        for morsel in scan.morsels(1, u64::MAX) {
            let piece = scan.read(&morsel, &[0, 1], true).unwrap();
            assert_eq!(piece.columns[0].null_count(), 1);
            assert_eq!(
                piece.columns[1].as_primitive::<Int64Type>().value(0),
                morsel.first_row as i64
            );
            assert_eq!(piece.carried.len(), 1);
        }
    }
}

#[test]
fn a_file_that_changed_has_no_digest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    write(&path, 0, 3, 2);
    let columns = [wanted("id", ColumnType::I64, true)];
    let request = Request {
        columns: &columns,
        carry: None,
    };
    let scan = Scan::open(&path, &request).unwrap();
    write(&path, 0, 300, 20);
    let error = scan.digest_files(&AtomicBool::new(false)).unwrap_err();
    assert!(matches!(error, ReadError::Open { .. }), "{error}");
}

#[test]
fn the_columns_of_a_directory_are_of_one_type() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("a.parquet"), 0, 3, 2);
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let batch = RecordBatch::try_from_iter([("id", Arc::clone(&ids)), ("name", ids)]).unwrap();
    let file = File::create(folder.path().join("b.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let columns = [wanted("id", ColumnType::I64, true)];
    let no_types = std::collections::BTreeMap::new();
    let request = Request {
        columns: &columns,
        carry: Some(&no_types),
    };
    let message = Scan::open(folder.path(), &request).err().unwrap().to_string();
    assert!(
        message.ends_with("column `name`: it is not of one type throughout: Utf8 in the first file, Int64 here"),
        "{message}"
    );
}
