use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use unskew::{CallLimits, Instances, Kind, ViewRead};
use unskew_frame::ColumnType;

use super::Engine;
use super::history::{History, times};
use super::scatter::{Partition, too_large};
use crate::aggregate::Reach;
use crate::array::canonical_type;
use crate::backfill::BackfillError;

/// The columns of the spine that go to the partitions: those of the key, the inputs of an aggregate's queries, the prediction
/// time and the number of the row.
pub(crate) struct SpineColumns {
    keys: Vec<usize>,
    /// Those that are no constants.
    pub inputs: Vec<usize>,
    /// What the view gives.
    pub result_types: Vec<ColumnType>,
    pub is_aggregate: bool,
    /// How far the windows of an aggregate reach; of features, nowhere.
    pub reach: Reach,
}

impl SpineColumns {
    pub fn new(engine: &Engine<'_>, view: usize, history: &History) -> Self {
        let step = &engine.plan.views[view];
        let (inputs, result_types) = match &step.read {
            ViewRead::Features(_) => (
                Vec::new(),
                history.kept.iter().map(|column| history.types[*column]).collect(),
            ),
            ViewRead::Aggregate { inputs, outputs, .. } => (
                inputs
                    .iter()
                    .copied()
                    .filter(|slot| engine.spine.has_rows(*slot))
                    .collect(),
                engine.plan.slots[outputs.clone()]
                    .iter()
                    .map(|slot| slot.column_type)
                    .collect(),
            ),
        };
        let module = match &step.read {
            ViewRead::Aggregate { module, .. } => engine.modules.get(module),
            ViewRead::Features(_) => None,
        };
        let windows = match module.map(|module| &module.descriptor().kind) {
            Some(Kind::Aggregate(aggregation)) => &aggregation.windows[..],
            _ => &[],
        };
        Self {
            keys: step.keys.clone(),
            inputs,
            result_types,
            is_aggregate: matches!(step.read, ViewRead::Aggregate { .. }),
            reach: Reach::of(windows),
        }
    }

    /// The slots, in the order of the columns.
    pub fn slots(&self) -> impl Iterator<Item = usize> {
        self.keys.iter().chain(&self.inputs).copied().chain([0])
    }

    pub fn schema(&self, engine: &Engine<'_>) -> SchemaRef {
        let field = |(index, slot): (usize, usize)| {
            Field::new(
                index.to_string(),
                canonical_type(engine.plan.slots[slot].column_type),
                true,
            )
        };
        let mut fields: Vec<Field> = self.slots().enumerate().map(field).collect();
        fields.push(Field::new("row", DataType::UInt64, false));
        Arc::new(Schema::new(fields))
    }

    pub fn keys<'a>(&self, batch: &'a RecordBatch) -> &'a [ArrayRef] {
        &batch.columns()[..self.keys.len()]
    }

    pub fn input<'a>(&self, batch: &'a RecordBatch, index: usize) -> &'a ArrayRef {
        batch.column(self.keys.len() + index)
    }

    /// The slots of the key.
    pub fn key_slots(&self) -> &[usize] {
        &self.keys
    }

    /// The numbers of the rows in the spine, from 0.
    pub fn row_numbers<'a>(&self, batch: &'a RecordBatch) -> &'a [u64] {
        batch
            .column(batch.num_columns() - 1)
            .as_primitive::<UInt64Type>()
            .values()
    }

    pub fn times<'a>(&self, batch: &'a RecordBatch) -> &'a [i64] {
        times(batch.column(self.keys.len() + self.inputs.len()))
    }

    /// The rows of a partition in the order of the spine.
    pub fn in_order(&self, engine: &Engine<'_>, partition: Partition) -> Result<RecordBatch, BackfillError> {
        let batches = partition.load()?;
        let batch = match batches.as_slice() {
            [batch] => batch.clone(),
            _ => concat_batches(&self.schema(engine), &batches).map_err(too_large)?,
        };
        let rows = self.row_numbers(&batch);
        if rows.is_sorted() {
            return Ok(batch);
        }
        let mut order: Vec<u32> = (0..rows.len() as u32).collect();
        order.sort_unstable_by_key(|index| rows[*index as usize]);
        take_record_batch(&batch, &arrow::array::UInt32Array::from(order)).map_err(too_large)
    }

    /// The modules' instances of a thread, if the view needs any.
    pub fn instances(&self, engine: &Engine<'_>) -> Result<Option<Instances>, BackfillError> {
        let limits = CallLimits {
            memory_bytes: engine.budget.instance_bytes(),
            ..CallLimits::BATCH
        };
        match self.is_aggregate {
            true => Ok(Some(Instances::new(&engine.plan, engine.modules, limits)?)),
            false => Ok(None),
        }
    }
}
