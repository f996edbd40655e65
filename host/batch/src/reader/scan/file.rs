use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, TimestampMicrosecondType};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};
use parquet::file::metadata::ColumnChunkMetaData;
use unskew_frame::{Column, ColumnType};
use unskew_snapshot::EventTime;

use super::Morsel;
use crate::array::to_canonical;
use crate::job::InputStamp;
use crate::reader::carry::is_carried;
use crate::reader::filter::{self, Condition, Filter, TypedCondition, Verdict, all_of};
use crate::reader::input::Input;
use crate::reader::listing::{Partition, SourceFile};
use crate::reader::parquet_file::{cast_error, guard};
use crate::reader::{ReadError, Request, Wanted, locate};

/// A Parquet file of a scan.
pub(super) struct ParquetFile {
    source: SourceFile,
    pub input: Input,
    pub bytes: u64,
    metadata: ArrowReaderMetadata,
    /// Where the wanted columns are; none of one that is not there.
    pub wanted: Vec<Option<Place>>,
    /// Where the carried columns are, in their order.
    pub carried: Vec<Place>,
    /// The row groups that are read.
    pub groups: Vec<Group>,
}

/// Where the values of a column are.
pub(super) enum Place {
    /// In a column of the file.
    File(usize),
    /// In the name of a directory: a scalar.
    Partition(Column),
    /// The same, of a column that is carried.
    Carried(Partition, DataType),
}

/// A row group of which rows are read.
pub(super) struct Group {
    index: usize,
    /// Its first row in the file.
    first_in_file: usize,
    /// The rows that are read.
    pub rows: usize,
    /// Which they are, if not all.
    selection: Option<RowSelection>,
}

impl Place {
    pub fn in_file(&self) -> Option<usize> {
        match self {
            Self::File(index) => Some(*index),
            Self::Partition(_) | Self::Carried(..) => None,
        }
    }
}

