//! The types that inputs and outputs can have: how each is read from its column and written to it.
//!
//! A reader or a writer is made once for a column, so that a row costs a load or a store: what the column is, where it lies
//! and whether anything is missing was looked at before.

use unskew_frame::{Column, ColumnType, ColumnView, Slot, canonical_f32, canonical_f64};

use crate::Timestamp;
use crate::column::{InputValue, OutputValue};

/// Reads values of a word.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a> {
    words: &'a [u64],
    mask: usize,
}

impl<'a> Words<'a> {
    fn of(column: ColumnView<'a>) -> Self {
        Self {
            words: column.words(),
            mask: column.row_mask(),
        }
    }

    #[inline(always)]
    fn get(&self, row: usize) -> u64 {
        self.words[row & self.mask]
    }
}

/// Writes values of a word.
#[derive(Debug)]
pub struct WordSlot<'w>(&'w mut [u64]);

/// What a fixed-width type's slot is: anything else is a mistake of the SDK's.
fn fixed(slot: Slot<'_>) -> &mut [u64] {
    match slot {
        Slot::Fixed { words, .. } => words,
        Slot::Variable(_) => panic!("a value of a fixed width has a slot of texts"),
    }
}

macro_rules! word {
    ($type:ty, $column:ident, $from:expr, $to:expr) => {
        #[diagnostic::do_not_recommend]
        impl<'a> InputValue<'a> for $type {
            const TYPE: ColumnType = ColumnType::$column;

            type Reader = Words<'a>;

            fn reader(column: ColumnView<'a>) -> Words<'a> {
                Words::of(column)
            }

            #[inline(always)]
            fn read(reader: &Words<'a>, row: usize) -> Self {
                $from(reader.get(row))
            }
        }

        #[diagnostic::do_not_recommend]
        impl OutputValue for $type {
            const TYPE: ColumnType = ColumnType::$column;

            type Writer<'w> = WordSlot<'w>;

            fn writer(slot: Slot<'_>) -> WordSlot<'_> {
                WordSlot(fixed(slot))
            }

            #[inline(always)]
            fn write(self, writer: &mut WordSlot<'_>, row: usize) {
                writer.0[row] = $to(self);
            }

            #[inline(always)]
            fn write_missing(writer: &mut WordSlot<'_>, row: usize) {
                writer.0[row] = 0;
            }

            #[inline(always)]
            fn end_block(_: &mut WordSlot<'_>, _: usize) {}
        }
    };
}

word!(f64, F64, f64::from_bits, canonical_bits);
word!(i64, I64, u64::cast_signed, i64::cast_unsigned);
word!(Timestamp, Timestamp, timestamp, micros);

#[inline(always)]
fn canonical_bits(value: f64) -> u64 {
    canonical_f64(value).to_bits()
}

#[inline(always)]
fn timestamp(word: u64) -> Timestamp {
    Timestamp::from_micros(word.cast_signed())
}

#[inline(always)]
fn micros(timestamp: Timestamp) -> u64 {
    timestamp.as_micros().cast_unsigned()
}

/// Reads values of half a word, `N` to a row.
#[derive(Clone, Copy, Debug)]
pub struct Halves<'a> {
    halves: &'a [f32],
    mask: usize,
}

impl<'a> Halves<'a> {
    fn of(column: ColumnView<'a>) -> Self {
        Self {
            halves: bytemuck::cast_slice(column.words()),
            mask: column.row_mask(),
        }
    }

    #[inline(always)]
    fn get<const N: usize>(&self, row: usize) -> &'a [f32; N] {
        match self.halves[(row & self.mask) * N..].first_chunk() {
            Some(values) => values,
            None => panic!("row {row} is beyond its column"),
        }
    }
}

/// Writes values of half a word.
#[derive(Debug)]
pub struct HalfSlot<'w>(&'w mut [f32]);

impl HalfSlot<'_> {
    #[inline(always)]
    fn set<const N: usize>(&mut self, row: usize, values: [f32; N]) {
        self.0[row * N..row * N + N].copy_from_slice(&values.map(canonical_f32));
    }
}

#[diagnostic::do_not_recommend]
impl<'a> InputValue<'a> for f32 {
    const TYPE: ColumnType = ColumnType::F32;

    type Reader = Halves<'a>;

    fn reader(column: ColumnView<'a>) -> Halves<'a> {
        Halves::of(column)
    }

    #[inline(always)]
    fn read(reader: &Halves<'a>, row: usize) -> Self {
        let [value] = *reader.get(row);
        value
    }
}

#[diagnostic::do_not_recommend]
impl OutputValue for f32 {
    const TYPE: ColumnType = ColumnType::F32;

    type Writer<'w> = HalfSlot<'w>;

