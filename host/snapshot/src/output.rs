use std::io::{self, Read, Seek, SeekFrom, Write};

use xxhash_rust::xxh3::xxh3_64;

use crate::census::Census;
use crate::header::{BLOCK_BYTES, HEADER_BYTES, Header, MAX_ROWS, SECTION_ALIGN, Shape};
use crate::index::{GROUP_ROWS, Index};
use crate::placement::{FREE, Placer};
use crate::prefetch::{LINE_BYTES, prefetch};
use crate::record::{self, Record};
use crate::resolve::Resolver;
use crate::row_layout::{Extent, LONG_KEY, OCCUPIED, REMOVED, RowLayout, put_key_extent};
use crate::sorter::Sorter;
use crate::spill::{SpillDirectory, Spool};
use crate::{Layers, SchemaError, SnapshotMeta, WriteError, WriteOptions, WriteProgress, WriteStage, metadata};

/// What is written into the metadata as the builder.
const BUILDER: &str = concat!("unskew-snapshot ", env!("CARGO_PKG_VERSION"));
/// What the rows of a group should take in memory.
pub(crate) const MAX_GROUP_BYTES: u64 = 32 << 20;
/// Groups of fewer rows would overflow by chance.
const MIN_GROUP_ROWS: u64 = 64;
/// How far ahead of its use a record is asked for.
const AHEAD: usize = 16;
/// What is written at a time, about.
const FLUSH_BYTES: usize = 1 << 20;
/// Rows between two calls to whoever watches.
const PROGRESS_ROWS: u64 = 1 << 16;

/// What is to be written: sorted rows in the layout without a key.
pub(crate) struct Source<'a> {
    pub(crate) options: &'a WriteOptions,
    pub(crate) layout: &'a RowLayout,
    pub(crate) rows: SortedRows<'a>,
    pub(crate) directory: &'a SpillDirectory,
    /// What the rows of a group should take in memory: [`MAX_GROUP_BYTES`], but in tests.
    pub(crate) max_group_bytes: u64,
}

/// Where the rows come from, in the canonical order.
pub(crate) enum SortedRows<'a> {
    /// They were pushed in any order.
    Pushed {
        sorter: &'a mut Sorter,
        /// Of the rows as they were pushed.
        census: &'a Census,
    },
    /// They are those of files that are laid over each other.
    Merged(&'a Layers),
}

/// What became of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) row_count: u64,
    pub(crate) file_bytes: u64,
    pub(crate) ties: u64,
}

/// Writes a file. The header comes last, so that a file without one is not a snapshot.
pub(crate) fn write_snapshot(
    out: &mut (impl Write + Seek),
    source: &mut Source<'_>,
    progress: &mut dyn FnMut(WriteProgress),
) -> Result<Output, WriteError> {
    let census = source.take_census(progress)?;
    let plan = Plan::new(source, &census)?;
    let metadata = metadata::encode(&meta(source.options, &census)).map_err(io::Error::other)?;
    out.write_all(&[0; HEADER_BYTES])?;
    let mut blocks = BlockWriter::new(&mut *out);
    blocks.write(&metadata)?;
    blocks.align()?;

    let mut rows = RowWriter::new(blocks, plan, source);
    let ties = source.visit(WriteStage::Writing, census.row_count, progress, &mut |record| {
        rows.push(record)
    })?;
    let RowsWritten {
        mut blocks,
        shape,
        overflow_hashes,
        mut keys,
        mut heap,
    } = rows.finish(census.row_count)?;
    blocks.align()?;
    blocks.write(&overflow_hashes)?;
    blocks.align()?;
    let rows_bytes = shape.slot_count() * u64::from(shape.row_bytes);
    let section_bytes = [
        metadata.len() as u64,
        rows_bytes,
        overflow_hashes.len() as u64,
        keys.bytes(),
        heap.bytes(),
    ];
    blocks.copy(keys.take_reader()?)?;
    blocks.align()?;
    blocks.copy(heap.take_reader()?)?;
    blocks.align()?;

    let checksums = blocks.finish()?;
    out.write_all(&checksums)?;
    let mut header = Header::new(shape, section_bytes);
    header.checksums_digest = xxh3_64(&checksums);
    out.seek(SeekFrom::Start(0))?;
    out.write_all(&header.encode())?;
    Ok(Output {
        row_count: census.row_count,
        file_bytes: header.file_bytes(),
        ties,
    })
}

