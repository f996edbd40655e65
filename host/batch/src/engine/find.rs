use std::cell::RefCell;
use std::sync::{Mutex, OnceLock};

use arrow::array::{ArrayRef, AsArray, BooleanArray, UInt32Array};
use arrow::compute::{FilterBuilder, concat_batches, take};
use arrow::datatypes::Int64Type;
use unskew::ViewRead;
use unskew_snapshot::encode_row;

use super::Engine;
use super::divide::{Divided, MAX_PIECE_ROWS, Share, piece_rows, scatter};
use super::found::{FoundResult, FoundRows, MAX_FOUND_ROWS, RowSet};
use super::gather::ViewResult;
use super::history::History;
use super::join::{JoinedView, Sides, join_rows, lock};
use super::memory::array_bytes;
use super::scatter::{Partition, share_bits, too_large};
use super::spine_columns::SpineColumns;
use super::spine_rows::concat_arrays;
use crate::array::{canonical_type, value_at};
use crate::asof::NO_ROW;
use crate::backfill::{BackfillError, Phase};
use crate::manifest::ViewCounts;
use crate::reader::Morsel;
use crate::workers::for_each;

/// What a row takes while it is found, beside its key and its times.
const ROW_BYTES: u64 = 24;

/// Joins a view by the numbers of its rows, and reads their values once it is known which are needed:
///
/// ```text
/// scatter  spine and history, of which only keys and times are read
/// find     in each share, for each row of the spine, the number of a row of the history
/// fetch    the values of the rows that were found; they are held until row groups are written
/// ```
///
/// None where values are to move with their rows: those of an aggregate, what memory does not hold, what is to be saved. And
/// where too many rows are chosen by their values.
pub(crate) fn find_view(
    engine: &Engine<'_>,
    view: usize,
    history: &History,
) -> Result<Option<JoinedView>, BackfillError> {
    let numbered = history.numbered();
    let spine_rows = engine.spine.scan().row_count();
    let history_rows = history.scan.row_count();
    let moved_bytes = (spine_rows + history_rows) * (numbered.row_bytes() + ROW_BYTES);
    let fetched_bytes = spine_rows.min(history_rows) * history.kept_row_bytes() + 4 * spine_rows;
    let fits = engine.budget.held.has_room(moved_bytes.max(fetched_bytes));
    let is_saved = engine.saves().is_some();
    if !matches!(history.step.read, ViewRead::Features(_)) || MAX_FOUND_ROWS <= history_rows || !fits || is_saved {
        return Ok(None);
    }
    let columns = SpineColumns::new(engine, view, &numbered);
    let bits = share_bits(moved_bytes, &engine.budget);
    let (divided, shares) = scatter(engine, &numbered, &columns, bits, &vec![true; 1 << bits], None)?;
    let finding = Finding {
        engine,
        history,
        numbered,
        columns,
        shares,
        found: FoundRows::new(spine_rows),
        counts: Mutex::default(),
    };
    if !finding.can_be_done(&divided) || !finding.find_all()? {
        finding.give_back();
        return Ok(None);
    }
    finding.fetch(divided).map(Some)
}

/// A view whose rows are being found.
struct Finding<'a> {
    engine: &'a Engine<'a>,
    history: &'a History,
    /// The same with the numbers of its rows for values.
    numbered: History,
    columns: SpineColumns,
    shares: Vec<Share>,
    found: FoundRows,
    /// What became of the rows of the spine, and how many were chosen by their values.
    counts: Mutex<(ViewCounts, u64)>,
}

