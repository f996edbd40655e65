use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};
use unskew::Digest;
use unskew_frame::ColumnType;

use super::carry::{check_names, is_carried};
use super::parquet_file::{cast_error, guard, place};
use super::{Format, InputFile, ReadError, Request, Wanted, files_of, locate};
use crate::array::{canonical_type, column_to_array, text_bytes, to_canonical};

/// A spine or a source whose rows are read in pieces, by many threads. Parquet is read from the files piece by piece; text
/// files, which are for small things, are read at once.
pub(crate) struct Scan {
    columns: Vec<Wanted>,
    carried: Vec<Field>,
    rows: Rows,
    row_count: u64,
}

enum Rows {
    Files(Vec<ParquetFile>),
    /// The columns and the carried ones, whole.
    Memory {
        columns: Vec<ArrayRef>,
        carried: Vec<ArrayRef>,
        file: InputFile,
    },
}

struct ParquetFile {
    path: PathBuf,
    bytes: u64,
    metadata: ArrowReaderMetadata,
    /// The places of the wanted columns in the file.
    wanted: Vec<Option<usize>>,
    /// The places of the carried columns, in their order.
    carried: Vec<usize>,
}

/// Consecutive rows of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Morsel {
    file: usize,
    row_group: usize,
    /// The first row in the row group.
    start: usize,
    /// The first row in the file.
    first_in_file: usize,
    /// The first row in the scan.
    pub first_row: u64,
    pub rows: usize,
}

/// The arrays of a morsel: canonical ones of the wanted columns, the others as they are.
pub(crate) struct Piece {
    pub columns: Vec<ArrayRef>,
    pub carried: Vec<ArrayRef>,
}

impl Scan {
    /// Opens the file or the directory at `path` and checks its columns.
    pub fn open(path: &Path, request: &Request<'_>) -> Result<Self, ReadError> {
        let (Format::Parquet, paths) = files_of(path)? else {
            return Self::read_text(path, request);
        };
        let mut files: Vec<ParquetFile> = Vec::with_capacity(paths.len());
        let mut carried: Option<Vec<Field>> = None;
        for path in paths {
            let (file, fields) = ParquetFile::open(path, request)?;
            match &carried {
                None => carried = Some(fields),
                Some(first) => check_carried(&file.path, first, &fields)?,
            }
            files.push(file);
        }
        let row_count = files.iter().map(ParquetFile::row_count).sum();
        Ok(Self {
            columns: request.columns.to_vec(),
            carried: carried.unwrap_or_default(),
            rows: Rows::Files(files),
            row_count,
        })
    }

    fn read_text(path: &Path, request: &Request<'_>) -> Result<Self, ReadError> {
        let mut read = super::read(path, request)?;
        let row_count = read.columns.first().map_or(0, unskew_frame::Column::rows);
        let columns = read.columns.iter().map(|column| column_to_array(column, row_count));
        let columns = columns.collect();
        let (fields, carried) = read
            .carried
            .into_iter()
            .map(|(name, array)| (Field::new(name, array.data_type().clone(), true), array))
            .unzip();
        Ok(Self {
            columns: request.columns.to_vec(),
            carried: fields,
            rows: Rows::Memory {
                columns,
                carried,
                file: read.files.remove(0),
            },
            row_count: row_count as u64,
        })
    }

    /// All rows.
    pub fn row_count(&self) -> u64 {
        self.row_count
    }

    /// The carried columns, in the order of the first file.
    pub fn carried(&self) -> &[Field] {
        &self.carried
    }

    /// About how many bytes a row of the wanted columns takes in memory.
    pub fn row_bytes(&self) -> u64 {
        let fixed = |column_type: ColumnType| match column_type {
            ColumnType::String | ColumnType::Bytes => None,
            ColumnType::Vector(len) => Some(4 * u64::from(len)),
            ColumnType::Bool => Some(1),
            ColumnType::F32 => Some(4),
            _ => Some(8),
        };
        let known: u64 = self.columns.iter().filter_map(|column| fixed(column.column_type)).sum();
        let texts = self.columns.iter().filter(|column| fixed(column.column_type).is_none());
        known + texts.count() as u64 * self.text_bytes()
    }

