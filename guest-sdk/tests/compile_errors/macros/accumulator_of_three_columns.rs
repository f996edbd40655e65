use unskew_guest::accumulate::{Max, Sum};
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
    #[accumulate(price, won, exchange)]
    spend: Sum<f64>,
    #[accumulate]
    dearest: Max<f64>,
}

fn main() {}
