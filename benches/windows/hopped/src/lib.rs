//! Count, sum, mean and last amount of a user over windows that move by hops, as a bidder keeps them.

#[path = "../../spend.rs"]
mod spend;

use unskew_guest::aggregate;

pub use spend::{Impression, NoInput, Spend, Totals};

/// What a user spent over 1 h, 24 h, 7 d and 30 d.
#[aggregate(owner = "benches", windows = ["1h/5m", "24h/1h", "7d/6h", "30d/1d"])]
pub fn hopped_spend(totals: &Totals, _: &NoInput) -> Spend {
    spend::spend(totals)
}
