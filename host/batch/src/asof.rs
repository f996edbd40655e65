use std::cmp::Ordering;
use std::collections::HashMap;
use std::ops::Range;

use unskew_snapshot::{EntityKey, EventTime, Status, Ttl, is_visible, row_status};

use crate::table::{Table, VersionOrder};

/// The rows of a table by entity and in the order of versions, for the as-of join.
///
/// ```text
/// build: sort the rows by (entity, event time, known-at, row bytes)
/// join:  for each spine row: of its entity's rows that are visible at the time, take the last
/// ```
///
/// Without known-at the visible rows are a prefix and a binary search finds its end. With known-at an older row may be
/// visible where a newer one is not yet: the search descends a tree of the earliest known-at under each node, so that one
/// entity with many late rows costs no more than another.
#[derive(Clone, Debug)]
pub struct AsOfIndex {
    groups: HashMap<EntityKey, Range<usize>>,
    /// Table rows, sorted.
    rows: Vec<u32>,
    event_time: Vec<EventTime>,
    /// Empty where the table has none.
    known_at: Vec<Option<EventTime>>,
    known_from: Earliest,
    /// Whether an earlier row has the same times and other values.
    tied: Vec<bool>,
}

/// What the spine rows were joined with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    /// The table's row of each spine row; none unless its status is present.
    pub rows: Vec<Option<u32>>,
    /// Why, for each spine row: present, not found or expired.
    pub status: Vec<Status>,
    /// Spine rows whose value was chosen by row bytes alone, from rows of the same times and other values.
    pub ties: u64,
}

/// The time up to which a row at `at` may see: a freeze hides what became known after it.
pub(crate) fn seen_at(at: EventTime, freeze_at: Option<EventTime>) -> EventTime {
    freeze_at.map_or(at, |freeze_at| freeze_at.min(at))
}

impl AsOfIndex {
    /// Sorts the rows of `table`, whose keys are `keys`. Rows without a key are never found. All of the table's columns, in
    /// their order, are the row bytes that decide last.
    ///
    /// # Panics
    /// Unless there is a key, or none, for each row.
    pub fn build(keys: Vec<Option<EntityKey>>, table: &Table) -> Self {
        assert!(keys.len() == table.rows(), "a key for each row");
        let mut members: HashMap<EntityKey, Vec<u32>> = HashMap::new();
        for (row, key) in (0..).zip(keys) {
            if let Some(key) = key {
                members.entry(key).or_default().push(row);
            }
        }
        let mut order = VersionOrder::new(table);
        let mut index = Self {
            groups: HashMap::with_capacity(members.len()),
            rows: Vec::with_capacity(table.rows()),
            event_time: Vec::with_capacity(table.rows()),
            known_at: Vec::new(),
            known_from: Earliest::default(),
            tied: Vec::with_capacity(table.rows()),
        };
        for (key, mut rows) in members {
            rows.sort_unstable_by(|a, b| order.compare(*a, *b));
            let start = index.rows.len();
            index.push_group(&rows, &mut order, table);
            index.groups.insert(key, start..index.rows.len());
        }
        index.known_from = Earliest::new(&index.known_at);
        index
    }

    /// Joins each spine row with the greatest version that is visible at its time: at `freeze_at` if that is earlier, as
    /// though nothing later had been known. The age for `ttl` is that at the spine row's time in any case, so a frozen join
    /// gives what a snapshot as of `freeze_at` gives when it is read at that time.
    ///
    /// # Panics
    /// Unless there are as many times as keys.
    pub fn join(
        &self,
        spine_keys: &[Option<EntityKey>],
        spine_times: &[EventTime],
        ttl: Option<Ttl>,
        freeze_at: Option<EventTime>,
    ) -> Joined {
        assert!(spine_keys.len() == spine_times.len(), "a time for each key");
        let mut joined = Joined {
            rows: Vec::with_capacity(spine_keys.len()),
            status: Vec::with_capacity(spine_keys.len()),
            ties: 0,
        };
        for (key, at) in spine_keys.iter().zip(spine_times) {
            let seen_at = seen_at(*at, freeze_at);
            let position = key
                .as_ref()
                .and_then(|key| self.groups.get(key))
                .and_then(|group| self.last_visible(group.clone(), seen_at));
            let (row, status) = match position {
                None => (None, Status::NotFound),
                Some(position) => {
                    let status = row_status(self.event_time[position], ttl, *at);
                    let is_present = status.is_present();
                    joined.ties += u64::from(is_present && self.tied[position]);
                    (is_present.then(|| self.rows[position]), status)
                }
            };
            joined.rows.push(row);
            joined.status.push(status);
        }
        joined
    }

