use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use unskew_frame::ColumnType;
use unskew_snapshot::EventTime;

use crate::reader::{self, Format, Input, Listing, Partition, ReadError, Request, SourceFile, guard};
use crate::storage::Storage;

/// What a file or a directory of Parquet files holds, as far as it shows without being told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// The columns, in the order of the first file.
    pub columns: Vec<SurveyedColumn>,
    /// The rows of all files.
    pub rows: u64,
}

/// A column of a [`Survey`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SurveyedColumn {
    /// Its name.
    pub name: String,
    /// The type that it can be read as; none of a nested or other column that cannot be read.
    pub column_type: Option<ColumnType>,
    /// The type as the file has it.
    pub stored: String,
    /// Whether it is known that no value is missing.
    pub is_complete: bool,
    /// Whether it is in the names of directories, as `date=2026-01-01`, and not in the files.
    pub is_of_directories: bool,
}

impl Survey {
    /// Looks at the file or the directory at `path`. Of Parquet the metadata alone is read; text files are read whole, and a
    /// column whose every text is an RFC 3339 time is one of times.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn of(path: &Path) -> Result<Self, ReadError> {
        Self::of_stored(&Storage::default(), path)
    }

    /// The same where it may be in a storage.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn of_stored(storage: &Storage, path: &Path) -> Result<Self, ReadError> {
        let listing = Listing::of(storage, path)?;
        if listing.format != Format::Parquet {
            return Self::of_text(storage, path);
        }
        let held = Arc::default();
        let mut survey: Option<Self> = None;
        for file in &listing.files {
            let (input, _) = Input::of(file, storage, &held)?;
            let here = Self::of_parquet(file, &input, &listing.partition_types)?;
            match &mut survey {
                None => survey = Some(here),
                Some(survey) => survey.add(&here),
            }
        }
        Ok(survey.unwrap_or(Self {
            columns: Vec::new(),
            rows: 0,
        }))
    }

    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&SurveyedColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    fn of_parquet(source: &SourceFile, input: &Input, partition_types: &[DataType]) -> Result<Self, ReadError> {
        let path = &source.path;
        let footer = input.footer(path)?;
        let metadata = guard(path, || ArrowReaderMetadata::load(&footer, ArrowReaderOptions::new()))?;
        let groups = metadata.metadata().row_groups();
        let nulls = |root: usize| -> Option<u64> {
            let schema = metadata.parquet_schema();
            let leaf = (0..schema.num_columns()).find(|leaf| schema.get_column_root_idx(*leaf) == root)?;
            let nulls = |group: &parquet::file::metadata::RowGroupMetaData| {
                group.column(leaf).statistics().and_then(|found| found.null_count_opt())
            };
            groups.iter().map(nulls).sum()
        };
        let column = |(index, field): (usize, &std::sync::Arc<Field>)| SurveyedColumn {
            name: field.name().clone(),
            column_type: readable_as(field.data_type()),
            stored: field.data_type().to_string(),
            is_complete: !field.is_nullable() || nulls(index) == Some(0),
            is_of_directories: false,
        };
        let of_directory = |(partition, data_type): (&Partition, &DataType)| SurveyedColumn {
            name: partition.name.clone(),
            column_type: readable_as(data_type),
            stored: data_type.to_string(),
            is_complete: partition.value.is_some(),
            is_of_directories: true,
        };
        let in_file = metadata.schema().fields().iter().enumerate().map(column);
        let of_directories = source.partitions.iter().zip(partition_types).map(of_directory);
        Ok(Self {
            columns: in_file.chain(of_directories).collect(),
            rows: groups
                .iter()
                .map(|group| u64::try_from(group.num_rows()).unwrap_or(0))
                .sum(),
        })
    }

    fn of_text(storage: &Storage, path: &Path) -> Result<Self, ReadError> {
        let none = std::collections::BTreeMap::new();
        let request = Request {
            columns: &[],
            carry: Some(&none),
        };
        let read = reader::read(storage, path, &request)?;
        let column = |(name, array): &(String, ArrayRef)| {
            let column_type = match are_times(array) {
                true => Some(ColumnType::Timestamp),
                false => readable_as(array.data_type()),
            };
            SurveyedColumn {
                name: name.clone(),
                stored: column_type.map_or_else(|| array.data_type().to_string(), |found| found.to_string()),
                column_type,
                is_complete: array.null_count() == 0,
                is_of_directories: false,
            }
        };
        Ok(Self {
            columns: read.carried.iter().map(column).collect(),
            rows: read.carried.first().map_or(0, |(_, array)| array.len() as u64),
        })
    }

    /// Adds another file of the same directory.
    fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        for column in &mut self.columns {
            column.is_complete &= other.column(&column.name).is_some_and(|other| other.is_complete);
        }
    }
}

/// The type whose values a stored column's are.
pub(crate) fn readable_as(stored: &DataType) -> Option<ColumnType> {
    Some(match stored {
        DataType::Dictionary(_, values) => return readable_as(values),
        DataType::Boolean => ColumnType::Bool,
        _ if stored.is_integer() => ColumnType::I64,
        DataType::Float32 | DataType::Float16 => ColumnType::F32,
        DataType::Float64 => ColumnType::F64,
        _ if stored.is_decimal() => ColumnType::F64,
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => ColumnType::Timestamp,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => ColumnType::String,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            ColumnType::Bytes
        }
        DataType::FixedSizeList(element, len) if *element.data_type() == DataType::Float32 => {
            format!("f32[{len}]").parse().ok()?
        }
        _ => return None,
    })
}

/// Whether all texts are times, of which there are some.
fn are_times(array: &ArrayRef) -> bool {
    let Some(texts) = array.as_string_opt::<i32>() else {
        return false;
    };
    let mut present = texts.iter().flatten().peekable();
    present.peek().is_some() && present.all(|text| EventTime::parse_rfc3339(text.trim_ascii()).is_some())
}

#[cfg(test)]
mod tests;
