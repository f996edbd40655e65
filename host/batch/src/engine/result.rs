use std::path::Path;
use std::sync::{Arc, Mutex};

use arrow::array::{Array, ArrayRef, RecordBatch, UInt8Array, UInt32Array, new_null_array};
use arrow::compute::{interleave, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use unskew::Digest;
use unskew_frame::ColumnType;
use unskew_snapshot::Status;

use super::Engine;
use super::divide::Divided;
use super::gather::PartitionResult;
use super::memory::array_bytes;
use super::scatter::too_large;
use super::spill::{SpillFile, SpillWriter};
use crate::array::canonical_type;
use crate::asof::NO_ROW;
use crate::backfill::BackfillError;
use crate::manifest::ViewCounts;
use crate::quarantine::Quarantined;
use crate::unfinished::Unfinished;

/// What a view gives for the rows of a part, in the order of the spine.
pub(crate) struct PartitionRows {
    pub statuses: Vec<Status>,
    /// Per row, a piece and a row of it; [`NO_ROW`] as the piece where there is no value.
    pub places: Vec<(u32, u32)>,
    /// The columns, in pieces.
    pub pieces: Vec<Vec<ArrayRef>>,
    /// Rows chosen by row bytes alone.
    pub ties: u64,
    pub quarantined: Vec<Quarantined>,
}

/// A result that is kept, and what is to be told of it.
#[derive(Default)]
pub(crate) struct KeptResult {
    pub result: PartitionResult,
    pub told: Told,
}

/// What is to be told of a part beside its rows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Told {
    pub counts: ViewCounts,
    pub ties: u64,
    pub quarantined: Vec<Quarantined>,
    /// How many of the rows are of each morsel of the spine.
    pub per_morsel: Vec<u32>,
    /// The rows of a batch of the file, but for the last.
    batch_rows: usize,
}

/// Keeps the results of the parts of a view: in memory as long as there is room, else in files.
pub(crate) struct ResultWriter<'a> {
    engine: &'a Engine<'a>,
    view: usize,
    schema: SchemaRef,
    batch_rows: usize,
    /// How rows are divided, under its name; saved before any result.
    divided: &'a Divided,
    name: &'a str,
    is_divided_saved: Mutex<bool>,
    /// Says which division a result belongs to.
    mark: String,
}

impl<'a> ResultWriter<'a> {
    pub fn new(engine: &'a Engine<'a>, view: usize, name: &'a str, divided: &'a Divided, types: &[ColumnType]) -> Self {
        let parts = divided.division.parts();
        let field = |(index, column_type): (usize, &ColumnType)| {
            Field::new(index.to_string(), canonical_type(*column_type), true)
        };
        let mut fields: Vec<Field> = types.iter().enumerate().map(field).collect();
        fields.push(Field::new("status", DataType::UInt8, false));
        // While results are gathered each thread has one batch of every part.
        let batches = (parts * engine.budget.threads * engine.plan.views.len().max(1)) as u64;
        let row_bytes = 16 * (types.len() as u64 + 1);
        let batch_rows = engine.budget.partition_bytes / batches / row_bytes;
        Self {
            engine,
            view,
            schema: Arc::new(Schema::new(fields)),
            batch_rows: batch_rows.clamp(64, 8_192) as usize,
            name,
            is_divided_saved: Mutex::new(false),
            mark: {
                let division = serde_json::to_vec(&divided.division).unwrap_or_default();
                Digest::of(&[name.as_bytes(), &division].concat()).hex()[..12].to_owned()
            },
            divided,
        }
    }

    /// Keeps the rows of a part: on disk if `to_disk`, if there is no room, or if they are worth saving.
    pub fn keep(
        &self,
        part: usize,
        mut rows: PartitionRows,
        per_morsel: Vec<u32>,
        to_disk: bool,
    ) -> Result<KeptResult, BackfillError> {
        let mut told = Told {
            counts: ViewCounts::of(&rows.statuses),
            ties: rows.ties,
            quarantined: rows.quarantined.clone(),
            per_morsel,
            batch_rows: self.batch_rows,
        };
        if let Some(unfinished) = self.engine.saves() {
            self.save_divided(unfinished)?;
            let path = unfinished.save(&self.saved_name(part), |out| {
                let mut writer = SpillWriter::to(out, unfinished.scratch(), &self.schema)?;
                writer.note(serde_json::to_string(&told).unwrap_or_default());
                self.write(&rows, &mut writer)?;
                writer.end()
            })?;
            return Self::saved(&path);
        }
        let held = &self.engine.budget.held;
        if !to_disk && !held.is_over() {
            rows.put_in_order(&self.schema);
            held.take(rows.bytes());
            told.batch_rows = 0;
            let PartitionRows {
                statuses,
                places,
                pieces,
                ..
            } = rows;
            let result = PartitionResult::Held {
                statuses,
                places,
                pieces,
            };
            return Ok(KeptResult { result, told });
        }
        let path = self.engine.scratch().join(format!("{}-result-{part}.arrow", self.view));
        let mut writer = SpillWriter::create(path, &self.schema)?;
        self.write(&rows, &mut writer)?;
        let result = PartitionResult::Spilled {
            file: writer.finish()?,
            batch_rows: self.batch_rows,
        };
        Ok(KeptResult { result, told })
    }

