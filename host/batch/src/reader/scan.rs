use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{Array, ArrayRef, BooleanArray, new_null_array};
use arrow::compute::filter as filter_array;
use arrow::datatypes::{DataType, Field};
use unskew::Digest;
use unskew_frame::ColumnType;
use unskew_snapshot::EventTime;

use self::file::{ParquetFile, Place as At};
use super::carry::check_names;
use super::filter::{Filter, all_of};
use super::input::{HeldRanges, Input};
use super::parquet_file::{cast_error, guard, place};
use super::{Format, InputFile, Listing, ReadError, Request, Wanted, open_error};
use crate::array::{canonical_type, column_to_array, text_bytes, to_canonical};
use crate::job::InputStamp;
use crate::storage::{Object, Storage, digest_of};
use crate::workers::for_each_in_order;

mod file;

/// A spine or a source whose rows are read in pieces, by many threads. Parquet is read from the files piece by piece; text
/// files, which are for small things, are read at once.
pub(crate) struct Scan {
    columns: Vec<Wanted>,
    carried: Vec<Field>,
    rows: Rows,
    row_count: u64,
    pruning: Pruning,
    page_bytes: u64,
    held: Arc<HeldRanges>,
}

/// How much of a spine or a source was read, where conditions, or times and statistics, told that the rest is not needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruning {
    /// The files that there are.
    pub files: u64,
    /// Those that were read.
    pub files_read: u64,
    /// The row groups of the files that were opened; none of text files.
    pub row_groups: u64,
    /// Those that were read.
    pub row_groups_read: u64,
}

enum Rows {
    Files(Vec<ParquetFile>),
    /// The columns and the carried ones, whole.
    Memory {
        columns: Vec<ArrayRef>,
        carried: Vec<ArrayRef>,
        file: InputFile,
        /// What the file is, if it is none.
        object: Option<Object>,
    },
}

/// The objects that are opened at once.
const OBJECTS_AT_ONCE: usize = 16;
/// What a thread holds of pages, unless it is told otherwise.
const PAGE_BYTES: u64 = 16 << 20;