    /// About how many bytes a text has: at least what it takes in the files, where equal ones may be stored once.
    fn text_bytes(&self) -> u64 {
        const LEAST: u64 = 16;
        match &self.rows {
            Rows::Memory { columns, .. } => {
                let texts: u64 = columns.iter().map(|column| text_bytes(column)).sum();
                LEAST.max(texts / self.row_count.max(1))
            }
            Rows::Files(files) => {
                let bytes: u64 = files.iter().map(|file| file.bytes).sum();
                LEAST.max(bytes / self.row_count.max(1) / self.columns.len().max(1) as u64)
            }
        }
    }

    /// All rows, in their order, in morsels of at most `max_rows`: none of two row groups, none across a multiple of `align`.
    pub fn morsels(&self, max_rows: usize, align: u64) -> Vec<Morsel> {
        let mut morsels = Vec::new();
        let mut first_row = 0;
        let mut push_group = |file, row_group, first_in_file: usize, rows: usize| {
            let mut start = 0;
            while start < rows {
                let to_align = usize::try_from(align - first_row % align).unwrap_or(usize::MAX);
                let morsel = Morsel {
                    file,
                    row_group,
                    start,
                    first_in_file: first_in_file + start,
                    first_row,
                    rows: max_rows.min(to_align).min(rows - start),
                };
                start += morsel.rows;
                first_row += morsel.rows as u64;
                morsels.push(morsel);
            }
        };
        match &self.rows {
            Rows::Memory { .. } => push_group(0, 0, 0, self.row_count as usize),
            Rows::Files(files) => {
                for (index, file) in files.iter().enumerate() {
                    let mut first_in_file = 0;
                    for (row_group, metadata) in file.metadata.metadata().row_groups().iter().enumerate() {
                        let rows = usize::try_from(metadata.num_rows()).unwrap_or(0);
                        push_group(index, row_group, first_in_file, rows);
                        first_in_file += rows;
                    }
                }
            }
        }
        morsels
    }

    /// Reads some of the wanted columns, and the carried ones if `carry`. Costs an open file and the pages that hold the rows.
    pub fn read(&self, morsel: &Morsel, wanted: &[usize], carry: bool) -> Result<Piece, ReadError> {
        match &self.rows {
            Rows::Memory { columns, carried, .. } => {
                let slice = |array: &ArrayRef| array.slice(morsel.start, morsel.rows);
                Ok(Piece {
                    columns: wanted.iter().map(|index| slice(&columns[*index])).collect(),
                    carried: carried.iter().filter(|_| carry).map(slice).collect(),
                })
            }
            Rows::Files(files) => {
                let file = &files[morsel.file];
                let mut places: Vec<usize> = wanted.iter().filter_map(|index| file.wanted[*index]).collect();
                if carry {
                    places.extend(&file.carried);
                }
                places.sort_unstable();
                places.dedup();
                let arrays = file.read(morsel, &places)?;
                let array_at = |place: usize| &arrays[places.partition_point(|known| *known < place)];
                let column = |index: &usize| {
                    let array = file.wanted[*index].map(array_at);
                    self.canonical(file, morsel, &self.columns[*index], array)
                };
                let carried = |(place, field): (&usize, &Field)| as_first(file, array_at(*place), field);
                let pairs = file.carried.iter().zip(&self.carried).filter(|_| carry);
                Ok(Piece {
                    columns: wanted.iter().map(column).collect::<Result<_, _>>()?,
                    carried: pairs.map(carried).collect::<Result<_, _>>()?,
                })
            }
        }
    }

