use std::sync::Arc;

use unskew_frame::{Column, Value};
use unskew_snapshot::EventTime;

use crate::evaluation::{EvaluateError, Evaluation};
use crate::plan::Plan;

/// The most candidates of one request, unless the host is given another limit.
pub const MAX_CANDIDATES: usize = 4_096;

/// A service as a caller knows it: its fields and its features, resolved and type-checked.
#[derive(Clone, Debug)]
pub struct Service {
    pub(crate) plan: Arc<Plan>,
}

impl Service {
    /// The index of a field that a request has once: for [`Request::set_at`].
    pub fn request_field(&self, name: &str) -> Option<usize> {
        self.plan.request.iter().position(|field| field.name == name)
    }

    /// The service's name.
    pub fn name(&self) -> &str {
        &self.plan.service
    }

    /// The plan: fields, features, and what computes them.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The names of the features, in the order of the model.
    pub fn feature_names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.plan.features.iter().map(|feature| feature.name.as_str())
    }

    /// An empty request at `prediction_time`. Keep it and [`reset`](Request::reset) it: it keeps its memory.
    pub fn request(&self, prediction_time: EventTime) -> Request {
        let fields = self.plan.request.iter().chain(&self.plan.candidate);
        Request {
            plan: Arc::clone(&self.plan),
            prediction_time,
            columns: fields.map(|field| Column::new(field.column_type)).collect(),
            rows: 0,
        }
    }
}

/// The fields of one request: those it has once, and those of each candidate.
#[derive(Clone, Debug)]
pub struct Request {
    plan: Arc<Plan>,
    prediction_time: EventTime,
    /// In the order of the fields.
    columns: Vec<Column>,
    rows: usize,
}

impl Request {
    /// Drops the fields and the candidates, keeps the memory.
    pub fn reset(&mut self, prediction_time: EventTime) {
        self.prediction_time = prediction_time;
        self.columns.iter_mut().for_each(Column::clear);
        self.rows = 0;
    }

    /// Sets a field of the request. A field that is not set is missing.
    ///
    /// # Errors
    /// There is no such field, it is of another type, or it is set already.
    pub fn set(&mut self, field: &str, value: Value<'_>) -> Result<(), RequestError> {
        let index = self.plan.request.iter().position(|candidate| candidate.name == field);
        let Some(index) = index else {
            return Err(self.refuse(field, "the service has no such request field"));
        };
        self.set_at(index, value)
    }

    /// The same, by the index of the field in the service's definition: for callers that resolve names once.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn set_at(&mut self, index: usize, value: Value<'_>) -> Result<(), RequestError> {
        let Some(field) = self.plan.request.get(index) else {
            return Err(self.refuse(&index.to_string(), "the service has no such request field"));
        };
        if self.columns[index].rows() > 0 {
            return Err(self.refuse(&field.name, "it is set already"));
        }
        if self.columns[index].push(value).is_err() {
            let reason = format!("it is {}", field.column_type);
            return Err(self.refuse(&field.name, &reason));
        }
        Ok(())
    }

    /// Adds a candidate: its fields in the order of the service's definition.
    ///
    /// # Errors
    /// The number of values or a type is another. The candidate is not added.
    pub fn push_candidate(&mut self, values: &[Value<'_>]) -> Result<(), RequestError> {
        let first = self.plan.request.len();
        let fields = &self.plan.candidate;
        if values.len() != fields.len() {
            let reason = format!("a candidate has {} fields, not {}", fields.len(), values.len());
            return Err(self.refuse("candidate", &reason));
        }
        let fits = |(field, value): (&crate::catalog::Field, &Value<'_>)| {
            value.is_null() || value.column_type() == Some(field.column_type)
        };
        if let Some(index) = fields.iter().zip(values).position(|pair| !fits(pair)) {
            let reason = format!("it is {}", fields[index].column_type);
            let name = fields[index].name.clone();
            return Err(self.refuse(&name, &reason));
        }
        for (column, value) in self.columns[first..].iter_mut().zip(values) {
            // The types were compared above.
            let _ = column.push(*value);
        }
        self.rows += 1;
        Ok(())
    }

    /// How many candidates there are.
    pub fn candidates(&self) -> usize {
        self.rows
    }

    /// Sets a column of a request field in place of what it had. The type was compared with the column's.
    pub(crate) fn replace(&mut self, column: usize, value: Value<'_>) {
        self.columns[column].clear();
        self.append(column, value);
    }

    /// Appends to a column of candidates, whose type was compared with the value's.
    pub(crate) fn append(&mut self, column: usize, value: Value<'_>) {
        let pushed = self.columns[column].push(value);
        debug_assert!(pushed.is_ok(), "the types were compared");
    }

    /// Ends the candidate whose columns were all appended to.
    pub(crate) fn end_candidate(&mut self) {
        self.rows += 1;
    }

    /// Fills the slots of the fields of an evaluation of `plan`, which has the same fields.
    pub(crate) fn fill(&self, plan: &Plan, evaluation: &mut Evaluation) -> Result<(), EvaluateError> {
        evaluation.clear(plan);
        evaluation.rows = if plan.candidate.is_empty() { 1 } else { self.rows };
        evaluation.columns[0].push_timestamp(self.prediction_time.0);
        evaluation.columns[0].make_scalar();
        for ((slot, field), given) in plan.fields().zip(&self.columns) {
            let column = &mut evaluation.columns[slot];
            let is_request = slot <= plan.request.len();
            if is_request && given.rows() == 0 {
                column.push_null();
            } else {
                column.copy_from(given);
            }
            if column.null_count() > 0 && !field.nullable {
                return Err(EvaluateError::MissingField {
                    service: plan.service.clone(),
                    field: field.name.clone(),
                });
            }
            if is_request {
                column.make_scalar();
            }
        }
        Ok(())
    }

    pub(crate) fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    pub(crate) fn prediction_time(&self) -> EventTime {
        self.prediction_time
    }

    fn refuse(&self, field: &str, reason: &str) -> RequestError {
        RequestError::new(&self.plan.service, field, reason)
    }
}

/// A field of a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("service `{service}`, `{field}`: {reason}")]
pub struct RequestError {
    service: String,
    field: String,
    reason: String,
}

impl RequestError {
    pub(crate) fn new(service: &str, field: &str, reason: &str) -> Self {
        Self {
            service: service.to_owned(),
            field: field.to_owned(),
            reason: reason.to_owned(),
        }
    }
}
