//! An aggregate through its frames: [`edges`] as tables, [`twin`] against the raw events, [`refusals`].

mod edges;
mod reads;
mod refusals;
mod twin;

use unskew_frame::{Column, ColumnType, Value};

use super::*;
use crate::accumulate::{Count, Last, Max, Mean, Min, Sum};
use crate::testing::column;
use crate::{Accumulators, Input, Output, testing};

#[derive(Input, Clone, Copy, Debug, PartialEq)]
pub struct Auction<'a> {
    /// What was paid, in quarters, so that naive sums are exact.
    price: Option<f64>,
    won: Option<bool>,
    rank: i64,
    /// Read by no accumulator.
    exchange: Option<&'a str>,
}

#[derive(Accumulators, Clone, Debug, Default, PartialEq)]
#[event(Auction<'_>)]
pub struct Totals {
    auctions: Count,
    #[accumulate(when = won)]
    wins: Count,
    #[accumulate(price)]
    spend: Sum<f64>,
    #[accumulate(price, when = won)]
    price: Mean,
    #[accumulate(rank)]
    ranks: Sum<i64>,
    #[accumulate(rank)]
    best: Min<i64>,
    #[accumulate(price)]
    dearest: Max<f64>,
    #[accumulate(won)]
    last_won: Last<bool>,
}

#[derive(Input, Clone, Copy, Debug)]
pub struct Scale {
    scale: Option<i64>,
}

#[derive(Output, Clone, Debug, PartialEq)]
pub struct Market {
    auctions: i64,
    wins: i64,
    spend: f64,
    price: Option<f64>,
    ranks: Option<i64>,
    best: Option<i64>,
    dearest: Option<f64>,
    last_won: Option<bool>,
    scaled: Option<i64>,
}

/// Windows of microseconds, which the attribute macro cannot say.
pub struct MarketPrice;

impl Aggregate for MarketPrice {
    type Totals = Totals;
    type Input<'a> = Scale;
    type Output = Market;
    const MODULE: ModuleMeta = ModuleMeta {
        name: "market-price",
        version: "0.1.0",
        owner: "ads-ranking",
        description: "What the market pays.",
    };
    const WINDOWS: &'static [WindowMeta] = &[
        window("exact7", 7, 0),
        window("exact20", 20, 0),
        window("hop7", 20, 7),
        window("hop7even", 21, 7),
        window("hop1000", 1_000, 1_000),
        window("hop1000long", 3_500, 1_000),
    ];

    fn layout() -> &'static Layout {
        static LAYOUT: std::sync::OnceLock<Layout> = std::sync::OnceLock::new();
        LAYOUT.get_or_init(Layout::of::<Self>)
    }

    fn read(totals: &Totals, input: &Scale, _: &crate::Query) -> Market {
        Market {
            auctions: totals.auctions.value(),
            wins: totals.wins.value(),
            spend: totals.spend.value(),
            price: totals.price.value(),
            ranks: totals.ranks.value(),
            best: totals.best.value(),
            dearest: totals.dearest.value(),
            last_won: totals.last_won.value(),
            scaled: input.scale.map(|scale| scale * totals.auctions.value()),
        }
    }
}

const fn window(name: &'static str, length_us: i64, hop_us: i64) -> WindowMeta {
    WindowMeta {
        name,
        length_us,
        hop_us,
    }
}

/// An event of a state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    state: usize,
    time: i64,
    auction: Auction<'static>,
}

/// A query of a state; `visible` is for `batch`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Query {
    state: usize,
    time: i64,
    visible: usize,
    scale: Option<i64>,
}

fn event(state: usize, time: i64) -> Event {
    let auction = Auction {
        price: Some(1.0),
        won: Some(true),
        rank: 1,
        exchange: None,
    };
    Event { state, time, auction }
}

fn query(state: usize, time: i64, visible: usize) -> Query {
    Query {
        state,
        time,
        visible,
        scale: Some(2),
    }
}

