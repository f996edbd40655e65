use unskew_frame::{Column, ColumnType, ColumnView, EncodeError, Frame, FrameSlots, lay_out, seal};

use crate::column::{BLOCK_ROWS, ColumnMeta, Input, Output, check_present};
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

/// A frame of outputs and what it is made with, kept from call to call.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct FrameBuffer {
    /// The frame.
    pub words: Vec<u64>,
    /// The texts and bytes of a frame that is being written.
    variable: Vec<Column>,
}

impl FrameBuffer {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self {
            words: Vec::new(),
            variable: Vec::new(),
        }
    }

    /// Writes a frame of these columns, each with whether a value may be missing: `write` fills the slots.
    pub(crate) fn write<C>(
        &mut self,
        columns: C,
        rows: usize,
        write: impl FnOnce(&mut FrameSlots<'_>),
    ) -> Result<(), EncodeError>
    where
        C: Iterator<Item = (ColumnType, bool)> + Clone,
    {
        let mut variable = columns.clone().map(|(column, _)| column).filter(|c| c.is_variable());
        if !variable.clone().eq(self.variable.iter().map(Column::column_type)) {
            self.variable = variable.by_ref().map(Column::new).collect();
        }
        self.variable.iter_mut().for_each(Column::clear);
        write(&mut lay_out(columns, rows, &mut self.words, &mut self.variable)?);
        seal(&mut self.words, &self.variable)
    }
}

/// Applies `T` to every row of the frame in `inputs` and writes the outputs' frame.
#[doc(hidden)]
pub fn apply_frame<T: RowTransform>(inputs: &[u64], outputs: &mut FrameBuffer) -> Result<(), RowError> {
    let declared = <T::Input<'_> as Input<'_>>::COLUMNS;
    let frame = Frame::open(inputs, declared.len()).map_err(|error| RowError(error.to_string()))?;
    let mut is_refused = false;
    let readers = T::Input::readers(
        #[inline(always)]
        |index| match frame.typed(index, declared[index].column_type) {
            Ok(column) if declared[index].nullable || column.is_all_present() => column,
            _ => {
                is_refused = true;
                ColumnView::empty(declared[index].column_type)
            }
        },
    );
    if is_refused {
        return Err(refusal(&frame, declared));
    }
    let columns = T::Output::COLUMNS.iter().map(|c| (c.column_type, c.nullable));
    outputs
        .write(columns, frame.rows(), |slots| {
            apply_rows::<T>(&readers, frame.rows(), &mut T::Output::writers(slots));
        })
        .map_err(|error| RowError(error.to_string()))
}

/// What is wrong with a frame that was refused: told apart, so that reading one is short.
#[cold]
fn refusal(frame: &Frame<'_>, declared: &[ColumnMeta]) -> RowError {
    let check = |(index, declared): (usize, &ColumnMeta)| {
        let column = frame
            .typed(index, declared.column_type)
            .map_err(|error| error.to_string())?;
        check_present(declared, column)
    };
    match declared.iter().enumerate().try_for_each(check) {
        Err(error) => RowError(error),
        Ok(()) => RowError("the frame is not what the descriptor says".to_owned()),
    }
}

/// Applies `T` to `rows` rows.
#[doc(hidden)]
#[inline]
pub fn apply_rows<'a, T: RowTransform>(
    readers: &<T::Input<'a> as Input<'a>>::Readers,
    rows: usize,
    writers: &mut <T::Output as Output>::Writers<'_>,
) {
    for (block, start) in (0..rows).step_by(BLOCK_ROWS).enumerate() {
        for row in start..rows.min(start + BLOCK_ROWS) {
            T::apply(T::Input::read(readers, row)).write(writers, row);
        }
        T::Output::end_block(writers, block);
    }
}
