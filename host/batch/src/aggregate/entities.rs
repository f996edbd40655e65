use std::cmp::Ordering;
use std::ops::Range;

use unskew_snapshot::{EventTime, Version, compare_versions, event_visible_from, is_event_visible};

use crate::asof::{Entry, Moments, Versions, sorted_entries};
use crate::words::KeyColumns;

/// The events and the queries of an aggregate by entity: which events a query may see are the first so many of its entity's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entities {
    /// Those that have queries, or events that are wanted without, in the order of their words.
    pub entities: Vec<Entity>,
    /// Rows of the source: by entity, in the order in which they become visible. Events of one such instant are in the order of
    /// versions: event time, known-at, row bytes.
    pub events: Vec<u32>,
    /// Rows of the spine: by entity, in the order of time. Those without a key are together, of an entity without events.
    pub queries: Vec<u32>,
    /// Of each query, how many of its entity's events it sees.
    pub visible: Vec<u32>,
}

/// An entity's part of [`Entities`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entity {
    pub events: Range<usize>,
    pub queries: Range<usize>,
    /// Whether it is somebody: rows without a key are nobody's.
    pub has_key: bool,
}

impl Entities {
    /// Sorts out the rows. Events that no query sees are left out, unless `wants_all`.
    ///
    /// ```text
    /// sort the events by (entity, when they become visible), the queries by (entity, time)
    /// for each entity: for each query: move on past the events that are visible by then, and count them
    /// ```
    pub fn new(events: &Versions<'_>, queries: &Moments<'_>, wants_all: bool) -> Self {
        let known_at = |row: u32| events.known_at.and_then(|known_at| known_at(row));
        let mut source = sorted_entries(events.words, events.event_time, |row, time| {
            event_visible_from(EventTime(time), known_at(row)).0
        });
        let spine = sorted_entries(queries.words, queries.times, |_, time| time);
        let mut sorting = Sorting {
            events,
            queries,
            wants_all,
            sorted: Self::default(),
        };
        let (mut source, mut spine) = (&mut source[..], &spine[..]);
        let next = |source: &[Entry], spine: &[Entry]| {
            let words = [source.first(), spine.first()]
                .into_iter()
                .flatten()
                .map(|entry| entry.word);
            words.min()
        };
        while let Some(word) = next(source, spine) {
            let (moments, rest) = spine.split_at(run(spine, word));
            spine = rest;
            let of_word = run(source, word);
            let (group, rest) = std::mem::take(&mut source).split_at_mut(of_word);
            source = rest;
            if wants_all || !moments.is_empty() {
                sorting.word(group, moments);
            }
        }
        sorting.nobody();
        sorting.sorted
    }

    /// The entity of a query.
    pub fn of_query(&self, query: usize) -> usize {
        self.entities.partition_point(|entity| entity.queries.end <= query)
    }
}

/// How many of the first entries have this word.
fn run(entries: &[Entry], word: u64) -> usize {
    entries.iter().take_while(|entry| entry.word == word).count()
}

struct Sorting<'a> {
    events: &'a Versions<'a>,
    queries: &'a Moments<'a>,
    wants_all: bool,
    sorted: Entities,
}

impl Sorting<'_> {
    /// What has one word: one entity, but for a collision.
    fn word(&mut self, events: &mut [Entry], queries: &[Entry]) {
        let (versions, moments) = (self.events, self.queries);
        if versions.words.is_exact && moments.words.is_exact {
            return self.entity(events, queries);
        }
        let (keys, row) = match (events.first(), queries.first()) {
            (Some(event), _) => (&versions.keys, event.row as usize),
            (None, Some(query)) => (&moments.keys, query.row as usize),
            (None, None) => return,
        };
        let is_same = |other: &KeyColumns<'_>, entry: &Entry| keys.is_same(row, other, entry.row as usize);
        if events.iter().all(|event| is_same(&versions.keys, event))
            && queries.iter().all(|query| is_same(&moments.keys, query))
        {
            return self.entity(events, queries);
        }
        let part = |entries: &[Entry], keys: &KeyColumns<'_>| -> (Vec<Entry>, Vec<Entry>) {
            entries.iter().partition(|entry| is_same(keys, entry))
        };
        let (mut here, mut others) = part(events, &versions.keys);
        let (queries_here, other_queries) = part(queries, &moments.keys);
        self.entity(&mut here, &queries_here);
        self.word(&mut others, &other_queries);
    }

    fn entity(&mut self, events: &mut [Entry], queries: &[Entry]) {
        self.order_ties(events);
        let (first_event, first_query) = (self.sorted.events.len(), self.sorted.queries.len());
        let mut visible = 0;
        for query in queries {
            let at = self.queries.sight.seen_at(EventTime(query.time));
            while events.get(visible).is_some_and(|event| self.is_visible(event.row, at)) {
                visible += 1;
            }
            self.sorted.queries.push(query.row);
            self.sorted.visible.push(visible as u32);
        }
        let taken = if self.wants_all { events.len() } else { visible };
        self.sorted.events.extend(events[..taken].iter().map(|event| event.row));
        self.end(first_event, first_query, true);
    }

    /// The queries without a key.
    fn nobody(&mut self) {
        let first_query = self.sorted.queries.len();
        let rows = 0..self.queries.times.len() as u32;
        let keyless = rows.filter(|row| !self.queries.words.is_present(*row as usize));
        self.sorted.queries.extend(keyless);
        let count = self.sorted.queries.len();
        if first_query < count {
            self.sorted.visible.resize(count, 0);
            self.end(self.sorted.events.len(), first_query, false);
        }
    }

    fn end(&mut self, first_event: usize, first_query: usize, has_key: bool) {
        self.sorted.entities.push(Entity {
            events: first_event..self.sorted.events.len(),
            queries: first_query..self.sorted.queries.len(),
            has_key,
        });
    }

    /// Puts events that become visible together into the order of versions.
    fn order_ties(&self, events: &mut [Entry]) {
        for events in events.chunk_by_mut(|a, b| a.time == b.time) {
            if events.len() > 1 {
                events.sort_by(|a, b| self.compare(a.row, b.row));
            }
        }
    }

    fn compare(&self, a: u32, b: u32) -> Ordering {
        let by_times = compare_versions(&self.version(a, &[]), &self.version(b, &[]));
        if by_times != Ordering::Equal {
            return by_times;
        }
        let bytes = [a, b].map(|row| {
            let mut bytes = Vec::new();
            (self.events.encode)(row, &mut bytes);
            bytes
        });
        compare_versions(&self.version(a, &bytes[0]), &self.version(b, &bytes[1]))
    }

    fn version<'row>(&self, event: u32, row: &'row [u8]) -> Version<'row> {
        Version {
            event_time: EventTime(self.events.event_time[event as usize]),
            known_at: self.known_at(event),
            row,
        }
    }

    fn known_at(&self, event: u32) -> Option<EventTime> {
        self.events.known_at.and_then(|known_at| known_at(event))
    }

    fn is_visible(&self, event: u32, at: EventTime) -> bool {
        let event_time = EventTime(self.events.event_time[event as usize]);
        is_event_visible(event_time, self.known_at(event), at)
    }
}
