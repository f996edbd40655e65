use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use unskew::{
    CallError, CallLimits, Column, ColumnType, Descriptor, Digest, Golden, GoldenCall, GoldenError, GoldenFunction,
    InstantiateError, Kind, Manifest, Module, ModuleEntry, Store, Value, state_column,
};

use crate::file;
use crate::publish::{PublishError, is_published};
use crate::vectors::vector_calls;

/// As hosts have them, less their deadline: a publisher's machine may be slow.
pub(crate) const LIMITS: CallLimits = CallLimits {
    deadline: Duration::from_secs(20),
    ..CallLimits::SERVING
};

/// The entries of a manifest for these modules. Each is called here with inputs made up from its descriptor, those at the
/// edges of their types among them, and what it gives is published beside it. A module of the store's current generation keeps
/// the calls that it was published with, so that a new version of the engine is held to them.
///
/// # Errors
/// A module keeps something from call to call, does not compute row by row, or gives other values than when it was published
/// before; or the store cannot be read or written.
pub fn module_entries(
    store: &Store,
    modules: &BTreeMap<String, Module>,
) -> Result<BTreeMap<String, ModuleEntry>, PublishError> {
    let before = match store.current()? {
        Some(number) => store
            .manifest(number)
            .map_or_else(|_| BTreeMap::new(), |manifest: Manifest| manifest.modules),
        None => BTreeMap::new(),
    };
    let entry = |module: &Module| -> Result<ModuleEntry, PublishError> {
        let known = before.values().find(|entry| entry.digest == module.digest());
        let golden = match known.map(|entry| verify_published(store, module, entry)).transpose()? {
            Some(true) => known.map(|entry| entry.golden),
            _ => None,
        };
        Ok(ModuleEntry {
            digest: module.digest(),
            version: module.descriptor().version.clone(),
            golden: match golden {
                Some(golden) => golden,
                None => publish_golden(store, module)?,
            },
        })
    };
    modules
        .iter()
        .map(|(name, module)| Ok((name.clone(), entry(module)?)))
        .collect()
}

/// Whether a module's golden calls are in the store; then they hold.
fn verify_published(store: &Store, module: &Module, entry: &ModuleEntry) -> Result<bool, PublishError> {
    let path = store.golden_path(&entry.golden);
    if !is_published(&path, &entry.golden)? {
        return Ok(false);
    }
    let bytes = fs::read(&path).map_err(|source| PublishError::Read { path, source })?;
    Golden::decode(&bytes, module.descriptor())?.verify(module, LIMITS)?;
    Ok(true)
}

/// Makes golden calls of a module, its author's own vectors among them, checks that they come out the same in any order, and publishes them.
fn publish_golden(store: &Store, module: &Module) -> Result<Digest, PublishError> {
    let mut golden = make_golden(module)?;
    let path = store.module_path(&module.digest());
    let component = fs::read(&path).map_err(|source| PublishError::Read { path, source })?;
    golden.calls.extend(vector_calls(&component, module)?);
    golden.verify(module, LIMITS)?;
    put_golden(store, &golden.encode()?)
}

/// Publishes a file of golden calls under its digest. A file that is there already is verified and kept.
///
/// # Errors
/// The store cannot be written, or the file that is there is damaged.
pub fn put_golden(store: &Store, bytes: &[u8]) -> Result<Digest, PublishError> {
    let digest = Digest::of(bytes);
    let path = store.golden_path(&digest);
    if !is_published(&path, &digest)? {
        match file::create(&path, bytes) {
            Ok(()) => {}
            // Another publisher came first.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(PublishError::Write { path, source }),
        }
    }
    Ok(digest)
}