impl Finding<'_> {
    /// Whether each share is in memory and can be joined there as a whole.
    fn can_be_done(&self, divided: &Divided) -> bool {
        let is_held = |share: &Share| {
            lock(share)
                .as_ref()
                .is_none_or(|(spine, source)| !spine.is_spilled() && !source.is_spilled())
        };
        divided.division.parts() == self.shares.len() && self.shares.iter().all(is_held)
    }

    /// Finds the rows of all shares; false if too many are chosen by their values.
    fn find_all(&self) -> Result<bool, BackfillError> {
        let rows: u64 = self.shares.iter().map(|share| rows_of(lock(share).as_ref())).sum();
        let fetched = self.history.scan.row_count();
        self.engine.begin(
            Phase::Join,
            Some(&self.history.step.view),
            rows + fetched,
            self.shares.len(),
        );
        let all: Vec<usize> = (0..self.shares.len()).collect();
        let tied = self.find(&all, &TiedRows::default())?;
        if tied.shares.is_empty() {
            return Ok(true);
        }
        match self.read_tied(tied.rows)? {
            None => Ok(false),
            Some(rows) => self.find(&tied.shares, &rows).map(|_| true),
        }
    }

    /// Finds the rows of some shares, but for those where rows decide that are not in `tied`: gives them.
    fn find(&self, tasks: &[usize], tied: &TiedRows) -> Result<Tied, BackfillError> {
        let missing: Mutex<Tied> = Mutex::default();
        for_each(
            self.engine.budget.threads,
            tasks.len(),
            || Ok(()),
            |(), task| {
                self.engine.proceed()?;
                let mut share = lock(&self.shares[tasks[task]]);
                let Some((spine, source)) = &*share else {
                    return Ok(());
                };
                let asked = self.find_share(spine, source, tied)?;
                if asked.is_empty() {
                    let rows = rows_of(share.as_ref());
                    give_back(self.engine, share.take());
                    self.engine.advance(rows, 1);
                } else {
                    let mut missing = lock(&missing);
                    missing.rows.extend(asked);
                    missing.shares.push(tasks[task]);
                }
                Ok::<(), BackfillError>(())
            },
        )?;
        Ok(missing.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// Finds the rows of a share. Gives the rows whose values decide and are not known; with any, nothing is found yet.
    fn find_share(&self, spine: &Partition, source: &Partition, tied: &TiedRows) -> Result<Vec<i64>, BackfillError> {
        let (engine, numbered, columns) = (self.engine, &self.numbered, &self.columns);
        let spine = concat_batches(&columns.schema(engine), spine.pieces()).map_err(too_large)?;
        let source = concat_batches(numbered.schema(), source.pieces()).map_err(too_large)?;
        let numbers = source.column(numbered.key_columns).as_primitive::<Int64Type>().values();
        let asked: RefCell<Vec<i64>> = RefCell::default();
        let encode = |row: u32, out: &mut Vec<u8>| {
            let number = numbers[row as usize];
            if !tied.encode(&self.history.types, number, out) {
                asked.borrow_mut().push(number);
            }
        };
        let sides = Sides {
            history: numbered,
            columns,
            spine: &spine,
            deciding: &source.project(&numbered.deciding()).map_err(too_large)?,
        };
        let joined = join_rows(engine, &sides, &encode, &[], false)?;
        let asked = asked.into_inner();
        if !asked.is_empty() {
            return Ok(asked);
        }
        let rows = columns.row_numbers(&spine).iter().zip(&joined.rows).zip(&joined.status);
        for ((spine_row, row), status) in rows {
            let number = match *row {
                NO_ROW => -1,
                row => numbers[row as usize],
            };
            self.found.set(*spine_row, *status, number);
        }
        let mut counts = lock(&self.counts);
        counts.0.add(&ViewCounts::of(&joined.status));
        counts.1 += joined.ties;
        Ok(asked)
    }

    /// Reads rows whose values decide; none if they are too many.
    fn read_tied(&self, mut rows: Vec<i64>) -> Result<Option<TiedRows>, BackfillError> {
        rows.sort_unstable();
        rows.dedup();
        let (engine, history) = (self.engine, self.history);
        if engine.budget.partition_bytes < rows.len() as u64 * history.row_bytes() {
            return Ok(None);
        }
        let rows_at = |morsel: &Morsel| {
            let (first, end) = (morsel.first_row as i64, morsel.first_row as i64 + morsel.rows as i64);
            &rows[rows.partition_point(|row| *row < first)..rows.partition_point(|row| *row < end)]
        };
        let mut morsels = history.scan.morsels(piece_rows(engine, history.row_bytes()), u64::MAX);
        morsels.retain(|morsel| !rows_at(morsel).is_empty());
        let all: Vec<usize> = (0..history.types.len()).collect();
        let pieces = read_pieces(engine, &morsels, |morsel| {
            let read = history.scan.read(morsel, &all, false)?;
            let in_piece = rows_at(morsel).iter().map(|row| (row - morsel.first_row as i64) as u32);
            let in_piece = UInt32Array::from_iter_values(in_piece);
            let taken = read.columns.iter().map(|column| take(column, &in_piece, None));
            taken.collect::<Result<_, _>>().map(Some).map_err(too_large)
        })?;
        let column = |index: usize| {
            let arrays: Vec<ArrayRef> = pieces.iter().filter_map(|piece| piece.get(index).cloned()).collect();
            concat_arrays(&arrays)
        };
        let columns = all.into_iter().map(column).collect::<Result<_, _>>()?;
        Ok(Some(TiedRows { rows, columns }))
    }

    /// Reads the values of the rows that were found.
    fn fetch(self, divided: Divided) -> Result<JoinedView, BackfillError> {
        let (engine, history) = (self.engine, self.history);
        let (rows, set) = self.found.finish(history.scan.row_count());
        let morsels = history.scan.morsels(MAX_PIECE_ROWS, u64::MAX);
        let pieces = read_pieces(engine, &morsels, |morsel| {
            let piece = fetch_piece(engine, history, &set, morsel)?;
            if let Some(piece) = &piece {
                engine.budget.held.take(piece.iter().map(array_bytes).sum());
            }
            engine.advance(morsel.rows as u64, 0);
            Ok(piece)
        })?;
        let kept = history.kept.iter().map(|column| canonical_type(history.types[*column]));
        let (mut counts, ties) = self
            .counts
            .into_inner()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        counts.without_key = divided.keyless;
        Ok(JoinedView {
            result: ViewResult::Found(FoundResult::new(rows, set, pieces, kept.collect())),
            counts,
            history: divided.history,
            ties,
            quarantined: Vec::new(),
        })
    }

    /// Gives the budget back what is held.
    fn give_back(&self) {
        for share in &self.shares {
            give_back(self.engine, lock(share).take());
        }
    }
}

/// What `read` gives of each morsel, in their order, without those of which it gives nothing. Read by all threads.
fn read_pieces(
    engine: &Engine<'_>,
    morsels: &[Morsel],
    read: impl Fn(&Morsel) -> Result<Option<Vec<ArrayRef>>, BackfillError> + Sync,
) -> Result<Vec<Vec<ArrayRef>>, BackfillError> {
    let pieces: Vec<OnceLock<Vec<ArrayRef>>> = morsels.iter().map(|_| OnceLock::new()).collect();
    for_each(
        engine.budget.threads,
        morsels.len(),
        || Ok(()),
        |(), task| {
            engine.proceed()?;
            if let Some(piece) = read(&morsels[task])? {
                pieces[task].get_or_init(|| piece);
            }
            Ok::<(), BackfillError>(())
        },
    )?;
    Ok(pieces.into_iter().filter_map(OnceLock::into_inner).collect())
}

/// The kept values of those rows of a morsel that were found, if any were: as many columns at a time as have room.
fn fetch_piece(
    engine: &Engine<'_>,
    history: &History,
    set: &RowSet,
    morsel: &Morsel,
) -> Result<Option<Vec<ArrayRef>>, BackfillError> {
    let first = morsel.first_row as usize;
    let mask: BooleanArray = set.mask(&(first..first + morsel.rows));
    let found = mask.true_count();
    if found == 0 {
        return Ok(None);
    }
    let filter = FilterBuilder::new(&mask).optimize().build();
    let column_bytes = (history.kept_row_bytes() / history.kept.len().max(1) as u64 + 1) * morsel.rows as u64;
    let at_once = (engine.budget.partition_bytes / 2 / column_bytes.max(1)).max(1) as usize;
    let mut piece = Vec::with_capacity(history.kept.len());
    for columns in history.kept.chunks(at_once) {
        let read = history.scan.read(morsel, columns, false)?;
        for array in read.columns {
            piece.push(match found == morsel.rows {
                true => array,
                false => filter.filter(&array).map_err(too_large)?,
            });
        }
    }
    Ok(Some(piece))
}

/// What is missing to find rows.
#[derive(Default)]
struct Tied {
    /// Rows of the history whose values decide.
    rows: Vec<i64>,
    shares: Vec<usize>,
}

/// Rows of a history that are chosen from by their values.
#[derive(Default)]
struct TiedRows {
    /// Their numbers, ascending.
    rows: Vec<i64>,
    /// Their keys and values.
    columns: Vec<ArrayRef>,
}

impl TiedRows {
    /// Appends the canonical bytes of a row; false if it is not here.
    fn encode(&self, types: &[unskew_frame::ColumnType], number: i64, out: &mut Vec<u8>) -> bool {
        let Ok(row) = self.rows.binary_search(&number) else {
            return false;
        };
        for (array, column_type) in self.columns.iter().zip(types) {
            encode_row(&[value_at(array, *column_type, row)], out);
        }
        true
    }
}

fn rows_of(share: Option<&(Partition, Partition)>) -> u64 {
    share.map_or(0, |(spine, source)| spine.rows + source.rows)
}

fn give_back(engine: &Engine<'_>, share: Option<(Partition, Partition)>) {
    if let Some((spine, source)) = share {
        engine.budget.held.give(spine.held_bytes() + source.held_bytes());
    }
}
