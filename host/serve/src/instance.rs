use std::sync::Arc;
use std::time::Duration;

use unskew_frame::{Column, ColumnType, EncodeError, Frame, FrameError};
use wasmtime::{Engine, Store, StoreLimits, StoreLimitsBuilder};

use crate::audit::Sampler;
use crate::descriptor::{ColumnDescriptor, Kind};
use crate::direct::Direct;
use crate::engine::BATCH_INSTANCE_BYTES;
use crate::golden::GoldenFunction;
use crate::lifted::Lifted;
use crate::module::{InstantiateError, Module, Shared};
use crate::runtime::TICK;
use crate::stack::{CALL_STACK_BYTES, has_room};

/// What one call may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// How long a call may run, the start of a fresh instance included; a millisecond at least. It is ended at most a [`TICK`]
    /// sooner, and later by what its last instruction takes, by what freeing its instance takes, and by what the
    /// thread that counts the ticks waits for a processor.
    pub deadline: Duration,
    /// The memory of the instance, in bytes; at most [`MAX_MEMORY_BYTES`](Self::MAX_MEMORY_BYTES). Small: the engine looks at the
    /// clock between two instructions, and one that fills or copies memory takes half a millisecond for 4 MiB and tens for 64.
    pub memory_bytes: usize,
    /// Whether every call runs on an instance of its own, so that nothing a call leaves in memory can be read by a later one.
    /// It costs an instantiation a call.
    pub fresh_instance: bool,
    /// What a call may give, in bytes: as it crosses, and its columns written out, a scalar for each row. Small as well: the
    /// host copies and checks a result after the component has returned, which no deadline ends.
    pub result_bytes: usize,
}

impl CallLimits {
    /// The most [`memory_bytes`](Self::memory_bytes) that are given: 256 MiB, which a backfill gives the instance that is asked of
    /// an entity with millions of events.
    pub const MAX_MEMORY_BYTES: usize = 256 << 20;

    /// For a request: 20 ms, 4 MiB of memory, 1 MiB of results.
    pub const SERVING: Self = Self {
        deadline: Duration::from_millis(20),
        memory_bytes: 4 << 20,
        fresh_instance: false,
        result_bytes: 1 << 20,
    };
    /// For a batch of thousands of rows: 60 s and 64 MiB, of memory and of results.
    pub const BATCH: Self = Self {
        deadline: Duration::from_secs(60),
        memory_bytes: BATCH_INSTANCE_BYTES,
        fresh_instance: false,
        result_bytes: BATCH_INSTANCE_BYTES,
    };

    fn ticks(&self) -> u64 {
        // The first comes at any moment, so a call is ended up to a tick sooner: what its last instruction takes, and what
        // freeing its instance does, would come on top of a tick that is waited for.
        ((self.deadline.as_micros() / TICK.as_micros()) as u64).max(2)
    }
}

impl Default for CallLimits {
    fn default() -> Self {
        Self::SERVING
    }
}

/// A transform ready to be called, by one thread at a time. Batch and serving call components through this and nothing else.
///
/// Columns in, columns out: [`apply`](Self::apply) for a row transform; [`fold`](Self::fold), [`merge`](Self::merge),
/// [`read`](Self::read) and [`batch`](Self::batch) for an aggregate. Outputs are appended to columns of the declared types;
/// every offset, every string and every missing value is checked, and NaN is canonical. After a trap, a deadline or an output
/// that is refused the instance is replaced: the next call runs on a fresh one.
pub struct Instance {
    module: Arc<Shared>,
    limits: CallLimits,
    /// The deadline in ticks.
    ticks: u64,
    live: Option<Live>,
    /// What went wrong in the last failed call.
    detail: String,
    sampler: Option<Sampler>,
}

/// What is kept of a message that a component made up.
const MAX_DETAIL_BYTES: usize = 1_024;

/// An instance in the engine: called directly where the component allows it, else through the component model.
enum Live {
    Direct(Box<Direct>),
    Lifted(Lifted),
}

/// What the engine keeps beside an instance.
pub(crate) struct InstanceState {
    limits: StoreLimits,
}

impl InstanceState {
    pub fn store(engine: &Engine, limits: CallLimits) -> Store<Self> {
        let state = Self {
            limits: StoreLimitsBuilder::new()
                .memory_size(limits.memory_bytes.min(CallLimits::MAX_MEMORY_BYTES))
                .table_elements(10_000)
                .instances(8)
                .tables(8)
                .memories(2)
                .trap_on_grow_failure(true)
                .build(),
        };
        let mut store = Store::new(engine, state);
        store.limiter(|state| &mut state.limits);
        store.set_hostcall_fuel(limits.result_bytes);
        store.epoch_deadline_trap();
        store.set_epoch_deadline(limits.ticks());
        store
    }
}