impl Source<'_> {
    /// Counts the rows that the file will have: those that were pushed, if that is for certain one of each key, else what a visit
    /// of all finds.
    fn take_census(&mut self, progress: &mut dyn FnMut(WriteProgress)) -> Result<Census, WriteError> {
        let rows_total = match &self.rows {
            SortedRows::Pushed { census, .. } => census.row_count,
            SortedRows::Merged(layers) => layers.len() as u64,
        };
        progress(WriteProgress {
            stage: WriteStage::Sorting,
            rows_done: 0,
            rows_total,
        });
        let pushed = match &mut self.rows {
            SortedRows::Pushed { sorter, census } => sorter.sort_in_memory().then(|| (*census).clone()),
            SortedRows::Merged(_) => None,
        };
        let census = match pushed {
            Some(census) => census,
            None => {
                let (layout, mut census) = (self.layout, Census::new(self.layout));
                self.visit(WriteStage::Sorting, rows_total, progress, &mut |record| {
                    census.count(layout, record);
                    Ok(())
                })?;
                census
            }
        };
        for (what, found, limit) in [
            ("rows", census.row_count, MAX_ROWS),
            ("bytes of keys", census.key_bytes(), Extent::MAX_OFFSET - 1),
            ("bytes of values", census.heap_bytes, Extent::MAX_OFFSET - 1),
        ] {
            if found > limit {
                return Err(WriteError::TooLarge { what, limit });
            }
        }
        Ok(census)
    }

    /// Visits the row of each key in the canonical order; gives the ties.
    fn visit(
        &mut self,
        stage: WriteStage,
        rows_total: u64,
        progress: &mut dyn FnMut(WriteProgress),
        visit: &mut dyn FnMut(Record<'_>) -> Result<(), WriteError>,
    ) -> Result<u64, WriteError> {
        let mut resolver = Resolver::new(self.layout, self.options.duplicates);
        let mut rows_done = 0;
        let mut counted = |record: Record<'_>| {
            if rows_done % PROGRESS_ROWS == 0 {
                progress(WriteProgress {
                    stage,
                    rows_done,
                    rows_total,
                });
            }
            rows_done += 1;
            visit(record)
        };
        match &mut self.rows {
            SortedRows::Pushed { sorter, .. } => {
                sorter.visit(&mut |record, is_last| resolver.push(record, is_last, &mut counted))?;
            }
            SortedRows::Merged(layers) => layers.merge().visit(self.layout, &mut counted)?,
        }
        Ok(resolver.ties())
    }
}

/// How the rows will be arranged.
struct Plan {
    layout: RowLayout,
    index: Index,
}

impl Plan {
    fn new(source: &Source<'_>, census: &Census) -> Result<Self, WriteError> {
        let features = &source.options.schema.features;
        let layout = RowLayout::new(features, census.key_slot_bytes()).ok_or(SchemaError::RowBytes)?;
        let group_rows = source
            .max_group_bytes
            .checked_div(census.mean_record_bytes())
            .map_or(GROUP_ROWS, |rows| rows.clamp(MIN_GROUP_ROWS, GROUP_ROWS));
        let too_large = WriteError::TooLarge {
            what: "rows",
            limit: MAX_ROWS,
        };
        let index = Index::for_rows(census.row_count, group_rows).ok_or(too_large)?;
        Ok(Self { layout, index })
    }
}

fn meta(options: &WriteOptions, census: &Census) -> SnapshotMeta {
    SnapshotMeta {
        schema: options.schema.clone(),
        watermark: options.watermark,
        module_digest: options.module_digest,
        state_version: options.state_version,
        late: options.late,
        delta: options.delta,
        row_count: census.row_count,
        removed_count: census.removed_count,
        event_times: census.event_times,
        statistics: census.statistics.clone(),
        builder: BUILDER.to_owned(),
    }
}

/// Writes the rows section: takes the rows of a group together, places them, and goes on to the next.
struct RowWriter<'a, W> {
    blocks: BlockWriter<W>,
    plan: Plan,
    /// The layout of the records.
    source_layout: &'a RowLayout,
    group: u32,
    /// Of the group: whether its slots are written, so that what still comes overflows.
    is_written: bool,
    records: Vec<u64>,
    starts: Vec<usize>,
    hashes: Vec<u64>,
    placer: Placer,
    masks: Vec<u8>,
    words: Vec<u64>,
    overflow: Spool,
    overflow_hashes: Vec<u8>,
    keys: Spool,
    heap: Spool,
}

