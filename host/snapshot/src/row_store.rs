use core::cmp::Ordering;

use unskew_frame::Value;

use crate::header::MAX_ROWS;
use crate::row_layout::{Extent, RowLayout, event_time_us, put_event_time_us, put_key_extent};
use crate::schema::MAX_VALUE_BYTES;
use crate::{
    DuplicateKeys, EventTime, KeyRef, KeyType, SchemaError, Version, WriteError, WriteOptions, compare_versions,
    encode_row,
};

/// The rows pushed to a writer, in the layout of the file; offsets are into its own keys and heap.
#[derive(Debug)]
pub(crate) struct RowStore {
    pub(crate) options: WriteOptions,
    pub(crate) layout: RowLayout,
    key_types: Vec<KeyType>,
    entries: Vec<Entry>,
    /// Words, so that vectors are aligned.
    rows: Vec<u64>,
    keys: Vec<u8>,
    pub(crate) heap: Vec<u8>,
    pushes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u64,
    key: Extent,
    known_at: Option<EventTime>,
}

/// The rows of the file.
pub(crate) struct Resolved {
    /// Their numbers in the store, by key hash and key bytes.
    pub(crate) order: Vec<u32>,
    pub(crate) ties: u64,
}

impl RowStore {
    pub(crate) fn new(options: WriteOptions) -> Result<Self, WriteError> {
        options.schema.check()?;
        let layout = RowLayout::new(&options.schema.features).ok_or(SchemaError::RowBytes)?;
        Ok(Self {
            key_types: options.schema.key_types(),
            options,
            layout,
            entries: Vec::new(),
            rows: Vec::new(),
            keys: Vec::new(),
            heap: Vec::new(),
            pushes: 0,
        })
    }

    pub(crate) fn push(
        &mut self,
        key: KeyRef<'_>,
        event_time: EventTime,
        known_at: Option<EventTime>,
        values: &[Value<'_>],
    ) -> Result<(), WriteError> {
        let row = self.pushes;
        self.pushes += 1;
        self.check(row, key, [Some(event_time), known_at], values)?;

        let row_words = self.layout.row_bytes() / 8;
        let (row_start, heap_start) = (self.rows.len(), self.heap.len());
        self.rows.resize(row_start + row_words, 0);
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut self.rows[row_start..]);
        put_event_time_us(bytes, event_time.as_micros());
        for (feature, value) in values.iter().enumerate() {
            if !self.layout.put_value(bytes, &mut self.heap, feature, value) {
                self.rows.truncate(row_start);
                self.heap.truncate(heap_start);
                let column = &self.options.schema.features[feature];
                return Err(WriteError::ValueType {
                    row,
                    feature: column.name.clone(),
                    expected: column.column_type,
                });
            }
        }
        self.entries.push(Entry {
            hash: key.hash(),
            key: Extent::append(&mut self.keys, key.as_bytes()),
            known_at,
        });
        Ok(())
    }

    /// Sorts the rows by key and leaves one of each: the greatest version, or none but one may be there.
    pub(crate) fn resolve(&self) -> Result<Resolved, WriteError> {
        let mut order: Vec<u32> = (0..self.entries.len() as u32).collect();
        order.sort_unstable_by(|a, b| {
            self.compare_keys(*a, *b)
                .then_with(|| compare_versions(&self.times(*b), &self.times(*a)))
        });
        let mut ties = 0;
        let mut kept = Vec::with_capacity(order.len());
        for versions in order.chunk_by(|a, b| self.compare_keys(*a, *b).is_eq()) {
            if versions.len() > 1 && self.options.duplicates == DuplicateKeys::Refuse {
                return Err(WriteError::DuplicateKey {
                    key: KeyRef::from_verified(self.key(versions[0])).to_string(),
                });
            }
            let newest = self.times(versions[0]);
            let tied = versions.partition_point(|row| self.times(*row) == newest);
            let (greatest, contradicting) = self.greatest(&versions[..tied]);
            kept.push(greatest);
            ties += contradicting;
        }
        Ok(Resolved { order: kept, ties })
    }

    pub(crate) fn hash(&self, row: u32) -> u64 {
        self.entries[row as usize].hash
    }

    pub(crate) fn key(&self, row: u32) -> &[u8] {
        self.entries[row as usize].key.slice(&self.keys)
    }