/// What a component exports beside its description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    Apply,
    Fold,
    Merge,
    Read,
    Batch,
}

impl Function {
    pub const COUNT: usize = Self::Batch as usize + 1;

    /// The functions of a component of this kind.
    pub fn of(kind: &Kind) -> &'static [Self] {
        match kind {
            Kind::Row => &[Self::Apply],
            Kind::Aggregate(_) => &[Self::Fold, Self::Merge, Self::Read, Self::Batch],
        }
    }
}

/// The frames of a call: the columns of each, and its rows.
pub(crate) type Frames<'a> = [(&'a [&'a Column], usize)];

/// Why a way into a component came to nothing.
pub(crate) enum EnterError {
    /// A frame cannot be written.
    Encode(EncodeError),
    /// It trapped, or was interrupted.
    Engine(wasmtime::Error),
    /// It gave a pointer, a length or a case that is none.
    Nonsense(&'static str),
}

/// What a component gave.
pub(crate) enum Answer<'a> {
    Frame(&'a [u64]),
    Refused(String),
}

impl Instance {
    pub(crate) fn new(module: Arc<Shared>, limits: CallLimits) -> Result<Self, InstantiateError> {
        let failed = |reason| InstantiateError {
            module: module.descriptor.name.clone(),
            reason,
        };
        if !has_room(CALL_STACK_BYTES) {
            return Err(failed(format!(
                "its start needs {CALL_STACK_BYTES} bytes of the thread's stack"
            )));
        }
        let live = Live::new(&module, limits).map_err(|error| failed(format!("{error:#}")))?;
        Ok(Self {
            module,
            limits,
            ticks: limits.ticks(),
            live: Some(live),
            detail: String::new(),
            sampler: None,
        })
    }

    /// Applies a row transform to `rows` rows and appends its outputs.
    ///
    /// # Errors
    /// See [`CallError`]. Some outputs may have been appended.
    pub fn apply(&mut self, inputs: &[&Column], rows: usize, outputs: &mut [Column]) -> Result<(), CallError> {
        self.call(Function::Apply, &[(inputs, rows)], rows, Expected::Outputs, outputs)?;
        self.sample(GoldenFunction::Apply, rows, [(inputs, rows), (&[], 0)], outputs);
        Ok(())
    }

    /// Appends the states with the events added. `events` starts with the index of the state, ascending, and the time.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn fold(&mut self, states: &Column, events: &[&Column], folded: &mut Column) -> Result<(), CallError> {
        let rows = states.rows();
        let frames: &Frames<'_> = &[(&[states], rows), (events, row_count(events))];
        self.call(
            Function::Fold,
            frames,
            rows,
            Expected::States,
            std::slice::from_mut(folded),
        )
    }

    /// Appends, row by row, the state of the events of both sides.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn merge(&mut self, left: &Column, right: &Column, merged: &mut Column) -> Result<(), CallError> {
        let rows = left.rows();
        let frames: &Frames<'_> = &[(&[left], rows), (&[right], right.rows())];
        self.call(
            Function::Merge,
            frames,
            rows,
            Expected::States,
            std::slice::from_mut(merged),
        )
    }

    /// Appends the outputs of queries. `queries` starts with the index of the state, ascending, and the time; `rows` is
    /// their number, since all of them may be scalars.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn read(
        &mut self,
        states: &Column,
        queries: &[&Column],
        rows: usize,
        outputs: &mut [Column],
    ) -> Result<(), CallError> {
        let states = &[states][..];
        let frames = [(states, states[0].rows()), (queries, rows)];
        self.call(Function::Read, &frames, rows, Expected::Outputs, outputs)?;
        self.sample(GoldenFunction::Read, rows, frames, outputs);
        Ok(())
    }

    /// Appends the outputs of queries that see their state and the first events of it. `queries` starts with the index of
    /// the state, ascending, the time, and the number of events that the query sees.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn batch(
        &mut self,
        states: &Column,
        events: &[&Column],
        queries: &[&Column],
        rows: usize,
        outputs: &mut [Column],
    ) -> Result<(), CallError> {
        let frames: &Frames<'_> = &[(&[states], states.rows()), (events, row_count(events)), (queries, rows)];
        self.call(Function::Batch, frames, rows, Expected::Outputs, outputs)
    }

    /// Has some of its calls audited from now on.
    pub(crate) fn audit(&mut self, sampler: Sampler) {
        self.sampler = Some(sampler);
    }

    fn sample(&mut self, function: GoldenFunction, rows: usize, frames: [(&[&Column], usize); 2], outputs: &[Column]) {
        if let Some(sampler) = &mut self.sampler
            && sampler.is_due()
        {
            sampler.take(|| Module::of(&self.module), function, rows, frames, outputs);
        }
    }

    /// The module's name.
    pub fn module_name(&self) -> &str {
        &self.module.descriptor.name
    }

    /// What went wrong in the last failed call, for people.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The one place that enters a component.
    fn call(
        &mut self,
        function: Function,
        frames: &Frames<'_>,
        rows: usize,
        expected: Expected,
        outputs: &mut [Column],
    ) -> Result<(), CallError> {
        if !Function::of(&self.module.descriptor.kind).contains(&function) {
            self.detail = "a row transform was called as an aggregate, or the other way round".to_owned();
            return Err(CallError::WrongKind);
        }
        if !has_room(CALL_STACK_BYTES) {
            self.detail = format!("a call needs {CALL_STACK_BYTES} bytes of its thread's stack");
            return Err(CallError::Stack);
        }
        let live = match &mut self.live {
            Some(live) => {
                live.set_deadline(self.ticks);
                live
            }
            // What the start of a fresh instance takes is part of the call: its deadline runs since the store was made.
            None => match Live::new(&self.module, self.limits) {
                Ok(live) => self.live.insert(live),
                Err(error) => return Err(self.failed(EnterError::Engine(error))),
            },
        };
        let result = match live.enter(function, frames) {
            Ok(Answer::Frame(words)) => {
                take(words, rows, expected, &self.module, self.limits, outputs).map_err(|reason| {
                    // What gives nonsense may be in any state, too.
                    self.live = None;
                    self.detail = reason;
                    CallError::Output
                })
            }
            Ok(Answer::Refused(mut reason)) => {
                reason.truncate(reason.floor_char_boundary(MAX_DETAIL_BYTES));
                self.detail = reason;
                Err(CallError::Refused)
            }
            Err(error) => Err(self.failed(error)),
        };
        if self.limits.fresh_instance {
            self.live = None;
        }
        result
    }

    fn failed(&mut self, error: EnterError) -> CallError {
        match error {
            EnterError::Encode(error) => {
                self.detail = error.to_string();
                CallError::TooLarge
            }
            // A component that trapped may be in any state: its memory is not used again.
            EnterError::Engine(error) => {
                self.live = None;
                self.detail = format!("{error:#}");
                match error.downcast_ref::<wasmtime::Trap>() {
                    Some(wasmtime::Trap::Interrupt) => CallError::Deadline,
                    _ => CallError::Trap,
                }
            }
            EnterError::Nonsense(reason) => {
                self.live = None;
                self.detail = reason.to_owned();
                CallError::Output
            }
        }
    }
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance")
            .field("module", &self.module.descriptor.name)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Live {
    fn new(module: &Shared, limits: CallLimits) -> wasmtime::Result<Self> {
        let store = InstanceState::store(module.runtime.engine(), limits);
        let kind = &module.descriptor.kind;
        match &module.direct {
            Some(direct) => Direct::new(direct, kind, store).map(|direct| Self::Direct(Box::new(direct))),
            None => Lifted::new(&module.instances, &module.exports, store).map(Self::Lifted),
        }
    }

    fn set_deadline(&mut self, ticks: u64) {
        match self {
            Self::Direct(direct) => direct.store.set_epoch_deadline(ticks),
            Self::Lifted(lifted) => lifted.store.set_epoch_deadline(ticks),
        }
    }

    fn enter(&mut self, function: Function, frames: &Frames<'_>) -> Result<Answer<'_>, EnterError> {
        match self {
            Self::Direct(direct) => direct.enter(function, frames),
            Self::Lifted(lifted) => lifted.enter(function, frames),
        }
    }
}

#[derive(Clone, Copy)]
enum Expected {
    Outputs,
    States,
}

/// Checks the frame that a component gave and appends its columns.
fn take(
    words: &[u64],
    rows: usize,
    expected: Expected,
    module: &Shared,
    limits: CallLimits,
    outputs: &mut [Column],
) -> Result<(), String> {
    let declared: &[ColumnDescriptor] = match (expected, &module.descriptor.kind) {
        (Expected::States, Kind::Aggregate(_)) => &[],
        _ => &module.descriptor.outputs,
    };
    if size_of_val(words) > limits.result_bytes {
        return Err(format!("it is beyond the limit of {} bytes", limits.result_bytes));
    }
    let text = |error: FrameError| error.to_string();
    let frame = Frame::open(words, outputs.len()).map_err(text)?;
    if frame.rows() != rows {
        return Err(format!("{} rows came back for {rows}", frame.rows()));
    }
    let mut taking = Taking {
        frame,
        declared,
        limits,
        written_bytes: 0,
    };
    for (index, output) in outputs.iter_mut().enumerate() {
        if let Some(is_present) = taking.frame.append_word(index, output) {
            taking.count_word(index, is_present)?;
            continue;
        }
        // What most columns are is named, for a known type is checked and copied by far fewer instructions.
        match output.column_type() {
            ColumnType::F64 => taking.column(index, ColumnType::F64, output)?,
            ColumnType::I64 => taking.column(index, ColumnType::I64, output)?,
            column_type => taking.column(index, column_type, output)?,
        }
    }
    Ok(())
}

/// What is known while the columns of a frame are taken.
struct Taking<'a> {
    frame: Frame<'a>,
    declared: &'a [ColumnDescriptor],
    limits: CallLimits,
    written_bytes: u64,
}

