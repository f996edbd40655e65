use core::fmt;

use crate::view::{ColumnView, half};
use crate::{Column, ColumnType};

/// The version of the layout: docs/frame.md.
pub const FRAME_VERSION: u16 = 1;
/// The most columns of a frame.
pub const MAX_COLUMNS: usize = 4_096;
/// The most rows of a frame.
pub const MAX_ROWS: usize = 1 << 24;

const MAGIC: u32 = u32::from_le_bytes(*b"UNSK");
pub(crate) const HEADER_WORDS: usize = 2;
pub(crate) const DIRECTORY_WORDS: usize = 2;
pub(crate) const HAS_VALIDITY: u64 = 1 << 8;
const IS_SCALAR: u64 = 1 << 9;
/// The bits of a directory's first word that mean nothing yet: a frame that has one was made for another reader.
const RESERVED: u64 = 0xffff_fc00;

/// Writes a frame of `rows` rows into `words`, which is cleared and keeps its memory. Scalars stand for every row.
///
/// # Errors
/// Too many rows or columns, a column with 4 GiB of bytes, 32 GiB in all, or a column whose rows are not `rows`. `words`
/// is then empty.
pub fn encode(columns: &[&Column], rows: usize, words: &mut Vec<u64>) -> Result<(), EncodeError> {
    words.clear();
    words.resize(encoded_words(columns, rows)?, 0);
    let written = encode_within(columns, rows, words)?;
    assert!(
        written == Some(words.len()),
        "a frame of {written:?} words was written to {}",
        words.len()
    );
    Ok(())
}

/// The number of words that [`encode`] writes.
///
/// # Errors
/// Those of [`encode`].
pub fn encoded_words(columns: &[&Column], rows: usize) -> Result<usize, EncodeError> {
    if columns.len() > MAX_COLUMNS || rows > MAX_ROWS {
        return Err(EncodeError::TooLarge);
    }
    let mut words = HEADER_WORDS + DIRECTORY_WORDS * columns.len();
    for (index, column) in columns.iter().enumerate() {
        if !column.is_scalar() && column.rows() != rows {
            return Err(EncodeError::RowCount { column: index });
        }
        if column.bytes().len() > u32::MAX as usize {
            return Err(EncodeError::TooLarge);
        }
        if column.null_count() > 0 {
            words += column.validity().len();
        }
        words += column.words().len() + column.bytes().len().div_ceil(8);
    }
    if words > u32::MAX as usize {
        return Err(EncodeError::TooLarge);
    }
    Ok(words)
}

/// As [`encode`], into the first words of `room`, if they are enough: how many they are. In one pass, for small batches that
/// go where the last one went.
///
/// # Errors
/// Those of [`encode`].
pub fn encode_within(columns: &[&Column], rows: usize, room: &mut [u64]) -> Result<Option<usize>, EncodeError> {
    if columns.len() > MAX_COLUMNS || rows > MAX_ROWS {
        return Err(EncodeError::TooLarge);
    }
    let directory_end = HEADER_WORDS + DIRECTORY_WORDS * columns.len();
    if room.len() > u32::MAX as usize || room.len() < directory_end {
        return Ok(None);
    }
    let (head, parts) = room.split_at_mut(directory_end);
    let (header, directory) = head.split_at_mut(HEADER_WORDS);
    let mut end = 0;
    for ((index, column), entry) in columns
        .iter()
        .enumerate()
        .zip(directory.chunks_exact_mut(DIRECTORY_WORDS))
    {
        if !column.is_scalar() && column.rows() != rows {
            return Err(EncodeError::RowCount { column: index });
        }
        let mut first = directory_head(column.column_type());
        let mut validity = 0;
        if column.null_count() > 0 {
            let part = column.validity();
            if parts.len() - end < part.len() {
                return Ok(None);
            }
            first |= HAS_VALIDITY;
            validity = (directory_end + end) as u64;
            end = put(parts, end, part);
        }
        if column.is_scalar() {
            first |= IS_SCALAR;
        }
        let (words, bytes) = (column.words(), column.bytes());
        if parts.len() - end < words.len() + bytes.len().div_ceil(8) {
            return Ok(None);
        }
        entry[0] = first;
        entry[1] = validity | ((directory_end + end) as u64) << 32;
        end = put(parts, end, words);
        if !bytes.is_empty() {
            if bytes.len() > u32::MAX as usize {
                return Err(EncodeError::TooLarge);
            }
            end = put_bytes(parts, end, bytes);
        }
    }
    let total = directory_end + end;
    header[0] = head_word(columns.len());
    header[1] = size_word(rows, total);
    Ok(Some(total))
}

