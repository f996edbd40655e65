use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use unskew::{
    CallLimits, Digest, EvaluateError, Evaluation, Instances, InstantiateError, Module, Plan, ResolveError, ViewRead,
    descriptors,
};
use unskew_frame::{Column, ColumnType, Value};
use unskew_snapshot::{EntityKey, EventTime, Status};

use crate::aggregate::{Queries, read_history};
use crate::array::{column_to_array, status_to_array};
use crate::asof::AsOfIndex;
use crate::entity_key::EntityKeyError;
use crate::output::{OutputColumn, OutputFile, OutputOptions, WriteError, write_columns};
use crate::project::Project;
use crate::reader::{InputFile, ReadError};
use crate::spine::{Spine, SpineOptions};
use crate::view::{ViewTable, read_view};

/// The rows of one call of a row transform.
const CALL_ROWS: usize = 8_192;
/// The version of the rules of time: as-of, time to live, windows, keys. Part of every manifest.
pub const SEMANTICS_VERSION: u32 = 1;

/// What to backfill.
#[derive(Clone, Debug)]
pub struct BackfillOptions {
    /// The service whose features are computed.
    pub service: String,
    /// The file of rows to compute them for.
    pub spine: PathBuf,
    /// The spine's column of the prediction time.
    pub time_column: String,
    /// Computes as though nothing later than this had been known: what a snapshot as of this time serves.
    pub freeze_at: Option<EventTime>,
    /// Whether to write a column of the status of every feature of a view.
    pub statuses: bool,
    /// How to write the training set.
    pub output: OutputOptions,
}

/// A step of a backfill, for whoever watches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// The spine was read: so many rows.
    Spine(usize),
    /// A view's history was read: so many rows.
    Source(&'a str, usize),
    /// A view was joined.
    View(&'a str),
    /// So many rows went through the row transforms.
    Transformed(usize),
}

/// The features of a spine.
#[derive(Debug)]
pub struct TrainingSet {
    /// What was computed.
    pub plan: Plan,
    /// The rows.
    pub spine: Spine,
    /// The columns, a slot of the plan each, in the order of the spine.
    pub evaluation: Evaluation,
    /// Per view, the rows chosen by row bytes alone.
    pub ties: BTreeMap<String, u64>,
    /// What was read.
    pub files: Vec<InputFile>,
}

/// What a training set was made of: written beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackfillManifest {
    /// [`SEMANTICS_VERSION`].
    pub semantics: u32,
    /// The service.
    pub service: String,
    /// The moment of the freeze, in microseconds.
    pub freeze_at_us: Option<i64>,
    /// The rows.
    pub rows: u64,
    /// The training set.
    pub output: Digest,
    /// The files that were read: path, size, digest.
    pub inputs: Vec<InputEntry>,
    /// The modules by name.
    pub modules: BTreeMap<String, Digest>,
    /// Per view, the rows chosen by row bytes alone.
    pub ties: BTreeMap<String, u64>,
    /// The native code's settings.
    pub engine: Digest,
}

/// A file that a backfill read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InputEntry {
    /// Its path.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Its digest.
    pub digest: Digest,
}

