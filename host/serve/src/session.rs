use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use unskew_frame::{Column, ColumnType};
use unskew_snapshot::{HashedKey, KeyRef, Row};

use crate::audit::{Audit, Sampler};
use crate::catalog::WhenStale;
use crate::evaluation::{EvaluateError, Evaluation, Instances};
use crate::features::Features;
use crate::fresh::{EventColumns, Overlay};
use crate::generation::{Generation, ServedService, ServedView};
use crate::host::Shared;
use crate::instance::{CallError, CallLimits, Instance, state_column};
use crate::lookups::Lookups;
use crate::matrix::Layout;
use crate::metrics::{Counting, LookupCounters, Registry, SAMPLED, Stopwatch};
use crate::module::{InstantiateError, Module};
use crate::plan::{Plan, ViewRead};
use crate::recycle::recycle;
use crate::request::Request;
use crate::stack::{EVALUATE_STACK_BYTES, has_room};

/// What one thread evaluates with: instances and buffers, reused from request to request.
#[derive(Debug)]
pub struct Session {
    host: Arc<Shared>,
    /// The services that were evaluated, each once.
    services: Vec<Prepared>,
    lookups: Arc<LookupCounters>,
}

/// A service of one generation, with the instances of a thread.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub generation: u64,
    /// Its place in the generation.
    pub service: usize,
    pub plan: Arc<Plan>,
    /// The plan of the requests that were found to fit: this one's, or one with the same fields.
    fitting: Arc<Plan>,
    instances: Instances,
    pub evaluation: Evaluation,
    pub lookups: Lookups,
    pub layout: Layout,
    states: States,
    counters: Counting,
}

/// Buffers of the reading of aggregates.
#[derive(Debug)]
struct States {
    states: Column,
    /// By query.
    state_index: Column,
    /// Of requests that come later than events that they must not see: the others of their entities. In a box, for instances are
    /// moved by threads with small stacks.
    late: Option<Box<Late>>,
    /// Empty between calls: only its memory is kept.
    queries: Vec<&'static Column>,
}

/// What an aggregate is given besides the states.
#[derive(Debug)]
struct Late {
    events: EventColumns,
    /// By state, then by query: how many of the events are of its entity.
    counts: Column,
    visible: Column,
    /// Empty between calls: only its memory is kept.
    frame: Vec<&'static Column>,
}

impl Session {
    pub(crate) fn new(host: Arc<Shared>) -> Self {
        // Relaxed: a count that is a moment old makes an instance more or less.
        host.generations.sessions.fetch_add(1, Ordering::Relaxed);
        let generation = host.generations.current.load_full();
        let (limits, metrics) = (host.options.limits, host.generations.metrics());
        // What cannot be made now is tried again by the request that needs it, which has the error.
        let services = 0..generation.services.len();
        let services = services.filter_map(|service| generation.prepared(service, limits, metrics).ok());
        Self {
            services: services.collect(),
            lookups: metrics.lookup_counters(),
            host,
        }
    }

