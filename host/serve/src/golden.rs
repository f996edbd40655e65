use std::fmt;

use unskew_frame::{Column, ColumnType, Frame, encode};

use crate::descriptor::{ColumnDescriptor, Descriptor, Kind};
use crate::instance::{CallError, CallLimits, Instance, output_columns, state_column};
use crate::module::{InstantiateError, Module};

/// The first word of a file of golden calls: `UNSKEWG1`.
const MAGIC: u64 = u64::from_le_bytes(*b"UNSKEWG1");
/// The most calls of a module, and the most words of a file: a module is published with a few dozen small ones.
const MAX_CALLS: u64 = 1_024;
const MAX_WORDS: u64 = 1 << 20;

/// Calls of a module with what they gave on its publisher's machine, bit for bit. Every host makes them before it serves the
/// module: an engine that compiles it otherwise, another architecture, or damaged native code shows here, and not in a model.
///
/// Its file is 64-bit little-endian words: the magic, the number of calls, and for each the function, its rows, its frames
/// (each its rows, its length in words, and the words of docs/frame.md), then 0 and the frame of its outputs, or the number of
/// its error.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Golden {
    /// The calls, in the order in which they were made.
    pub calls: Vec<GoldenCall>,
}

/// A call and its outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct GoldenCall {
    /// Which function.
    pub function: GoldenFunction,
    /// The rows of the outputs.
    pub rows: usize,
    /// The columns of each of its frames.
    pub frames: Vec<Vec<Column>>,
    /// What it gave.
    pub outcome: Result<Vec<Column>, CallError>,
}

/// A function of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoldenFunction {
    /// [`Instance::apply`].
    Apply,
    /// [`Instance::fold`].
    Fold,
    /// [`Instance::merge`].
    Merge,
    /// [`Instance::read`].
    Read,
    /// [`Instance::batch`].
    Batch,
}

impl GoldenFunction {
    const ALL: [Self; 5] = [Self::Apply, Self::Fold, Self::Merge, Self::Read, Self::Batch];

    /// The types of its frames for a module; none where the module has no such function.
    pub(crate) fn frame_types(self, descriptor: &Descriptor) -> Option<Vec<Vec<ColumnType>>> {
        let types = |before: &[ColumnType], columns: &[ColumnDescriptor]| -> Vec<ColumnType> {
            let declared = columns.iter().map(|column| column.column_type);
            before.iter().copied().chain(declared).collect()
        };
        let states = vec![ColumnType::Bytes];
        let row = [ColumnType::I64, ColumnType::Timestamp];
        let visible = [ColumnType::I64, ColumnType::Timestamp, ColumnType::I64];
        match (self, &descriptor.kind) {
            (Self::Apply, Kind::Row) => Some(vec![types(&[], &descriptor.inputs)]),
            (Self::Fold, Kind::Aggregate(aggregation)) => Some(vec![states, types(&row, &aggregation.events)]),
            (Self::Merge, Kind::Aggregate(_)) => Some(vec![states.clone(), states]),
            (Self::Read, Kind::Aggregate(_)) => Some(vec![states, types(&row, &descriptor.inputs)]),
            (Self::Batch, Kind::Aggregate(aggregation)) => Some(vec![
                states,
                types(&row, &aggregation.events),
                types(&visible, &descriptor.inputs),
            ]),
            _ => None,
        }
    }

    pub(crate) fn outputs(self, descriptor: &Descriptor) -> Vec<Column> {
        match self {
            Self::Fold | Self::Merge => vec![state_column()],
            _ => output_columns(&descriptor.outputs),
        }
    }
}

impl fmt::Display for GoldenFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Apply => "apply",
            Self::Fold => "fold",
            Self::Merge => "merge",
            Self::Read => "read",
            Self::Batch => "batch",
        })
    }
}

impl GoldenCall {
    /// Makes the call on `instance` and keeps what it gives.
    pub fn record(
        instance: &mut Instance,
        descriptor: &Descriptor,
        function: GoldenFunction,
        rows: usize,
        frames: Vec<Vec<Column>>,
    ) -> Self {
        let outcome = call(instance, descriptor, function, rows, &frames);
        Self {
            function,
            rows,
            frames,
            outcome,
        }
    }