/// Computes a service's features for a spine, as of each row's prediction time. In memory.
///
/// # Errors
/// See [`BackfillError`].
pub fn compute(
    project: &Project,
    modules: &BTreeMap<String, Module>,
    options: &BackfillOptions,
    mut progress: impl FnMut(Progress<'_>),
) -> Result<TrainingSet, BackfillError> {
    let descriptors = descriptors(modules);
    let plan = Plan::resolve(project.catalog(), &options.service, &descriptors)?;
    let spine = Spine::read(
        &options.spine,
        &SpineOptions {
            time_column: options.time_column.clone(),
            fields: plan.fields().map(|(_, field)| field.clone()).collect(),
            ..SpineOptions::default()
        },
    )?;
    progress(Progress::Spine(spine.rows()));
    let mut set = TrainingSet {
        evaluation: Evaluation::new(&plan),
        files: spine.files.clone(),
        ties: BTreeMap::new(),
        plan,
        spine,
    };
    set.fill_fields();
    let mut instances = Instances::new(&set.plan, modules, CallLimits::BATCH)?;
    for index in 0..set.plan.views.len() {
        let name = set.plan.views[index].view.clone();
        let table = read_view(project, &descriptors, &name)?;
        progress(Progress::Source(&name, table.table.rows()));
        set.fill_view(index, &table, options.freeze_at, &mut instances)?;
        set.files.extend_from_slice(table.table.files());
        progress(Progress::View(&name));
    }
    set.run_transforms(&mut instances, &mut progress)?;
    Ok(set)
}

/// [`compute`], written to `path` as Parquet with a manifest beside it: `<path>.manifest.json`.
///
/// The columns of the spine come first, by their own names, then the features by theirs.
///
/// # Errors
/// See [`BackfillError`]. Nothing is left at `path` that was not there before, unless it is the manifest that cannot be
/// written: the training set is whole then, and lacks it.
pub fn backfill(
    project: &Project,
    modules: &BTreeMap<String, Module>,
    options: &BackfillOptions,
    path: &Path,
    progress: impl FnMut(Progress<'_>),
) -> Result<(TrainingSet, OutputFile), BackfillError> {
    let set = compute(project, modules, options, progress)?;
    let output = write_columns(path, set.spine.rows(), &set.output_columns(options), options.output)?;
    let manifest = set.manifest(modules, options, &output);
    crate::output::write_json(&manifest_path(path), &manifest, OutputOptions { overwrite: true })?;
    Ok((set, output))
}

/// Where the manifest of a training set is.
pub fn manifest_path(output: &Path) -> PathBuf {
    let mut path = output.as_os_str().to_owned();
    path.push(".manifest.json");
    path.into()
}

impl TrainingSet {
    /// The value of a feature in a row.
    pub fn value(&self, row: usize, feature: usize) -> Value<'_> {
        self.evaluation.value(&self.plan, row, feature)
    }

    /// What became of it.
    pub fn status(&self, row: usize, feature: usize) -> Status {
        self.evaluation.status(&self.plan, row, feature)
    }

    fn fill_fields(&mut self) {
        self.evaluation.rows = self.spine.rows();
        for time in &self.spine.times {
            self.evaluation.columns[0].push_timestamp(time.0);
        }
        for ((slot, _), (_, column)) in self.plan.fields().zip(&self.spine.fields) {
            self.evaluation.columns[slot] = column.clone();
        }
    }

    fn fill_view(
        &mut self,
        index: usize,
        table: &ViewTable,
        freeze_at: Option<EventTime>,
        instances: &mut Instances,
    ) -> Result<(), BackfillError> {
        let step = self.plan.views[index].clone();
        let keys: Vec<Option<EntityKey>> = (0..self.spine.rows())
            .map(|row| {
                let mut key = EntityKey::default();
                self.evaluation.entity_key(&step, row, &mut key).then_some(key)
            })
            .collect();
        match &step.read {
            ViewRead::Features(features) => {
                let as_of = AsOfIndex::build(table.keys()?, &table.table);
                let joined = as_of.join(&keys, &self.spine.times, step.ttl, freeze_at);
                for (name, slot) in features {
                    let source = table.feature(name)?;
                    let column = &mut self.evaluation.columns[*slot];
                    for row in &joined.rows {
                        match row {
                            Some(row) => column.extend_from(source.view(), *row as usize..*row as usize + 1),
                            None => column.push_null(),
                        }
                    }
                }
                self.ties.insert(step.view.clone(), joined.ties);
                self.evaluation.statuses[index] = joined.status;
            }
            ViewRead::Aggregate { inputs, outputs, .. } => {
                let log = table.event_log()?;
                let inputs: Vec<&Column> = inputs.iter().map(|slot| &self.evaluation.columns[*slot]).collect();
                let queries = Queries {
                    keys: &keys,
                    times: &self.spine.times,
                    freeze_at,
                    inputs: &inputs,
                };
                let types: Vec<ColumnType> = self.plan.slots[outputs.clone()]
                    .iter()
                    .map(|slot| slot.column_type)
                    .collect();
                let statuses = queries.statuses(&log);
                if let Some(instance) = instances.view(index) {
                    let columns = read_history(&log, &queries, instance, &types)
                        .map_err(|error| EvaluateError::call(&step.view, instance, error))?;
                    for (slot, column) in outputs.clone().zip(columns) {
                        self.evaluation.columns[slot] = column;
                    }
                }
                self.evaluation.statuses[index] = statuses;
            }
        }
        Ok(())
    }

    fn run_transforms(
        &mut self,
        instances: &mut Instances,
        progress: &mut impl FnMut(Progress<'_>),
    ) -> Result<(), BackfillError> {
        if self.plan.transforms.is_empty() {
            return Ok(());
        }
        let is_output = |slot: usize| self.plan.transforms.iter().any(|step| step.outputs.contains(&slot));
        let rows = self.spine.rows();
        let mut chunk = Evaluation::new(&self.plan);
        let mut start = 0;
        while start < rows {
            let end = rows.min(start + CALL_ROWS);
            chunk.clear(&self.plan);
            chunk.rows = end - start;
            for (slot, column) in self.evaluation.columns.iter().enumerate() {
                if !is_output(slot) && self.plan.slots[slot].constant.is_none() {
                    chunk.columns[slot].extend_from(column.view(), start..end);
                }
            }
            chunk.run_transforms(&self.plan, instances)?;
            for (slot, column) in self.evaluation.columns.iter_mut().enumerate() {
                if is_output(slot) {
                    column.extend_from(chunk.columns[slot].view(), 0..end - start);
                }
            }
            start = end;
            progress(Progress::Transformed(end));
        }
        Ok(())
    }

    fn output_columns(&self, options: &BackfillOptions) -> Vec<OutputColumn> {
        let rows = self.spine.rows();
        let features: Vec<&str> = self.plan.features.iter().map(|feature| feature.name.as_str()).collect();
        let mut columns = vec![(
            options.time_column.clone(),
            column_to_array(&self.evaluation.columns[0], rows),
        )];
        // A field that is a feature too is written once, among the features.
        for (name, column) in &self.spine.fields {
            if !features.contains(&name.as_str()) && *name != options.time_column {
                columns.push((name.clone(), column_to_array(column, rows)));
            }
        }
        columns.extend(self.spine.labels.iter().cloned());
        for (index, step) in self.plan.features.iter().enumerate() {
            columns.push((
                step.name.clone(),
                column_to_array(&self.evaluation.columns[step.slot], rows),
            ));
            if options.statuses && step.view.is_some() {
                let statuses: Vec<Status> = (0..rows).map(|row| self.status(row, index)).collect();
                columns.push((format!("{}:status", step.name), status_to_array(&statuses)));
            }
        }
        columns
    }

    fn manifest(
        &self,
        modules: &BTreeMap<String, Module>,
        options: &BackfillOptions,
        output: &OutputFile,
    ) -> BackfillManifest {
        let mut inputs: Vec<InputEntry> = self
            .files
            .iter()
            .map(|file| InputEntry {
                path: file.path.clone(),
                bytes: file.bytes,
                digest: file.digest,
            })
            .collect();
        inputs.sort();
        inputs.dedup();
        BackfillManifest {
            semantics: SEMANTICS_VERSION,
            service: self.plan.service.clone(),
            freeze_at_us: options.freeze_at.map(|time| time.0),
            rows: self.spine.rows() as u64,
            output: output.digest,
            inputs,
            modules: self
                .plan
                .modules()
                .filter_map(|name| modules.get(name).map(|module| (name.to_owned(), module.digest())))
                .collect(),
            ties: self.ties.clone(),
            engine: unskew::settings_digest(unskew::Cpu::Baseline),
        }
    }
}

/// Why a backfill or a materialization failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackfillError {
    /// The service cannot be resolved.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A row has no key that can be encoded.
    #[error("view `{view}`")]
    Key {
        /// The view.
        view: String,
        /// The row and the reason.
        source: EntityKeyError,
    },
    /// A component failed.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// A component cannot be instantiated.
    #[error(transparent)]
    Instantiate(#[from] InstantiateError),
    /// The output cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The snapshot cannot be written.
    #[error("the snapshot of view `{view}`")]
    Snapshot {
        /// The view.
        view: String,
        /// Why.
        source: unskew_snapshot::WriteError,
    },
    /// The project has no such view, source or column.
    #[error("view `{view}`: {reason}")]
    View {
        /// The view.
        view: String,
        /// What is missing.
        reason: String,
    },
}
