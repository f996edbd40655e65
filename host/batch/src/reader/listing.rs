use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use unskew_frame::{Column, ColumnType};
use unskew_snapshot::EventTime;

use super::{Format, Growing, Place, ReadError, Wanted, open_error};
use crate::array::column_to_array;
use crate::storage::{At, Object, Storage};

/// The most directories inside each other: more are a circle of links.
const MAX_DEPTH: usize = 64;
/// What Hive and Spark call a directory of rows whose value is missing.
const MISSING: &str = "__HIVE_DEFAULT_PARTITION__";

/// The files of a source, one or more, and what they are.
#[derive(Debug)]
pub(crate) struct Listing {
    pub format: Format,
    pub files: Vec<SourceFile>,
    /// Of the columns that directories are named after: those that they are carried as.
    pub partition_types: Vec<DataType>,
}

/// A file of a source.
#[derive(Clone, Debug)]
pub(crate) struct SourceFile {
    pub path: PathBuf,
    /// What the names of its directories say of all of its rows, as `date=2026-01-01` does.
    pub partitions: Vec<Partition>,
    /// What it is, if it is no file.
    pub object: Option<Object>,
}

/// A column that all rows of a file have one value of, which is in the name of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Partition {
    pub name: String,
    pub value: Option<String>,
}

impl Listing {
    /// Finds the files of the source at `path`: itself, or the Parquet files below it in the order of their paths. Names that
    /// begin with `.` or `_` are those of markers.
    pub fn of(storage: &Storage, path: &Path) -> Result<Self, ReadError> {
        let failed = |source| open_error(path, source);
        let (format, files) = match storage.at(path).map_err(failed)? {
            Some(at) => objects(path, &at)?,
            None if fs::metadata(path).map_err(failed)?.is_dir() => (Format::Parquet, parquet_files(path)?),
            None => (format_of(path)?, vec![SourceFile::alone(path, None)]),
        };
        check_partitions(&files)?;
        let names = files.first().map_or(0, |file| file.partitions.len());
        Ok(Self {
            partition_types: (0..names).map(|index| carried_type(&files, index)).collect(),
            format,
            files,
        })
    }
}

impl SourceFile {
    fn alone(path: &Path, object: Option<Object>) -> Self {
        Self {
            path: path.to_owned(),
            partitions: Vec::new(),
            object,
        }
    }

    /// The columns of the file, `names`, and behind them those of its directories.
    pub fn all_names<'a>(&'a self, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
        names
            .chain(self.partitions.iter().map(|partition| partition.name.as_str()))
            .collect()
    }
}

impl Partition {
    /// The value as a column that was asked for: a scalar.
    pub fn column(&self, path: &Path, wanted: &Wanted) -> Result<Column, ReadError> {
        const FIRST: Place = Place::Row(1);
        let mut column = Growing::new(wanted.clone());
        match &self.value {
            Some(value) => column.push_text(path, FIRST, value)?,
            None => column.push_null(path, FIRST)?,
        }
        let mut column = column.take();
        column.make_scalar();
        Ok(column)
    }

    /// The value in each of `rows` rows, as an array to carry: see [`Listing::partition_types`].
    pub fn array(&self, data_type: &DataType, rows: usize) -> ArrayRef {
        let Some(value) = &self.value else {
            return new_null_array(data_type, rows);
        };
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values(std::iter::repeat_n(value, rows)));
        // Every value was seen to be one of the type.
        cast(&texts, data_type).unwrap_or_else(|_| new_null_array(data_type, rows))
    }

    /// The value as an array of one row of a type, for a comparison; none if it is no value of it.
    pub fn canonical(&self, path: &Path, column_type: ColumnType) -> Result<ArrayRef, ReadError> {
        let wanted = Wanted {
            name: self.name.clone(),
            column_type,
            required: true,
            nullable: true,
        };
        Ok(column_to_array(&self.column(path, &wanted)?, 1))
    }
}

fn format_of(path: &Path) -> Result<Format, ReadError> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    match extension.map(str::to_ascii_lowercase).as_deref() {
        Some("parquet") => Ok(Format::Parquet),
        Some("csv") => Ok(Format::Comma),
        Some("jsonl" | "ndjson") => Ok(Format::Json),
        _ => Err(ReadError::UnknownFormat { path: path.to_owned() }),
    }
}

fn parquet_files(directory: &Path) -> Result<Vec<SourceFile>, ReadError> {
    let mut files = Vec::new();
    add_files(directory, &[], 0, &mut files)?;
    in_order(directory, files)
}

fn in_order(directory: &Path, mut files: Vec<SourceFile>) -> Result<Vec<SourceFile>, ReadError> {
    if files.is_empty() {
        return Err(ReadError::EmptyDirectory {
            path: directory.to_owned(),
        });
    }
    files.sort_unstable_by(|a: &SourceFile, b| a.path.cmp(&b.path));
    Ok(files)
}

