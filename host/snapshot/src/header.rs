use core::fmt;
use core::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

use crate::error::Flaw;
use crate::index::{Index, SPREAD};
use crate::key::MAX_KEY_BYTES;
use crate::schema::MAX_ROW_BYTES;

/// The version of the file layout: docs/snapshot-format.md.
pub const FORMAT_VERSION: u32 = 1;
/// The most rows of a snapshot: their slots are counted in u32.
pub const MAX_ROWS: u64 = 3_900_000_000;

/// The first byte is no ASCII, so a 7-bit transfer clears its top bit; CR LF, ^Z and LF show a text-mode transfer. After
/// PNG, ISO/IEC 15948 section 5.2.
pub(crate) const MAGIC: [u8; 8] = *b"\x89USK\r\n\x1a\n";
pub(crate) const HEADER_BYTES: usize = 256;
/// Checksums are of blocks of this size, counted from the start of the file; the header is not part of the first.
pub(crate) const BLOCK_BYTES: u64 = 64 << 10;
/// Where sections begin, so that rkyv, u64 and f32 values are read in place.
pub(crate) const SECTION_ALIGN: u64 = 64;

const SECTION_COUNT: usize = Section::STORED.len();
const TABLE_OFFSET: usize = 64;
const ENTRY_BYTES: usize = 24;
const CHECKSUMS_DIGEST_OFFSET: usize = HEADER_BYTES - 16;
const DIGEST_OFFSET: usize = HEADER_BYTES - 8;
/// Bounds of the header's length in any version, with its checksum in the last 8 bytes.
const ANY_HEADER_BYTES: Range<usize> = 64..4_097;

const _: () = assert!(TABLE_OFFSET + SECTION_COUNT * ENTRY_BYTES <= CHECKSUMS_DIGEST_OFFSET);
const _: () = assert!((HEADER_BYTES as u64).is_multiple_of(SECTION_ALIGN));
const _: () = assert!(BLOCK_BYTES.is_multiple_of(SECTION_ALIGN));

/// A part of a snapshot file, as errors name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Section {
    /// Magic, version, counts, section table.
    Header,
    /// Schema, watermark, origin.
    Metadata,
    /// The fixed-width rows, with their keys.
    Rows,
    /// The hashes of the keys of the rows that found no slot.
    Overflow,
    /// The keys that are too long for their rows.
    Keys,
    /// Strings and bytes.
    Heap,
    /// The checksum of every block.
    Checksums,
}

impl Section {
    /// The sections behind the header, in the order of the file.
    pub(crate) const STORED: [Self; 6] = [
        Self::Metadata,
        Self::Rows,
        Self::Overflow,
        Self::Keys,
        Self::Heap,
        Self::Checksums,
    ];
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Metadata => "metadata",
            Self::Rows => "rows",
            Self::Overflow => "overflow",
            Self::Keys => "keys",
            Self::Heap => "heap",
            Self::Checksums => "checksums",
        })
    }
}

/// The header of a snapshot file, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) shape: Shape,
    /// The xxh3 of the checksum section.
    pub(crate) checksums_digest: u64,
    /// By the order of [`Section::STORED`].
    sections: [Range<u64>; SECTION_COUNT],
}

/// How the rows of a file are arranged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) row_count: u64,
    pub(crate) row_bytes: u32,
    /// The width of the place for the key.
    pub(crate) key_bytes: u32,
    pub(crate) index: Index,
    /// Rows behind those of the groups.
    pub(crate) overflow_count: u32,
}

impl Shape {
    /// The slots of all groups and the overflow rows.
    pub(crate) fn slot_count(self) -> u64 {
        self.index.slot_count() + u64::from(self.overflow_count)
    }
}

