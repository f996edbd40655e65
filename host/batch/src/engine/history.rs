use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef, TimestampMicrosecondType};
use unskew::{Descriptor, ViewRead, ViewStep};
use unskew_frame::ColumnType;
use unskew_snapshot::{EventTime, event_visible_from, is_late, visible_from};

use super::scatter::too_large;
use crate::array::canonical_type;
use crate::backfill::{BackfillError, BackfillOptions};
use crate::entity_key::EntityKeyError;
use crate::project::Project;
use crate::reader::{Morsel, Pruning, ReadError, Request, Scan, Wanted};
use crate::view::view_source;
use crate::words::{KeyWords, WordError};

/// The history of a view, to be read in pieces: its key's columns, those of its features or its module's events, the event
/// time, and the known-at if the source has one. Or, [numbered](Self::numbered), with the numbers of its rows for features.
pub(crate) struct History {
    /// The number of the view.
    pub view: usize,
    pub step: ViewStep,
    pub scan: Arc<Scan>,
    pub key_columns: usize,
    /// Of the key's columns and of the values.
    pub types: Vec<ColumnType>,
    pub has_known_at: bool,
    /// The columns that the service reads, or all of the events.
    pub kept: Vec<usize>,
    schema: SchemaRef,
    columns: Vec<ColumnSource>,
    /// What was read once the last time that is asked for was known.
    read: Arc<OnceLock<Pruning>>,
}

/// Where the values of a column are from.
#[derive(Clone, Copy)]
enum ColumnSource {
    /// A column of the scan.
    Scan(usize),
    /// The number of the row.
    RowNumber,
}

impl History {
    /// Opens it. `piece_bytes` is what one thread may read at a time.
    pub fn open(
        project: &Project,
        modules: &BTreeMap<String, Descriptor>,
        view: usize,
        step: &ViewStep,
        piece_bytes: u64,
    ) -> Result<Self, BackfillError> {
        let source = view_source(project, modules, &step.view)?;
        let mut columns: Vec<Wanted> = source.table.columns.iter().map(Wanted::from).collect();
        let types: Vec<ColumnType> = columns.iter().map(|column| column.column_type).collect();
        columns.push(Wanted::time(&source.table.event_time, false));
        columns.extend(
            source
                .table
                .known_at
                .iter()
                .map(|known_at| Wanted::time(known_at, true)),
        );
        let request = Request {
            columns: &columns,
            carry: None,
        };
        let mut scan = Scan::open(&source.storage, &source.table.path, &request)?;
        scan.hold_pages(piece_bytes);
        let kept = match &step.read {
            ViewRead::Aggregate { .. } => (source.key_columns..types.len()).collect(),
            ViewRead::Features(features) => features
                .iter()
                .map(|(name, _)| source.feature(name).map(|index| source.key_columns + index))
                .collect::<Result<_, _>>()?,
        };
        Ok(Self {
            view,
            step: step.clone(),
            scan: Arc::new(scan),
            key_columns: source.key_columns,
            types,
            has_known_at: source.table.known_at.is_some(),
            kept,
            read: Arc::default(),
            schema: schema_of(columns.iter().map(|column| column.column_type)),
            columns: (0..columns.len()).map(ColumnSource::Scan).collect(),
        })
    }

    /// The same rows, in which the place of all values is taken by one: the number of the row.
    pub fn numbered(&self) -> Self {
        let keys = 0..self.key_columns;
        let times = self.types.len()..self.columns.len();
        let mut columns: Vec<ColumnSource> = self.columns[keys.clone()].to_vec();
        columns.push(ColumnSource::RowNumber);
        columns.extend(&self.columns[times.clone()]);
        let mut types = self.types[keys].to_vec();
        types.push(ColumnType::I64);
        Self {
            view: self.view,
            step: self.step.clone(),
            scan: Arc::clone(&self.scan),
            key_columns: self.key_columns,
            has_known_at: self.has_known_at,
            kept: vec![self.key_columns],
            schema: schema_of(types.iter().copied().chain(times.map(|_| ColumnType::Timestamp))),
            types,
            columns,
            read: Arc::clone(&self.read),
        }
    }

    /// About how many bytes a row takes in memory.
    pub fn row_bytes(&self) -> u64 {
        self.scan.row_bytes(self.scanned())
    }

    /// About how many bytes the values of a row take that are kept.
    pub fn kept_row_bytes(&self) -> u64 {
        self.scan.row_bytes(self.kept.iter().copied())
    }

    /// What decides which rows are taken: the columns of the key, the event time, and the known-at if there is one.
    pub fn deciding(&self) -> Vec<usize> {
        (0..self.key_columns)
            .chain(self.types.len()..self.columns.len())
            .collect()
    }

    /// The columns of the scan that are read.
    fn scanned(&self) -> impl Iterator<Item = usize> {
        self.columns.iter().filter_map(|column| match column {
            ColumnSource::Scan(index) => Some(*index),
            ColumnSource::RowNumber => None,
        })
    }

