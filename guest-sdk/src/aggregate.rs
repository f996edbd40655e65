use std::borrow::Cow;

use unskew_frame::{Column, ColumnType, ColumnView, Frame, encode};

use crate::Timestamp;
use crate::accumulate::Accumulator;
use crate::column::{BLOCK_ROWS, ColumnMeta, Input, Output};
use crate::module::ModuleMeta;
use crate::reading::read_queries;
use crate::reads::ReadableState;
use crate::row::FrameBuffer;
use crate::slide::{Events, Sight, Slide};
use crate::state::{State, StateError, state_version};
use crate::tiling::Tiling;
use crate::window::{MAX_WINDOWS, WindowMeta};

/// A struct of accumulators, and an accumulator itself. Derive it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a struct of accumulators",
    label = "not a struct of accumulators",
    note = "totals are a struct with named fields and #[derive(unskew_guest::Accumulators, Clone, Default, PartialEq)]"
)]
pub trait Accumulators: Accumulator {
    /// The event's columns.
    type Event<'a>: Input<'a>;

    /// Adds an event to every accumulator that takes it.
    fn add(&mut self, time: Timestamp, event: &Self::Event<'_>);
}

/// An aggregate: what [`aggregate`](macro@crate::aggregate) makes of a function.
pub trait Aggregate: Sized {
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
    /// The states that are read besides its own.
    const READS: &'static [ReadableState<Self::Totals>] = &[];

    /// What the bytes of its states depend on, made once.
    #[doc(hidden)]
    fn layout() -> &'static Layout;

    /// The outputs of a window with these totals.
    fn read(totals: &Self::Totals, input: &Self::Input<'_>, query: &Query) -> Self::Output;
}

/// What is asked of a state: the time of a query and one of the windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// When it is asked: later than every event.
    pub time: Timestamp,
    /// The window that is read.
    pub window: WindowMeta,
}

impl Query {
    /// How long the window is at this time, from its tail to the query: its length and what the hop moves the tail back.
    pub fn seconds(&self) -> f64 {
        let t = self.time.as_micros();
        (i128::from(t) - i128::from(self.window.tail(t))) as f64 / 1e6
    }
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

/// The most bytes of a state. Only a window with an exact tail, or accumulators without a bound, come near.
pub(crate) const MAX_STATE_BYTES: usize = 16 << 20;

/// The columns and the `when` of an accumulator in the layout of a state, with the types that the columns have.
#[doc(hidden)]
pub fn push_field_layout(text: &mut String, field: &str, columns: &[ColumnMeta], names: &[&str]) {
    text.push_str(field);
    for name in names {
        let column = columns.iter().find(|column| column.name == *name);
        let column_type = column.map(|column| column.column_type.to_string());
        text.push(' ');
        text.push_str(column_type.as_deref().unwrap_or_default());
    }
    text.push(':');
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
    let layout = T::layout();
    let states = states_frame(states)?;
    let events = EventFrame::<T>::check(events, states.rows())?;
    let mut folded = Column::new(ColumnType::Bytes);
    let (mut event, mut bytes) = (0, Vec::new());
    for row in 0..states.rows() {
        let mut state = decode_state::<T>(states.column(0), row, layout)?;
        while event < events.rows && events.state(event) == row {
            let time = events.time(event);
            state.add(&layout.tiling, time, |totals| totals.add(time, &events.event(event)));
            event += 1;
        }
        push_state(state, row, layout, &mut bytes, &mut folded)?;
    }
    encode_columns(&[&folded], states.rows(), &mut out.words)
}

/// `merge` of the contract.
#[doc(hidden)]
pub fn merge_frame<T: Aggregate>(left: &[u64], right: &[u64], out: &mut FrameBuffer) -> Result<(), AggregateError> {
    let layout = T::layout();
    let (left, right) = (states_frame(left)?, states_frame(right)?);
    if left.rows() != right.rows() {
        return Err(AggregateError::Frame(
            "the two sides have different numbers of rows".to_owned(),
        ));
    }
    let mut merged = Column::new(ColumnType::Bytes);
    let mut bytes = Vec::new();
    for row in 0..left.rows() {
        let mut state = decode_state::<T>(left.column(0), row, layout)?;
        state.merge(decode_state::<T>(right.column(0), row, layout)?);
        push_state(state, row, layout, &mut bytes, &mut merged)?;
    }
    encode_columns(&[&merged], left.rows(), &mut out.words)
}

/// `read` of the contract.
#[doc(hidden)]
pub fn read_frame<T: Aggregate>(states: &[u64], queries: &[u64], out: &mut FrameBuffer) -> Result<(), AggregateError> {
    let layout = T::layout();
    let states = states_frame(states)?;
    let queries = QueryFrame::<T>::check(queries, states.rows(), false)?;
    write_outputs::<T>(queries.rows, out, |outputs| {
        read_queries(layout, &states, &queries, outputs)
    })
}

/// `batch` of the contract.
#[doc(hidden)]
pub fn batch_frame<T: Aggregate>(
    states: &[u64],
    events: &[u64],
    queries: &[u64],
    out: &mut FrameBuffer,
) -> Result<(), AggregateError> {
    let layout = T::layout();
    let states = states_frame(states)?;
    let events = EventFrame::<T>::check(events, states.rows())?;
    let queries = QueryFrame::<T>::check(queries, states.rows(), true)?;
    write_outputs::<T>(queries.rows, out, |outputs| {
        answer_queries(layout, &states, &events, &queries, outputs)
    })
}

fn answer_queries<T: Aggregate>(
    layout: &Layout,
    states: &Frame<'_>,
    events: &EventFrame<'_, T>,
    queries: &QueryFrame<'_, T>,
    outputs: &mut Outputs<'_, T>,
) -> Result<(), AggregateError> {
    let (mut slide, mut sights) = (Slide::new(), Vec::new());
    let (mut row, mut first_event) = (0, 0);
    for index in 0..states.rows() {
        let event_count = events.count_of(index, first_event);
        let of_entity = EntityEvents {
            frame: events,
            first: first_event,
            times: &events.times[first_event..first_event + event_count],
        };
        first_event += event_count;
        let state = decode_state::<T>(states.column(0), index, layout)?;
        let first_row = row;
        sights.clear();
        let (mut seen, mut last) = (0, state.last());
        while row < queries.rows && queries.state(row) == index {
            let (visible, t) = (queries.visible(row), queries.time(row));
            if visible < seen || visible > event_count {
                return Err(AggregateError::Frame(format!(
                    "query {row} sees {visible} events after one that sees {seen}, of {event_count}"
                )));
            }
            let latest = of_entity.times[seen..visible].iter().copied().max();
            last = last.max(latest.map(Timestamp::from_micros));
            seen = visible;
            if last >= Some(t) {
                return Err(AggregateError::QueryBeforeState(row));
            }
            sights.push(Sight {
                time: t.as_micros(),
                visible,
            });
            row += 1;
        }
        slide.run(
            &layout.tiling,
            T::WINDOWS,
            &state,
            &of_entity,
            &sights,
            |window, query, totals| {
                let row = first_row + query;
                outputs.push(window, totals, &queries.input(row), queries.time(row));
            },
        );
    }
    Ok(())
}

/// The events of one entity in a frame.
struct EntityEvents<'a, 'b, T: Aggregate> {
    frame: &'b EventFrame<'a, T>,
    first: usize,
    times: &'b [i64],
}

impl<T: Aggregate> Events<T::Totals> for EntityEvents<'_, '_, T> {
    #[inline]
    fn times(&self) -> &[i64] {
        self.times
    }

