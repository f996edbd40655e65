//! The checks of opening, from the outside in: each relies only on those before it.
//!
//! 1. The header: magic, checksum, version, lengths against the file's ([`Header::decode`]).
//! 2. The checksums: of the checksum section by the header, of every block by that section. Nothing but the header is read
//!    before this held.
//! 3. The metadata: rkyv's validation, then the schema's limits.
//! 4. The rows: every key in a slot where its lookup finds it, the masks those of the keys, every value in range, valid for
//!    its type and canonical, and where the one before it ended.
//! 5. The overflow rows: in order, and found.
//!
//! What is left can differ from a writer's file only in its values and in which of its slots a key has.

use unskew_frame::{ColumnType, canonical_f32, canonical_f64};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::Flaw;
use crate::header::{BLOCK_BYTES, HEADER_BYTES, Header, Section, u32_at, u64_at};
use crate::map::Map;
use crate::open_options::{OpenOptions, OpenProgress, OpenStage, Residency};
use crate::parallel::Threads;
use crate::placement::mask_bit;
use crate::row_layout::{Extent, LONG_KEY, MASK, OCCUPIED, REMOVED, RowLayout, event_time_us, key_extent};
use crate::schema::MAX_VALUE_BYTES;
use crate::snapshot::Ranges;
use crate::{EventTime, KeyRef, KeyType, Snapshot, metadata};

/// What a thread checks at a time: enough that starting it does not show, little enough that progress does.
const CHUNK_BYTES: u64 = 32 << 20;

/// The snapshot of these bytes, if they are one.
pub(crate) fn verify(
    map: Map,
    options: &OpenOptions,
    progress: &mut dyn FnMut(OpenProgress),
) -> Result<Snapshot, Flaw> {
    let threads = Threads::new(options.threads);
    let header = Header::decode(map.bytes(), map.bytes().len() as u64)?;
    let is_prefaulted = check_blocks(&map, &header, threads, progress)?;

    let bytes = map.bytes();
    let metadata_at = header.range(Section::Metadata).start;
    let in_metadata = |flaw: String| Flaw::corrupt(Section::Metadata, metadata_at, flaw);
    let meta = metadata::decode(section(bytes, &header, Section::Metadata)).map_err(in_metadata)?;
    if meta.row_count != header.shape.row_count {
        return Err(in_metadata(format!(
            "it counts {} rows, the header {}",
            meta.row_count, header.shape.row_count
        )));
    }
    if meta.event_times.is_some() != (meta.row_count > meta.removed_count) {
        return Err(in_metadata(
            "it has event times without rows, or rows without event times".to_owned(),
        ));
    }
    let layout = RowLayout::new(&meta.schema.features, header.shape.key_bytes as usize)
        .filter(|layout| layout.row_bytes() == header.shape.row_bytes as usize)
        .ok_or_else(|| in_metadata("rows of its features have another width".to_owned()))?;

    let mut snapshot = Snapshot {
        ranges: Ranges::new(&header),
        map,
        header,
        layout,
        meta,
        residency: Residency::default(),
    };
    check_rows(&snapshot, threads, progress)?;
    snapshot.residency = Residency::new(&snapshot.map, options, is_prefaulted);
    Ok(snapshot)
}

/// Checks every block's checksum; tells whether the kernel brought all pages into memory.
fn check_blocks(
    map: &Map,
    header: &Header,
    threads: Threads,
    progress: &mut dyn FnMut(OpenProgress),
) -> Result<bool, Flaw> {
    let bytes = map.bytes();
    map.advise_huge_pages();
    let checksums = section(bytes, header, Section::Checksums);
    let checksums_at = header.range(Section::Checksums).start;
    if xxh3_64(checksums) != header.checksums_digest {
        return Err(Flaw::corrupt(
            Section::Checksums,
            checksums_at,
            "the checksum of the checksums does not match",
        ));
    }
    let check = |chunk: core::ops::Range<u64>| {
        let start = (chunk.start * BLOCK_BYTES) as usize;
        let end = ((chunk.end * BLOCK_BYTES) as usize).min(bytes.len());
        let is_populated = map.populate(start, end - start);
        for index in chunk {
            let block = block(index, checksums_at);
            let start = block.start as u64;
            if xxh3_64(bytes.get(block).unwrap_or(&[])) != u64_at(checksums, 8 * index as usize) {
                return Err(Flaw::corrupt(
                    header.section_at(start),
                    start,
                    format!("the checksum of the block that begins here, number {index}, does not match"),
                ));
            }
        }
        Ok(is_populated)
    };
    let block_count = checksums_at.div_ceil(BLOCK_BYTES);
    let mut is_prefaulted = true;
    for wave in waves(block_count, CHUNK_BYTES / BLOCK_BYTES, threads) {
        let blocks_done = wave.last().map_or(0, |chunk| chunk.end);
        is_prefaulted &= threads.each(wave, check)?.iter().all(|is_populated| *is_populated);
        progress(OpenProgress {
            stage: OpenStage::Checking,
            bytes_done: (blocks_done * BLOCK_BYTES).min(header.file_bytes()),
            bytes_total: header.file_bytes(),
        });
    }
    Ok(is_prefaulted)
}

