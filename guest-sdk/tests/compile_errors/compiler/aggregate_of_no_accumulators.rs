use unskew_guest::{Input, Output, aggregate};

#[derive(Input)]
pub struct NoInput {}

#[derive(Output)]
pub struct Impressions {
    pub impressions: i64,
}

/// Impressions.
#[aggregate(owner = "ads-ranking", windows = ["1h"])]
pub fn history(totals: &u64, _: &NoInput) -> Impressions {
    Impressions { impressions: *totals as i64 }
}

fn main() {}