impl SourceFile {
    /// Whether the names of its directories leave it open that it has rows that a filter takes.
    pub fn may_fulfil(&self, filter: &Filter, partition_types: &[DataType]) -> Result<bool, ReadError> {
        for condition in &filter.conditions {
            let partitions = self.partitions.iter().zip(partition_types);
            for (partition, data_type) in partitions.filter(|(partition, _)| partition.name == condition.column) {
                let typed = condition.typed(&self.path, data_type, None)?;
                let value = partition.canonical(&self.path, typed.column_type)?;
                if !guard(&self.path, || typed.mask(&value))?.value(0) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

impl ParquetFile {
    /// The file, and the fields that it carries.
    pub fn open(
        source: &SourceFile,
        (input, bytes): (Input, u64),
        partition_types: &[DataType],
        request: &Request<'_>,
    ) -> Result<(Self, Vec<Field>), ReadError> {
        let path = &source.path;
        let footer = input.footer(path)?;
        let metadata = guard(path, || ArrowReaderMetadata::load(&footer, ArrowReaderOptions::new()))?;
        let fields = metadata.schema().fields();
        let names = source.all_names(fields.iter().map(|field| field.name().as_str()));
        let in_file = fields.len();
        let wanted_at = |(wanted, index): (&Wanted, Option<usize>)| {
            let at = |index: usize| match index.checked_sub(in_file) {
                None => Ok(Place::File(index)),
                Some(index) => Ok(Place::Partition(source.partitions[index].column(path, wanted)?)),
            };
            index.map(at).transpose()
        };
        let wanted = locate(path, &names, request.columns)?;
        let wanted = request
            .columns
            .iter()
            .zip(wanted)
            .map(wanted_at)
            .collect::<Result<_, _>>()?;
        let carried: Vec<usize> = (0..names.len())
            .filter(|index| is_carried(names[*index], request))
            .collect();
        let duplicate = carried.iter().enumerate().find(|(position, index)| {
            let name = names[**index];
            carried[..*position].iter().any(|earlier| names[*earlier] == name)
        });
        if let Some((_, index)) = duplicate {
            return Err(ReadError::DuplicateColumn {
                path: path.clone(),
                column: names[*index].to_owned(),
            });
        }
        let carried_at = |index: usize| match index.checked_sub(in_file) {
            None => Place::File(index),
            Some(index) => Place::Carried(source.partitions[index].clone(), partition_types[index].clone()),
        };
        let carried: Vec<(&str, Place)> = carried
            .into_iter()
            .map(|index| (names[index], carried_at(index)))
            .collect();
        // Without the metadata of where a field came from.
        let field = |(name, at): &(&str, Place)| {
            let data_type = match at {
                Place::File(index) => fields[*index].data_type().clone(),
                Place::Partition(value) => crate::array::canonical_type(value.column_type()),
                Place::Carried(_, data_type) => data_type.clone(),
            };
            Field::new(*name, data_type, true)
        };
        let carried_fields = carried.iter().map(field).collect();
        let file = Self {
            input,
            bytes,
            wanted,
            carried: carried.into_iter().map(|(_, at)| at).collect(),
            groups: groups_of(&metadata),
            metadata,
            source: source.clone(),
        };
        Ok((file, carried_fields))
    }

    pub fn path(&self) -> &Path {
        &self.source.path
    }

    /// The file as it is before it is read.
    pub fn stamp(&self) -> InputStamp {
        match self.input.object() {
            None => InputStamp::of(self.path(), self.bytes),
            Some((_, object)) => InputStamp::of_object(object),
        }
    }

    /// What the carried columns take before they are compressed.
    pub fn carried_bytes(&self) -> u64 {
        let fields = self.metadata.schema().fields();
        let carried = self.carried.iter().filter_map(Place::in_file);
        let names: std::collections::BTreeSet<&str> = carried.map(|index| fields[index].name().as_str()).collect();
        let groups = self.metadata.metadata().row_groups().iter();
        groups
            .flat_map(|group| group.columns())
            .filter(|column| names.contains(column.column_path().parts()[0].as_str()))
            .map(|column| column.uncompressed_size().unsigned_abs())
            .sum()
    }

    /// The rows that are read.
    pub fn row_count(&self) -> u64 {
        self.groups.iter().map(|group| group.rows as u64).sum()
    }

    /// Whether its rows are read, or it has none that were left out.
    pub fn is_read(&self) -> bool {
        !self.groups.is_empty() || self.metadata.metadata().num_row_groups() == 0
    }

    /// The number in the file, from 0, of a row of a morsel.
    pub fn row_in_file(&self, morsel: &Morsel, row: usize) -> usize {
        let group = &self.groups[morsel.group];
        let mut left = morsel.start + row;
        let Some(selection) = &group.selection else {
            return group.first_in_file + left;
        };
        let mut in_group = 0;
        for selector in selection.iter() {
            if !selector.skip {
                if left < selector.row_count {
                    break;
                }
                left -= selector.row_count;
            }
            in_group += selector.row_count;
        }
        group.first_in_file + in_group + left
    }

    /// Whether the times of a wanted column have a zone.
    pub fn has_zone(&self, wanted: usize) -> Option<bool> {
        match self
            .metadata
            .schema()
            .field(self.wanted[wanted].as_ref()?.in_file()?)
            .data_type()
        {
            DataType::Timestamp(_, zone) => Some(zone.is_some()),
            _ => None,
        }
    }

    /// Times in this file and in the first of its directory have a zone in both or in neither.
    pub fn check_zones(&self, first: &Self, wanted: &[Wanted]) -> Result<(), ReadError> {
        for (index, column) in wanted.iter().enumerate() {
            if let (Some(first_has), Some(has)) = (first.has_zone(index), self.has_zone(index))
                && first_has != has
            {
                let has = |has| if has { "a time zone" } else { "no time zone" };
                return Err(ReadError::ColumnType {
                    path: self.path().to_owned(),
                    column: column.name.clone(),
                    reason: format!(
                        "its times have {} and those of {} {}: write all files alike",
                        has(!first_has),
                        first.path().display(),
                        has(first_has)
                    ),
                });
            }
        }
        Ok(())
    }

    /// Leaves the rows that a filter takes.
    pub fn prune(&mut self, filter: &Filter, request: &Request<'_>) -> Result<(), ReadError> {
        if filter.is_empty() {
            return Ok(());
        }
        // Those on the names of directories are fulfilled.
        let mut conditions = Vec::with_capacity(filter.conditions.len());
        for condition in &filter.conditions {
            conditions.extend(self.condition(condition, request)?);
        }
        let mut kept = Vec::with_capacity(self.groups.len());
        for group in std::mem::take(&mut self.groups) {
            kept.extend(self.selected(group, &conditions)?);
        }
        self.groups = kept;
        Ok(())
    }

    /// A condition on a column of the file, with its statistics; none of one on the name of a directory.
    fn condition(&self, condition: &Condition, request: &Request<'_>) -> Result<Option<FileCondition>, ReadError> {
        let path = self.path();
        let fields = self.metadata.schema().fields();
        let names = self.source.all_names(fields.iter().map(|field| field.name().as_str()));
        let place = filter::locate(path, &names, &condition.column)?;
        let Some(field) = fields.get(place) else {
            return Ok(None);
        };
        let wanted = request.columns.iter().find(|wanted| wanted.name == condition.column);
        let typed = condition.typed(path, field.data_type(), wanted.map(|wanted| wanted.column_type))?;
        Ok(Some(FileCondition {
            place,
            bounds: self.bounds(place, typed.column_type),
            typed,
        }))
    }

    /// The row group with the rows that fulfil all conditions, if it has any.
    fn selected(&self, mut group: Group, conditions: &[FileCondition]) -> Result<Option<Group>, ReadError> {
        let verdict = |condition: &FileCondition| match &condition.bounds {
            Some(bounds) => {
                condition
                    .typed
                    .verdict(&bounds.mins, &bounds.maxes, group.index, bounds.nulls(group.index))
            }
            None => Verdict::Some,
        };
        let verdicts: Vec<Verdict> = conditions.iter().map(verdict).collect();
        if verdicts.contains(&Verdict::None) {
            return Ok(None);
        }
        let mut masks = Vec::new();
        for (condition, _) in conditions
            .iter()
            .zip(verdicts)
            .filter(|(_, verdict)| *verdict == Verdict::Some)
        {
            masks.push(self.mask(&group, condition)?);
        }
        if let Some(mask) = guard(self.path(), || all_of(masks))?
            && mask.true_count() < group.rows
        {
            group.rows = mask.true_count();
            group.selection = Some(RowSelection::from_filters(&[mask]));
        }
        Ok((group.rows > 0).then_some(group))
    }

    fn mask(&self, group: &Group, condition: &FileCondition) -> Result<BooleanArray, ReadError> {
        let arrays = self.read_blaming(group, 0, group.rows, &[condition.place])?;
        let array = to_canonical(&arrays[0], condition.typed.column_type).map_err(|error| {
            let name = self.metadata.schema().field(condition.place).name();
            cast_error(self.path(), |row| group.first_in_file + row, name, error)
        })?;
        guard(self.path(), || condition.typed.mask(&array))
    }

    /// Of each row group that is read, whether it may have times of a wanted column up to `last_us`.
    pub fn begins_by(&self, wanted: usize, last_us: i64) -> Vec<bool> {
        let place = self.wanted[wanted].as_ref().and_then(Place::in_file);
        let bounds = place.and_then(|place| self.bounds(place, ColumnType::Timestamp));
        let begins_by = |group: &Group| {
            let mins = bounds
                .as_ref()
                .and_then(|bounds| bounds.mins.as_primitive_opt::<TimestampMicrosecondType>());
            mins.is_none_or(|mins| mins.is_null(group.index) || mins.value(group.index) <= last_us)
        };
        self.groups.iter().map(begins_by).collect()
    }

    /// Leaves out the row groups of which all rows happened and, where that is told, became known before `since`.
    pub fn leave_since(&mut self, event_time: usize, known_at: Option<usize>, since: EventTime) {
        let last_of = |wanted: usize| {
            let place = self.wanted[wanted].as_ref().and_then(Place::in_file)?;
            self.bounds(place, ColumnType::Timestamp)
        };
        let bounds = [Some(event_time), known_at].map(|wanted| wanted.map(last_of));
        let is_old = |group: &Group| {
            let is_before = |bounds: &Option<Bounds>| {
                let maxes = bounds
                    .as_ref()
                    .and_then(|found| found.maxes.as_primitive_opt::<TimestampMicrosecondType>());
                maxes.is_some_and(|maxes| maxes.is_valid(group.index) && maxes.value(group.index) < since.0)
            };
            bounds.iter().flatten().all(is_before)
        };
        let old: Vec<bool> = self.groups.iter().map(is_old).collect();
        let mut old = old.into_iter();
        self.groups.retain(|_| !old.next().unwrap_or(false));
    }

    /// The least and the greatest values of a column in each row group of the file, as far as it says.
    fn bounds(&self, place: usize, column_type: ColumnType) -> Option<Bounds> {
        let (schema, parquet) = (self.metadata.schema(), self.metadata.parquet_schema());
        let groups = || self.metadata.metadata().row_groups().iter();
        let read = || -> Result<Bounds, String> {
            let converter = StatisticsConverter::try_new(schema.field(place).name(), schema, parquet)
                .map_err(|error| error.to_string())?
                .with_missing_null_counts_as_zero(false);
            let bound = |found: parquet::errors::Result<ArrayRef>| -> Result<ArrayRef, String> {
                let array = found.map_err(|error| error.to_string())?;
                to_canonical(&array, column_type).map_err(|error| error.to_string())
            };
            Ok(Bounds {
                mins: bound(converter.row_group_mins(groups()))?,
                maxes: bound(converter.row_group_maxes(groups()))?,
                nulls: converter
                    .row_group_null_counts(groups())
                    .map_err(|error| error.to_string())?,
            })
        };
        // What cannot be read of them tells nothing: then the rows are read.
        guard(self.path(), read).ok()
    }

    /// The columns of the file at `places`, ascending; as many at a time as have pages of about `page_bytes`, or one.
    pub fn read(&self, morsel: &Morsel, places: &[usize], page_bytes: u64) -> Result<Vec<ArrayRef>, ReadError> {
        let group = &self.groups[morsel.group];
        let mut arrays = Vec::with_capacity(places.len());
        let mut rest = places;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |place: &&usize| {
                bytes += self.page_bytes(group, **place);
                bytes <= page_bytes
            };
            let count = rest.iter().take_while(fits).count().max(1);
            let (now, later) = rest.split_at(count);
            arrays.extend(self.read_blaming(group, morsel.start, morsel.rows, now)?);
            rest = later;
        }
        Ok(arrays)
    }

    /// About what the reader of a column has in memory: a page and a dictionary, which few files have larger.
    fn page_bytes(&self, group: &Group, place: usize) -> u64 {
        const MOST: u64 = 2 << 20;
        let parquet = self.metadata.parquet_schema();
        let columns = self.metadata.metadata().row_group(group.index).columns().iter();
        let of_place = columns
            .enumerate()
            .filter(|(leaf, _)| parquet.get_column_root_idx(*leaf) == place);
        of_place
            .map(|(_, column)| column.uncompressed_size().unsigned_abs().min(MOST))
            .sum()
    }

    /// The columns of some of the rows of a group that are read. An error says which of the columns it is in.
    fn read_blaming(
        &self,
        group: &Group,
        start: usize,
        rows: usize,
        places: &[usize],
    ) -> Result<Vec<ArrayRef>, ReadError> {
        self.read_columns(group, start, rows, places).map_err(|error| {
            // Which of them it is, reading each alone.
            let blamed = places
                .iter()
                .find(|place| self.read_columns(group, start, rows, &[**place]).is_err());
            match (error, blamed) {
                (ReadError::Malformed { path, reason, .. }, Some(place)) => ReadError::Malformed {
                    path,
                    place: None,
                    reason: format!(
                        "row group {}, column `{}`: {reason}",
                        group.index,
                        self.metadata.schema().field(*place).name()
                    ),
                },
                (error, _) => error,
            }
        })
    }

    fn read_columns(
        &self,
        group: &Group,
        start: usize,
        rows: usize,
        places: &[usize],
    ) -> Result<Vec<ArrayRef>, ReadError> {
        let path = self.path();
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), places.iter().copied());
        let input = self.input.ranges(path, || self.chunks(group, &mask))?;
        let mut batches = guard(path, || {
            let group_rows = self.metadata.metadata().row_group(group.index).num_rows();
            let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(input, self.metadata.clone())
                .with_batch_size(rows)
                .with_row_groups(vec![group.index])
                .with_projection(mask);
            if rows as i64 != group_rows {
                let part = RowSelection::from(vec![RowSelector::skip(start), RowSelector::select(rows)]);
                builder = builder.with_row_selection(match &group.selection {
                    None => part,
                    Some(selection) => {
                        let behind = group.rows - start - rows;
                        let part = vec![
                            RowSelector::skip(start),
                            RowSelector::select(rows),
                            RowSelector::skip(behind),
                        ];
                        selection.and_then(&RowSelection::from(part))
                    }
                });
            }
            builder.build()
        })?;
        let mut read: Vec<Vec<ArrayRef>> = vec![Vec::new(); places.len()];
        while let Some(batch) = guard(path, || batches.next().transpose())? {
            for (arrays, array) in read.iter_mut().zip(batch.columns()) {
                arrays.push(Arc::clone(array));
            }
        }
        let whole = |arrays: Vec<ArrayRef>| -> Result<ArrayRef, ReadError> {
            let array = match arrays.as_slice() {
                [array] => Arc::clone(array),
                _ => {
                    let arrays: Vec<&dyn Array> = arrays.iter().map(|array| &**array).collect();
                    guard(path, || concat(&arrays))?
                }
            };
            let has_all = array.len() == rows;
            let missing = format!("row group {} has fewer rows than it says", group.index);
            guard(path, || has_all.then_some(array).ok_or(missing))
        };
        read.into_iter().map(whole).collect()
    }

    /// Where the column chunks of a row group are that a mask takes.
    fn chunks(&self, group: &Group, mask: &ProjectionMask) -> Vec<Range<u64>> {
        let columns = self.metadata.metadata().row_group(group.index).columns().iter();
        let of_mask = columns.enumerate().filter(|(leaf, _)| mask.leaf_included(*leaf));
        let mut chunks: Vec<Range<u64>> = of_mask.map(|(_, column)| chunk_of(column)).collect();
        chunks.sort_unstable_by_key(|chunk| chunk.start);
        // Those that a damaged file has inside each other are left to the reader, which says so.
        chunks.dedup_by(|next, chunk| next.start < chunk.end);
        chunks
    }
}

/// Where a column chunk is. What a damaged file says of it need not make sense.
fn chunk_of(column: &ColumnChunkMetaData) -> Range<u64> {
    let dictionary = column.dictionary_page_offset().filter(|offset| *offset > 0);
    let start = dictionary
        .unwrap_or(i64::MAX)
        .min(column.data_page_offset())
        .unsigned_abs();
    start..start.saturating_add(column.compressed_size().unsigned_abs())
}

/// A condition on a column of a file.
struct FileCondition {
    place: usize,
    typed: TypedCondition,
    bounds: Option<Bounds>,
}

/// What the statistics of a column say of each row group: canonical arrays.
struct Bounds {
    mins: ArrayRef,
    maxes: ArrayRef,
    nulls: arrow::array::UInt64Array,
}

impl Bounds {
    fn nulls(&self, group: usize) -> Option<u64> {
        self.nulls.is_valid(group).then(|| self.nulls.value(group))
    }
}

/// All row groups of a file.
fn groups_of(metadata: &ArrowReaderMetadata) -> Vec<Group> {
    let mut first_in_file = 0;
    let group = |(index, group): (usize, &parquet::file::metadata::RowGroupMetaData)| {
        let group = Group {
            index,
            first_in_file,
            rows: usize::try_from(group.num_rows()).unwrap_or(0),
            selection: None,
        };
        first_in_file += group.rows;
        group
    };
    metadata.metadata().row_groups().iter().enumerate().map(group).collect()
}