/// What the writer of the rows leaves.
struct RowsWritten<W> {
    blocks: BlockWriter<W>,
    shape: Shape,
    overflow_hashes: Vec<u8>,
    keys: Spool,
    heap: Spool,
}

impl<'a, W: Write> RowWriter<'a, W> {
    fn new(blocks: BlockWriter<W>, plan: Plan, source: &Source<'a>) -> Self {
        let spool = || Spool::new(source.directory.clone());
        Self {
            blocks,
            plan,
            source_layout: source.layout,
            group: 0,
            is_written: false,
            records: Vec::new(),
            starts: Vec::new(),
            hashes: Vec::new(),
            placer: Placer::default(),
            masks: Vec::new(),
            words: Vec::new(),
            overflow: spool(),
            overflow_hashes: Vec::new(),
            keys: spool(),
            heap: spool(),
        }
    }

    fn push(&mut self, record: Record<'_>) -> Result<(), WriteError> {
        let group = self.plan.index.group(record.hash);
        while self.group < group {
            self.end_group()?;
        }
        if self.hashes.len() == self.plan.index.group_slots as usize {
            self.write_group()?;
        }
        if self.is_written {
            return self.spool_overflow(record);
        }
        self.starts.push(self.records.len());
        record.append(&mut self.records);
        self.hashes.push(record.hash);
        Ok(())
    }

    fn finish(mut self, row_count: u64) -> Result<RowsWritten<W>, WriteError> {
        while self.group < self.plan.index.group_count {
            self.end_group()?;
        }
        let overflow_count = (self.overflow_hashes.len() / 8) as u64;
        let limit = u64::from(u32::MAX) - self.plan.index.slot_count();
        if overflow_count > limit {
            return Err(WriteError::TooLarge {
                what: "keys that collide",
                limit,
            });
        }
        let row_bytes = self.source_layout.row_bytes();
        let mut overflow = self.overflow.take_reader()?;
        let mut words = Vec::new();
        while record::read(&mut overflow, row_bytes, &mut words)? {
            self.write_row(Record::parse(&words, row_bytes), 0)?;
        }
        Ok(RowsWritten {
            shape: Shape {
                row_count,
                row_bytes: self.plan.layout.row_bytes() as u32,
                key_bytes: self.plan.layout.key_bytes() as u32,
                index: self.plan.index,
                overflow_count: overflow_count as u32,
            },
            blocks: self.blocks,
            overflow_hashes: self.overflow_hashes,
            keys: self.keys,
            heap: self.heap,
        })
    }

    fn end_group(&mut self) -> Result<(), WriteError> {
        if !self.is_written {
            self.write_group()?;
        }
        self.group += 1;
        self.is_written = false;
        Ok(())
    }

    /// Writes every slot of the group, and the rows without one where overflow rows wait.
    fn write_group(&mut self) -> Result<(), WriteError> {
        self.placer.place(self.plan.index, &self.hashes);
        let mut masks = core::mem::take(&mut self.masks);
        self.placer.masks(&mut masks);
        let placer = core::mem::take(&mut self.placer);
        let records = core::mem::take(&mut self.records);
        let owner = placer.owner();
        for (slot, (key, mask)) in owner.iter().zip(&masks).enumerate() {
            let ahead = owner.get(slot + AHEAD).and_then(|key| self.starts.get(*key as usize));
            if let Some(start) = ahead {
                let bytes: &[u8] = bytemuck::cast_slice(&records[*start..]);
                prefetch(bytes, 0);
                prefetch(bytes, LINE_BYTES);
            }
            if *key == FREE {
                let layout = &self.plan.layout;
                layout.set_flags(self.blocks.extend(layout.row_bytes()), *mask);
                self.blocks.flush()?;
            } else {
                let words = &records[self.starts[*key as usize]..];
                self.write_row(Record::parse(words, self.source_layout.row_bytes()), *mask)?;
            }
        }
        for key in placer.unplaced() {
            let words = &records[self.starts[*key as usize]..];
            self.spool_overflow(Record::parse(words, self.source_layout.row_bytes()))?;
        }
        (self.masks, self.placer, self.records) = (masks, placer, records);
        self.records.clear();
        self.starts.clear();
        self.hashes.clear();
        self.is_written = true;
        Ok(())
    }