/// The bytes of a block of a file whose checksums begin at `data_end`.
pub(crate) fn block(index: u64, data_end: u64) -> core::ops::Range<usize> {
    let start = (index * BLOCK_BYTES).max(HEADER_BYTES as u64);
    let end = ((index + 1) * BLOCK_BYTES).min(data_end);
    start as usize..end.max(start) as usize
}

/// `count` things in chunks, as many chunks at a time as there are threads.
fn waves(count: u64, chunk: u64, threads: Threads) -> impl Iterator<Item = Vec<core::ops::Range<u64>>> {
    let chunk = chunk.max(1);
    let wave = chunk.saturating_mul(threads.count() as u64);
    (0..count.div_ceil(wave)).map(move |number| {
        let end = ((number + 1) * wave).min(count);
        let starts = (number * wave..end).step_by(chunk as usize);
        starts.map(|start| start..(start + chunk).min(end)).collect()
    })
}

/// Checks the rows of all groups and the overflow rows, and that together they have all keys and values.
fn check_rows(snapshot: &Snapshot, threads: Threads, progress: &mut dyn FnMut(OpenProgress)) -> Result<(), Flaw> {
    let header = &snapshot.header;
    let shape = header.shape;
    let group_bytes = u64::from(shape.index.group_slots) * u64::from(shape.row_bytes);
    let mut found = Found::default();
    for wave in waves(
        shape.index.group_count.into(),
        CHUNK_BYTES / group_bytes.max(1),
        threads,
    ) {
        let groups_done = wave.last().map_or(0, |chunk| chunk.end);
        let parts = threads.each(wave, |groups| RowCheck::new(snapshot).check_groups(groups))?;
        for part in parts {
            found
                .join(part)
                .map_err(|section| out_of_place(header, section, found))?;
        }
        progress(OpenProgress {
            stage: OpenStage::CheckingRows,
            bytes_done: groups_done * group_bytes,
            bytes_total: shape.slot_count() * u64::from(shape.row_bytes),
        });
    }
    let overflow = RowCheck::new(snapshot).check_overflow()?;
    found
        .join(overflow)
        .map_err(|section| out_of_place(header, section, found))?;
    if found.row_count != shape.row_count {
        let flaw = format!(
            "there are {} rows, the header counts {}",
            found.row_count, shape.row_count
        );
        return Err(Flaw::corrupt(Section::Rows, header.range(Section::Rows).start, flaw));
    }
    if found.removed_count != snapshot.meta.removed_count {
        let flaw = format!(
            "it counts {} removed keys, there are {}",
            snapshot.meta.removed_count, found.removed_count
        );
        let offset = header.range(Section::Metadata).start;
        return Err(Flaw::corrupt(Section::Metadata, offset, flaw));
    }
    for (section, end) in [(Section::Keys, found.keys_end), (Section::Heap, found.heap_end)] {
        let range = header.range(section);
        if end.unwrap_or(0) != range.end - range.start {
            let flaw = "no row has the bytes from here on";
            return Err(Flaw::corrupt(section, range.start + end.unwrap_or(0), flaw));
        }
    }
    Ok(())
}

fn out_of_place(header: &Header, section: Section, found: Found) -> Flaw {
    let end = match section {
        Section::Keys => found.keys_end,
        _ => found.heap_end,
    };
    let offset = header.range(section).start + end.unwrap_or(0);
    Flaw::corrupt(section, offset, "the next row's bytes do not begin here")
}

/// What the rows of a part of the file have; parts are joined in order.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    row_count: u64,
    removed_count: u64,
    /// Where the first long key and the first value of the heap begin, and the last ones end; `None` without any.
    keys_start: Option<u64>,
    keys_end: Option<u64>,
    heap_start: Option<u64>,
    heap_end: Option<u64>,
}

impl Found {
    /// Adds the part that follows; the section where it does not follow, otherwise.
    fn join(&mut self, next: Self) -> Result<(), Section> {
        if next.keys_start.is_some_and(|start| start != self.keys_end.unwrap_or(0)) {
            return Err(Section::Keys);
        }
        if next.heap_start.is_some_and(|start| start != self.heap_end.unwrap_or(0)) {
            return Err(Section::Heap);
        }
        self.row_count += next.row_count;
        self.removed_count += next.removed_count;
        self.keys_end = next.keys_end.or(self.keys_end);
        self.heap_end = next.heap_end.or(self.heap_end);
        Ok(())
    }
}

