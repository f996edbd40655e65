use unskew_frame::{Column, ColumnType, ColumnView, Frame, encode};

use crate::Timestamp;
use crate::column::{BLOCK_ROWS, ColumnMeta, Input, Output};
use crate::module::ModuleMeta;
use crate::row::FrameBuffer;
use crate::state::{Level, State, StateError, StateReader, for_each_tile, levels, state_version};
use crate::window::WindowMeta;

/// A struct of accumulators. Derive it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a struct of accumulators",
    label = "not a struct of accumulators",
    note = "totals are a struct with named fields and #[derive(unskew_guest::Accumulators, Clone, Default, PartialEq)]"
)]
pub trait Accumulators: Default + Clone + PartialEq {
    /// The event's columns.
    type Event<'a>: Input<'a>;

    /// The fields and their types, as written.
    const LAYOUT: &'static str;

    /// Adds an event to every accumulator that takes it.
    fn add(&mut self, time: Timestamp, event: &Self::Event<'_>);

    /// Adds what `other` has seen.
    fn merge(&mut self, other: &Self);

    /// Appends the canonical bytes.
    fn encode(&self, bytes: &mut Vec<u8>);

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// The bytes end early or cannot have been written by it.
    fn decode(reader: &mut StateReader<'_>) -> Result<Self, StateError>;
}

/// An aggregate: what [`aggregate`](macro@crate::aggregate) makes of a function.
pub trait Aggregate {
    /// What is kept of the events.
    type Totals: Accumulators;
    /// The parameters of a query.
    type Input<'a>: Input<'a>;
    /// The outputs of one window.
    type Output: Output;
    /// The descriptor's words.
    const MODULE: ModuleMeta;
    /// The windows, in the order of the outputs.
    const WINDOWS: &'static [WindowMeta];

    /// The outputs of a window with these totals.
    fn read(totals: &Self::Totals, input: &Self::Input<'_>) -> Self::Output;
}

/// Why a batch was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AggregateError {
    /// A frame is not what the descriptor calls for.
    Frame(String),
    /// A state is of a version that this module does not read.
    StateVersion(u32),
    /// The state in this row is damaged.
    State(usize),
    /// The query in this row is at or before the last event of its state.
    QueryBeforeState(usize),
}

/// The outputs of all windows: `{output}_{window}`, windows first.
pub(crate) fn output_columns<T: Aggregate>() -> impl Iterator<Item = (String, &'static ColumnMeta)> {
    T::WINDOWS.iter().flat_map(|window| {
        T::Output::COLUMNS
            .iter()
            .map(move |column| (format!("{}_{}", column.name, window.name), column))
    })
}

/// `fold` of the contract.
#[doc(hidden)]
pub fn fold_frame<T: Aggregate>(states: &[u64], events: &[u64], out: &mut FrameBuffer) -> Result<(), AggregateError> {
    let layout = Layout::of::<T>();
    let states = states_frame(states)?;
    let events = EventFrame::<T>::check(events, states.rows())?;
    let mut folded = Column::new(ColumnType::Bytes);
    let (mut event, mut bytes) = (0, Vec::new());
    for row in 0..states.rows() {
        let mut state = decode_state::<T>(states.column(0), row, &layout)?;
        while event < events.rows && events.state(event) == row {
            state.add(&layout.levels, events.time(event), &events.event(event));
            event += 1;
        }
        push_state(state, &layout, &mut bytes, &mut folded);
    }
    encode_columns(&[&folded], states.rows(), &mut out.words)
}

/// `merge` of the contract.
#[doc(hidden)]
pub fn merge_frame<T: Aggregate>(left: &[u64], right: &[u64], out: &mut FrameBuffer) -> Result<(), AggregateError> {
    let layout = Layout::of::<T>();
    let (left, right) = (states_frame(left)?, states_frame(right)?);
    if left.rows() != right.rows() {
        return Err(AggregateError::Frame(
            "the two sides have different numbers of rows".to_owned(),
        ));
    }
    let mut merged = Column::new(ColumnType::Bytes);
    let mut bytes = Vec::new();
    for row in 0..left.rows() {
        let mut state = decode_state::<T>(left.column(0), row, &layout)?;
        state.merge(&decode_state::<T>(right.column(0), row, &layout)?);
        push_state(state, &layout, &mut bytes, &mut merged);
    }
    encode_columns(&[&merged], left.rows(), &mut out.words)
}

/// `read` of the contract.
#[doc(hidden)]
pub fn read_frame<T: Aggregate>(states: &[u64], queries: &[u64], out: &mut FrameBuffer) -> Result<(), AggregateError> {
    let layout = Layout::of::<T>();
    let states = states_frame(states)?;
    let queries = QueryFrame::<T>::check(queries, states.rows(), false)?;
    write_outputs::<T>(queries.rows, out, |outputs| {
        read_queries(&layout, &states, &queries, outputs)
    })
}

fn read_queries<T: Aggregate>(
    layout: &Layout,
    states: &Frame<'_>,
    queries: &QueryFrame<'_, T>,
    outputs: &mut Outputs<'_, T>,
) -> Result<(), AggregateError> {
    let mut totals = vec![T::Totals::default(); T::WINDOWS.len()];
    for row in 0..queries.rows {
        let t = queries.time(row);
        totals.fill(T::Totals::default());
        let state = states.column(0);
        let index = queries.state(row);
        if state.is_present(index) {
            let last = for_each_tile::<T::Totals>(
                state.bytes(index),
                layout.version,
                &layout.levels,
                |level, tile, tile_totals| {
                    for (window, totals) in T::WINDOWS.iter().zip(&mut totals) {
                        if window.tile_us() == layout.levels[level].tile_us && tile >= window.first_tile(t.as_micros())
                        {
                            totals.merge(&tile_totals);
                        }
                    }
                },
            )
            .map_err(|error| state_error(error, index))?;
            if last >= t {
                return Err(AggregateError::QueryBeforeState(row));
            }
        }
        outputs.push(&totals, &queries.input(row));
    }
    Ok(())
}

/// `batch` of the contract.
#[doc(hidden)]
pub fn batch_frame<T: Aggregate>(
    states: &[u64],
    events: &[u64],
    queries: &[u64],
    out: &mut FrameBuffer,
) -> Result<(), AggregateError> {
    let layout = Layout::of::<T>();
    let states = states_frame(states)?;
    let events = EventFrame::<T>::check(events, states.rows())?;
    let queries = QueryFrame::<T>::check(queries, states.rows(), true)?;
    write_outputs::<T>(queries.rows, out, |outputs| {
        answer_queries(&layout, &states, &events, &queries, outputs)
    })
}

fn answer_queries<T: Aggregate>(
    layout: &Layout,
    states: &Frame<'_>,
    events: &EventFrame<'_, T>,
    queries: &QueryFrame<'_, T>,
    outputs: &mut Outputs<'_, T>,
) -> Result<(), AggregateError> {
    let mut totals = Vec::with_capacity(T::WINDOWS.len());
    let (mut row, mut first_event) = (0, 0);
    for index in 0..states.rows() {
        let event_count = (first_event..events.rows)
            .take_while(|event| events.state(*event) == index)
            .count();
        let mut state = decode_state::<T>(states.column(0), index, layout)?;
        let mut seen = 0;
        while row < queries.rows && queries.state(row) == index {
            let visible = queries.visible(row);
            if visible < seen || visible > event_count {
                return Err(AggregateError::Frame(format!(
                    "query {row} sees {visible} events after one that sees {seen}, of {event_count}"
                )));
            }
            for event in seen..visible {
                let event = first_event + event;
                state.add(&layout.levels, events.time(event), &events.event(event));
            }
            if visible > seen {
                state.evict(&layout.levels);
                seen = visible;
            }
            let t = queries.time(row);
            if state.last() >= Some(t) {
                return Err(AggregateError::QueryBeforeState(row));
            }
            totals.clear();
            totals.extend(T::WINDOWS.iter().map(|window| state.totals(&layout.levels, window, t)));
            outputs.push(&totals, &queries.input(row));
            row += 1;
        }
        first_event += event_count;
    }
    Ok(())
}

/// What the bytes of a state depend on.
pub(crate) struct Layout {
    levels: Vec<Level>,
    pub version: u32,
}

impl Layout {
    pub fn of<T: Aggregate>() -> Self {
        let levels = levels(T::WINDOWS);
        let version = state_version::<T::Totals>(&levels);
        Self { levels, version }
    }
}

fn states_frame(words: &[u64]) -> Result<Frame<'_>, AggregateError> {
    Frame::check(words, &[ColumnType::Bytes]).map_err(|error| AggregateError::Frame(format!("states: {error}")))
}

fn decode_state<T: Aggregate>(
    states: ColumnView<'_>,
    row: usize,
    layout: &Layout,
) -> Result<State<T::Totals>, AggregateError> {
    if !states.is_present(row) {
        return Ok(State::new(&layout.levels));
    }
    State::decode(states.bytes(row), layout.version, &layout.levels).map_err(|error| state_error(error, row))
}

fn state_error(error: StateError, row: usize) -> AggregateError {
    match error {
        StateError::Version(version) => AggregateError::StateVersion(version),
        StateError::Damaged => AggregateError::State(row),
    }
}

fn push_state<A: Accumulators>(mut state: State<A>, layout: &Layout, bytes: &mut Vec<u8>, states: &mut Column) {
    let Some(last) = state.last() else {
        return states.push_null();
    };
    state.evict(&layout.levels);
    bytes.clear();
    state.encode(layout.version, last, bytes);
    states.push_bytes(bytes);
}

fn encode_columns(columns: &[&Column], rows: usize, out: &mut Vec<u64>) -> Result<(), AggregateError> {
    encode(columns, rows, out).map_err(|error| AggregateError::Frame(error.to_string()))
}

/// Checks a frame of leading columns and declared ones, and that the state indices ascend within the states.
fn check_frame<'a>(
    what: &str,
    words: &'a [u64],
    leading: &[ColumnType],
    declared: &[ColumnMeta],
    states: usize,
) -> Result<Frame<'a>, AggregateError> {
    let refuse = |reason: String| AggregateError::Frame(format!("{what}: {reason}"));
    let types: Vec<ColumnType> = leading
        .iter()
        .copied()
        .chain(declared.iter().map(|column| column.column_type))
        .collect();
    let frame = Frame::check(words, &types).map_err(|error| refuse(error.to_string()))?;
    if let Some(column) = (0..leading.len()).find(|i| !frame.column(*i).is_all_present()) {
        return Err(refuse(format!("column {column} has missing values")));
    }
    for (index, declared) in declared.iter().enumerate() {
        crate::column::check_present(declared, frame.column(leading.len() + index)).map_err(refuse)?;
    }
    let mut last = 0;
    for row in 0..frame.rows() {
        let state = frame.column(0).i64(row);
        if state < last || state >= states as i64 {
            return Err(refuse(format!(
                "row {row} is of state {state} after {last}, of {states}"
            )));
        }
        last = state;
    }
    Ok(frame)
}

