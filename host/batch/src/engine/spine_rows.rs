use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use arrow::array::ArrayRef;
use unskew::{Plan, ViewRead};
use unskew_frame::ColumnType;
use unskew_snapshot::{EventTime, Status};

use super::gather::{GatherCache, ViewResult};
use super::history::times;
use super::memory::Writing;
use crate::asof::Sight;
use crate::backfill::{BackfillError, BackfillOptions};
use crate::reader::{Morsel, Request, Scan, Wanted};
use crate::storage::Storage;
use crate::words::KeyWords;

/// What a row group of the output takes in memory, and its most rows. Neither depends on the machine or on the budget: the
/// same rows are the same file. Tests have smaller ones.
const GROUP_BYTES: u64 = if cfg!(test) { 1 << 14 } else { 64 << 20 };
const MAX_GROUP_ROWS: u64 = 1 << 17;
const MIN_GROUP_ROWS: u64 = if cfg!(test) { 1 << 6 } else { 1 << 10 };
/// The least rows that are worth a call.
const MIN_MORSEL_ROWS: u64 = if cfg!(test) { 1 << 5 } else { 256 };

/// The rows of the spine and, view by view, what was joined with them. Read in pieces, again in every phase.
pub(crate) struct SpineRows {
    scan: Scan,
    sources: Vec<SlotSource>,
    /// Per view, the slots of its key.
    keys: Vec<Vec<usize>>,
    pub morsels: Vec<Morsel>,
    /// The most rows of a morsel.
    pub morsel_rows: u64,
    sight: Sight,
    /// The rows of a row group of the output.
    pub group_rows: u64,
    /// Of all columns of the output, about.
    row_bytes: u64,
    columns: u64,
    results: Vec<OnceLock<ViewResult>>,
}

/// Where the values of a slot are from.
#[derive(Clone, Copy, PartialEq)]
enum SlotSource {
    /// The column of the spine that has the slot's number.
    Spine,
    Constant,
    View {
        view: usize,
        column: usize,
    },
    Transform,
}

/// Some slots of some rows.
pub(crate) struct SlotArrays {
    pub rows: usize,
    /// By slot; none of a constant, of an output of a transform, and of a slot that was not asked for.
    pub arrays: Vec<Option<ArrayRef>>,
    /// By view; empty for one that was not asked for.
    pub statuses: Vec<Vec<Status>>,
    pub carried: Vec<ArrayRef>,
}

impl SpineRows {
    /// Opens the spine, to be read in the pieces that [`read_in`](Self::read_in) makes.
    pub fn open(storage: &Storage, options: &BackfillOptions, plan: &Plan) -> Result<Self, BackfillError> {
        let mut columns = vec![Wanted::time(&options.time_column, false)];
        columns.extend(plan.fields().map(|(_, field)| Wanted {
            name: field.name.clone(),
            column_type: field.column_type,
            required: !field.nullable,
            nullable: field.nullable,
        }));
        let no_types = std::collections::BTreeMap::new();
        let request = Request {
            columns: &columns,
            carry: Some(&no_types),
        };
        let scan = Scan::filtered(storage, &options.spine, &request, &options.filter)?;
        let features: u64 = plan
            .features
            .iter()
            .map(|step| width(plan.slots[step.slot].column_type))
            .sum();
        let row_bytes = (scan.row_bytes(0..columns.len()) + scan.carried_row_bytes() + features).max(1);
        let group_rows = floor_power_of_two(GROUP_BYTES / row_bytes).clamp(MIN_GROUP_ROWS, MAX_GROUP_ROWS);
        Ok(Self {
            morsels: Vec::new(),
            morsel_rows: 0,
            sight: options.sight(),
            columns: (columns.len() + scan.carried().len() + plan.features.len()) as u64,
            row_bytes,
            scan,
            sources: slot_sources(plan),
            keys: plan.views.iter().map(|view| view.keys.clone()).collect(),
            group_rows,
            results: plan.views.iter().map(|_| OnceLock::new()).collect(),
        })
    }

    /// Divides it into morsels. `piece_bytes` is what one thread may read at a time.
    pub fn read_in(&mut self, piece_bytes: u64) {
        let most = floor_power_of_two(piece_bytes / self.row_bytes);
        self.morsel_rows = most.clamp(MIN_MORSEL_ROWS, self.group_rows);
        self.morsels = self.scan.morsels(self.morsel_rows as usize, self.group_rows);
        self.scan.hold_pages(piece_bytes);
    }

    /// What its row groups take while they are written.
    pub fn writing(&self) -> Writing {
        let group_rows = self.group_rows.min(self.scan.row_count());
        Writing {
            columns: self.columns,
            group_rows,
            group_bytes: group_rows * self.row_bytes,
        }
    }

    pub fn scan(&self) -> &Scan {
        &self.scan
    }

    /// How many of the rows of these numbers, ascending, are of each morsel.
    pub fn count_per_morsel(&self, mut rows: &[u64]) -> Vec<u32> {
        let count = |morsel: &Morsel| {
            let end = morsel.first_row + morsel.rows as u64;
            let count = rows.partition_point(|row| *row < end);
            rows = &rows[count..];
            count as u32
        };
        self.morsels.iter().map(count).collect()
    }

    /// Adds what a view gave, once.
    pub fn add_result(&self, view: usize, result: ViewResult) {
        self.results[view].get_or_init(|| result);
    }

