//! Random events and queries against a twin that has no states or cells: it filters the raw events.

use proptest::collection::vec;
use proptest::prelude::*;

use unskew_frame::ColumnSlots;

use super::*;

/// Some states, what was folded into them before, the events of a batch and its queries.
#[derive(Clone, Debug)]
struct History {
    states: usize,
    before: Vec<Event>,
    events: Vec<Event>,
    queries: Vec<Query>,
}

impl History {
    /// What `query` may see.
    fn seen(&self, query: &Query) -> Vec<Event> {
        let of =
            |events: &[Event]| -> Vec<Event> { events.iter().filter(|e| e.state == query.state).copied().collect() };
        [of(&self.before), of(&self.events)[..query.visible].to_vec()].concat()
    }
}

/// The documented rule: `[floor_to_hop(t - w), t)`.
fn twin(seen: &[Event], query: &Query, window: &WindowMeta) -> Market {
    let (t, length) = (i128::from(query.time), i128::from(window.length_us));
    let hop = i128::from(window.hop_us.max(1));
    let mut tail = t - length;
    while tail % hop != 0 {
        tail -= 1;
    }
    let inside: Vec<&Event> = seen
        .iter()
        .filter(|event| (tail..t).contains(&event.time.into()))
        .collect();
    let prices = || inside.iter().filter_map(|event| event.auction.price);
    let won: Vec<f64> = inside
        .iter()
        .filter(|event| event.auction.won == Some(true))
        .filter_map(|event| event.auction.price)
        .collect();
    let last_won = inside
        .iter()
        .filter_map(|event| event.auction.won.map(|won| (event.time, won)))
        .max();
    Market {
        auctions: inside.len() as i64,
        wins: inside.iter().filter(|event| event.auction.won == Some(true)).count() as i64,
        spend: prices().fold(0.0, |sum, price| sum + price),
        price: (!won.is_empty()).then(|| won.iter().fold(0.0, |sum, price| sum + price) / won.len() as f64),
        ranks: Some(inside.iter().map(|event| event.auction.rank).sum()),
        best: inside.iter().map(|event| event.auction.rank).min(),
        dearest: prices().reduce(f64::max),
        last_won: last_won.map(|(_, won)| won),
        scaled: query.scale.map(|scale| scale * inside.len() as i64),
    }
}

fn expected(history: &History) -> Vec<Column> {
    let mut columns: Vec<Column> = output_columns::<MarketPrice>()
        .map(|(_, column)| Column::new(column.column_type))
        .collect();
    for (window, columns) in MarketPrice::WINDOWS.iter().zip(columns.chunks_mut(9)) {
        let mut slots = ColumnSlots::new(columns, history.queries.len());
        let mut writers = Market::writers(&mut slots);
        for (row, query) in history.queries.iter().enumerate() {
            twin(&history.seen(query), query, window).write(&mut writers, row);
            if row % BLOCK_ROWS == BLOCK_ROWS - 1 || row + 1 == history.queries.len() {
                Market::end_block(&mut writers, row / BLOCK_ROWS);
            }
        }
        columns.iter_mut().for_each(Column::seal);
    }
    columns
}

fn auction() -> impl Strategy<Value = Auction<'static>> {
    let price = prop::option::of((-8_i32..100).prop_map(|price| f64::from(price) / 4.0));
    (price, any::<Option<bool>>(), -5_i64..6, prop::option::of(Just("adx"))).prop_map(|(price, won, rank, exchange)| {
        Auction {
            price,
            won,
            rank,
            exchange,
        }
    })
}

fn events(states: usize, base: i64, step: i64, count: usize) -> impl Strategy<Value = Vec<Event>> {
    let event = (0..states, 0_i64..40, auction()).prop_map(move |(state, time, auction)| Event {
        state,
        time: base + time * step,
        auction,
    });
    vec(event, 0..count).prop_map(|mut events| {
        // The order of arrival within a state stays as it came.
        events.sort_by_key(|event| event.state);
        events
    })
}