impl Header {
    /// The header of a file whose sections have these lengths.
    pub(crate) fn new(shape: Shape, section_bytes: [u64; SECTION_COUNT - 1]) -> Self {
        let mut sections = [const { 0..0 }; SECTION_COUNT];
        let mut end = HEADER_BYTES as u64;
        for (section, bytes) in sections.iter_mut().zip(section_bytes) {
            let start = end.next_multiple_of(SECTION_ALIGN);
            end = start + bytes;
            *section = start..end;
        }
        let start = end.next_multiple_of(SECTION_ALIGN);
        sections[SECTION_COUNT - 1] = start..start + 8 * start.div_ceil(BLOCK_BYTES);
        Self {
            shape,
            checksums_digest: 0,
            sections,
        }
    }

    /// Where a section is; of the header itself, its length.
    pub(crate) fn range(&self, section: Section) -> Range<u64> {
        match Section::STORED.iter().position(|s| *s == section) {
            Some(index) => self.sections[index].clone(),
            None => 0..HEADER_BYTES as u64,
        }
    }

    /// The section that holds the byte at `offset`, or the padding before it.
    pub(crate) fn section_at(&self, offset: u64) -> Section {
        let index = self.sections.iter().position(|range| offset < range.end);
        index.map_or(Section::Checksums, |index| Section::STORED[index])
    }

    pub(crate) fn file_bytes(&self) -> u64 {
        self.range(Section::Checksums).end
    }

    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut put = |offset: usize, field: &[u8]| {
            bytes[offset..offset + field.len()].copy_from_slice(field);
        };
        put(0, &MAGIC);
        put(8, &FORMAT_VERSION.to_le_bytes());
        put(12, &(HEADER_BYTES as u32).to_le_bytes());
        put(16, &self.file_bytes().to_le_bytes());
        put(24, &self.shape.row_count.to_le_bytes());
        put(32, &self.shape.row_bytes.to_le_bytes());
        put(36, &self.shape.key_bytes.to_le_bytes());
        put(40, &self.shape.index.group_count.to_le_bytes());
        put(44, &self.shape.index.group_slots.to_le_bytes());
        put(48, &self.shape.overflow_count.to_le_bytes());
        put(52, &(BLOCK_BYTES as u32).to_le_bytes());
        put(56, &(SECTION_COUNT as u32).to_le_bytes());
        for (index, range) in self.sections.iter().enumerate() {
            let entry = TABLE_OFFSET + index * ENTRY_BYTES;
            put(entry, &(index as u32 + 1).to_le_bytes());
            put(entry + 8, &range.start.to_le_bytes());
            put(entry + 16, &(range.end - range.start).to_le_bytes());
        }
        put(CHECKSUMS_DIGEST_OFFSET, &self.checksums_digest.to_le_bytes());
        let digest = xxh3_64(&bytes[..DIGEST_OFFSET]);
        bytes[DIGEST_OFFSET..].copy_from_slice(&digest.to_le_bytes());
        bytes
    }

    /// The header of a file of `file_bytes` bytes that begins with `start`, checked: what it says of lengths and places is so.
    /// Allocates nothing unless it fails.
    ///
    /// A header has one encoding, so whatever else its bytes say is found by encoding the result again.
    pub(crate) fn decode(start: &[u8], file_bytes: u64) -> Result<Self, Flaw> {
        let corrupt = |offset, flaw: String| Flaw::corrupt(Section::Header, offset, flaw);
        let header_bytes = check_start(start)?;
        let version = u32_at(start, 8);
        if version != FORMAT_VERSION {
            return Err(Flaw::Version(version));
        }
        if header_bytes != HEADER_BYTES {
            return Err(corrupt(12, format!("the header has {header_bytes} bytes")));
        }
        let stated_bytes = u64_at(start, 16);
        if stated_bytes != file_bytes {
            return Err(corrupt(
                16,
                format!("the header is of a file of {stated_bytes} bytes, the file has {file_bytes}"),
            ));
        }
        let mut section_bytes = [0; SECTION_COUNT - 1];
        for (index, bytes) in section_bytes.iter_mut().enumerate() {
            let offset = TABLE_OFFSET + index * ENTRY_BYTES + 16;
            *bytes = u64_at(start, offset);
            // Bounds the sums of `new`, too.
            if *bytes > file_bytes {
                return Err(corrupt(offset as u64, format!("a section of {bytes} bytes")));
            }
        }
        let shape = Shape {
            row_count: u64_at(start, 24),
            row_bytes: u32_at(start, 32),
            key_bytes: u32_at(start, 36),
            index: Index {
                group_count: u32_at(start, 40),
                group_slots: u32_at(start, 44),
            },
            overflow_count: u32_at(start, 48),
        };
        let mut header = Self::new(shape, section_bytes);
        header.checksums_digest = u64_at(start, CHECKSUMS_DIGEST_OFFSET);
        header.check_sizes()?;
        let encoded = header.encode();
        match (0..HEADER_BYTES).find(|index| encoded[*index] != start[*index]) {
            None => Ok(header),
            Some(offset) => Err(corrupt(offset as u64, "the header contradicts itself".to_owned())),
        }
    }

    /// Checks the sections' lengths against the counts, which bounds those before anything is allocated for them.
    fn check_sizes(&self) -> Result<(), Flaw> {
        let corrupt = |offset, flaw: &str| Flaw::corrupt(Section::Header, offset, flaw);
        let shape = self.shape;
        if shape.row_bytes as usize > MAX_ROW_BYTES {
            return Err(corrupt(32, "the width of a row is out of range"));
        }
        if shape.key_bytes as usize > MAX_KEY_BYTES {
            return Err(corrupt(36, "the width of a key is out of range"));
        }
        if shape.index.group_count == 0 {
            return Err(corrupt(40, "there is no group"));
        }
        if shape.index.group_slots <= SPREAD {
            return Err(corrupt(44, "a group has too few slots"));
        }
        if shape.slot_count() > u64::from(u32::MAX) {
            return Err(corrupt(40, "there are more slots than a u32 counts"));
        }
        let rows = u64::from(shape.overflow_count)..shape.slot_count() + 1;
        if shape.row_count > MAX_ROWS || !rows.contains(&shape.row_count) {
            return Err(corrupt(24, "the row count is not one of these slots"));
        }
        let expected = [
            (Section::Rows, shape.slot_count() * u64::from(shape.row_bytes)),
            (Section::Overflow, 8 * u64::from(shape.overflow_count)),
        ];
        for (section, expected) in expected {
            let range = self.range(section);
            if range.end - range.start != expected {
                return Err(corrupt(
                    TABLE_OFFSET as u64,
                    &format!("the {section} section should have {expected} bytes"),
                ));
            }
        }
        Ok(())
    }
}

