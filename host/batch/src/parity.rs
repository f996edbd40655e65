use std::fmt;
use std::ops::Range;

use unskew::{EvaluateError, Features, MAX_CANDIDATES, Request, RequestError, Service, Session};
use unskew_frame::Value;
use unskew_snapshot::EventTime;

use crate::training_set::TrainingSet;

/// The mismatches that a report names.
const MAX_NAMED: usize = 20;

/// The comparison of what was served with what a backfill computed, value by value, bit by bit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parity {
    /// Rows compared.
    pub rows: u64,
    /// Values compared, statuses not counted.
    pub values: u64,
    /// Values that differ in a bit.
    pub mismatches: u64,
    /// The first of them.
    pub named: Vec<Mismatch>,
}

/// A value that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The row of the spine, from 0.
    pub row: usize,
    /// Its prediction time.
    pub prediction_time: EventTime,
    /// The feature.
    pub feature: String,
    /// What was served.
    pub served: String,
    /// What the backfill computed.
    pub computed: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "row {} ({}), feature `{}`: served {}, computed {}",
            self.row, self.prediction_time, self.feature, self.served, self.computed
        )
    }
}

impl Parity {
    /// Whether anything was compared and nothing differed.
    pub fn is_exact(&self) -> bool {
        self.values > 0 && self.mismatches == 0
    }

    /// Compares all values of a request's rows.
    pub(crate) fn compare_rows(
        &mut self,
        set: &TrainingSet,
        rows: Range<usize>,
        served: &Features<'_>,
    ) -> Result<(), ReplayError> {
        if !served
            .names()
            .eq(set.plan.features.iter().map(|feature| feature.name.as_str()))
        {
            return Err(other(&set.plan.service));
        }
        for (place, row) in rows.enumerate() {
            for (feature, name) in served.names().enumerate() {
                let computed = set.value(row, feature);
                self.compare(row, set.spine.times[row], name, served.value(place, feature), computed);
            }
            self.rows += 1;
        }
        Ok(())
    }

    /// Compares one value.
    pub fn compare(
        &mut self,
        row: usize,
        prediction_time: EventTime,
        feature: &str,
        served: Value<'_>,
        computed: Value<'_>,
    ) {
        self.values += 1;
        if served == computed {
            return;
        }
        self.mismatches += 1;
        if self.named.len() < MAX_NAMED {
            self.named.push(Mismatch {
                row,
                prediction_time,
                feature: feature.to_owned(),
                served: format!("{served:?}"),
                computed: format!("{computed:?}"),
            });
        }
    }
}

/// A moment of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A request is about to be served.
    Before,
    /// It was served.
    After {
        /// Its candidates.
        rows: usize,
    },
}

/// Serves every row of a training set and compares: consecutive rows of the same prediction time and request fields are
/// the candidates of one request. `observe` is called right before and right after each, for whoever takes times.
///
/// # Errors
/// The service has other fields or features than the training set, or the host cannot serve a request.
pub fn replay(
    service: &Service,
    session: &mut Session,
    set: &TrainingSet,
    mut observe: impl FnMut(Moment),
) -> Result<Parity, ReplayError> {
    let mut parity = Parity::default();
    for rows in requests(service, set)? {
        let request = request(service, set, rows.clone())?;
        observe(Moment::Before);
        let served = session.evaluate(&request)?;
        observe(Moment::After { rows: rows.len() });
        parity.compare_rows(set, rows, &served)?;
    }
    Ok(parity)
}

/// The rows of a training set that are one request, one after the other: consecutive ones of the same prediction time and request
/// fields, where the service has candidates.
pub(crate) fn requests(service: &Service, set: &TrainingSet) -> Result<Vec<Range<usize>>, ReplayError> {
    let plan = service.plan();
    if plan.request != set.plan.request || plan.candidate != set.plan.candidate {
        return Err(other(service.name()));
    }
    let field = |slot: usize, row: usize| set.evaluation.columns[slot].value(row);
    let (mut requests, mut start) = (Vec::new(), 0);
    while start < set.spine.rows() {
        let time = set.spine.times[start];
        let is_same = |row: usize| {
            set.spine.times[row] == time && (1..=plan.request.len()).all(|slot| field(slot, row) == field(slot, start))
        };
        let end = match plan.candidate.is_empty() {
            true => start + 1,
            false => {
                let limit = set.spine.rows().min(start + MAX_CANDIDATES);
                (start + 1..limit).find(|row| !is_same(*row)).unwrap_or(limit)
            }
        };
        requests.push(start..end);
        start = end;
    }
    Ok(requests)
}

/// The request of these rows.
pub(crate) fn request(service: &Service, set: &TrainingSet, rows: Range<usize>) -> Result<Request, RequestError> {
    let plan = service.plan();
    let field = |slot: usize, row: usize| set.evaluation.columns[slot].value(row);
    let mut request = service.request(set.spine.times[rows.start]);
    for (index, defined) in plan.request.iter().enumerate() {
        request.set(&defined.name, field(index + 1, rows.start))?;
    }
    if !plan.candidate.is_empty() {
        let first = plan.request.len() + 1;
        for row in rows {
            let values: Vec<Value<'_>> = (first..first + plan.candidate.len())
                .map(|slot| field(slot, row))
                .collect();
            request.push_candidate(&values)?;
        }
    }
    Ok(request)
}

fn other(service: &str) -> ReplayError {
    ReplayError::OtherService {
        service: service.to_owned(),
    }
}

/// Why a replay stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// What is served is not what was computed.
    #[error(
        "service `{service}` has other fields or features than the training set: publish what it was computed with"
    )]
    OtherService {
        /// The service.
        service: String,
    },
    /// A request could not be made of a row.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A request could not be served.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
}
