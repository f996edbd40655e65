use std::collections::BTreeMap;
use std::path::PathBuf;

use unskew::{Module, ViewRead, descriptors};
use unskew_frame::{Column, Value};
use unskew_snapshot::EventTime;

use self::label::Outcomes;
use self::view::audit_view;
use crate::backfill::{BackfillError, BackfillOptions, Progress, compute};
use crate::project::Project;
use crate::training_set::TrainingSet;

mod ages;
mod auc;
mod label;
mod view;

pub use ages::{AGE_BOUNDS_US, Ages};
pub use label::{Label, LabelError, ParseLabelError};

/// What to look at for leaks.
#[derive(Clone, Debug)]
pub struct AuditOptions {
    /// The service, the spine and what its rows may see, as for a backfill. Nothing is written.
    pub backfill: BackfillOptions,
    /// What the model is to predict.
    pub label: Option<Label>,
    /// The spine's column of the time when the outcome came to be.
    pub label_time: Option<String>,
    /// How many rows of the spine are traced to the rows that their features are of.
    pub samples: usize,
    /// From which AUC on a feature is suspected to know the outcome.
    pub suspicious_auc: f64,
}

/// What an audit found.
#[derive(Clone, Debug)]
pub struct Audit {
    /// The rows of the spine.
    pub rows: u64,
    /// Of them, those with a positive label and with a negative one.
    pub labels: Option<[u64; 2]>,
    /// What each view's features are of.
    pub views: Vec<ViewAudit>,
    /// What each feature tells of the label, if there is one.
    pub features: Vec<FeatureAudit>,
    /// Rows of the spine with what their features are of.
    pub samples: Vec<Sample>,
}

/// The times of the rows that a view's features are of, against the prediction times.
#[derive(Clone, Debug)]
pub struct ViewAudit {
    /// The view.
    pub view: String,
    /// Whether it is an aggregate: then a row is the newest event that the prediction may see.
    pub is_aggregate: bool,
    /// How old the rows are when they are used.
    pub ages: Ages,
    /// Events that no row has, because they became known later than the view's lateness allows: those that the last row of the
    /// spine could see else. None without a lateness.
    pub late: Option<u64>,
    /// Rows of the spine whose entity has none.
    pub not_found: u64,
    /// Rows whose entity has one that is older than the TTL.
    pub expired: u64,
    /// Rows that the last row of their entity would have been given to, whatever its time, that could not have been known: what
    /// a join that knows no time leaks.
    pub naive_leaks: u64,
    /// Rows whose features are of a row of the time of their label or later: it may hold the outcome. None without label times.
    pub after_label: Option<u64>,
    /// Rows of which a value in the training set is not that of the row that it was traced to: there is none, or the engine is
    /// wrong.
    pub mistraced: u64,
}

/// How well one feature alone tells positive labels from negative ones.
#[derive(Clone, Debug)]
pub struct FeatureAudit {
    /// As the service names it.
    pub feature: String,
    /// Rows that have a value.
    pub present: u64,
    /// Of rows with a value, how often a positive one has the greater value than a negative one; 0.5 is chance, and below 0.5
    /// the lesser value tells. None where all are of one kind or there is no order.
    pub auc: Option<f64>,
    /// The same of whether there is a value at all.
    pub presence_auc: Option<f64>,
    /// Whether it tells too much to be true.
    pub is_suspicious: bool,
}

/// What the features of one row of the spine are of.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The number of the row of the spine, from 0.
    pub row: u64,
    /// Its prediction time.
    pub prediction_time: EventTime,
    /// The view.
    pub view: String,
    /// The entity, none where a part of the key is missing.
    pub entity: Option<String>,
    /// The row that they are of, if there is one.
    pub origin: Option<Origin>,
    /// The events that an aggregate may see.
    pub events: Option<u64>,
}

/// A row of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file.
    pub path: PathBuf,
    /// The number of the row in the file, from 1; of text files, without the header.
    pub row: u64,
    /// Its event time.
    pub event_time: EventTime,
    /// When it became known, if that is told.
    pub known_at: Option<EventTime>,
}

