use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use unskew::{EvaluateError, InstantiateError, Module, Plan, ResolveError, descriptors};
use unskew_snapshot::{EventTime, Status};

use crate::array::{canonical_type, column_to_array, status_to_array, status_type};
use crate::asof::Sight;
use crate::engine::Engine;
use crate::engine::emit::{Chunk, Wanted, emit, feature_status};
use crate::engine::memory::DEFAULT_MEMORY_BYTES;
use crate::entity_key::EntityKeyError;
use crate::increment::WhyNot;
use crate::manifest::{BackfillManifest, InputEntry, manifest_path};
use crate::output::{OutputFile, OutputOptions, TableWriter, WriteError, directory_of};
use crate::project::Project;
use crate::reader::{Filter, InputFile, Pruning, ReadError};
use crate::training_set::TrainingSet;
use crate::workers::core_count;

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
    /// Which rows of the spine to compute them for.
    pub filter: Filter,
    /// Computes as though nothing later than this had been known: what a snapshot as of this time serves.
    pub freeze_at: Option<EventTime>,
    /// Computes as though everything had become known this much later than it says, in microseconds: what a pipeline that
    /// is so late serves. Ages are not changed.
    pub lag_us: u64,
    /// Whether to write a column of the status of every feature of a view.
    pub statuses: bool,
    /// How to write the training set.
    pub output: OutputOptions,
    /// What it may use.
    pub resources: Resources,
}

/// What a backfill may use. The result does not depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resources {
    /// The memory, in bytes: [`MIN_MEMORY_BYTES`](crate::MIN_MEMORY_BYTES) or more. Less is not kept to.
    pub memory_bytes: u64,
    /// The threads.
    pub threads: usize,
    /// Where files go that hold what memory does not; the directory of the output, if none is given.
    pub spill_dir: Option<PathBuf>,
}

impl BackfillOptions {
    /// What rows may see.
    pub(crate) fn sight(&self) -> Sight {
        Sight {
            freeze_at: self.freeze_at,
            lag_us: self.lag_us,
        }
    }
}

