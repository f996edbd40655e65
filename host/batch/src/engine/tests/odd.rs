//! Inputs of every shape, through one check.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int64Array, LargeStringArray, NullArray, RecordBatch,
    StringArray, StringViewArray, TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
    TimestampSecondArray,
};
use arrow::datatypes::Int32Type;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::backfill::{BackfillError, BackfillOptions, Resources, backfill};
use crate::output::OutputOptions;
use crate::project::Project;

type Columns = Vec<(String, ArrayRef)>;

fn columns<const N: usize>(columns: [(&str, ArrayRef); N]) -> Columns {
    columns.map(|(name, array)| (name.to_owned(), array)).into()
}

fn ints(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

/// Seconds.
fn times(values: &[i64]) -> ArrayRef {
    Arc::new(TimestampSecondArray::from(values.to_vec()))
}

fn write(path: &Path, columns: &Columns) {
    let columns = columns.iter().map(|(name, array)| (name, array.clone(), true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// Two files each, the second ones without rows, in directories.
fn folder(spine: &Columns, history: &Columns) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, columns) in [("spine", spine), ("history", history)] {
        let directory = folder.path().join(name);
        fs::create_dir(&directory).unwrap();
        write(&directory.join("a.parquet"), columns);
        let empty = columns.iter().map(|(name, array)| (name.clone(), array.slice(0, 0)));
        write(&directory.join("b.parquet"), &empty.collect());
    }
    folder
}

/// Backfills `features` (name and type) in little and in much memory and gives the training set.
fn run(spine: &Columns, history: &Columns, features: &[(&str, &str)]) -> Result<RecordBatch, BackfillError> {
    let folder = folder(spine, history);
    let typed = |(name, of): &(&str, &str)| format!("{{ name = \"{name}\", type = \"{of}\" }}");
    let named = |(name, _): &(&str, &str)| format!("\"view:{name}\"");
    let project = format!(
        r#"[project]
name = "odd"
[[entity]]
name = "user"
keys = [{{ name = "user", type = "i64" }}]
[[source]]
name = "history"
path = "history"
event_time = "t"
[[view]]
name = "view"
entity = "user"
source = "history"
features = [{}]
[[service]]
name = "model"
request = [{{ name = "user", type = "i64" }}]
features = [{}]
"#,
        features.iter().map(typed).collect::<Vec<_>>().join(", "),
        features.iter().map(named).collect::<Vec<_>>().join(", "),
    );
    let project = Project::parse(&folder.path().join("unskew.toml"), &project).unwrap();
    let mut outputs = Vec::new();
    for memory_bytes in [1, 1 << 30] {
        let options = BackfillOptions {
            service: "model".to_owned(),
            spine: folder.path().join("spine"),
            time_column: "t".to_owned(),
            output: OutputOptions { overwrite: true },
            resources: Resources {
                memory_bytes,
                threads: 2,
                ..Resources::default()
            },
            ..BackfillOptions::default()
        };
        let path = folder.path().join("out.parquet");
        backfill(&project, &BTreeMap::new(), &options, &path, |_| ())?;
        outputs.push(fs::read(&path).unwrap());
    }
    assert!(outputs[0] == outputs[1]);
    let file = File::open(folder.path().join("out.parquet")).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let mut batches = reader.with_batch_size(1 << 20).build().unwrap();
    Ok(batches.next().unwrap().unwrap())
}

/// The history has values 0, 1, 2 of user 1 at 10 s, 20 s, 30 s; the spine sees none, the first, the second, the third.
#[track_caller]
fn check(time: impl Fn(&[i64]) -> ArrayRef, values: ArrayRef, of: &str, expected: ArrayRef) {
    let spine = columns([("user", ints(&[1, 1, 1, 1])), ("t", time(&[9, 10, 29, 99]))]);
    let history = columns([("user", ints(&[1, 1, 1])), ("t", time(&[10, 20, 30])), ("x", values)]);
    let made = run(&spine, &history, &[("x", of)]).unwrap();
    assert_eq!(made.column_by_name("view:x"), Some(&expected), "{of}");
}

#[test]
fn times_are_of_any_unit_with_a_zone_or_in_utc() {
    let expected = || Arc::new(Int64Array::from(vec![None, Some(0), Some(1), Some(2)])) as ArrayRef;
    let check = |time: &dyn Fn(&[i64]) -> ArrayRef| check(time, ints(&[0, 1, 2]), "i64", expected());
    let scaled = |values: &[i64], by: i64| values.iter().map(|value| value * by).collect::<Vec<_>>();
    for zone in [None, Some("UTC"), Some("+02:00"), Some("Europe/Paris")] {
        check(&|at| Arc::new(TimestampSecondArray::from(at.to_vec()).with_timezone_opt(zone)));
        check(&|at| Arc::new(TimestampMillisecondArray::from(scaled(at, 1_000)).with_timezone_opt(zone)));
        check(&|at| Arc::new(TimestampMicrosecondArray::from(scaled(at, 1_000_000)).with_timezone_opt(zone)));
        check(&|at| Arc::new(TimestampNanosecondArray::from(scaled(at, 1_000_000_000)).with_timezone_opt(zone)));
    }
}

#[test]
fn texts_are_of_any_kind() {
    let texts = ["", "zwei", "drei"];
    let expected = || Arc::new(StringArray::from(vec![None, Some(""), Some("zwei"), Some("drei")])) as ArrayRef;
    let kinds: [ArrayRef; 4] = [
        Arc::new(StringArray::from(texts.to_vec())),
        Arc::new(LargeStringArray::from(texts.to_vec())),
        Arc::new(StringViewArray::from(texts.to_vec())),
        Arc::new(texts.into_iter().collect::<DictionaryArray<Int32Type>>()),
    ];
    for kind in kinds {
        check(times, kind, "string", expected());
    }
}

#[test]
fn a_column_of_missing_values_is_one() {
    let nothing: [(ArrayRef, &str, ArrayRef); 4] = [
        (
            Arc::new(Int64Array::new_null(3)),
            "i64",
            Arc::new(Int64Array::new_null(4)),
        ),
        (
            Arc::new(Float64Array::new_null(3)),
            "f64",
            Arc::new(Float64Array::new_null(4)),
        ),
        (
            Arc::new(StringArray::new_null(3)),
            "string",
            Arc::new(StringArray::new_null(4)),
        ),
        (
            Arc::new(BooleanArray::new_null(3)),
            "bool",
            Arc::new(BooleanArray::new_null(4)),
        ),
    ];
    for (values, of, expected) in nothing {
        check(times, values, of, expected);
    }
    // Labels without a value keep their type.
    let labels: [ArrayRef; 3] = [
        Arc::new(NullArray::new(2)),
        Arc::new(Int64Array::new_null(2)),
        Arc::new(
            vec![None, Some("a")]
                .into_iter()
                .collect::<DictionaryArray<Int32Type>>(),
        ),
    ];
    for label in labels {
        let spine = columns([("user", ints(&[1, 2])), ("t", times(&[5, 6])), ("label", label.clone())]);
        let history = columns([("user", ints(&[])), ("t", times(&[])), ("x", ints(&[]))]);
        let made = run(&spine, &history, &[("x", "i64")]).unwrap();
        assert_eq!(made.column_by_name("label").unwrap().data_type(), label.data_type());
        assert_eq!(
            made.column_by_name("label").unwrap().logical_null_count(),
            label.logical_null_count()
        );
    }
}

#[test]
fn an_input_may_have_two_thousand_columns() {
    const COLUMNS: usize = 1_000;
    let mut spine = columns([("user", ints(&[2, 1])), ("t", times(&[50, 50]))]);
    spine.extend((0..COLUMNS).map(|index| (format!("label{index}"), ints(&[index as i64, -1]))));
    let mut history = columns([("user", ints(&[1, 1])), ("t", times(&[10, 20]))]);
    history.extend((0..COLUMNS).map(|index| (format!("x{index}"), ints(&[0, index as i64]))));
    let names: Vec<String> = (0..COLUMNS).map(|index| format!("x{index}")).collect();
    let features: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "i64")).collect();
    let made = run(&spine, &history, &features).unwrap();
    assert_eq!(made.num_columns(), 2 + 2 * COLUMNS);
    for index in 0..COLUMNS {
        let expected: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(index as i64)]));
        assert_eq!(made.column_by_name(&format!("view:x{index}")), Some(&expected));
        assert_eq!(made.column_by_name(&format!("label{index}")), Some(&spine[2 + index].1));
    }
}