    fn canonical(
        &self,
        file: &ParquetFile,
        morsel: &Morsel,
        wanted: &Wanted,
        array: Option<&ArrayRef>,
    ) -> Result<ArrayRef, ReadError> {
        let array = match array {
            None => new_null_array(&canonical_type(wanted.column_type), morsel.rows),
            Some(array) => to_canonical(array, wanted.column_type)
                .map_err(|error| cast_error(&file.path, morsel.first_in_file, &wanted.name, error))?,
        };
        if !wanted.nullable && array.null_count() > 0 {
            let row = (0..array.len()).find(|row| array.is_null(*row)).unwrap_or(0);
            return Err(ReadError::MissingValue {
                path: file.path.clone(),
                place: place(morsel.first_in_file + row),
                column: wanted.name.clone(),
            });
        }
        Ok(array)
    }

    /// The files with their digests. Reads all of them; ends early, with fewer, once `stop` is set.
    pub fn digest_files(&self, stop: &AtomicBool) -> Result<Vec<InputFile>, ReadError> {
        match &self.rows {
            Rows::Memory { file, .. } => Ok(vec![file.clone()]),
            Rows::Files(files) => {
                let mut digested = Vec::with_capacity(files.len());
                for file in files {
                    let digest =
                        digest(&file.path, file.bytes, stop).map_err(|source| open_error(&file.path, source))?;
                    match digest {
                        None => break,
                        Some(digest) => digested.push(InputFile {
                            path: file.path.clone(),
                            bytes: file.bytes,
                            digest,
                        }),
                    }
                }
                Ok(digested)
            }
        }
    }
}

impl ParquetFile {
    /// The file, and the fields that it carries.
    fn open(path: PathBuf, request: &Request<'_>) -> Result<(Self, Vec<Field>), ReadError> {
        let file = File::open(&path).map_err(|source| open_error(&path, source))?;
        let bytes = file.metadata().map_err(|source| open_error(&path, source))?.len();
        let metadata = guard(&path, || ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()))?;
        let fields = metadata.schema().fields();
        let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
        let wanted = locate(&path, &names, request.columns)?;
        let carried: Vec<usize> = (0..names.len())
            .filter(|index| is_carried(names[*index], request))
            .collect();
        let duplicate = carried.iter().enumerate().find(|(position, index)| {
            let name = names[**index];
            carried[..*position].iter().any(|earlier| names[*earlier] == name)
        });
        if let Some((_, index)) = duplicate {
            let column = names[*index].to_owned();
            return Err(ReadError::DuplicateColumn { path, column });
        }
        // Without the metadata of where a field came from.
        let field = |index: &usize| Field::new(names[*index], fields[*index].data_type().clone(), true);
        let carried_fields = carried.iter().map(field).collect();
        let file = Self {
            path,
            bytes,
            wanted,
            carried,
            metadata,
        };
        Ok((file, carried_fields))
    }

    fn row_count(&self) -> u64 {
        let groups = self.metadata.metadata().row_groups();
        groups
            .iter()
            .map(|group| u64::try_from(group.num_rows()).unwrap_or(0))
            .sum()
    }

    /// The columns at `places`, ascending.
    fn read(&self, morsel: &Morsel, places: &[usize]) -> Result<Vec<ArrayRef>, ReadError> {
        if places.is_empty() {
            return Ok(Vec::new());
        }
        self.read_columns(morsel, places).map_err(|error| {
            // Which of them it is, reading each alone.
            let blamed = places
                .iter()
                .find(|place| self.read_columns(morsel, &[**place]).is_err());
            match (error, blamed) {
                (ReadError::Malformed { path, reason, .. }, Some(place)) => ReadError::Malformed {
                    path,
                    place: None,
                    reason: format!(
                        "row group {}, column `{}`: {reason}",
                        morsel.row_group,
                        self.metadata.schema().field(*place).name()
                    ),
                },
                (error, _) => error,
            }
        })
    }

    fn read_columns(&self, morsel: &Morsel, places: &[usize]) -> Result<Vec<ArrayRef>, ReadError> {
        let file = File::open(&self.path).map_err(|source| open_error(&self.path, source))?;
        let mut batches = guard(&self.path, || {
            let group_rows = self.metadata.metadata().row_group(morsel.row_group).num_rows();
            let mask = ProjectionMask::roots(self.metadata.parquet_schema(), places.iter().copied());
            let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
                .with_batch_size(morsel.rows)
                .with_row_groups(vec![morsel.row_group])
                .with_projection(mask);
            if morsel.rows as i64 != group_rows {
                let selectors = vec![RowSelector::skip(morsel.start), RowSelector::select(morsel.rows)];
                builder = builder.with_row_selection(RowSelection::from(selectors));
            }
            builder.build()
        })?;
        let mut read: Vec<Vec<ArrayRef>> = vec![Vec::new(); places.len()];
        while let Some(batch) = guard(&self.path, || batches.next().transpose())? {
            for (arrays, array) in read.iter_mut().zip(batch.columns()) {
                arrays.push(Arc::clone(array));
            }
        }
        let whole = |arrays: Vec<ArrayRef>| -> Result<ArrayRef, ReadError> {
            let array = match arrays.as_slice() {
                [array] => Arc::clone(array),
                _ => {
                    let arrays: Vec<&dyn Array> = arrays.iter().map(|array| &**array).collect();
                    guard(&self.path, || concat(&arrays))?
                }
            };
            let has_all = array.len() == morsel.rows;
            let missing = format!("row group {} has fewer rows than it says", morsel.row_group);
            guard(&self.path, || has_all.then_some(array).ok_or(missing))
        };
        read.into_iter().map(whole).collect()
    }
}