    #[inline]
    fn add(&self, event: usize, totals: &mut T::Totals) {
        let time = Timestamp::from_micros(self.times[event]);
        totals.add(time, &self.frame.event(self.first + event));
    }
}

/// What the bytes of a state depend on.
#[doc(hidden)]
#[derive(Debug)]
pub struct Layout {
    pub(crate) tiling: Tiling,
    pub(crate) version: u32,
}

impl Layout {
    /// That of an aggregate, which keeps it: it is made of text.
    pub fn of<T: Aggregate>() -> Self {
        const {
            assert!(T::WINDOWS.len() <= MAX_WINDOWS, "an aggregate has at most 64 windows");
        }
        let tiling = Tiling::of(T::WINDOWS);
        Self {
            version: state_version::<T::Totals>(&tiling),
            tiling,
        }
    }
}

/// The versions of states that can be read, its own first.
pub(crate) fn readable_versions<T: Aggregate>() -> Vec<u32> {
    let own = T::layout().version;
    let mut versions = vec![own];
    versions.extend(
        T::READS
            .iter()
            .map(ReadableState::version)
            .filter(|version| *version != own),
    );
    versions
}

fn states_frame(words: &[u64]) -> Result<Frame<'_>, AggregateError> {
    Frame::check(words, &[ColumnType::Bytes]).map_err(|error| AggregateError::Frame(format!("states: {error}")))
}

pub(crate) fn decode_state<T: Aggregate>(
    states: ColumnView<'_>,
    row: usize,
    layout: &Layout,
) -> Result<State<T::Totals>, AggregateError> {
    if !states.is_present(row) {
        return Ok(State::new());
    }
    let bytes = states.bytes(row);
    let read = match State::decode(bytes, layout.version, &layout.tiling) {
        Err(StateError::Version(version)) => {
            let readable = T::READS.iter().find(|readable| readable.version() == version);
            readable.map_or(Err(StateError::Version(version)), |readable| {
                readable.decode(bytes, &layout.tiling)
            })
        }
        read => read,
    };
    read.map_err(|error| state_error(error, row))
}

pub(crate) fn state_error(error: StateError, row: usize) -> AggregateError {
    match error {
        StateError::Version(version) => AggregateError::StateVersion(version),
        StateError::Damaged => AggregateError::State(row),
    }
}

fn push_state<A: Accumulators>(
    mut state: State<A>,
    row: usize,
    layout: &Layout,
    bytes: &mut Vec<u8>,
    states: &mut Column,
) -> Result<(), AggregateError> {
    let Some(last) = state.last() else {
        states.push_null();
        return Ok(());
    };
    state.settle(&layout.tiling);
    bytes.clear();
    state.encode(&layout.tiling, layout.version, last, bytes);
    if bytes.len() > MAX_STATE_BYTES {
        return Err(AggregateError::Frame(format!(
            "states: the state in row {row} would have {} bytes, more than {MAX_STATE_BYTES}: a window with an exact tail \
             keeps every event time, give it a hop",
            bytes.len()
        )));
    }
    states.push_bytes(bytes);
    Ok(())
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
    // One, if it is that of all.
    for (row, state) in frame.column(0).i64s().iter().copied().enumerate().take(frame.rows()) {
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
    times: Cow<'a, [i64]>,
    events: <Event<'a, T> as Input<'a>>::Readers,
}

impl<'a, T: Aggregate> EventFrame<'a, T> {
    fn check(words: &'a [u64], states: usize) -> Result<Self, AggregateError> {
        let leading = [ColumnType::I64, ColumnType::Timestamp];
        let declared = <Event<'a, T> as Input<'a>>::COLUMNS;
        let frame = check_frame("events", words, &leading, declared, states)?;
        let times = frame.column(1);
        Ok(Self {
            rows: frame.rows(),
            states: frame.column(0),
            times: match times.is_scalar() {
                true => (0..frame.rows()).map(|row| times.timestamp(row)).collect(),
                false => Cow::Borrowed(times.timestamps()),
            },
            events: Event::<'a, T>::readers(|i| frame.column(leading.len() + i)),
        })
    }

    fn state(&self, row: usize) -> usize {
        self.states.i64(row) as usize
    }

    /// How many events from `first` on are those of a state.
    fn count_of(&self, state: usize, first: usize) -> usize {
        let is_of_state = |index: &&i64| **index == state as i64;
        match self.states.is_scalar() {
            true if self.rows > 0 && self.state(0) == state => self.rows - first,
            true => 0,
            false => self.states.i64s()[first..].iter().take_while(is_of_state).count(),
        }
    }

    fn time(&self, row: usize) -> Timestamp {
        Timestamp::from_micros(self.times[row])
    }

    fn event(&self, row: usize) -> Event<'a, T> {
        Input::read(&self.events, row)
    }
}

pub(crate) struct QueryFrame<'a, T: Aggregate> {
    pub rows: usize,
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

