//! Whether two tools gave the same.

use std::error::Error;
use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, UInt64Array};
use arrow::compute::{cast, concat_batches, take};
use arrow::datatypes::{DataType, Int64Type};

use unskew_backfill_benches::files;

/// The features of a training set, in the order of the spine, whatever the order of its rows.
#[derive(Debug)]
pub struct Features {
    columns: Vec<(String, ArrayRef)>,
}

impl Features {
    /// Those of these names in a training set; of unskew's, those of `view`. A feature that is not there is left out.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(path: &Path, view: &str, names: &[String], threads: usize) -> Result<Self, Box<dyn Error>> {
        let batches = files::read(path, threads, usize::MAX).map_err(|error| error.to_string())?;
        let schema = batches.first().ok_or("no rows")?.schema();
        let all: RecordBatch = concat_batches(&schema, &batches)?;
        let rows = all.column_by_name("row").ok_or("no column `row`")?;
        let rows = rows.as_primitive::<Int64Type>().values();
        let mut order: Vec<u64> = (0..rows.len() as u64).collect();
        order.sort_unstable_by_key(|index| rows[*index as usize]);
        let order = UInt64Array::from(order);
        let mut columns = Vec::with_capacity(names.len());
        for name in names {
            let array = all
                .column_by_name(name)
                .or_else(|| all.column_by_name(&format!("{view}:{name}")));
            if let Some(array) = array {
                columns.push((name.clone(), take(array, &order, None)?));
            }
        }
        Ok(Self { columns })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.columns.len()
    }

    /// The first difference of `other`'s features from these, beyond what `tolerance` says of a feature, relative to the value or to
    /// 1 if that is more. Integers may have become floats where some are missing.
    ///
    /// # Errors
    /// A feature is not a number, or not one of these.
    pub fn difference(&self, other: &Self, tolerance: impl Fn(&str) -> f64) -> Result<Option<String>, Box<dyn Error>> {
        for (name, theirs) in &other.columns {
            let ours = self.columns.iter().find(|(known, _)| known == name);
            let (_, ours) = ours.ok_or_else(|| format!("no feature `{name}`"))?;
            let (ours, theirs) = (cast(ours, &DataType::Float64)?, cast(theirs, &DataType::Float64)?);
            let found = first_difference(ours.as_primitive(), theirs.as_primitive(), tolerance(name));
            if let Some(found) = found {
                return Ok(Some(format!("{name}, {found}")));
            }
        }
        Ok(None)
    }
}

fn first_difference(ours: &Float64Array, theirs: &Float64Array, tolerance: f64) -> Option<String> {
    if ours.len() != theirs.len() {
        return Some(format!("{} rows, not {}", theirs.len(), ours.len()));
    }
    // pandas has NaN for what is missing; the data has none.
    let value = |array: &Float64Array, row: usize| {
        let is_missing = array.is_null(row) || array.value(row).is_nan();
        (!is_missing).then(|| array.value(row))
    };
    let agree = |row: &usize| match (value(ours, *row), value(theirs, *row)) {
        (Some(ours), Some(theirs)) => {
            ours.to_bits() == theirs.to_bits() || (ours - theirs).abs() <= tolerance * ours.abs().max(1.0)
        }
        (ours, theirs) => ours.is_none() && theirs.is_none(),
    };
    let row = (0..ours.len()).find(|row| !agree(row))?;
    Some(format!(
        "row {row}: {:?}, not {:?}",
        value(theirs, row),
        value(ours, row)
    ))
}