impl Taking<'_> {
    /// Of a column whose one value was appended already.
    #[inline(always)]
    fn count_word(&mut self, index: usize, is_present: bool) -> Result<(), String> {
        self.written_bytes += size_of::<u64>() as u64;
        if self.written_bytes > self.limits.result_bytes as u64 {
            return Err(too_large(1, self.written_bytes, self.limits));
        }
        match self.declared.get(index) {
            Some(declared) if !is_present && !declared.nullable => Err(missing(declared)),
            _ => Ok(()),
        }
    }

    #[inline(always)]
    fn column(&mut self, index: usize, column_type: ColumnType, output: &mut Column) -> Result<(), String> {
        let rows = self.frame.rows();
        let column = match self.frame.typed(index, column_type) {
            Ok(column) => column,
            Err(error) => return Err(error.to_string()),
        };
        // Before the column is read through: columns may share words, and a scalar stands for every row.
        self.written_bytes = self.written_bytes.saturating_add(column.written_bytes(rows));
        if self.written_bytes > self.limits.result_bytes as u64 {
            return Err(too_large(rows, self.written_bytes, self.limits));
        }
        if column_type == ColumnType::String && !column.is_text(rows) {
            return Err(format!("frame column {index}: a string is not UTF-8"));
        }
        if !column.is_all_present()
            && let Some(declared) = self.declared.get(index).filter(|declared| !declared.nullable)
            && column.missing_count(0..rows) > 0
        {
            return Err(missing(declared));
        }
        output.extend_from(column, 0..rows);
        Ok(())
    }
}