impl Default for Resources {
    /// 2 GiB and all cores.
    fn default() -> Self {
        Self {
            memory_bytes: DEFAULT_MEMORY_BYTES,
            threads: core_count(),
            spill_dir: None,
        }
    }
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

/// A training set that was written.
#[derive(Clone, Debug)]
pub struct Backfilled {
    /// What was computed.
    pub plan: Plan,
    /// The file.
    pub output: OutputFile,
    /// What it was made of.
    pub manifest: BackfillManifest,
    /// How much of the spine was read.
    pub spine_read: Pruning,
    /// The same of the history of each view, by its name.
    pub history_read: BTreeMap<String, Pruning>,
}

/// Computes a service's features for a spine, as of each row's prediction time, and writes them to `path` as Parquet with a
/// manifest beside it: `<path>.manifest.json`.
///
/// The columns of the spine come first, by their own names, then the features by theirs. Spine and sources are read in
/// pieces, on all cores, within [`Resources::memory_bytes`]; what does not fit is kept in files that nobody else sees, and
/// that go when the backfill ends.
///
/// # Errors
/// See [`BackfillError`]. Nothing is left at `path` that was not there before, unless it is the manifest that cannot be
/// written: the training set is whole then, and lacks it.
pub fn backfill(
    project: &Project,
    modules: &BTreeMap<String, Module>,
    options: &BackfillOptions,
    path: &Path,
    progress: impl Fn(Progress<'_>) + Sync,
) -> Result<Backfilled, BackfillError> {
    let engine = Engine::open(
        project,
        modules,
        &descriptors(modules),
        options,
        directory_of(path),
        &progress,
    )?;
    let layout = Layout::new(&engine);
    let (mut writer, encoder) = TableWriter::create(path, &layout.columns, options.output)?;
    let make = |group: usize, chunk: Chunk| {
        let rows = chunk.rows;
        Ok(encoder.encode(group, rows, &layout.arrays(&engine.plan, chunk)?)?)
    };
    let files = engine.run(|| emit(&engine, &layout.wanted, make, |group| Ok(writer.append(group)?)))?;
    let output = writer.finish()?;
    let manifest = manifest(&engine, files, &output);
    crate::output::write_json(&manifest_path(path), &manifest, OutputOptions { overwrite: true })?;
    Ok(Backfilled {
        output,
        manifest,
        spine_read: engine.spine.scan().pruning(),
        history_read: engine.history_read(),
        plan: engine.plan,
    })
}

/// The features of a spine, in memory: what [`backfill`] writes, to be compared with what is served.
///
/// # Errors
/// See [`BackfillError`].
pub fn compute(
    project: &Project,
    modules: &BTreeMap<String, Module>,
    options: &BackfillOptions,
    progress: impl Fn(Progress<'_>) + Sync,
) -> Result<TrainingSet, BackfillError> {
    let engine = Engine::open(
        project,
        modules,
        &descriptors(modules),
        options,
        &std::env::temp_dir(),
        &progress,
    )?;
    let mut set = TrainingSet::new(&engine.plan, engine.spine.scan().carried().len());
    let wanted = Wanted {
        slots: (0..engine.plan.slots.len()).collect(),
        views: (0..engine.plan.views.len()).collect(),
    };
    let files = engine.run(|| emit(&engine, &wanted, |_, chunk| Ok(chunk), |chunk| set.append(chunk)))?;
    set.finish(engine.spine.scan().carried(), files, engine.ties())?;
    Ok(set)
}

/// The columns of a training set.
struct Layout {
    columns: Vec<(String, DataType)>,
    sources: Vec<ColumnSource>,
    wanted: Wanted,
}

enum ColumnSource {
    Slot(usize),
    Carried(usize),
    /// Of a feature, which is of a view.
    Status {
        slot: usize,
        view: usize,
    },
}

impl Layout {
    fn new(engine: &Engine<'_>) -> Self {
        let (plan, options) = (&engine.plan, engine.options);
        let mut layout = Self {
            columns: Vec::new(),
            sources: Vec::new(),
            wanted: Wanted {
                slots: BTreeSet::new(),
                views: BTreeSet::new(),
            },
        };
        layout.push_slot(&options.time_column, 0, plan);
        // A field that is a feature too is written once, among the features.
        for (slot, field) in plan.fields() {
            if plan.feature_index(&field.name).is_none() && field.name != options.time_column {
                layout.push_slot(&field.name, slot, plan);
            }
        }
        for (index, field) in engine.spine.scan().carried().iter().enumerate() {
            layout.columns.push((field.name().clone(), field.data_type().clone()));
            layout.sources.push(ColumnSource::Carried(index));
        }
        for step in &plan.features {
            layout.push_slot(&step.name, step.slot, plan);
            if let Some(view) = step.view.filter(|_| options.statuses) {
                layout.wanted.views.insert(view);
                layout.columns.push((format!("{}:status", step.name), status_type()));
                layout.sources.push(ColumnSource::Status { slot: step.slot, view });
            }
        }
        layout
    }

    fn push_slot(&mut self, name: &str, slot: usize, plan: &Plan) {
        self.columns
            .push((name.to_owned(), canonical_type(plan.slots[slot].column_type)));
        self.sources.push(ColumnSource::Slot(slot));
        self.wanted.slots.insert(slot);
    }

    fn arrays(&self, plan: &Plan, chunk: Chunk) -> Result<Vec<ArrayRef>, BackfillError> {
        let array = |source: &ColumnSource| match source {
            ColumnSource::Carried(index) => Ok(chunk.carried[*index].clone()),
            ColumnSource::Slot(slot) => match (&chunk.arrays[*slot], &plan.slots[*slot].constant) {
                (Some(array), _) => Ok(array.clone()),
                (None, Some(constant)) => Ok(column_to_array(constant, chunk.rows)),
                (None, None) => Err(BackfillError::Missing {
                    slot: plan.slots[*slot].name.clone(),
                }),
            },
            ColumnSource::Status { slot, view } => {
                let values = chunk.arrays[*slot].as_ref();
                let status = |(row, status): (usize, &Status)| feature_status(*status, values, row);
                let statuses: Vec<Status> = chunk.statuses[*view].iter().enumerate().map(status).collect();
                Ok(status_to_array(&statuses))
            }
        };
        self.sources.iter().map(array).collect()
    }
}

fn manifest(engine: &Engine<'_>, files: Vec<InputFile>, output: &OutputFile) -> BackfillManifest {
    let input = |file: InputFile| InputEntry {
        path: file.path,
        bytes: file.bytes,
        digest: file.digest,
    };
    let mut inputs: Vec<InputEntry> = files.into_iter().map(input).collect();
    inputs.sort();
    inputs.dedup();
    let modules = engine.plan.modules().filter_map(|name| {
        let module = engine.modules.get(name)?;
        Some((name.to_owned(), module.digest()))
    });
    BackfillManifest {
        semantics: SEMANTICS_VERSION,
        service: engine.plan.service.clone(),
        freeze_at_us: engine.options.freeze_at.map(|time| time.0),
        lag_us: engine.options.lag_us,
        filter: engine.options.filter.to_string(),
        rows: output.rows,
        output: output.digest,
        inputs,
        modules: modules.collect(),
        ties: engine.ties(),
        engine: unskew::settings_digest(unskew::Cpu::Baseline),
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
    /// What memory does not hold cannot be kept on disk.
    #[error("cannot keep rows in {}: check that it can be written and has room, or name another directory", path.display())]
    Spill {
        /// The file or the directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The snapshot to go on from cannot be used.
    #[error("cannot go on from {}", path.display())]
    Previous {
        /// The snapshot.
        path: PathBuf,
        /// Why not.
        source: WhyNot,
    },
    /// Rows that are handled together have more text than an array holds.
    #[error("too much text at once: {reason}")]
    TooLarge {
        /// What did not fit.
        reason: String,
    },
    /// Nothing computes a slot of the plan.
    #[error("`{slot}` is not computed by anything")]
    Missing {
        /// The slot.
        slot: String,
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
