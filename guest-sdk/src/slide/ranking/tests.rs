use core::cell::Cell;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::Timestamp;
use crate::accumulate::{Accumulate, Count, ExactSum, LastK, Quantiles, Sum};

/// Events of a time and a value, and how many were added to anything.
struct Counting {
    times: Vec<i64>,
    values: Vec<i64>,
    added: Cell<usize>,
}

impl Counting {
    fn new(events: &[(i64, i64)]) -> Self {
        let (times, values) = events.iter().copied().unzip();
        Self {
            times,
            values,
            added: Cell::new(0),
        }
    }
}

impl Events<Sum<i64>> for Counting {
    fn times(&self) -> &[i64] {
        &self.times
    }

    fn add(&self, event: usize, totals: &mut Sum<i64>) {
        self.added.set(self.added.get() + 1);
        totals.add(Timestamp::default(), self.values[event]);
    }
}

proptest! {
    /// Whatever the blocks, what is added is what is visible from a time on.
    #[test]
    fn blocks_change_nothing(
        events in vec((-6_i64..6, 1_i64..1_000_000), 0..40),
        steps in vec((0_usize..8, -8_i64..8), 0..12),
        block in 1_usize..9,
    ) {
        let counting = Counting::new(&events);
        let mut ranking = Ranking::new();
        ranking.begin_with(&counting, events.len(), block);
        let mut visible = 0;
        for (more, tail) in steps {
            visible = events.len().min(visible + more);
            ranking.insert(&counting, visible);
            let mut found = Sum::default();
            ranking.add_from(&counting, tail, &mut found);
            let seen = events[..visible].iter().filter(|(time, _)| *time >= tail);
            prop_assert_eq!(found.value(), Some(seen.map(|(_, value)| value).sum()));
        }
    }
}

/// A million events of one entity: memory and work are counted.
#[test]
fn a_hot_entity_has_a_tree_within_bounds() {
    const EVENTS: usize = 1 << 20;
    const QUERIES: usize = 1 << 10;
    // Each becomes visible up to a thousand events later than its time says.
    let late = |event: usize| (event as i64) - (event.wrapping_mul(2_654_435_761) % 1_000) as i64;
    let events: Vec<(i64, i64)> = (0..EVENTS).map(|event| (late(event), 1)).collect();
    let counting = Counting::new(&events);
    let mut ranking = Ranking::new();
    // As wide as the totals of a bidder have it: a block has some events.
    let block = 50;
    ranking.begin_with(&counting, EVENTS, block);
    for query in 1..=QUERIES {
        let visible = query * (EVENTS / QUERIES);
        ranking.insert(&counting, visible);
        let mut found = Sum::default();
        let tail = visible as i64 - 500_000;
        ranking.add_from(&counting, tail, &mut found);
        let at_least = (visible as i64).min(500_000) - 1_000;
        let found = found.value().unwrap();
        assert!(at_least <= found && found <= visible as i64, "{found} of {visible}");
    }
    let depth = (EVENTS / block).ilog2() as usize + 1;
    let most = EVENTS * depth + QUERIES * block;
    let added = counting.added.get();
    assert!(added <= most, "{added} additions, more than {most}");
}

#[test]
fn totals_have_room() {
    fn check<A: Accumulator>(least: usize) {
        let nodes = max_nodes::<A>();
        let bytes = nodes * (size_of::<A>() + A::MAX_BYTES.unwrap_or(ASSUMED_BYTES) as usize);
        assert!(
            least <= nodes && bytes <= MAX_TREE_BYTES,
            "{nodes} nodes of {bytes} bytes"
        );
    }
    check::<Count>(500_000);
    check::<ExactSum>(30_000);
    check::<LastK<i64, 10>>(60_000);
    check::<Quantiles<6, 512>>(2_000);
    check::<Quantiles>(500);
}
