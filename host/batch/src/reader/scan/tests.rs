use std::fs;

use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use super::*;

mod objects;

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
    let scan = Scan::open(&Storage::default(), folder.path(), &request).unwrap();
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
        let scan = Scan::open(&Storage::default(), &folder.path().join(name), &request).unwrap();
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
    let scan = Scan::open(&Storage::default(), &path, &request).unwrap();
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
    let message = Scan::open(&Storage::default(), folder.path(), &request)
        .err()
        .unwrap()
        .to_string();
    assert!(
        message.ends_with("column `name`: it is not of one type throughout: Utf8 in the first file, Int64 here"),
        "{message}"
    );
}

/// Four files of days, in directories by date: `t` runs through the day in steps of an hour, `id` from 0 over all files.
fn write_days(folder: &Path, row_group: usize) {
    const DAY: i64 = 86_400_000_000;
    for day in 0..4_i64 {
        let directory = folder.join(format!("date=2026-01-0{}", day + 1));
        fs::create_dir_all(&directory).unwrap();
        let start = 1_767_225_600_000_000 + day * DAY;
        let times: Vec<i64> = (0..24).map(|hour| start + hour * DAY / 24).collect();
        let batch = RecordBatch::try_from_iter([
            (
                "id",
                Arc::new(Int64Array::from_iter_values(day * 24..day * 24 + 24)) as ArrayRef,
            ),
            ("t", Arc::new(arrow::array::TimestampMicrosecondArray::from(times))),
            // In no order, so that statistics tell nothing.
            (
                "odd",
                Arc::new(Int64Array::from_iter_values((0..24).map(|hour| hour % 2))),
            ),
        ])
        .unwrap();
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(row_group))
            .build();
        let file = File::create(directory.join("part.parquet")).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }
}

/// What a filter takes of the days: the ids, and how much was read.
#[track_caller]
fn check_filter(filter: &str, expected: &[i64], read: &str) {
    let folder = tempfile::tempdir().unwrap();
    write_days(folder.path(), 10);
    let columns = [
        wanted("id", ColumnType::I64, true),
        wanted("date", ColumnType::Timestamp, true),
    ];
    let none = std::collections::BTreeMap::new();
    let request = Request {
        columns: &columns,
        carry: Some(&none),
    };
    let scan = Scan::filtered(&Storage::default(), folder.path(), &request, &filter.parse().unwrap()).unwrap();
    let carried: Vec<&str> = scan.carried().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(carried, ["t", "odd"]);
    for (max_rows, align) in [(100, u64::MAX), (3, u64::MAX), (4, 5), (1, 1)] {
        let mut found = Vec::new();
        let mut first_row = 0;
        for morsel in scan.morsels(max_rows, align) {
            assert_eq!(morsel.first_row, first_row);
            first_row += morsel.rows as u64;
            let piece = scan.read(&morsel, &[0, 1], true).unwrap();
            let ids = piece.columns[0].as_primitive::<Int64Type>().values();
            assert_eq!(ids.len(), morsel.rows);
            assert_eq!(piece.carried[1].len(), morsel.rows);
            let dates = piece.columns[1].as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
            for (row, id) in ids.iter().enumerate() {
                assert_eq!(dates.value(row), 1_767_225_600_000_000 + id / 24 * 86_400_000_000);
                assert_eq!(piece.carried[1].as_primitive::<Int64Type>().value(row), id % 24 % 2);
            }
            found.extend_from_slice(ids);
        }
        assert_eq!(found, expected, "{filter}");
        assert_eq!(scan.row_count(), expected.len() as u64);
    }
    let pruning = scan.pruning();
    let shown = format!(
        "{}/{} files, {}/{} groups",
        pruning.files_read, pruning.files, pruning.row_groups_read, pruning.row_groups
    );
    assert_eq!(shown, read, "{filter}");
    let digested = scan.digest_files(&AtomicBool::new(false)).unwrap();
    assert_eq!(digested.len() as u64, pruning.files_read);
}

#[test]
fn a_filter_reads_what_it_must() {
    let range = |ids: std::ops::Range<i64>| ids.collect::<Vec<i64>>();
    check_filter("date >= 2026-01-03", &range(48..96), "2/4 files, 6/6 groups");
    check_filter(
        "date = 2026-01-02 and t < 2026-01-02T10:00:00Z",
        &range(24..34),
        "1/4 files, 1/3 groups",
    );
    check_filter(
        "t >= 2026-01-02T12:00:00Z and t < 2026-01-03T01:00:00Z",
        &range(36..49),
        "2/4 files, 3/12 groups",
    );
    let odd: Vec<i64> = (0..24).filter(|id| id % 2 == 1).collect();
    check_filter("odd = 1 and date < 2026-01-02", &odd, "1/4 files, 3/3 groups");
    check_filter("date > 2027-01-01", &[], "0/4 files, 0/3 groups");
    check_filter("odd = 2", &[], "0/4 files, 0/12 groups");
    check_filter("id >= 0", &range(0..96), "4/4 files, 12/12 groups");
}

#[test]
fn a_filter_on_an_unknown_column_says_which_there_are() {
    let folder = tempfile::tempdir().unwrap();
    write_days(folder.path(), 10);
    let request = Request {
        columns: &[],
        carry: None,
    };
    let open =
        |filter: &str| match Scan::filtered(&Storage::default(), folder.path(), &request, &filter.parse().unwrap()) {
            Ok(_) => "no error".to_owned(),
            Err(error) => error.to_string(),
        };
    let error = open("dat > 2026-01-01");
    assert!(
        error.contains("no column `dat`, did you mean `date`? (the file has id, t, odd, date)"),
        "{error}"
    );
    let error = open("date > 5.5");
    assert!(error.contains("column `date`: `5.5` is no timestamp"), "{error}");
}

#[test]
fn an_error_in_filtered_rows_names_the_row_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let batch = RecordBatch::try_from_iter([
        ("day", Arc::new(Int64Array::from(vec![1, 2, 1, 2, 1, 2])) as ArrayRef),
        (
            "n",
            Arc::new(arrow::array::UInt64Array::from(vec![0, 0, 0, 0, 0, u64::MAX])),
        ),
    ])
    .unwrap();
    let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let columns = [wanted("n", ColumnType::I64, true)];
    let request = Request {
        columns: &columns,
        carry: None,
    };
    let scan = Scan::filtered(&Storage::default(), &path, &request, &"day = 2".parse().unwrap()).unwrap();
    assert_eq!(scan.row_count(), 3);
    let morsel = scan.morsels(10, u64::MAX)[0];
    let error = scan.read(&morsel, &[0], false).err().unwrap().to_string();
    assert!(error.contains("row 6, column `n`"), "{error}");
}
