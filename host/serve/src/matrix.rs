use unskew_frame::{Column, ColumnType, Value};
use unskew_snapshot::Row;

use crate::evaluation::Evaluation;
use crate::generation::ServedView;
use crate::lookups::Lookups;
use crate::plan::{Plan, ViewRead};

/// Rows that are asked for before one is read.
const ROWS_AHEAD: usize = 3;
/// Features that have to be read of a row for that.
const RUN_AHEAD: usize = 16;
/// The bytes of a row that a lookup of many keys brings near.
const LOOKUP_BYTES: u32 = 256;
/// Columns that are written together, row by row.
const COLUMNS_AT_ONCE: usize = 32;

/// Where the features of a service are when a request was evaluated. What only the model reads is never copied but into its
/// matrix: straight from the rows of the snapshots, features that lie side by side in both at once.
#[derive(Debug)]
pub(crate) struct Layout {
    /// By feature.
    sources: Vec<Source>,
    /// All features, in order.
    runs: Vec<Run>,
    /// What transforms and aggregates read of views: by view, by feature of its snapshot, with the slot.
    pub gathered: Vec<Vec<(usize, usize)>>,
}

/// Where a feature is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// In a column of the evaluation.
    Slot(usize),
    /// In a row of a view's snapshot.
    Row { view: usize, feature: usize },
}

/// Features that are written together.
#[derive(Debug)]
struct Run {
    /// The first, in the order of the model.
    first: usize,
    len: usize,
    source: Source,
    column_type: ColumnType,
}

/// Which cells of a matrix are neighbours.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// Those of a row.
    Rows,
    /// Those of a feature.
    Columns,
}

/// A number of a matrix.
pub(crate) trait Cell: Copy {
    fn of_f64(value: f64) -> Self;
    fn of_f32(value: f32) -> Self;
}

impl Cell for f64 {
    fn of_f64(value: f64) -> Self {
        value
    }

    fn of_f32(value: f32) -> Self {
        value.into()
    }
}

impl Cell for f32 {
    fn of_f64(value: f64) -> Self {
        value as Self
    }

    fn of_f32(value: f32) -> Self {
        value
    }
}

impl Layout {
    pub fn new(plan: &Plan, views: &[ServedView]) -> Self {
        let mut of_slots = vec![None; plan.slots.len()];
        for (view, (step, served)) in plan.views.iter().zip(views).enumerate() {
            if let ViewRead::Features(features) = &step.read {
                for ((_, slot), feature) in features.iter().zip(&served.columns) {
                    of_slots[*slot] = Some((view, *feature));
                }
            }
        }
        let source = |slot: usize| match of_slots[slot] {
            Some((view, feature)) => Source::Row { view, feature },
            None => Source::Slot(slot),
        };
        let sources: Vec<Source> = plan.features.iter().map(|step| source(step.slot)).collect();
        let mut runs: Vec<Run> = Vec::new();
        for (index, (step, source)) in plan.features.iter().zip(&sources).enumerate() {
            let column_type = plan.slots[step.slot].column_type;
            match runs.last_mut() {
                Some(run) if run.goes_on(*source, column_type) => run.len += 1,
                _ => runs.push(Run {
                    first: index,
                    len: 1,
                    source: *source,
                    column_type,
                }),
            }
        }
        let mut gathered = vec![Vec::new(); views.len()];
        let of_aggregates = plan.views.iter().map(|step| match &step.read {
            ViewRead::Aggregate { inputs, .. } => &inputs[..],
            ViewRead::Features(_) => &[],
        });
        let inputs = of_aggregates.chain(plan.transforms.iter().map(|step| &step.inputs[..]));
        for slot in inputs.flatten() {
            if let Some((view, feature)) = of_slots[*slot].take() {
                gathered[view].push((feature, *slot));
            }
        }
        Self {
            sources,
            runs,
            gathered,
        }
    }

    /// Where a feature is.
    ///
    /// # Panics
    /// There is no such feature.
    pub fn source(&self, feature: usize) -> Source {
        self.sources[feature]
    }
}

impl Run {
    /// Whether a feature that is read from `source` is the next one of this run: the numbers of a row lie side by side where
    /// they are of one type and one behind the other in the schema.
    fn goes_on(&self, source: Source, column_type: ColumnType) -> bool {
        let is_number = matches!(column_type, ColumnType::F64 | ColumnType::F32 | ColumnType::I64);
        match (self.source, source) {
            (
                Source::Row { view, feature },
                Source::Row {
                    view: next_view,
                    feature: next,
                },
            ) => is_number && self.column_type == column_type && view == next_view && feature + self.len == next,
            _ => false,
        }
    }
}

