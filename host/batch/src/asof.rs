use std::cmp::Ordering;
use std::collections::HashSet;
use std::ops::Range;

use unskew_snapshot::{EventTime, Status, Ttl, Version, compare_versions, is_visible, row_status};

use crate::words::{KeyColumns, KeyWords};

/// The rows of a source, or of one partition of it, for the as-of join.
pub(crate) struct Versions<'a> {
    pub words: &'a KeyWords,
    pub keys: KeyColumns<'a>,
    pub event_time: &'a [i64],
    /// When each row became known, where the source says so.
    pub known_at: Option<&'a dyn Fn(u32) -> Option<EventTime>>,
    /// Appends the canonical bytes of a row's values, which decide between rows of the same times.
    pub encode: &'a dyn Fn(u32, &mut Vec<u8>),
}

/// The rows of a spine, or of one partition of it.
pub(crate) struct Moments<'a> {
    pub words: &'a KeyWords,
    pub keys: KeyColumns<'a>,
    pub times: &'a [i64],
    pub sight: Sight,
    pub ttl: Option<Ttl>,
}

/// What the spine rows were joined with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Joined {
    /// The source's row of each spine row; [`NO_ROW`] unless its status is present.
    pub rows: Vec<u32>,
    /// Why, for each spine row: present, not found or expired.
    pub status: Vec<Status>,
    /// Spine rows whose value was chosen by row bytes alone, from rows of the same times and other values.
    pub ties: u64,
}

/// In the place of a row: none.
pub(crate) const NO_ROW: u32 = u32::MAX;

/// What a row of a spine may see.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sight {
    /// What became known later than this is not seen.
    pub freeze_at: Option<EventTime>,
    /// How much later than it says everything became known, in microseconds.
    pub lag_us: u64,
}

impl Sight {
    /// The time up to which a row at `at` may see.
    pub fn seen_at(self, at: EventTime) -> EventTime {
        let at = EventTime(at.0.saturating_sub_unsigned(self.lag_us));
        self.freeze_at.map_or(at, |freeze_at| freeze_at.min(at))
    }
}

/// Joins each spine row with the greatest version of its entity that is visible at its time: less the lag, and at the freeze if that is
/// earlier, as though nothing later had been known. The age for the TTL is that at the spine row's time in any case, so a frozen join
/// gives what a snapshot as of the freeze gives when it is read at that time.
///
/// ```text
/// sort the versions by (entity, event time), the spine rows by (entity, time)
/// for each entity that both have: put versions of one event time in the order of known-at and row bytes
///     for each spine row: move on past the versions that have happened by then; the last of them is the answer
/// ```
///
/// "By entity" is by its word first; the keys are compared where equal words do not mean equal keys. With known-at an older
/// version may be visible where a newer one is not yet: then the answer is searched in a tree of the earliest known-at under
/// each node, so that one entity with many late rows costs no more than another.
pub(crate) fn join(versions: &Versions<'_>, moments: &Moments<'_>) -> Joined {
    let rows = moments.times.len();
    let mut source = entries(versions.words, versions.event_time);
    let mut spine = entries(moments.words, moments.times);
    source.sort_unstable_by_key(|entry| (entry.word, entry.time));
    spine.sort_unstable_by_key(|entry| (entry.word, entry.time));
    let mut join = Join {
        versions,
        moments,
        joined: Joined {
            rows: vec![NO_ROW; rows],
            status: vec![Status::NotFound; rows],
            ties: 0,
        },
        tied: HashSet::new(),
    };
    let (mut source, mut spine) = (&mut source[..], &spine[..]);
    while let (Some(version), Some(moment)) = (source.first(), spine.first()) {
        match version.word.cmp(&moment.word) {
            Ordering::Less => source = source.split_at_mut(run(source)).1,
            Ordering::Greater => spine = &spine[run(spine)..],
            Ordering::Equal => {
                let (group, rest) = source.split_at_mut(run(source));
                let moments;
                (moments, spine) = spine.split_at(run(spine));
                source = rest;
                join.word(group, moments);
            }
        }
    }
    join.joined
}

/// A row that is being sorted.
#[derive(Clone, Copy)]
struct Entry {
    word: u64,
    time: i64,
    row: u32,
}

fn entries(words: &KeyWords, times: &[i64]) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(times.len());
    for (row, (word, time)) in (0..).zip(words.words.iter().zip(times)) {
        if words.is_present(row as usize) {
            entries.push(Entry {
                word: *word,
                time: *time,
                row,
            });
        }
    }
    entries
}

