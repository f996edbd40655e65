use unskew_frame::{Column, ColumnType, ColumnView, Frame, encode};

use crate::column::{Input, Output, check_present};
use crate::module::ModuleMeta;

/// A row transform: what [`row_transform`](macro@crate::row_transform) makes of a function.
pub trait RowTransform {
    /// The inputs.
    type Input<'a>: Input<'a>;
    /// The outputs.
    type Output: Output;
    /// The descriptor's words.
    const MODULE: ModuleMeta;

    /// One row.
    fn apply(input: Self::Input<'_>) -> Self::Output;
}

/// Why a batch was refused: it is not what the descriptor calls for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowError(pub String);

/// Applies `T` to every row of the frame in `inputs` and writes the outputs' frame.
#[doc(hidden)]
pub fn apply_frame<T: RowTransform>(inputs: &[u64], outputs: &mut Vec<u64>) -> Result<(), RowError> {
    let declared = <T::Input<'_> as Input<'_>>::COLUMNS;
    let types: Vec<ColumnType> = declared.iter().map(|c| c.column_type).collect();
    let frame = Frame::check(inputs, &types).map_err(|error| RowError(error.to_string()))?;
    let views: Vec<ColumnView<'_>> = (0..frame.columns()).map(|i| frame.column(i)).collect();
    check_present(declared, &views).map_err(RowError)?;
    let mut columns: Vec<Column> = T::Output::COLUMNS.iter().map(|c| Column::new(c.column_type)).collect();
    for row in 0..frame.rows() {
        T::apply(T::Input::read(&views, row)).write(&mut columns);
    }
    let columns: Vec<&Column> = columns.iter().collect();
    encode(&columns, frame.rows(), outputs).map_err(|error| RowError(error.to_string()))
}
