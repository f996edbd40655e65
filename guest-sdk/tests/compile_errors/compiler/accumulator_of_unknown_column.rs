use unskew_guest::accumulate::{Count, Max, Sum};
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
    auctions: Count,
    #[accumulate(prise)]
    spend: Sum<f64>,
    #[accumulate(price, when = one)]
    dearest: Max<f64>,
}

fn main() {}