/// The pass over some of the rows.
struct RowCheck<'a> {
    snapshot: &'a Snapshot,
    layout: &'a RowLayout,
    key_types: Vec<KeyType>,
    keys: &'a [u8],
    heap: &'a [u8],
    event_times: core::ops::RangeInclusive<EventTime>,
    found: Found,
}

impl<'a> RowCheck<'a> {
    fn new(snapshot: &'a Snapshot) -> Self {
        let (first, last) = snapshot.meta.event_times.unwrap_or((EventTime(0), EventTime(0)));
        Self {
            snapshot,
            layout: &snapshot.layout,
            key_types: snapshot.meta.schema.key_types(),
            keys: snapshot.section(&snapshot.ranges.keys),
            heap: snapshot.heap(),
            event_times: first..=last.min(snapshot.meta.watermark),
            found: Found::default(),
        }
    }

    fn check_groups(mut self, groups: core::ops::Range<u64>) -> Result<Found, Flaw> {
        let index = self.snapshot.header.shape.index;
        let mut masks = Vec::new();
        for group in groups {
            let first = group as u32 * index.group_slots;
            masks.clear();
            masks.resize(index.group_slots as usize, 0);
            for slot in first..first + index.group_slots {
                self.check_slot(slot, first, &mut masks)
                    .map_err(|flaw| self.in_row(slot, &flaw))?;
            }
            for (slot, mask) in (first..).zip(&masks) {
                if self.layout.flags(self.snapshot.row_bytes(slot)) & MASK != *mask {
                    return Err(self.in_row(slot, "the mask is not that of the keys of this home"));
                }
            }
        }
        Ok(self.found)
    }

    /// A row that is found under its key, or zeros.
    fn check_slot(&mut self, slot: u32, first: u32, masks: &mut [u8]) -> Result<(), String> {
        let row = self.snapshot.row_bytes(slot);
        let flags = self.layout.flags(row);
        if flags & OCCUPIED == 0 {
            let flags_offset = self.layout.flags_offset();
            let is_zero = row
                .iter()
                .enumerate()
                .all(|(offset, byte)| *byte == 0 || offset == flags_offset);
            let is_blank = is_zero && flags & !MASK == 0;
            return is_blank
                .then_some(())
                .ok_or_else(|| "a slot without a row is not zero".to_owned());
        }
        let key = self.check_row(row, flags)?;
        let slots = self.snapshot.header.shape.index.slots(key.hash());
        let number = slots
            .number_of(slot)
            .ok_or("the row is not where its key is looked for")?;
        masks[(slots.home - first) as usize] |= mask_bit(number);
        if self.snapshot.find(key, key.hash()) != Some(slot) {
            let flaw =
                "a lookup of the key does not find the row: the key is there twice, or its home does not name it";
            return Err(flaw.to_owned());
        }
        Ok(())
    }

    fn check_overflow(mut self) -> Result<Found, Flaw> {
        let snapshot = self.snapshot;
        let first = snapshot.header.shape.index.slot_count() as u32;
        let overflow_at = snapshot.header.range(Section::Overflow).start;
        let mut previous = None;
        for (slot, hash) in (first..).zip(snapshot.overflow_hashes()) {
            let row = snapshot.row_bytes(slot);
            let flags = self.layout.flags(row);
            if flags & OCCUPIED == 0 || flags & MASK != 0 {
                return Err(self.in_row(slot, "the flags are not those of an overflow row"));
            }
            let key = self.check_row(row, flags).map_err(|flaw| self.in_row(slot, &flaw))?;
            if previous >= Some((*hash, key)) || key.hash() != *hash {
                let offset = overflow_at + 8 * u64::from(slot - first);
                let flaw = "the hash is not that of the key, or not in order";
                return Err(Flaw::corrupt(Section::Overflow, offset, flaw));
            }
            if snapshot.find(key, *hash) != Some(slot) {
                return Err(self.in_row(slot, "the key is there twice"));
            }
            previous = Some((*hash, key));
        }
        Ok(self.found)
    }