    fn writer(slot: Slot<'_>) -> HalfSlot<'_> {
        HalfSlot(bytemuck::cast_slice_mut(fixed(slot)))
    }

    #[inline(always)]
    fn write(self, writer: &mut HalfSlot<'_>, row: usize) {
        writer.set(row, [self]);
    }

    #[inline(always)]
    fn write_missing(writer: &mut HalfSlot<'_>, row: usize) {
        writer.set(row, [0.0]);
    }

    #[inline(always)]
    fn end_block(_: &mut HalfSlot<'_>, _: usize) {}
}

#[diagnostic::do_not_recommend]
impl<'a, const N: usize> InputValue<'a> for &'a [f32; N] {
    const TYPE: ColumnType = vector_type::<N>();

    type Reader = Halves<'a>;

    fn reader(column: ColumnView<'a>) -> Halves<'a> {
        Halves::of(column)
    }

    #[inline(always)]
    fn read(reader: &Halves<'a>, row: usize) -> Self {
        reader.get(row)
    }
}

#[diagnostic::do_not_recommend]
impl<const N: usize> OutputValue for [f32; N] {
    const TYPE: ColumnType = vector_type::<N>();

    type Writer<'w> = HalfSlot<'w>;

    fn writer(slot: Slot<'_>) -> HalfSlot<'_> {
        HalfSlot(bytemuck::cast_slice_mut(fixed(slot)))
    }

    #[inline(always)]
    fn write(self, writer: &mut HalfSlot<'_>, row: usize) {
        writer.set(row, self);
    }

    #[inline(always)]
    fn write_missing(writer: &mut HalfSlot<'_>, row: usize) {
        writer.set(row, [0.0; N]);
    }

    #[inline(always)]
    fn end_block(_: &mut HalfSlot<'_>, _: usize) {}
}

const fn vector_type<const N: usize>() -> ColumnType {
    const {
        assert!(
            N > 0 && N <= unskew_frame::MAX_VECTOR_LEN as usize,
            "a vector has 1 to 16384 values"
        );
    }
    ColumnType::Vector(N as u32)
}

/// Gathers the bits of a block and writes them as a word.
#[derive(Debug)]
pub struct BitSlot<'w> {
    words: &'w mut [u64],
    block: u64,
}

impl<'w> BitSlot<'w> {
    fn of(words: &'w mut [u64]) -> Self {
        Self { words, block: 0 }
    }

    #[inline(always)]
    fn set(&mut self, row: usize, bit: bool) {
        self.block |= u64::from(bit) << (row % 64);
    }

    #[inline(always)]
    fn end_block(&mut self, block: usize) {
        // Texts and bytes have no bits of their own here.
        if let Some(word) = self.words.get_mut(block) {
            *word = self.block;
        }
        self.block = 0;
    }
}

#[diagnostic::do_not_recommend]
impl<'a> InputValue<'a> for bool {
    const TYPE: ColumnType = ColumnType::Bool;

    type Reader = Words<'a>;

    fn reader(column: ColumnView<'a>) -> Words<'a> {
        Words::of(column)
    }

    #[inline(always)]
    fn read(reader: &Words<'a>, row: usize) -> Self {
        is_set(reader.words, row & reader.mask)
    }
}

#[inline(always)]
fn is_set(bits: &[u64], index: usize) -> bool {
    bits[index / 64] >> (index % 64) & 1 == 1
}

#[diagnostic::do_not_recommend]
impl OutputValue for bool {
    const TYPE: ColumnType = ColumnType::Bool;

    type Writer<'w> = BitSlot<'w>;

    fn writer(slot: Slot<'_>) -> BitSlot<'_> {
        BitSlot::of(fixed(slot))
    }

    #[inline(always)]
    fn write(self, writer: &mut BitSlot<'_>, row: usize) {
        writer.set(row, self);
    }

    #[inline(always)]
    fn write_missing(_: &mut BitSlot<'_>, _: usize) {}

    #[inline(always)]
    fn end_block(writer: &mut BitSlot<'_>, block: usize) {
        writer.end_block(block);
    }
}

/// Reads texts and bytes.
#[derive(Clone, Copy, Debug)]
pub struct Slices<'a> {
    offsets: &'a [u32],
    bytes: &'a [u8],
    /// The bytes, if all of them are UTF-8: checked at once, so that a row costs a look at its edges.
    text: &'a str,
    mask: usize,
}

impl<'a> Slices<'a> {
    fn of(column: ColumnView<'a>) -> Self {
        Self {
            offsets: bytemuck::cast_slice(column.words()),
            bytes: column.data(),
            text: "",
            mask: column.row_mask(),
        }
    }

    #[inline(always)]
    fn range(&self, row: usize) -> core::ops::Range<usize> {
        let row = row & self.mask;
        self.offsets[row] as usize..self.offsets[row + 1] as usize
    }
}

#[diagnostic::do_not_recommend]
impl<'a> InputValue<'a> for &'a str {
    const TYPE: ColumnType = ColumnType::String;

    type Reader = Slices<'a>;

    fn reader(column: ColumnView<'a>) -> Slices<'a> {
        Slices {
            text: core::str::from_utf8(column.data()).unwrap_or_default(),
            ..Slices::of(column)
        }
    }

    #[inline(always)]
    fn read(reader: &Slices<'a>, row: usize) -> Self {
        match reader.text.get(reader.range(row)) {
            Some(text) => text,
            None => text_of(&reader.bytes[reader.range(row)]),
        }
    }
}

/// A text of a column that is not UTF-8 as a whole. A host does not pass one; a text that is not reads as U+FFFD.
#[cold]
fn text_of(bytes: &[u8]) -> &str {
    core::str::from_utf8(bytes).unwrap_or("\u{fffd}")
}

#[diagnostic::do_not_recommend]
impl<'a> InputValue<'a> for &'a [u8] {
    const TYPE: ColumnType = ColumnType::Bytes;

    type Reader = Slices<'a>;

    fn reader(column: ColumnView<'a>) -> Slices<'a> {
        Slices::of(column)
    }

    #[inline(always)]
    fn read(reader: &Slices<'a>, row: usize) -> Self {
        &reader.bytes[reader.range(row)]
    }
}

macro_rules! variable {
    ($type:ty, $column:ident, $push:ident) => {
        #[diagnostic::do_not_recommend]
        impl OutputValue for $type {
            const TYPE: ColumnType = ColumnType::$column;

            type Writer<'w> = &'w mut Column;

            fn writer(slot: Slot<'_>) -> &mut Column {
                match slot {
                    Slot::Variable(column) => column,
                    Slot::Fixed { .. } => panic!("a text has a slot of a fixed width"),
                }
            }

            fn write(self, column: &mut &mut Column, _: usize) {
                column.$push(&self);
            }

            fn write_missing(column: &mut &mut Column, _: usize) {
                column.push_null();
            }

            #[inline(always)]
            fn end_block(_: &mut &mut Column, _: usize) {}
        }
    };
}

variable!(String, String, push_str);
variable!(Vec<u8>, Bytes, push_bytes);

/// Reads values that may be missing.
#[derive(Clone, Copy, Debug)]
pub struct OptionReader<'a, R> {
    validity: &'a [u64],
    mask: usize,
    values: R,
}

#[diagnostic::do_not_recommend]
impl<'a, T: InputValue<'a>> InputValue<'a> for Option<T> {
    const TYPE: ColumnType = T::TYPE;
    const NULLABLE: bool = true;

    type Reader = OptionReader<'a, T::Reader>;

    fn reader(column: ColumnView<'a>) -> Self::Reader {
        OptionReader {
            validity: column.validity(),
            mask: column.row_mask(),
            values: T::reader(column),
        }
    }

    #[inline(always)]
    fn read(reader: &Self::Reader, row: usize) -> Self {
        let is_present = reader.validity.is_empty() || is_set(reader.validity, row & reader.mask);
        is_present.then(|| T::read(&reader.values, row))
    }
}

/// Writes values that may be missing.
#[derive(Debug)]
pub struct OptionSlot<'w, W> {
    present: BitSlot<'w>,
    values: W,
}

#[diagnostic::do_not_recommend]
impl<T: OutputValue> OutputValue for Option<T> {
    const TYPE: ColumnType = T::TYPE;
    const NULLABLE: bool = true;

    type Writer<'w> = OptionSlot<'w, T::Writer<'w>>;

    fn writer(slot: Slot<'_>) -> Self::Writer<'_> {
        let (validity, slot): (&mut [u64], Slot<'_>) = match slot {
            Slot::Fixed { words, validity } => (
                validity,
                Slot::Fixed {
                    words,
                    validity: &mut [],
                },
            ),
            // It keeps its own.
            Slot::Variable(column) => (&mut [], Slot::Variable(column)),
        };
        OptionSlot {
            present: BitSlot::of(validity),
            values: T::writer(slot),
        }
    }

    #[inline(always)]
    fn write(self, writer: &mut Self::Writer<'_>, row: usize) {
        writer.present.set(row, self.is_some());
        match self {
            Some(value) => value.write(&mut writer.values, row),
            None => T::write_missing(&mut writer.values, row),
        }
    }

    #[inline(always)]
    fn write_missing(writer: &mut Self::Writer<'_>, row: usize) {
        T::write_missing(&mut writer.values, row);
    }

    #[inline(always)]
    fn end_block(writer: &mut Self::Writer<'_>, block: usize) {
        writer.present.end_block(block);
        T::end_block(&mut writer.values, block);
    }
}
