use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::Timestamp;
use crate::accumulate::Accumulator;
use crate::tiling::Tiling;
use crate::window::WindowMeta;

mod reader;
mod view;

pub use reader::{StateError, StateReader};
pub(crate) use reader::{push_varint, unzigzag, zigzag};
pub(crate) use view::{StateView, number_bytes};

/// The version of the layout below, part of every [`state_version`].
const LAYOUT_VERSION: u32 = 3;

/// The state of one entity: its events, summed up in the cells of a [`Tiling`].
///
/// Of [compact](Accumulator::IS_COMPACT) accumulators it holds, of each cell with events, the totals of all events from there on,
/// so that a window is read by taking one of them. Of others, which grow with what they have seen, it holds the totals of
/// the cell alone, so that each event is in it once, and a window is read by adding up its cells. Nothing in it can be told from the rest,
/// so nothing in it can contradict the rest.
///
/// An event goes into the totals from its cell back; the union of two states has the cells of both, and in each what either side
/// has from there on. A cell that no later query can tell from the one before is joined with it, and one that none can see is dropped,
/// as functions of the last event time alone. So the state depends on the events and not on their order.
///
/// ```text
/// u32        state version
/// i64        time of the last event
/// varint     number of cells, at least one
/// u8         widths of the numbers below, as powers of two: bits 0-1 of distances, 2-3 of ends
/// distances  of each cell, latest first: places from the last event back, in the least width that holds the greatest
/// ends       of each cell's totals but the last: bytes from the first on, likewise; none if the accumulators grow
/// totals     of each cell
/// ```
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct State<A> {
    /// None without events.
    last: Option<Timestamp>,
    /// Where they begin and their totals, latest first.
    cells: Vec<(i64, A)>,
    /// What was added since, of each cell alone.
    added: BTreeMap<i64, A>,
}

/// A number that changes with anything that the bytes of a state depend on, so that no state is read as another's: the
/// layout, the accumulators and the widths and reaches of the tiles.
pub(crate) fn state_version<A: Accumulator>(tiling: &Tiling) -> u32 {
    let form = if A::IS_COMPACT { "from" } else { "in" };
    let mut words = format!("{LAYOUT_VERSION} {form};");
    A::layout(&mut words);
    tiling.layout(&mut words);
    xxhash_rust::xxh3::xxh3_64(words.as_bytes()) as u32
}

impl<A: Accumulator> State<A> {
    pub fn new() -> Self {
        Self {
            last: None,
            cells: Vec::new(),
            added: BTreeMap::new(),
        }
    }

    /// Adds an event: `add` puts it into a cell. Call [`settle`](Self::settle) after the last.
    pub fn add(&mut self, tiling: &Tiling, time: Timestamp, add: impl FnOnce(&mut A)) {
        let place = tiling.place(time.as_micros());
        match self.last {
            // What no query can see is not kept only to be dropped.
            Some(last) if time < last && tiling.reach(last.as_micros()).cell(place).is_none() => return,
            last => self.last = last.max(Some(time)),
        }
        add(self.added.entry(tiling.narrowest_cell(place)).or_default());
    }

    /// Adds the events of another state. Both are settled. Call [`settle`](Self::settle) after the last.
    pub fn merge(&mut self, other: Self) {
        self.last = self.last.max(other.last);
        self.cells = union(core::mem::take(&mut self.cells), other.cells);
    }

    /// Puts what was added where it belongs, and joins and drops what later queries cannot tell apart or see.
    pub fn settle(&mut self, tiling: &Tiling) {
        let Some(last) = self.last else { return };
        let mut added: Vec<(i64, A)> = core::mem::take(&mut self.added).into_iter().rev().collect();
        if A::IS_COMPACT {
            sum_up(&mut added);
        }
        self.cells = union(core::mem::take(&mut self.cells), added);
        let reach = tiling.reach(last.as_micros());
        let in_sight = self.cells.iter_mut().map_while(|(place, _)| {
            *place = reach.cell(*place)?;
            Some(())
        });
        let in_sight = in_sight.count();
        self.cells.truncate(in_sight);
        self.cells.dedup_by(|(place, earlier), (later_place, later)| {
            let is_same = place == later_place;
            match (is_same, A::IS_COMPACT) {
                (true, true) => core::mem::swap(earlier, later),
                (true, false) => later.merge(earlier),
                (false, _) => {}
            }
            is_same
        });
    }

    /// The state as one of other accumulators and of windows that these cover. Not of growing accumulators, unless these grow, too.
    pub fn convert<B: Accumulator + From<A>>(self, from: &Tiling, to: &Tiling) -> State<B> {
        let cells = self.cells.into_iter();
        let cells = cells.map(|(place, totals)| (to.place(from.time_us(place)), B::from(totals)));
        let mut converted = State {
            last: self.last,
            cells: cells.collect(),
            added: BTreeMap::new(),
        };
        if B::IS_COMPACT && !A::IS_COMPACT {
            sum_up(&mut converted.cells);
        }
        converted.settle(to);
        converted
    }

