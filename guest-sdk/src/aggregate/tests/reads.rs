//! States of before, filters on columns, pairs of columns, and what a query says of itself.

use super::{column, no_states, refs};
use crate::accumulate::{Count, Ratio, Sum};
use crate::frame::{Column, ColumnType, Value};
use crate::{
    Accumulators, AggregateError, Input, Output, PreviousState, Query, WindowMeta, aggregate, aggregator_laws,
    parse_windows, testing,
};

#[derive(Input, Clone, Copy, Debug)]
pub struct Event<'a> {
    kind: Option<&'a str>,
    price: Option<f64>,
    position: i64,
    is_test: Option<bool>,
}

#[derive(Accumulators, Clone, Debug, Default, PartialEq)]
#[event(Event<'_>)]
pub struct Totals {
    #[accumulate(when = kind == "click" || kind == "tap")]
    clicks: Count,
    #[accumulate(when = kind != "click")]
    others: Count,
    #[accumulate(when = !is_test && (position >= 2 && position < 4))]
    middle: Count,
    #[accumulate(price, when = price > 0.5)]
    dear: Sum<f64>,
    #[accumulate(price, position, when = is_test)]
    price_of_position: Ratio,
}

/// What was kept before prices mattered.
#[derive(Accumulators, Clone, Debug, Default, PartialEq)]
#[event(Event<'_>)]
pub struct TotalsBefore {
    #[accumulate(when = kind == "click" || kind == "tap")]
    clicks: Count,
}

pub struct Before;

impl PreviousState for Before {
    type Totals = TotalsBefore;
    const WINDOWS: &'static [WindowMeta] = &parse_windows(["2s/100ms", "1m/1s", "1h/1m"]);
}

impl From<TotalsBefore> for Totals {
    fn from(before: TotalsBefore) -> Self {
        Self {
            clicks: before.clicks,
            ..Self::default()
        }
    }
}

#[derive(Input)]
pub struct NoInput {}

#[derive(Output, Debug, PartialEq)]
pub struct Clicks {
    clicks: i64,
    others: i64,
    middle: i64,
    dear: f64,
    price_of_position: Option<f64>,
    length_ms: i64,
    seconds: f64,
    asked_at: i64,
}

/// Clicks of a second and of a minute.
#[aggregate(owner = "ads-ranking", windows = ["1s/100ms", "1m/1s"], reads = [Before])]
pub fn clicks_now(totals: &Totals, _: &NoInput, query: &Query) -> Clicks {
    Clicks {
        clicks: totals.clicks.value(),
        others: totals.others.value(),
        middle: totals.middle.value(),
        dear: totals.dear.value(),
        price_of_position: totals.price_of_position.value(),
        length_ms: query.window.length_us / 1_000,
        seconds: query.seconds(),
        asked_at: query.time.as_micros(),
    }
}

/// The same without what it used to be, and what it used to be.
mod alone {
    use super::*;

    /// Clicks of a second and of a minute.
    #[aggregate(owner = "ads-ranking", windows = ["1s/100ms", "1m/1s"])]
    pub fn clicks_alone(totals: &Totals, _: &NoInput, query: &Query) -> Clicks {
        clicks_now(totals, &NoInput {}, query)
    }

    /// Clicks of before.
    #[aggregate(owner = "ads-ranking", windows = ["2s/100ms", "1m/1s", "1h/1m"])]
    pub fn clicks_before(totals: &TotalsBefore, _: &NoInput) -> Clicks {
        clicks_now(
            &totals.clone().into(),
            &NoInput {},
            &Query {
                time: crate::Timestamp::default(),
                window: Before::WINDOWS[0],
            },
        )
    }
}

use alone::{ClicksAlone, ClicksBefore};

aggregator_laws! {
    laws: ClicksNow;
}

