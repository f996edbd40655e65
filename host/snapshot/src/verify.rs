//! The checks of opening, from the outside in: each relies only on those before it.
//!
//! 1. The header: magic, checksum, version, lengths against the file's ([`Header::decode`]).
//! 2. The checksums: of the checksum section by the header, of every block by that section. Nothing but the header is read
//!    before this held.
//! 3. The metadata: rkyv's validation, then the schema's limits.
//! 4. The index: buckets in order and covering all rows, hashes in order and in their buckets.
//! 5. The rows: every key and value in range, valid for its type, canonical, and where the one before it ended.
//!
//! A file has one encoding, so what is left can differ from a writer's file only in its values.

use unskew_frame::{ColumnType, canonical_f32, canonical_f64};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::Flaw;
use crate::header::{BLOCK_BYTES, HEADER_BYTES, Header, Section, u32_at, u64_at};
use crate::map::Map;
use crate::row_layout::{Extent, RowLayout, event_time_us, key_extent};
use crate::schema::MAX_VALUE_BYTES;
use crate::snapshot::{Ranges, bucket_of};
use crate::{KeyRef, KeyType, Snapshot, metadata};

/// The snapshot of these bytes, if they are one.
pub(crate) fn verify(map: Map) -> Result<Snapshot, Flaw> {
    let bytes = map.bytes();
    let header = Header::decode(bytes)?;
    check_blocks(bytes, &header)?;

    let metadata_at = header.range(Section::Metadata).start;
    let in_metadata = |flaw: String| Flaw::corrupt(Section::Metadata, metadata_at, flaw);
    let meta = metadata::decode(section(bytes, &header, Section::Metadata)).map_err(in_metadata)?;
    if meta.row_count != header.row_count {
        return Err(in_metadata(format!(
            "it counts {} rows, the header {}",
            meta.row_count, header.row_count
        )));
    }
    let layout = RowLayout::new(&meta.schema.features)
        .filter(|layout| layout.row_bytes() == header.row_bytes as usize)
        .ok_or_else(|| in_metadata("rows of its features have another width".to_owned()))?;

    let snapshot = Snapshot {
        ranges: Ranges::new(&header),
        map,
        header,
        layout,
        meta,
    };
    check_index(&snapshot)?;
    RowCheck::new(&snapshot).check()?;
    Ok(snapshot)
}

/// The blocks of a file whose checksums begin at `data_end`.
pub(crate) fn blocks(data_end: u64) -> impl Iterator<Item = core::ops::Range<usize>> {
    (0..data_end.div_ceil(BLOCK_BYTES)).map(move |index| {
        let start = (index * BLOCK_BYTES).max(HEADER_BYTES as u64);
        let end = ((index + 1) * BLOCK_BYTES).min(data_end);
        start as usize..end.max(start) as usize
    })
}

fn check_blocks(bytes: &[u8], header: &Header) -> Result<(), Flaw> {
    let checksums = section(bytes, header, Section::Checksums);
    let checksums_at = header.range(Section::Checksums).start;
    if xxh3_64(checksums) != header.checksums_digest {
        return Err(Flaw::corrupt(
            Section::Checksums,
            checksums_at,
            "the checksum of the checksums does not match",
        ));
    }
    for (index, block) in blocks(checksums_at).enumerate() {
        let start = block.start as u64;
        if xxh3_64(bytes.get(block).unwrap_or(&[])) != u64_at(checksums, 8 * index) {
            return Err(Flaw::corrupt(
                header.section_at(start),
                start,
                format!("the checksum of the block that begins here, number {index}, does not match"),
            ));
        }
    }
    Ok(())
}

fn check_index(snapshot: &Snapshot) -> Result<(), Flaw> {
    let header = &snapshot.header;
    let directory = snapshot.directory();
    let hashes = snapshot.hashes();
    let is_covering = directory.first() == Some(&0)
        && directory.last().map(|last| u64::from(*last)) == Some(header.row_count)
        && directory.is_sorted();
    if !is_covering {
        return Err(Flaw::corrupt(
            Section::Directory,
            header.range(Section::Directory).start,
            "the buckets are not in order from the first row to the last",
        ));
    }
    let hashes_at = header.range(Section::Hashes).start;
    for (bucket, ends) in directory.windows(2).enumerate() {
        let range = ends[0] as usize..ends[1] as usize;
        for index in range {
            if hashes.get(index).map(|hash| bucket_of(*hash, header.bucket_bits)) != Some(bucket) {
                return Err(Flaw::corrupt(
                    Section::Hashes,
                    hashes_at + 8 * index as u64,
                    format!("the hash is not of bucket {bucket}"),
                ));
            }
        }
    }
    Ok(())
}

