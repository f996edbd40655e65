use unskew_guest::accumulate::Count;
use unskew_guest::{Accumulators, Input};

#[derive(Input)]
pub struct Auction<'a> {
    pub price: Option<f64>,
    pub won: bool,
    pub exchange: &'a str,
}

#[derive(Accumulators, Clone, Default, PartialEq)]
#[event(Auction<'_>)]
pub struct Totals {
    #[accumulate(when = price + 1.0)]
    auctions: Count,
}

fn main() {}
