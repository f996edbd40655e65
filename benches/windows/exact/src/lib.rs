//! Count, sum, mean and last amount of a user over windows with exact tails, as other tools have them.

#[path = "../../spend.rs"]
mod spend;

use unskew_guest::aggregate;

pub use spend::{Impression, NoInput, Spend, Totals};

/// What a user spent over 1 h, 24 h, 7 d and 30 d.
#[aggregate(owner = "benches", windows = ["1h", "24h", "7d", "30d"])]
pub fn exact_spend(totals: &Totals, _: &NoInput) -> Spend {
    spend::spend(totals)
}