    fn push_group(&mut self, rows: &[u32], order: &mut VersionOrder<'_>, table: &Table) {
        let start = self.rows.len();
        for (position, row) in (start..).zip(rows) {
            let tied = position > start && {
                let last = self.rows[position - 1];
                // Within a run of equal times the bytes ascend: a tie is passed on to the run's last row, the only one
                // that is ever found.
                order.compare_times(last, *row) == Ordering::Equal
                    && (self.tied[position - 1] || order.compare(last, *row) != Ordering::Equal)
            };
            self.rows.push(*row);
            self.tied.push(tied);
            self.event_time.push(table.event_time()[*row as usize]);
            if let Some(known_at) = table.known_at() {
                self.known_at.push(known_at[*row as usize]);
            }
        }
    }

    fn last_visible(&self, group: Range<usize>, at: EventTime) -> Option<usize> {
        let happened = self.event_time[group.clone()].partition_point(|event_time| is_visible(*event_time, None, at));
        let end = group.start + happened;
        if self.known_at.is_empty() {
            return (happened > 0).then(|| end - 1);
        }
        let position = self.known_from.last_not_after(group.start..end, at)?;
        debug_assert!(is_visible(self.event_time[position], self.known_at[position], at));
        Some(position)
    }
}

/// A tree of minima: under each node, the earliest instant from which one of its leaves is known.
#[derive(Clone, Debug, Default)]
struct Earliest {
    /// Node 1 is the root, nodes 2n and 2n + 1 are below n, and the leaves come last.
    nodes: Vec<EventTime>,
    leaves: usize,
}

impl Earliest {
    fn new(known_at: &[Option<EventTime>]) -> Self {
        if known_at.is_empty() {
            return Self::default();
        }
        let leaves = known_at.len().next_power_of_two();
        let mut nodes = vec![EventTime::MAX; 2 * leaves];
        for (leaf, known_at) in nodes[leaves..].iter_mut().zip(known_at) {
            *leaf = known_at.unwrap_or(EventTime::MIN);
        }
        for node in (1..leaves).rev() {
            nodes[node] = nodes[2 * node].min(nodes[2 * node + 1]);
        }
        Self { nodes, leaves }
    }

    /// The last of `range` that is known at `at`.
    ///
    /// Walks up from the range's end over the subtrees to its left, which lie within the range or are cut off by the check
    /// of the start, and down into the first that has such a leaf.
    fn last_not_after(&self, range: Range<usize>, at: EventTime) -> Option<usize> {
        if range.is_empty() {
            return None;
        }
        let mut node = self.leaves + range.end - 1;
        while self.nodes[node] > at {
            // Up while the node is a left child, then to the sibling on the left. Node 1, or a power of two, has none.
            while node.is_multiple_of(2) {
                node /= 2;
            }
            if node == 1 {
                return None;
            }
            node -= 1;
            if self.last_leaf(node) < range.start {
                return None;
            }
        }
        while node < self.leaves {
            node = 2 * node + 1;
            if self.nodes[node] > at {
                node -= 1;
            }
        }
        let position = node - self.leaves;
        (position >= range.start).then_some(position)
    }

    /// The last leaf under `node`.
    fn last_leaf(&self, node: usize) -> usize {
        let height = self.leaves.ilog2() - node.ilog2();
        ((node + 1) << height) - 1 - self.leaves
    }
}

#[cfg(test)]
mod tests;
