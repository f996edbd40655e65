//! Impressions, clicks and smoothed click-through rate of a key over an hour, a day and a week.
//!
//! The key is whatever the view says: an item, a user, a creative on a placement. The smoothing prior is an input, so it is
//! written in one place, the view's definition, and is the same in training and in serving.

#![cfg_attr(test, allow(clippy::unwrap_used))]

use unskew_guest::accumulate::Count;
use unskew_guest::{Accumulators, Input, Output, aggregate};

/// An impression of the key.
#[derive(Input, Clone, Copy, Debug)]
pub struct Impression {
    /// Whether it was clicked. Missing counts as not clicked.
    pub clicked: Option<bool>,
}

/// What is kept of the impressions.
#[derive(Accumulators, Clone, Debug, Default, PartialEq)]
#[event(Impression)]
pub struct Totals {
    impressions: Count,
    #[accumulate(when = clicked)]
    clicks: Count,
}

/// The beta prior of the click-through rate.
#[derive(Input, Clone, Copy, Debug)]
pub struct Prior {
    /// The rate that a key without history has.
    pub prior_ctr: f64,
    /// How many impressions the prior is worth.
    pub prior_weight: f64,
}

/// The features of one window.
#[derive(Output, Clone, Copy, Debug, PartialEq)]
pub struct Ctr {
    /// Impressions in the window.
    pub impressions: i64,
    /// Clicks in the window.
    pub clicks: i64,
    /// (clicks + prior_ctr * prior_weight) / (impressions + prior_weight); missing where the divisor is 0.
    pub ctr: Option<f64>,
}

/// Impressions, clicks and smoothed click-through rate over 1 h, 1 d and 7 d.
#[aggregate(owner = "ads-ranking", windows = ["1h/5m", "1d/1h", "7d/1h"])]
pub fn ctr_history(totals: &Totals, prior: &Prior) -> Ctr {
    let (impressions, clicks) = (totals.impressions.value(), totals.clicks.value());
    let weight = impressions as f64 + prior.prior_weight;
    let ctr = (clicks as f64 + prior.prior_ctr * prior.prior_weight) / weight;
    Ctr {
        impressions,
        clicks,
        ctr: (weight != 0.0).then_some(ctr),
    }
}

#[cfg(test)]
mod tests;