impl Audit {
    /// Whether anything is wrong or suspicious.
    pub fn is_clean(&self) -> bool {
        let is_clean = |view: &ViewAudit| view.after_label.unwrap_or(0) == 0 && view.mistraced == 0;
        self.views.iter().all(is_clean) && !self.features.iter().any(|feature| feature.is_suspicious)
    }
}

/// Computes a training set and looks for what should not be in it. Both the training set and the histories of its views are
/// held in memory.
///
/// The rows that features are of are found here again, one by one, by the rule of visibility alone, and their values compared with
/// what the backfill's join gave.
///
/// # Errors
/// See [`AuditError`].
pub fn audit(
    project: &Project,
    modules: &BTreeMap<String, Module>,
    options: &AuditOptions,
    progress: impl Fn(Progress<'_>) + Sync,
) -> Result<Audit, AuditError> {
    let set = compute(project, modules, &options.backfill, progress)?;
    let label_times = options
        .label_time
        .as_deref()
        .map(|column| label::times(&set, column))
        .transpose()?;
    let outcomes = options
        .label
        .as_ref()
        .map(|label| Outcomes::of(&set, label))
        .transpose()?;
    let sampled = sampled(set.spine.times.len(), options.samples);
    let descriptors = descriptors(modules);
    let mut views = Vec::with_capacity(set.plan.views.len());
    let mut samples = Vec::new();
    for step in &set.plan.views {
        let (view, of_view) = audit_view(
            project,
            &descriptors,
            &set,
            step,
            options,
            label_times.as_deref(),
            &sampled,
        )?;
        views.push(view);
        samples.extend(of_view);
    }
    samples.sort_by_key(|sample| sample.row);
    let features = outcomes
        .as_ref()
        .map(|outcomes| audit_features(&set, outcomes, options.suspicious_auc));
    Ok(Audit {
        rows: set.spine.times.len() as u64,
        labels: outcomes.map(|outcomes| outcomes.counts()),
        views,
        features: features.unwrap_or_default(),
        samples,
    })
}

fn audit_features(set: &TrainingSet, outcomes: &Outcomes, suspicious_auc: f64) -> Vec<FeatureAudit> {
    let audit = |(index, step): (usize, &unskew::FeatureStep)| {
        let values: Vec<Value<'_>> = (0..outcomes.len()).map(|row| set.value(row, index)).collect();
        let found = auc::of_feature(&values, outcomes);
        let tells = |auc: Option<f64>| auc.is_some_and(|auc| suspicious_auc <= auc.max(1.0 - auc));
        FeatureAudit {
            feature: step.name.clone(),
            present: values.iter().filter(|value| !value.is_null()).count() as u64,
            is_suspicious: tells(found.value) || tells(found.presence),
            auc: found.value,
            presence_auc: found.presence,
        }
    };
    set.plan.features.iter().enumerate().map(audit).collect()
}

/// So many rows, spread evenly over all.
fn sampled(rows: usize, samples: usize) -> Vec<usize> {
    let samples = samples.min(rows);
    (0..samples)
        .map(|sample| (2 * sample + 1) * rows / (2 * samples))
        .collect()
}

/// The slots that a view gives, with the names of its features.
fn slots_of(read: &ViewRead) -> Vec<usize> {
    match read {
        ViewRead::Features(features) => features.iter().map(|(_, slot)| *slot).collect(),
        ViewRead::Aggregate { outputs, .. } => outputs.clone().collect(),
    }
}

/// The value of a slot in a row.
fn slot_value(column: &Column, row: usize) -> Value<'_> {
    column.value(if column.is_scalar() { 0 } else { row })
}

/// Why there is no audit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The training set cannot be computed.
    #[error(transparent)]
    Backfill(#[from] BackfillError),
    /// The label cannot be read.
    #[error(transparent)]
    Label(#[from] LabelError),
}

#[cfg(test)]
mod tests;
