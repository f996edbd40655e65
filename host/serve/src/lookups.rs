use std::sync::Arc;

use unskew_frame::{Column, ColumnType};
use unskew_snapshot::{EntityKeys, EventTime, HashedKey, KeyPart, Layers, Row, RowIndex, Status, row_status};

use crate::catalog::WhenStale;
use crate::evaluation::Evaluation;
use crate::fresh::{Answer, Entry, EventColumns, Filter, Overlay};
use crate::generation::ServedView;
use crate::plan::{Plan, ViewRead, ViewStep};

/// Keys of each view that are asked for before any key is read. Behind so many a view's own lookups overlap enough, and what
/// they bring fits in the nearest cache.
const KEYS_AHEAD: usize = 16;
/// Values outside of their rows that are asked for before the first is copied.
const BYTES_AHEAD: usize = 16;
/// Keys that are handed over together.
const BATCH_KEYS: usize = 128;

/// The rows that a request's keys have in the snapshots of its views, or fresher ones. All keys of a request are looked up together, so that
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
    /// What is fresher of them; empty where nothing is of any.
    fresh: Vec<Option<FreshRow>>,
    /// Those that may have something fresher.
    passed: Vec<usize>,
    /// Of how many of them the aggregate has to be given events besides the state.
    late: usize,
    /// How many of them have fresh events that could not be counted in.
    failed: usize,
    /// Whether none of them counts, for the snapshot is too old.
    is_stale: bool,
}

/// What an entity has that is fresher than its snapshot, and what of it a request sees.
#[derive(Debug)]
struct FreshRow {
    entry: Arc<Entry>,
    answer: Answer,
}