/// The pass over the rows, with the places where the next key and the next value must begin.
struct RowCheck<'a> {
    snapshot: &'a Snapshot,
    layout: &'a RowLayout,
    key_types: Vec<KeyType>,
    keys: &'a [u8],
    heap: &'a [u8],
    keys_end: u64,
    heap_end: u64,
}

impl<'a> RowCheck<'a> {
    fn new(snapshot: &'a Snapshot) -> Self {
        Self {
            snapshot,
            layout: &snapshot.layout,
            key_types: snapshot.meta.schema.key_types(),
            keys: snapshot.section(&snapshot.ranges.keys),
            heap: snapshot.heap(),
            keys_end: 0,
            heap_end: 0,
        }
    }

    fn check(mut self) -> Result<(), Flaw> {
        let snapshot = self.snapshot;
        let rows_at = snapshot.header.range(Section::Rows).start;
        let rows = snapshot.section(&snapshot.ranges.rows);
        let mut previous = None;
        let rows = rows.chunks_exact(self.layout.row_bytes());
        for (index, (row, hash)) in rows.zip(snapshot.hashes()).enumerate() {
            let offset = rows_at + index as u64 * self.layout.row_bytes() as u64;
            let in_row = |flaw: &str| Flaw::corrupt(Section::Rows, offset, format!("row {index}: {flaw}"));
            let key = self.check_key(row, *hash).map_err(in_row)?;
            if previous >= Some((*hash, key)) {
                return Err(in_row("the key is not in order"));
            }
            previous = Some((*hash, key));
            if event_time_us(row) > snapshot.meta.watermark.as_micros() {
                return Err(in_row("the event time is later than the watermark"));
            }
            if self.layout.spare_presence(row) != 0 {
                return Err(in_row("a value is present that is no feature's"));
            }
            if self.layout.padding(row).iter().any(|byte| *byte != 0) {
                return Err(in_row("the padding is not zero"));
            }
            for feature in 0..self.layout.feature_count() {
                self.check_value(row, feature)
                    .map_err(|flaw| in_row(&format!("feature {feature}: {flaw}")))?;
            }
        }
        let ends = [
            (Section::Keys, self.keys_end, self.keys.len()),
            (Section::Heap, self.heap_end, self.heap.len()),
        ];
        for (section, end, len) in ends {
            if end != len as u64 {
                return Err(Flaw::corrupt(
                    section,
                    snapshot.header.range(section).start + end,
                    "no row has the bytes from here on",
                ));
            }
        }
        Ok(())
    }

    fn check_key(&mut self, row: &[u8], hash: u64) -> Result<&'a [u8], &'static str> {
        let bytes = next(self.keys, &mut self.keys_end, key_extent(row)).ok_or("the key is out of place")?;
        let key = KeyRef::from_bytes(bytes).map_err(|_| "the key is malformed")?;
        if !key.has_types(&self.key_types) {
            return Err("the key is not of the schema's types");
        }
        if key.hash() != hash {
            return Err("the hash is not that of the key");
        }
        Ok(bytes)
    }

    fn check_value(&mut self, row: &[u8], feature: usize) -> Result<(), &'static str> {
        let slot = self.layout.slot_bytes(row, feature);
        if !self.layout.is_present(row, feature) {
            let is_zero = slot.iter().all(|byte| *byte == 0);
            return is_zero.then_some(()).ok_or("a null is not zero");
        }
        if let Some(extent) = self.layout.extent(row, feature) {
            let bytes = next(self.heap, &mut self.heap_end, extent).ok_or("the value is out of place")?;
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
}

/// The bytes of `extent`, which must begin where the ones before it ended; moves that end. A value of no bytes has an
/// offset, too.
fn next<'a>(store: &'a [u8], end: &mut u64, extent: Extent) -> Option<&'a [u8]> {
    if extent.offset != *end {
        return None;
    }
    *end += u64::from(extent.len);
    store.get(extent.offset as usize..*end as usize)
}

fn section<'a>(bytes: &'a [u8], header: &Header, section: Section) -> &'a [u8] {
    let range = header.range(section);
    bytes.get(range.start as usize..range.end as usize).unwrap_or(&[])
}
