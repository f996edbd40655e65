use std::sync::Arc;
use std::time::Duration;

use unskew_frame::{Column, ColumnType, Frame, FrameError, Value, encode};
use wasmtime::component::{ComponentExportIndex, TypedFunc};
use wasmtime::{Engine, Store, StoreLimits, StoreLimitsBuilder};

use crate::descriptor::{ColumnDescriptor, Kind};
use crate::engine::MAX_INSTANCE_BYTES;
use crate::module::{Exports, InstantiateError, Shared};
use crate::runtime::TICK;
use crate::wit::{WitAggregateError, WitRowError};

/// What one call may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// How long a call may run. It is ended within two [`TICK`]s of this.
    pub deadline: Duration,
    /// The memory of the instance, in bytes.
    pub memory_bytes: usize,
}

impl CallLimits {
    /// For a request: 20 ms and 4 MiB.
    pub const SERVING: Self = Self {
        deadline: Duration::from_millis(20),
        memory_bytes: 4 << 20,
    };
    /// For a batch of thousands of rows: 60 s and the most that an instance may have.
    pub const BATCH: Self = Self {
        deadline: Duration::from_secs(60),
        memory_bytes: MAX_INSTANCE_BYTES,
    };

    fn ticks(&self) -> u64 {
        (self.deadline.as_micros() / TICK.as_micros()) as u64 + 1
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
    live: Option<Live>,
    /// The frames on their way in. Shared with the engine during a call only.
    frames: [Words; 3],
    /// What went wrong in the last failed call.
    detail: String,
}

type Words = Arc<Vec<u64>>;
/// Copied out: a component may free its result at the end of the call, before the host could read it in place.
type RowResult = (Result<Vec<u64>, WitRowError>,);
type AggregateResult = (Result<Vec<u64>, WitAggregateError>,);

struct Live {
    store: Store<InstanceState>,
    functions: Functions,
}

enum Functions {
    Row {
        apply: TypedFunc<(Words,), RowResult>,
    },
    Aggregate {
        fold: TypedFunc<(Words, Words), AggregateResult>,
        merge: TypedFunc<(Words, Words), AggregateResult>,
        read: TypedFunc<(Words, Words), AggregateResult>,
        batch: TypedFunc<(Words, Words, Words), AggregateResult>,
    },
}

/// What the engine keeps beside an instance.
pub(crate) struct InstanceState {
    limits: StoreLimits,
}

impl InstanceState {
    pub fn store(engine: &Engine, limits: CallLimits) -> Store<Self> {
        let state = Self {
            limits: StoreLimitsBuilder::new()
                .memory_size(limits.memory_bytes.min(MAX_INSTANCE_BYTES))
                .table_elements(10_000)
                .instances(8)
                .tables(8)
                .memories(2)
                .trap_on_grow_failure(true)
                .build(),
        };
        let mut store = Store::new(engine, state);
        store.limiter(|state| &mut state.limits);
        store.epoch_deadline_trap();
        store.set_epoch_deadline(limits.ticks());
        store
    }
}

#[derive(Clone, Copy)]
enum Function {
    Apply,
    Fold,
    Merge,
    Read,
    Batch,
}

impl Instance {
    pub(crate) fn new(module: Arc<Shared>, limits: CallLimits) -> Result<Self, InstantiateError> {
        let live = Live::new(&module, limits).map_err(|error| InstantiateError {
            module: module.descriptor.name.clone(),
            reason: format!("{error:#}"),
        })?;
        Ok(Self {
            module,
            limits,
            live: Some(live),
            frames: Default::default(),
            detail: String::new(),
        })
    }

    /// Applies a row transform to `rows` rows and appends its outputs.
    ///
    /// # Errors
    /// See [`CallError`]. Some outputs may have been appended.
    pub fn apply(&mut self, inputs: &[&Column], rows: usize, outputs: &mut [Column]) -> Result<(), CallError> {
        self.fill(0, inputs, rows)?;
        self.call(Function::Apply, rows, Expected::Outputs, outputs)
    }

    /// Appends the states with the events added. `events` starts with the index of the state, ascending, and the time.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn fold(&mut self, states: &Column, events: &[&Column], folded: &mut Column) -> Result<(), CallError> {
        let rows = states.rows();
        self.fill(0, &[states], rows)?;
        self.fill(1, events, row_count(events))?;
        self.call(Function::Fold, rows, Expected::States, std::slice::from_mut(folded))
    }