    /// Computes the features of every candidate of `request`, or of the request itself where its service has no candidates.
    /// The whole request sees one generation.
    ///
    /// A transform or an aggregate that traps, runs past its deadline or gives nonsense takes nobody with it: its features are
    /// the fallbacks that the service declares, with [`Status::Defaulted`](crate::Status::Defaulted), or missing, with
    /// [`Status::Failed`](crate::Status::Failed), and [`Features::failures`] says why. Transforms that read them go on with the
    /// fallbacks, or where the plan lets those values be missing, and fail with them where not.
    ///
    /// # Errors
    /// See [`EvaluateError`]: of a request that does not fit, or that a view is too old for. The session can be used again.
    pub fn evaluate(&mut self, request: &Request) -> Result<Features<'_>, EvaluateError> {
        if !has_room(EVALUATE_STACK_BYTES) {
            let needed = EVALUATE_STACK_BYTES;
            return Err(EvaluateError::Stack { needed });
        }
        let limit = self.host.options.max_candidates;
        if request.candidates() > limit {
            return Err(EvaluateError::TooManyCandidates {
                rows: request.candidates(),
                limit,
            });
        }
        let generation = self.host.generations.current.load();
        let is_ready = |prepared: &Prepared| {
            prepared.generation == generation.number && Arc::ptr_eq(&prepared.fitting, request.plan())
        };
        let index = match self.services.iter().position(is_ready) {
            Some(index) => index,
            None => self.prepare(&generation, request)?,
        };
        let prepared = &mut self.services[index];
        prepared.evaluate(&generation.services[prepared.service], request)?;
        if !prepared.evaluation.failures.is_empty() {
            let failures = &prepared.evaluation.failures;
            self.host.generations.note_failures(&generation, failures);
        }
        Ok(Features::new(prepared, generation))
    }

    /// Makes the service of a request ready, which was evaluated in another generation, with another plan or not at all; gives
    /// its place among the services of the session.
    #[cold]
    fn prepare(&mut self, generation: &Generation, request: &Request) -> Result<usize, EvaluateError> {
        let generations = &self.host.generations;
        let name = &request.plan().service;
        let changed = || EvaluateError::ServiceChanged { service: name.clone() };
        let (service, served) = generation.service(name).ok_or_else(changed)?;
        if !Arc::ptr_eq(&served.plan, request.plan()) && !has_same_fields(&served.plan, request.plan()) {
            return Err(changed());
        }
        let of_name = |prepared: &Prepared| prepared.plan.service == *name;
        let index = self.services.iter().position(of_name);
        let index = match index.filter(|index| self.services[*index].generation == generation.number) {
            Some(index) => index,
            None => {
                let prepared = generation.prepared(service, self.host.options.limits, generations.metrics())?;
                match index {
                    Some(index) => {
                        let before = std::mem::replace(&mut self.services[index], prepared);
                        generations.housekeeper.free_prepared(before);
                        index
                    }
                    None => {
                        self.services.push(prepared);
                        self.services.len() - 1
                    }
                }
            }
        };
        self.services[index].fitting = Arc::clone(request.plan());
        Ok(index)
    }

    /// Reads the row of a key in a view's snapshot, or a fresher one with all events that were [pushed](crate::Host::push), and the
    /// number of the generation that it is of. No time is asked for: the row says when its values happened, and whether that is
    /// before a time that it is used at.
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
        let counters = &self.lookups;
        let is_timed = (counters.found.get() + counters.not_found.get()).is_multiple_of(SAMPLED);
        let watch = is_timed.then(Stopwatch::start);
        let key = HashedKey::from(key);
        let entry = match &served.fresh {
            Some(fresh) if fresh.filter().is_some() => {
                // On its way while the filter is read.
                served.layers.prefetch(key);
                fresh.get(key)
            }
            _ => None,
        };
        let row = match &entry {
            Some(entry) => entry.newest(&served.layers),
            None => served.layers.get_hashed(key),
        };
        if let Some(mut watch) = watch {
            counters.duration.record(watch.lap());
        }
        match row {
            Some(_) => counters.found.add(1),
            None => counters.not_found.add(1),
        }
        Ok(read(row, generation.number))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let generations = &self.host.generations;
        generations.metrics().retire_lookups(&self.lookups);
        generations.sessions.fetch_sub(1, Ordering::Relaxed);
        // For the next session.
        for prepared in self.services.drain(..) {
            generations.housekeeper.free_prepared(prepared);
        }
    }
}

fn has_same_fields(a: &Plan, b: &Plan) -> bool {
    a.request == b.request && a.candidate == b.candidate
}

impl Prepared {
    /// Of the service at the place `service` of a generation.
    pub fn new(
        generation: u64,
        service: usize,
        served: &ServedService,
        modules: &BTreeMap<String, Module>,
        limits: CallLimits,
        metrics: &Arc<Registry>,
    ) -> Result<Self, InstantiateError> {
        let plan = &served.plan;
        let layout = Layout::new(plan, &served.views);
        Ok(Self {
            generation,
            service,
            instances: Instances::new(plan, modules, limits)?,
            evaluation: Evaluation::new(plan),
            lookups: Lookups::new(plan),
            counters: metrics.counters(plan, &layout),
            layout,
            states: States {
                states: state_column(),
                state_index: Column::new(ColumnType::I64),
                late: None,
                queries: Vec::new(),
            },
            fitting: Arc::clone(plan),
            plan: Arc::clone(plan),
        })
    }

    /// Has some of its calls audited.
    pub fn audited(mut self, audit: &Arc<Audit>) -> Self {
        self.instances.audit(&Sampler::new(audit, self.generation));
        self
    }

    fn evaluate(&mut self, served: &ServedService, request: &Request) -> Result<(), EvaluateError> {
        let evaluated = self.try_evaluate(served, request);
        if evaluated.is_err() {
            self.counters.refuse();
        }
        evaluated
    }

