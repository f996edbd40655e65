//! The columnar frame that crosses between a host and a transform, as code: docs/frame.md is its specification, wit/ the
//! contract that carries it.
//!
//! - [`ColumnType`] and [`Value`]: the types of features, and one value of any of them
//! - [`Column`]: an owned column that grows by rows
//! - [`ColumnView`]: a column read in place, owned or inside a frame
//! - [`Frame`]: a checked view of a frame's words; [`encode`] writes them
//! - [`Slot`]: where the rows of a column are written in place: in a frame by [`lay_out`], in a column by
//!   [`Column::lay_out`]
//!
//! ```
//! use unskew_frame::{Column, ColumnType, Frame, Value, encode};
//!
//! let mut price = Column::new(ColumnType::F64);
//! price.push_f64(1.25);
//! price.push_null();
//! let mut words = Vec::new();
//! encode(&[&price], 2, &mut words).unwrap();
//!
//! let frame = Frame::check(&words, &[ColumnType::F64]).unwrap();
//! assert_eq!(frame.column(0).value(0), Value::F64(1.25));
//! assert_eq!(frame.column(0).value(1), Value::Null);
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod column;
mod column_type;
mod extend;
mod frame;
mod slot;
#[cfg(test)]
mod twin;
mod value;
mod view;

pub use column::{Column, TypeMismatch};
pub use column_type::{ColumnType, MAX_VECTOR_LEN, ParseColumnTypeError};
pub use frame::{
    EncodeError, FRAME_VERSION, Frame, FrameError, MAX_COLUMNS, MAX_ROWS, encode, encode_within, encoded_words,
};
pub use slot::{ColumnSlots, FrameSlots, Slot, Slots, lay_out, seal};
pub use value::{Value, canonical_f32, canonical_f64};
pub use view::ColumnView;

// Frames, states and snapshots are little-endian; words are read in place.
#[cfg(target_endian = "big")]
compile_error!("unskew runs on little-endian machines only");