    fn make(&self, instance: &mut Instance, descriptor: &Descriptor) -> Result<Vec<Column>, CallError> {
        call(instance, descriptor, self.function, self.rows, &self.frames)
    }
}

pub(crate) fn call(
    instance: &mut Instance,
    descriptor: &Descriptor,
    function: GoldenFunction,
    rows: usize,
    frames: &[Vec<Column>],
) -> Result<Vec<Column>, CallError> {
    let frames: Vec<Vec<&Column>> = frames.iter().map(|frame| frame.iter().collect()).collect();
    let mut outputs = function.outputs(descriptor);
    match (function, &frames[..]) {
        (GoldenFunction::Apply, [inputs]) => instance.apply(inputs, rows, &mut outputs)?,
        (GoldenFunction::Fold, [states, events]) => instance.fold(states[0], events, &mut outputs[0])?,
        (GoldenFunction::Merge, [left, right]) => instance.merge(left[0], right[0], &mut outputs[0])?,
        (GoldenFunction::Read, [states, queries]) => instance.read(states[0], queries, rows, &mut outputs)?,
        (GoldenFunction::Batch, [states, events, queries]) => {
            instance.batch(states[0], events, queries, rows, &mut outputs)?;
        }
        _ => return Err(CallError::WrongKind),
    }
    for output in outputs.iter_mut().filter(|output| output.is_scalar()) {
        *output = pick(output, 0..rows);
    }
    Ok(outputs)
}

impl Golden {
    /// Checks that `module` gives what is recorded, and that nothing is kept from call to call: in order on one instance, each
    /// on a fresh one, in reverse on one that has made them all, and, for a row transform, with the rows of each call in
    /// another order and in two batches.
    ///
    /// # Errors
    /// The first difference.
    pub fn verify(&self, module: &Module, limits: CallLimits) -> Result<(), GoldenError> {
        let descriptor = module.descriptor();
        let mut reused = module.instantiate(limits)?;
        for (index, golden) in self.calls.iter().enumerate() {
            let found = golden.make(&mut module.instantiate(limits)?, descriptor);
            let differs = difference(&golden.outcome, &found);
            if let Some(place) = differs {
                return Err(GoldenError::Differs {
                    module: descriptor.name.clone(),
                    place: format!("call {index} ({}), {place}", golden.function),
                });
            }
        }
        let forward = self.calls.iter().enumerate();
        for (index, golden) in forward.clone().chain(forward.rev()) {
            if let Some(place) = difference(&golden.outcome, &golden.make(&mut reused, descriptor)) {
                return Err(GoldenError::Stateful {
                    module: descriptor.name.clone(),
                    place: format!("call {index} ({}), {place}", golden.function),
                });
            }
        }
        for (index, golden) in self.calls.iter().enumerate() {
            if let Some(place) = golden.shuffled_difference(&mut reused, descriptor) {
                return Err(GoldenError::NotByRow {
                    module: descriptor.name.clone(),
                    place: format!("call {index}, {place}"),
                });
            }
        }
        Ok(())
    }
}

impl GoldenCall {
    /// Where the outputs of a row transform depend on the other rows of its batch.
    fn shuffled_difference(&self, instance: &mut Instance, descriptor: &Descriptor) -> Option<String> {
        let (GoldenFunction::Apply, Ok(outputs)) = (self.function, &self.outcome) else {
            return None;
        };
        // Every row once: the steps are by a number that has no divisor in common with theirs.
        let order: Vec<usize> = (0..self.rows).map(|row| (row * STEP + STEP / 2) % self.rows).collect();
        if self.rows.is_multiple_of(STEP) || self.rows < 2 {
            return None;
        }
        for rows in order.chunks(self.rows.div_ceil(2)) {
            let rows = || rows.iter().copied();
            let frames = vec![self.frames[0].iter().map(|column| pick(column, rows())).collect()];
            let found = call(instance, descriptor, GoldenFunction::Apply, rows().len(), &frames);
            let expected = Ok(outputs.iter().map(|column| pick(column, rows())).collect());
            if let Some(place) = difference(&expected, &found) {
                return Some(place);
            }
        }
        None
    }
}

/// A prime that is the number of rows of no call.
const STEP: usize = 7;

/// These rows of a column, a scalar written out.
pub(crate) fn pick(column: &Column, rows: impl Iterator<Item = usize>) -> Column {
    let mut picked = Column::new(column.column_type());
    for row in rows {
        picked.extend_from(column.view(), row..row + 1);
    }
    picked
}

