use std::path::PathBuf;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::compute::filter;
use unskew_frame::Column;
use unskew_snapshot::EventTime;

use crate::array::{append_array, array_to_column};
use crate::backfill::BackfillError;
use crate::reader::{InputFile, Request, Scan, Wanted};
use crate::table::{Table, times_of};
use crate::view::{HistorySource, ViewTable};

/// Rows that are looked at together.
const MORSEL_ROWS: usize = 1 << 16;

/// Some rows of a view's history, and where they are.
pub(crate) struct ViewRows {
    pub table: ViewTable,
    /// The files that were read.
    pub files: Vec<InputFile>,
    paths: Vec<PathBuf>,
    /// Of each row, the index of its file and its number there, from 0.
    origins: Vec<(u32, u64)>,
}

impl ViewRows {
    /// Reads the rows that `keep` takes, by event time and known-at. Row groups that are older than `since` throughout by their
    /// statistics are not read; `keep` takes none of them.
    pub fn read(
        source: HistorySource,
        since: Option<EventTime>,
        keep: impl Fn(EventTime, Option<EventTime>) -> bool,
    ) -> Result<Self, BackfillError> {
        let mut wanted: Vec<Wanted> = source.table.columns.iter().map(Wanted::from).collect();
        let event_time = wanted.len();
        wanted.push(Wanted::time(&source.table.event_time, false));
        let known_at = source.table.known_at.as_ref().map(|known_at| {
            wanted.push(Wanted::time(known_at, true));
            event_time + 1
        });
        let request = Request {
            columns: &wanted,
            carry: None,
        };
        let mut scan = Scan::open(&source.storage, &source.table.path, &request)?;
        if let Some(since) = since {
            scan.leave_since(event_time, known_at, since);
        }

        let all: Vec<usize> = (0..wanted.len()).collect();
        let mut columns: Vec<Column> = wanted.iter().map(|column| Column::new(column.column_type)).collect();
        let (mut paths, mut origins): (Vec<PathBuf>, Vec<(u32, u64)>) = Default::default();
        for morsel in scan.morsels(MORSEL_ROWS, u64::MAX) {
            let arrays = scan.read(&morsel, &all, false)?.columns;
            let times = |index: usize| read_times(&arrays[index], &wanted[index]);
            let event_times = times(event_time)?;
            let known_ats = known_at.map(times).transpose()?;
            let is_kept = |(row, time): (usize, &Option<EventTime>)| {
                let known_at = known_ats.as_ref().and_then(|known_at| known_at[row]);
                time.is_some_and(|time| keep(time, known_at))
            };
            let mask: Vec<bool> = event_times.iter().enumerate().map(is_kept).collect();
            let (path, first_row) = scan.place(&morsel);
            if paths.last().map(PathBuf::as_path) != Some(path) {
                paths.push(path.to_owned());
            }
            let kept = mask.iter().enumerate().filter(|(_, is_kept)| **is_kept);
            origins.extend(kept.map(|(row, _)| (paths.len() as u32 - 1, first_row + row as u64)));
            let mask = BooleanArray::from(mask);
            for (column, array) in columns.iter_mut().zip(&arrays) {
                let kept = filter(array, &mask).map_err(too_large)?;
                append_array(&kept, column).map_err(too_large)?;
            }
        }
        let files = scan.digest_files(&Default::default())?;
        let mut times = columns
            .split_off(event_time)
            .into_iter()
            .map(|column| times_of(&column));
        let event_time = times.next().unwrap_or_default().into_iter().flatten().collect();
        let names = source.table.columns.iter().map(|column| column.name.clone());
        let table = Table::new(names.zip(columns).collect(), event_time, times.next());
        Ok(Self {
            table: ViewTable::new(source.view, table, source.key_columns),
            files,
            paths,
            origins,
        })
    }

    /// The file of a row of the table and its number there, from 0.
    pub fn origin(&self, row: u32) -> (&PathBuf, u64) {
        let (path, row) = self.origins[row as usize];
        (&self.paths[path as usize], row)
    }
}

fn read_times(array: &ArrayRef, wanted: &Wanted) -> Result<Vec<Option<EventTime>>, BackfillError> {
    let column = array_to_column(array, wanted.column_type).map_err(too_large)?;
    Ok(times_of(&column))
}

fn too_large(error: impl ToString) -> BackfillError {
    BackfillError::TooLarge {
        reason: error.to_string(),
    }
}
