use std::error::Error;
use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt64Array};
use arrow::compute::{cast, concat_batches, filter, take};
use arrow::datatypes::{DataType, Int64Type};

use unskew_backfill_benches::files;

/// The features of a training set, in the order of the spine, whatever the order of its rows.
pub struct Features {
    /// The numbers of the rows, ascending.
    rows: Vec<i64>,
    columns: Vec<ArrayRef>,
}

impl Features {
    /// Those of a training set with so many.
    pub fn read(path: &Path, features: u64, threads: usize) -> Result<Self, Box<dyn Error>> {
        let batches = files::read(path, threads, usize::MAX).map_err(|error| error.to_string())?;
        let schema = batches.first().ok_or("no rows")?.schema();
        let all: RecordBatch = concat_batches(&schema, &batches)?;
        let rows = all.column_by_name("row").ok_or("no column `row`")?;
        let rows = rows.as_primitive::<Int64Type>().values();
        let mut order: Vec<u64> = (0..rows.len() as u64).collect();
        order.sort_unstable_by_key(|index| rows[*index as usize]);
        let rows = order.iter().map(|index| rows[*index as usize]).collect();
        let order = UInt64Array::from(order);
        let column = |index: u64| -> Result<ArrayRef, Box<dyn Error>> {
            let name = format!("f{index}");
            let array = all
                .column_by_name(&name)
                .or_else(|| all.column_by_name(&format!("history:{name}")))
                .ok_or_else(|| format!("no column `{name}`"))?;
            Ok(take(array, &order, None)?)
        };
        Ok(Self {
            rows,
            columns: (0..features).map(column).collect::<Result<_, _>>()?,
        })
    }

    /// The rows that `other` has too; all, if one of the others has features.
    pub fn rows_of(&self, other: &Self) -> Result<Self, Box<dyn Error>> {
        let is_kept = |row: &i64| other.rows.binary_search(row).is_ok();
        let has_features = |index: usize| self.columns.iter().any(|column| column.is_valid(index));
        let is_whole = (0..self.rows.len()).any(|index| !is_kept(&self.rows[index]) && has_features(index));
        let mask: BooleanArray = self.rows.iter().map(|row| Some(is_whole || is_kept(row))).collect();
        let kept = |column: &ArrayRef| filter(column, &mask);
        let rows = self.rows.iter().copied();
        Ok(Self {
            rows: rows.filter(|row| is_whole || is_kept(row)).collect(),
            columns: self.columns.iter().map(kept).collect::<Result<_, _>>()?,
        })
    }

    pub fn row_count(&self) -> usize {
        self.rows.len()
    }

    /// The first difference from `other`, whose integers may have become floats where some are missing.
    pub fn difference(&self, other: &Self) -> Option<String> {
        self.columns
            .iter()
            .zip(&other.columns)
            .enumerate()
            .find_map(|(index, (ours, theirs))| {
                let cast = |array: &ArrayRef| cast(array, &DataType::Float64).ok();
                let (ours, theirs) = (cast(ours)?, cast(theirs)?);
                let (ours, theirs) = (ours.as_primitive_opt()?, theirs.as_primitive_opt()?);
                first_difference(ours, theirs).map(|what| format!("f{index}, {what}"))
            })
    }
}

fn first_difference(ours: &arrow::array::Float64Array, theirs: &arrow::array::Float64Array) -> Option<String> {
    if ours.len() != theirs.len() {
        return Some(format!("{} rows, not {}", theirs.len(), ours.len()));
    }
    // pandas has NaN for what is missing; the data has none.
    let value = |array: &arrow::array::Float64Array, row: usize| {
        let is_missing = array.is_null(row) || array.value(row).is_nan();
        (!is_missing).then(|| array.value(row).to_bits())
    };
    let row = (0..ours.len()).find(|row| value(ours, *row) != value(theirs, *row))?;
    Some(format!("row {row}: {:?}, not {:?}", theirs.value(row), ours.value(row)))
}