type Event<'a, T> = <<T as Aggregate>::Totals as Accumulators>::Event<'a>;

struct EventFrame<'a, T: Aggregate> {
    rows: usize,
    states: ColumnView<'a>,
    times: ColumnView<'a>,
    events: <Event<'a, T> as Input<'a>>::Readers,
}

impl<'a, T: Aggregate> EventFrame<'a, T> {
    fn check(words: &'a [u64], states: usize) -> Result<Self, AggregateError> {
        let leading = [ColumnType::I64, ColumnType::Timestamp];
        let declared = <Event<'a, T> as Input<'a>>::COLUMNS;
        let frame = check_frame("events", words, &leading, declared, states)?;
        Ok(Self {
            rows: frame.rows(),
            states: frame.column(0),
            times: frame.column(1),
            events: Event::<'a, T>::readers(|i| frame.column(leading.len() + i)),
        })
    }

    fn state(&self, row: usize) -> usize {
        self.states.i64(row) as usize
    }

    fn time(&self, row: usize) -> Timestamp {
        Timestamp::from_micros(self.times.timestamp(row))
    }

    fn event(&self, row: usize) -> Event<'a, T> {
        Input::read(&self.events, row)
    }
}

struct QueryFrame<'a, T: Aggregate> {
    rows: usize,
    states: ColumnView<'a>,
    times: ColumnView<'a>,
    /// Of a batch.
    visible: Option<ColumnView<'a>>,
    inputs: <T::Input<'a> as Input<'a>>::Readers,
}

