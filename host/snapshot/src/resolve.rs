use core::cmp::Ordering;

use crate::record::Record;
use crate::row_layout::{RowLayout, event_time_us};
use crate::{DuplicateKeys, EventTime, KeyRef, Version, WriteError, compare_versions, encode_row};

/// One row of each key out of records in the canonical order: the greatest version, or the only one.
#[derive(Debug)]
pub(crate) struct Resolver<'a> {
    layout: &'a RowLayout,
    duplicates: DuplicateKeys,
    /// The greatest version so far of the key; no words before its first.
    best: Vec<u64>,
    /// Of the versions with its times: how many there are, and how many have its values.
    tied: u64,
    same: u64,
    /// The canonical bytes of its values, once a tie asked for them.
    best_values: Option<Vec<u8>>,
    values: Vec<u8>,
    ties: u64,
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(layout: &'a RowLayout, duplicates: DuplicateKeys) -> Self {
        Self {
            layout,
            duplicates,
            best: Vec::new(),
            tied: 0,
            same: 0,
            best_values: None,
            values: Vec::new(),
            ties: 0,
        }
    }

    /// Takes the next record, and whether it is the last of its key; if so, gives the key's row to `visit`.
    pub(crate) fn push(
        &mut self,
        record: Record<'_>,
        is_last: bool,
        visit: &mut dyn FnMut(Record<'_>) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        // One row a key is the rule, and is not copied.
        if is_last && self.best.is_empty() {
            return visit(record);
        }
        // There is no order between a row and that it is gone.
        let is_removed = record.is_removed || Record::parse(&self.best, self.layout.row_bytes()).is_removed;
        if self.duplicates == DuplicateKeys::Refuse || is_removed {
            return Err(WriteError::DuplicateKey {
                key: KeyRef::from_verified(record.key).to_string(),
            });
        }
        if self.best.is_empty() {
            self.replace(record);
        } else {
            let best = Record::parse(&self.best, self.layout.row_bytes());
            match compare_versions(&times(&record), &times(&best)) {
                Ordering::Less => {}
                Ordering::Greater => self.replace(record),
                Ordering::Equal => self.tie(record),
            }
        }
        if is_last {
            self.ties += self.tied - self.same;
            visit(Record::parse(&self.best, self.layout.row_bytes()))?;
            self.best.clear();
        }
        Ok(())
    }

    /// How many rows lost to another only by the order of their values.
    pub(crate) fn ties(&self) -> u64 {
        self.ties
    }

    fn replace(&mut self, record: Record<'_>) {
        self.best.clear();
        record.append(&mut self.best);
        (self.tied, self.same) = (1, 1);
        self.best_values = None;
    }

    /// A version with the times of the best: the canonical bytes of the values decide.
    fn tie(&mut self, record: Record<'_>) {
        let mut values = core::mem::take(&mut self.values);
        values.clear();
        self.encode(record, &mut values);
        let mut best_values = self.best_values.take().unwrap_or_default();
        if best_values.is_empty() {
            self.encode(Record::parse(&self.best, self.layout.row_bytes()), &mut best_values);
        }
        self.tied += 1;
        match values.cmp(&best_values) {
            Ordering::Less => {}
            Ordering::Equal => self.same += 1,
            Ordering::Greater => {
                let tied = self.tied;
                self.replace(record);
                self.tied = tied;
                core::mem::swap(&mut values, &mut best_values);
            }
        }
        self.best_values = Some(best_values);
        self.values = values;
    }

    fn encode(&self, record: Record<'_>, out: &mut Vec<u8>) {
        for feature in 0..self.layout.feature_count() {
            let value = self.layout.value(record.row, record.heap, feature);
            encode_row(&[value], out);
        }
    }
}

/// The version of a record without its values: they are encoded only where the times tie.
fn times(record: &Record<'_>) -> Version<'static> {
    Version {
        event_time: EventTime(event_time_us(record.row)),
        known_at: record.known_at,
        row: &[],
    }
}