#[cold]
fn too_large(rows: usize, written_bytes: u64, limits: CallLimits) -> String {
    format!(
        "{rows} rows of it are {written_bytes} bytes or more, beyond the limit of {}",
        limits.result_bytes
    )
}

#[cold]
fn missing(declared: &ColumnDescriptor) -> String {
    format!("output `{}` has missing values and is declared without", declared.name)
}

/// Columns for the outputs of a module, to append to.
pub fn output_columns(columns: &[ColumnDescriptor]) -> Vec<Column> {
    columns.iter().map(|column| Column::new(column.column_type)).collect()
}

/// A column of states, to append to.
pub fn state_column() -> Column {
    Column::new(ColumnType::Bytes)
}

fn row_count(columns: &[&Column]) -> usize {
    columns
        .iter()
        .find(|column| !column.is_scalar())
        .or(columns.first())
        .map_or(0, |column| column.rows())
}

/// Why a call gave nothing. [`Instance::detail`] says more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The component trapped: it panicked, or needed more memory or stack than it may have.
    #[error("the transform trapped")]
    Trap,
    /// It ran past its deadline.
    #[error("the transform ran past its deadline")]
    Deadline,
    /// It refused its input: a state of another version, a damaged state, a query before its state.
    #[error("the transform refused its input")]
    Refused,
    /// What it gave is not what its descriptor says.
    #[error("the transform gave something else than its descriptor says")]
    Output,
    /// The batch is beyond what a frame can hold.
    #[error("the batch is too large for a frame")]
    TooLarge,
    /// The calling thread has less of its stack left than [`CALL_STACK_BYTES`].
    #[error("the thread's stack is too small for a call")]
    Stack,
    /// The module is of the other kind.
    #[error("the module is of the other kind")]
    WrongKind,
}

impl CallError {
    /// Whether the transform took too long.
    pub fn is_deadline(self) -> bool {
        self == Self::Deadline
    }

    /// Whether it is due to the rows of the call: fewer of them, or others, may go well.
    pub fn is_of_rows(self) -> bool {
        !matches!(self, Self::Stack | Self::WrongKind)
    }
}
