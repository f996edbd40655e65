use std::collections::HashMap;

use unskew_snapshot::{EntityKey, EventTime, Lateness, event_visible_from, is_event_visible, is_late};

use crate::table::{Table, VersionOrder};

/// The events of a table by entity, in the order in which they become visible: what an aggregate may see at a time is a
/// prefix.
///
/// An event may be seen from the microsecond after its event time, or from its known-at if that is later. Events of one
/// such instant are in the order of versions: event time, known-at, row bytes.
#[derive(Clone, Debug)]
pub struct EventIndex {
    groups: HashMap<EntityKey, Vec<u32>>,
    event_time: Vec<EventTime>,
    known_at: Option<Vec<Option<EventTime>>>,
    /// The rows of events that count for nobody because they were late.
    late: Vec<u32>,
}

impl EventIndex {
    /// Sorts the rows of `table`, whose keys are `keys`. Events without a key belong to no entity, and so do those that became known
    /// later than `lateness` allows. All of the table's columns, in their order, are the row bytes.
    ///
    /// # Panics
    /// Unless there is a key, or none, for each row.
    pub fn build(keys: Vec<Option<EntityKey>>, table: &Table, lateness: Option<Lateness>) -> Self {
        assert!(keys.len() == table.rows(), "a key for each row");
        let mut index = Self {
            groups: HashMap::new(),
            event_time: table.event_time().to_vec(),
            known_at: table.known_at().map(<[_]>::to_vec),
            late: Vec::new(),
        };
        let mut groups: HashMap<EntityKey, Vec<u32>> = HashMap::new();
        for (row, key) in (0..).zip(keys) {
            let Some(key) = key else { continue };
            let (event_time, known_at) = index.times(row);
            match is_late(event_time, known_at, lateness) {
                true => index.late.push(row),
                false => groups.entry(key).or_default().push(row),
            }
        }
        let mut order = VersionOrder::new(table);
        for rows in groups.values_mut() {
            rows.sort_unstable_by(|a, b| {
                let by_visibility = index.visible_from(*a).cmp(&index.visible_from(*b));
                by_visibility.then_with(|| order.compare(*a, *b))
            });
        }
        index.groups = groups;
        index
    }

    /// The number of `key`'s events that are visible at `at`: they are the first of its [`group`](Self::group).
    pub fn visible(&self, key: &EntityKey, at: EventTime) -> usize {
        self.group(key)
            .map_or(0, |rows| rows.partition_point(|row| self.is_visible(*row, at)))
    }

    /// The table's rows of `key`'s events, in the order in which they become visible.
    pub fn group(&self, key: &EntityKey) -> Option<&[u32]> {
        self.groups.get(key).map(Vec::as_slice)
    }

    /// Every entity and its events, in the order of the keys' bytes.
    pub fn groups(&self) -> Vec<(&EntityKey, &[u32])> {
        let mut groups: Vec<(&EntityKey, &[u32])> =
            self.groups.iter().map(|(key, rows)| (key, rows.as_slice())).collect();
        groups.sort_unstable_by_key(|(key, _)| *key);
        groups
    }

    /// The number of events that would be visible at `at` if they had not been late.
    pub fn late(&self, at: EventTime) -> u64 {
        self.late.iter().filter(|row| self.is_visible(**row, at)).count() as u64
    }

    fn is_visible(&self, row: u32, at: EventTime) -> bool {
        let (event_time, known_at) = self.times(row);
        is_event_visible(event_time, known_at, at)
    }

    /// The first instant at which the event is visible. An event at the last instant never is; it sorts behind those that
    /// become visible then, by its event time.
    fn visible_from(&self, row: u32) -> EventTime {
        let (event_time, known_at) = self.times(row);
        event_visible_from(event_time, known_at)
    }

    fn times(&self, row: u32) -> (EventTime, Option<EventTime>) {
        let row = row as usize;
        let known_at = self.known_at.as_ref().and_then(|known_at| known_at[row]);
        (self.event_time[row], known_at)
    }
}

#[cfg(test)]
mod tests;