    /// Reads `slots` of a morsel, the statuses of `views` and, if `carry`, the spine's other columns.
    pub fn read(
        &self,
        cache: &mut GatherCache,
        morsel: usize,
        slots: &BTreeSet<usize>,
        views: &BTreeSet<usize>,
        carry: bool,
    ) -> Result<SlotArrays, BackfillError> {
        let rows = self.morsels[morsel].rows;
        let mut views = views.clone();
        views.extend(slots.iter().filter_map(|slot| match self.sources[*slot] {
            SlotSource::View { view, .. } => Some(view),
            _ => None,
        }));
        // What tells the part of a row.
        let parted = |view: &&usize| matches!(self.results[**view].get(), Some(ViewResult::Parted(_)));
        let keys = views.iter().filter(parted).flat_map(|view| &self.keys[*view]);
        let mut of_spine: Vec<usize> = slots.iter().chain(keys).copied().collect();
        if views.iter().any(|view| parted(&view)) {
            // What divides a share by time.
            of_spine.push(0);
        }
        of_spine.retain(|slot| self.sources[*slot] == SlotSource::Spine);
        of_spine.sort_unstable();
        of_spine.dedup();

        let piece = self.scan.read(&self.morsels[morsel], &of_spine, carry)?;
        let mut read = SlotArrays {
            rows,
            arrays: vec![None; self.sources.len()],
            statuses: vec![Vec::new(); self.keys.len()],
            carried: piece.carried,
        };
        for (slot, array) in of_spine.into_iter().zip(piece.columns) {
            read.arrays[slot] = Some(array);
        }
        for view in views {
            let of_view = |slot: &usize| match self.sources[*slot] {
                SlotSource::View { view: of, column } if of == view => Some((*slot, column)),
                _ => None,
            };
            let (slots, columns): (Vec<usize>, Vec<usize>) = slots.iter().filter_map(of_view).unzip();
            // A view is read by those after it.
            if let Some(result) = self.results[view].get() {
                let gathered = match result {
                    ViewResult::Found(found) => {
                        let first = self.morsels[morsel].first_row as usize;
                        found.gather(first..first + rows, &columns)?
                    }
                    ViewResult::Parted(parted) => {
                        let keys = self.keys[view].iter().filter_map(|slot| read.arrays[*slot].clone());
                        let words = KeyWords::lenient(&keys.collect::<Vec<ArrayRef>>(), rows);
                        let seen_at = |row: usize| match &read.arrays[0] {
                            Some(array) => self.sight.seen_at(EventTime(times(array)[row])).0,
                            None => i64::MIN,
                        };
                        parted.gather(cache, view, morsel, &words, &seen_at, &columns)?
                    }
                };
                for (slot, array) in slots.into_iter().zip(gathered.columns) {
                    read.arrays[slot] = Some(array);
                }
                read.statuses[view] = gathered.statuses;
            }
        }
        Ok(read)
    }

    /// Whether a slot has a value for each row: it is no constant.
    pub fn has_rows(&self, slot: usize) -> bool {
        self.sources[slot] != SlotSource::Constant
    }

    /// The slots that come neither from a transform nor from the plan itself.
    pub fn joined_slots(&self) -> BTreeSet<usize> {
        let is_joined = |slot: &usize| matches!(self.sources[*slot], SlotSource::Spine | SlotSource::View { .. });
        (0..self.sources.len()).filter(is_joined).collect()
    }
}

impl SlotArrays {
    /// The array of a slot that was asked for.
    pub fn array(&self, slot: usize) -> Result<&ArrayRef, BackfillError> {
        self.arrays[slot].as_ref().ok_or_else(|| BackfillError::TooLarge {
            reason: format!("slot {slot} was not read"),
        })
    }
}

fn slot_sources(plan: &Plan) -> Vec<SlotSource> {
    let of_spine = 1 + plan.request.len() + plan.candidate.len();
    let source = |(slot, definition): (usize, &unskew::Slot)| match &definition.constant {
        Some(_) => SlotSource::Constant,
        None if slot < of_spine => SlotSource::Spine,
        None => SlotSource::Transform,
    };
    let mut sources: Vec<SlotSource> = plan.slots.iter().enumerate().map(source).collect();
    for (view, step) in plan.views.iter().enumerate() {
        let slots: Vec<usize> = match &step.read {
            ViewRead::Features(features) => features.iter().map(|(_, slot)| *slot).collect(),
            ViewRead::Aggregate { outputs, .. } => outputs.clone().collect(),
        };
        for (column, slot) in slots.into_iter().enumerate() {
            sources[slot] = SlotSource::View { view, column };
        }
    }
    sources
}

/// About how many bytes a value takes in memory.
fn width(column_type: ColumnType) -> u64 {
    match column_type {
        ColumnType::Vector(len) => 4 * u64::from(len),
        ColumnType::String | ColumnType::Bytes => 24,
        _ => 8,
    }
}

fn floor_power_of_two(value: u64) -> u64 {
    1 << value.max(1).ilog2()
}

/// One array of several; the only one as it is.
pub(crate) fn concat_arrays(arrays: &[ArrayRef]) -> Result<ArrayRef, BackfillError> {
    if let [array] = arrays {
        return Ok(Arc::clone(array));
    }
    let arrays: Vec<&dyn arrow::array::Array> = arrays.iter().map(|array| &**array).collect();
    arrow::compute::concat(&arrays).map_err(super::scatter::too_large)
}
