//! Runs transforms natively, through the frames that a host would pass: for a transform's own tests.
//!
//! ```
//! use unskew_guest::frame::{Column, ColumnType, Value};
//! use unskew_guest::{Input, Output, row_transform, testing};
//!
//! #[derive(Input)]
//! pub struct Price {
//!     /// In micros of the currency.
//!     pub price: Option<f64>,
//! }
//!
//! #[derive(Output)]
//! pub struct Bucket {
//!     /// The price's power of two.
//!     pub bucket: Option<i64>,
//! }
//!
//! /// The bucket that a price falls in.
//! #[row_transform(owner = "ads-ranking")]
//! pub fn price_bucket(input: Price) -> Bucket {
//!     Bucket { bucket: input.price.map(|price| unskew_guest::math::log2(price) as i64) }
//! }
//!
//! let mut price = Column::new(ColumnType::F64);
//! price.push_f64(9.0);
//! price.push_null();
//! let outputs = testing::apply::<PriceBucket>(&[&price], 2).unwrap();
//! assert_eq!(outputs[0].value(0), Value::I64(3));
//! assert_eq!(outputs[0].value(1), Value::Null);
//! ```

mod aggregate_laws;
mod laws;
mod random;

pub use aggregate_laws::check_aggregate_laws;
pub use laws::{LAW_CASES, check_accumulator_laws};
pub use random::Random;

#[cfg(test)]
pub(crate) use laws::{decoded, encoded};

use unskew_frame::{Column, ColumnType, Frame, Value, encode};

use crate::aggregate::{
    Aggregate, AggregateError, batch_frame, fold_frame, merge_frame, output_columns, read_frame, readable_versions,
};
use crate::column::Output;
use crate::row::{FrameBuffer, RowError, RowTransform, apply_frame};

/// Makes tests that check the laws of accumulators of your own on ten thousand random cases each, to the bit: see
/// [`check_accumulator_laws`](crate::testing::check_accumulator_laws). The expression behind `|random|` makes a value.
///
/// Of an aggregate, which is named alone, it checks the laws of its states and windows: see
/// [`check_aggregate_laws`](crate::testing::check_aggregate_laws).
///
/// ```
/// use unskew_guest::accumulate::{Accumulate, Accumulator};
/// use unskew_guest::{StateError, StateReader, Timestamp, aggregator_laws};
///
/// /// Which of 64 categories there were.
/// #[derive(Clone, Debug, Default, PartialEq)]
/// pub struct Categories(u64);
///
/// impl Accumulator for Categories {
///     fn layout(text: &mut String) {
///         text.push_str("categories");
///     }
///
///     fn merge(&mut self, other: &Self) {
///         self.0 |= other.0;
///     }
///
///     fn encode(&self, bytes: &mut Vec<u8>) {
///         bytes.extend_from_slice(&self.0.to_le_bytes());
///     }
///
///     fn decode(reader: &mut StateReader<'_>) -> Result<Self, StateError> {
///         reader.array().map(u64::from_le_bytes).map(Self)
///     }
/// }
///
/// impl Accumulate<i64> for Categories {
///     fn add(&mut self, _: Timestamp, category: i64) {
///         self.0 |= 1 << category.rem_euclid(64);
///     }
/// }
///
/// aggregator_laws! {
///     categories: Categories, |random| random.i64();
/// }
/// ```
#[macro_export]
macro_rules! aggregator_laws {
    ($($name:ident: $accumulator:ty, |$random:ident| $value:expr;)+) => {
        $(
            #[test]
            fn $name() {
                $crate::testing::check_accumulator_laws::<$accumulator, _>(
                    $crate::testing::LAW_CASES,
                    |$random: &mut $crate::testing::Random| $value,
                );
            }
        )+
    };
    ($($name:ident: $aggregate:ty;)+) => {
        $(
            #[test]
            fn $name() {
                $crate::testing::check_aggregate_laws::<$aggregate>($crate::testing::LAW_CASES);
            }
        )+
    };
}

/// A column of these values.
///
/// # Panics
/// A value is neither missing nor of the type.
pub fn column<'a>(column_type: ColumnType, values: impl IntoIterator<Item = Value<'a>>) -> Column {
    let mut column = Column::new(column_type);
    for value in values {
        if let Err(error) = column.push(value) {
            panic!("{error}");
        }
    }
    column
}

