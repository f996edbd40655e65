use unskew_frame::{Column, ColumnType};
use unskew_snapshot::{EntityKeys, EventTime, KeyPart, KeyRef, Row, RowIndex, Snapshot, Status, row_status};

use crate::catalog::WhenStale;
use crate::evaluation::Evaluation;
use crate::generation::ServedView;
use crate::plan::{Plan, ViewRead, ViewStep};

/// Keys of each view that are asked for before any key is read. Behind so many a view's own lookups overlap enough, and what
/// they bring fits in the nearest cache.
const KEYS_AHEAD: usize = 16;
/// Keys that are handed over together.
const BATCH_KEYS: usize = 128;

/// The rows that a request's keys have in the snapshots of its views. All keys of a request are looked up together, so that
/// their misses overlap, whatever view they are of.
#[derive(Debug)]
pub(crate) struct Lookups {
    /// In the order of the plan's views.
    views: Vec<ViewLookup>,
}

#[derive(Debug, Default)]
struct ViewLookup {
    /// Whether one key stands for all rows.
    is_scalar: bool,
    /// One for each row of the request, or one for all.
    keys: EntityKeys,
    /// Where the values of those rows are; none where they do not count.
    found: Vec<Option<RowIndex>>,
    /// Whether none of them counts, for the snapshot is too old.
    is_stale: bool,
}

impl Lookups {
    pub fn new(plan: &Plan) -> Self {
        Self {
            views: plan.views.iter().map(|_| ViewLookup::default()).collect(),
        }
    }

    /// Looks up the keys that `evaluation` has the fields of, and says what became of them at `time`. Tells `found` the view and
    /// the row where one counts.
    #[inline]
    pub fn find(
        &mut self,
        plan: &Plan,
        views: &[ServedView],
        evaluation: &mut Evaluation,
        time: EventTime,
        mut found: impl FnMut(usize, Row<'_>),
    ) {
        for ((lookup, step), view) in self.views.iter_mut().zip(&plan.views).zip(views) {
            lookup.take_keys(step, evaluation);
            lookup.is_stale = view.when_stale(time) == Some(WhenStale::Missing);
            if !lookup.is_stale {
                lookup.ask(&view.snapshot);
            }
        }
        for (lookup, view) in self.views.iter_mut().zip(views) {
            if !lookup.is_stale {
                lookup.get(&view.snapshot);
            }
        }
        for (index, (lookup, step)) in self.views.iter_mut().zip(&plan.views).enumerate() {
            let snapshot = &views[index].snapshot;
            lookup.judge(step, snapshot, time, &mut evaluation.statuses[index], |row| {
                found(index, row);
            });
        }
    }

    /// The rows of a view, of which there is one for each row of the request, or one for all.
    pub fn rows<'a>(&self, view: usize, snapshot: &'a Snapshot) -> impl ExactSizeIterator<Item = Option<Row<'a>>> {
        let found = self.views[view].found.iter();
        found.map(|index| index.map(|index| snapshot.row(index)))
    }

    /// The row of a view that stands for a row of the request.
    pub fn row<'a>(&self, view: usize, row: usize, snapshot: &'a Snapshot) -> Option<Row<'a>> {
        let lookup = &self.views[view];
        let found = lookup.found.get(if lookup.is_scalar { 0 } else { row });
        found.copied().flatten().map(|index| snapshot.row(index))
    }

    /// Whether one row stands for all of the request.
    pub fn is_scalar(&self, view: usize) -> bool {
        self.views[view].is_scalar
    }

    /// Whether a view's snapshot is too old, and its values are missing for that.
    pub fn is_stale(&self, view: usize) -> bool {
        self.views[view].is_stale
    }

    /// Appends the values of a feature to a column of its type: in a loop of its own for each type.
    pub fn gather(&self, view: usize, snapshot: &Snapshot, feature: usize, column: &mut Column) {
        let rows = self.rows(view, snapshot);
        match column.column_type() {
            ColumnType::F64 => fill(column, rows, feature, |column, row| column.push_f64(row.f64(feature))),
            ColumnType::F32 => fill(column, rows, feature, |column, row| column.push_f32(row.f32(feature))),
            ColumnType::I64 => fill(column, rows, feature, |column, row| column.push_i64(row.i64(feature))),
            ColumnType::Bool => fill(column, rows, feature, |column, row| column.push_bool(row.bool(feature))),
            ColumnType::Timestamp => fill(column, rows, feature, |column, row| {
                column.push_timestamp(row.timestamp(feature));
            }),
            ColumnType::String => fill(column, rows, feature, |column, row| column.push_str(row.str(feature))),
            ColumnType::Bytes => fill(column, rows, feature, |column, row| {
                column.push_bytes(row.bytes(feature))
            }),
            ColumnType::Vector(_) => fill(column, rows, feature, |column, row| {
                column.push_vector(row.vector(feature));
            }),
        }
    }
}