/// Calls of a module with inputs made up from its descriptor, and what they give. The same module gives the same calls.
///
/// # Errors
/// No instance can be made.
pub fn make_golden(module: &Module) -> Result<Golden, PublishError> {
    let mut recorder = Recorder {
        module,
        descriptor: module.descriptor(),
        random: Random(0x9e37_79b9_7f4a_7c15),
        calls: Vec::new(),
    };
    let recorded = match &module.descriptor().kind {
        Kind::Row => recorder.row(),
        Kind::Aggregate(_) => recorder.aggregate(),
    };
    recorded.map_err(GoldenError::from)?;
    Ok(Golden { calls: recorder.calls })
}

struct Recorder<'a> {
    module: &'a Module,
    descriptor: &'a Descriptor,
    random: Random,
    calls: Vec<GoldenCall>,
}

type Recorded<T> = Result<T, InstantiateError>;

/// The events of an aggregate's call, the states and the queries.
const EVENTS: usize = 45;
const STATES: usize = 3;
const QUERIES: usize = 12;
/// 2024-01-15T00:00:00Z, and steps of 17 minutes from it.
const START_US: i64 = 1_705_276_800_000_000;
const STEP_US: i64 = 17 * 60_000_000;

impl Recorder<'_> {
    /// Keeps the call, made on an instance of its own, unless it took too long, which is no property of the module alone. Gives
    /// its first output.
    fn record(&mut self, function: GoldenFunction, rows: usize, frames: Vec<Vec<Column>>) -> Recorded<Option<Column>> {
        let mut instance = self.module.instantiate(LIMITS)?;
        let call = GoldenCall::record(&mut instance, self.descriptor, function, rows, frames);
        if matches!(call.outcome, Err(CallError::Deadline)) {
            return Ok(None);
        }
        let first = call.outcome.as_ref().ok().and_then(|outputs| outputs.first()).cloned();
        self.calls.push(call);
        Ok(first)
    }

    fn row(&mut self) -> Recorded<()> {
        // Small batches, for one row at an edge may fail all of them.
        for (rows, edges) in [
            (1, false),
            (17, false),
            (33, true),
            (1, true),
            (1, true),
            (1, true),
            (1, true),
        ] {
            let columns = self.columns(rows, edges);
            self.record(GoldenFunction::Apply, rows, vec![columns])?;
        }
        // A request's fields, which are the same for all candidates.
        let mut columns = self.columns(5, false);
        for column in columns.iter_mut().skip(1).step_by(2) {
            let mut scalar = Column::new(column.column_type());
            scalar.extend_from(column.view(), 0..1);
            scalar.make_scalar();
            *column = scalar;
        }
        self.record(GoldenFunction::Apply, 5, vec![columns])?;
        Ok(())
    }

    fn aggregate(&mut self) -> Recorded<()> {
        let Kind::Aggregate(aggregation) = &self.descriptor.kind else {
            return Ok(());
        };
        let mut none = state_column();
        (0..STATES).for_each(|_| none.push_null());
        let mut folded = Vec::new();
        for edges in [false, true] {
            let mut events = self.placed(EVENTS, &[]);
            events.extend(
                aggregation
                    .events
                    .iter()
                    .map(|event| self.column(event.column_type, event.nullable, EVENTS, edges)),
            );
            let frames = vec![vec![none.clone()], events.clone()];
            folded.push((events, self.record(GoldenFunction::Fold, STATES, frames)?));
        }
        let [(events, Some(states)), (_, others)] = &folded[..] else {
            return Ok(());
        };
        let others = others.as_ref().unwrap_or(states);
        self.record(
            GoldenFunction::Merge,
            STATES,
            vec![vec![states.clone()], vec![others.clone()]],
        )?;
        self.record(GoldenFunction::Fold, STATES, vec![vec![others.clone()], events.clone()])?;
        for edges in [false, true] {
            let mut queries = self.placed(QUERIES, &[]);
            queries.extend(self.columns(QUERIES, edges));
            self.record(GoldenFunction::Read, QUERIES, vec![vec![states.clone()], queries])?;
        }
        // Each query sees the events of its state up to its own place among them.
        let visible: Vec<i64> = (0..QUERIES)
            .map(|query| (query % (QUERIES / STATES) * 4) as i64)
            .collect();
        let mut queries = self.placed(QUERIES, &visible);
        queries.extend(self.columns(QUERIES, false));
        self.record(
            GoldenFunction::Batch,
            QUERIES,
            vec![vec![none], events.clone(), queries],
        )?;
        Ok(())
    }

    /// The columns that the contract puts first: the index of the state, ascending, a time after all events or of an event, and
    /// for a batch how many events are seen.
    fn placed(&self, rows: usize, visible: &[i64]) -> Vec<Column> {
        let per_state = rows / STATES;
        let (mut index, mut time) = (Column::new(ColumnType::I64), Column::new(ColumnType::Timestamp));
        for row in 0..rows {
            let (state, place) = (row / per_state, row % per_state);
            index.push_i64(state as i64);
            let after = if rows == EVENTS { 0 } else { EVENTS };
            time.push_timestamp(START_US + (place + after) as i64 * STEP_US);
        }
        let mut columns = vec![index, time];
        if !visible.is_empty() {
            let mut column = Column::new(ColumnType::I64);
            visible.iter().for_each(|count| column.push_i64(*count));
            columns.push(column);
        }
        columns
    }

    /// Columns of the module's inputs.
    fn columns(&mut self, rows: usize, edges: bool) -> Vec<Column> {
        let inputs = &self.descriptor.inputs;
        inputs
            .iter()
            .map(|input| self.column(input.column_type, input.nullable, rows, edges))
            .collect()
    }

    fn column(&mut self, column_type: ColumnType, nullable: bool, rows: usize, edges: bool) -> Column {
        let mut column = Column::new(column_type);
        for _ in 0..rows {
            if nullable && self.random.below(6) == 0 {
                column.push_null();
            } else {
                self.random.push(&mut column, edges);
            }
        }
        column
    }
}

