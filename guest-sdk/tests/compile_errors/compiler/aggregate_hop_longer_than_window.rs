use unskew_guest::accumulate::Count;
use unskew_guest::{Accumulators, Input, Output, aggregate};

#[derive(Input)]
pub struct Impression {
    pub clicked: bool,
}

#[derive(Accumulators, Clone, Default, PartialEq)]
#[event(Impression)]
pub struct Totals {
    impressions: Count,
}

#[derive(Input)]
pub struct NoInput {}

#[derive(Output)]
pub struct Impressions {
    pub impressions: i64,
}

/// Impressions.
#[aggregate(owner = "ads-ranking", windows = ["1h/2h"])]
pub fn history(totals: &Totals, _: &NoInput) -> Impressions {
    Impressions { impressions: totals.impressions.value() }
}

fn main() {}
