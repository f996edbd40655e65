//! A bidder over HTTP that answers OpenRTB-like bid requests: `POST /bid`; `GET /ready` for a load balancer, `GET /metrics` for
//! Prometheus.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use crossbeam::queue::ArrayQueue;
use serde::{Deserialize, Serialize};
use unskew::{EvaluateError, EventTime, Fields, Host, RequestError, RequestOf, Session};

/// The items that it bids for are 1 to this.
const ITEMS: i64 = 8;
/// What a click of any item is worth, in currency units.
const CLICK_VALUE: f32 = 0.4;
/// The most desks that are kept.
const DESKS: usize = 64;
/// The service that ranks, and what this bidder reads of it.
const SERVICE: &str = "ranker";
const CTR: &str = "item_ctr:ctr_7d";

/// A bid request, less what this bidder does not read.
#[derive(Deserialize)]
pub struct BidRequest {
    id: String,
    imp: Vec<Impression>,
    user: Option<User>,
}

#[derive(Deserialize)]
struct Impression {
    id: String,
    /// Per thousand impressions.
    #[serde(default)]
    bidfloor: f32,
}

#[derive(Deserialize)]
struct User {
    keywords: Option<String>,
}

#[derive(Serialize)]
struct BidResponse {
    id: String,
    seatbid: [SeatBid; 1],
    cur: &'static str,
    ext: Extension,
}

#[derive(Serialize)]
struct SeatBid {
    bid: Vec<Bid>,
}

#[derive(Serialize)]
struct Bid {
    id: String,
    impid: String,
    adid: String,
    /// Per thousand impressions.
    price: f32,
}

/// With what the bid can be computed again.
#[derive(Serialize)]
struct Extension {
    generation: u64,
}

/// Once in a request of the service.
#[derive(Fields)]
struct Asked<'a> {
    user_segment: Option<&'a str>,
}

/// Of each candidate.
#[derive(Fields)]
struct Candidate {
    item_id: i64,
    position: Option<i64>,
}

/// Answers bid requests from a host.
pub struct Bidder {
    host: Host,
    clock: fn() -> EventTime,
    desks: ArrayQueue<Desk>,
}

/// What one request at a time evaluates with. A service with threads of its own has one a thread instead of a queue of them.
struct Desk {
    session: Session,
    request: RequestOf<Asked<'static>, Candidate>,
    matrix: Vec<f32>,
}

/// What to bid.
struct Offer {
    item_id: i64,
    /// Per thousand impressions.
    price: f32,
    generation: u64,
}

impl Desk {
    fn new(host: &Host) -> Result<Self, NoBid> {
        let ranker = host.service(SERVICE).ok_or(NoBid::NoService)?;
        Ok(Self {
            session: host.session(),
            request: ranker.request_of::<Asked<'_>, Candidate>(EventTime(0))?,
            matrix: Vec::new(),
        })
    }

    /// The item of which an impression is worth the most; none where none is known to be worth anything.
    fn best(&mut self, now: EventTime, user_segment: Option<&str>) -> Result<Option<Offer>, NoBid> {
        self.request.reset(now);
        self.request.set(&Asked { user_segment });
        for item_id in 1..=ITEMS {
            self.request.push(&Candidate {
                item_id,
                position: Some(1),
            });
        }
        let features = self.session.evaluate(&self.request)?;
        // By name: the next generation may list them otherwise.
        let ctr = features.names().position(|name| name == CTR).ok_or(NoBid::NoService)?;
        features.write_f32(f32::NAN, &mut self.matrix);
        // In place of a model. A missing value is NaN, which is greater than nothing.
        let prices = self
            .matrix
            .chunks(features.width())
            .map(|row| 1_000.0 * CLICK_VALUE * row[ctr]);
        let best = (1..=ITEMS)
            .zip(prices)
            .filter(|(_, price)| *price > 0.0)
            .max_by(|a, b| a.1.total_cmp(&b.1));
        Ok(best.map(|(item_id, price)| Offer {
            item_id,
            price,
            generation: features.generation(),
        }))
    }
}

impl Bidder {
    /// A bidder that takes the time from `clock`: the library reads none.
    pub fn new(host: Host, clock: fn() -> EventTime) -> Arc<Self> {
        Arc::new(Self {
            host,
            clock,
            desks: ArrayQueue::new(DESKS),
        })
    }

    /// What it answers to.
    pub fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route("/bid", post(bid))
            .route("/ready", get(ready))
            .route("/metrics", get(metrics))
            .with_state(self)
    }

    /// The answer to a request; none where no impression is worth its floor.
    fn answer(&self, asked: &BidRequest) -> Result<Option<BidResponse>, NoBid> {
        let segment = asked.user.as_ref().and_then(|user| user.keywords.as_deref());
        let Some(offer) = self.offer(segment)? else {
            return Ok(None);
        };
        let worth_it = asked.imp.iter().filter(|imp| imp.bidfloor <= offer.price);
        let bid: Vec<Bid> = worth_it
            .map(|imp| Bid {
                id: format!("{}-{}", asked.id, imp.id),
                impid: imp.id.clone(),
                adid: offer.item_id.to_string(),
                price: offer.price,
            })
            .collect();
        Ok((!bid.is_empty()).then(|| BidResponse {
            id: asked.id.clone(),
            seatbid: [SeatBid { bid }],
            cur: "USD",
            ext: Extension {
                generation: offer.generation,
            },
        }))
    }

    fn offer(&self, segment: Option<&str>) -> Result<Option<Offer>, NoBid> {
        let mut desk = match self.desks.pop() {
            Some(desk) => desk,
            None => Desk::new(&self.host)?,
        };
        let now = (self.clock)();
        let offer = match desk.best(now, segment) {
            // What is served since has other fields.
            Err(NoBid::Evaluate(EvaluateError::ServiceChanged { .. })) => {
                desk = Desk::new(&self.host)?;
                desk.best(now, segment)
            }
            offer => offer,
        };
        // Where the queue is full there are enough.
        let _ = self.desks.push(desk);
        offer
    }
}

/// Evaluating takes microseconds and waits for nothing, so it runs where the request is handled.
async fn bid(State(bidder): State<Arc<Bidder>>, Json(asked): Json<BidRequest>) -> Response {
    match bidder.answer(&asked) {
        Ok(Some(response)) => Json(response).into_response(),
        Ok(None) => StatusCode::NO_CONTENT.into_response(),
        // No bid is better than a wrong one.
        Err(error) => {
            eprintln!("no bid: {error}");
            StatusCode::NO_CONTENT.into_response()
        }
    }
}

async fn ready(State(bidder): State<Arc<Bidder>>) -> Response {
    match bidder.host.ready((bidder.clock)()) {
        Ok(()) => "ready".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason.to_string()).into_response(),
    }
}

async fn metrics(State(bidder): State<Arc<Bidder>>) -> Response {
    match unskew_metrics::text(&bidder.host) {
        Ok(text) => ([(header::CONTENT_TYPE, unskew_metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Why there is no bid.
#[derive(Debug)]
enum NoBid {
    NoService,
    Request(RequestError),
    Evaluate(EvaluateError),
}

impl std::fmt::Display for NoBid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoService => write!(f, "what is served has no service `{SERVICE}` with `{CTR}`"),
            Self::Request(error) => error.fmt(f),
            Self::Evaluate(error) => error.fmt(f),
        }
    }
}

impl From<RequestError> for NoBid {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<EvaluateError> for NoBid {
    fn from(error: EvaluateError) -> Self {
        Self::Evaluate(error)
    }
}