/// How many of the entries have the word of the first.
fn run(entries: &[Entry]) -> usize {
    let word = entries.first().map(|entry| entry.word);
    entries.iter().take_while(|entry| Some(entry.word) == word).count()
}

struct Join<'a> {
    versions: &'a Versions<'a>,
    moments: &'a Moments<'a>,
    joined: Joined,
    /// Of the current entity, the rows that have the times of an earlier one and other values.
    tied: HashSet<u32>,
}

impl Join<'_> {
    /// Joins what has one word: one entity, but for a collision.
    fn word(&mut self, source: &mut [Entry], spine: &[Entry]) {
        let (versions, moments) = (self.versions, self.moments);
        let representative = spine[0].row as usize;
        let is_same =
            |keys: &KeyColumns<'_>, entry: &Entry| keys.is_same(entry.row as usize, &moments.keys, representative);
        let is_exact = versions.words.is_exact && moments.words.is_exact;
        if is_exact
            || source.iter().all(|entry| is_same(&versions.keys, entry))
                && spine.iter().all(|entry| is_same(&moments.keys, entry))
        {
            return self.entity(source, spine);
        }
        let (mut here, mut source): (Vec<Entry>, Vec<Entry>) =
            source.iter().partition(|entry| is_same(&versions.keys, entry));
        let (spine_here, spine): (Vec<Entry>, Vec<Entry>) =
            spine.iter().partition(|entry| is_same(&moments.keys, entry));
        self.entity(&mut here, &spine_here);
        if !spine.is_empty() {
            self.word(&mut source, &spine);
        }
    }

    fn entity(&mut self, source: &mut [Entry], spine: &[Entry]) {
        self.order(source);
        let known_from = match self.versions.known_at {
            Some(known_at) => Earliest::new(source.iter().map(|entry| known_at(entry.row))),
            None => Earliest::default(),
        };
        let mut happened = 0;
        for moment in spine {
            let at = EventTime(moment.time);
            let seen_at = self.moments.sight.seen_at(at);
            while source
                .get(happened)
                .is_some_and(|version| is_visible(EventTime(version.time), None, seen_at))
            {
                happened += 1;
            }
            let found = match self.versions.known_at {
                None => happened.checked_sub(1),
                Some(_) => known_from.last_not_after(0..happened, seen_at),
            };
            let Some(version) = found.map(|position| source[position]) else {
                continue;
            };
            let status = row_status(EventTime(version.time), self.moments.ttl, at);
            self.joined.status[moment.row as usize] = status;
            if status.is_present() {
                self.joined.rows[moment.row as usize] = version.row;
                self.joined.ties += u64::from(self.tied.contains(&version.row));
            }
        }
    }

    /// Puts rows of one event time in the order of versions, and notes ties.
    fn order(&mut self, source: &mut [Entry]) {
        self.tied.clear();
        for run in source.chunk_by_mut(|a, b| a.time == b.time) {
            if run.len() > 1 {
                self.order_run(run);
            }
        }
    }

    fn order_run(&mut self, run: &mut [Entry]) {
        let mut versions: Vec<(Option<EventTime>, Vec<u8>, Entry)> = run
            .iter()
            .map(|entry| {
                let mut bytes = Vec::new();
                (self.versions.encode)(entry.row, &mut bytes);
                let known_at = self.versions.known_at.and_then(|known_at| known_at(entry.row));
                (known_at, bytes, *entry)
            })
            .collect();
        fn version((known_at, bytes, entry): &(Option<EventTime>, Vec<u8>, Entry)) -> Version<'_> {
            Version {
                event_time: EventTime(entry.time),
                known_at: *known_at,
                row: bytes,
            }
        }
        versions.sort_by(|a, b| compare_versions(&version(a), &version(b)));
        let mut last_is_tied = false;
        for index in 0..versions.len() {
            let here = version(&versions[index]);
            // Within a run of equal times the bytes ascend: a tie is passed on to the run's last row, the only one that is
            // ever found.
            last_is_tied = index > 0 && {
                let last = version(&versions[index - 1]);
                last.is_tied_with(&here) || last_is_tied && last.known_at == here.known_at
            };
            run[index] = versions[index].2;
            if last_is_tied {
                self.tied.insert(run[index].row);
            }
        }
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
    fn new(known_at: impl ExactSizeIterator<Item = Option<EventTime>>) -> Self {
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
