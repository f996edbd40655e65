//! What a user spent: of both modules of the bench, which differ in their windows alone.

use unskew_guest::accumulate::{Count, Last, Mean, Sum};
use unskew_guest::{Accumulators, Input, Output};

/// An impression that was paid for.
#[derive(Input, Clone, Copy, Debug)]
pub struct Impression {
    /// What was paid.
    pub amount: f64,
}

/// What is kept of the impressions.
#[derive(Accumulators, Clone, Debug, Default, PartialEq)]
#[event(Impression)]
pub struct Totals {
    count: Count,
    #[accumulate(amount)]
    sum: Sum<f64>,
    #[accumulate(amount)]
    mean: Mean,
    #[accumulate(amount)]
    last: Last<f64>,
}

/// A query has no parameters.
#[derive(Input, Clone, Copy, Debug)]
pub struct NoInput {}

/// The features of one window.
#[derive(Output, Clone, Copy, Debug, PartialEq)]
pub struct Spend {
    /// Impressions.
    pub count: i64,
    /// The sum of their amounts; missing without any.
    pub sum: Option<f64>,
    /// The mean of their amounts; missing without any.
    pub mean: Option<f64>,
    /// The amount of the latest; missing without any.
    pub last: Option<f64>,
}

/// The features of a window with these totals.
pub fn spend(totals: &Totals) -> Spend {
    let count = totals.count.value();
    Spend {
        count,
        sum: (count > 0).then(|| totals.sum.value()),
        mean: totals.mean.value(),
        last: totals.last.value(),
    }
}
