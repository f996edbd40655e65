//! How often and how recently a user saw and clicked ads, and what its frequency caps leave.
//!
//! The key is the view's: a user, or a user and a campaign, of one log. Caps are inputs, so the cap that a model saw in training
//! is the one that serving applies.

#![cfg_attr(test, allow(clippy::unwrap_used))]

use unskew_guest::accumulate::{Count, LastSeen};
use unskew_guest::{Accumulators, Input, Output, Query, aggregate};

/// An impression or a click of the user.
#[derive(Input, Clone, Copy, Debug)]
pub struct Exposure<'a> {
    /// `impression` or `click`; anything else is not counted.
    pub kind: Option<&'a str>,
}

/// What is kept of the exposures.
#[derive(Accumulators, Clone, Debug, Default, PartialEq)]
#[event(Exposure<'_>)]
pub struct Totals {
    #[accumulate(when = kind == "impression")]
    impressions: Count,
    #[accumulate(when = kind == "click")]
    clicks: Count,
    #[accumulate(when = kind == "impression")]
    last_impression: LastSeen,
    #[accumulate(when = kind == "click")]
    last_click: LastSeen,
}

/// The most impressions that a window may have; missing where there is no cap.
#[derive(Input, Clone, Copy, Debug, Default)]
pub struct Caps {
    /// In ten minutes.
    pub cap_10m: Option<i64>,
    /// In an hour.
    pub cap_1h: Option<i64>,
    /// In a day.
    pub cap_1d: Option<i64>,
    /// In a week.
    pub cap_7d: Option<i64>,
    /// In thirty days.
    pub cap_30d: Option<i64>,
}

impl Caps {
    fn of(&self, window: &str) -> Option<i64> {
        match window {
            "10m" => self.cap_10m,
            "1h" => self.cap_1h,
            "1d" => self.cap_1d,
            "7d" => self.cap_7d,
            _ => self.cap_30d,
        }
    }
}

/// The features of one window.
#[derive(Output, Clone, Copy, Debug, PartialEq)]
pub struct Frequency {
    /// Impressions in the window.
    pub impressions: i64,
    /// Clicks in the window.
    pub clicks: i64,
    /// Seconds since the last impression; missing without one in the window.
    pub seconds_since_impression: Option<f64>,
    /// Seconds since the last click; missing without one in the window.
    pub seconds_since_click: Option<f64>,
    /// How many impressions the window's cap leaves, 0 where it is reached; missing without a cap.
    pub cap_remaining: Option<i64>,
}

/// Impressions, clicks, recency and what caps leave over 10 min, 1 h, 1 d, 7 d and 30 d.
#[aggregate(owner = "ads-delivery", windows = ["10m/10s", "1h/1m", "1d/30m", "7d/3h", "30d/12h"])]
pub fn user_frequency(totals: &Totals, caps: &Caps, query: &Query) -> Frequency {
    let impressions = totals.impressions.value();
    let remaining = |cap: i64| cap.saturating_sub(impressions).max(0);
    Frequency {
        impressions,
        clicks: totals.clicks.value(),
        seconds_since_impression: totals.last_impression.seconds_before(query.time),
        seconds_since_click: totals.last_click.seconds_before(query.time),
        cap_remaining: caps.of(query.window.name).map(remaining),
    }
}

#[cfg(test)]
mod tests;
