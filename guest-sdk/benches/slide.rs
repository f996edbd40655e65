//! The batch form of an aggregate, natively: events and queries a second, against sorting the events and against adding up
//! every window from scratch. `cargo bench -p unskew-guest --bench slide -- [--events 1000000]`.
//!
//! Answers are compared with those from scratch before anything is timed, on the first queries of each shape.

#![expect(missing_docs, reason = "the names of a bench say what they are")]

use std::time::{Duration, Instant};

use unskew_guest::accumulate::{Count, Last, Mean, Sum};
use unskew_guest::frame::{Column, ColumnType, Value};
use unskew_guest::testing::{self, Random};
use unskew_guest::{Accumulators, Aggregate, Input, Output, aggregate};

const DAY_US: i64 = 86_400_000_000;
const DAYS: i64 = 30;
/// How many queries are checked.
const CHECKED: usize = 200;
const ROUNDS: usize = 3;

#[derive(Input, Clone, Copy)]
pub struct Impression {
    /// What it cost.
    pub price: f64,
}

#[derive(Accumulators, Clone, Default, PartialEq)]
#[event(Impression)]
pub struct Totals {
    impressions: Count,
    #[accumulate(price)]
    spend: Sum<f64>,
    #[accumulate(price)]
    price: Mean,
    #[accumulate(price)]
    last: Last<f64>,
}

#[derive(Input)]
pub struct NoInput {}

#[derive(Output)]
pub struct History {
    /// How many.
    pub impressions: i64,
    /// What they cost.
    pub spend: f64,
    /// What one costs.
    pub price: Option<f64>,
    /// What the last cost.
    pub last: Option<f64>,
}

/// Count, sum, mean and last over an hour, a day, a week and thirty days.
#[aggregate(owner = "benches", windows = ["1h", "1d", "7d", "30d"])]
pub fn history_of_user(totals: &Totals, _: &NoInput) -> History {
    History {
        impressions: totals.impressions.value(),
        spend: totals.spend.value(),
        price: totals.price.value(),
        last: totals.last.value(),
    }
}

/// Events and queries, ascending by entity and by how many events are visible.
struct Shape {
    name: &'static str,
    entities: usize,
    /// Entity, time, price.
    events: Vec<(usize, i64, f64)>,
    /// Entity, time, visible.
    queries: Vec<(usize, i64, usize)>,
}

impl Shape {
    fn new(name: &'static str, events: usize, entities: usize, queries: usize, late: bool) -> Self {
        let mut random = Random::new(7);
        let mut drawn: Vec<(usize, i64, f64)> = (0..events)
            .map(|_| {
                let time = (random.u64() % (DAYS * DAY_US) as u64) as i64;
                (random.below(entities), time, random.below(1_000_000) as f64 / 1e3)
            })
            .collect();
        drawn.sort_unstable_by_key(|(entity, time, _)| (*entity, *time));
        let mut asked: Vec<(usize, i64, usize)> = (0..queries)
            .map(|_| {
                (
                    random.below(entities),
                    (random.u64() % (DAYS * DAY_US) as u64) as i64,
                    0,
                )
            })
            .collect();
        asked.sort_unstable();
        let mut first = 0;
        for query in &mut asked {
            while drawn.get(first).is_some_and(|(entity, ..)| *entity < query.0) {
                first += 1;
            }
            let of_entity = drawn[first..]
                .iter()
                .take_while(|(entity, time, _)| (*entity, *time) < (query.0, query.1));
            query.2 = if entities > 1 {
                of_entity.count()
            } else {
                drawn.partition_point(|(_, time, _)| *time < query.1)
            };
        }
        if late {
            // Two events in ten become visible after the next: the order of arrival is not that of time.
            for pair in drawn.chunks_exact_mut(10) {
                if pair[0].0 == pair[1].0 {
                    pair.swap(0, 1);
                }
            }
            for query in &mut asked {
                // Both of a pair or neither are seen.
                query.2 -= query.2 % 10;
            }
        }
        Self {
            name,
            entities,
            events: drawn,
            queries: asked,
        }
    }

    fn events(&self) -> Vec<Column> {
        let mut columns = [ColumnType::I64, ColumnType::Timestamp, ColumnType::F64].map(Column::new);
        for (entity, time, price) in &self.events {
            columns[0].push_i64(*entity as i64);
            columns[1].push_timestamp(*time);
            columns[2].push_f64(*price);
        }
        columns.into()
    }

