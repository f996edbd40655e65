use crate::accumulate::Accumulator;
use crate::state::{Level, State};
use crate::window::WindowMeta;

/// Events of one entity in the order in which they become visible.
pub(crate) trait Events<A> {
    /// The time of an event.
    fn time(&self, event: usize) -> i64;

    /// Adds an event to `totals`.
    fn add(&self, event: usize, totals: &mut A);
}

/// A query that sees the first `visible` events, all of which are before `time`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sight {
    pub time: i64,
    pub visible: usize,
}

/// The totals of every window at every query of one entity: what folding the visible events and reading the state gives, in
/// amortised constant time for each event and query of a window.
///
/// Where times ascend, as they do unless events become known late, the events of a window are a range of which both ends only
/// move forward. Such ranges are added up without taking away anything, so every accumulator will do, by two stacks: totals
/// from each tail up to a pivot, and totals from the pivot on.
///
/// ```text
/// for each query of a window, with its range [tail, head):
///   tail >= pivot:  pivot = head; going back from there, add every event, and keep the totals at the tails to come
///                   (they are known: the queries are)
///   else:           add the events up to head to those from the pivot on
///   totals = those kept for tail + those from the pivot on
/// ```
///
/// So an event is added twice at most, whatever the number of queries, and not at all if no window sees it. After Tangwongsan,
/// Hirzel and Schneider, "In-order sliding-window aggregation in worst-case constant time" (2021); knowing the queries saves
/// keeping totals for tails that nobody asks for.
///
/// Where times do not ascend, the events are ranked by time and put in a Fenwick tree as they become visible: an event and a
/// query cost the logarithm of the number of events.
#[derive(Debug)]
pub(crate) struct Slide<A> {
    ranges: Vec<(usize, usize)>,
    /// The tails to come and the totals from there to the pivot, the next last.
    kept: Vec<(usize, A)>,
    totals: A,
    /// Event times, ascending, and the place of each event among them.
    times: Vec<i64>,
    ranks: Vec<usize>,
    tree: Vec<A>,
}

impl<A: Accumulator> Slide<A> {
    pub fn new() -> Self {
        Self {
            ranges: Vec::new(),
            kept: Vec::new(),
            totals: A::default(),
            times: Vec::new(),
            ranks: Vec::new(),
            tree: Vec::new(),
        }
    }

    /// Calls `each(window, query, totals)`, for each window in the order of the queries. Their `visible` ascends.
    pub fn run(
        &mut self,
        levels: &[Level],
        windows: &[WindowMeta],
        state: &State<A>,
        events: &impl Events<A>,
        queries: &[Sight],
        mut each: impl FnMut(usize, usize, &A),
    ) {
        let Some(last) = queries.last() else { return };
        if is_in_order(state, events, queries, last.visible) {
            for (index, window) in windows.iter().enumerate() {
                let tiles: Vec<(i64, &A)> = state.tiles(levels, window).collect();
                let elements = Elements { tiles: &tiles, events };
                self.slide(window, &elements, queries, |query, totals| each(index, query, totals));
            }
        } else {
            self.rank(events, last.visible);
            let tiles: Vec<Suffixes<A>> = windows
                .iter()
                .map(|window| Suffixes::of(state.tiles(levels, window)))
                .collect();
            let mut seen = 0;
            for (index, query) in queries.iter().enumerate() {
                for event in seen..query.visible {
                    self.insert(events, event);
                }
                seen = query.visible;
                for (window_index, (window, tiles)) in windows.iter().zip(&tiles).enumerate() {
                    self.totals.clone_from(tiles.from(window.first_tile(query.time)));
                    self.add_from(window.tail(query.time));
                    each(window_index, index, &self.totals);
                }
            }
        }
    }

    fn slide<E: Events<A>>(
        &mut self,
        window: &WindowMeta,
        elements: &Elements<'_, A, E>,
        queries: &[Sight],
        mut each: impl FnMut(usize, &A),
    ) {
        let mut tail = 0;
        self.ranges.clear();
        for query in queries {
            let head = elements.tiles.len() + query.visible;
            let (first_tile, tail_time) = (window.first_tile(query.time), window.tail(query.time));
            while tail < head && elements.is_before(tail, first_tile, tail_time) {
                tail += 1;
            }
            self.ranges.push((tail, head));
        }
        self.kept.clear();
        let (mut pivot, mut head, mut behind) = (0, 0, A::default());
        for query in 0..queries.len() {
            let (tail, next_head) = self.ranges[query];
            if tail >= pivot {
                pivot = next_head;
                behind = A::default();
                self.keep(elements, query, pivot);
            } else {
                for element in head..next_head {
                    elements.add(element, &mut behind);
                }
            }
            head = next_head;
            while self.kept.last().is_some_and(|(kept, _)| *kept < tail) {
                self.kept.pop();
            }
            match self.kept.last() {
                Some((_, totals)) if head == pivot => each(query, totals),
                Some((_, totals)) => {
                    self.totals.clone_from(totals);
                    self.totals.merge(&behind);
                    each(query, &self.totals);
                }
                // Nothing from the tail up to the pivot.
                None => each(query, &behind),
            }
        }
    }

