//! The direct way into a component made with the SDK: its core module, instantiated by the host, over frames that are
//! written and read in its own memory. The convention is in docs/frame.md; a component that does not keep to it is called
//! through the component model instead, with the same results.
//!
//! Nothing of the guest is trusted: every pointer and length is checked against its memory before it is used, and an
//! instance that gave a wrong one is not used again.

use unskew_frame::{Column, EncodeError, encode_within, encoded_words};
use wasmtime::{ExternType, Memory, Module, Store, TypedFunc, ValType};

use crate::descriptor::Kind;
use crate::instance::{Answer, EnterError, Frames, Function, InstanceState};
use crate::wit::{AGGREGATE, ROW, WitAggregateError, WitRowError};

/// The name under which a compiled component exports its core module, where that keeps to the convention.
pub const DIRECT_MODULE: &str = "core-module";
/// The core function that says so: of a frame's index in its call and its words, it gives where to write them.
pub const DIRECT_INPUT: &str = "unskew_input";

const MEMORY: &str = "memory";

/// A core module that may be called directly.
pub(crate) struct DirectModule {
    instances: wasmtime::InstancePre<InstanceState>,
}

impl DirectModule {
    /// `module`, if it imports nothing and its exports are of the types that the convention says.
    pub fn new(module: &Module, kind: &Kind) -> Option<Self> {
        let has = |name: &str, parameters: usize| match module.get_export(name) {
            Some(ExternType::Func(function)) => {
                function.params().len() == parameters
                    && function.params().all(|parameter| matches!(parameter, ValType::I32))
                    && matches!(function.results().collect::<Vec<_>>()[..], [ValType::I32])
            }
            _ => false,
        };
        let memory = module.get_export(MEMORY);
        let has_memory = matches!(&memory, Some(ExternType::Memory(memory)) if !memory.is_64() && !memory.is_shared());
        let functions = Function::of(kind);
        let keeps = module.imports().len() == 0
            && has_memory
            && has(DIRECT_INPUT, 2)
            && functions.iter().all(|f| has(&f.core_name(), 2 * f.frame_count()));
        if !keeps {
            return None;
        }
        let instances = wasmtime::Linker::new(module.engine()).instantiate_pre(module).ok()?;
        Some(Self { instances })
    }
}

impl Function {
    /// The name of the core function.
    fn core_name(self) -> String {
        let (interface, name) = match self {
            Self::Apply => (ROW, "apply"),
            Self::Fold => (AGGREGATE, "fold"),
            Self::Merge => (AGGREGATE, "merge"),
            Self::Read => (AGGREGATE, "read"),
            Self::Batch => (AGGREGATE, "batch"),
        };
        format!("{interface}#{name}")
    }

    /// How many frames it takes.
    pub fn frame_count(self) -> usize {
        match self {
            Self::Apply => 1,
            Self::Fold | Self::Merge | Self::Read => 2,
            Self::Batch => 3,
        }
    }
}

type Pair = (u32, u32);

enum Entry {
    One(TypedFunc<Pair, u32>),
    Two(TypedFunc<(u32, u32, u32, u32), u32>),
    Three(TypedFunc<(u32, u32, u32, u32, u32, u32), u32>),
}

/// An instance of a [`DirectModule`].
pub(crate) struct Direct {
    pub store: Store<InstanceState>,
    memory: Memory,
    input: TypedFunc<Pair, u32>,
    /// By [`Function`].
    entries: [Option<Entry>; Function::COUNT],
    /// Where the frames of a call lie: pointer, and words that there is room for.
    buffers: [Pair; 3],
}

impl Direct {
    pub fn new(module: &DirectModule, kind: &Kind, mut store: Store<InstanceState>) -> wasmtime::Result<Self> {
        let instance = module.instances.instantiate(&mut store)?;
        let mut entries = [const { None }; Function::COUNT];
        for function in Function::of(kind) {
            let name = function.core_name();
            entries[*function as usize] = Some(match function.frame_count() {
                1 => Entry::One(instance.get_typed_func(&mut store, &name)?),
                2 => Entry::Two(instance.get_typed_func(&mut store, &name)?),
                _ => Entry::Three(instance.get_typed_func(&mut store, &name)?),
            });
        }
        let memory = instance
            .get_memory(&mut store, MEMORY)
            .ok_or_else(|| wasmtime::Error::msg("the module has no memory"))?;
        Ok(Self {
            memory,
            input: instance.get_typed_func(&mut store, DIRECT_INPUT)?,
            entries,
            buffers: [(0, 0); 3],
            store,
        })
    }