/// The first word of a frame.
pub(crate) fn head_word(columns: usize) -> u64 {
    u64::from(MAGIC) | u64::from(FRAME_VERSION) << 32 | (columns as u64) << 48
}

/// The second word of a frame.
pub(crate) fn size_word(rows: usize, words: usize) -> u64 {
    rows as u64 | (words as u64) << 32
}

/// The first word of a directory's entry, without its flags.
#[inline(always)]
pub(crate) fn directory_head(column_type: ColumnType) -> u64 {
    u64::from(column_type.tag()) | u64::from(column_type.vector_len()) << 32
}

/// Writes `part` from word `start` on and gives the word behind it.
pub(crate) fn put(words: &mut [u64], start: usize, part: &[u64]) -> usize {
    let end = start + part.len();
    match part {
        // A row's, which is not worth the call of a copy.
        [word] => words[start] = *word,
        _ => words[start..end].copy_from_slice(part),
    }
    end
}

pub(crate) fn put_bytes(words: &mut [u64], start: usize, bytes: &[u8]) -> usize {
    let end = start + bytes.len().div_ceil(8);
    if start < end {
        words[end - 1] = 0;
        let part: &mut [u8] = bytemuck::cast_slice_mut(&mut words[start..end]);
        part[..bytes.len()].copy_from_slice(bytes);
    }
    end
}

/// Why a frame could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// More than [`MAX_COLUMNS`] columns, [`MAX_ROWS`] rows, u32::MAX bytes in a column or u32::MAX words.
    TooLarge,
    /// A column has another number of rows than the frame.
    RowCount {
        /// The index of the column.
        column: usize,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(
                f,
                "the batch is beyond {MAX_COLUMNS} columns, {MAX_ROWS} rows or 4 GiB in a column: use smaller batches"
            ),
            Self::RowCount { column } => write!(f, "column {column} has another number of rows than the frame"),
        }
    }
}

impl std::error::Error for EncodeError {}

/// A frame whose every offset was checked: reading it cannot go out of bounds. One that was [opened](Self::open) has its
/// columns checked by [`typed`](Self::typed).
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    words: &'a [u64],
    rows: usize,
    columns: usize,
}

impl<'a> Frame<'a> {
    /// Checks that `words` is a frame of columns of these types. Costs a pass over the offsets of strings and bytes and a
    /// few comparisons a column; allocates nothing.
    ///
    /// # Errors
    /// What differs, with its column.
    pub fn check(words: &'a [u64], types: &[ColumnType]) -> Result<Self, FrameError> {
        Self::check_types(words, types.iter().copied())
    }

    /// The same as [`check`](Self::check), with the types from wherever they are.
    ///
    /// # Errors
    /// What differs, with its column.
    pub fn check_types(words: &'a [u64], types: impl ExactSizeIterator<Item = ColumnType>) -> Result<Self, FrameError> {
        let frame = Self::open(words, types.len())?;
        for (index, expected) in types.enumerate() {
            frame.typed(index, expected)?;
        }
        Ok(frame)
    }

    /// The frame of `words`, with its header checked and no column yet: [`typed`](Self::typed) checks one as it gives it, in
    /// one look at its directory.
    ///
    /// # Errors
    /// What is wrong with the header, or another number of columns.
    pub fn open(words: &'a [u64], columns: usize) -> Result<Self, FrameError> {
        let frame = Self::check_header(words)?;
        if frame.columns != columns {
            return Err(FrameError::new(FrameErrorKind::ColumnCount));
        }
        Ok(frame)
    }

