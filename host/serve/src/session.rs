use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use unskew_frame::{Column, Value};
use unskew_snapshot::{EntityKey, EventTime, KeyRef, Row, RowIndex, Snapshot, Status};

use crate::evaluation::{EvaluateError, Evaluation, Instances};
use crate::generation::{ServedService, ServedView};
use crate::host::Shared;
use crate::instance::{CallError, CallLimits, Instance, state_column};
use crate::module::{InstantiateError, Module};
use crate::plan::{Plan, ViewRead, ViewStep};
use crate::request::Request;

/// What one thread evaluates with: instances and buffers, reused from request to request.
#[derive(Debug)]
pub struct Session {
    host: Arc<Shared>,
    services: HashMap<String, Prepared>,
}

/// A service of one generation, with the instances of a thread.
#[derive(Debug)]
pub(crate) struct Prepared {
    generation: u64,
    plan: Arc<Plan>,
    instances: Instances,
    evaluation: Evaluation,
    lookup: Lookup,
}

/// Buffers of a view's lookups.
#[derive(Debug)]
struct Lookup {
    keys: Vec<EntityKey>,
    /// Per row, the index in `keys`; none for a missing key.
    key_rows: Vec<Option<usize>>,
    found: Vec<Option<RowIndex>>,
    states: Column,
    state_index: Column,
    outputs: Vec<Column>,
}

impl Session {
    pub(crate) fn new(host: Arc<Shared>) -> Self {
        // Relaxed: a count that is a moment old makes an instance more or less.
        host.generations.sessions.fetch_add(1, Ordering::Relaxed);
        Self {
            host,
            services: HashMap::new(),
        }
    }

