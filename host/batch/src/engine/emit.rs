use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, ArrayRef};
use unskew::{CallLimits, Evaluation, Instances, Plan};
use unskew_snapshot::Status;

use super::Engine;
use super::gather::GatherCache;
use super::join::column;
use super::spine_rows::{SlotArrays, concat_arrays};
use crate::array::column_to_array;
use crate::backfill::{BackfillError, Progress};
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
pub(crate) struct Chunk {
    pub rows: usize,
    /// By slot; none of a constant and of what is not wanted.
    pub arrays: Vec<Option<ArrayRef>>,
    /// By view; empty for one that is not wanted.
    pub statuses: Vec<Vec<Status>>,
    /// The spine's other columns.
    pub carried: Vec<ArrayRef>,
}

/// Makes something of every row group, on all threads, and hands it over in the order of the spine.
pub(crate) fn emit<T: Send>(
    engine: &Engine<'_>,
    wanted: &Wanted,
    make: impl Fn(usize, Chunk) -> Result<T, BackfillError> + Sync,
    append: impl FnMut(T) -> Result<(), BackfillError> + Send,
) -> Result<(), BackfillError> {
    let groups = groups(engine);
    let done = AtomicUsize::new(0);
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
            let chunk = emitter.group(engine, wanted, groups[group].clone())?;
            let rows = done.fetch_add(chunk.rows, Ordering::Relaxed) + chunk.rows;
            engine.tell(Progress::Transformed(rows));
            make(group, chunk)
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
struct Emitter {
    instances: Option<Instances>,
    evaluation: Evaluation,
    cache: GatherCache,
}

impl Emitter {
    fn group(&mut self, engine: &Engine<'_>, wanted: &Wanted, morsels: Range<usize>) -> Result<Chunk, BackfillError> {
        let slots = joined_slots(engine, wanted);
        let mut chunks = Vec::with_capacity(morsels.len());
        for morsel in morsels {
            let mut read = engine
                .spine
                .read(&mut self.cache, morsel, &slots, &wanted.views, true)?;
            if let Some(instances) = &mut self.instances {
                run_transforms(&engine.plan, instances, &mut self.evaluation, &mut read)?;
            }
            chunks.push(Chunk {
                rows: read.rows,
                arrays: read.arrays,
                statuses: read.statuses,
                carried: read.carried,
            });
        }
        merge(chunks)
    }
}

/// What is wanted and what the transforms read, without the transforms' outputs and constants.
fn joined_slots(engine: &Engine<'_>, wanted: &Wanted) -> BTreeSet<usize> {
    let read = engine
        .plan
        .transforms
        .iter()
        .flat_map(|step| step.inputs.iter().copied());
    let all: BTreeSet<usize> = wanted.slots.iter().copied().chain(read).collect();
    all.intersection(&engine.spine.joined_slots()).copied().collect()
}

fn run_transforms(
    plan: &Plan,
    instances: &mut Instances,
    evaluation: &mut Evaluation,
    read: &mut SlotArrays,
) -> Result<(), BackfillError> {
    let outputs: Vec<usize> = plan.transforms.iter().flat_map(|step| step.outputs.clone()).collect();
    let inputs: BTreeSet<usize> = plan
        .transforms
        .iter()
        .flat_map(|step| step.inputs.iter().copied())
        .collect();
    let mut done: Vec<Vec<ArrayRef>> = vec![Vec::new(); outputs.len()];
    for start in (0..read.rows).step_by(CALL_ROWS) {
        let rows = CALL_ROWS.min(read.rows - start);
        evaluation.clear(plan);
        evaluation.rows = rows;
        for slot in &inputs {
            if let Some(array) = &read.arrays[*slot] {
                evaluation.columns[*slot] = column(&array.slice(start, rows), plan.slots[*slot].column_type)?;
            }
        }
        evaluation.run_transforms(plan, instances)?;
        for (slot, done) in outputs.iter().zip(&mut done) {
            done.push(column_to_array(&evaluation.columns[*slot], rows));
        }
    }
    for (slot, arrays) in outputs.into_iter().zip(done) {
        if !arrays.is_empty() {
            read.arrays[slot] = Some(concat_arrays(&arrays)?);
        }
    }
    Ok(())
}

/// One chunk of several.
fn merge(mut chunks: Vec<Chunk>) -> Result<Chunk, BackfillError> {
    if chunks.len() == 1 {
        return Ok(chunks.remove(0));
    }
    let Some(first) = chunks.first() else {
        return Ok(Chunk {
            rows: 0,
            arrays: Vec::new(),
            statuses: Vec::new(),
            carried: Vec::new(),
        });
    };
    let (slots, carried, views) = (first.arrays.len(), first.carried.len(), first.statuses.len());
    let of_slot = |slot: usize| {
        let arrays: Vec<ArrayRef> = chunks.iter().filter_map(|chunk| chunk.arrays[slot].clone()).collect();
        (!arrays.is_empty()).then(|| concat_arrays(&arrays)).transpose()
    };
    let of_carried = |index: usize| {
        let arrays: Vec<ArrayRef> = chunks.iter().map(|chunk| chunk.carried[index].clone()).collect();
        concat_arrays(&arrays)
    };
    let statuses = |view: usize| {
        chunks
            .iter()
            .flat_map(|chunk| chunk.statuses[view].iter().copied())
            .collect()
    };
    Ok(Chunk {
        rows: chunks.iter().map(|chunk| chunk.rows).sum(),
        arrays: (0..slots).map(of_slot).collect::<Result<_, _>>()?,
        carried: (0..carried).map(of_carried).collect::<Result<_, _>>()?,
        statuses: (0..views).map(statuses).collect(),
    })
}

/// The status of a feature whose view's row has `status`.
pub(crate) fn feature_status(status: Status, array: Option<&ArrayRef>, row: usize) -> Status {
    match status {
        Status::Present if array.is_some_and(|array| array.is_null(row)) => Status::Null,
        status => status,
    }
}