    /// The column at `index`, if it is of this type and lies in the frame.
    ///
    /// # Errors
    /// How it does not.
    // Always: where the compiler knows the type, most of it is decided before it runs, and small batches are all such work.
    #[inline(always)]
    pub fn typed(&self, index: usize, expected: ColumnType) -> Result<ColumnView<'a>, FrameError> {
        self.read_column(index, expected).map_err(|kind| FrameError {
            column: Some(index as u16),
            kind,
        })
    }

    /// Appends the value at `index` of a frame of one row to `output`, where it is a column of words (f64s, i64s or times), and
    /// says whether it is there: a few instructions for what a request of one candidate mostly gets. `None`, and nothing is
    /// appended, where it takes more than that to say what the column is: [`typed`](Self::typed) does.
    #[inline(always)]
    pub fn append_word(&self, index: usize, output: &mut Column) -> Option<bool> {
        if self.rows != 1 {
            return None;
        }
        let directory = HEADER_WORDS + DIRECTORY_WORDS * index;
        let &[head, place] = self.words.get(directory..directory + DIRECTORY_WORDS)? else {
            return None;
        };
        let (validity, data) = (place as u32 as usize, (place >> 32) as usize);
        let behind_directory = HEADER_WORDS + DIRECTORY_WORDS * self.columns;
        if head & !HAS_VALIDITY != directory_head(output.column_type()) || data < behind_directory {
            return None;
        }
        let is_present = match (head & HAS_VALIDITY != 0, validity) {
            (false, 0) => true,
            (true, start) if start >= behind_directory => self.words.get(start)? & 1 != 0,
            _ => return None,
        };
        output.push_row_word(is_present, *self.words.get(data)?)
    }

    /// Checks that every string is UTF-8. A host does this to what a transform gave it.
    ///
    /// # Errors
    /// The first column with a string that is not.
    pub fn check_text(&self) -> Result<(), FrameError> {
        for index in 0..self.columns {
            if !self.column(index).is_text(self.rows) {
                return Err(FrameError {
                    column: Some(index as u16),
                    kind: FrameErrorKind::NotUtf8,
                });
            }
        }
        Ok(())
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The column at `index`.
    ///
    /// # Panics
    /// If there is no such column.
    #[inline]
    pub fn column(&self, index: usize) -> ColumnView<'a> {
        assert!(index < self.columns, "column {index} of {}", self.columns);
        let layout = Layout::read(self.words, index, self.rows);
        let column_type = ColumnType::from_tag(layout.tag, layout.vector_len).unwrap_or(ColumnType::Bytes);
        let fixed = fixed_words(column_type, layout.stored);
        let words = &self.words[layout.data..layout.data + fixed];
        let bytes: &[u8] = if column_type.is_variable() {
            let len = half(words, layout.stored) as usize;
            &bytemuck::cast_slice(&self.words[layout.data + fixed..])[..len]
        } else {
            &[]
        };
        ColumnView {
            column_type,
            mask: if layout.scalar { 0 } else { usize::MAX },
            validity: match layout.validity {
                0 => &[],
                start => &self.words[start..start + layout.stored.div_ceil(64)],
            },
            words,
            bytes,
        }
    }

    fn check_header(words: &'a [u64]) -> Result<Self, FrameError> {
        let (&[head, size], _) = words
            .split_first_chunk::<HEADER_WORDS>()
            .ok_or(FrameError::new(FrameErrorKind::Length))?;
        if head as u32 != MAGIC {
            return Err(FrameError::new(FrameErrorKind::Magic));
        }
        if (head >> 32) as u16 != FRAME_VERSION {
            return Err(FrameError::new(FrameErrorKind::Version));
        }
        let frame = Self {
            words,
            rows: size as u32 as usize,
            columns: (head >> 48) as usize,
        };
        if frame.rows > MAX_ROWS || frame.columns > MAX_COLUMNS {
            return Err(FrameError::new(FrameErrorKind::TooLarge));
        }
        if (size >> 32) as usize != words.len() || words.len() < HEADER_WORDS + DIRECTORY_WORDS * frame.columns {
            return Err(FrameError::new(FrameErrorKind::Length));
        }
        Ok(frame)
    }

    #[inline(always)]
    fn read_column(&self, index: usize, expected: ColumnType) -> Result<ColumnView<'a>, FrameErrorKind> {
        let directory = HEADER_WORDS + DIRECTORY_WORDS * index;
        let (head, place) = (self.words[directory], self.words[directory + 1]);
        let differs = (head & !(HAS_VALIDITY | IS_SCALAR)) ^ directory_head(expected);
        if differs & !RESERVED != 0 {
            return Err(FrameErrorKind::Type);
        }
        if differs != 0 {
            return Err(FrameErrorKind::Reserved);
        }
        let is_scalar = head & IS_SCALAR != 0;
        let stored = if is_scalar { 1 } else { self.rows };
        let validity = match (head & HAS_VALIDITY != 0, place as u32 as usize) {
            (false, 0) => &[],
            (true, start) if start != 0 => self.part(start, stored.div_ceil(64) as u64)?,
            _ => return Err(FrameErrorKind::Bounds),
        };
        let start = (place >> 32) as usize;
        let words = self.part(start, fixed_words_u64(expected, stored))?;
        let mut bytes: &[u8] = &[];
        if expected.is_variable() {
            bytes = self.bytes_of(offsets(words, stored), start + words.len())?;
        }
        Ok(ColumnView {
            column_type: expected,
            mask: if is_scalar { 0 } else { usize::MAX },
            validity,
            words,
            bytes,
        })
    }

    /// The bytes from word `start` on that these offsets point into.
    fn bytes_of(&self, offsets: &[u32], start: usize) -> Result<&'a [u8], FrameErrorKind> {
        // Without an early end, so that several are compared at a time.
        let descends = offsets
            .windows(2)
            .fold(false, |descends, pair| descends | (pair[1] < pair[0]));
        let (Some(0), Some(len), false) = (offsets.first(), offsets.last(), descends) else {
            return Err(FrameErrorKind::Offsets);
        };
        let rest: &[u8] = bytemuck::cast_slice(&self.words[start..]);
        rest.get(..*len as usize).ok_or(FrameErrorKind::Bounds)
    }

    /// `len` words behind the directory. Sizes are below 2^24 rows * 2^14 values, more than wasm32 can address.
    #[inline(always)]
    fn part(&self, start: usize, len: u64) -> Result<&'a [u64], FrameErrorKind> {
        let directory_end = HEADER_WORDS + DIRECTORY_WORDS * self.columns;
        let is_behind = start >= directory_end && start as u64 + len <= self.words.len() as u64;
        if !is_behind {
            return Err(FrameErrorKind::Bounds);
        }
        Ok(&self.words[start..start + len as usize])
    }
}

