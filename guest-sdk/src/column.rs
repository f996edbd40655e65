use unskew_frame::{ColumnType, ColumnView, Slot, Slots};

use crate::Timestamp;

/// What the descriptor says of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnMeta {
    /// The field's name.
    pub name: &'static str,
    /// Its type.
    pub column_type: ColumnType,
    /// Whether a value may be missing.
    pub nullable: bool,
    /// The field's doc comment.
    pub doc: &'static str,
}

/// A struct of inputs or of an event's columns. Derive it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a struct of inputs",
    label = "not a struct of inputs",
    note = "inputs and events are structs with named fields and #[derive(unskew_guest::Input)]"
)]
pub trait Input<'a>: Sized {
    /// The columns in the order of the fields.
    const COLUMNS: &'static [ColumnMeta];

    /// A reader for each column.
    type Readers;

    /// The readers of the columns that `column` gives by their index, which are those of [`COLUMNS`](Self::COLUMNS).
    fn readers(column: impl FnMut(usize) -> ColumnView<'a>) -> Self::Readers;

    /// Row `row`.
    fn read(readers: &Self::Readers, row: usize) -> Self;
}

/// A struct of outputs. Derive it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a struct of outputs",
    label = "not a struct of outputs",
    note = "outputs are a struct with named fields and #[derive(unskew_guest::Output)]"
)]
pub trait Output: Sized {
    /// The columns in the order of the fields.
    const COLUMNS: &'static [ColumnMeta];

    /// A writer for each column.
    type Writers<'w>;

    /// The writers of these slots, which are those of [`COLUMNS`](Self::COLUMNS).
    fn writers<'w>(slots: &mut impl Slots<'w>) -> Self::Writers<'w>;

    /// Writes row `row`. Rows are written in order.
    fn write(self, writers: &mut Self::Writers<'_>, row: usize);

    /// Ends a block of `BLOCK_ROWS` rows, or the rows.
    fn end_block(writers: &mut Self::Writers<'_>, block: usize);
}

/// The rows whose bits are gathered before they are written: as many as a word has.
pub const BLOCK_ROWS: usize = 64;

/// A type that an input can have.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the type of an input",
    label = "not a type of inputs",
    note = "use f64, f32, i64, bool, unskew_guest::Timestamp, &'a str, &'a [u8] or &'a [f32; N], or an Option of one of them where the value may be missing"
)]
pub trait InputValue<'a>: Sized {
    /// The type of the column.
    const TYPE: ColumnType;
    /// Whether a value may be missing.
    const NULLABLE: bool = false;

    /// What reads the rows of a column.
    type Reader;

    /// The reader of a column of [`TYPE`](Self::TYPE).
    fn reader(column: ColumnView<'a>) -> Self::Reader;

    /// The value at `row`.
    fn read(reader: &Self::Reader, row: usize) -> Self;
}

/// A type that an output can have.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the type of an output",
    label = "not a type of outputs",
    note = "use f64, f32, i64, bool, unskew_guest::Timestamp, String, Vec<u8> or [f32; N], or an Option of one of them where the value may be missing"
)]
pub trait OutputValue: Sized {
    /// The type of the column.
    const TYPE: ColumnType;
    /// Whether a value may be missing.
    const NULLABLE: bool = false;

    /// What writes the rows of a column.
    type Writer<'w>;

    /// The writer of a slot of [`TYPE`](Self::TYPE).
    fn writer(slot: Slot<'_>) -> Self::Writer<'_>;

    /// Writes the value at `row`.
    fn write(self, writer: &mut Self::Writer<'_>, row: usize);

    /// Writes that there is none at `row`.
    fn write_missing(writer: &mut Self::Writer<'_>, row: usize);

    /// Ends a block of rows: see [`Output::end_block`].
    fn end_block(writer: &mut Self::Writer<'_>, block: usize);
}

/// A value that may be an [`Option`], as accumulators see it: missing values are not accumulated.
pub trait MaybeMissing {
    /// The type without the option.
    type Present;

    /// The value, unless it is missing.
    fn present(self) -> Option<Self::Present>;
}

/// A column that `when` takes: a bool. A missing one is not set.
#[diagnostic::on_unimplemented(
    message = "`when` takes a flag, and `{Self}` is none",
    label = "not a flag",
    note = "a flag is a bool or an Option<bool>"
)]
pub trait Flag {
    /// Whether it is true.
    fn is_set(&self) -> bool;
}

impl Flag for bool {
    #[inline]
    fn is_set(&self) -> bool {
        *self
    }
}

impl Flag for Option<bool> {
    #[inline]
    fn is_set(&self) -> bool {
        *self == Some(true)
    }
}

macro_rules! always_present {
    ($($type:ty),*) => {
        $(impl MaybeMissing for $type {
            type Present = Self;

            #[inline]
            fn present(self) -> Option<Self> {
                Some(self)
            }
        })*
    };
}

always_present!(f64, f32, i64, bool, Timestamp);

impl<T> MaybeMissing for Option<T> {
    type Present = T;

    #[inline]
    fn present(self) -> Self {
        self
    }
}

impl<'a> MaybeMissing for &'a str {
    type Present = &'a str;

    #[inline]
    fn present(self) -> Option<Self> {
        Some(self)
    }
}

/// Checks that no value is missing where the descriptor says that none can be.
#[inline]
pub(crate) fn check_present(declared: &ColumnMeta, column: ColumnView<'_>) -> Result<(), String> {
    if declared.nullable || column.is_all_present() {
        return Ok(());
    }
    Err(format!("`{}` has missing values and is not an Option", declared.name))
}