fn or_null<T>(value: Option<T>, wrap: impl Fn(T) -> Value<'static>) -> Value<'static> {
    value.map_or(Value::Null, wrap)
}

fn index_and_time(rows: impl Iterator<Item = (usize, i64)> + Clone) -> Vec<Column> {
    vec![
        column(ColumnType::I64, rows.clone().map(|(state, _)| Value::I64(state as i64))),
        column(ColumnType::Timestamp, rows.map(|(_, time)| Value::Timestamp(time))),
    ]
}

fn event_columns(events: &[Event]) -> Vec<Column> {
    let mut columns = index_and_time(events.iter().map(|event| (event.state, event.time)));
    let auctions = || events.iter().map(|event| event.auction);
    columns.push(column(
        ColumnType::F64,
        auctions().map(|auction| or_null(auction.price, Value::F64)),
    ));
    columns.push(column(
        ColumnType::Bool,
        auctions().map(|auction| or_null(auction.won, Value::Bool)),
    ));
    columns.push(column(
        ColumnType::I64,
        auctions().map(|auction| Value::I64(auction.rank)),
    ));
    columns.push(column(
        ColumnType::String,
        auctions().map(|auction| or_null(auction.exchange, Value::String)),
    ));
    columns
}

fn query_columns(queries: &[Query], is_batch: bool) -> Vec<Column> {
    let mut columns = index_and_time(queries.iter().map(|query| (query.state, query.time)));
    if is_batch {
        columns.push(column(
            ColumnType::I64,
            queries.iter().map(|query| Value::I64(query.visible as i64)),
        ));
    }
    columns.push(column(
        ColumnType::I64,
        queries.iter().map(|query| or_null(query.scale, Value::I64)),
    ));
    columns
}

/// So many states without events.
fn no_states(count: usize) -> Column {
    column(ColumnType::Bytes, (0..count).map(|_| Value::Null))
}

fn refs(columns: &[Column]) -> Vec<&Column> {
    columns.iter().collect()
}

fn fold(states: &Column, events: &[Event]) -> Result<Column, AggregateError> {
    testing::fold::<MarketPrice>(states, &refs(&event_columns(events)))
}

fn read(states: &Column, queries: &[Query]) -> Result<Vec<Column>, AggregateError> {
    testing::read::<MarketPrice>(states, &refs(&query_columns(queries, false)))
}

fn batch(states: &Column, events: &[Event], queries: &[Query]) -> Result<Vec<Column>, AggregateError> {
    let (events, queries) = (event_columns(events), query_columns(queries, true));
    testing::batch::<MarketPrice>(states, &refs(&events), &refs(&queries))
}

/// The output `name` of row `row`.
fn output<'a>(outputs: &'a [Column], name: &str, row: usize) -> Value<'a> {
    let index = testing::output_names::<MarketPrice>()
        .iter()
        .position(|output| output == name);
    outputs[index.unwrap()].value(row)
}

#[test]
fn outputs_are_named_after_their_windows() {
    let names = testing::output_names::<MarketPrice>();
    assert_eq!(names.len(), 9 * 6);
    assert_eq!(names[..2], ["auctions_exact7", "wins_exact7"]);
    assert_eq!(names[9], "auctions_exact20");
    assert_eq!(names[53], "scaled_hop1000long");
}

/// The version of a state is in its first bytes. It changes with the accumulators, and with the hops and reaches of the
/// windows; not with the compiler, the outputs or a window within another of its hop.
#[test]
fn the_state_version_is_this() {
    let expected = "auctions:count;#[accumulate(when=won)]wins bool:count;#[accumulate(price)]spend f64:exact-sum;\
                    #[accumulate(price,when=won)]price f64 bool:mean;#[accumulate(rank)]ranks i64:integer-sum;\
                    #[accumulate(rank)]best i64:min i64;#[accumulate(price)]dearest f64:max f64;\
                    #[accumulate(won)]last_won bool:last bool;";
    let mut layout = String::new();
    Totals::layout(&mut layout);
    assert_eq!(layout, expected);
    let version = xxhash_rust::xxh3::xxh3_64(format!("3 from;{layout};20/1;21/7;3500/1000").as_bytes()) as u32;
    assert_eq!(Layout::of::<MarketPrice>().version, version);
    let states = fold(&no_states(1), &[event(0, 5)]).unwrap();
    assert_eq!(
        states.view().bytes(0)[..12],
        [&version.to_le_bytes()[..], &5_i64.to_le_bytes()].concat()
    );
}
