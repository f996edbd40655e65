use std::fs;
use std::sync::Arc;

use arrow::array::*;
use arrow::util::display::array_value_to_string;
use tempfile::TempDir;
use unskew_frame::Value;

use super::*;
use crate::output::OutputOptions;
use crate::output::tests::write_columns;

/// A directory with one file, and what is read of it.
struct Case {
    folder: TempDir,
    path: PathBuf,
    columns: Vec<Wanted>,
    types: BTreeMap<String, ColumnType>,
}

fn case(name: &str, bytes: impl AsRef<[u8]>) -> Case {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    Case {
        folder,
        path,
        columns: Vec::new(),
        types: BTreeMap::new(),
    }
}

fn parquet(columns: &[(&str, ArrayRef)]) -> Case {
    let case = case("a.parquet", "");
    let columns: Vec<_> = columns
        .iter()
        .map(|(name, array)| ((*name).to_owned(), Arc::clone(array)))
        .collect();
    let options = OutputOptions { overwrite: true };
    write_columns(&case.path, columns[0].1.len(), &columns, options).unwrap();
    case
}

impl Case {
    fn column(mut self, name: &str, column_type: ColumnType) -> Self {
        self.columns.push(Wanted {
            name: name.to_owned(),
            column_type,
            required: true,
            nullable: true,
        });
        self
    }

    fn not_null(mut self) -> Self {
        self.columns.last_mut().unwrap().nullable = false;
        self
    }

    fn optional(mut self) -> Self {
        self.columns.last_mut().unwrap().required = false;
        self
    }

    fn label(mut self, name: &str, column_type: ColumnType) -> Self {
        self.types.insert(name.to_owned(), column_type);
        self
    }

    fn read(&self) -> Result<Read, ReadError> {
        let request = Request {
            columns: &self.columns,
            carry: Some(&self.types),
        };
        read(&Storage::default(), &self.path, &request)
    }

    /// The columns, a line each, then the carried ones; or the error, without the directory and its sources.
    fn show(&self) -> String {
        let read = match self.read() {
            Err(error) => {
                let directory = format!("{}/", self.folder.path().display());
                return error.to_string().replace(&directory, "");
            }
            Ok(read) => read,
        };
        let mut lines = Vec::new();
        for (wanted, column) in self.columns.iter().zip(&read.columns) {
            let show = |row| match column.value(row) {
                Value::Null => "null".to_owned(),
                value => format!("{value:?}"),
            };
            let values: Vec<_> = (0..column.rows()).map(show).collect();
            lines.push(format!("{} = {}", wanted.name, values.join(" ")));
        }
        for (name, array) in &read.carried {
            let show = |row| match array.is_null(row) {
                true => "null".to_owned(),
                false => array_value_to_string(array, row).unwrap(),
            };
            let values: Vec<_> = (0..array.len()).map(show).collect();
            lines.push(format!("{name}: {} {}", array.data_type(), values.join(" ")));
        }
        lines.join("\n")
    }

    #[track_caller]
    fn check(&self, expected: &str) {
        assert_eq!(self.show(), expected);
    }
}

const LOG: &str = "\u{feff},timestamp,item,click,note\r
0,2019-11-24 00:00:00.004101+00:00,7,1,\"a, \"\"b\"\"\"\r
1,2019-11-24 00:00:01+00:00,,0,\r
";