/// Consecutive rows of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Morsel {
    file: usize,
    /// Its place among the row groups that are read.
    group: usize,
    /// The first row, of those of the row group that are read.
    start: usize,
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
    pub fn open(storage: &Storage, path: &Path, request: &Request<'_>) -> Result<Self, ReadError> {
        Self::filtered(storage, path, request, &Filter::default())
    }

    /// The same, of the rows that a filter takes. Files whose directories' names and row groups whose statistics tell that
    /// they have none of those are not read; of the others, the columns of the conditions are read now.
    pub fn filtered(storage: &Storage, path: &Path, request: &Request<'_>, filter: &Filter) -> Result<Self, ReadError> {
        let listing = Listing::of(storage, path)?;
        if listing.format != Format::Parquet {
            return Self::read_text(storage, &listing, path, request, filter);
        }
        let held: Arc<HeldRanges> = Arc::default();
        let mut pruning = Pruning {
            files: listing.files.len() as u64,
            ..Pruning::default()
        };
        let mut taken = Vec::with_capacity(listing.files.len());
        for source in &listing.files {
            if source.may_fulfil(filter, &listing.partition_types)? {
                taken.push(source);
            }
        }
        // Of no rows, the columns are known still.
        let is_none = taken.is_empty();
        if is_none {
            taken.extend(listing.files.first());
        }
        let open = |index: usize| -> Result<(ParquetFile, Vec<Field>, usize), ReadError> {
            let input = Input::of(taken[index], storage, &held)?;
            let (mut file, fields) = ParquetFile::open(taken[index], input, &listing.partition_types, request)?;
            let row_groups = file.groups.len();
            match is_none {
                true => file.groups.clear(),
                false => file.prune(filter, request)?,
            }
            Ok((file, fields, row_groups))
        };
        let mut files: Vec<ParquetFile> = Vec::with_capacity(taken.len());
        let mut carried: Option<Vec<Field>> = None;
        let add = |(file, fields, row_groups): (ParquetFile, Vec<Field>, usize)| {
            match &carried {
                None => carried = Some(fields),
                Some(first) => check_carried(file.path(), first, &fields)?,
            }
            if let Some(first) = files.first() {
                file.check_zones(first, request.columns)?;
            }
            pruning.row_groups += row_groups as u64;
            pruning.row_groups_read += file.groups.len() as u64;
            pruning.files_read += u64::from(!file.groups.is_empty() || filter.is_empty());
            files.push(file);
            Ok(())
        };
        // Objects are waited for.
        let threads = match taken.iter().any(|source| source.object.is_some()) {
            true => OBJECTS_AT_ONCE,
            false => 1,
        };
        for_each_in_order(threads, taken.len(), || Ok(()), |(), index| open(index), add)?;
        let row_count = files.iter().map(ParquetFile::row_count).sum();
        Ok(Self {
            columns: request.columns.to_vec(),
            carried: carried.unwrap_or_default(),
            rows: Rows::Files(files),
            row_count,
            pruning,
            page_bytes: PAGE_BYTES,
            held,
        })
    }

    fn read_text(
        storage: &Storage,
        listing: &Listing,
        path: &Path,
        request: &Request<'_>,
        filter: &Filter,
    ) -> Result<Self, ReadError> {
        let mut read = super::read(storage, path, request)?;
        let row_count = read.columns.first().map_or(0, unskew_frame::Column::rows);
        let columns = read.columns.iter().map(|column| column_to_array(column, row_count));
        let mut columns: Vec<ArrayRef> = columns.collect();
        let (fields, mut carried): (Vec<Field>, Vec<ArrayRef>) = read
            .carried
            .into_iter()
            .map(|(name, array)| (Field::new(name, array.data_type().clone(), true), array))
            .unzip();
        let mut row_count = row_count as u64;
        if let Some(mask) = text_mask(path, request, filter, &columns, &fields, &carried)? {
            for array in columns.iter_mut().chain(&mut carried) {
                *array = guard(path, || filter_array(array, &mask))?;
            }
            row_count = mask.true_count() as u64;
        }
        Ok(Self {
            columns: request.columns.to_vec(),
            carried: fields,
            rows: Rows::Memory {
                columns,
                carried,
                file: read.files.remove(0),
                object: listing.files.first().and_then(|file| file.object.clone()),
            },
            row_count,
            pruning: Pruning {
                files: 1,
                files_read: 1,
                ..Pruning::default()
            },
            page_bytes: PAGE_BYTES,
            held: Arc::default(),
        })
    }

    /// Has a thread hold about so many bytes of pages, beside the rows that it reads, and all together four times as many of
    /// objects.
    pub fn hold_pages(&mut self, page_bytes: u64) {
        self.page_bytes = page_bytes;
        self.held.limit(4 * page_bytes);
    }

    /// What was not read.
    pub fn pruning(&self) -> Pruning {
        self.pruning
    }

    /// The morsels but for those of row groups of which the wanted column `column`, one of times, is later than `last_us`
    /// throughout by their statistics, and how many row groups that leaves.
    pub fn up_to(&self, morsels: Vec<Morsel>, column: usize, last_us: i64) -> (Vec<Morsel>, Pruning) {
        let Rows::Files(files) = &self.rows else {
            return (morsels, self.pruning);
        };
        let mut pruning = self.pruning;
        let is_early: Vec<Vec<bool>> = files.iter().map(|file| file.begins_by(column, last_us)).collect();
        pruning.row_groups_read = is_early.iter().flatten().filter(|early| **early).count() as u64;
        pruning.files_read = is_early.iter().filter(|groups| groups.contains(&true)).count() as u64;
        let is_needed = |morsel: &Morsel| is_early[morsel.file][morsel.group];
        (morsels.into_iter().filter(is_needed).collect(), pruning)
    }

    /// The file of a morsel and the number there, from 0, of its first row. The others follow it, unless there is a filter.
    pub fn place(&self, morsel: &Morsel) -> (&Path, u64) {
        match &self.rows {
            Rows::Memory { file, .. } => (&file.path, morsel.first_row),
            Rows::Files(files) => {
                let file = &files[morsel.file];
                (file.path(), file.row_in_file(morsel, 0) as u64)
            }
        }
    }

    /// Leaves out the row groups of which, by their statistics, all rows happened and became known by `since`.
    pub fn leave_since(&mut self, event_time: usize, known_at: Option<usize>, since: EventTime) {
        if let Rows::Files(files) = &mut self.rows {
            files
                .iter_mut()
                .for_each(|file| file.leave_since(event_time, known_at, since));
            self.row_count = files.iter().map(ParquetFile::row_count).sum();
            self.pruning.row_groups_read = files.iter().map(|file| file.groups.len() as u64).sum();
            self.pruning.files_read = files.iter().filter(|file| file.is_read()).count() as u64;
        }
    }

    /// Whether the times of a wanted column have a zone; none where they are no times or there is nothing that could.
    pub fn has_zone(&self, column: usize) -> Option<bool> {
        match &self.rows {
            Rows::Files(files) => files.first()?.has_zone(column),
            Rows::Memory { .. } => None,
        }
    }

    /// All rows.
    pub fn row_count(&self) -> u64 {
        self.row_count
    }

    /// The carried columns, in the order of the first file.
    pub fn carried(&self) -> &[Field] {
        &self.carried
    }

    /// About how many bytes a row of these of the wanted columns takes in memory.
    pub fn row_bytes(&self, wanted: impl Iterator<Item = usize>) -> u64 {
        let fixed = |column_type: ColumnType| match column_type {
            ColumnType::String | ColumnType::Bytes => None,
            ColumnType::Vector(len) => Some(4 * u64::from(len)),
            ColumnType::Bool => Some(1),
            ColumnType::F32 => Some(4),
            _ => Some(8),
        };
        wanted
            .map(|index| fixed(self.columns[index].column_type).unwrap_or_else(|| self.text_bytes()))
            .sum()
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

    /// About how many bytes a row of the carried columns takes in memory: at least 16 each, and what it takes in the files.
    pub fn carried_row_bytes(&self) -> u64 {
        const LEAST: u64 = 16;
        let bytes: u64 = match &self.rows {
            Rows::Memory { carried, .. } => carried.iter().map(|array| array.get_array_memory_size() as u64).sum(),
            Rows::Files(files) => files.iter().map(ParquetFile::carried_bytes).sum(),
        };
        (LEAST * self.carried.len() as u64).max(bytes / self.row_count.max(1))
    }

    /// All rows, in their order, in morsels of at most `max_rows`: none of two row groups, none across a multiple of `align`.
    pub fn morsels(&self, max_rows: usize, align: u64) -> Vec<Morsel> {
        let mut morsels = Vec::new();
        let mut first_row = 0;
        let mut push_group = |file, group, rows: usize| {
            let mut start = 0;
            while start < rows {
                let to_align = usize::try_from(align - first_row % align).unwrap_or(usize::MAX);
                let morsel = Morsel {
                    file,
                    group,
                    start,
                    first_row,
                    rows: max_rows.min(to_align).min(rows - start),
                };
                start += morsel.rows;
                first_row += morsel.rows as u64;
                morsels.push(morsel);
            }
        };
        match &self.rows {
            Rows::Memory { .. } => push_group(0, 0, self.row_count as usize),
            Rows::Files(files) => {
                for (index, file) in files.iter().enumerate() {
                    for (group, found) in file.groups.iter().enumerate() {
                        push_group(index, group, found.rows);
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
                let wanted_at = |index: &usize| file.wanted[*index].as_ref();
                let mut places: Vec<usize> = wanted.iter().filter_map(wanted_at).filter_map(At::in_file).collect();
                if carry {
                    places.extend(file.carried.iter().filter_map(At::in_file));
                }
                places.sort_unstable();
                places.dedup();
                let arrays = file.read(morsel, &places, self.page_bytes)?;
                let array_at = |at: &At| match at {
                    At::File(place) => Arc::clone(&arrays[places.partition_point(|known| known < place)]),
                    At::Partition(value) => column_to_array(value, morsel.rows),
                    At::Carried(partition, data_type) => partition.array(data_type, morsel.rows),
                };
                let column = |index: &usize| {
                    let array = wanted_at(index).map(array_at);
                    self.canonical(file, morsel, &self.columns[*index], array.as_ref())
                };
                let carried = |(at, field): (&At, &Field)| as_first(file, &array_at(at), field);
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
                .map_err(|error| cast_error(file.path(), |row| file.row_in_file(morsel, row), &wanted.name, error))?,
        };
        if !wanted.nullable && array.null_count() > 0 {
            let row = (0..array.len()).find(|row| array.is_null(*row)).unwrap_or(0);
            return Err(ReadError::MissingValue {
                path: file.path().to_owned(),
                place: place(file.row_in_file(morsel, row)),
                column: wanted.name.clone(),
            });
        }
        Ok(array)
    }

    /// The files as they are, before they are read.
    pub fn stamps(&self) -> Vec<InputStamp> {
        match &self.rows {
            Rows::Memory { file, object, .. } => vec![match object {
                None => InputStamp::of(&file.path, file.bytes),
                Some(object) => InputStamp::of_object(object),
            }],
            Rows::Files(files) => files.iter().map(ParquetFile::stamp).collect(),
        }
    }

    /// The files with their digests. Reads all of them; ends early, with fewer, once `stop` is set.
    pub fn digest_files(&self, stop: &AtomicBool) -> Result<Vec<InputFile>, ReadError> {
        match &self.rows {
            Rows::Memory { file, .. } => Ok(vec![file.clone()]),
            Rows::Files(files) => {
                let mut digested = Vec::with_capacity(files.len());
                for file in files.iter().filter(|file| file.is_read()) {
                    let path = file.path();
                    let digest = match file.input.object() {
                        None => digest(path, file.bytes, stop),
                        Some((objects, object)) => digest_of(objects, object, stop),
                    };
                    match digest.map_err(|source| open_error(path, source))? {
                        None => break,
                        Some(digest) => digested.push(InputFile {
                            path: path.to_owned(),
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

/// The rows of a text file that a filter takes; none if it takes all.
fn text_mask(
    path: &Path,
    request: &Request<'_>,
    filter: &Filter,
    columns: &[ArrayRef],
    carried_fields: &[Field],
    carried: &[ArrayRef],
) -> Result<Option<BooleanArray>, ReadError> {
    let wanted = request.columns.iter().map(|wanted| wanted.name.as_str()).zip(columns);
    let others = carried_fields.iter().map(|field| field.name().as_str()).zip(carried);
    let known: Vec<(&str, &ArrayRef)> = wanted.chain(others).collect();
    let mask = |condition: &super::filter::Condition| {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let place = super::filter::locate(path, &names, &condition.column)?;
        let array = known[place].1;
        let typed = condition.typed(path, array.data_type(), None)?;
        guard(path, || typed.mask(array))
    };
    let masks = filter.conditions.iter().map(mask).collect::<Result<_, _>>()?;
    guard(path, || all_of(masks))
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
        false => Err(not_of_one_type(file.path(), field, array.data_type())),
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