impl FreshRow {
    /// The row to read, if it is not the snapshot's.
    fn row<'a>(&'a self, in_snapshot: Option<Row<'a>>, layers: &'a Layers) -> Option<Row<'a>> {
        match self.answer {
            Answer::Step(step) | Answer::Late { step: Some(step), .. } => {
                Some(self.entry.row(step, &layers.base().snapshot))
            }
            Answer::Snapshot | Answer::Late { step: None, .. } => in_snapshot,
            Answer::Future | Answer::Failed => None,
        }
    }
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
                lookup.ask(&view.layers);
            }
        }
        for (lookup, view) in self.views.iter_mut().zip(views) {
            if !lookup.is_stale {
                lookup.get(&view.layers);
                if let Some(fresh) = &view.fresh
                    && let Some(filter) = fresh.filter()
                {
                    lookup.get_fresh(fresh, filter, time);
                }
            }
        }
        for (index, (lookup, step)) in self.views.iter_mut().zip(&plan.views).enumerate() {
            let layers = &views[index].layers;
            lookup.judge(step, layers, time, &mut evaluation.statuses[index], |row| {
                found(index, row);
            });
        }
    }

    /// The rows of a view, of which there is one for each row of the request, or one for all.
    pub fn rows<'a>(&'a self, view: usize, layers: &'a Layers) -> impl ExactSizeIterator<Item = Option<Row<'a>>> {
        let ViewLookup { found, fresh, .. } = &self.views[view];
        let found = found.iter().enumerate();
        found.map(|(row, index)| row_of(*index, fresh.get(row), layers))
    }

    /// The row of a view that stands for a row of the request.
    pub fn row<'a>(&'a self, view: usize, row: usize, layers: &'a Layers) -> Option<Row<'a>> {
        let lookup = &self.views[view];
        let row = if lookup.is_scalar { 0 } else { row };
        lookup.row(row, layers)
    }

    /// Whether some entity of a view has fresh events that could not be counted in.
    pub fn has_failed(&self, view: usize) -> bool {
        self.views[view].failed > 0
    }

    /// Whether the aggregate of a view is to be given the events that [`append_late`](Self::append_late) appends.
    pub fn is_late(&self, view: usize) -> bool {
        self.views[view].late > 0
    }

    /// Appends, of each row of an aggregate's view, the events that count besides its state, and how many they are.
    pub fn append_late(&self, view: usize, events: &mut EventColumns, counts: &mut Column) {
        let lookup = &self.views[view];
        for row in 0..lookup.found.len() {
            let late = lookup
                .fresh
                .get(row)
                .and_then(Option::as_ref)
                .and_then(|fresh| match fresh.answer {
                    Answer::Late { events, .. } => Some(&fresh.entry.pending[..events]),
                    _ => None,
                });
            let late = late.unwrap_or_default();
            late.iter().for_each(|event| events.push(row, event));
            counts.push_i64(late.len() as i64);
        }
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
    pub fn gather(&self, view: usize, layers: &Layers, feature: usize, column: &mut Column) {
        let rows = self.rows(view, layers);
        match column.column_type() {
            ColumnType::F64 => fill(column, rows, feature, |column, row| column.push_f64(row.f64(feature))),
            ColumnType::F32 => fill(column, rows, feature, |column, row| column.push_f32(row.f32(feature))),
            ColumnType::I64 => fill(column, rows, feature, |column, row| column.push_i64(row.i64(feature))),
            ColumnType::Bool => fill(column, rows, feature, |column, row| column.push_bool(row.bool(feature))),
            ColumnType::Timestamp => fill(column, rows, feature, |column, row| {
                column.push_timestamp(row.timestamp(feature));
            }),
            ColumnType::String => fill(column, rows, feature, |column, row| column.push_str(row.str(feature))),
            ColumnType::Bytes => self.gather_bytes(view, layers, feature, column),
            ColumnType::Vector(_) => fill(column, rows, feature, |column, row| {
                column.push_vector(row.vector(feature));
            }),
        }
    }

    /// Values that are not in their rows, such as states, are asked for some ahead of the one that is copied.
    fn gather_bytes(&self, view: usize, layers: &Layers, feature: usize, column: &mut Column) {
        let mut ahead = self.rows(view, layers);
        let mut ask = |rows: usize| {
            let rows = ahead.by_ref().take(rows).flatten();
            rows.for_each(|row| row.prefetch_bytes(feature));
        };
        ask(BYTES_AHEAD);
        let rows = self.rows(view, layers).inspect(|_| ask(1));
        fill(column, rows, feature, |column, row| {
            column.push_bytes(row.bytes(feature))
        });
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
        self.fresh.clear();
        (self.late, self.failed) = (0, 0);
    }

    /// Asks for what the first keys need first.
    fn ask(&self, layers: &Layers) {
        for row in 0..self.keys.len().min(KEYS_AHEAD) {
            layers.prefetch(self.keys.hashed(row));
        }
    }

    fn get(&mut self, layers: &Layers) {
        if self.keys.len() <= KEYS_AHEAD {
            // All were asked for.
            for (row, found) in self.found.iter_mut().enumerate() {
                *found = layers.find(self.keys.hashed(row));
            }
            return;
        }
        for (batch, found) in self.found.chunks_mut(BATCH_KEYS).enumerate() {
            let mut keys = [HashedKey::EMPTY; BATCH_KEYS];
            let keys = &mut keys[..found.len()];
            for (key, row) in keys.iter_mut().zip(batch * BATCH_KEYS..) {
                *key = self.keys.hashed(row);
            }
            layers.get_into(keys, found);
        }
    }

    /// Looks for what is fresher than what was found. What is waited for of many keys is asked for of all of them first: their places,
    /// then their entries, then their rows.
    #[inline(never)]
    fn get_fresh(&mut self, overlay: &Overlay, filter: &Filter, time: EventTime) {
        self.passed.clear();
        let passed = (0..self.keys.len()).filter(|row| filter.may_have(self.keys.hashed(*row).hash()));
        self.passed.extend(passed);
        if self.passed.is_empty() {
            return;
        }
        let table = overlay.table();
        let hash = |row: &usize| self.keys.hashed(*row).hash();
        for batch in self.passed.chunks(BATCH_KEYS) {
            batch.iter().for_each(|row| table.prefetch_place(hash(row)));
            batch.iter().for_each(|row| table.prefetch_entry(hash(row)));
            for row in batch {
                let Some(entry) = table.get(self.keys.hashed(*row)) else {
                    continue;
                };
                entry.prefetch_row();
                if self.fresh.is_empty() {
                    self.fresh.resize_with(self.keys.len(), || None);
                }
                let answer = entry.answer(time);
                self.fresh[*row] = Some(FreshRow { entry, answer });
            }
        }
    }

    #[inline]
    fn row<'a>(&'a self, row: usize, layers: &'a Layers) -> Option<Row<'a>> {
        row_of(*self.found.get(row)?, self.fresh.get(row), layers)
    }

    /// What became of each row; those that do not count are forgotten.
    #[inline]
    fn judge(
        &mut self,
        step: &ViewStep,
        layers: &Layers,
        time: EventTime,
        statuses: &mut Vec<Status>,
        mut counts: impl FnMut(Row<'_>),
    ) {
        if self.is_stale {
            statuses.extend(self.found.iter().map(|_| Status::Stale));
            return;
        }
        let is_aggregate = matches!(step.read, ViewRead::Aggregate { .. });
        for index in 0..self.found.len() {
            let fresh = self.fresh.get(index).and_then(Option::as_ref);
            let answer = fresh.map_or(Answer::Snapshot, |fresh| fresh.answer);
            let row = self.row(index, layers);
            let is_late = matches!(answer, Answer::Late { .. });
            let status = match (answer, row) {
                (Answer::Future, _) => Status::Future,
                (Answer::Failed, _) => Status::Failed,
                // Its first events, and no state before.
                (Answer::Late { .. }, None) => Status::Present,
                (_, None) => Status::NotFound,
                (_, Some(row)) if !is_aggregate => row_status(row.event_time(), step.ttl, time),
                // A window ends before the prediction time: a state with an event at or after it cannot be read.
                (_, Some(row)) if row.event_time() >= time => Status::Future,
                (_, Some(_)) => Status::Present,
            };
            statuses.push(status);
            self.failed += usize::from(status == Status::Failed);
            if status != Status::Present {
                self.found[index] = None;
                if let Some(fresh) = self.fresh.get_mut(index) {
                    *fresh = None;
                }
                continue;
            }
            self.late += usize::from(is_late);
            if let Some(row) = self.row(index, layers) {
                counts(row);
            }
        }
    }
}

/// The row in the snapshot, or what is fresher.
#[inline]
fn row_of<'a>(found: Option<RowIndex>, fresh: Option<&'a Option<FreshRow>>, layers: &'a Layers) -> Option<Row<'a>> {
    let in_snapshot = found.map(|index| layers.row(index));
    match fresh {
        Some(Some(fresh)) => fresh.row(in_snapshot, layers),
        _ => in_snapshot,
    }
}

/// The keys of columns of i64s, none of which is missing.
fn push_i64s<const N: usize>(keys: &mut EntityKeys, columns: [&Column; N], rows: usize) {
    let columns = columns.map(Column::view);
    keys.extend_i64s(rows, |row| columns.map(|column| column.i64(row)));
}
