//! The transform `request-context`, called by arrow-udf for each row.

use arrow_udf::function;
use arrow_udf::types::StructType;
use request_context::Request;
use unskew_guest::Timestamp;

#[derive(StructType)]
struct Context {
    hour: i64,
    day_of_week: i64,
    item_hash: i64,
    segment_hash: Option<i64>,
    item_segment_hash: Option<i64>,
    item_position_hash: Option<i64>,
    floor_bucket: Option<i64>,
    ctr_trend: Option<f64>,
    ctr_logit: Option<f64>,
    ctr_at_position: Option<f64>,
}

#[function("request_context(bigint, bigint, bigint, varchar, float64, float64, float64) -> struct Context")]
fn request_context(
    prediction_time: i64,
    item_id: i64,
    position: Option<i64>,
    user_segment: Option<&str>,
    floor_price: Option<f64>,
    ctr_1d: Option<f64>,
    ctr_7d: Option<f64>,
) -> Context {
    let context = request_context::request_context(Request {
        prediction_time: Timestamp::from_micros(prediction_time),
        item_id,
        position,
        user_segment,
        floor_price,
        ctr_1d,
        ctr_7d,
    });
    Context {
        hour: context.hour,
        day_of_week: context.day_of_week,
        item_hash: context.item_hash,
        segment_hash: context.segment_hash,
        item_segment_hash: context.item_segment_hash,
        item_position_hash: context.item_position_hash,
        floor_bucket: context.floor_bucket,
        ctr_trend: context.ctr_trend,
        ctr_logit: context.ctr_logit,
        ctr_at_position: context.ctr_at_position,
    }
}