/// The first difference between two outcomes, in words.
pub(crate) fn difference(
    expected: &Result<Vec<Column>, CallError>,
    found: &Result<Vec<Column>, CallError>,
) -> Option<String> {
    let (expected, found) = match (expected, found) {
        (Ok(expected), Ok(found)) => (expected, found),
        (Err(expected), Err(found)) if expected == found => return None,
        (expected, found) => {
            let said = |outcome: &Result<Vec<Column>, CallError>| match outcome {
                Ok(_) => "it succeeds".to_owned(),
                Err(error) => error.to_string(),
            };
            return Some(format!("{}, expected: {}", said(found), said(expected)));
        }
    };
    for (index, (expected, found)) in expected.iter().zip(found).enumerate() {
        if expected.rows() != found.rows() {
            return Some(format!(
                "output {index}: {} rows, expected {}",
                found.rows(),
                expected.rows()
            ));
        }
        let row = (0..expected.rows()).find(|row| expected.value(*row) != found.value(*row));
        if let Some(row) = row {
            let (expected, found) = (expected.value(row), found.value(row));
            return Some(format!("output {index}, row {row}: {found:?}, expected {expected:?}"));
        }
    }
    None
}

impl Golden {
    /// The file.
    ///
    /// # Errors
    /// A column is too large for a frame.
    pub fn encode(&self) -> Result<Vec<u8>, GoldenError> {
        let mut words = vec![MAGIC, self.calls.len() as u64];
        for golden in &self.calls {
            let function = GoldenFunction::ALL
                .iter()
                .position(|function| *function == golden.function);
            words.extend([function.unwrap_or_default() as u64, golden.rows as u64]);
            for frame in &golden.frames {
                // The inputs of a row transform may be scalars all.
                let rows = match golden.function {
                    GoldenFunction::Apply => golden.rows,
                    _ => frame_rows(frame),
                };
                push_frame(&mut words, frame, rows)?;
            }
            match &golden.outcome {
                Ok(outputs) => {
                    words.push(0);
                    push_frame(&mut words, outputs, golden.rows)?;
                }
                Err(error) => words.push(error_code(*error)),
            }
        }
        Ok(words.iter().flat_map(|word| word.to_le_bytes()).collect())
    }

    /// The calls in a file, of a module of this descriptor.
    ///
    /// # Errors
    /// [`GoldenError::Damaged`].
    pub fn decode(bytes: &[u8], descriptor: &Descriptor) -> Result<Self, GoldenError> {
        let damaged = |reason: &str| GoldenError::Damaged(reason.to_owned());
        let (words, rest) = bytes.as_chunks::<8>();
        if !rest.is_empty() || words.len() as u64 > MAX_WORDS {
            return Err(damaged("its length is none that such a file has"));
        }
        let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let mut words = Words(&words);
        if words.next()? != MAGIC {
            return Err(damaged("it is no file of golden calls"));
        }
        let count = words.next()?;
        if count > MAX_CALLS {
            return Err(damaged("it has too many calls"));
        }
        let mut calls = Vec::new();
        for _ in 0..count {
            let function = usize::try_from(words.next()?)
                .ok()
                .and_then(|index| GoldenFunction::ALL.get(index));
            let function = *function.ok_or_else(|| damaged("it names an unknown function"))?;
            let types = function
                .frame_types(descriptor)
                .ok_or_else(|| damaged("it calls a function that the module does not have"))?;
            let rows = words.next()?;
            let frame = |types: &Vec<ColumnType>| words.frame(types).map(|(columns, _)| columns);
            let frames = types.iter().map(frame).collect::<Result<Vec<_>, _>>()?;
            let rows = usize::try_from(rows).map_err(|_| damaged("it has a call of too many rows"))?;
            let outcome = match words.next()? {
                0 => {
                    let outputs = function.outputs(descriptor);
                    let types: Vec<ColumnType> = outputs.iter().map(Column::column_type).collect();
                    let (outputs, found) = words.frame(&types)?;
                    if found != rows {
                        return Err(damaged("a call and its outputs differ in their rows"));
                    }
                    Ok(outputs)
                }
                code => Err(error_of(code).ok_or_else(|| damaged("it names an unknown error"))?),
            };
            calls.push(GoldenCall {
                function,
                rows,
                frames,
                outcome,
            });
        }
        match words.0 {
            [] => Ok(Self { calls }),
            _ => Err(damaged("something follows its calls")),
        }
    }
}

