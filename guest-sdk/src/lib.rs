//! Write a feature transform as plain Rust; compile it once to a WebAssembly component that runs, bit for bit the same, in
//! backfills and in the host inside a service.
//!
//! # A row transform
//! Inputs and outputs are structs. `Option<T>` means that a value may be missing; a field's doc comment becomes the
//! column's documentation.
//!
//! ```
//! use unskew_guest::{Input, Output, Timestamp, row_transform};
//!
//! #[derive(Input)]
//! pub struct Request<'a> {
//!     /// When the prediction is made.
//!     pub prediction_time: Timestamp,
//!     /// The page that the slot is on.
//!     pub page: Option<&'a str>,
//! }
//!
//! #[derive(Output, PartialEq, Debug)]
//! pub struct Context {
//!     /// The hour of the day, UTC.
//!     pub hour: i64,
//!     /// A stable hash of the page; missing where the page is.
//!     pub page_hash: Option<i64>,
//! }
//!
//! /// What the time and the place of a request say.
//! #[row_transform(owner = "ads-ranking")]
//! pub fn request_context(request: Request<'_>) -> Context {
//!     Context {
//!         hour: request.prediction_time.hour(),
//!         page_hash: request.page.map(|page| unskew_guest::hash_i64(page.as_bytes())),
//!     }
//! }
//!
//! // The logic is a function like any other: test it as one.
//! let noon = Timestamp::from_micros(12 * 3_600_000_000);
//! assert_eq!(request_context(Request { prediction_time: noon, page: None }), Context { hour: 12, page_hash: None });
//! ```
//!
//! # An aggregate
//! A struct of [accumulators](accumulate) says what is kept of the events; a function reads them, once per window.
//!
//! ```
//! use unskew_guest::{Accumulators, Input, Output, accumulate::Count, aggregate};
//!
//! #[derive(Input)]
//! pub struct Impression {
//!     /// Whether it was clicked.
//!     pub clicked: bool,
//! }
//!
//! #[derive(Accumulators, Clone, Default, PartialEq)]
//! #[event(Impression)]
//! pub struct Totals {
//!     impressions: Count,
//!     #[accumulate(when = clicked)]
//!     clicks: Count,
//! }
//!
//! #[derive(Input)]
//! pub struct NoInput {}
//!
//! #[derive(Output)]
//! pub struct Ctr {
//!     /// Clicks per impression; missing without impressions.
//!     pub ctr: Option<f64>,
//! }
//!
//! /// Click-through rate over an hour and a day: outputs `ctr_1h` and `ctr_1d`.
//! #[aggregate(owner = "ads-ranking", windows = ["1h/5m", "1d/1h"])]
//! pub fn click_through(totals: &Totals, _: &NoInput) -> Ctr {
//!     let impressions = totals.impressions.value();
//!     Ctr { ctr: (impressions > 0).then(|| totals.clicks.value() as f64 / impressions as f64) }
//! }
//! ```
//!
//! The laws that every accumulator keeps, how windows and states are bounded, and what the batch form costs are in
//! docs/aggregates.md. Check those of your own with [`aggregator_laws!`].
//!
//! # Golden vectors
//! What the component itself must give, to the bit, is said in `golden.toml` beside the crate's manifest. `unskew build` holds the
//! component to it and puts it in; so do those who check and publish it, and every host before it serves it. Where a test runs the
//! compiled Rust source, this runs what is served: it finds a compiler's mistake. A vector without `out` is answered with what the
//! component gives.
//!
//! ```toml
//! [[vector]]
//! what = "a click within the hour, an impression of yesterday"
//! at = 2024-01-15T10:00:00Z
//! events = [
//!     { time = 2024-01-15T09:30:00Z, clicked = true },
//!     { time = 2024-01-14T09:00:00Z, clicked = false },
//! ]
//! out = { ctr_1h = 1.0, ctr_1d = 1.0 }
//!
//! # Of a row transform, which has neither events nor `at`.
//! [[vector]]
//! in = { prediction_time = 2024-01-15T10:00:00Z, page = "news" }
//! ```
//!
//! A column that is not named is missing. Numbers may be `nan` and `inf`; times have their zone; bytes are pairs of hexadecimal
//! digits, vectors are lists.
//!
//! # What a transform cannot do
//! It imports nothing: no clock, no random numbers, no files, no environment. Time is an input. It keeps nothing between
//! calls. A panic ends the call and the host serves the declared fallback.

#![cfg_attr(test, allow(clippy::unwrap_used))]

// The macros name the crate from outside; its own tests use them too.
#[cfg(test)]
extern crate self as unskew_guest;

pub mod accumulate;
mod aggregate;
mod bound;
mod column;
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod component;
mod hash;
mod module;
mod reading;
mod reads;
mod row;
mod slide;
mod state;
pub mod testing;
mod tiling;
mod timestamp;
mod value;
mod window;

pub use aggregate::{Accumulators, Aggregate, AggregateError, Query};
#[doc(hidden)]
pub use aggregate::{Layout, push_field_layout};
pub use bound::StateBound;
#[doc(hidden)]
pub use bound::sum_bounds;
pub use column::{ColumnMeta, Flag, Input, InputValue, MaybeMissing, Output, OutputValue};
pub use hash::{hash_i64, hash_pair_i64};
pub use libm as math;
pub use module::ModuleMeta;
pub use reads::{PreviousState, ReadableState};
#[doc(hidden)]
pub use row::{FrameBuffer, apply_frame, apply_rows};
pub use row::{RowError, RowTransform};
pub use state::{StateError, StateReader};
pub use timestamp::Timestamp;
pub use unskew_frame as frame;
pub use unskew_guest_macros::{Accumulators, Input, Output, aggregate, row_transform};
pub use window::{WindowMeta, parse_windows};
#[doc(hidden)]
pub use window::{distinct_windows, parse_window};
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub use wit_bindgen;
