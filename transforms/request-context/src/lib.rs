//! What a bid request says by itself, and crossed with the history of its candidate: hashed ids, hour and day of week,
//! position, floor-price bucket, and products with the click-through rate.

#![cfg_attr(test, allow(clippy::unwrap_used))]

use unskew_guest::{Input, Output, Timestamp, hash_i64, hash_pair_i64, math, row_transform};

/// A request and one candidate.
#[derive(Input, Clone, Copy, Debug)]
pub struct Request<'a> {
    /// When the prediction is made.
    pub prediction_time: Timestamp,
    /// The candidate.
    pub item_id: i64,
    /// The slot on the page, from 1.
    pub position: Option<i64>,
    /// The segment that the user is in.
    pub user_segment: Option<&'a str>,
    /// The least price that the exchange takes, per thousand impressions.
    pub floor_price: Option<f64>,
    /// The candidate's click-through rate over a day.
    pub ctr_1d: Option<f64>,
    /// The candidate's click-through rate over a week.
    pub ctr_7d: Option<f64>,
}

/// The features.
#[derive(Output, Clone, Copy, Debug, PartialEq)]
pub struct Context {
    /// The hour of the day, UTC.
    pub hour: i64,
    /// The day of the week, UTC, Monday 0.
    pub day_of_week: i64,
    /// The candidate, hashed.
    pub item_hash: i64,
    /// The user's segment, hashed.
    pub segment_hash: Option<i64>,
    /// The candidate crossed with the user's segment.
    pub item_segment_hash: Option<i64>,
    /// The candidate crossed with the position.
    pub item_position_hash: Option<i64>,
    /// The floor's bucket, four to a doubling, 0 from a price of 1; missing without a finite floor above 0.
    pub floor_bucket: Option<i64>,
    /// The click-through rate over a day, over that of a week; missing where the latter is 0.
    pub ctr_trend: Option<f64>,
    /// The log odds of the click-through rate over a week; missing at 0 and 1.
    pub ctr_logit: Option<f64>,
    /// The click-through rate over a week, over log2(position + 1); positions below 1 count as 1.
    pub ctr_at_position: Option<f64>,
}

/// Hashed ids, calendar, position, floor bucket, and crosses with the click-through rate.
#[row_transform(owner = "ads-ranking")]
pub fn request_context(request: Request<'_>) -> Context {
    let item_hash = hash_i64(&request.item_id.to_le_bytes());
    let segment_hash = request.user_segment.map(|segment| hash_i64(segment.as_bytes()));
    Context {
        hour: request.prediction_time.hour(),
        day_of_week: request.prediction_time.day_of_week(),
        item_hash,
        segment_hash,
        item_segment_hash: segment_hash.map(|segment| hash_pair_i64(item_hash, segment)),
        item_position_hash: request.position.map(|position| hash_pair_i64(item_hash, position)),
        floor_bucket: request
            .floor_price
            .filter(|floor| *floor > 0.0 && floor.is_finite())
            .map(floor_bucket),
        ctr_trend: request
            .ctr_1d
            .zip(request.ctr_7d)
            .and_then(|(day, week)| (week != 0.0).then_some(day / week)),
        ctr_logit: request
            .ctr_7d
            .filter(|ctr| *ctr > 0.0 && *ctr < 1.0)
            .map(|ctr| math::log(ctr / (1.0 - ctr))),
        ctr_at_position: request
            .ctr_7d
            .zip(request.position)
            .map(|(ctr, position)| ctr / math::log2(position.max(1) as f64 + 1.0)),
    }
}

fn floor_bucket(floor: f64) -> i64 {
    math::floor(math::log2(floor) * 4.0) as i64
}

#[cfg(test)]
mod tests;