/// What a matrix is written from.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub layout: &'a Layout,
    pub evaluation: &'a Evaluation,
    pub lookups: &'a Lookups,
    pub views: &'a [ServedView],
}

impl<'a> Matrix<'a> {
    /// Writes every cell once. `cells` is as long as the matrix.
    pub fn write<C: Cell>(self, order: Order, missing: C, cells: &mut [C]) {
        let rows = self.evaluation.rows;
        let width = self.layout.sources.len();
        assert!(
            cells.len() == rows * width,
            "{} cells for a matrix of {rows} rows and {width} features",
            cells.len()
        );
        if rows == 0 {
            return;
        }
        for run in &self.layout.runs {
            match (run.source, order) {
                (Source::Slot(slot), Order::Rows) => {
                    let cells = cells[run.first..].iter_mut().step_by(width);
                    write_column(&self.evaluation.columns[slot], missing, cells.take(rows));
                }
                (Source::Slot(slot), Order::Columns) => {
                    let cells = cells[run.first * rows..].iter_mut();
                    write_column(&self.evaluation.columns[slot], missing, cells.take(rows));
                }
                (Source::Row { view, feature }, Order::Rows) => {
                    self.write_rows(run, view, feature, missing, cells, width);
                }
                (Source::Row { view, feature }, Order::Columns) => {
                    let cells = &mut cells[run.first * rows..(run.first + run.len) * rows];
                    self.write_columns(run, view, feature, missing, cells, rows);
                }
            }
        }
    }

    fn rows(self, view: usize) -> impl ExactSizeIterator<Item = Option<Row<'a>>> {
        self.lookups.rows(view, &self.views[view].layers)
    }

    /// The rows of a view that are so wide that a lookup asks for the first part of them only.
    fn rows_to_ask_for(self, run: &Run, view: usize) -> impl Iterator<Item = Option<Row<'a>>> + use<'a> {
        let is_wide = run.len >= RUN_AHEAD && self.views[view].layers.base().snapshot.row_bytes_each() > LOOKUP_BYTES;
        self.rows(view).take(if is_wide { usize::MAX } else { 0 })
    }

    fn write_rows<C: Cell>(self, run: &Run, view: usize, feature: usize, missing: C, cells: &mut [C], width: usize) {
        let mut found = self.rows(view);
        let is_scalar = self.lookups.is_scalar(view);
        let place = run.first..run.first + run.len;
        let mut lines = cells.chunks_exact_mut(width);
        if !is_scalar {
            let mut ahead = self.rows_to_ask_for(run, view);
            ahead.by_ref().take(ROWS_AHEAD).for_each(ask);
            for (line, row) in lines.zip(found) {
                ahead.next().into_iter().for_each(ask);
                write_run(row, run, feature, missing, &mut line[place.clone()]);
            }
        } else if let (Some(line), Some(row)) = (lines.next(), found.next()) {
            write_run(row, run, feature, missing, &mut line[place.clone()]);
            for start in (width..cells.len()).step_by(width) {
                cells.copy_within(place.clone(), start + run.first);
            }
        }
    }

    fn write_columns<C: Cell>(self, run: &Run, view: usize, feature: usize, missing: C, cells: &mut [C], rows: usize) {
        if self.lookups.is_scalar(view) {
            let row = self.lookups.row(view, 0, &self.views[view].layers);
            for (offset, column) in cells.chunks_exact_mut(rows).enumerate() {
                column.fill(number(row, run.column_type, feature + offset).unwrap_or(missing));
            }
            return;
        }
        let mut values = [missing; COLUMNS_AT_ONCE];
        for first in (0..run.len).step_by(COLUMNS_AT_ONCE) {
            let values = &mut values[..COLUMNS_AT_ONCE.min(run.len - first)];
            for (index, row) in self.rows(view).enumerate() {
                write_run(row, run, feature + first, missing, values);
                for (offset, value) in values.iter().enumerate() {
                    cells[(first + offset) * rows + index] = *value;
                }
            }
        }
    }
}

fn ask(row: Option<Row<'_>>) {
    if let Some(row) = row {
        row.prefetch();
    }
}

