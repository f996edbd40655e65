use std::collections::BTreeSet;
use std::ops::Range;

use arrow::array::{Array, ArrayRef};
use unskew::{CallLimits, EvaluateError, Evaluation, Instances};
use unskew_snapshot::{EventTime, Status};

use super::Engine;
use super::gather::GatherCache;
use super::history::times;
use super::join::column;
use super::spine_rows::{SlotArrays, concat_arrays};
use crate::array::column_to_array;
use crate::backfill::{BackfillError, Phase};
use crate::quarantine::Quarantined;
use crate::workers::for_each_in_order;

/// The rows of one call of a row transform.
const CALL_ROWS: usize = 8_192;

/// Which rows, and what of them.
pub(crate) struct Wanted {
    pub slots: BTreeSet<usize>,
    /// The views whose statuses are wanted.
    pub views: BTreeSet<usize>,
}

/// The wanted columns of some rows of the spine.
#[derive(Default)]
pub(crate) struct Chunk {
    pub rows: usize,
    /// By slot; none of a constant and of what is not wanted.
    pub arrays: Vec<Option<ArrayRef>>,
    /// By view; empty for one that is not wanted.
    pub statuses: Vec<Vec<Status>>,
    /// The spine's other columns.
    pub carried: Vec<ArrayRef>,
    /// Rows for which a transform failed.
    pub quarantined: Vec<Quarantined>,
}

/// Makes something of every row group, on all threads, and hands it over in the order of the spine. `made` says what is made
/// already.
pub(crate) fn emit<T: Send>(
    engine: &Engine<'_>,
    wanted: &Wanted,
    made: impl Fn(usize) -> Option<T> + Sync,
    make: impl Fn(usize, Chunks<'_>) -> Result<T, BackfillError> + Sync,
    append: impl FnMut(T) -> Result<(), BackfillError> + Send,
) -> Result<(), BackfillError> {
    let groups = groups(engine);
    let slots = joined_slots(engine, wanted);
    engine.begin(Phase::Emit, None, engine.spine.scan().row_count(), groups.len());
    let emitter = || {
        Ok(Emitter {
            instances: match engine.plan.transforms.is_empty() {
                true => None,
                false => Some(Instances::new(&engine.plan, engine.modules, CallLimits::BATCH)?),
            },
            evaluation: Evaluation::new(&engine.plan),
            cache: GatherCache::default(),
        })
    };
    for_each_in_order(
        engine.budget.threads,
        groups.len(),
        emitter,
        |emitter: &mut Emitter, group| {
            let morsels = groups[group].clone();
            let rows: usize = engine.spine.morsels[morsels.clone()]
                .iter()
                .map(|morsel| morsel.rows)
                .sum();
            let done = match made(group) {
                Some(made) => made,
                None => make(
                    group,
                    Chunks {
                        emitter,
                        engine,
                        wanted,
                        slots: &slots,
                        morsels,
                    },
                )?,
            };
            engine.advance(rows as u64, 1);
            Ok(done)
        },
        append,
    )
}

/// The morsels of each row group.
fn groups(engine: &Engine<'_>) -> Vec<Range<usize>> {
    let (morsels, group_rows) = (&engine.spine.morsels, engine.spine.group_rows);
    let mut groups = Vec::new();
    let mut start = 0;
    for group in morsels.chunk_by(|a, b| a.first_row / group_rows == b.first_row / group_rows) {
        groups.push(start..start + group.len());
        start += group.len();
    }
    groups
}

/// What one thread needs.
pub(crate) struct Emitter {
    instances: Option<Instances>,
    evaluation: Evaluation,
    cache: GatherCache,
}

/// The rows of a row group, in chunks that are made when they are asked for: a row group need not fit into the budget.
pub(crate) struct Chunks<'a> {
    emitter: &'a mut Emitter,
    engine: &'a Engine<'a>,
    wanted: &'a Wanted,
    slots: &'a BTreeSet<usize>,
    morsels: Range<usize>,
}

impl Iterator for Chunks<'_> {
    type Item = Result<Chunk, BackfillError>;

    fn next(&mut self) -> Option<Self::Item> {
        let morsel = self.morsels.next()?;
        let mut chunk = || {
            self.engine.proceed()?;
            self.emitter.chunk(self.engine, self.wanted, self.slots, morsel)
        };
        Some(chunk())
    }
}

impl Emitter {
    fn chunk(
        &mut self,
        engine: &Engine<'_>,
        wanted: &Wanted,
        slots: &BTreeSet<usize>,
        morsel: usize,
    ) -> Result<Chunk, BackfillError> {
        let mut read = engine.spine.read(&mut self.cache, morsel, slots, &wanted.views, true)?;
        let mut quarantined = Vec::new();
        if let Some(instances) = &mut self.instances {
            let mut transforming = Transforming {
                engine,
                instances,
                evaluation: &mut self.evaluation,
                first_row: engine.spine.morsels[morsel].first_row,
                done: vec![Vec::new(); outputs(engine).len()],
                quarantined: &mut quarantined,
            };
            transforming.run_all(&mut read)?;
        }
        Ok(Chunk {
            rows: read.rows,
            arrays: read.arrays,
            statuses: read.statuses,
            carried: read.carried,
            quarantined,
        })
    }
}

