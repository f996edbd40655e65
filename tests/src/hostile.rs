//! Components that keep to the contract's types and to nothing else, made from source: what the worst of transforms could do.
//! Tests and tools take them from [`cases`].

mod answers;
mod cases;
mod guest;

pub use answers::frame;
pub use cases::{Case, Expected, cases};
pub use guest::{BAD_ROWS, Function, GOOD_ROWS, Guest, Import, Kind, RESULT, load};