    fn try_evaluate(&mut self, served: &ServedService, request: &Request) -> Result<(), EvaluateError> {
        let Self {
            plan,
            instances,
            evaluation,
            lookups,
            layout,
            states,
            counters,
            ..
        } = self;
        let mut timing = counters.begin();
        request.fill(plan, evaluation)?;
        timing.skip();
        let time = request.prediction_time();
        for (step, view) in plan.views.iter().zip(&served.views) {
            if view.when_stale(time) == Some(WhenStale::Fail) {
                return Err(view.stale(&step.view, time));
            }
        }
        lookups.find(plan, &served.views, evaluation, time, |view, row| {
            counters.count_nulls(view, row);
        });
        counters.count_lookups(evaluation, &mut timing);
        for (index, view) in served.views.iter().enumerate() {
            for (feature, slot) in &layout.gathered[index] {
                let column = &mut evaluation.columns[*slot];
                lookups.gather(index, &view.layers, *feature, column);
                if lookups.is_scalar(index) {
                    column.make_scalar();
                }
            }
            if let (ViewRead::Aggregate { outputs, .. }, Some(instance)) =
                (&plan.views[index].read, instances.view(index))
            {
                if lookups.is_stale(index) {
                    evaluation.leave_stale(outputs.clone());
                    continue;
                }
                timing.skip();
                let read = states.read(plan, index, view, lookups, evaluation, instance);
                counters.time_view(index, &mut timing);
                match read {
                    Ok(()) if lookups.has_failed(index) => evaluation.leave_failed(plan, index, outputs.clone()),
                    Ok(()) => {}
                    Err(error) => {
                        let error = EvaluateError::call(&plan.views[index].view, instance, error);
                        evaluation.fail(plan, outputs.clone(), error);
                    }
                }
            }
        }
        timing.skip();
        evaluation.run_transforms_that_can(plan, instances, |transform| {
            counters.time_transform(transform, &mut timing);
        });
        counters.end(evaluation, timing);
        Ok(())
    }
}

impl States {
    /// Reads the aggregate of a view.
    fn read(
        &mut self,
        plan: &Plan,
        index: usize,
        view: &ServedView,
        lookups: &Lookups,
        evaluation: &mut Evaluation,
        instance: &mut Instance,
    ) -> Result<(), CallError> {
        let ViewRead::Aggregate { inputs, outputs, .. } = &plan.views[index].read else {
            return Ok(());
        };
        self.states.clear();
        lookups.gather(index, &view.layers, view.columns[0], &mut self.states);
        // One query answers for all rows where nothing differs between them.
        let is_scalar = lookups.is_scalar(index) && inputs.iter().all(|slot| evaluation.columns[*slot].is_scalar());
        let rows = if is_scalar { 1 } else { evaluation.rows };
        self.state_index.clear();
        for row in 0..rows {
            self.state_index
                .push_i64(if self.states.rows() == 1 { 0 } else { row as i64 });
        }
        let late = match &view.fresh {
            Some(fresh) if lookups.is_late(index) => {
                let late = self.late.get_or_insert_with(|| Box::new(Late::new(fresh)));
                late.fill(lookups, index, &self.state_index);
                Some(late)
            }
            _ => None,
        };
        // The inputs of an aggregate lie before its outputs.
        let (before, from_outputs) = evaluation.columns.split_at_mut(outputs.start);
        let outputs = &mut from_outputs[..outputs.len()];
        let mut queries = recycle(std::mem::take(&mut self.queries));
        queries.extend([&self.state_index, &before[0]]);
        queries.extend(inputs.iter().map(|slot| &before[*slot]));
        let result = match late {
            None => instance.read(&self.states, &queries, rows, outputs),
            Some(late) => {
                queries.insert(2, &late.visible);
                let mut events = recycle(std::mem::take(&mut late.frame));
                events.extend(late.events.columns());
                let result = instance.batch(&self.states, &events, &queries, rows, outputs);
                late.frame = recycle(events);
                result
            }
        };
        self.queries = recycle(queries);
        result?;
        if is_scalar {
            outputs.iter_mut().for_each(Column::make_scalar);
        }
        Ok(())
    }
}

impl Late {
    fn new(fresh: &Overlay) -> Self {
        Self {
            events: EventColumns::new(&fresh.schema),
            counts: Column::new(ColumnType::I64),
            visible: Column::new(ColumnType::I64),
            frame: Vec::new(),
        }
    }

    fn fill(&mut self, lookups: &Lookups, view: usize, state_index: &Column) {
        self.events.clear();
        self.counts.clear();
        self.visible.clear();
        lookups.append_late(view, &mut self.events, &mut self.counts);
        let (counts, states) = (self.counts.view(), state_index.view());
        for query in 0..state_index.rows() {
            self.visible.push_i64(counts.i64(states.i64(query) as usize));
        }
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
