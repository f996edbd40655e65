use std::collections::BTreeMap;
use std::ops::Range;

use unskew_frame::{Column, Value};
use unskew_snapshot::{EntityKey, KeyPart, Status};

use crate::audit::Sampler;
use crate::instance::{CallError, CallLimits, Instance};
use crate::module::{InstantiateError, Module};
use crate::plan::{Plan, TransformStep, ViewRead, ViewStep};
use crate::recycle::recycle;

/// The instances of a plan's modules, for one thread.
#[derive(Debug)]
pub struct Instances {
    /// In the order of [`Plan::views`]; none for a view that is no aggregate.
    views: Vec<Option<Instance>>,
    /// In the order of [`Plan::transforms`].
    transforms: Vec<Instance>,
}

impl Instances {
    /// Instantiates the modules that `plan` names.
    ///
    /// # Errors
    /// See [`Module::instantiate`]; a module that is not there.
    pub fn new(plan: &Plan, modules: &BTreeMap<String, Module>, limits: CallLimits) -> Result<Self, InstantiateError> {
        let instantiate = |name: &String| {
            modules
                .get(name)
                .ok_or_else(|| InstantiateError {
                    module: name.clone(),
                    reason: "it is not loaded".to_owned(),
                })?
                .instantiate(limits)
        };
        let view = |step: &ViewStep| match &step.read {
            ViewRead::Features(_) => Ok(None),
            ViewRead::Aggregate { module, .. } => instantiate(module).map(Some),
        };
        Ok(Self {
            views: plan.views.iter().map(view).collect::<Result<_, _>>()?,
            transforms: plan
                .transforms
                .iter()
                .map(|step| instantiate(&step.module))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Has some of their calls audited.
    pub(crate) fn audit(&mut self, sampler: &Sampler) {
        let views = self.views.iter_mut().flatten();
        views
            .chain(&mut self.transforms)
            .for_each(|instance| instance.audit(sampler.clone()));
    }

    /// The aggregate of a view.
    pub fn view(&mut self, view: usize) -> Option<&mut Instance> {
        self.views.get_mut(view).and_then(Option::as_mut)
    }
}

/// The columns of an evaluation, a slot each, and what became of every view's rows. A backfill fills the slots of the views
/// from history, a host from snapshots; the rest is the same.
#[derive(Debug)]
pub struct Evaluation {
    /// A column per slot of the plan: `rows` long, or a scalar.
    pub columns: Vec<Column>,
    /// Per view of the plan, the status of each row: `rows` long, or one for all.
    pub statuses: Vec<Vec<Status>>,
    /// How many rows there are.
    pub rows: usize,
    /// What gave nothing, where the evaluation went on without.
    pub failures: Vec<EvaluateError>,
    /// Per slot, what became of all its values, where that is nothing to do with rows.
    fates: Vec<Option<Status>>,
    /// Empty between calls: only its memory is kept.
    inputs: Vec<&'static Column>,
}

impl Evaluation {
    /// Without rows.
    pub fn new(plan: &Plan) -> Self {
        Self {
            columns: plan.columns(),
            statuses: plan.views.iter().map(|_| Vec::new()).collect(),
            rows: 0,
            failures: Vec::new(),
            fates: vec![None; plan.slots.len()],
            inputs: Vec::new(),
        }
    }

    /// Drops the rows, keeps constants and memory.
    pub fn clear(&mut self, plan: &Plan) {
        self.rows = 0;
        for (column, slot) in self.columns.iter_mut().zip(&plan.slots) {
            if slot.constant.is_none() {
                column.clear();
            }
        }
        self.statuses.iter_mut().for_each(Vec::clear);
        self.failures.clear();
        self.fates.fill(None);
    }

    /// The key of the entity of `view` in `row`, into `key`; false where a part of it is missing, which is nobody's key.
    pub fn entity_key(&self, view: &ViewStep, row: usize, key: &mut EntityKey) -> bool {
        key.clear();
        // The plan compared the slots' types with the key's. A key beyond the limit is in no snapshot.
        view.keys
            .iter()
            .all(|slot| KeyPart::of(self.columns[*slot].view().value(row)).is_some_and(|part| key.push(part).is_ok()))
    }

    /// Whether the keys of `view` are the same for all rows.
    pub fn is_scalar_key(&self, view: &ViewStep) -> bool {
        view.keys.iter().all(|slot| self.columns[*slot].is_scalar())
    }

    /// Runs the row transforms of the plan, in order.
    ///
    /// # Errors
    /// The call of a transform failed.
    pub fn run_transforms(&mut self, plan: &Plan, instances: &mut Instances) -> Result<(), EvaluateError> {
        for (step, instance) in plan.transforms.iter().zip(&mut instances.transforms) {
            self.run_transform(step, instance)
                .map_err(|error| EvaluateError::call(&step.name, instance, error))?;
        }
        Ok(())
    }

    /// The same, but a transform that fails leaves its outputs missing or with the fallbacks of the plan, and those that read
    /// them go on where they may. Tells `ran` after each which it was.
    pub fn run_transforms_that_can(&mut self, plan: &Plan, instances: &mut Instances, mut ran: impl FnMut(usize)) {
        for (index, (step, instance)) in plan.transforms.iter().zip(&mut instances.transforms).enumerate() {
            // A slot that is always present may be the input of a transform that takes no missing value.
            let is_missing = |slot: &usize| self.fates[*slot].is_some_and(|fate| !fate.is_present());
            let is_starved = |slot: &usize| {
                let has_missing = || self.columns[*slot].null_count() > 0;
                !plan.slots[*slot].nullable && (is_missing(slot) || has_missing())
            };
            if step.inputs.iter().any(is_starved) {
                self.fall_back(plan, step.outputs.clone());
            } else if let Err(error) = self.run_transform(step, instance) {
                let error = EvaluateError::call(&step.name, instance, error);
                self.fail(plan, step.outputs.clone(), error);
            }
            ran(index);
        }
    }

    /// What became of all values of a slot, where that has nothing to do with rows.
    pub(crate) fn fate(&self, slot: usize) -> Option<Status> {
        self.fates[slot]
    }

    /// Gives the slots of a step that failed their fallbacks, leaves those without one missing, and keeps its error.
    pub fn fail(&mut self, plan: &Plan, outputs: Range<usize>, error: EvaluateError) {
        self.fall_back(plan, outputs);
        self.failures.push(error);
    }

    /// Leaves the outputs of an aggregate missing, whose states are too old.
    pub(crate) fn leave_stale(&mut self, outputs: Range<usize>) {
        outputs.for_each(|slot| self.fill_scalar(slot, Value::Null, Status::Stale));
    }

    /// Takes back what an aggregate gave for entities whose fresh events could not be counted in, as though they had none: they have
    /// the fallbacks of the plan instead, or nothing.
    #[cold]
    pub(crate) fn leave_failed(&mut self, plan: &Plan, view: usize, outputs: Range<usize>) {
        let statuses = &self.statuses[view];
        for slot in outputs {
            let given = &self.columns[slot];
            let fallback = plan.slots[slot].fallback.as_ref().map(|fallback| fallback.value(0));
            let mut column = Column::new(given.column_type());
            for row in 0..given.rows() {
                let value = match statuses.get(row).or(statuses.first()) {
                    Some(Status::Failed) => fallback.unwrap_or(Value::Null),
                    _ => given.value(row),
                };
                // A fallback is of its slot's type.
                if column.push(value).is_err() {
                    column.push_null();
                }
            }
            if given.is_scalar() {
                column.make_scalar();
            }
            self.columns[slot] = column;
        }
    }

    fn fall_back(&mut self, plan: &Plan, outputs: Range<usize>) {
        for slot in outputs {
            match &plan.slots[slot].fallback {
                Some(fallback) => self.fill_scalar(slot, fallback.value(0), Status::Defaulted),
                None => self.fill_scalar(slot, Value::Null, Status::Failed),
            }
        }
    }

    /// One value for all rows, and what became of it.
    fn fill_scalar(&mut self, slot: usize, value: Value<'_>, fate: Status) {
        let column = &mut self.columns[slot];
        column.clear();
        // A fallback is of its slot's type.
        if column.push(value).is_err() {
            column.push_null();
        }
        column.make_scalar();
        self.fates[slot] = Some(fate);
    }

    fn run_transform(&mut self, step: &TransformStep, instance: &mut Instance) -> Result<(), CallError> {
        // The inputs of a transform lie before its outputs.
        let (before, from_outputs) = self.columns.split_at_mut(step.outputs.start);
        let mut inputs = recycle(std::mem::take(&mut self.inputs));
        inputs.extend(step.inputs.iter().map(|slot| &before[*slot]));
        let result = instance.apply(&inputs, self.rows, &mut from_outputs[..step.outputs.len()]);
        self.inputs = recycle(inputs);
        result
    }

    /// The value of a feature in a row.
    pub fn value(&self, plan: &Plan, row: usize, feature: usize) -> Value<'_> {
        self.columns[plan.features[feature].slot].value(row)
    }

    /// What became of a feature in a row.
    pub fn status(&self, plan: &Plan, row: usize, feature: usize) -> Status {
        let column = &self.columns[plan.features[feature].slot];
        self.status_of(plan, row, feature, column.view().is_present(row))
    }

    /// The same of a value that is there or not, wherever it is read from.
    pub(crate) fn status_of(&self, plan: &Plan, row: usize, feature: usize, is_present: bool) -> Status {
        let step = &plan.features[feature];
        if let Some(fate) = self.fates[step.slot] {
            return fate;
        }
        let found = match step.view.map(|view| &self.statuses[view][..]) {
            None => Status::Present,
            Some([status]) => *status,
            Some(statuses) => statuses.get(row).copied().unwrap_or(Status::NotFound),
        };
        match found {
            Status::Present if !is_present => Status::Null,
            // What is there is the fallback.
            Status::Failed if is_present => Status::Defaulted,
            found => found,
        }
    }
}

/// Why an evaluation gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// A transform or an aggregate failed.
    #[error("`{step}` (module `{module}`): {error}: {detail}")]
    Call {
        /// The transform's or the view's name.
        step: String,
        /// The module's name.
        module: String,
        /// What kind of failure it was.
        error: CallError,
        /// What the engine or the module says.
        detail: String,
    },
    /// The request lacks a field that the service needs.
    #[error("the request has no `{field}`, which service `{service}` needs")]
    MissingField {
        /// The service.
        service: String,
        /// The field.
        field: String,
    },
    /// The request was made for another definition of the service.
    #[error("service `{service}` has other fields since the current generation: resolve it again")]
    ServiceChanged {
        /// The service.
        service: String,
    },
    /// A view's snapshot is too old for the request, and the view says that requests fail then.
    #[error(
        "the snapshot of view `{view}` is {} s older than the request, beyond {} s: publish a newer one",
        age_us / 1_000_000,
        max_age_us / 1_000_000
    )]
    Stale {
        /// The view.
        view: String,
        /// The prediction time less the snapshot's watermark, in microseconds.
        age_us: u64,
        /// How old it may be, in microseconds.
        max_age_us: u64,
    },
    /// There are too many candidates.
    #[error("{rows} candidates are beyond the limit of {limit}")]
    TooManyCandidates {
        /// How many there are.
        rows: usize,
        /// How many there may be.
        limit: usize,
    },
    /// The calling thread has too little of its stack left.
    #[error("an evaluation needs {needed} bytes of its thread's stack: start the thread with a larger one")]
    Stack {
        /// [`EVALUATE_STACK_BYTES`](crate::EVALUATE_STACK_BYTES).
        needed: usize,
    },
    /// The instances of a new generation could not be made.
    #[error(transparent)]
    Instantiate(#[from] InstantiateError),
}

impl EvaluateError {
    /// Whether it is due to the rows that were evaluated: fewer of them, or others, may go well.
    pub fn is_of_rows(&self) -> bool {
        matches!(self, Self::Call { error, .. } if error.is_of_rows())
    }

    /// That the last call of `instance`, which `step` made, failed with `error`.
    pub fn call(step: &str, instance: &Instance, error: CallError) -> Self {
        Self::Call {
            step: step.to_owned(),
            module: instance.module_name().to_owned(),
            error,
            detail: instance.detail().to_owned(),
        }
    }
}