impl<'a, T: Aggregate> QueryFrame<'a, T> {
    fn check(words: &'a [u64], states: usize, is_batch: bool) -> Result<Self, AggregateError> {
        let leading = [ColumnType::I64, ColumnType::Timestamp, ColumnType::I64];
        let leading = if is_batch { &leading[..] } else { &leading[..2] };
        let declared = <T::Input<'a> as Input<'a>>::COLUMNS;
        let frame = check_frame("queries", words, leading, declared, states)?;
        Ok(Self {
            rows: frame.rows(),
            states: frame.column(0),
            times: frame.column(1),
            visible: is_batch.then(|| frame.column(2)),
            inputs: T::Input::readers(|i| frame.column(leading.len() + i)),
        })
    }

    fn state(&self, row: usize) -> usize {
        self.states.i64(row) as usize
    }

    fn time(&self, row: usize) -> Timestamp {
        Timestamp::from_micros(self.times.timestamp(row))
    }

    /// A negative count is beyond any number of events.
    fn visible(&self, row: usize) -> usize {
        self.visible
            .map_or(0, |column| usize::try_from(column.i64(row)).unwrap_or(usize::MAX))
    }

    fn input(&self, row: usize) -> T::Input<'a> {
        Input::read(&self.inputs, row)
    }
}