#[test]
fn csv_is_read_by_the_types_asked_for() {
    case("a.csv", LOG)
        .column("item", ColumnType::I64)
        .column("timestamp", ColumnType::Timestamp)
        .column("item", ColumnType::String)
        .column("gone", ColumnType::F64)
        .optional()
        .label("click", ColumnType::Bool)
        .check(
            "item = I64(7) null
timestamp = Timestamp(1574553600004101) Timestamp(1574553601000000)
item = String(\"7\") null
gone = null null
click: Boolean true false
note: Utf8 a, \"b\" null",
        );
}

#[test]
fn csv_errors_name_file_line_and_column() {
    let log = || case("a.csv", "t,x\n1,0.5\n\"2\n\",oops\n");
    log()
        .column("x", ColumnType::F64)
        .check("a.csv: line 3, column `x`: `oops` is no f64");
    let crlf = "t,x\r\n1,5\r\n2,\"\r\n\"\r\n3,oops\r\n";
    case("a.csv", crlf)
        .column("x", ColumnType::F64)
        .check("a.csv: line 3, column `x`: `\r\n` is no f64");
    let crlf = crlf.replace("3,oops", "\r\ny,1");
    case("a.csv", crlf)
        .column("t", ColumnType::I64)
        .check("a.csv: line 6, column `t`: `y` is no i64");
    let log = || case("a.csv", "t,x\n1,5\n\n\n,oops\n");
    log()
        .column("t", ColumnType::Timestamp)
        .not_null()
        .check("a.csv: line 5, column `t`: the value is missing: fill it in, or leave the row out");
    log()
        .column("y", ColumnType::F64)
        .check("a.csv: no column `y` (the file has t, x)");
    case("a.csv", "timestamps,x\n1,5\n")
        .column("timestamp", ColumnType::Timestamp)
        .check("a.csv: no column `timestamp`, did you mean `timestamps`? (the file has timestamps, x)");
    case("a.csv", "t,t\n1,5\n")
        .column("t", ColumnType::I64)
        .check("a.csv: several columns are named `t`: rename all but one");
    case("a.csv", "t,x,x\n1,5,6\n").check("a.csv: several columns are named `x`: rename all but one");
    case("a.csv", "t,x\n1,5\n1,2,3\n").check("a.csv: line 3: the row has 3 cells, the header has 2");
    case("a.csv", b"t,x\n1,\xff\n").check("a.csv: line 2: cell 2 is not UTF-8");
    case("a.csv", "")
        .column("t", ColumnType::I64)
        .check("a.csv: no column `t` (the file has )");
    case("a.csv", "t\nnever\n").column("t", ColumnType::Timestamp).check(
        "a.csv: line 2, column `t`: `never` is no timestamp: write 2024-01-15T10:00:00Z or microseconds since 1970-01-01T00:00:00Z",
    );
    let long = format!("t\n{}\n", "é".repeat(100));
    case("a.csv", long)
        .column("t", ColumnType::I64)
        .check(&format!("a.csv: line 2, column `t`: `{}…` is no i64", "é".repeat(64)));
}

#[test]
fn json_lines_are_read_by_the_types_asked_for() {
    let lines = r#"{"t": "1970-01-01T00:00:01Z", "x": 0.1, "s": "a\u00e9", "v": [1, 0.5], "n": 1}

{"t": 5, "x": null, "id": 9007199254740993, "b": true, "n": 2.5, "m": 1}
{"t": 6, "x": "7", "b": false, "s": "", "o": {"k": [1]}, "m": "one"}
"#;
    case("a.jsonl", lines)
        .column("t", ColumnType::Timestamp)
        .not_null()
        .column("x", ColumnType::F64)
        .column("s", ColumnType::String)
        .column("v", ColumnType::Vector(2))
        .column("id", ColumnType::I64)
        .column("gone", ColumnType::I64)
        .optional()
        .check(
            r#"t = Timestamp(1000000) Timestamp(5) Timestamp(6)
x = F64(0.1) null F64(7.0)
s = String("aé") null String("")
v = Vector([1.0, 0.5]) null null
id = null I64(9007199254740993) null
gone = null null null
n: Float64 1.0 2.5 null
b: Boolean null true false
m: Utf8 null 1 "one"
o: Utf8 null null {"k": [1]}"#,
        );
}

#[test]
fn json_errors_name_file_line_and_column() {
    let lines = || case("a.ndjson", "{\"t\": 1}\n\n{\"t\": 2, \"x\": 5}\n");
    lines()
        .column("y", ColumnType::I64)
        .check("a.ndjson: no column `y` (the file has t, x)");
    lines()
        .column("x", ColumnType::I64)
        .not_null()
        .check("a.ndjson: line 1, column `x`: the value is missing: fill it in, or leave the row out");
    lines()
        .column("x", ColumnType::String)
        .check("a.ndjson: line 3, column `x`: `5` is no string");
    lines()
        .column("x", ColumnType::Bytes)
        .check("a.ndjson: line 3, column `x`: `5` is no bytes: write hexadecimal digits");
    case("a.jsonl", "{\"t\": null}\n")
        .column("t", ColumnType::I64)
        .not_null()
        .check("a.jsonl: line 1, column `t`: the value is missing: fill it in, or leave the row out");
    case("a.jsonl", "{\"t\": 1}\n{\"t\": \n")
        .check("a.jsonl: line 2: the line is not a JSON object: EOF while parsing a value at column 0");
    case("a.jsonl", "[1]\n")
        .check("a.jsonl: line 1: the line is not a JSON object: invalid type: sequence, expected a map at column 0");
    case("a.jsonl", b"{\"t\": \"\xff\"}\n").check("a.jsonl: line 1: the line is not UTF-8");
}

#[test]
fn parquet_is_read_by_the_types_asked_for() {
    let (items, notes): (ArrayRef, ArrayRef) = (
        Arc::new(Int32Array::from(vec![Some(7), None])),
        Arc::new(StringArray::from(vec![None, Some("b")])),
    );
    parquet(&[("note", notes), ("item", items)])
        .column("item", ColumnType::F64)
        .column("item", ColumnType::I64)
        .column("gone", ColumnType::F64)
        .optional()
        .check("item = F64(7.0) null\nitem = I64(7) null\ngone = null null\nnote: Utf8 null b");
}

#[test]
fn parquet_errors_name_file_row_and_column() {
    let rows = 20_000;
    let mut times: Vec<Option<i64>> = (0..rows).map(Some).collect();
    times[17_000] = None;
    let mut ids: Vec<u64> = (0..rows.cast_unsigned()).collect();
    ids[9_000] = u64::MAX;
    let ids: ArrayRef = Arc::new(UInt64Array::from(ids));
    let times: ArrayRef = Arc::new(Int64Array::from(times));
    let table = || parquet(&[("t", Arc::clone(&times)), ("id", Arc::clone(&ids))]);
    table()
        .column("t", ColumnType::Timestamp)
        .not_null()
        .check("a.parquet: row 17001, column `t`: the value is missing: fill it in, or leave the row out");
    table()
        .column("id", ColumnType::I64)
        .check("a.parquet: row 9001, column `id`: `18446744073709551615` is no i64");
    table()
        .column("id", ColumnType::String)
        .check("a.parquet: column `id`: UInt64 cannot be read as string: write the column as string");
    table()
        .column("ids", ColumnType::I64)
        .check("a.parquet: no column `ids`, did you mean `id`? (the file has t, id)");
}

#[test]
fn damaged_parquet_is_an_error_wherever_it_is_cut_or_changed() {
    let values: ArrayRef = Arc::new(StringArray::from_iter_values((0..500).map(|i| format!("{i}"))));
    let case = parquet(&[("s", values)]).column("s", ColumnType::String);
    let whole = fs::read(&case.path).unwrap();
    for len in (0..whole.len()).step_by(37) {
        fs::write(&case.path, &whole[..len]).unwrap();
        let error = case.show();
        assert!(
            error.starts_with("a.parquet: cannot be read as Parquet"),
            "{len}: {error}"
        );
    }
    for index in (0..whole.len()).step_by(11) {
        let mut changed = whole.clone();
        changed[index] ^= 0xff;
        fs::write(&case.path, changed).unwrap();
        // A change of a value that has no checksum is not seen; none may panic or read another number of rows.
        if let Ok(read) = case.read() {
            assert_eq!(
                read.columns[0].rows(),
                read.carried.first().map_or(read.columns[0].rows(), |c| c.1.len())
            );
        }
    }
}

#[test]
fn a_directory_is_read_in_the_order_of_its_names() {
    let case = parquet(&[("x", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)]);
    let write = |name: &str, column: &str, values: Vec<i64>| {
        let path = case.folder.path().join(name);
        let rows = values.len();
        let columns = [(column.to_owned(), Arc::new(Int64Array::from(values)) as ArrayRef)];
        write_columns(&path, rows, &columns, OutputOptions::default()).unwrap();
    };
    write("c.parquet", "x", vec![5]);
    write("b.parquet", "x", vec![3, 4]);
    write("_marker.parquet", "other", vec![9]);
    fs::write(case.folder.path().join("README"), "").unwrap();
    let directory = || Case {
        path: case.folder.path().to_owned(),
        columns: Vec::new(),
        types: BTreeMap::new(),
        folder: tempfile::tempdir().unwrap(),
    };
    directory().check("x: Int64 1 2 3 4 5");
    let wanted = directory().column("x", ColumnType::I64);
    wanted.check("x = I64(1) I64(2) I64(3) I64(4) I64(5)");
    let files = wanted.read().unwrap().files;
    assert_eq!(files.len(), 3);
    assert_eq!(files[0].digest, Digest::of(&fs::read(&case.path).unwrap()));

    write("d.parquet", "y", vec![5]);
    let error = directory().show();
    assert!(error.ends_with("d.parquet: no column `x` (the file has y)"), "{error}");
}

#[test]
fn a_row_without_end_is_refused_before_it_is_in_memory() {
    let long = |start: &str| [start.as_bytes(), &vec![b'x'; 2 << 20]].concat();
    case("a.csv", long("t,x\n1,2\n3,\"4\n"))
        .column("t", ColumnType::I64)
        .check("a.csv: line 3: the row has over 64 MiB: is a quote left open?");
    case("a.jsonl", long("{\"t\": 1}\n"))
        .column("t", ColumnType::I64)
        .check("a.jsonl: line 2: the row has over 64 MiB");
}

#[test]
fn a_path_that_tells_no_format_is_refused() {
    case("a.txt", "").check(
        "a.txt: the name does not say what it is: name it .csv, .jsonl, .ndjson or .parquet, or give a directory of .parquet files",
    );
    let mut empty = case("a.csv", "");
    empty.path = empty.folder.path().join("empty");
    fs::create_dir(&empty.path).unwrap();
    empty.check("empty: the directory has no .parquet files");
    empty.path = empty.folder.path().join("gone.csv");
    empty.check("cannot read gone.csv");
}