    /// Appends, row by row, the state of the events of both sides.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn merge(&mut self, left: &Column, right: &Column, merged: &mut Column) -> Result<(), CallError> {
        let rows = left.rows();
        self.fill(0, &[left], rows)?;
        self.fill(1, &[right], right.rows())?;
        self.call(Function::Merge, rows, Expected::States, std::slice::from_mut(merged))
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
        self.fill(0, &[states], states.rows())?;
        self.fill(1, queries, rows)?;
        self.call(Function::Read, rows, Expected::Outputs, outputs)
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
        self.fill(0, &[states], states.rows())?;
        self.fill(1, events, row_count(events))?;
        self.fill(2, queries, rows)?;
        self.call(Function::Batch, rows, Expected::Outputs, outputs)
    }

    /// The module's name.
    pub fn module_name(&self) -> &str {
        &self.module.descriptor.name
    }

    /// What went wrong in the last failed call, for people.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    fn fill(&mut self, frame: usize, columns: &[&Column], rows: usize) -> Result<(), CallError> {
        let words = &mut self.frames[frame];
        if Arc::get_mut(words).is_none() {
            *words = Words::default();
        }
        let Some(words) = Arc::get_mut(words) else {
            return Err(CallError::TooLarge);
        };
        encode(columns, rows, words).map_err(|error| {
            self.detail = error.to_string();
            CallError::TooLarge
        })
    }

    /// The one place that enters a component.
    fn call(
        &mut self,
        function: Function,
        rows: usize,
        expected: Expected,
        outputs: &mut [Column],
    ) -> Result<(), CallError> {
        let live = match &mut self.live {
            Some(live) => live,
            None => {
                let live = Live::new(&self.module, self.limits).map_err(|error| {
                    self.detail = format!("{error:#}");
                    CallError::Trap
                })?;
                self.live.insert(live)
            }
        };
        live.store.set_epoch_deadline(self.limits.ticks());
        let [a, b, c] = [0, 1, 2].map(|frame: usize| Arc::clone(&self.frames[frame]));
        let store = &mut live.store;
        let result = match (&live.functions, function) {
            (Functions::Row { apply }, Function::Apply) => {
                apply.call(store, (a,)).map(|(result,)| result.map_err(String::from))
            }
            (Functions::Aggregate { fold, .. }, Function::Fold) => {
                fold.call(store, (a, b)).map(|(result,)| result.map_err(String::from))
            }
            (Functions::Aggregate { merge, .. }, Function::Merge) => {
                merge.call(store, (a, b)).map(|(result,)| result.map_err(String::from))
            }
            (Functions::Aggregate { read, .. }, Function::Read) => {
                read.call(store, (a, b)).map(|(result,)| result.map_err(String::from))
            }
            (Functions::Aggregate { batch, .. }, Function::Batch) => batch
                .call(store, (a, b, c))
                .map(|(result,)| result.map_err(String::from)),
            _ => {
                self.detail = "a row transform was called as an aggregate, or the other way round".to_owned();
                return Err(CallError::WrongKind);
            }
        };
        match result {
            Ok(Ok(words)) => take(&words, rows, expected, &self.module, self.limits, outputs).map_err(|reason| {
                // What gives nonsense may be in any state, too.
                self.live = None;
                self.detail = reason;
                CallError::Output
            }),
            Ok(Err(refused)) => {
                self.detail = refused;
                Err(CallError::Refused)
            }
            Err(error) => {
                // A component that trapped may be in any state: its memory is not used again.
                self.live = None;
                let is_deadline = error
                    .downcast_ref::<wasmtime::Trap>()
                    .is_some_and(|trap| *trap == wasmtime::Trap::Interrupt);
                self.detail = format!("{error:#}");
                Err(if is_deadline {
                    CallError::Deadline
                } else {
                    CallError::Trap
                })
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
        let mut store = InstanceState::store(module.runtime.engine(), limits);
        let instance = module.instances.instantiate(&mut store)?;
        let functions = match &module.exports {
            Exports::Row { apply } => Functions::Row {
                apply: instance.get_typed_func(&mut store, *apply)?,
            },
            Exports::Aggregate {
                fold,
                merge,
                read,
                batch,
            } => {
                let mut two = |index: &ComponentExportIndex| instance.get_typed_func(&mut store, *index);
                let (fold, merge, read) = (two(fold)?, two(merge)?, two(read)?);
                Functions::Aggregate {
                    fold,
                    merge,
                    read,
                    batch: instance.get_typed_func(&mut store, *batch)?,
                }
            }
        };
        Ok(Self { store, functions })
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
    let types = outputs.iter().map(Column::column_type);
    let frame = Frame::check_types(words, types).map_err(|error: FrameError| error.to_string())?;
    frame.check_text().map_err(|error| error.to_string())?;
    if frame.rows() != rows {
        return Err(format!("{} rows came back for {rows}", frame.rows()));
    }
    for (index, output) in outputs.iter_mut().enumerate() {
        let column = frame.column(index);
        let may_be_missing = declared.get(index).is_none_or(|column| column.nullable);
        if !may_be_missing && (0..rows).any(|row| !column.is_present(row)) {
            return Err(format!(
                "output `{}` has missing values and is declared without",
                declared[index].name
            ));
        }
        // One scalar stands for every row and may be as long as the instance's memory: written out it must not be longer.
        let scalar_bytes = match column.is_scalar().then(|| column.value(0)) {
            Some(Value::String(text)) => text.len(),
            Some(Value::Bytes(bytes)) => bytes.len(),
            _ => 0,
        };
        if scalar_bytes.saturating_mul(rows) > limits.memory_bytes {
            return Err(format!(
                "output column {index} is {scalar_bytes} bytes for each of {rows} rows, beyond {} in all",
                limits.memory_bytes
            ));
        }
        output.extend_from(column, 0..rows);
    }
    Ok(())
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
    /// The module is of the other kind.
    #[error("the module is of the other kind")]
    WrongKind,
}

impl CallError {
    /// Whether the transform took too long.
    pub fn is_deadline(self) -> bool {
        self == Self::Deadline
    }
}