    fn queries(&self) -> Vec<Column> {
        let mut columns = [ColumnType::I64, ColumnType::Timestamp, ColumnType::I64].map(Column::new);
        for (entity, time, visible) in &self.queries {
            columns[0].push_i64(*entity as i64);
            columns[1].push_timestamp(*time);
            columns[2].push_i64(*visible as i64);
        }
        columns.into()
    }

    fn run(&self, events: &[Column], queries: &[Column]) -> Vec<Column> {
        let mut states = Column::new(ColumnType::Bytes);
        (0..self.entities).for_each(|_| states.push_null());
        let (events, queries): (Vec<&Column>, Vec<&Column>) = (events.iter().collect(), queries.iter().collect());
        testing::batch::<HistoryOfUser>(&states, &events, &queries).expect("a batch")
    }

    /// The windows of the first queries, each added up from scratch, and how long that took.
    fn check(&self, outputs: &[Column]) -> Duration {
        let start = Instant::now();
        for (row, (entity, time, visible)) in self.queries.iter().take(CHECKED).enumerate() {
            let first = self.events.partition_point(|(other, ..)| other < entity);
            for (index, window) in HistoryOfUser::WINDOWS.iter().enumerate() {
                let mut totals = Totals::default();
                for (_, event_time, price) in &self.events[first..first + visible] {
                    if *event_time >= time - window.length_us {
                        let event = Impression { price: *price };
                        Accumulators::add(&mut totals, unskew_guest::Timestamp::from_micros(*event_time), &event);
                    }
                }
                let expected = history_of_user(&totals, &NoInput {});
                let found = &outputs[index * 4..];
                assert_eq!(found[0].value(row), Value::I64(expected.impressions), "{}", self.name);
                assert_eq!(found[1].value(row), Value::F64(expected.spend), "{}", self.name);
                assert_eq!(
                    found[2].value(row),
                    expected.price.map_or(Value::Null, Value::F64),
                    "{}",
                    self.name
                );
                assert_eq!(
                    found[3].value(row),
                    expected.last.map_or(Value::Null, Value::F64),
                    "{}",
                    self.name
                );
            }
        }
        start.elapsed()
    }
}

fn least(mut run: impl FnMut()) -> Duration {
    let round = || {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    std::iter::repeat_with(round).take(ROUNDS).min().unwrap_or_default()
}

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--events").skip(1);
    let events: usize = arguments
        .next()
        .and_then(|count| count.parse().ok())
        .unwrap_or(1_000_000);
    println!(
        "{events} events of 24 bytes, 30 days, windows of 1 h, 1 d, 7 d, 30 d, 4 accumulators, 1 thread, native; best of {ROUNDS}"
    );
    for (name, entities, queries, late) in [
        ("one entity", 1, events / 10, false),
        ("one entity, a tenth late", 1, events / 10, true),
        ("many entities", events / 20 + 1, events / 10, false),
        ("many entities, a query an event", events / 20 + 1, events, false),
    ] {
        let shape = Shape::new(name, events, entities, queries, late);
        let (columns, asked) = (shape.events(), shape.queries());
        let scratch = shape.check(&shape.run(&columns, &asked));
        let slid = least(|| drop(shape.run(&columns, &asked)));
        let mut shuffled = shape.events.clone();
        Random::new(3).shuffle(&mut shuffled);
        let sorted = least(|| {
            let mut events = shuffled.clone();
            events.sort_unstable_by_key(|(entity, time, _)| (*entity, *time));
            assert!(events.len() == shape.events.len());
        });
        let per_query = scratch.as_secs_f64() / CHECKED.min(queries) as f64;
        println!(
            "{name}: {queries} queries in {:.0} ms, {:.1} M events/s, {:.2} x sorting them ({:.0} ms), {:.1} x faster than from scratch",
            slid.as_secs_f64() * 1e3,
            events as f64 / slid.as_secs_f64() / 1e6,
            slid.as_secs_f64() / sorted.as_secs_f64(),
            sorted.as_secs_f64() * 1e3,
            per_query * queries as f64 / slid.as_secs_f64(),
        );
    }
}