    pub fn state(&self, row: usize) -> usize {
        self.states.i64(row) as usize
    }

    pub fn time(&self, row: usize) -> Timestamp {
        Timestamp::from_micros(self.times.timestamp(row))
    }

    /// A negative count is beyond any number of events.
    fn visible(&self, row: usize) -> usize {
        self.visible
            .map_or(0, |column| usize::try_from(column.i64(row)).unwrap_or(usize::MAX))
    }

    pub fn input(&self, row: usize) -> T::Input<'a> {
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
    out.write(columns, rows, |slots| {
        let windows = T::WINDOWS.iter().map(|_| (T::Output::writers(slots), 0));
        let mut outputs = Outputs::<T> {
            windows: windows.collect(),
        };
        result = answer(&mut outputs);
        for (writers, rows) in &mut outputs.windows {
            if !rows.is_multiple_of(BLOCK_ROWS) {
                T::Output::end_block(writers, *rows / BLOCK_ROWS);
            }
        }
    })
    .map_err(|error| AggregateError::Frame(error.to_string()))?;
    result
}

pub(crate) struct Outputs<'w, T: Aggregate> {
    /// The writers of each window and the row to write next.
    windows: Vec<(<T::Output as Output>::Writers<'w>, usize)>,
}

impl<T: Aggregate> Outputs<'_, T> {
    /// Appends the outputs of a window of a query. Those of one window come in the order of the queries.
    #[inline]
    pub fn push(&mut self, window: usize, totals: &T::Totals, input: &T::Input<'_>, time: Timestamp) {
        let query = Query {
            time,
            window: T::WINDOWS[window],
        };
        let (writers, row) = &mut self.windows[window];
        T::read(totals, input, &query).write(writers, *row);
        *row += 1;
        if row.is_multiple_of(BLOCK_ROWS) {
            T::Output::end_block(writers, *row / BLOCK_ROWS - 1);
        }
    }
}

#[cfg(test)]
mod tests;