/// Checks what every version begins with, and gives the length of the header: the magic, and the header's checksum in its
/// last 8 bytes. It comes before the version, so that a damaged version is not taken for a newer one.
fn check_start(file: &[u8]) -> Result<usize, Flaw> {
    let corrupt = |offset, flaw: &str| Flaw::corrupt(Section::Header, offset, flaw);
    let magic = &file[..file.len().min(MAGIC.len())];
    if magic != &MAGIC[..magic.len()] {
        if magic.get(1..4) == Some(&MAGIC[1..4]) {
            let flaw = "the first bytes are changed, as by a transfer in text mode";
            return Err(corrupt(0, flaw));
        }
        return Err(Flaw::NotASnapshot);
    }
    if file.len() < 16 {
        return Err(corrupt(file.len() as u64, "the file ends in its header"));
    }
    let header_bytes = u32_at(file, 12) as usize;
    if !ANY_HEADER_BYTES.contains(&header_bytes) {
        return Err(corrupt(12, "the length of the header is out of range"));
    }
    if file.len() < header_bytes {
        return Err(corrupt(file.len() as u64, "the file ends in its header"));
    }
    let digest_offset = header_bytes - 8;
    if xxh3_64(&file[..digest_offset]) != u64_at(file, digest_offset) {
        let flaw = "the checksum of the header does not match";
        return Err(corrupt(digest_offset as u64, flaw));
    }
    Ok(header_bytes)
}

/// The u32 at `offset`, 0 beyond the end.
#[inline]
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    bytes
        .get(offset..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

/// The u64 at `offset`, 0 beyond the end.
#[inline]
pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    bytes
        .get(offset..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |chunk| u64::from_le_bytes(*chunk))
}