    /// Computes the features of every candidate of `request`, or of the request itself where its service has no candidates.
    /// The whole request sees one generation.
    ///
    /// A transform or an aggregate that traps, runs past its deadline or gives nonsense takes nobody with it: its features are
    /// missing, with [`Status::Failed`], and [`Features::failures`] says why. Transforms that read them go on where the plan
    /// lets those values be missing, and fail with them where not.
    ///
    /// # Errors
    /// See [`EvaluateError`]: of a request that does not fit. The session can be used again.
    pub fn evaluate(&mut self, request: &Request) -> Result<Features<'_>, EvaluateError> {
        let limit = self.host.options.max_candidates;
        if request.candidates() > limit {
            return Err(EvaluateError::TooManyCandidates {
                rows: request.candidates(),
                limit,
            });
        }
        let generations = &self.host.generations;
        let generation = generations.current.load();
        let name = &request.plan().service;
        let changed = || EvaluateError::ServiceChanged { service: name.clone() };
        let served = generation.services.get(name).ok_or_else(changed)?;
        if !Arc::ptr_eq(&served.plan, request.plan()) && !has_same_fields(&served.plan, request.plan()) {
            return Err(changed());
        }
        if self
            .services
            .get(name)
            .is_none_or(|prepared| prepared.generation != generation.number)
        {
            // The queue is empty for sessions that are newer than the generation.
            let prepared = match served.prepared.pop() {
                Some(prepared) => prepared,
                None => {
                    let limits = self.host.options.limits;
                    Prepared::new(generation.number, &served.plan, &generation.modules, limits)?
                }
            };
            if let Some(before) = self.services.insert(name.clone(), prepared) {
                generations.housekeeper.free_prepared(before);
            }
        }
        let prepared = self.services.get_mut(name).ok_or_else(changed)?;
        prepared.evaluate(served, request)?;
        if !prepared.evaluation.failures.is_empty() {
            generations.note_failures(&generation, &prepared.evaluation.failures);
        }
        Ok(Features {
            plan: &prepared.plan,
            evaluation: &prepared.evaluation,
            generation: prepared.generation,
        })
    }

    /// Reads the row of a key in a view's snapshot, and the number of the generation that it is of.
    ///
    /// # Errors
    /// [`LookupError`]: the generation has no such view, or the key is not of its types.
    pub fn lookup<T>(
        &self,
        view: &str,
        key: KeyRef<'_>,
        read: impl FnOnce(Option<Row<'_>>, u64) -> T,
    ) -> Result<T, LookupError> {
        let generation = self.host.generations.current.load();
        let served = generation.snapshots.get(view).ok_or_else(|| LookupError::NoView {
            view: view.to_owned(),
            generation: generation.number,
        })?;
        if !key.has_types(&served.key_types) {
            return Err(LookupError::Key {
                view: view.to_owned(),
                key: key.to_string(),
            });
        }
        Ok(read(served.snapshot.get(key), generation.number))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.host.generations.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

fn has_same_fields(a: &Plan, b: &Plan) -> bool {
    a.request == b.request && a.candidate == b.candidate
}

impl Prepared {
    pub fn new(
        generation: u64,
        plan: &Arc<Plan>,
        modules: &BTreeMap<String, Module>,
        limits: CallLimits,
    ) -> Result<Self, InstantiateError> {
        Ok(Self {
            generation,
            instances: Instances::new(plan, modules, limits)?,
            evaluation: Evaluation::new(plan),
            lookup: Lookup::new(),
            plan: Arc::clone(plan),
        })
    }

    fn evaluate(&mut self, served: &ServedService, request: &Request) -> Result<(), EvaluateError> {
        let Self {
            plan,
            instances,
            evaluation,
            lookup,
            ..
        } = self;
        request.fill(plan, evaluation)?;
        let time = request.prediction_time();
        for (index, (step, view)) in plan.views.iter().zip(&served.views).enumerate() {
            lookup.find(step, &view.snapshot, evaluation);
            match (&step.read, instances.view(index)) {
                (ViewRead::Features(features), _) => {
                    lookup.read_features(step, features, view, time, evaluation, index);
                }
                (ViewRead::Aggregate { outputs, .. }, Some(instance)) => {
                    if let Err(error) = lookup.read_aggregate(step, view, time, evaluation, index, instance) {
                        let error = EvaluateError::call(&step.view, instance, error);
                        evaluation.fail(outputs.clone(), error);
                    }
                }
                (ViewRead::Aggregate { .. }, None) => {}
            }
        }
        evaluation.run_transforms_that_can(plan, instances);
        Ok(())
    }
}

impl Lookup {
    fn new() -> Self {
        Self {
            keys: Vec::new(),
            key_rows: Vec::new(),
            found: Vec::new(),
            states: state_column(),
            state_index: Column::new(unskew_frame::ColumnType::I64),
            outputs: Vec::new(),
        }
    }

    /// Looks up the keys of `view`: one where they are the same for all rows.
    fn find(&mut self, view: &ViewStep, snapshot: &Snapshot, evaluation: &Evaluation) {
        let rows = if evaluation.is_scalar_key(view) {
            1
        } else {
            evaluation.rows
        };
        self.keys.resize_with(self.keys.len().max(rows), EntityKey::default);
        self.key_rows.clear();
        let mut used = 0;
        for row in 0..rows {
            let has_key = evaluation.entity_key(view, row, &mut self.keys[used]);
            self.key_rows.push(has_key.then_some(used));
            used += usize::from(has_key);
        }
        let keys: Vec<KeyRef<'_>> = self.keys[..used].iter().map(EntityKey::as_ref).collect();
        snapshot.get_many(&keys, &mut self.found);
    }

    /// The snapshot's row of each looked-up row.
    fn rows<'a>(&'a self, snapshot: &'a Snapshot) -> impl Iterator<Item = Option<Row<'a>>> {
        self.key_rows
            .iter()
            .map(|key| key.and_then(|key| self.found[key]).map(|row| snapshot.row(row)))
    }

    fn read_features(
        &self,
        step: &ViewStep,
        features: &[(String, usize)],
        view: &ServedView,
        time: EventTime,
        evaluation: &mut Evaluation,
        index: usize,
    ) {
        let is_scalar = evaluation.is_scalar_key(step);
        let statuses = &mut evaluation.statuses[index];
        for row in self.rows(&view.snapshot) {
            let status = row.map_or(Status::NotFound, |row| {
                unskew_snapshot::row_status(row.event_time(), step.ttl, time)
            });
            statuses.push(status);
            for ((_, slot), feature) in features.iter().zip(&view.columns) {
                let column = &mut evaluation.columns[*slot];
                let value = match row {
                    Some(row) if status == Status::Present => row.value(*feature),
                    _ => Value::Null,
                };
                // The snapshot's types were compared with the plan's when the generation was loaded.
                if column.push(value).is_err() {
                    column.push_null();
                }
            }
        }
        if is_scalar {
            features
                .iter()
                .for_each(|(_, slot)| evaluation.columns[*slot].make_scalar());
        }
    }

    fn read_aggregate(
        &mut self,
        step: &ViewStep,
        view: &ServedView,
        time: EventTime,
        evaluation: &mut Evaluation,
        index: usize,
        instance: &mut Instance,
    ) -> Result<(), CallError> {
        let ViewRead::Aggregate { inputs, outputs, .. } = &step.read else {
            return Ok(());
        };
        let mut states = std::mem::replace(&mut self.states, state_column());
        states.clear();
        for row in self.rows(&view.snapshot) {
            let status = match row {
                None => Status::NotFound,
                // A window ends before the prediction time: a state with an event at or after it cannot be read.
                Some(row) if row.event_time() >= time => Status::Future,
                Some(_) => Status::Present,
            };
            evaluation.statuses[index].push(status);
            match (row, status) {
                (Some(row), Status::Present) => states.push_bytes(row.bytes(view.columns[0])),
                _ => states.push_null(),
            }
        }
        // One query answers for all rows where nothing differs between them.
        let is_scalar =
            evaluation.is_scalar_key(step) && inputs.iter().all(|slot| evaluation.columns[*slot].is_scalar());
        let rows = if is_scalar { 1 } else { evaluation.rows };
        self.state_index.clear();
        for row in 0..rows {
            self.state_index
                .push_i64(if states.rows() == 1 { 0 } else { row as i64 });
        }
        let queries: Vec<&Column> = [&self.state_index, &evaluation.columns[0]]
            .into_iter()
            .chain(inputs.iter().map(|slot| &evaluation.columns[*slot]))
            .collect();
        self.outputs.clear();
        self.outputs.extend(
            evaluation.columns[outputs.clone()]
                .iter()
                .map(|column| Column::new(column.column_type())),
        );
        let result = instance.read(&states, &queries, rows, &mut self.outputs);
        self.states = states;
        result?;
        for (slot, mut column) in outputs.clone().zip(self.outputs.drain(..)) {
            if is_scalar {
                column.make_scalar();
            }
            evaluation.columns[slot] = column;
        }
        Ok(())
    }
}

/// The features of one request: a row per candidate, a column per feature, until the session evaluates again.
#[derive(Clone, Copy, Debug)]
pub struct Features<'a> {
    plan: &'a Plan,
    evaluation: &'a Evaluation,
    generation: u64,
}

impl<'a> Features<'a> {
    /// The number of rows: of candidates, or 1.
    pub fn rows(&self) -> usize {
        self.evaluation.rows
    }

    /// The number of features.
    pub fn width(&self) -> usize {
        self.plan.features.len()
    }

    /// The names of the features, in the order of the model.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &'a str> {
        self.plan.features.iter().map(|feature| feature.name.as_str())
    }

    /// The generation that computed them.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The transforms and aggregates that failed; none in the normal case.
    pub fn failures(&self) -> &'a [EvaluateError] {
        &self.evaluation.failures
    }

    /// A value.
    ///
    /// # Panics
    /// If there is no such row or feature.
    pub fn value(&self, row: usize, feature: usize) -> Value<'a> {
        assert!(row < self.rows(), "row {row} of {}", self.rows());
        self.evaluation.value(self.plan, row, feature)
    }

    /// What became of a value.
    ///
    /// # Panics
    /// If there is no such row or feature.
    pub fn status(&self, row: usize, feature: usize) -> Status {
        assert!(row < self.rows(), "row {row} of {}", self.rows());
        self.evaluation.status(self.plan, row, feature)
    }

    /// A column of the matrix, `rows` long or a scalar.
    ///
    /// # Panics
    /// If there is no such feature.
    pub fn column(&self, feature: usize) -> &'a Column {
        &self.evaluation.columns[self.plan.features[feature].slot]
    }

    /// Writes the matrix row by row as f64s into `matrix`, which is cleared and keeps its memory. Missing values, and
    /// strings, bytes and vectors, which no number stands for, are `missing`; an i64 beyond 2^53 is rounded.
    pub fn write_f64(&self, missing: f64, matrix: &mut Vec<f64>) {
        matrix.clear();
        for row in 0..self.rows() {
            matrix.extend((0..self.width()).map(|feature| number(self.value(row, feature)).unwrap_or(missing)));
        }
    }

    /// Writes the matrix row by row as f32s: see [`write_f64`](Self::write_f64).
    pub fn write_f32(&self, missing: f32, matrix: &mut Vec<f32>) {
        matrix.clear();
        for row in 0..self.rows() {
            let value = |feature| number(self.value(row, feature)).map_or(missing, |value| value as f32);
            matrix.extend((0..self.width()).map(value));
        }
    }
}

fn number(value: Value<'_>) -> Option<f64> {
    match value {
        Value::F64(value) => Some(value),
        Value::F32(value) => Some(value.into()),
        Value::I64(value) | Value::Timestamp(value) => Some(value as f64),
        Value::Bool(value) => Some(f64::from(u8::from(value))),
        Value::Null | Value::String(_) | Value::Bytes(_) | Value::Vector(_) => None,
    }
}

/// Why a key could not be looked up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// There is no such view.
    #[error("generation {generation} has no view `{view}`")]
    NoView {
        /// The view.
        view: String,
        /// The generation that is served.
        generation: u64,
    },
    /// The key has another number of parts than the view's, or parts of other types.
    #[error("{key} is no key of view `{view}`")]
    Key {
        /// The view.
        view: String,
        /// The key.
        key: String,
    },
}
