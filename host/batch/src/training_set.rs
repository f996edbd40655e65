use std::collections::BTreeMap;

use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use unskew::{Evaluation, Plan};
use unskew_frame::{Column, Value};
use unskew_snapshot::{EventTime, Status};

use crate::array::{CastError, append_array, text_bytes};
use crate::backfill::BackfillError;
use crate::engine::concat_arrays;
use crate::engine::emit::Chunk;
use crate::reader::InputFile;
use crate::spine::Spine;

/// The features of a spine, in memory.
#[derive(Debug)]
pub struct TrainingSet {
    /// What was computed.
    pub plan: Plan,
    /// The rows.
    pub spine: Spine,
    /// The columns, a slot of the plan each, in the order of the spine.
    pub evaluation: Evaluation,
    /// Per view, the rows chosen by row bytes alone.
    pub ties: BTreeMap<String, u64>,
    /// Per view with a lateness, the events that were left out because they were late.
    pub late: BTreeMap<String, u64>,
    /// What was read.
    pub files: Vec<InputFile>,
    /// The spine's other columns, in pieces.
    carried: Vec<Vec<ArrayRef>>,
    /// By slot, the bytes of the texts so far.
    text_bytes: Vec<u64>,
}

impl TrainingSet {
    /// Without rows.
    pub(crate) fn new(plan: &Plan, carried: usize) -> Self {
        Self {
            plan: plan.clone(),
            spine: Spine::default(),
            evaluation: Evaluation::new(plan),
            ties: BTreeMap::new(),
            late: BTreeMap::new(),
            files: Vec::new(),
            carried: vec![Vec::new(); carried],
            text_bytes: vec![0; plan.slots.len()],
        }
    }

    /// The value of a feature in a row.
    pub fn value(&self, row: usize, feature: usize) -> Value<'_> {
        self.evaluation.value(&self.plan, row, feature)
    }

    /// What became of it.
    pub fn status(&self, row: usize, feature: usize) -> Status {
        self.evaluation.status(&self.plan, row, feature)
    }

    /// Appends rows.
    pub(crate) fn append(&mut self, chunk: Chunk) -> Result<(), BackfillError> {
        self.evaluation.rows += chunk.rows;
        let columns = self.evaluation.columns.iter_mut().zip(&mut self.text_bytes);
        for ((column, bytes), array) in columns.zip(&chunk.arrays) {
            if let Some(array) = array {
                *bytes += text_bytes(array);
                if u64::from(u32::MAX) < *bytes {
                    return Err(too_large(CastError::TooLarge));
                }
                append_array(array, column).map_err(too_large)?;
            }
        }
        for (statuses, more) in self.evaluation.statuses.iter_mut().zip(chunk.statuses) {
            statuses.extend(more);
        }
        for (arrays, array) in self.carried.iter_mut().zip(chunk.carried) {
            arrays.push(array);
        }
        Ok(())
    }

    /// All rows are there.
    pub(crate) fn finish(&mut self, carried: &[Field], files: Vec<InputFile>) -> Result<(), BackfillError> {
        let times = &self.evaluation.columns[0];
        self.spine.times = (0..times.rows())
            .map(|row| EventTime(times.view().timestamp(row)))
            .collect();
        let field = |(slot, field): (usize, &unskew::catalog::Field)| -> (String, Column) {
            (field.name.clone(), self.evaluation.columns[slot].clone())
        };
        self.spine.fields = self.plan.fields().map(field).collect();
        for (field, arrays) in carried.iter().zip(std::mem::take(&mut self.carried)) {
            let array = match arrays.is_empty() {
                true => arrow::array::new_empty_array(field.data_type()),
                false => concat_arrays(&arrays)?,
            };
            self.spine.labels.push((field.name().clone(), array));
        }
        self.files = files;
        Ok(())
    }
}

fn too_large(error: CastError) -> BackfillError {
    BackfillError::TooLarge {
        reason: error.to_string(),
    }
}