/// A share of one entity is far beyond the budget, with many rows of one time.
#[test]
fn an_entity_of_any_number_of_rows_is_joined() {
    const ROWS: i64 = 20_000;
    let at = |row: i64| row / 16 * 10;
    let of = |row: i64| if row % 50 == 0 { row % 7 } else { 3 };
    let all: Vec<i64> = (0..ROWS).collect();
    let map = |value: &dyn Fn(i64) -> i64| ints(&all.iter().map(|row| value(*row)).collect::<Vec<_>>());
    let timed = |value: &dyn Fn(i64) -> i64| times(&all.iter().map(|row| value(*row)).collect::<Vec<_>>());
    let history = columns([("user", map(&of)), ("t", timed(&at)), ("x", map(&|row| row))]);
    let spine = columns([("user", map(&of)), ("t", timed(&|row| at(row) - 1))]);
    let made = run(&spine, &history, &[("x", "i64")]).unwrap();
    // The last row of the greatest time before, which has the greatest value.
    let expected = |row: &i64| (0..*row / 16 * 16).rev().find(|before| of(*before) == of(*row));
    let expected: ArrayRef = Arc::new(all.iter().map(expected).collect::<Int64Array>());
    assert_eq!(made.column_by_name("view:x"), Some(&expected));
}
