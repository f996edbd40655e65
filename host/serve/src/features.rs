use std::fmt;
use std::sync::Arc;

use arc_swap::Guard;
use unskew_frame::{Column, ColumnType, Value};
use unskew_snapshot::Status;

use crate::evaluation::{EvaluateError, Evaluation};
use crate::generation::{Generation, ServedView};
use crate::matrix::{Cell, Matrix, Order, Source};
use crate::plan::Plan;
use crate::session::Prepared;

/// The features of one request: a row per candidate, a column per feature, until the session evaluates again.
///
/// Values of views are read where they lie in the snapshots, so this keeps the generation in memory: let it go when the
/// matrix is written.
pub struct Features<'a> {
    prepared: &'a Prepared,
    generation: Guard<Arc<Generation>>,
}

impl<'a> Features<'a> {
    pub(crate) fn new(prepared: &'a Prepared, generation: Guard<Arc<Generation>>) -> Self {
        Self { prepared, generation }
    }

    /// The number of rows: of candidates, or 1.
    pub fn rows(&self) -> usize {
        self.evaluation().rows
    }

    /// The number of features.
    pub fn width(&self) -> usize {
        self.plan().features.len()
    }

    /// The names of the features, in the order of the model.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &'a str> {
        self.plan().features.iter().map(|feature| feature.name.as_str())
    }

    /// The types of the features, in the order of the model.
    pub fn column_types(&self) -> impl ExactSizeIterator<Item = ColumnType> {
        let slots = self.plan().features.iter().map(|feature| feature.slot);
        slots.map(|slot| self.plan().slots[slot].column_type)
    }

    /// The generation that computed them.
    pub fn generation(&self) -> u64 {
        self.generation.number
    }

    /// The transforms and aggregates that failed; none in the normal case.
    pub fn failures(&self) -> &'a [EvaluateError] {
        &self.evaluation().failures
    }

    /// A value.
    ///
    /// # Panics
    /// If there is no such row or feature.
    pub fn value(&self, row: usize, feature: usize) -> Value<'_> {
        assert!(row < self.rows(), "row {row} of {}", self.rows());
        match self.prepared.layout.source(feature) {
            Source::Slot(slot) => self.evaluation().columns[slot].value(row),
            Source::Row { view, feature } => {
                let layers = &self.views()[view].layers;
                let found = self.prepared.lookups.row(view, row, layers);
                found.map_or(Value::Null, |row| row.value(feature))
            }
        }
    }

    /// What became of a value.
    ///
    /// # Panics
    /// If there is no such row or feature.
    pub fn status(&self, row: usize, feature: usize) -> Status {
        let is_present = !self.value(row, feature).is_null();
        self.evaluation().status_of(self.plan(), row, feature, is_present)
    }

    /// Copies the values of a feature into `column`, which is of its type, loses its rows and keeps its memory: `rows` values,
    /// or a scalar where all are one.
    ///
    /// # Panics
    /// If there is no such feature, or the column is of another type.
    pub fn copy_column(&self, feature: usize, column: &mut Column) {
        match self.prepared.layout.source(feature) {
            Source::Slot(slot) => column.copy_from(&self.evaluation().columns[slot]),
            Source::Row { view, feature } => {
                let layers = &self.views()[view].layers;
                column.clear();
                self.prepared.lookups.gather(view, layers, feature, column);
                if self.prepared.lookups.is_scalar(view) {
                    column.make_scalar();
                }
            }
        }
    }

    /// Writes the matrix row by row as f64s into `matrix`, which keeps its memory. Missing values, and strings, bytes and
    /// vectors, which no number stands for, are `missing`; an i64 beyond 2^53 is rounded.
    pub fn write_f64(&self, missing: f64, matrix: &mut Vec<f64>) {
        self.write(Order::Rows, missing, matrix);
    }

    /// Writes the matrix row by row as f32s: see [`write_f64`](Self::write_f64). What is rounded to an f32 was rounded to an
    /// f64 before.
    pub fn write_f32(&self, missing: f32, matrix: &mut Vec<f32>) {
        self.write(Order::Rows, missing, matrix);
    }

    /// Writes the matrix feature by feature as f64s: see [`write_f64`](Self::write_f64).
    pub fn write_columns_f64(&self, missing: f64, matrix: &mut Vec<f64>) {
        self.write(Order::Columns, missing, matrix);
    }

    /// Writes the matrix feature by feature as f32s: see [`write_f32`](Self::write_f32).
    pub fn write_columns_f32(&self, missing: f32, matrix: &mut Vec<f32>) {
        self.write(Order::Columns, missing, matrix);
    }

    /// Writes the matrix row by row as f32s into memory that a model reads: see [`write_f32`](Self::write_f32).
    ///
    /// # Panics
    /// Unless there are rows times width cells.
    pub fn fill_f32(&self, missing: f32, matrix: &mut [f32]) {
        self.matrix().write(Order::Rows, missing, matrix);
    }

    fn write<C: Cell>(&self, order: Order, missing: C, matrix: &mut Vec<C>) {
        // Every cell is written: what is there already need not be.
        matrix.resize(self.rows() * self.width(), missing);
        self.matrix().write(order, missing, matrix);
    }

    fn matrix(&self) -> Matrix<'_> {
        Matrix {
            layout: &self.prepared.layout,
            evaluation: &self.prepared.evaluation,
            lookups: &self.prepared.lookups,
            views: self.views(),
        }
    }

    fn plan(&self) -> &'a Plan {
        &self.prepared.plan
    }

    fn evaluation(&self) -> &'a Evaluation {
        &self.prepared.evaluation
    }

    fn views(&self) -> &[ServedView] {
        &self.generation.services[self.prepared.service].views
    }
}

impl fmt::Debug for Features<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Features")
            .field("service", &self.plan().service)
            .field("rows", &self.rows())
            .field("generation", &self.generation())
            .finish_non_exhaustive()
    }
}