/// Writes the features of a row that lie side by side.
#[inline]
fn write_run<C: Cell>(row: Option<Row<'_>>, run: &Run, first: usize, missing: C, cells: &mut [C]) {
    let features = first..first + cells.len();
    let Some(row) = row else {
        cells.fill(missing);
        return;
    };
    let written = match run.column_type {
        ColumnType::F64 => write_all(cells, row.f64s(features.clone()), C::of_f64),
        ColumnType::F32 => write_all(cells, row.f32s(features.clone()), C::of_f32),
        ColumnType::I64 => write_all(cells, row.i64s(features.clone()), |value| C::of_f64(value as f64)),
        column_type => {
            for (cell, feature) in cells.iter_mut().zip(features) {
                *cell = number(Some(row), column_type, feature).unwrap_or(missing);
            }
            return;
        }
    };
    if written != cells.len() {
        // The file has changed under its mapping.
        cells.fill(missing);
        return;
    }
    for word in first / 64..(first + cells.len()).div_ceil(64) {
        let mut nulls = row.null_bits(word);
        while nulls != 0 {
            let feature = 64 * word + nulls.trailing_zeros() as usize;
            if let Some(cell) = feature.checked_sub(first).and_then(|index| cells.get_mut(index)) {
                *cell = missing;
            }
            nulls &= nulls - 1;
        }
    }
}

#[inline]
fn write_all<T: Copy, C: Cell>(cells: &mut [C], values: &[T], number: impl Fn(T) -> C) -> usize {
    for (cell, value) in cells.iter_mut().zip(values) {
        *cell = number(*value);
    }
    values.len()
}

/// The number that a feature of a row is, unless it is missing or no number.
#[inline]
fn number<C: Cell>(row: Option<Row<'_>>, column_type: ColumnType, feature: usize) -> Option<C> {
    let row = row.filter(|row| row.is_present(feature))?;
    Some(match column_type {
        ColumnType::F64 => C::of_f64(row.f64(feature)),
        ColumnType::F32 => C::of_f32(row.f32(feature)),
        ColumnType::I64 => C::of_f64(row.i64(feature) as f64),
        ColumnType::Timestamp => C::of_f64(row.timestamp(feature) as f64),
        ColumnType::Bool => C::of_f64(f64::from(u8::from(row.bool(feature)))),
        ColumnType::String | ColumnType::Bytes | ColumnType::Vector(_) => return None,
    })
}

/// Writes a column into the cells of its feature.
fn write_column<'m, C: Cell + 'm>(column: &Column, missing: C, cells: impl Iterator<Item = &'m mut C>) {
    let view = column.view();
    if column.is_scalar() {
        let value = of_value(view.value(0)).unwrap_or(missing);
        return cells.for_each(|cell| *cell = value);
    }
    match column.column_type() {
        ColumnType::F64 => write_values(column, missing, cells, view.f64s(), C::of_f64),
        ColumnType::F32 => write_values(column, missing, cells, view.f32s(), C::of_f32),
        ColumnType::I64 => write_values(column, missing, cells, view.i64s(), |value| C::of_f64(value as f64)),
        _ => {
            for (row, cell) in cells.enumerate() {
                *cell = of_value(view.value(row)).unwrap_or(missing);
            }
        }
    }
}

#[inline]
fn write_values<'m, T: Copy, C: Cell + 'm>(
    column: &Column,
    missing: C,
    cells: impl Iterator<Item = &'m mut C>,
    values: &[T],
    number: impl Fn(T) -> C,
) {
    let pairs = cells.zip(values);
    if column.null_count() == 0 {
        return pairs.for_each(|(cell, value)| *cell = number(*value));
    }
    let view = column.view();
    for (row, (cell, value)) in pairs.enumerate() {
        *cell = if view.is_present(row) { number(*value) } else { missing };
    }
}

fn of_value<C: Cell>(value: Value<'_>) -> Option<C> {
    Some(match value {
        Value::F64(value) => C::of_f64(value),
        Value::F32(value) => C::of_f32(value),
        Value::I64(value) | Value::Timestamp(value) => C::of_f64(value as f64),
        Value::Bool(value) => C::of_f64(f64::from(u8::from(value))),
        Value::Null | Value::String(_) | Value::Bytes(_) | Value::Vector(_) => return None,
    })
}