    /// The totals of the events from each cell on, latest first.
    pub fn totals_from_each(&self) -> Cow<'_, [(i64, A)]> {
        if A::IS_COMPACT {
            return Cow::Borrowed(&self.cells);
        }
        let mut cells = self.cells.clone();
        sum_up(&mut cells);
        Cow::Owned(cells)
    }

    /// The totals of `window` at `t`, which is later than every event here.
    pub fn totals(&self, tiling: &Tiling, window: &WindowMeta, t: Timestamp) -> A {
        let totals = self.totals_from_each();
        let from_tail = totals_from(&totals, tiling.tail(window, t.as_micros()));
        from_tail.cloned().unwrap_or_default()
    }

    /// The time of the last event; none without events.
    pub fn last(&self) -> Option<Timestamp> {
        self.last
    }

    /// Writes the state, which has events and is settled.
    pub fn encode(&self, tiling: &Tiling, version: u32, last: Timestamp, bytes: &mut Vec<u8>) {
        let newest = tiling.place(last.as_micros());
        let distances: Vec<u64> = self.cells.iter().map(|(place, _)| newest.abs_diff(*place)).collect();
        let (mut ends, mut encoded) = (Vec::new(), Vec::new());
        for (cell, (_, totals)) in self.cells.iter().enumerate() {
            if A::IS_COMPACT && cell > 0 {
                ends.push(encoded.len() as u64);
            }
            totals.encode(&mut encoded);
        }
        bytes.extend_from_slice(&version.to_le_bytes());
        bytes.extend_from_slice(&last.as_micros().to_le_bytes());
        view::push_numbers(bytes, self.cells.len(), &distances, &ends);
        bytes.extend_from_slice(&encoded);
    }

    pub fn decode(bytes: &[u8], version: u32, tiling: &Tiling) -> Result<Self, StateError> {
        let view = StateView::of::<A>(bytes, version)?;
        let (last, newest) = (view.last.as_micros(), tiling.place(view.last.as_micros()));
        let reach = tiling.reach(last);
        let mut cells: Vec<(i64, A)> = Vec::new();
        let mut reader = view.totals();
        let mut first = reach.cell(newest);
        for cell in 0..view.cells() {
            let place = newest.checked_sub_unsigned(view.distance(cell));
            // A cell that could not be there would be seen by queries that must not see it.
            let is_there = place.is_some_and(|place| reach.cell(place) == Some(place));
            let is_earlier = cells.last().is_none_or(|(later, _)| place < Some(*later));
            let is_first = first.take().is_none_or(|first| place == Some(first));
            match place {
                Some(place) if is_there && is_earlier && is_first => cells.push((place, A::decode(&mut reader)?)),
                _ => return Err(StateError::Damaged),
            }
            view.check_end(cell, &reader)?;
        }
        view.check_widths()?;
        Ok(Self {
            last: Some(view.last),
            cells,
            added: BTreeMap::new(),
        })
    }
}

/// Of cells, latest first, makes the totals of each those from it on.
fn sum_up<A: Accumulator>(cells: &mut [(i64, A)]) {
    for cell in 1..cells.len() {
        if let [.., (_, later), (_, earlier)] = &mut cells[..=cell] {
            earlier.merge(later);
        }
    }
}

/// The totals from `tail` on, of those from each cell on; none where there are no events.
pub(crate) fn totals_from<A>(totals: &[(i64, A)], tail: i64) -> Option<&A> {
    let in_sight = totals.partition_point(|(place, _)| *place >= tail);
    totals[..in_sight].last().map(|(_, totals)| totals)
}

/// The cells of both, latest first, each with what is in it or from it on: of the one side, the other or both.
fn union<A: Accumulator>(left: Vec<(i64, A)>, right: Vec<(i64, A)>) -> Vec<(i64, A)> {
    if left.is_empty() || right.is_empty() {
        return if left.is_empty() { right } else { left };
    }
    let mut cells = Vec::with_capacity(left.len() + right.len());
    let (mut lefts, mut rights) = (0, 0);
    while let Some(place) = Option::max(
        left.get(lefts).map(|(place, _)| *place),
        right.get(rights).map(|(place, _)| *place),
    ) {
        let advance = |side: &[(i64, A)], passed: &mut usize| {
            let is_here = side.get(*passed).is_some_and(|(at, _)| *at == place);
            *passed += usize::from(is_here);
            is_here || A::IS_COMPACT
        };
        let (has_left, has_right) = (advance(&left, &mut lefts), advance(&right, &mut rights));
        let left = left[..lefts].last().filter(|_| has_left);
        let right = right[..rights].last().filter(|_| has_right);
        let mut totals = left.or(right).map_or_else(A::default, |(_, totals)| totals.clone());
        if let (Some(_), Some((_, right))) = (left, right) {
            totals.merge(right);
        }
        cells.push((place, totals));
    }
    cells
}

#[cfg(test)]
mod tests;