    fn spool_overflow(&mut self, record: Record<'_>) -> Result<(), WriteError> {
        self.words.clear();
        record.append(&mut self.words);
        self.overflow.write(bytemuck::cast_slice(&self.words))?;
        self.overflow_hashes.extend_from_slice(&record.hash.to_le_bytes());
        Ok(())
    }

    /// Writes a row, its key if that is long, and its values of any length.
    fn write_row(&mut self, record: Record<'_>, mask: u8) -> Result<(), WriteError> {
        let layout = &self.plan.layout;
        let row = self.blocks.extend(layout.row_bytes());
        layout.copy_values(row, self.source_layout, record.row);
        layout.set_flags(row, OCCUPIED | mask);
        if record.is_removed {
            layout.set_flags(row, REMOVED);
        }
        if record.key.len() <= layout.key_bytes() {
            RowLayout::put_key(row, record.key);
        } else {
            layout.set_flags(row, LONG_KEY);
            put_key_extent(
                row,
                Extent {
                    offset: self.keys.bytes(),
                    len: record.key.len() as u32,
                },
            );
            self.keys.write(record.key)?;
        }
        for feature in layout.variable_features() {
            if let Some(extent) = layout.extent(row, feature).filter(|_| layout.is_present(row, feature)) {
                let offset = self.heap.bytes();
                layout.put_extent(row, feature, Extent { offset, ..extent });
                self.heap.write(extent.slice(record.heap))?;
            }
        }
        self.blocks.flush()?;
        Ok(())
    }
}

/// Writes what follows the header, and takes the checksum of each block on the way.
struct BlockWriter<W> {
    out: W,
    /// What is not written: from where a block begins, or behind the header.
    pending: Vec<u8>,
    /// Where that is, from the start of the file.
    position: u64,
    checksums: Vec<u8>,
}

impl<W: Write> BlockWriter<W> {
    fn new(out: W) -> Self {
        Self {
            out,
            pending: Vec::new(),
            position: HEADER_BYTES as u64,
            checksums: Vec::new(),
        }
    }

    /// Appends zeros, to be written over before the next [`flush`](Self::flush).
    #[inline]
    fn extend(&mut self, bytes: usize) -> &mut [u8] {
        let start = self.pending.len();
        self.pending.resize(start + bytes, 0);
        &mut self.pending[start..]
    }

    /// Writes whole blocks when they are worth it.
    #[inline]
    fn flush(&mut self) -> io::Result<()> {
        if self.pending.len() < FLUSH_BYTES {
            return Ok(());
        }
        self.write_blocks(false)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        for part in bytes.chunks(FLUSH_BYTES) {
            self.pending.extend_from_slice(part);
            self.flush()?;
        }
        Ok(())
    }

    fn copy(&mut self, mut from: impl Read) -> io::Result<()> {
        let mut buffer = vec![0; BLOCK_BYTES as usize];
        loop {
            match from.read(&mut buffer)? {
                0 => return Ok(()),
                len => self.write(&buffer[..len])?,
            }
        }
    }

    /// Zeros up to where a section may begin.
    fn align(&mut self) -> io::Result<()> {
        let end = self.position + self.pending.len() as u64;
        self.extend((end.next_multiple_of(SECTION_ALIGN) - end) as usize);
        self.flush()
    }

    /// The checksums of all blocks.
    fn finish(mut self) -> io::Result<Vec<u8>> {
        self.write_blocks(true)?;
        Ok(self.checksums)
    }

    /// Writes what is pending, but a last block that is not full only if it `is_end`.
    fn write_blocks(&mut self, is_end: bool) -> io::Result<()> {
        let mut written = 0;
        loop {
            let rest = &self.pending[written..];
            let block_left = (BLOCK_BYTES - (self.position + written as u64) % BLOCK_BYTES) as usize;
            let block = match rest.get(..block_left) {
                Some(block) => block,
                None if is_end && !rest.is_empty() => rest,
                None => break,
            };
            self.checksums.extend_from_slice(&xxh3_64(block).to_le_bytes());
            written += block.len();
        }
        self.out.write_all(&self.pending[..written])?;
        self.pending.drain(..written);
        self.position += written as u64;
        Ok(())
    }
}
