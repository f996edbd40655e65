mod ranking;

use crate::accumulate::Accumulator;
use crate::state::{State, totals_from};
use crate::tiling::Tiling;
use crate::window::WindowMeta;

use ranking::Ranking;

/// Events of one entity in the order in which they become visible.
pub(crate) trait Events<A> {
    /// Their times.
    fn times(&self) -> &[i64];

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
/// for each query, with the range [tail, head) of each window:
///   fresh = the events since the query before, added up
///   for each window:
///     tail >= pivot:  pivot = head; going back from there, add every event, and keep the totals at the tails to come
///                     (they are known: the queries are)
///     else:           add fresh to those from the pivot on
///     totals = those kept for tail + those from the pivot on
/// ```
///
/// So an event is added once for all windows together and once more for each window at most, whatever the number of queries, and
/// not at all if no window sees it. After Tangwongsan, Hirzel and Schneider, "In-order sliding-window aggregation in worst-case
/// constant time" (2021); knowing the queries saves keeping totals for tails that nobody asks for.
///
/// Where times do not ascend, the events are [ranked](Ranking) by time and put in a Fenwick tree as they become visible: an event and
/// a query cost the logarithm of the number of events.
#[derive(Debug)]
pub(crate) struct Slide<A> {
    windows: Vec<Sliding<A>>,
    /// The events since the query before.
    fresh: A,
    totals: A,
    ranking: Ranking<A>,
}

impl<A: Accumulator> Slide<A> {
    pub fn new() -> Self {
        Self {
            windows: Vec::new(),
            fresh: A::default(),
            totals: A::default(),
            ranking: Ranking::new(),
        }
    }

    /// Calls `each(window, query, totals)`, for each window in the order of the queries. Their `visible` ascends.
    pub fn run(
        &mut self,
        tiling: &Tiling,
        windows: &[WindowMeta],
        state: &State<A>,
        events: &impl Events<A>,
        queries: &[Sight],
        mut each: impl FnMut(usize, usize, &A),
    ) {
        let Some(last) = queries.last() else { return };
        let cells = &*state.totals_from_each();
        if is_in_order(state, events, queries, last.visible) {
            self.slide(tiling, windows, &Elements { cells, events }, queries, each);
        } else {
            self.ranking.begin(events, last.visible);
            for (index, query) in queries.iter().enumerate() {
                self.ranking.insert(events, query.visible);
                for (window_index, window) in windows.iter().enumerate() {
                    let of_state = totals_from(cells, tiling.tail(window, query.time));
                    self.totals = of_state.cloned().unwrap_or_default();
                    self.ranking.add_from(events, window.tail(query.time), &mut self.totals);
                    each(window_index, index, &self.totals);
                }
            }
        }
    }

    fn slide<E: Events<A>>(
        &mut self,
        tiling: &Tiling,
        windows: &[WindowMeta],
        elements: &Elements<'_, A, E>,
        queries: &[Sight],
        mut each: impl FnMut(usize, usize, &A),
    ) {
        self.windows.resize_with(windows.len(), Sliding::new);
        for (sliding, window) in self.windows.iter_mut().zip(windows) {
            let tail = |t: i64| (tiling.tail(window, t), window.tail(t));
            sliding.begin(tail, elements, queries);
        }
        let mut seen = 0;
        for (query, sight) in queries.iter().enumerate() {
            let (fresh, head) = (seen..sight.visible, elements.cells.len() + sight.visible);
            seen = sight.visible;
            let growing = self.windows.iter().filter(|window| window.grows(query)).count();
            let is_shared = is_shared(fresh.len(), growing);
            if is_shared {
                self.fresh = A::default();
                fresh
                    .clone()
                    .for_each(|event| elements.events.add(event, &mut self.fresh));
            }
            for (index, window) in self.windows.iter_mut().enumerate() {
                if !window.grows(query) {
                    window.turn(elements, query, head);
                } else if is_shared {
                    window.behind.merge(&self.fresh);
                } else {
                    fresh
                        .clone()
                        .for_each(|event| elements.events.add(event, &mut window.behind));
                }
                each(index, query, window.totals(query, head, &mut self.totals));
            }
        }
    }
}

/// Whether so many events are added up once and merged into so many totals, rather than added to each: a merge takes as long as
/// two additions, about.
const fn is_shared(events: usize, totals: usize) -> bool {
    events + 2 * totals < events * totals
}

/// One window on its way over the cells and the events of an entity.
#[derive(Debug)]
struct Sliding<A> {
    /// Where the window of each query begins.
    tails: Vec<usize>,
    pivot: usize,
    /// The tails to come and the totals from there to the pivot, the next last.
    kept: Vec<(usize, A)>,
    /// The totals from the pivot on.
    behind: A,
}

impl<A: Accumulator> Sliding<A> {
    fn new() -> Self {
        Self {
            tails: Vec::new(),
            pivot: 0,
            kept: Vec::new(),
            behind: A::default(),
        }
    }

