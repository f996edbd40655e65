//! How fast a campaign spends, against its plan.
//!
//! The key is the view's: a campaign, a line item, an advertiser.

#![cfg_attr(test, allow(clippy::unwrap_used))]

use unskew_guest::accumulate::{Count, DecimalSum, LastSeen};
use unskew_guest::{Accumulators, Input, Output, Query, aggregate};

const SECONDS_PER_HOUR: f64 = 3_600.0;

/// Money that was spent: a win, a click that is paid for.
#[derive(Input, Clone, Copy, Debug)]
pub struct Spend {
    /// In the currency of the plan. Summed in millionths.
    pub amount: Option<f64>,
}

/// What is kept of the spend.
#[derive(Accumulators, Clone, Debug, Default, PartialEq)]
#[event(Spend)]
pub struct Totals {
    #[accumulate(amount)]
    spend: DecimalSum<6>,
    payments: Count,
    last: LastSeen,
}

/// The plan of the campaign.
#[derive(Input, Clone, Copy, Debug)]
pub struct Plan {
    /// What it is to spend in an hour at this time.
    pub plan_per_hour: Option<f64>,
}

/// The features of one window.
#[derive(Output, Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Spent in the window; missing where the sum is beyond 2^63 millionths.
    pub spend: Option<f64>,
    /// Payments in the window.
    pub payments: i64,
    /// Payments in the window whose amount was no number or beyond all bounds.
    pub invalid: i64,
    /// The spend of the window as that of an hour.
    pub spend_per_hour: Option<f64>,
    /// spend_per_hour / plan_per_hour: 1 is on plan, above it too fast; missing without a plan above 0.
    pub pace: Option<f64>,
    /// Seconds since the last payment; missing without one in the window.
    pub seconds_since_spend: Option<f64>,
}

/// Spend and its speed against the plan over 5 min, 1 h and 1 d.
#[aggregate(owner = "ads-delivery", windows = ["5m/10s", "1h/1m", "1d/30m"])]
pub fn pacing(totals: &Totals, plan: &Plan, query: &Query) -> Pace {
    let spend = totals.spend.value();
    // The tail is up to a hop further back than the window is long.
    let spend_per_hour = spend.map(|spend| spend / query.seconds() * SECONDS_PER_HOUR);
    let plan = plan.plan_per_hour.filter(|plan| *plan > 0.0);
    Pace {
        spend,
        payments: totals.payments.value(),
        invalid: totals.spend.invalid(),
        spend_per_hour,
        pace: spend_per_hour.zip(plan).map(|(speed, plan)| speed / plan),
        seconds_since_spend: totals.last.seconds_before(query.time),
    }
}

#[cfg(test)]
mod tests;