fn history() -> impl Strategy<Value = History> {
    // Steps that put times on, beside and far from the edges of the windows.
    let base = prop::sample::select(vec![0, -30, 1_000_000_007, -1_000_000_007]);
    let step = prop::sample::select(vec![1, 7, 100, 500]);
    (1_usize..4, base, step)
        .prop_flat_map(|(states, base, step)| {
            let query = (
                0..states,
                any::<prop::sample::Index>(),
                1_i64..30,
                0_i64..4,
                prop::option::of(-3_i64..4),
            );
            (
                Just((states, base, step)),
                events(states, base, step, 8),
                events(states, base, step, 24),
                vec(query, 0..12),
            )
        })
        .prop_map(|((states, base, step), before, events, queries)| {
            let mut history = History {
                states,
                before,
                events,
                queries: Vec::new(),
            };
            for (state, visible, after, jitter, scale) in queries {
                let count = history.events.iter().filter(|event| event.state == state).count();
                let mut query = Query {
                    state,
                    time: base,
                    visible: visible.index(count + 1),
                    scale,
                };
                // Strictly behind what it sees: by a microsecond at least, often at a window's edge.
                if let Some(last) = history.seen(&query).iter().map(|event| event.time).max() {
                    query.time = last
                        + if jitter == 0 {
                            1
                        } else {
                            (after * step + jitter - 2).max(1)
                        };
                }
                history.queries.push(query);
            }
            history.queries.sort_by_key(|query| (query.state, query.visible));
            history
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn batch_and_fold_then_read_equal_the_twin(history in history()) {
        let expected = expected(&history);
        let before = fold(&no_states(history.states), &history.before).unwrap();
        prop_assert_eq!(&batch(&before, &history.events, &history.queries).unwrap(), &expected);
        // Without states of before, when all of it is events.
        for (row, query) in history.queries.iter().enumerate() {
            let visible: Vec<Event> = (0..history.states)
                .flat_map(|state| {
                    let events = history.events.iter().filter(move |event| event.state == state);
                    events.take(if state == query.state { query.visible } else { 0 })
                })
                .copied()
                .collect();
            let states = fold(&before, &visible).unwrap();
            let answer = read(&states, &[*query]).unwrap();
            for (answer, expected) in answer.iter().zip(&expected) {
                prop_assert_eq!(answer.value(0), expected.value(row));
            }
        }
    }

    /// Any order, any split, folded on or merged, evicted at every step: the same bytes.
    #[test]
    fn states_are_functions_of_their_events(
        (events, shuffled, cut) in events(3, -30, 7, 24)
            .prop_flat_map(|events| (Just(events.clone()), Just(events).prop_shuffle(), any::<prop::sample::Index>()))
    ) {
        let by_state = |events: &[Event]| {
            let mut events = events.to_vec();
            events.sort_by_key(|event| event.state);
            events
        };
        let none = no_states(3);
        let whole = fold(&none, &events).unwrap();
        prop_assert_eq!(&fold(&none, &by_state(&shuffled)).unwrap(), &whole);
        let one_by_one = shuffled.iter().fold(none.clone(), |states, event| fold(&states, &[*event]).unwrap());
        prop_assert_eq!(&one_by_one, &whole);
        let (left, right) = shuffled.split_at(cut.index(shuffled.len() + 1));
        let (left, right) = (fold(&none, &by_state(left)).unwrap(), by_state(right));
        prop_assert_eq!(&fold(&left, &right).unwrap(), &whole);
        let right = fold(&none, &right).unwrap();
        prop_assert_eq!(&testing::merge::<MarketPrice>(&left, &right).unwrap(), &whole);
        prop_assert_eq!(&testing::merge::<MarketPrice>(&right, &left).unwrap(), &whole);
        prop_assert_eq!(&testing::merge::<MarketPrice>(&whole, &none).unwrap(), &whole);
    }
}

/// A state holds what later queries can see, however long its history is.
#[test]
fn states_do_not_grow_with_history() {
    let (mut states, mut greatest) = (no_states(1), 0);
    let mut bytes = Vec::new();
    for hour in 0..200 {
        let events: Vec<Event> = (0..40).map(|i| event(0, (hour * 40 + i) * 100)).collect();
        states = fold(&states, &events).unwrap();
        bytes.push(states.view().bytes(0).len());
        greatest = greatest.max(*bytes.last().unwrap());
    }
    // One tile of a microsecond, one of 7, and five of 1000 at the most.
    assert!(greatest < 7 * 80, "{greatest} bytes: {bytes:?}");
}
