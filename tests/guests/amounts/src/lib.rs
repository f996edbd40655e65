//! Every accumulator that takes an amount, over a window with a hop and one with an exact tail: for tests of amounts that are none,
//! of sums that do not fit, and of times at the ends of time.

#![cfg_attr(test, allow(clippy::unwrap_used))]

use unskew_guest::accumulate::{
    Count, Decay, DecimalSum, Distinct, Edges, First, Histogram, Last, LastSeen, Max, Mean, Min, Quantiles, Ratio, Sum,
    Variance,
};
use unskew_guest::{Accumulators, Input, Output, Query, aggregate};

/// A payment.
#[derive(Input, Clone, Copy, Debug)]
pub struct Payment {
    /// As a float.
    pub amount: Option<f64>,
    /// As an integer.
    pub units: Option<i64>,
}

/// Below and above a hundred.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hundred;

impl Edges for Hundred {
    const EDGES: &'static [f64] = &[100.0];
}

/// What is kept of the payments.
#[derive(Accumulators, Clone, Debug, Default, PartialEq)]
#[event(Payment)]
pub struct Totals {
    events: Count,
    #[accumulate(amount, when = amount > 0.0)]
    positive: Mean,
    #[accumulate(units)]
    units: Sum<i64>,
    #[accumulate(units)]
    unit_decimals: DecimalSum<6>,
    #[accumulate(units)]
    unit_mean: Mean,
    #[accumulate(amount)]
    sum: Sum<f64>,
    #[accumulate(amount)]
    mean: Mean,
    #[accumulate(amount)]
    variance: Variance,
    #[accumulate(amount)]
    decimals: DecimalSum<2>,
    #[accumulate(amount)]
    least: Min<f64>,
    #[accumulate(amount)]
    greatest: Max<f64>,
    #[accumulate(amount)]
    first: First<f64>,
    #[accumulate(amount)]
    last: Last<f64>,
    #[accumulate(amount, units)]
    ratio: Ratio,
    #[accumulate(amount)]
    decay: Decay<3600>,
    #[accumulate(amount)]
    quantiles: Quantiles,
    #[accumulate(amount)]
    histogram: Histogram<Hundred>,
    #[accumulate(amount)]
    distinct: Distinct,
    seen: LastSeen,
}

/// No parameters.
#[derive(Input, Clone, Copy, Debug)]
pub struct NoInput {}

/// What each says.
#[derive(Output, Clone, Copy, Debug, PartialEq)]
pub struct Amounts {
    /// Payments.
    pub events: i64,
    /// The mean of the amounts above 0.
    pub positive: Option<f64>,
    /// The sum of the units; missing beyond an i64.
    pub units: Option<i64>,
    /// The same in millionths; missing beyond an i64 of them.
    pub unit_decimals: Option<f64>,
    /// The mean of the units.
    pub unit_mean: Option<f64>,
    /// The sum of the amounts.
    pub sum: f64,
    /// Their mean.
    pub mean: Option<f64>,
    /// Their variance.
    pub variance: Option<f64>,
    /// Their sum in hundredths.
    pub decimals: Option<f64>,
    /// How many are no hundredths.
    pub invalid: i64,
    /// The least amount.
    pub least: Option<f64>,
    /// The greatest.
    pub greatest: Option<f64>,
    /// The first.
    pub first: Option<f64>,
    /// The last.
    pub last: Option<f64>,
    /// Amounts for each unit.
    pub ratio: Option<f64>,
    /// The amounts, halved every hour.
    pub decay: f64,
    /// The median amount.
    pub median: Option<f64>,
    /// How many amounts are no numbers.
    pub not_numbers: i64,
    /// How many amounts are a hundred or more.
    pub high: i64,
    /// How many different amounts there are.
    pub distinct: i64,
    /// Seconds since the last payment.
    pub seconds_since: Option<f64>,
}

/// Amounts over an hour, whose tail moves by five minutes, and over exactly ten minutes.
#[aggregate(owner = "tests", windows = ["1h/5m", "10m"])]
pub fn amounts_of_payments(totals: &Totals, _: &NoInput, query: &Query) -> Amounts {
    Amounts {
        events: totals.events.value(),
        positive: totals.positive.value(),
        units: totals.units.value(),
        unit_decimals: totals.unit_decimals.value(),
        unit_mean: totals.unit_mean.value(),
        sum: totals.sum.value(),
        mean: totals.mean.value(),
        variance: totals.variance.population(),
        decimals: totals.decimals.value(),
        invalid: totals.decimals.invalid(),
        least: totals.least.value(),
        greatest: totals.greatest.value(),
        first: totals.first.value(),
        last: totals.last.value(),
        ratio: totals.ratio.value(),
        decay: totals.decay.value(query.time),
        median: totals.quantiles.quantile(0.5),
        not_numbers: totals.quantiles.not_numbers(),
        high: totals.histogram.bin(1),
        distinct: totals.distinct.value(),
        seconds_since: totals.seen.seconds_before(query.time),
    }
}

#[cfg(test)]
mod tests;
