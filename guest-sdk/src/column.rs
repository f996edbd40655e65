use unskew_frame::{Column, ColumnType, ColumnView};

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

    /// Row `row` of these columns, which are those of [`COLUMNS`](Self::COLUMNS).
    fn read(columns: &[ColumnView<'a>], row: usize) -> Self;
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

    /// Appends a row to these columns, which are those of [`COLUMNS`](Self::COLUMNS).
    fn write(self, columns: &mut [Column]);
}

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

    /// The value at `row`.
    fn read(column: &ColumnView<'a>, row: usize) -> Self;
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

    /// Appends the value.
    fn write(self, column: &mut Column);
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

macro_rules! scalar {
    ($type:ty, $column:ident, $read:expr, $write:expr) => {
        #[diagnostic::do_not_recommend]
        impl<'a> InputValue<'a> for $type {
            const TYPE: ColumnType = ColumnType::$column;

            #[inline]
            fn read(column: &ColumnView<'a>, row: usize) -> Self {
                let read: fn(&ColumnView<'a>, usize) -> $type = $read;
                read(column, row)
            }
        }

        #[diagnostic::do_not_recommend]
        impl OutputValue for $type {
            const TYPE: ColumnType = ColumnType::$column;

            #[inline]
            fn write(self, column: &mut Column) {
                let write: fn(&mut Column, $type) = $write;
                write(column, self);
            }
        }

        impl MaybeMissing for $type {
            type Present = Self;

            #[inline]
            fn present(self) -> Option<Self> {
                Some(self)
            }
        }
    };
}

scalar!(f64, F64, |c, row| c.f64(row), Column::push_f64);
scalar!(f32, F32, |c, row| c.f32(row), Column::push_f32);
scalar!(i64, I64, |c, row| c.i64(row), Column::push_i64);
scalar!(bool, Bool, |c, row| c.bool(row), Column::push_bool);
scalar!(
    Timestamp,
    Timestamp,
    |c, row| Timestamp::from_micros(c.timestamp(row)),
    |c, value| c.push_timestamp(value.as_micros())
);

#[diagnostic::do_not_recommend]
impl<'a> InputValue<'a> for &'a str {
    const TYPE: ColumnType = ColumnType::String;

    #[inline]
    fn read(column: &ColumnView<'a>, row: usize) -> Self {
        column.str(row)
    }
}

#[diagnostic::do_not_recommend]
impl<'a> InputValue<'a> for &'a [u8] {
    const TYPE: ColumnType = ColumnType::Bytes;

    #[inline]
    fn read(column: &ColumnView<'a>, row: usize) -> Self {
        column.bytes(row)
    }
}

#[diagnostic::do_not_recommend]
impl<'a, const N: usize> InputValue<'a> for &'a [f32; N] {
    const TYPE: ColumnType = vector_type::<N>();

    #[inline]
    fn read(column: &ColumnView<'a>, row: usize) -> Self {
        let Ok(vector) = column.vector(row).try_into() else {
            panic!("a vector of another length than its column's");
        };
        vector
    }
}

#[diagnostic::do_not_recommend]
impl<'a, T: InputValue<'a>> InputValue<'a> for Option<T> {
    const TYPE: ColumnType = T::TYPE;
    const NULLABLE: bool = true;

    #[inline]
    fn read(column: &ColumnView<'a>, row: usize) -> Self {
        column.is_present(row).then(|| T::read(column, row))
    }
}

#[diagnostic::do_not_recommend]
impl OutputValue for String {
    const TYPE: ColumnType = ColumnType::String;

    fn write(self, column: &mut Column) {
        column.push_str(&self);
    }
}

#[diagnostic::do_not_recommend]
impl OutputValue for Vec<u8> {
    const TYPE: ColumnType = ColumnType::Bytes;

    fn write(self, column: &mut Column) {
        column.push_bytes(&self);
    }
}

#[diagnostic::do_not_recommend]
impl<const N: usize> OutputValue for [f32; N] {
    const TYPE: ColumnType = vector_type::<N>();

    fn write(self, column: &mut Column) {
        column.push_vector(&self);
    }
}

#[diagnostic::do_not_recommend]
impl<T: OutputValue> OutputValue for Option<T> {
    const TYPE: ColumnType = T::TYPE;
    const NULLABLE: bool = true;

    #[inline]
    fn write(self, column: &mut Column) {
        match self {
            Some(value) => value.write(column),
            None => column.push_null(),
        }
    }
}

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

const fn vector_type<const N: usize>() -> ColumnType {
    const {
        assert!(
            N > 0 && N <= unskew_frame::MAX_VECTOR_LEN as usize,
            "a vector has 1 to 16384 values"
        );
    }
    ColumnType::Vector(N as u32)
}

/// Checks that no value is missing where the descriptor says that none can be.
pub(crate) fn check_present(declared: &[ColumnMeta], columns: &[ColumnView<'_>]) -> Result<(), String> {
    match declared
        .iter()
        .zip(columns)
        .find(|(declared, column)| !declared.nullable && !column.is_all_present())
    {
        None => Ok(()),
        Some((declared, _)) => Err(format!("`{}` has missing values and is not an Option", declared.name)),
    }
}