    pub(crate) fn row(&self, row: u32) -> &[u8] {
        let row_bytes = self.layout.row_bytes();
        let start = row as usize * row_bytes;
        &bytemuck::cast_slice(&self.rows)[start..start + row_bytes]
    }

    /// Checks everything but the types of the values, before anything is changed.
    fn check(
        &self,
        row: u64,
        key: KeyRef<'_>,
        times: [Option<EventTime>; 2],
        values: &[Value<'_>],
    ) -> Result<(), WriteError> {
        if let Err(source) = key.check_types(&self.key_types) {
            return Err(WriteError::Key {
                row,
                key: key.to_string(),
                source,
            });
        }
        let watermark = self.options.watermark;
        for time in times.into_iter().flatten() {
            if time > watermark {
                return Err(WriteError::AfterWatermark { row, time, watermark });
            }
        }
        let features = &self.options.schema.features;
        if values.len() != features.len() {
            return Err(WriteError::ValueCount {
                row,
                expected: features.len(),
                found: values.len(),
            });
        }
        let mut heap_bytes = self.heap.len() as u64;
        for (feature, value) in features.iter().zip(values) {
            let value_bytes = match value {
                Value::String(text) => text.len(),
                Value::Bytes(bytes) => bytes.len(),
                _ => 0,
            };
            if value_bytes > MAX_VALUE_BYTES {
                return Err(WriteError::ValueBytes {
                    row,
                    feature: feature.name.clone(),
                    value_bytes,
                });
            }
            heap_bytes += value_bytes as u64;
        }
        let key_bytes = (self.keys.len() + key.as_bytes().len()) as u64;
        for (what, found, limit) in [
            ("rows", self.entries.len() as u64 + 1, MAX_ROWS),
            ("bytes of keys", key_bytes, Extent::MAX_OFFSET - 1),
            ("bytes of values", heap_bytes, Extent::MAX_OFFSET - 1),
        ] {
            if found > limit {
                return Err(WriteError::TooLarge { what, limit });
            }
        }
        Ok(())
    }

    fn compare_keys(&self, a: u32, b: u32) -> Ordering {
        let key = |row| (self.hash(row), self.key(row));
        key(a).cmp(&key(b))
    }

    /// The version of a row without its bytes: they are made only where the times tie.
    fn times(&self, row: u32) -> Version<'static> {
        Version {
            event_time: EventTime(event_time_us(self.row(row))),
            known_at: self.entries[row as usize].known_at,
            row: &[],
        }
    }

    /// The greatest of versions that have the same times, and how many of the others differ from it.
    fn greatest(&self, tied: &[u32]) -> (u32, u64) {
        if let [only] = tied {
            return (*only, 0);
        }
        let mut greatest = tied[0];
        let mut greatest_bytes = Vec::new();
        let mut bytes = Vec::new();
        let mut same = 0;
        for row in tied {
            bytes.clear();
            self.encode(*row, &mut bytes);
            let times = self.times(*row);
            let version = Version { row: &bytes, ..times };
            let best = Version {
                row: &greatest_bytes,
                ..times
            };
            match compare_versions(&version, &best) {
                Ordering::Less => {}
                Ordering::Equal => same += 1,
                Ordering::Greater => {
                    greatest = *row;
                    core::mem::swap(&mut greatest_bytes, &mut bytes);
                    same = 1;
                }
            }
        }
        (greatest, (tied.len() - same) as u64)
    }

    fn encode(&self, row: u32, out: &mut Vec<u8>) {
        for feature in 0..self.layout.feature_count() {
            let value = self.layout.value(self.row(row), &self.heap, feature);
            encode_row(&[value], out);
        }
    }
}

/// Gives a row its place in the file: its key and its values are at the ends of those written before it.
pub(crate) fn place_row(layout: &RowLayout, row: &mut [u8], key_bytes: usize, keys_end: &mut u64, heap_end: &mut u64) {
    let place = |end: &mut u64, len: u32| {
        let offset = *end;
        *end += u64::from(len);
        Extent { offset, len }
    };
    put_key_extent(row, place(keys_end, key_bytes as u32));
    for feature in 0..layout.feature_count() {
        if !layout.is_present(row, feature) {
            continue;
        }
        if let Some(extent) = layout.extent(row, feature) {
            layout.put_extent(row, feature, place(heap_end, extent.len));
        }
    }
}