#[inline]
fn fill<'a>(
    column: &mut Column,
    rows: impl Iterator<Item = Option<Row<'a>>>,
    feature: usize,
    push: impl Fn(&mut Column, Row<'a>),
) {
    for row in rows {
        match row {
            Some(row) if row.is_present(feature) => push(column, row),
            _ => column.push_null(),
        }
    }
}

impl ViewLookup {
    /// The keys of a view: one where they are the same for all rows.
    fn take_keys(&mut self, step: &ViewStep, evaluation: &Evaluation) {
        self.is_scalar = evaluation.is_scalar_key(step);
        let rows = if self.is_scalar { 1 } else { evaluation.rows };
        self.keys.clear();
        let column = |slot: &usize| &evaluation.columns[*slot];
        let is_plain = |slot: &usize| {
            let column = column(slot);
            column.column_type() == ColumnType::I64 && column.null_count() == 0
        };
        match &step.keys[..] {
            [key] if is_plain(key) => push_i64s(&mut self.keys, [column(key)], rows),
            [a, b] if is_plain(a) && is_plain(b) => push_i64s(&mut self.keys, [column(a), column(b)], rows),
            keys => {
                for row in 0..rows {
                    let part = |slot: &usize| KeyPart::of(column(slot).view().value(row));
                    let is_whole = keys.iter().all(|slot| part(slot).is_some());
                    // The plan compared the slots' types with the key's. A key beyond the limit is in no snapshot.
                    if !is_whole || self.keys.push(keys.iter().filter_map(part)).is_err() {
                        self.keys.push_missing();
                    }
                }
            }
        }
        self.found.clear();
        self.found.resize(rows, None);
    }

    /// Asks for what the first keys need first.
    fn ask(&self, snapshot: &Snapshot) {
        for row in 0..self.keys.len().min(KEYS_AHEAD) {
            snapshot.prefetch(self.keys.get(row));
        }
    }

    fn get(&mut self, snapshot: &Snapshot) {
        if self.keys.len() <= KEYS_AHEAD {
            // All were asked for.
            for (row, found) in self.found.iter_mut().enumerate() {
                *found = snapshot.get(self.keys.get(row)).map(|row| row.index());
            }
            return;
        }
        for (batch, found) in self.found.chunks_mut(BATCH_KEYS).enumerate() {
            let mut keys = [KeyRef::EMPTY; BATCH_KEYS];
            let keys = &mut keys[..found.len()];
            for (key, row) in keys.iter_mut().zip(batch * BATCH_KEYS..) {
                *key = self.keys.get(row);
            }
            snapshot.get_into(keys, found);
        }
    }

    /// What became of each row; those that do not count are forgotten.
    #[inline]
    fn judge(
        &mut self,
        step: &ViewStep,
        snapshot: &Snapshot,
        time: EventTime,
        statuses: &mut Vec<Status>,
        mut counts: impl FnMut(Row<'_>),
    ) {
        if self.is_stale {
            statuses.extend(self.found.iter().map(|_| Status::Stale));
            return;
        }
        let is_aggregate = matches!(step.read, ViewRead::Aggregate { .. });
        statuses.extend(self.found.iter_mut().map(|found| {
            let Some(row) = found.map(|index| snapshot.row(index)) else {
                return Status::NotFound;
            };
            let status = match is_aggregate {
                false => row_status(row.event_time(), step.ttl, time),
                // A window ends before the prediction time: a state with an event at or after it cannot be read.
                true if row.event_time() >= time => Status::Future,
                true => Status::Present,
            };
            match status {
                Status::Present => counts(row),
                _ => *found = None,
            }
            status
        }));
    }
}

/// The keys of columns of i64s, none of which is missing.
fn push_i64s<const N: usize>(keys: &mut EntityKeys, columns: [&Column; N], rows: usize) {
    let columns = columns.map(Column::view);
    keys.extend_i64s(rows, |row| columns.map(|column| column.i64(row)));
}