    /// Finds the tails of all queries. `tail_at` gives where the window's is at a time: its place, and its time.
    fn begin<E: Events<A>>(
        &mut self,
        tail_at: impl Fn(i64) -> (i64, i64),
        elements: &Elements<'_, A, E>,
        queries: &[Sight],
    ) {
        self.pivot = 0;
        self.tails.clear();
        let (cells, mut tail) = (elements.cells.len(), 0);
        for query in queries {
            let (place, time) = tail_at(query.time);
            while elements.cell(tail).is_some_and(|(cell, _)| *cell < place) {
                tail += 1;
            }
            if tail >= cells {
                let events = &elements.events.times()[tail - cells..query.visible];
                tail += events.iter().take_while(|event| **event < time).count();
            }
            self.tails.push(tail);
        }
    }

    /// Whether the pivot stays for a query: its window begins before it.
    fn grows(&self, query: usize) -> bool {
        self.tails[query] < self.pivot
    }

    /// Puts the pivot at `head`, that of `query`, and keeps the totals up to it from the tails of the queries from there on.
    fn turn<E: Events<A>>(&mut self, elements: &Elements<'_, A, E>, query: usize, head: usize) {
        self.pivot = head;
        self.behind = A::default();
        let last = query + self.tails[query..].partition_point(|tail| *tail < head);
        self.kept.clear();
        self.kept.reserve(last - query);
        let (mut totals, mut reached) = (A::default(), head);
        for tail in self.tails[query..last].iter().rev() {
            if *tail == reached {
                continue;
            }
            for element in ((*tail).max(elements.cells.len())..reached).rev() {
                elements.events.add(element - elements.cells.len(), &mut totals);
            }
            reached = *tail;
            let mut from_tail = totals.clone();
            if let Some((_, of_cells)) = elements.cell(reached) {
                from_tail.merge(of_cells);
            }
            self.kept.push((reached, from_tail));
        }
    }

    /// The totals of a query with this head, for which they may be put together in `sum`. Queries are asked in their order.
    fn totals<'a>(&'a mut self, query: usize, head: usize, sum: &'a mut A) -> &'a A {
        let tail = self.tails[query];
        while self.kept.last().is_some_and(|(kept, _)| *kept < tail) {
            self.kept.pop();
        }
        match self.kept.last() {
            Some((_, kept)) if head == self.pivot => kept,
            Some((_, kept)) => {
                sum.clone_from(kept);
                sum.merge(&self.behind);
                sum
            }
            // Nothing from the tail up to the pivot.
            None => &self.behind,
        }
    }
}

/// Whether the times of the state, of the events and of the queries ascend, each behind the one before.
fn is_in_order<A: Accumulator>(state: &State<A>, events: &impl Events<A>, queries: &[Sight], count: usize) -> bool {
    let times = &events.times()[..count];
    let last = state.last().map_or(i64::MIN, |last| last.as_micros());
    times.first().is_none_or(|first| last <= *first)
        && times.is_sorted()
        && queries.is_sorted_by_key(|query| query.time)
}

/// The cells of a state and the events behind them.
struct Elements<'a, A, E> {
    /// With the totals from each of them on, latest first.
    cells: &'a [(i64, A)],
    events: &'a E,
}

impl<A, E: Events<A>> Elements<'_, A, E> {
    /// That of an index, if it is not an event's.
    #[inline]
    fn cell(&self, element: usize) -> Option<&(i64, A)> {
        let index = self.cells.len().checked_sub(element + 1)?;
        self.cells.get(index)
    }
}
