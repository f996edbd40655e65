use unskew_frame::Value;

use crate::key::MAX_KEY_BYTES;
use crate::record::Record;
use crate::row_layout::{RowLayout, event_time_us};
use crate::{EventTime, FeatureStatistics};

/// What a long key costs a lookup, in bytes of rows: a cache line.
const LONG_KEY_COST_BYTES: u64 = 64;
/// A place for a key that may not hold one must hold where it is.
const MIN_KEY_BYTES: usize = 8;

/// What must be known of all rows before the first is written.
#[derive(Clone, Debug)]
pub(crate) struct Census {
    pub(crate) row_count: u64,
    /// Of the rows: the keys that a delta removes, which have neither a time nor values.
    pub(crate) removed_count: u64,
    pub(crate) event_times: Option<(EventTime, EventTime)>,
    pub(crate) statistics: Vec<FeatureStatistics>,
    pub(crate) heap_bytes: u64,
    record_bytes: u64,
    /// How many keys there are of each length.
    key_lengths: Vec<u64>,
}

impl Census {
    pub(crate) fn new(layout: &RowLayout) -> Self {
        Self {
            row_count: 0,
            removed_count: 0,
            event_times: None,
            statistics: vec![FeatureStatistics::default(); layout.feature_count()],
            heap_bytes: 0,
            record_bytes: 0,
            key_lengths: vec![0; MAX_KEY_BYTES + 1],
        }
    }

    /// Counts the row of a key.
    pub(crate) fn count(&mut self, layout: &RowLayout, record: Record<'_>) {
        self.count_record(record);
        if record.is_removed {
            return;
        }
        for (feature, statistics) in self.statistics.iter_mut().enumerate() {
            statistics.count(layout.value(record.row, record.heap, feature));
        }
    }

    /// The same, where the row's values are at hand.
    pub(crate) fn count_values(&mut self, record: Record<'_>, values: &[Value<'_>]) {
        self.count_record(record);
        for (statistics, value) in self.statistics.iter_mut().zip(values) {
            statistics.count(*value);
        }
    }

    fn count_record(&mut self, record: Record<'_>) {
        self.row_count += 1;
        self.heap_bytes += record.heap.len() as u64;
        self.record_bytes += 8 * record.word_count() as u64;
        self.key_lengths[record.key.len().min(MAX_KEY_BYTES)] += 1;
        if record.is_removed {
            self.removed_count += 1;
            return;
        }
        let time = EventTime(event_time_us(record.row));
        let (first, last) = self.event_times.unwrap_or((time, time));
        self.event_times = Some((first.min(time), last.max(time)));
    }

    /// The bytes of all keys.
    pub(crate) fn key_bytes(&self) -> u64 {
        (0..)
            .zip(&self.key_lengths)
            .map(|(len, count): (u64, _)| len * count)
            .sum()
    }

    /// The mean size of a record.
    pub(crate) fn mean_record_bytes(&self) -> u64 {
        self.record_bytes.checked_div(self.row_count).unwrap_or(0)
    }

    /// How wide the place for the key is in a row: as the longest key, unless a few long ones would widen every row. They
    /// cost the row's lookup another miss, so each counts for a cache line and its length.
    pub(crate) fn key_slot_bytes(&self) -> usize {
        let longest = self.key_lengths.iter().rposition(|count| *count > 0).unwrap_or(0);
        let mut best = (self.row_count * longest as u64, longest);
        let mut long_keys_cost = 0;
        for width in (MIN_KEY_BYTES..longest).rev() {
            let len = width as u64 + 1;
            long_keys_cost += self.key_lengths[width + 1] * (len + LONG_KEY_COST_BYTES);
            let cost = self.row_count * width as u64 + long_keys_cost;
            if cost < best.0 {
                best = (cost, width);
            }
        }
        best.1
    }
}

impl FeatureStatistics {
    #[inline]
    fn count(&mut self, value: Value<'_>) {
        let number = match value {
            Value::Null => {
                self.null_count += 1;
                return;
            }
            Value::F64(value) => value,
            Value::F32(value) => value.into(),
            Value::I64(value) | Value::Timestamp(value) => value as f64,
            Value::Bool(value) => u8::from(value).into(),
            Value::String(_) | Value::Bytes(_) | Value::Vector(_) => return,
        };
        if number.is_nan() {
            self.nan_count += 1;
            return;
        }
        // By the total order, so that zeros of both signs give the same range in whatever order they come.
        let least = |a: f64, b: f64| if b.total_cmp(&a).is_lt() { b } else { a };
        let greatest = |a: f64, b: f64| if b.total_cmp(&a).is_gt() { b } else { a };
        let (low, high) = self.range.unwrap_or((number, number));
        self.range = Some((least(low, number), greatest(high, number)));
    }
}

#[cfg(test)]
mod tests;
