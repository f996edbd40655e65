use std::io::{self, Seek, SeekFrom, Write};

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::header::{BLOCK_BYTES, HEADER_BYTES, Header, SECTION_ALIGN};
use crate::row_store::{RowStore, place_row};
use crate::snapshot::bucket_of;
use crate::{SnapshotMeta, metadata};

/// What is written into the metadata as the builder.
const BUILDER: &str = concat!("unskew-snapshot ", env!("CARGO_PKG_VERSION"));

/// Writes the rows of `order`, which are sorted by key hash and key and have one row a key; gives the length of the file.
/// The header comes last, so that a file without one is not a snapshot.
pub(crate) fn write_snapshot(out: &mut (impl Write + Seek), rows: &RowStore, order: &[u32]) -> io::Result<u64> {
    let layout = &rows.layout;
    let metadata = metadata::encode(&meta(rows, order)).map_err(io::Error::other)?;
    let bucket_bits = bucket_bits(order.len() as u64);
    let directory_bytes = 4 * ((1 << bucket_bits) + 1);
    let key_bytes: u64 = order.iter().map(|row| rows.key(*row).len() as u64).sum();
    let mut header = Header::new(
        order.len() as u64,
        layout.row_bytes() as u32,
        bucket_bits,
        [
            metadata.len() as u64,
            directory_bytes,
            8 * order.len() as u64,
            (layout.row_bytes() * order.len()) as u64,
            key_bytes,
            heap_bytes(rows, order),
        ],
    );

    out.write_all(&[0; HEADER_BYTES])?;
    let mut blocks = BlockWriter::new(&mut *out);
    blocks.write(&metadata)?;
    blocks.align()?;
    write_directory(&mut blocks, rows, order, bucket_bits)?;
    blocks.align()?;
    for row in order {
        blocks.write(&rows.hash(*row).to_le_bytes())?;
    }
    blocks.align()?;
    let mut bytes = Vec::with_capacity(layout.row_bytes());
    let (mut keys_end, mut heap_end) = (0, 0);
    for row in order {
        bytes.clear();
        bytes.extend_from_slice(rows.row(*row));
        let key_bytes = rows.key(*row).len();
        place_row(layout, &mut bytes, key_bytes, &mut keys_end, &mut heap_end);
        blocks.write(&bytes)?;
    }
    blocks.align()?;
    for row in order {
        blocks.write(rows.key(*row))?;
    }
    blocks.align()?;
    for row in order {
        for value in heap_values(rows, *row) {
            blocks.write(value)?;
        }
    }
    blocks.align()?;

    let checksums = blocks.finish();
    out.write_all(&checksums)?;
    header.checksums_digest = xxh3_64(&checksums);
    out.seek(SeekFrom::Start(0))?;
    out.write_all(&header.encode())?;
    Ok(header.file_bytes())
}

/// As many buckets as there are groups of 4 rows, rounded down to a power of two: 4 to 8 hashes to search in each.
pub(crate) fn bucket_bits(row_count: u64) -> u32 {
    (row_count / 4).checked_ilog2().unwrap_or(0)
}

fn meta(rows: &RowStore, order: &[u32]) -> SnapshotMeta {
    let options = &rows.options;
    SnapshotMeta {
        schema: options.schema.clone(),
        watermark: options.watermark,
        module_digest: options.module_digest,
        state_version: options.state_version,
        row_count: order.len() as u64,
        builder: BUILDER.to_owned(),
    }
}

fn write_directory(
    blocks: &mut BlockWriter<impl Write>,
    rows: &RowStore,
    order: &[u32],
    bucket_bits: u32,
) -> io::Result<()> {
    let mut row = 0;
    for bucket in 0..=1_usize << bucket_bits {
        while row < order.len() && bucket_of(rows.hash(order[row]), bucket_bits) < bucket {
            row += 1;
        }
        blocks.write(&(row as u32).to_le_bytes())?;
    }
    Ok(())
}

fn heap_bytes(rows: &RowStore, order: &[u32]) -> u64 {
    let values = order.iter().flat_map(|row| heap_values(rows, *row));
    values.map(|value| value.len() as u64).sum()
}

/// The strings and bytes of a row, in the order of its features; nulls are empty.
fn heap_values(rows: &RowStore, row: u32) -> impl Iterator<Item = &[u8]> {
    (0..rows.layout.feature_count()).filter_map(move |feature| {
        let extent = rows.layout.extent(rows.row(row), feature)?;
        Some(extent.slice(&rows.heap))
    })
}

/// Writes what follows the header and takes the checksum of each block on the way.
struct BlockWriter<W> {
    out: W,
    /// From the start of the file.
    position: u64,
    block: Xxh3,
    checksums: Vec<u8>,
}

impl<W: Write> BlockWriter<W> {
    fn new(out: W) -> Self {
        Self {
            out,
            position: HEADER_BYTES as u64,
            block: Xxh3::new(),
            checksums: Vec::new(),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let block_left = BLOCK_BYTES - self.position % BLOCK_BYTES;
            let len = rest.len().min(block_left as usize);
            let head;
            (head, rest) = rest.split_at(len);
            self.out.write_all(head)?;
            self.block.update(head);
            self.position += len as u64;
            if self.position.is_multiple_of(BLOCK_BYTES) {
                self.end_block();
            }
        }
        Ok(())
    }

    /// Zeros up to where a section may begin.
    fn align(&mut self) -> io::Result<()> {
        const ZEROS: [u8; SECTION_ALIGN as usize] = [0; SECTION_ALIGN as usize];
        let padding = self.position.next_multiple_of(SECTION_ALIGN) - self.position;
        self.write(&ZEROS[..padding as usize])
    }

    /// The checksums of all blocks.
    fn finish(mut self) -> Vec<u8> {
        if !self.position.is_multiple_of(BLOCK_BYTES) {
            self.end_block();
        }
        self.checksums
    }

    fn end_block(&mut self) {
        self.checksums.extend_from_slice(&self.block.digest().to_le_bytes());
        self.block.reset();
    }
}