fn push_frame(words: &mut Vec<u64>, columns: &[Column], rows: usize) -> Result<(), GoldenError> {
    let mut frame = Vec::new();
    let columns: Vec<&Column> = columns.iter().collect();
    encode(&columns, rows, &mut frame).map_err(|error| GoldenError::Damaged(error.to_string()))?;
    words.extend([rows as u64, frame.len() as u64]);
    words.extend(frame);
    Ok(())
}

/// The rows of a frame: those of a column that is no scalar.
fn frame_rows(columns: &[Column]) -> usize {
    let long = columns.iter().find(|column| !column.is_scalar());
    long.or(columns.first()).map_or(0, Column::rows)
}

struct Words<'a>(&'a [u64]);

impl<'a> Words<'a> {
    fn next(&mut self) -> Result<u64, GoldenError> {
        Ok(self.take(1)?[0])
    }

    fn take(&mut self, count: u64) -> Result<&'a [u64], GoldenError> {
        let split = usize::try_from(count)
            .ok()
            .and_then(|count| self.0.split_at_checked(count));
        let (taken, rest) = split.ok_or_else(|| GoldenError::Damaged("it is cut short".to_owned()))?;
        self.0 = rest;
        Ok(taken)
    }

    /// The columns of a frame and its rows.
    fn frame(&mut self, types: &[ColumnType]) -> Result<(Vec<Column>, usize), GoldenError> {
        let damaged = |error: &dyn fmt::Display| GoldenError::Damaged(format!("one of its frames: {error}"));
        let (rows, len) = (self.next()?, self.next()?);
        let frame = Frame::check(self.take(len)?, types).map_err(|error| damaged(&error))?;
        frame.check_text().map_err(|error| damaged(&error))?;
        if frame.rows() as u64 != rows {
            return Err(damaged(&"it has another number of rows than it says"));
        }
        Ok((columns_of(&frame), frame.rows()))
    }
}

/// The columns of a frame, scalars as such.
pub(crate) fn columns_of(frame: &Frame<'_>) -> Vec<Column> {
    let column = |index: usize| {
        let view = frame.column(index);
        let mut column = Column::new(view.column_type());
        column.extend_from(view, 0..if view.is_scalar() { 1 } else { frame.rows() });
        if view.is_scalar() {
            column.make_scalar();
        }
        column
    };
    (0..frame.columns()).map(column).collect()
}

/// Errors that a call has by itself: how long it takes is the machine's.
const ERRORS: [CallError; 3] = [CallError::Trap, CallError::Refused, CallError::Output];

fn error_code(error: CallError) -> u64 {
    let index = ERRORS.iter().position(|known| *known == error);
    index.map_or(u64::MAX, |index| index as u64 + 1)
}

fn error_of(code: u64) -> Option<CallError> {
    let index = usize::try_from(code).ok()?.checked_sub(1)?;
    ERRORS.get(index).copied()
}

/// Why a module is not served: its golden calls do not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GoldenError {
    /// The file is not what it should be.
    #[error("its golden calls are damaged: {0}: publish the module again")]
    Damaged(String),
    /// The module gives something else than on its publisher's machine.
    #[error(
        "module `{module}` gives other values here than where it was published: {place}; run `unskew prepare` on the store to \
         compile it again, and if that changes nothing, keep it from this machine"
    )]
    Differs {
        /// The module.
        module: String,
        /// Which call, and how.
        place: String,
    },
    /// What the module gives depends on the calls before.
    #[error("module `{module}` keeps something from call to call: after other calls, {place}")]
    Stateful {
        /// The module.
        module: String,
        /// Which call, and how.
        place: String,
    },
    /// What a row transform gives for a row depends on the rows beside it.
    #[error(
        "module `{module}` does not compute row by row: with its rows in another order and in two batches, {place}"
    )]
    NotByRow {
        /// The module.
        module: String,
        /// Which call, and how.
        place: String,
    },
    /// No instance can be made.
    #[error(transparent)]
    Instantiate(#[from] InstantiateError),
}
