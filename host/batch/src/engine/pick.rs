use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, new_null_array};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use std::sync::Arc;

use super::scatter::too_large;
use crate::asof::NO_ROW;
use crate::backfill::BackfillError;

/// Where rows are among pieces: a piece and a row of it; [`NO_ROW`] as the piece of one that is nowhere.
pub(crate) struct Places {
    places: Vec<(u32, u32)>,
    /// Those that are somewhere; all, if none.
    present: Option<NullBuffer>,
}

impl Places {
    pub fn new(places: Vec<(u32, u32)>) -> Self {
        let present = BooleanBuffer::collect_bool(places.len(), |row| places[row].0 != NO_ROW);
        let present = Some(NullBuffer::new(present)).filter(|present| present.null_count() > 0);
        Self { places, present }
    }

    /// A column of canonical arrays of `data_type`, which is in these pieces.
    pub fn pick(&self, pieces: &[&ArrayRef], data_type: &DataType) -> Result<ArrayRef, BackfillError> {
        Ok(match data_type {
            DataType::Float64 => Arc::new(self.pick_primitive::<Float64Type>(pieces)),
            DataType::Int64 => Arc::new(self.pick_primitive::<Int64Type>(pieces)),
            DataType::Float32 => Arc::new(self.pick_primitive::<Float32Type>(pieces)),
            DataType::Timestamp(..) => {
                let times = self.pick_primitive::<TimestampMicrosecondType>(pieces);
                Arc::new(times.with_data_type(data_type.clone()))
            }
            _ => {
                // The first array is one missing value.
                let null = new_null_array(data_type, 1);
                let pieces = pieces.iter().map(|piece| &***piece);
                let arrays: Vec<&dyn Array> = std::iter::once(&*null).chain(pieces).collect();
                let place = |(piece, row): &(u32, u32)| match *piece {
                    NO_ROW => (0, 0),
                    piece => (piece as usize + 1, *row as usize),
                };
                let places: Vec<(usize, usize)> = self.places.iter().map(place).collect();
                interleave(&arrays, &places).map_err(too_large)?
            }
        })
    }

    fn pick_primitive<T: ArrowPrimitiveType>(&self, pieces: &[&ArrayRef]) -> PrimitiveArray<T> {
        let pieces: Vec<&PrimitiveArray<T>> = pieces.iter().map(|piece| piece.as_primitive()).collect();
        let values: Vec<&[T::Native]> = pieces.iter().map(|piece| &piece.values()[..]).collect();
        let value = |(piece, row): &(u32, u32)| {
            let piece = values.get(*piece as usize);
            piece
                .and_then(|piece| piece.get(*row as usize))
                .copied()
                .unwrap_or_default()
        };
        let picked: ScalarBuffer<T::Native> = self.places.iter().map(value).collect();
        let nulls = match pieces.iter().all(|piece| piece.null_count() == 0) {
            true => self.present.clone(),
            false => {
                let is_valid = |row: usize| {
                    let (piece, row) = self.places[row];
                    pieces
                        .get(piece as usize)
                        .is_some_and(|piece| piece.is_valid(row as usize))
                };
                Some(NullBuffer::new(BooleanBuffer::collect_bool(
                    self.places.len(),
                    is_valid,
                )))
            }
        };
        PrimitiveArray::new(picked, nulls)
    }
}
