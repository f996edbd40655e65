//! The exports of a component: what the attribute macros expand to calls of. Not for authors.
//!
//! Frames reach the guest through `cabi_realloc`, which hands out buffers that are kept from call to call, and leave in
//! buffers that are kept too: a call in the steady state allocates nothing here. There is no post-return function, so a
//! result stays valid until the next call.
#![expect(
    unsafe_code,
    reason = "the canonical ABI passes pointers; a component runs on one thread and is not re-entered"
)]

use core::cell::UnsafeCell;

use unskew_frame::ColumnType;

use crate::aggregate::{
    Aggregate, AggregateError, batch_frame, fold_frame, merge_frame, output_columns, read_frame, readable_versions,
};
use crate::column::{ColumnMeta, Input, Output};
use crate::row::{FrameBuffer, RowTransform, apply_frame};

/// The most frames that one call takes.
const MAX_FRAMES: usize = 3;

/// Frames are given an eighth more room than they need, so that a larger one of the next call fits, up to so many words.
const MAX_SPARE_WORDS: usize = 1 << 20;

struct Arena {
    inputs: [Vec<u64>; MAX_FRAMES],
    /// How many inputs the call to come has been given.
    given: usize,
    output: FrameBuffer,
    message: String,
    /// The result as the canonical ABI lays it out: discriminant, then the payload's words.
    result: [u32; 4],
}

impl Arena {
    /// Where the frame `index` of a call goes, with room for as many words.
    fn input(&mut self, index: usize, words: usize) -> *mut u64 {
        let buffer = &mut self.inputs[index];
        if buffer.len() < words {
            // What it held is of a call that is over. Given back before more is asked for: both may not fit the memory.
            *buffer = Vec::new();
            buffer.reserve_exact(words.max(words.saturating_add(words / 8).min(MAX_SPARE_WORDS)));
            buffer.resize(buffer.capacity(), 0);
        }
        buffer.as_mut_ptr()
    }
}

struct Shared(UnsafeCell<Arena>);

// SAFETY: a component has one thread.
unsafe impl Sync for Shared {}

static ARENA: Shared = Shared(UnsafeCell::new(Arena {
    inputs: [const { Vec::new() }; MAX_FRAMES],
    given: 0,
    output: FrameBuffer::new(),
    message: String::new(),
    result: [0; 4],
}));

/// The canonical ABI's allocator: the next input buffer.
///
/// # Safety
/// Called by the engine alone, between calls.
#[unsafe(export_name = "cabi_realloc")]
pub unsafe extern "C" fn cabi_realloc(old: *mut u8, old_len: usize, align: usize, len: usize) -> *mut u8 {
    assert!(
        old.is_null() && old_len == 0 && align <= 8,
        "only whole frames are allocated"
    );
    // SAFETY: one thread, and no reference to the arena outlives the function that took it.
    let arena = unsafe { &mut *ARENA.0.get() };
    let buffer = arena.input(arena.given, len.div_ceil(8));
    arena.given += 1;
    buffer.cast()
}