struct Layout {
    tag: u8,
    vector_len: u32,
    scalar: bool,
    validity: usize,
    data: usize,
    /// The rows that are stored.
    stored: usize,
}

impl Layout {
    #[inline]
    fn read(words: &[u64], column: usize, rows: usize) -> Self {
        let directory = HEADER_WORDS + DIRECTORY_WORDS * column;
        let (head, place) = (words[directory], words[directory + 1]);
        let scalar = head & IS_SCALAR != 0;
        Self {
            tag: head as u8,
            vector_len: (head >> 32) as u32,
            scalar,
            validity: place as u32 as usize,
            data: (place >> 32) as usize,
            stored: if scalar { 1 } else { rows },
        }
    }
}

/// The offsets of `stored` rows and the one behind them.
#[inline]
pub(crate) fn offsets(words: &[u64], stored: usize) -> &[u32] {
    &bytemuck::cast_slice(words)[..=stored]
}

/// The words of a column's fixed-width part: its values, or its offsets.
pub(crate) fn fixed_words(column_type: ColumnType, stored: usize) -> usize {
    fixed_words_u64(column_type, stored) as usize
}

#[inline(always)]
pub(crate) fn fixed_words_u64(column_type: ColumnType, stored: usize) -> u64 {
    let stored = stored as u64;
    match column_type {
        ColumnType::F64 | ColumnType::I64 | ColumnType::Timestamp => stored,
        ColumnType::F32 => stored.div_ceil(2),
        ColumnType::Bool => stored.div_ceil(64),
        ColumnType::String | ColumnType::Bytes => (stored + 1).div_ceil(2),
        ColumnType::Vector(len) => (stored * u64::from(len)).div_ceil(2),
    }
}

/// How words fail to be the frame that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameError {
    column: Option<u16>,
    kind: FrameErrorKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FrameErrorKind {
    Length,
    Magic,
    Version,
    TooLarge,
    ColumnCount,
    Type,
    Reserved,
    Bounds,
    Offsets,
    NotUtf8,
}

impl FrameError {
    const fn new(kind: FrameErrorKind) -> Self {
        Self { column: None, kind }
    }

    /// The column at fault, where it is one column's.
    pub fn column(&self) -> Option<usize> {
        self.column.map(usize::from)
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(column) = self.column {
            write!(f, "frame column {column}: ")?;
        }
        f.write_str(match self.kind {
            FrameErrorKind::Length => "the frame's length is not what its header says",
            FrameErrorKind::Magic => "not a frame: wrong magic number",
            FrameErrorKind::Version => "a frame of another version",
            FrameErrorKind::TooLarge => "more rows or columns than a frame may have",
            FrameErrorKind::ColumnCount => "the frame has another number of columns than expected",
            FrameErrorKind::Type => "the column is of another type than expected",
            FrameErrorKind::Reserved => "the directory has bits that are reserved",
            FrameErrorKind::Bounds => "the column lies outside of the frame",
            FrameErrorKind::Offsets => "the offsets do not ascend from 0",
            FrameErrorKind::NotUtf8 => "a string is not UTF-8",
        })
    }
}

impl std::error::Error for FrameError {}

#[cfg(test)]
mod tests;
