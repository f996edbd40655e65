//! A transform with a bug: its author did not think of an item that was never clicked, and an integer division by zero
//! panics. Serving goes on all the same; see the example of fallbacks.

use unskew_guest::{Input, Output, row_transform};

/// What an item cost and what came of it.
#[derive(Input)]
pub struct Spent {
    /// What its impressions cost, in millionths; missing for an item that is not known.
    pub spend_micros: Option<i64>,
    /// Its clicks.
    pub clicks: i64,
}

/// The features.
#[derive(Output)]
pub struct Cost {
    /// What a click cost, in millionths.
    pub micros_per_click: i64,
}

/// What a click of an item cost.
#[row_transform(owner = "examples")]
pub fn cost_per_click(spent: Spent) -> Cost {
    Cost {
        micros_per_click: spent.spend_micros.unwrap_or(0) / spent.clicks,
    }
}