/// What is wanted and what the transforms read, without the transforms' outputs and constants.
fn joined_slots(engine: &Engine<'_>, wanted: &Wanted) -> BTreeSet<usize> {
    let read = engine
        .plan
        .transforms
        .iter()
        .flat_map(|step| step.inputs.iter().copied());
    // A row that fails is named.
    let keys = match engine.plan.transforms.is_empty() {
        true => BTreeSet::new(),
        false => engine.key_slots(),
    };
    let all: BTreeSet<usize> = wanted
        .slots
        .iter()
        .copied()
        .chain(read)
        .chain(keys)
        .chain([0])
        .collect();
    all.intersection(&engine.spine.joined_slots()).copied().collect()
}

/// The slots that the transforms fill.
fn outputs(engine: &Engine<'_>) -> Vec<usize> {
    let steps = engine.plan.transforms.iter();
    steps.flat_map(|step| step.outputs.clone()).collect()
}

/// Rows of the spine on their way through the transforms.
struct Transforming<'a> {
    engine: &'a Engine<'a>,
    instances: &'a mut Instances,
    evaluation: &'a mut Evaluation,
    /// The number of the first row in the spine.
    first_row: u64,
    /// By output, its values so far.
    done: Vec<Vec<ArrayRef>>,
    quarantined: &'a mut Vec<Quarantined>,
}

impl Transforming<'_> {
    /// Runs the transforms on all rows.
    fn run_all(&mut self, read: &mut SlotArrays) -> Result<(), BackfillError> {
        for start in (0..read.rows).step_by(CALL_ROWS) {
            self.run(read, start..read.rows.min(start + CALL_ROWS))?;
        }
        let done = std::mem::take(&mut self.done);
        for (slot, arrays) in outputs(self.engine).into_iter().zip(done) {
            if !arrays.is_empty() {
                read.arrays[slot] = Some(concat_arrays(&arrays)?);
            }
        }
        Ok(())
    }

    /// Where a transform fails on some rows it is run again on half of them, down to the one that it fails on.
    fn run(&mut self, read: &SlotArrays, rows: Range<usize>) -> Result<(), BackfillError> {
        self.fill(read, rows.clone())?;
        let plan = &self.engine.plan;
        match self.evaluation.run_transforms(plan, self.instances) {
            Ok(()) => {
                self.take(rows.len());
                Ok(())
            }
            Err(error) if !error.is_of_rows() || self.engine.options.max_quarantined == 0 => Err(error.into()),
            Err(_) if rows.len() > 1 => {
                self.engine.proceed()?;
                let middle = rows.start + rows.len() / 2;
                self.run(read, rows.start..middle)?;
                self.run(read, middle..rows.end)
            }
            Err(_) => self.quarantine(read, rows),
        }
    }

    /// One row without what failed for it: that is missing, or the fallback of the service.
    fn quarantine(&mut self, read: &SlotArrays, row: Range<usize>) -> Result<(), BackfillError> {
        let engine = self.engine;
        self.fill(read, row.clone())?;
        self.evaluation
            .run_transforms_that_can(&engine.plan, self.instances, |_| ());
        let key: Vec<(usize, ArrayRef)> = engine
            .key_slots()
            .into_iter()
            .filter_map(|slot| Some((slot, read.arrays[slot].as_ref()?.slice(row.start, 1))))
            .collect();
        let at = EventTime(times(read.array(0)?)[row.start]);
        for failure in std::mem::take(&mut self.evaluation.failures) {
            let EvaluateError::Call {
                step,
                module,
                error,
                detail,
            } = failure
            else {
                return Err(failure.into());
            };
            let reason = format!("{error}: {detail}");
            engine.count_quarantined(|| format!("`{step}` (module `{module}`): {reason}"))?;
            let number = self.first_row + row.start as u64;
            self.quarantined
                .push(engine.quarantined(number, at, &key, (&step, &module), reason));
        }
        self.take(1);
        Ok(())
    }

    fn fill(&mut self, read: &SlotArrays, rows: Range<usize>) -> Result<(), BackfillError> {
        let plan = &self.engine.plan;
        self.evaluation.clear(plan);
        self.evaluation.rows = rows.len();
        for slot in plan.transforms.iter().flat_map(|step| &step.inputs) {
            if let Some(array) = read.arrays[*slot]
                .as_ref()
                .filter(|_| self.evaluation.columns[*slot].rows() == 0)
            {
                self.evaluation.columns[*slot] =
                    column(&array.slice(rows.start, rows.len()), plan.slots[*slot].column_type)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, rows: usize) {
        for (slot, done) in outputs(self.engine).iter().zip(&mut self.done) {
            done.push(column_to_array(&self.evaluation.columns[*slot], rows));
        }
    }
}

/// The status of a feature whose view's row has `status`.
pub(crate) fn feature_status(status: Status, array: Option<&ArrayRef>, row: usize) -> Status {
    match status {
        Status::Present if array.is_some_and(|array| array.is_null(row)) => Status::Null,
        status => status,
    }
}
