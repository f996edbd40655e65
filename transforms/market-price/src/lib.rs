//! Win rate and clearing prices of a slot, and the share of them below a bid: what bid shading reads.
//!
//! The key is the view's: publisher, size and hour of day, or any other cut of the supply.

#![cfg_attr(test, allow(clippy::unwrap_used))]

use unskew_guest::accumulate::{Mean, Quantiles, Rate};
use unskew_guest::{Accumulators, Input, Output, aggregate};

/// The outcome of a bid.
#[derive(Input, Clone, Copy, Debug)]
pub struct Outcome {
    /// Whether the bid won. Missing where no notice came: then the bid does not count for the win rate.
    pub won: Option<bool>,
    /// What the slot went for, per thousand impressions: the price paid, or the least bid that would have won where the exchange
    /// says so. Missing where it is not known.
    pub clearing_price: Option<f64>,
}

/// What is kept of the outcomes.
#[derive(Accumulators, Clone, Debug, Default, PartialEq)]
#[event(Outcome)]
pub struct Totals {
    #[accumulate(won)]
    won: Rate,
    #[accumulate(clearing_price, when = clearing_price > 0.0)]
    price: Mean,
    #[accumulate(clearing_price, when = clearing_price > 0.0)]
    prices: Quantiles<6, 512>,
}

/// What a reader of the market brings along.
#[derive(Input, Clone, Copy, Debug)]
pub struct Bid {
    /// The price that is considered, per thousand impressions.
    pub bid_price: Option<f64>,
    /// The win rate that a slot without history has.
    pub prior_win_rate: f64,
    /// How many bids the prior is worth.
    pub prior_weight: f64,
}

/// The features of one window.
#[derive(Output, Clone, Copy, Debug, PartialEq)]
pub struct Market {
    /// Bids with a known outcome.
    pub bids: i64,
    /// (wins + prior_win_rate * prior_weight) / (bids + prior_weight); missing where the divisor is 0.
    pub win_rate: Option<f64>,
    /// How many clearing prices are known.
    pub prices: i64,
    /// The mean clearing price; missing without prices.
    pub price_mean: Option<f64>,
    /// A tenth of the clearing prices is below, within 0.8 %; missing without prices.
    pub price_p10: Option<f64>,
    /// The median clearing price, within 0.8 %; missing without prices.
    pub price_p50: Option<f64>,
    /// A tenth of the clearing prices is above, within 0.8 %; missing without prices.
    pub price_p90: Option<f64>,
    /// The share of the clearing prices below the bid; missing without a bid or prices.
    pub share_below_bid: Option<f64>,
}

/// Win rate, clearing-price quantiles and the share of prices below a bid over 1 h, 1 d and 7 d.
#[aggregate(owner = "ads-bidding", windows = ["1h/5m", "1d/1h", "7d/6h"])]
pub fn market_price(totals: &Totals, bid: &Bid) -> Market {
    let prices = &totals.prices;
    Market {
        bids: totals.won.total(),
        win_rate: totals.won.smoothed(bid.prior_win_rate, bid.prior_weight),
        prices: prices.count(),
        price_mean: totals.price.value(),
        price_p10: prices.quantile(0.1),
        price_p50: prices.quantile(0.5),
        price_p90: prices.quantile(0.9),
        share_below_bid: bid.bid_price.and_then(|price| prices.share_below(price)),
    }
}

#[cfg(test)]
mod tests;