    /// Its rows in morsels, but for row groups in which all is later than `last_us`.
    pub fn morsels(&self, max_rows: usize, last_us: i64) -> Vec<Morsel> {
        let all = self.scan.morsels(max_rows, u64::MAX);
        let (morsels, pruning) = self.scan.up_to(all, self.types.len(), last_us);
        self.read.get_or_init(|| pruning);
        morsels
    }

    /// How much of it was read.
    pub fn read_of(&self) -> Pruning {
        self.read.get().copied().unwrap_or(self.scan.pruning())
    }

    /// Times that are compared have a zone on both sides or on neither.
    pub fn check_zone(&self, spine: &Scan, options: &BackfillOptions) -> Result<(), ReadError> {
        let (Some(spine_has), Some(has)) = (spine.has_zone(0), self.scan.has_zone(self.types.len())) else {
            return Ok(());
        };
        if spine_has == has {
            return Ok(());
        }
        let has = |has| if has { "a time zone" } else { "no time zone" };
        Err(ReadError::ColumnType {
            path: options.spine.clone(),
            column: options.time_column.clone(),
            reason: format!(
                "its times have {}, and those of view `{}` {}: write both with a zone, or both in UTC without one",
                has(spine_has),
                self.step.view,
                has(!spine_has)
            ),
        })
    }

    /// Of the batches that [`read`](Self::read) gives.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub fn read(&self, morsel: &Morsel) -> Result<HistoryBatch, BackfillError> {
        let scanned: Vec<usize> = self.scanned().collect();
        let mut read = self.scan.read(morsel, &scanned, false)?.columns.into_iter();
        let first_row = morsel.first_row.cast_signed();
        let column = |source: &ColumnSource| match source {
            ColumnSource::Scan(_) => read.next(),
            ColumnSource::RowNumber => {
                let numbers = Int64Array::from_iter_values(first_row..first_row + morsel.rows as i64);
                Some(Arc::new(numbers) as ArrayRef)
            }
        };
        let columns = self.columns.iter().filter_map(column).collect();
        let batch = batch_of(&self.schema, columns, morsel.rows)?;
        Ok(HistoryBatch {
            words: self.words(&batch).map_err(|error| self.key_error(morsel, error))?,
            batch,
        })
    }

    pub fn keys<'a>(&self, batch: &'a RecordBatch) -> &'a [ArrayRef] {
        &batch.columns()[..self.key_columns]
    }

    pub fn words(&self, batch: &RecordBatch) -> Result<KeyWords, WordError> {
        KeyWords::of(self.keys(batch), batch.num_rows())
    }

    pub fn event_time<'a>(&self, batch: &'a RecordBatch) -> &'a [i64] {
        times(batch.column(self.types.len()))
    }

    pub fn known_at<'a>(&self, batch: &'a RecordBatch) -> Option<&'a ArrayRef> {
        self.has_known_at.then(|| batch.column(self.types.len() + 1))
    }

    /// The first instant at which a row can be seen.
    pub fn visible_from(&self, batch: &RecordBatch, row: usize) -> i64 {
        let known_at = self.known_at(batch).and_then(|known_at| time_at(known_at, row));
        let event_time = EventTime(self.event_time(batch)[row]);
        let from = match self.step.read {
            ViewRead::Features(_) => visible_from(event_time, known_at),
            ViewRead::Aggregate { .. } => event_visible_from(event_time, known_at),
        };
        from.0
    }

    /// Whether a row is an event that counts for nobody, because it became known too late.
    pub fn is_late(&self, batch: &RecordBatch, row: usize) -> bool {
        let known_at = || self.known_at(batch).and_then(|known_at| time_at(known_at, row));
        self.step.lateness.is_some() && is_late(EventTime(self.event_time(batch)[row]), known_at(), self.step.lateness)
    }

    fn key_error(&self, morsel: &Morsel, error: WordError) -> BackfillError {
        BackfillError::Key {
            view: self.step.view.clone(),
            source: EntityKeyError {
                row: morsel.first_row as usize + error.row,
                source: error.source,
            },
        }
    }
}

/// Rows of a history and the words of their keys.
pub(crate) struct HistoryBatch {
    pub batch: RecordBatch,
    pub words: KeyWords,
}

/// The microseconds of a canonical array of times.
pub(crate) fn times(array: &ArrayRef) -> &[i64] {
    array.as_primitive::<TimestampMicrosecondType>().values()
}

/// The time at `row`, if there is one.
pub(crate) fn time_at(array: &ArrayRef, row: usize) -> Option<EventTime> {
    array.is_valid(row).then(|| EventTime(times(array)[row]))
}

/// Unnamed columns of canonical arrays.
pub(crate) fn schema_of(types: impl Iterator<Item = ColumnType>) -> SchemaRef {
    let field =
        |(index, column_type): (usize, ColumnType)| Field::new(index.to_string(), canonical_type(column_type), true);
    Arc::new(Schema::new(types.enumerate().map(field).collect::<Vec<_>>()))
}

pub(crate) fn batch_of(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, BackfillError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(too_large)
}

#[cfg(test)]
mod tests;