/// Every file has the carried columns of the first.
fn check_carried(path: &Path, first: &[Field], fields: &[Field]) -> Result<(), ReadError> {
    let names = |fields: &[Field]| -> Vec<String> { fields.iter().map(|field| field.name().clone()).collect() };
    let here = names(fields);
    check_names(
        path,
        &names(first),
        &here.iter().map(String::as_str).collect::<Vec<_>>(),
    )?;
    match first
        .iter()
        .zip(fields)
        .find(|(first, field)| first.data_type() != field.data_type())
    {
        None => Ok(()),
        Some((first, field)) => Err(not_of_one_type(path, first, field.data_type())),
    }
}

/// A carried array, which is of the type that the column has in the first file.
fn as_first(file: &ParquetFile, array: &ArrayRef, field: &Field) -> Result<ArrayRef, ReadError> {
    match array.data_type() == field.data_type() {
        true => Ok(Arc::clone(array)),
        false => Err(not_of_one_type(&file.path, field, array.data_type())),
    }
}

fn not_of_one_type(path: &Path, first: &Field, here: &DataType) -> ReadError {
    ReadError::ColumnType {
        path: path.to_owned(),
        column: first.name().clone(),
        reason: format!(
            "it is not of one type throughout: {} in the first file, {here} here",
            first.data_type()
        ),
    }
}

fn open_error(path: &Path, source: io::Error) -> ReadError {
    ReadError::Open {
        path: path.to_owned(),
        source,
    }
}

/// The digest of a file that has `bytes`; none once `stop` is set.
fn digest(path: &Path, bytes: u64, stop: &AtomicBool) -> io::Result<Option<Digest>> {
    /// Ends early once it is told to stop.
    struct Stoppable<'a> {
        file: File,
        bytes: u64,
        stop: &'a AtomicBool,
    }
    impl Read for Stoppable<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(0);
            }
            let read = self.file.read(buffer)?;
            self.bytes += read as u64;
            Ok(read)
        }
    }
    let file = File::open(path)?;
    let mut reader = Stoppable { file, bytes: 0, stop };
    let digest = Digest::of_reader(&mut reader)?;
    match reader.bytes == bytes {
        _ if stop.load(Ordering::Relaxed) => Ok(None),
        true => Ok(Some(digest)),
        false => Err(io::Error::other("the file changed while it was read")),
    }
}

#[cfg(test)]
mod tests;
