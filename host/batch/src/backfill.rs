use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use unskew::{EvaluateError, InstantiateError, Module, Plan, ResolveError, descriptors};
use unskew_snapshot::{EventTime, Status};

use crate::array::{canonical_type, column_to_array, status_to_array, status_type};
use crate::asof::Sight;
use crate::engine::Engine;
use crate::engine::emit::{Chunk, Chunks, Wanted, emit, feature_status};
use crate::engine::memory::DEFAULT_MEMORY_BYTES;
use crate::entity_key::EntityKeyError;
use crate::finish::{Finished, finish, is_done};
use crate::increment::WhyNot;
use crate::job::Job;
use crate::manifest::{BackfillManifest, InputEntry};
use crate::output::{OutputFile, OutputOptions, TableWriter, WriteError, WrittenTable, check_free};
use crate::project::Project;
use crate::quarantine::Quarantined;
use crate::reader::{Filter, InputFile, Pruning, ReadError};
use crate::training_set::TrainingSet;
use crate::unfinished::{Begin, Unfinished};
use crate::workers::core_count;

/// The version of the rules of time: as-of, time to live, windows, keys. Part of every manifest.
pub const SEMANTICS_VERSION: u32 = 1;

/// What to backfill, and how.
#[derive(Clone, Debug, Default)]
pub struct BackfillOptions {
    /// The service whose features are computed.
    pub service: String,
    /// The rows to compute them for: a file, a directory or a URL.
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
    /// Whether to go on with a backfill of the same output that was not finished, if there is one. Else such a one is an error,
    /// or is thrown away where the output may be overwritten.
    pub resume: bool,
    /// The most rows for which a component may fail; with one more the backfill does. See [`Quarantined`]. [`compute`] has no
    /// place to name them: there it is best 0.
    pub max_quarantined: u64,
    /// The generation of a store that the modules are of, to be told in the manifest.
    pub generation: Option<u64>,
    /// What it may use.
    pub resources: Resources,
}

/// Rows for which a component may fail, where nobody says how many.
pub const DEFAULT_MAX_QUARANTINED: u64 = 1_000;

/// What a backfill may use. The result does not depend on it.
#[derive(Clone, Debug)]
pub struct Resources {
    /// The memory, in bytes: [`MIN_MEMORY_BYTES`](crate::MIN_MEMORY_BYTES) or more. Less than wide rows need is refused.
    pub memory_bytes: u64,
    /// The most threads: fewer work where memory has no room for so many.
    pub threads: usize,
    /// Where files go that hold what memory does not; the directory of the output, if none is given, or the current one if the
    /// output is an object.
    pub spill_dir: Option<PathBuf>,
    /// How long it works before it saves what it does, to be resumed: what is done in less is done again as quickly.
    pub save_after: Duration,
    /// What stops it.
    pub interrupt: Interrupt,
}

/// Asks a backfill to stop, from any thread. It does within a piece of its work, and can be resumed.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Asks whoever has a clone of this to stop.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// The flag itself, for whoever sets flags: a handler of signals.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }

    /// Whether it was asked to.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
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
    /// 2 GiB, all cores, and saving after 10 s.
    fn default() -> Self {
        Self {
            memory_bytes: DEFAULT_MEMORY_BYTES,
            threads: core_count(),
            spill_dir: None,
            save_after: DEFAULT_SAVE_AFTER,
            interrupt: Interrupt::default(),
        }
    }
}

const DEFAULT_SAVE_AFTER: Duration = Duration::from_secs(10);

/// How far a backfill is, for whoever watches it. Told from any thread, often.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress<'a> {
    /// What is being done.
    pub phase: Phase,
    /// Of which view.
    pub view: Option<&'a str>,
    /// The rows of this phase that are done.
    pub rows: u64,
    /// All of its rows.
    pub rows_all: u64,
    /// The parts of this phase that are done: shares of the entities, or row groups.
    pub parts: u64,
    /// All of its parts.
    pub parts_all: u64,
    /// How much of the whole backfill is done, from 0 to 1; about.
    pub fraction: f64,
}

/// A phase of a backfill. The first two are gone through for each view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Spine and history are divided by entity key.
    Divide,
    /// They are joined.
    Join,
    /// The rows go through the transforms and are written.
    Emit,
}