fn event(kind: Option<&'static str>, price: Option<f64>, position: i64, is_test: Option<bool>) -> Event<'static> {
    Event {
        kind,
        price,
        position,
        is_test,
    }
}

fn events(events: &[(i64, Event<'static>)]) -> Vec<Column> {
    vec![
        column(ColumnType::I64, events.iter().map(|_| Value::I64(0))),
        column(
            ColumnType::Timestamp,
            events.iter().map(|(time, _)| Value::Timestamp(*time)),
        ),
        column(
            ColumnType::String,
            events
                .iter()
                .map(|(_, event)| event.kind.map_or(Value::Null, Value::String)),
        ),
        column(
            ColumnType::F64,
            events
                .iter()
                .map(|(_, event)| event.price.map_or(Value::Null, Value::F64)),
        ),
        column(
            ColumnType::I64,
            events.iter().map(|(_, event)| Value::I64(event.position)),
        ),
        column(
            ColumnType::Bool,
            events
                .iter()
                .map(|(_, event)| event.is_test.map_or(Value::Null, Value::Bool)),
        ),
    ]
}

fn queries(time: i64) -> [Column; 2] {
    [
        column(ColumnType::I64, [Value::I64(0)]),
        column(ColumnType::Timestamp, [Value::Timestamp(time)]),
    ]
}

/// The outputs of the window of a second.
fn second(outputs: &[Column]) -> Vec<Value<'_>> {
    outputs[..8].iter().map(|column| column.value(0)).collect()
}

#[test]
fn filters_take_what_they_say() {
    let events = events(&[
        (0, event(Some("click"), Some(0.5), 1, Some(true))),
        (1, event(Some("tap"), Some(1.0), 2, Some(false))),
        // What is missing passes no filter, not even one of what it is not.
        (2, event(None, None, 3, None)),
        (3, event(Some("view"), Some(f64::NAN), 3, Some(false))),
        (4, event(Some("view"), Some(2.0), 4, Some(true))),
    ]);
    let states = testing::fold::<ClicksNow>(&no_states(1), &refs(&events)).unwrap();
    let outputs = testing::read::<ClicksNow>(&states, &queries(1_050_000).each_ref()).unwrap();
    let expected = [
        Value::I64(2),
        Value::I64(3),
        Value::I64(2),
        Value::F64(3.0),
        // Of the first and the last: 2.5 of 5.
        Value::F64(0.5),
        Value::I64(1_000),
        // From the tail at 0.
        Value::F64(1.05),
        Value::I64(1_050_000),
    ];
    assert_eq!(second(&outputs), expected);
}

#[test]
fn states_of_before_are_read_where_they_are_named() {
    let tap = |time| (time, event(Some("tap"), None, 0, None));
    let events = events(&[tap(0), tap(100_000), tap(1_500_000), tap(-40_000_000)]);
    let before = testing::fold::<ClicksBefore>(&no_states(1), &refs(&events)).unwrap();
    let now = testing::fold::<ClicksNow>(&no_states(1), &refs(&events)).unwrap();
    let [index, time] = &queries(1_600_000);
    let answer = testing::read::<ClicksNow>(&now, &[index, time]).unwrap();
    assert_eq!(answer[0].value(0), Value::I64(1));
    assert_eq!(
        testing::read::<ClicksNow>(&before, &[index, time]).unwrap()[8].value(0),
        Value::I64(4)
    );
    // A state of before is one of now from its next fold on.
    let folded = testing::fold::<ClicksNow>(&before, &refs(&self::events(&[]))).unwrap();
    assert_eq!(
        testing::read::<ClicksNow>(&folded, &[index, time]),
        testing::read::<ClicksNow>(&before, &[index, time])
    );
    assert_eq!(testing::merge::<ClicksNow>(&before, &no_states(1)).unwrap(), folded);
    let visible = column(ColumnType::I64, [Value::I64(0)]);
    assert_eq!(
        testing::batch::<ClicksNow>(&before, &refs(&self::events(&[])), &[index, time, &visible]),
        testing::read::<ClicksNow>(&folded, &[index, time])
    );

    let version = u32::from_le_bytes(*before.view().bytes(0).first_chunk().unwrap());
    let [own] = testing::state_versions::<ClicksAlone>()[..] else {
        panic!("a version of its own alone");
    };
    assert_eq!(testing::state_versions::<ClicksNow>(), [own, version]);
    let refused = Err(AggregateError::StateVersion(version));
    assert_eq!(testing::read::<ClicksAlone>(&before, &[index, time]), refused);
    // A damaged state of before is a damaged state.
    let mut bytes = before.view().bytes(0).to_vec();
    bytes.pop();
    let damaged = column(ColumnType::Bytes, [Value::Bytes(&bytes)]);
    assert_eq!(
        testing::read::<ClicksNow>(&damaged, &[index, time]),
        Err(AggregateError::State(0))
    );
}

/// An exact tail keeps every event time: beyond the bytes of a state that is refused, with the way out.
#[test]
fn states_beyond_all_bounds_are_refused() {
    use crate::state::State;
    use crate::tiling::Tiling;

    let tiling = Tiling::of(&[WindowMeta {
        name: "exact",
        length_us: i64::MAX,
        hop_us: 0,
    }]);
    let mut state: State<Totals> = State::new();
    for i in 0..super::super::MAX_STATE_BYTES as i64 / 10 {
        let time = crate::Timestamp::from_micros(i * 1_000);
        state.add(&tiling, time, |totals| totals.clicks = Count::default());
    }
    let layout = super::super::Layout { tiling, version: 0 };
    let (mut bytes, mut states) = (Vec::new(), Column::new(ColumnType::Bytes));
    let refused = super::super::push_state(state, 7, &layout, &mut bytes, &mut states);
    let Err(AggregateError::Frame(message)) = refused else {
        panic!("{refused:?}");
    };
    assert!(
        message.contains("row 7") && message.contains("give it a hop"),
        "{message}"
    );
}