/// Applies `T` to `rows` rows of these inputs.
///
/// # Errors
/// The inputs are not those of `T`.
pub fn apply<T: RowTransform>(inputs: &[&Column], rows: usize) -> Result<Vec<Column>, RowError> {
    let refuse = |error: String| RowError(error);
    let (mut words, mut out) = (Vec::new(), FrameBuffer::new());
    encode(inputs, rows, &mut words).map_err(|error| refuse(error.to_string()))?;
    apply_frame::<T>(&words, &mut out)?;
    let types = T::Output::COLUMNS.iter().map(|column| column.column_type);
    columns(&out.words, types).map_err(refuse)
}

/// The states with the events added. `states` has one column of bytes; `events` has the index of the state, ascending, the
/// time, and the event's columns.
///
/// # Errors
/// The columns are not those of `T`, or a state cannot be read.
pub fn fold<T: Aggregate>(states: &Column, events: &[&Column]) -> Result<Column, AggregateError> {
    let mut out = FrameBuffer::new();
    fold_frame::<T>(&frame(&[states])?, &frame(events)?, &mut out)?;
    states_column(&out.words)
}

/// Row by row, the states of the events of both sides.
///
/// # Errors
/// The numbers of rows differ, or a state cannot be read.
pub fn merge<T: Aggregate>(left: &Column, right: &Column) -> Result<Column, AggregateError> {
    let mut out = FrameBuffer::new();
    merge_frame::<T>(&frame(&[left])?, &frame(&[right])?, &mut out)?;
    states_column(&out.words)
}

/// The outputs of queries of states. `queries` has the index of the state, ascending, the time, and the inputs.
///
/// # Errors
/// The columns are not those of `T`, a state cannot be read, or a query is not after the events of its state.
pub fn read<T: Aggregate>(states: &Column, queries: &[&Column]) -> Result<Vec<Column>, AggregateError> {
    let mut out = FrameBuffer::new();
    read_frame::<T>(&frame(&[states])?, &frame(queries)?, &mut out)?;
    outputs::<T>(&out.words)
}

/// The outputs of queries that see their state and the first events of it. `queries` has the index of the state, ascending,
/// the time, how many events it sees, and the inputs.
///
/// # Errors
/// Those of [`read`], and a query that sees fewer events than the one before.
pub fn batch<T: Aggregate>(
    states: &Column,
    events: &[&Column],
    queries: &[&Column],
) -> Result<Vec<Column>, AggregateError> {
    let mut out = FrameBuffer::new();
    batch_frame::<T>(&frame(&[states])?, &frame(events)?, &frame(queries)?, &mut out)?;
    outputs::<T>(&out.words)
}

/// The names of the outputs of all windows, in order.
pub fn output_names<T: Aggregate>() -> Vec<String> {
    output_columns::<T>().map(|(name, _)| name).collect()
}

/// The versions of states that `T` reads, the one that it writes first.
pub fn state_versions<T: Aggregate>() -> Vec<u32> {
    readable_versions::<T>()
}

/// Columns as many rows long as the first that is not a scalar.
fn frame(columns: &[&Column]) -> Result<Vec<u64>, AggregateError> {
    let rows = columns
        .iter()
        .find(|column| !column.is_scalar())
        .or(columns.first())
        .map_or(0, |column| column.rows());
    let mut words = Vec::new();
    encode(columns, rows, &mut words).map_err(|error| AggregateError::Frame(error.to_string()))?;
    Ok(words)
}

fn states_column(words: &[u64]) -> Result<Column, AggregateError> {
    let mut columns = columns(words, [ColumnType::Bytes].into_iter()).map_err(AggregateError::Frame)?;
    Ok(columns.remove(0))
}

fn outputs<T: Aggregate>(words: &[u64]) -> Result<Vec<Column>, AggregateError> {
    columns(words, output_columns::<T>().map(|(_, column)| column.column_type)).map_err(AggregateError::Frame)
}

fn columns(words: &[u64], types: impl Iterator<Item = ColumnType>) -> Result<Vec<Column>, String> {
    let types: Vec<ColumnType> = types.collect();
    let frame = Frame::check(words, &types).map_err(|error| error.to_string())?;
    let copy = |(index, column_type): (usize, &ColumnType)| {
        let mut column = Column::new(*column_type);
        column.extend_from(frame.column(index), 0..frame.rows());
        column
    };
    Ok(types.iter().enumerate().map(copy).collect())
}