impl Phase {
    /// The name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Divide => "divide",
            Self::Join => "join",
            Self::Emit => "emit",
        }
    }
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
/// manifest beside it, `<path>.manifest.json`, and the rows for which a component failed, if there are any:
/// `<path>.quarantine.jsonl`.
///
/// The columns of the spine come first, by their own names, then the features by theirs. Spine and sources are read in
/// pieces, on all cores, within [`Resources::memory_bytes`]; what does not fit is kept in files. Whatever becomes of the
/// process, what it has saved lies in `<path>.unfinished`, and [`BackfillOptions::resume`] goes on with it: the result is
/// the same to the byte. Of an output that is an object, that directory is in [`Resources::spill_dir`], or the
/// current one, and holds the whole output, before it is written there at once.
///
/// # Errors
/// See [`BackfillError`]. Nothing is left that was not there before, unless [`BackfillError::is_resumable`].
pub fn backfill(
    project: &Project,
    modules: &BTreeMap<String, Module>,
    options: &BackfillOptions,
    path: &Path,
    progress: impl Fn(Progress<'_>) + Sync,
) -> Result<Backfilled, BackfillError> {
    let storage = project.storage();
    let mut engine = Engine::open(project, modules, &descriptors(modules), options, &progress)?;
    let layout = Layout::new(&engine);
    let job = Job::of(&engine, project);
    let begin = match (options.resume, options.output.overwrite) {
        (true, _) => Begin::Resume,
        (false, true) => Begin::Anew,
        (false, false) => Begin::Fresh,
    };
    let spill_dir = options.resources.spill_dir.as_deref();
    let is_resumed = options.resume && Unfinished::is_at(path, spill_dir);
    if options.resume
        && !is_resumed
        && let Some(manifest) = is_done(storage, path, &job)
    {
        Unfinished::remove_remains(path, spill_dir);
        return Ok(Finished { manifest }.backfilled(path, engine));
    }
    if !is_resumed {
        check_free(storage, path, options.output)?;
    }
    let unfinished = Unfinished::open(path, spill_dir, &job, begin)?;
    if let Some(manifest) = unfinished.manifest() {
        let finished = finish(storage, unfinished, path, manifest)?;
        return Ok(finished.backfilled(path, engine));
    }
    engine.unfinished = Some(unfinished);
    let computed = write(&engine, &layout, path, &job);
    let unfinished = engine.unfinished.take();
    let (Some(unfinished), manifest) = (unfinished, computed) else {
        return Err(BackfillError::Interrupted);
    };
    match manifest.and_then(|manifest| {
        unfinished.set_manifest(&manifest)?;
        Ok(manifest)
    }) {
        Ok(manifest) => Ok(finish(storage, unfinished, path, manifest)?.backfilled(path, engine)),
        Err(error) => {
            if !error.is_resumable() {
                unfinished.remove();
            }
            Err(error)
        }
    }
}

/// Writes the training set beside what is saved, and gives its manifest.
fn write(engine: &Engine<'_>, layout: &Layout, path: &Path, job: &Job) -> Result<BackfillManifest, BackfillError> {
    let unfinished = engine.unfinished.as_ref().ok_or(BackfillError::Interrupted)?;
    let output = unfinished.file(crate::finish::OUTPUT);
    let file = File::create(&output).map_err(|source| WriteError::Io { path: output, source })?;
    let (mut writer, encoder) = TableWriter::create(path, file, &layout.columns)?;
    let make = |group: usize, chunks: Chunks<'_>| {
        let mut open = encoder.begin(group);
        for chunk in chunks {
            let mut chunk = chunk?;
            let (rows, quarantined) = (chunk.rows, std::mem::take(&mut chunk.quarantined));
            open.push(rows, &layout.arrays(&engine.plan, chunk)?, quarantined)?;
        }
        let encoded = open.finish()?;
        match engine.saves() {
            Some(unfinished) => encoder.save(unfinished, group, encoded),
            None => Ok(encoded),
        }
    };
    let mut quarantined = Vec::new();
    let append = |group: crate::row_group::RowGroup| {
        quarantined.extend_from_slice(group.quarantined());
        Ok(writer.append(group)?)
    };
    let emit = || {
        emit(
            engine,
            &layout.wanted,
            |group| encoder.find(unfinished, group),
            make,
            append,
        )
    };
    let files = engine.run(emit)?;
    let written = writer.finish()?;
    quarantined.extend(engine.quarantined_in_views());
    quarantined.sort_by(|a: &Quarantined, b| (a.row, &a.step).cmp(&(b.row, &b.step)));
    let count = quarantined.len() as u64;
    if let Some(first) = quarantined.first().filter(|_| engine.options.max_quarantined < count) {
        return Err(BackfillError::Quarantined {
            limit: engine.options.max_quarantined,
            reason: first.reason.clone(),
        });
    }
    crate::finish::write_quarantined(&unfinished.file(crate::finish::QUARANTINE), &quarantined)?;
    Ok(manifest(engine, job, files, &written, count))
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
    let mut engine = Engine::open(project, modules, &descriptors(modules), options, &progress)?;
    engine.keep_nothing(&std::env::temp_dir())?;
    let engine = engine;
    let mut set = TrainingSet::new(&engine.plan, engine.spine.scan().carried().len());
    let wanted = Wanted {
        slots: (0..engine.plan.slots.len()).collect(),
        views: (0..engine.plan.views.len()).collect(),
    };
    let files = engine.run(|| {
        emit(
            &engine,
            &wanted,
            |_| None,
            |_, chunks| chunks.collect::<Result<Vec<Chunk>, BackfillError>>(),
            |chunks| chunks.into_iter().try_for_each(|chunk| set.append(chunk)),
        )
    })?;
    set.finish(engine.spine.scan().carried(), files)?;
    (set.ties, set.late) = (engine.ties(), engine.late());
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

fn manifest(
    engine: &Engine<'_>,
    job: &Job,
    files: Vec<InputFile>,
    output: &WrittenTable,
    quarantined: u64,
) -> BackfillManifest {
    let input = |file: InputFile| InputEntry {
        path: file.path,
        bytes: file.bytes,
        digest: file.digest,
    };
    let mut inputs: Vec<InputEntry> = files.into_iter().map(input).collect();
    inputs.sort();
    inputs.dedup();
    BackfillManifest {
        semantics: SEMANTICS_VERSION,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        toolchain: env!("UNSKEW_TOOLCHAIN").to_owned(),
        generation: engine.options.generation,
        service: engine.plan.service.clone(),
        job: job.digest(),
        freeze_at_us: engine.options.freeze_at.map(|time| time.0),
        lag_us: engine.options.lag_us,
        filter: engine.options.filter.to_string(),
        rows: output.rows,
        output: output.digest,
        output_bytes: output.bytes,
        inputs,
        modules: job.modules.clone(),
        ties: engine.ties(),
        views: engine.view_entries(),
        quarantined,
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
    /// A component failed on an entity that has more events than go to one call.
    #[error("view `{view}`: the {events} events of entity {key}")]
    Entity {
        /// The view.
        view: String,
        /// The entity key.
        key: String,
        /// Of a snapshot all that it has; of a training set those that one prediction sees in its windows.
        events: usize,
        /// What went wrong.
        source: Box<EvaluateError>,
    },
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
    /// The budget is less than what one thread takes that writes row groups: they are as large whatever the budget.
    #[error("{} are too little memory for rows of this width: give {} or more", mebibytes(*memory_bytes), mebibytes(*least_bytes))]
    Memory {
        /// The budget.
        memory_bytes: u64,
        /// The least that is enough.
        least_bytes: u64,
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
    /// A component fails on more rows than it may.
    #[error("components fail on more than {limit} rows: {reason}")]
    Quarantined {
        /// How many it may fail on.
        limit: u64,
        /// What went wrong with one of them.
        reason: String,
    },
    /// It was asked to stop.
    #[error("the backfill was interrupted")]
    Interrupted,
    /// Another process makes the same output.
    #[error("another process is at work in {}", path.display())]
    Busy {
        /// Where it is at work.
        path: PathBuf,
    },
    /// A backfill of the same output was not finished, and nothing was said of it.
    #[error("a backfill of this output was not finished: it is in {}", path.display())]
    Unfinished {
        /// Where what it did is.
        path: PathBuf,
    },
    /// A backfill cannot be resumed: it computed something else, or of something else.
    #[error("the backfill in {} was another: {}", path.display(), differences.join("; "))]
    OtherJob {
        /// Where what it did is.
        path: PathBuf,
        /// What is not the same.
        differences: Vec<String>,
    },
}

/// In MiB, rounded up.
fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

impl BackfillError {
    /// Whether what was done is kept: the same backfill can be resumed, once there is room or whatever it lacked.
    pub fn is_resumable(&self) -> bool {
        matches!(
            self,
            Self::Interrupted
                | Self::Spill { .. }
                | Self::Write(WriteError::Io { .. } | WriteError::Exists { .. })
                | Self::Unfinished { .. }
                | Self::OtherJob { .. }
                | Self::Busy { .. }
        )
    }
}