/// Both halves of the product of 128 bits, one over the other. By its name and because it is called, not inlined, the build finds
/// its calls, and puts the instructions for it in their place: `host/registry/src/product.rs`.
#[inline(never)]
#[unsafe(export_name = "unskew_multiply_fold")]
pub extern "C" fn multiply_fold(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

/// Where a host writes frame `frame` of its calls when it calls this module directly: room for `words` words, which stays
/// where it is until more is asked for. That a module exports this says that its functions take frames from there and
/// leave their results in place: docs/frame.md.
///
/// # Safety
/// Called by the host alone, between calls.
#[unsafe(export_name = "unskew_input")]
pub unsafe extern "C" fn input(frame: usize, words: usize) -> *mut u64 {
    // SAFETY: one thread, and no reference to the arena outlives the function that took it.
    let arena = unsafe { &mut *ARENA.0.get() };
    arena.input(frame, words)
}

/// Runs `f` on the frames at these pointers and lengths and lays out its result.
fn call<const N: usize>(
    frames: [(*const u64, usize); N],
    f: impl FnOnce([&[u64]; N], &mut FrameBuffer) -> Result<(), AggregateError>,
) -> *const u32 {
    // SAFETY: one thread, and the engine does not enter the component before this call has returned.
    let arena = unsafe { &mut *ARENA.0.get() };
    arena.given = 0;
    let inputs = frames.map(|(pointer, len)| -> &[u64] {
        if len == 0 {
            return &[];
        }
        // SAFETY: the engine passes what cabi_realloc gave it: a live buffer of at least `len` words.
        unsafe { core::slice::from_raw_parts(pointer, len) }
    });
    arena.result = match f(inputs, &mut arena.output) {
        Ok(()) => {
            let words = &arena.output.words;
            [0, words.as_ptr() as u32, words.len() as u32, 0]
        }
        Err(error) => {
            let (case, message) = match error {
                AggregateError::Frame(message) => (0, message),
                AggregateError::StateVersion(version) => {
                    arena.result = [1, 1, version, 0];
                    return arena.result.as_ptr();
                }
                AggregateError::State(row) => (2, format!("state {row}")),
                AggregateError::QueryBeforeState(row) => (3, format!("query {row}")),
            };
            arena.message = message;
            [1, case, arena.message.as_ptr() as u32, arena.message.len() as u32]
        }
    };
    arena.result.as_ptr()
}

/// `row#apply`.
pub fn apply<T: RowTransform>(inputs: *const u64, len: usize) -> *const u32 {
    call([(inputs, len)], |[inputs], out| {
        apply_frame::<T>(inputs, out).map_err(|error| AggregateError::Frame(error.0))
    })
}

/// `aggregate#fold`.
pub fn fold<T: Aggregate>(states: (*const u64, usize), events: (*const u64, usize)) -> *const u32 {
    call([states, events], |[states, events], out| {
        fold_frame::<T>(states, events, out)
    })
}

/// `aggregate#merge`.
pub fn merge<T: Aggregate>(left: (*const u64, usize), right: (*const u64, usize)) -> *const u32 {
    call([left, right], |[left, right], out| merge_frame::<T>(left, right, out))
}

/// `aggregate#read`.
pub fn read<T: Aggregate>(states: (*const u64, usize), queries: (*const u64, usize)) -> *const u32 {
    call([states, queries], |[states, queries], out| {
        read_frame::<T>(states, queries, out)
    })
}

/// `aggregate#batch`.
pub fn batch<T: Aggregate>(
    states: (*const u64, usize),
    events: (*const u64, usize),
    queries: (*const u64, usize),
) -> *const u32 {
    call([states, events, queries], |[states, events, queries], out| {
        batch_frame::<T>(states, events, queries, out)
    })
}

/// A column for `describe`: its name, the case and vector length of its type, nullable, documentation.
pub struct Described {
    pub name: String,
    pub column_type: ColumnType,
    pub nullable: bool,
    pub doc: String,
}

fn described(columns: &[ColumnMeta]) -> Vec<Described> {
    columns.iter().map(|c| describe(c.name.to_owned(), c)).collect()
}

fn describe(name: String, column: &ColumnMeta) -> Described {
    Described {
        name,
        column_type: column.column_type,
        nullable: column.nullable,
        doc: column.doc.to_owned(),
    }
}

pub fn row_inputs<T: RowTransform>() -> Vec<Described> {
    described(<T::Input<'_> as Input<'_>>::COLUMNS)
}

pub fn row_outputs<T: RowTransform>() -> Vec<Described> {
    described(T::Output::COLUMNS)
}

pub fn aggregate_inputs<T: Aggregate>() -> Vec<Described> {
    described(<T::Input<'_> as Input<'_>>::COLUMNS)
}

pub fn aggregate_events<T: Aggregate>() -> Vec<Described> {
    described(<<T::Totals as crate::Accumulators>::Event<'_> as Input<'_>>::COLUMNS)
}

pub fn aggregate_outputs<T: Aggregate>() -> Vec<Described> {
    output_columns::<T>()
        .map(|(name, column)| describe(name, column))
        .collect()
}

pub fn state_version<T: Aggregate>() -> u32 {
    T::layout().version
}

pub fn readable_state_versions<T: Aggregate>() -> Vec<u32> {
    readable_versions::<T>()
}