    /// Calls `function` on `frames`, written into the guest's memory, and gives what lies there of its answer.
    pub fn enter(&mut self, function: Function, frames: &Frames<'_>) -> Result<Answer<'_>, EnterError> {
        let mut put = [(0, 0); 3];
        for (index, (columns, rows)) in frames.iter().enumerate() {
            put[index] = self.put(index, columns, *rows)?;
        }
        let [a, b, c] = put;
        let store = &mut self.store;
        let result = match &self.entries[function as usize] {
            Some(Entry::One(entry)) => entry.call(store, a),
            Some(Entry::Two(entry)) => entry.call(store, (a.0, a.1, b.0, b.1)),
            Some(Entry::Three(entry)) => entry.call(store, (a.0, a.1, b.0, b.1, c.0, c.1)),
            None => return Err(EnterError::Nonsense("the module is of the other kind")),
        };
        let result = result.map_err(EnterError::Engine)?;
        answer(self.memory.data(&self.store), result, function).map_err(EnterError::Nonsense)
    }

    /// Writes a frame where the guest has room for it: pointer and words.
    fn put(&mut self, index: usize, columns: &[&Column], rows: usize) -> Result<Pair, EnterError> {
        let (pointer, room) = self.buffers[index];
        let written = encode_within(columns, rows, self.room(pointer, room)?).map_err(EnterError::Encode)?;
        match written {
            Some(words) => Ok((pointer, words as u32)),
            None => self.put_larger(index, columns, rows),
        }
    }

    /// The same where the room that there is does not do.
    #[cold]
    fn put_larger(&mut self, index: usize, columns: &[&Column], rows: usize) -> Result<Pair, EnterError> {
        let words = encoded_words(columns, rows).map_err(EnterError::Encode)?;
        let count = u32::try_from(words).map_err(|_| EnterError::Encode(EncodeError::TooLarge))?;
        let pointer = self.input.call(&mut self.store, (index as u32, count));
        let pointer = pointer.map_err(EnterError::Engine)?;
        self.buffers[index] = (pointer, count);
        let written = encode_within(columns, rows, self.room(pointer, count)?).map_err(EnterError::Encode)?;
        assert!(
            written == Some(words),
            "a frame of {written:?} words was written to {words}"
        );
        Ok((pointer, count))
    }

    /// So many words of the guest's memory.
    fn room(&mut self, pointer: u32, words: u32) -> Result<&mut [u64], EnterError> {
        self.memory
            .data_mut(&mut self.store)
            .get_mut(words_range(pointer, words))
            .and_then(|bytes| bytemuck::try_cast_slice_mut(bytes).ok())
            .ok_or(EnterError::Nonsense("its room for a frame is outside of its memory"))
    }
}

/// Reads a `result<list<u64>, error>` of the canonical ABI.
fn answer(memory: &[u8], at: u32, function: Function) -> Result<Answer<'_>, &'static str> {
    const OUTSIDE: &str = "its result is outside of its memory";
    let at = at as usize;
    let result = at.checked_add(16).and_then(|end| memory.get(at..end)).ok_or(OUTSIDE)?;
    let word = |index: usize| {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&result[4 * index..4 * index + 4]);
        u32::from_le_bytes(bytes)
    };
    match result[0] {
        0 => {
            let frame = memory.get(words_range(word(1), word(2))).ok_or(OUTSIDE)?;
            let words = bytemuck::try_cast_slice(frame).map_err(|_| "its frame is not aligned")?;
            Ok(Answer::Frame(words))
        }
        1 => refusal(memory, function, result[4], word(2), word(3)).map(Answer::Refused),
        _ => Err("its result is neither a frame nor an error"),
    }
}

fn words_range(pointer: u32, words: u32) -> std::ops::Range<usize> {
    let start = pointer as usize;
    // Below 2^36: it does not overflow where memory is mapped.
    start..start + 8 * words as usize
}

/// What an error of the contract says. `case` is its case, `first` and `second` its payload's words.
fn refusal(memory: &[u8], function: Function, case: u8, first: u32, second: u32) -> Result<String, &'static str> {
    let text = || -> Result<String, &'static str> {
        let start = first as usize;
        let bytes = memory.get(start..start + second as usize);
        let bytes = bytes.ok_or("its error is outside of its memory")?;
        Ok(String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_MESSAGE_BYTES)]).into_owned())
    };
    Ok(match (function, case) {
        (Function::Apply, 0) => WitRowError::Frame(text()?).into(),
        (Function::Apply, _) => return Err("its error is none of the contract's"),
        (_, 0) => WitAggregateError::Frame(text()?).into(),
        (_, 1) => WitAggregateError::StateVersion(first).into(),
        (_, 2) => WitAggregateError::State(text()?).into(),
        (_, 3) => WitAggregateError::QueryBeforeState(text()?).into(),
        _ => return Err("its error is none of the contract's"),
    })
}

/// What is kept of an error's message.
const MAX_MESSAGE_BYTES: usize = 1_024;
