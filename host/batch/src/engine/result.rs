use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt8Array, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use unskew_frame::ColumnType;
use unskew_snapshot::Status;

use super::Engine;
use super::gather::PartitionResult;
use super::memory::array_bytes;
use super::scatter::too_large;
use super::spill::SpillWriter;
use crate::array::canonical_type;
use crate::asof::NO_ROW;
use crate::backfill::BackfillError;

/// What a view gives for the rows of a partition, in the order of the spine.
pub(crate) struct PartitionRows {
    pub statuses: Vec<Status>,
    /// Per row, a piece and a row of it; [`NO_ROW`] as the piece where there is no value.
    pub places: Vec<(u32, u32)>,
    /// The columns, in pieces.
    pub pieces: Vec<Vec<ArrayRef>>,
}

/// Keeps the results of the partitions of a view: in memory as long as there is room, else in files.
pub(crate) struct ResultWriter<'a> {
    engine: &'a Engine<'a>,
    view: usize,
    schema: SchemaRef,
    batch_rows: usize,
}

impl<'a> ResultWriter<'a> {
    pub fn new(engine: &'a Engine<'a>, view: usize, partitions: usize, types: &[ColumnType]) -> Self {
        let field = |(index, column_type): (usize, &ColumnType)| {
            Field::new(index.to_string(), canonical_type(*column_type), true)
        };
        let mut fields: Vec<Field> = types.iter().enumerate().map(field).collect();
        fields.push(Field::new("status", DataType::UInt8, false));
        // While results are gathered each thread has one batch of every partition.
        let batches = (partitions * engine.budget.threads * engine.plan.views.len().max(1)) as u64;
        let row_bytes = 16 * (types.len() as u64 + 1);
        let batch_rows = engine.budget.partition_bytes / batches / row_bytes;
        Self {
            engine,
            view,
            schema: Arc::new(Schema::new(fields)),
            batch_rows: batch_rows.clamp(64, 8_192) as usize,
        }
    }

    /// Keeps the rows of partition `index`, on disk if `to_disk` or if there is no room.
    pub fn keep(&self, index: usize, rows: PartitionRows, to_disk: bool) -> Result<PartitionResult, BackfillError> {
        let held = &self.engine.budget.held;
        if !to_disk && !held.is_over() {
            held.take(rows.bytes());
            let PartitionRows {
                statuses,
                places,
                pieces,
            } = rows;
            return Ok(PartitionResult::Held {
                statuses,
                places,
                pieces,
            });
        }
        let path = self
            .engine
            .directory()
            .join(format!("{}-result-{index}.arrow", self.view));
        let mut writer = SpillWriter::create(path, &self.schema)?;
        for start in (0..rows.statuses.len()).step_by(self.batch_rows) {
            let end = rows.statuses.len().min(start + self.batch_rows);
            writer.push(&rows.batch(&self.schema, start..end)?)?;
        }
        Ok(PartitionResult::Spilled {
            file: writer.finish()?,
            batch_rows: self.batch_rows,
        })
    }
}

impl PartitionRows {
    fn bytes(&self) -> u64 {
        let arrays: u64 = self.pieces.iter().flatten().map(array_bytes).sum();
        arrays + 9 * self.statuses.len() as u64
    }

    /// Some of the rows, with their values.
    fn batch(&self, schema: &SchemaRef, rows: std::ops::Range<usize>) -> Result<RecordBatch, BackfillError> {
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
        let statuses = self.statuses[rows].iter().map(|status| *status as u8);
        columns.push(Arc::new(UInt8Array::from_iter_values(statuses)));
        RecordBatch::try_new(Arc::clone(schema), columns).map_err(too_large)
    }
}