/// Writes a frame of as many outputs as `answer` pushes, which are `rows` unless it fails.
fn write_outputs<T: Aggregate>(
    rows: usize,
    out: &mut FrameBuffer,
    answer: impl FnOnce(&mut Outputs<'_, T>) -> Result<(), AggregateError>,
) -> Result<(), AggregateError> {
    let columns = T::WINDOWS
        .iter()
        .flat_map(|_| T::Output::COLUMNS.iter().map(|c| (c.column_type, c.nullable)));
    let mut result = Ok(());
    out.write(columns, rows, |mut slots| {
        let mut outputs = Outputs::<T> {
            windows: T::WINDOWS.iter().map(|_| T::Output::writers(&mut slots)).collect(),
            row: 0,
        };
        result = answer(&mut outputs);
        if !outputs.row.is_multiple_of(BLOCK_ROWS) {
            outputs.end_block();
        }
    })
    .map_err(|error| AggregateError::Frame(error.to_string()))?;
    result
}

struct Outputs<'w, T: Aggregate> {
    windows: Vec<<T::Output as Output>::Writers<'w>>,
    /// The row to write next.
    row: usize,
}

impl<T: Aggregate> Outputs<'_, T> {
    /// Appends the outputs of a query whose windows have these totals.
    fn push(&mut self, totals: &[T::Totals], input: &T::Input<'_>) {
        for (writers, totals) in self.windows.iter_mut().zip(totals) {
            T::read(totals, input).write(writers, self.row);
        }
        self.row += 1;
        if self.row.is_multiple_of(BLOCK_ROWS) {
            self.end_block();
        }
    }

    /// Ends the block of the row written last.
    fn end_block(&mut self) {
        let block = (self.row - 1) / BLOCK_ROWS;
        self.windows.iter_mut().for_each(|w| T::Output::end_block(w, block));
    }
}

#[cfg(test)]
mod tests;