    /// Adds up from `pivot` back to the tail of `query`, and keeps the totals at the tails of the queries from there on.
    fn keep<E: Events<A>>(&mut self, elements: &Elements<'_, A, E>, query: usize, pivot: usize) {
        let last = query + self.ranges[query..].partition_point(|(tail, _)| *tail < pivot);
        self.kept.clear();
        self.kept.reserve(last - query);
        let (mut totals, mut reached) = (A::default(), pivot);
        for (tail, _) in self.ranges[query..last].iter().rev() {
            if *tail == reached {
                continue;
            }
            for element in (*tail..reached).rev() {
                elements.add(element, &mut totals);
            }
            reached = *tail;
            self.kept.push((reached, totals.clone()));
        }
    }

    /// Ranks the first `count` events by time.
    fn rank(&mut self, events: &impl Events<A>, count: usize) {
        let mut order: Vec<(i64, usize)> = (0..count).map(|event| (events.time(event), event)).collect();
        order.sort_unstable();
        self.times.clear();
        self.times.extend(order.iter().map(|(time, _)| *time));
        self.ranks.clear();
        self.ranks.resize(count, 0);
        for (rank, (_, event)) in order.iter().enumerate() {
            self.ranks[*event] = rank;
        }
        self.tree.clear();
        self.tree.resize(count + 1, A::default());
    }

    /// Node i of the tree holds the i & -i events up to the i-th latest.
    fn insert(&mut self, events: &impl Events<A>, event: usize) {
        let mut node = self.times.len() - self.ranks[event];
        while node < self.tree.len() {
            events.add(event, &mut self.tree[node]);
            node += node & node.wrapping_neg();
        }
    }

    /// Adds the inserted events from `tail` on.
    fn add_from(&mut self, tail: i64) {
        let mut node = self.times.len() - self.times.partition_point(|time| *time < tail);
        while node > 0 {
            self.totals.merge(&self.tree[node]);
            node &= node - 1;
        }
    }
}

/// Whether the times of the state, of the events and of the queries ascend, each behind the one before.
fn is_in_order<A: Accumulator>(state: &State<A>, events: &impl Events<A>, queries: &[Sight], count: usize) -> bool {
    let mut last = state.last().map_or(i64::MIN, |last| last.as_micros());
    let mut ascends = |time: i64| core::mem::replace(&mut last, time) <= time;
    (0..count).all(|event| ascends(events.time(event))) && queries.is_sorted_by_key(|query| query.time)
}

/// The tiles of a state and the events behind them.
struct Elements<'a, A, E> {
    tiles: &'a [(i64, &'a A)],
    events: &'a E,
}

impl<A: Accumulator, E: Events<A>> Elements<'_, A, E> {
    #[inline]
    fn is_before(&self, element: usize, first_tile: i64, tail_time: i64) -> bool {
        match self.tiles.get(element) {
            Some((tile, _)) => *tile < first_tile,
            None => self.events.time(element - self.tiles.len()) < tail_time,
        }
    }

    #[inline]
    fn add(&self, element: usize, totals: &mut A) {
        match self.tiles.get(element) {
            Some((_, tile)) => totals.merge(tile),
            None => self.events.add(element - self.tiles.len(), totals),
        }
    }
}

/// The totals of tiles from each of them to the last.
struct Suffixes<A> {
    tiles: Vec<i64>,
    /// One more than tiles.
    totals: Vec<A>,
}

impl<A: Accumulator> Suffixes<A> {
    fn of<'a>(tiles: impl Iterator<Item = (i64, &'a A)>) -> Self
    where
        A: 'a,
    {
        let tiles: Vec<(i64, &A)> = tiles.collect();
        let mut totals = vec![A::default()];
        for (_, tile) in tiles.iter().rev() {
            let mut suffix = (*tile).clone();
            suffix.merge(&totals[totals.len() - 1]);
            totals.push(suffix);
        }
        totals.reverse();
        Self {
            tiles: tiles.into_iter().map(|(tile, _)| tile).collect(),
            totals,
        }
    }

    fn from(&self, first: i64) -> &A {
        &self.totals[self.tiles.partition_point(|tile| *tile < first)]
    }
}