/// The object at a URL or, if there is none, the Parquet objects below it. There may be both kinds of names: what Spark writes
/// is a directory whose name ends like a file's.
fn objects(path: &Path, at: &At<'_>) -> Result<(Format, Vec<SourceFile>), ReadError> {
    let failed = |source| open_error(path, source);
    let missing = match format_of(path) {
        Err(_) => None,
        Ok(format) => match at.objects.find(at.url) {
            Ok(object) => return Ok((format, vec![SourceFile::alone(path, Some(object))])),
            Err(error) if error.kind() == io::ErrorKind::NotFound && format == Format::Parquet => Some(error),
            Err(error) => return Err(failed(error)),
        },
    };
    let listed = at.objects.list(at.url).map_err(failed)?;
    match (missing, listed.is_empty()) {
        (Some(missing), true) => Err(failed(missing)),
        _ => {
            let files = listed.into_iter().filter_map(|(name, object)| below(&name, object));
            Ok((Format::Parquet, in_order(path, files.collect())?))
        }
    }
}

/// An object by its path below a directory, if it is one to read.
fn below(name: &str, object: Object) -> Option<SourceFile> {
    let (directories, file) = name.rsplit_once('/').unwrap_or(("", name));
    let is_marker = |name: &str| name.starts_with('.') || name.starts_with('_');
    (file.ends_with(".parquet") && !name.split('/').any(is_marker)).then(|| SourceFile {
        path: PathBuf::from(&object.url),
        partitions: directories.split('/').filter_map(partition).collect(),
        object: Some(object),
    })
}

fn add_files(
    directory: &Path,
    partitions: &[Partition],
    depth: usize,
    files: &mut Vec<SourceFile>,
) -> Result<(), ReadError> {
    if depth > MAX_DEPTH {
        let source = io::Error::other("directories are nested too deeply: is one linked into itself?");
        return Err(open_error(directory, source));
    }
    let at = |source| open_error(directory, source);
    for entry in fs::read_dir(directory).map_err(at)? {
        let path = entry.map_err(at)?.path();
        let name = path.file_name().unwrap_or_default();
        let bytes = name.as_encoded_bytes();
        if bytes.starts_with(b".") || bytes.starts_with(b"_") {
            continue;
        }
        let metadata = fs::metadata(&path).map_err(|source| open_error(&path, source))?;
        if metadata.is_dir() {
            let mut inside = partitions.to_vec();
            inside.extend(partition(&name.to_string_lossy()));
            add_files(&path, &inside, depth + 1, files)?;
        } else if bytes.ends_with(b".parquet") {
            let partitions = partitions.to_vec();
            files.push(SourceFile {
                path,
                partitions,
                object: None,
            });
        }
    }
    Ok(())
}

/// What the name of a directory says, as `date=2026-01-01`.
fn partition(directory: &str) -> Option<Partition> {
    let (name, value) = directory.split_once('=').filter(|(name, _)| !name.is_empty())?;
    Some(Partition {
        name: unescape(name),
        value: (value != MISSING).then(|| unescape(value)),
    })
}

/// The text of what has its special letters as `%` and two hexadecimal digits.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digits = (*first == b'%').then(|| behind.get(..2)).flatten();
        let byte = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// Every file has directories of the same names.
fn check_partitions(files: &[SourceFile]) -> Result<(), ReadError> {
    let names = |file: &SourceFile| -> Vec<String> { file.partitions.iter().map(|p| p.name.clone()).collect() };
    let Some(first) = files.first() else {
        return Ok(());
    };
    let first_names = names(first);
    match files.iter().find(|file| names(file) != first_names) {
        None => Ok(()),
        Some(other) => {
            let shown = |names: Vec<String>| match names.is_empty() {
                true => "no column".to_owned(),
                false => names.join(", "),
            };
            Err(ReadError::Malformed {
                path: other.path.clone(),
                place: None,
                reason: format!(
                    "its directories are named after {}, those of the first file, {}, after {}: give a directory in which all \
                     files are laid out alike",
                    shown(names(other)),
                    first.path.display(),
                    shown(first_names)
                ),
            })
        }
    }
}

/// The first of these that all values of a partition column are: integers, dates, texts.
fn carried_type(files: &[SourceFile], index: usize) -> DataType {
    let values = || files.iter().filter_map(|file| file.partitions[index].value.as_deref());
    let is_integer = |text: &str| text.parse::<i64>().is_ok_and(|value| value.to_string() == text);
    let is_date = |text: &str| text.len() == "2026-01-01".len() && EventTime::parse_rfc3339(text).is_some();
    match values().next() {
        None => DataType::Utf8,
        Some(_) if values().all(is_integer) => DataType::Int64,
        Some(_) if values().all(is_date) => DataType::Date32,
        Some(_) => DataType::Utf8,
    }
}

#[cfg(test)]
mod tests;
