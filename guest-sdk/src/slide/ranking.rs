use super::Events;
use crate::accumulate::Accumulator;

/// What the totals of one entity's tree may take, about.
const MAX_TREE_BYTES: usize = 16 << 20;
/// What an accumulator is taken to hold of which nothing is known.
const ASSUMED_BYTES: u64 = 4 << 10;

/// Events that become visible in another order than that of their times, ranked by time.
///
/// Blocks of neighbours have totals in a Fenwick tree, to which an event is added as it becomes visible. What is visible from a time on
/// is some whole blocks, which the tree has added up, and a part of one, whose events are added one by one:
///
/// ```text
/// insert:    add the event to the totals of its block and of the log(blocks) nodes above
/// add from:  merge log(blocks) nodes; add the events behind the last whole block that are visible by now
/// ```
///
/// A block is one event as long as there is room for totals of each, so both cost the logarithm of the number of events; it is wider
/// where there are more events, so that the tree of a hot entity stays within [`MAX_TREE_BYTES`].
#[derive(Debug)]
pub(super) struct Ranking<A> {
    /// Latest first: eight bytes an event with its place, for there may be millions.
    events: Vec<u32>,
    /// The place of each event.
    places: Vec<u32>,
    /// How many events are inserted, which are the first.
    inserted: usize,
    block: usize,
    /// Node i has the i & -i blocks up to the i-th.
    tree: Vec<A>,
}

impl<A: Accumulator> Ranking<A> {
    pub fn new() -> Self {
        Self {
            events: Vec::new(),
            places: Vec::new(),
            inserted: 0,
            block: 1,
            tree: Vec::new(),
        }
    }

    /// Begins with the first `count` events, none of which is inserted.
    pub fn begin(&mut self, events: &impl Events<A>, count: usize) {
        self.begin_with(events, count, count.div_ceil(max_nodes::<A>()).max(1));
    }

    fn begin_with(&mut self, events: &impl Events<A>, count: usize, block: usize) {
        self.events.clear();
        self.events.extend(0..count as u32);
        let times = events.times();
        self.events
            .sort_unstable_by_key(|event| core::cmp::Reverse(times[*event as usize]));
        self.places.clear();
        self.places.resize(count, 0);
        for (place, event) in self.events.iter().enumerate() {
            self.places[*event as usize] = place as u32;
        }
        (self.inserted, self.block) = (0, block);
        self.tree.clear();
        self.tree.resize(count / block + 1, A::default());
    }

    /// Inserts the events up to the first `visible`.
    pub fn insert(&mut self, events: &impl Events<A>, visible: usize) {
        for event in self.inserted..visible {
            // Those of a last block that is not whole have no node: they are only ever added one by one.
            let mut node = self.places[event] as usize / self.block + 1;
            while node < self.tree.len() {
                events.add(event, &mut self.tree[node]);
                node += node & node.wrapping_neg();
            }
        }
        self.inserted = self.inserted.max(visible);
    }

    /// Adds the inserted events from `tail` on.
    pub fn add_from(&self, events: &impl Events<A>, tail: i64, totals: &mut A) {
        let times = events.times();
        let count = self.events.partition_point(|event| times[*event as usize] >= tail);
        let mut node = count / self.block;
        let behind = node * self.block;
        while node > 0 {
            totals.merge(&self.tree[node]);
            node &= node - 1;
        }
        for event in &self.events[behind..count] {
            if (*event as usize) < self.inserted {
                events.add(*event as usize, totals);
            }
        }
    }
}

/// As many totals as there is room for.
const fn max_nodes<A: Accumulator>() -> usize {
    let held = match A::MAX_BYTES {
        Some(bytes) => bytes,
        None => ASSUMED_BYTES,
    };
    let nodes = MAX_TREE_BYTES / (size_of::<A>() + held as usize + 1);
    if nodes < 64 { 64 } else { nodes }
}

#[cfg(test)]
mod tests;