    /// Everything of a row that has one but its place; gives its key.
    fn check_row(&mut self, row: &'a [u8], flags: u8) -> Result<KeyRef<'a>, String> {
        self.found.row_count += 1;
        let is_removed = flags & REMOVED != 0;
        if is_removed && self.snapshot.meta.delta.is_none() {
            return Err("a key is removed, and the file is no delta".to_owned());
        }
        let key = self.check_key(row, flags)?;
        if is_removed {
            self.found.removed_count += 1;
            return self.check_removed(row).map(|()| key);
        }
        if !self.event_times.contains(&EventTime(event_time_us(row))) {
            let flaw = "the event time is later than the watermark, or not among those that the metadata names";
            return Err(flaw.to_owned());
        }
        if !self.layout.is_padding_zero(row) {
            return Err("the padding is not zero".to_owned());
        }
        for feature in 0..self.layout.feature_count() {
            self.check_value(row, feature)
                .map_err(|flaw| format!("feature {feature}: {flaw}"))?;
        }
        Ok(key)
    }

    /// A removed key has nothing besides.
    fn check_removed(&self, row: &[u8]) -> Result<(), String> {
        let layout = self.layout;
        let is_zero = event_time_us(row) == 0
            && layout.is_padding_zero(row)
            && (0..layout.feature_count()).all(|feature| {
                !layout.is_present(row, feature) && layout.slot_bytes(row, feature).iter().all(|byte| *byte == 0)
            });
        is_zero
            .then_some(())
            .ok_or_else(|| "a removed key has a time or a value".to_owned())
    }

    fn check_key(&mut self, row: &'a [u8], flags: u8) -> Result<KeyRef<'a>, &'static str> {
        let slot = self.layout.key_slot(row);
        let bytes = if flags & LONG_KEY == 0 {
            let bytes = self.snapshot.key_bytes(row);
            if slot
                .get(bytes.len()..)
                .is_none_or(|rest| rest.iter().any(|byte| *byte != 0))
            {
                return Err("there is more behind the key");
            }
            bytes
        } else {
            let is_padded = slot.len() >= 8 && slot[8..].iter().all(|byte| *byte == 0);
            if !is_padded || key_extent(row).len as usize <= slot.len() {
                return Err("a key that is not long is said to be");
            }
            let (start, end) = (&mut self.found.keys_start, &mut self.found.keys_end);
            next(self.keys, start, end, key_extent(row)).ok_or("the key is out of place")?
        };
        let key = KeyRef::from_bytes(bytes).map_err(|_| "the key is malformed")?;
        if !key.has_types(&self.key_types) {
            return Err("the key is not of the schema's types");
        }
        Ok(key)
    }

    fn check_value(&mut self, row: &[u8], feature: usize) -> Result<(), &'static str> {
        let slot = self.layout.slot_bytes(row, feature);
        if !self.layout.is_present(row, feature) {
            let is_zero = slot.iter().all(|byte| *byte == 0);
            return is_zero.then_some(()).ok_or("a null is not zero");
        }
        if let Some(extent) = self.layout.extent(row, feature) {
            let (start, end) = (&mut self.found.heap_start, &mut self.found.heap_end);
            let bytes = next(self.heap, start, end, extent).ok_or("the value is out of place")?;
            let is_text = self.layout.column_type(feature) == ColumnType::String;
            if is_text && core::str::from_utf8(bytes).is_err() {
                return Err("the text is not UTF-8");
            }
            if bytes.len() > MAX_VALUE_BYTES {
                return Err("the value is too long");
            }
            return Ok(());
        }
        let is_canonical = match self.layout.column_type(feature) {
            ColumnType::F64 => {
                let bits = u64_at(slot, 0);
                canonical_f64(f64::from_bits(bits)).to_bits() == bits
            }
            ColumnType::F32 | ColumnType::Vector(_) => slot.chunks_exact(4).all(|chunk| {
                let bits = u32_at(chunk, 0);
                canonical_f32(f32::from_bits(bits)).to_bits() == bits
            }),
            ColumnType::Bool => slot.first().is_some_and(|byte| *byte <= 1),
            ColumnType::I64 | ColumnType::Timestamp | ColumnType::String | ColumnType::Bytes => true,
        };
        is_canonical
            .then_some(())
            .ok_or("the value is not in its canonical form")
    }

    fn in_row(&self, slot: u32, flaw: &str) -> Flaw {
        let header = &self.snapshot.header;
        let offset = header.range(Section::Rows).start + u64::from(slot) * u64::from(header.shape.row_bytes);
        Flaw::corrupt(Section::Rows, offset, format!("slot {slot}: {flaw}"))
    }
}

/// The bytes of `extent`, which must begin where the ones before it ended, the part's first excepted; moves that end. A value
/// of no bytes has an offset, too.
fn next<'a>(store: &'a [u8], start: &mut Option<u64>, end: &mut Option<u64>, extent: Extent) -> Option<&'a [u8]> {
    if end.is_some_and(|end| end != extent.offset) {
        return None;
    }
    start.get_or_insert(extent.offset);
    let behind = extent.offset + u64::from(extent.len);
    *end = Some(behind);
    store.get(extent.offset as usize..behind as usize)
}

fn section<'a>(bytes: &'a [u8], header: &Header, section: Section) -> &'a [u8] {
    let range = header.range(section);
    bytes.get(range.start as usize..range.end as usize).unwrap_or(&[])
}