/// SplitMix64: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }

    /// A number of everyday size, or one at the edges of its type.
    fn f64(&mut self, edges: bool) -> f64 {
        match edges {
            true => self.of(EDGES_F64),
            false => self.below(4_096) as f64 / 256.0,
        }
    }

    fn push(&mut self, column: &mut Column, edges: bool) {
        let i64 = match edges {
            true => self.of(EDGES_I64),
            false => self.below(100) as i64,
        };
        match column.column_type() {
            ColumnType::F64 => column.push_f64(self.f64(edges)),
            ColumnType::F32 => column.push_f32(self.f64(edges) as f32),
            ColumnType::I64 => column.push_i64(i64),
            ColumnType::Timestamp if edges => column.push_timestamp(i64),
            ColumnType::Timestamp => column.push_timestamp(START_US + i64 * STEP_US),
            ColumnType::Bool => column.push_bool(i64 % 2 == 0),
            ColumnType::String => column.push_str(self.of(TEXTS)),
            ColumnType::Bytes => column.push_bytes(self.of(TEXTS).as_bytes()),
            ColumnType::Vector(len) => {
                let values: Vec<f32> = (0..len).map(|_| self.f64(edges) as f32).collect();
                // A vector of the column's length fits.
                let _ = column.push(Value::Vector(&values));
            }
        }
    }
}

const EDGES_I64: &[i64] = &[0, 1, -1, i64::MAX, i64::MIN, 1 << 53, -(1 << 31), 86_400_000_000];
const EDGES_F64: &[f64] = &[
    0.0,
    -0.0,
    1.0,
    -1.0,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::MIN_POSITIVE,
    5e-324,
    f64::MAX,
    0.1,
    1e15 + 0.3,
];
const TEXTS: &[&str] = &[
    "",
    "a",
    "sports",
    "M\u{fc}nchen",
    "\u{4f60}\u{597d}",
    "https://example.com/news?id=1",
    "81ce123cbb5bd8ce",
];