    /// What another process saved of a part; none of what cannot be read.
    pub fn find(&self, part: usize) -> Option<KeptResult> {
        let path = self.engine.unfinished.as_ref()?.saved(&self.saved_name(part))?;
        Self::saved(path).ok()
    }

    fn saved(path: &Path) -> Result<KeptResult, BackfillError> {
        let (file, note) = SpillFile::saved(path.to_owned())?;
        let told: Told = serde_json::from_str(&note).map_err(|error| BackfillError::Spill {
            path: path.to_owned(),
            source: error.into(),
        })?;
        let batch_rows = told.batch_rows.max(1);
        let result = PartitionResult::Spilled { file, batch_rows };
        Ok(KeptResult { result, told })
    }

    fn save_divided(&self, unfinished: &Unfinished) -> Result<(), BackfillError> {
        let mut is_saved = self
            .is_divided_saved
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if !*is_saved {
            unfinished.save_json(self.name, self.divided)?;
            *is_saved = true;
        }
        Ok(())
    }

    fn saved_name(&self, part: usize) -> String {
        format!("result-{}-{}-{part}", self.view, self.mark)
    }

    fn write<W: std::io::Write>(&self, rows: &PartitionRows, writer: &mut SpillWriter<W>) -> Result<(), BackfillError> {
        for start in (0..rows.statuses.len()).step_by(self.batch_rows) {
            let end = rows.statuses.len().min(start + self.batch_rows);
            writer.push(&rows.batch(&self.schema, start..end)?)?;
        }
        Ok(())
    }
}

impl PartitionRows {
    fn bytes(&self) -> u64 {
        let arrays: u64 = self.pieces.iter().flatten().map(array_bytes).sum();
        arrays + 9 * self.statuses.len() as u64
    }

    /// Copies the values into the order of the rows, unless they take more then: many rows of the spine may share one. They are
    /// close to each other here; later, all parts' would be read at once, each in no order.
    fn put_in_order(&mut self, schema: &SchemaRef) {
        let source_rows: usize = self
            .pieces
            .iter()
            .map(|piece| piece.first().map_or(0, |array| array.len()))
            .sum();
        if source_rows < self.places.len() {
            return;
        }
        // More text than an array holds stays where it is.
        let Ok(batch) = self.batch(schema, 0..self.places.len()) else {
            return;
        };
        let mut columns = batch.columns().to_vec();
        // The statuses are here already.
        columns.pop();
        self.pieces = vec![columns];
        for (row, place) in (0..).zip(&mut self.places) {
            if place.0 != NO_ROW {
                *place = (0, row);
            }
        }
    }

    /// Some of the rows, with their values.
    fn batch(&self, schema: &SchemaRef, rows: std::ops::Range<usize>) -> Result<RecordBatch, BackfillError> {
        if let Some(columns) = self.taken(rows.clone())? {
            return self.with_statuses(schema, columns, rows);
        }
        // The first array is one missing value.
        let place = |(piece, row): &(u32, u32)| match *piece {
            NO_ROW => (0, 0),
            piece => (piece as usize + 1, *row as usize),
        };
        let places: Vec<(usize, usize)> = self.places[rows.clone()].iter().map(place).collect();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
        for (index, field) in schema.fields().iter().take(schema.fields().len() - 1).enumerate() {
            let null = new_null_array(field.data_type(), 1);
            let pieces = self.pieces.iter().map(|piece| &*piece[index]);
            let arrays: Vec<&dyn Array> = std::iter::once(&*null).chain(pieces).collect();
            columns.push(interleave(&arrays, &places).map_err(too_large)?);
        }
        self.with_statuses(schema, columns, rows)
    }

    /// The values of these rows if all are of one piece, as those of an aggregate are: that is quicker to pick from.
    fn taken(&self, rows: std::ops::Range<usize>) -> Result<Option<Vec<ArrayRef>>, BackfillError> {
        let [piece] = self.pieces.as_slice() else {
            return Ok(None);
        };
        let places = &self.places[rows];
        if places.iter().any(|(piece, _)| *piece == NO_ROW) {
            return Ok(None);
        }
        let indices = UInt32Array::from_iter_values(places.iter().map(|(_, row)| *row));
        let taken = piece.iter().map(|array| take(array, &indices, None));
        taken.collect::<Result<_, _>>().map(Some).map_err(too_large)
    }

    fn with_statuses(
        &self,
        schema: &SchemaRef,
        mut columns: Vec<ArrayRef>,
        rows: std::ops::Range<usize>,
    ) -> Result<RecordBatch, BackfillError> {
        let statuses = self.statuses[rows].iter().map(|status| *status as u8);
        columns.push(Arc::new(UInt8Array::from_iter_values(statuses)));
        RecordBatch::try_new(Arc::clone(schema), columns).map_err(too_large)
    }
}
