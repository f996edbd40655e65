use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use std::sync::Arc;
use unskew::{CallLimits, Instances, ViewRead};
use unskew_frame::{Column, ColumnType};
use unskew_snapshot::{EventTime, encode_row};

use super::Engine;
use super::gather::{GatherCache, PartitionResult, ViewResult};
use super::history::{History, time_at, times};
use super::result::{PartitionRows, ResultWriter};
use super::scatter::{Partition, Scatter, partition_bits, too_large};
use crate::array::{array_to_column, canonical_type, value_at};
use crate::asof::{Joined, Moments, Versions, join};
use crate::backfill::{BackfillError, Progress};
use crate::reader::Morsel;
use crate::words::{KeyColumns, KeyWords};

/// The joined view, and how many rows were chosen by row bytes alone.
pub(crate) struct JoinedView {
    pub result: ViewResult,
    pub ties: u64,
}

/// Joins the spine with the history of a view: both are divided by entity key, then each partition is joined by itself.
pub(crate) fn join_view(engine: &Engine<'_>, view: usize, history: &History) -> Result<JoinedView, BackfillError> {
    let budget = &engine.budget;
    let scan = &history.scan;
    let bytes = scan.row_count() * (scan.row_bytes() + 16);
    let bits = partition_bits(bytes + 32 * engine.spine.scan().row_count(), budget);
    let prefix = |side: &str| format!("{view}-{side}");

    let columns = SpineColumns::new(engine, view, history);
    let spine = Scatter::new(
        columns.schema(engine),
        bits,
        budget,
        engine.directory(),
        prefix("spine"),
    )
    .keeping_keyless(columns.is_aggregate);
    let scattered = scatter_spine(engine, &columns, &spine)?;
    let spine = spine.finish()?;

    let last_us = scattered.last_us.load(Ordering::Relaxed);
    let morsels = history.morsels(morsel_rows(history, engine), last_us);
    let source = Scatter::new(
        history.schema().clone(),
        bits,
        budget,
        engine.directory(),
        prefix("source"),
    );
    scatter_history(engine, history, &morsels, &source, &scattered)?;
    let source = source.finish()?;
    engine.tell(Progress::Source(&history.step.view, scan.row_count() as usize));

    let pairs: Vec<Mutex<Option<(Partition, Partition)>>> = spine
        .into_iter()
        .zip(source)
        .map(|pair| Mutex::new(Some(pair)))
        .collect();
    let results: Vec<Mutex<Option<PartitionResult>>> = pairs.iter().map(|_| Mutex::new(None)).collect();
    let ties = AtomicU64::new(0);
    let types: Vec<ColumnType> = columns.result_types.clone();
    let writer = ResultWriter::new(engine, view, pairs.len(), &types);
    let take = |slot: &Mutex<Option<(Partition, Partition)>>| {
        slot.lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .take()
            .unwrap_or_default()
    };
    crate::workers::for_each(
        budget.threads,
        pairs.len(),
        || columns.instances(engine),
        |instances, index| {
            let (spine, source) = take(&pairs[index]);
            let is_spilled = spine.is_spilled() || source.is_spilled();
            let held = spine.held_bytes() + source.held_bytes();
            let spine = columns.in_order(engine, spine)?;
            let source = source.load()?;
            let rows = match instances {
                None => join_features(engine, history, &columns, &spine, source, &ties)?,
                Some(instances) => {
                    super::windows::join_events(engine, history, &columns, &spine, source, instances, view)?
                }
            };
            budget.held.give(held);
            let result = writer.keep(index, rows, is_spilled)?;
            *results[index].lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(result);
            Ok(())
        },
    )?;
    let taken = |slot: Mutex<Option<PartitionResult>>| {
        slot.into_inner()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .unwrap_or_default()
    };
    Ok(JoinedView {
        result: ViewResult {
            bits,
            // A module also answers for nobody: from no events.
            keeps_keyless: columns.is_aggregate,
            types: types.iter().map(|column_type| canonical_type(*column_type)).collect(),
            partitions: results.into_iter().map(taken).collect(),
            starts: scattered.starts(),
        },
        ties: ties.into_inner(),
    })
}

/// Rows of a history that one thread reads at a time.
fn morsel_rows(history: &History, engine: &Engine<'_>) -> usize {
    const MOST: u64 = 1 << 17;
    const LEAST: u64 = 1 << 8;
    (engine.budget.piece_bytes / history.scan.row_bytes().max(1)).clamp(LEAST, MOST) as usize
}

/// The columns of the spine that go to the partitions: those of the key, the inputs of an aggregate's queries, the prediction
/// time and the number of the row.
pub(crate) struct SpineColumns {
    keys: Vec<usize>,
    /// Those that are no constants.
    pub inputs: Vec<usize>,
    /// What the view gives.
    pub result_types: Vec<ColumnType>,
    is_aggregate: bool,
}

impl SpineColumns {
    fn new(engine: &Engine<'_>, view: usize, history: &History) -> Self {
        let step = &engine.plan.views[view];
        let (inputs, result_types) = match &step.read {
            ViewRead::Features(_) => (
                Vec::new(),
                history.kept.iter().map(|column| history.types[*column]).collect(),
            ),
            ViewRead::Aggregate { inputs, outputs, .. } => (
                inputs
                    .iter()
                    .copied()
                    .filter(|slot| engine.spine.has_rows(*slot))
                    .collect(),
                engine.plan.slots[outputs.clone()]
                    .iter()
                    .map(|slot| slot.column_type)
                    .collect(),
            ),
        };
        Self {
            keys: step.keys.clone(),
            inputs,
            result_types,
            is_aggregate: matches!(step.read, ViewRead::Aggregate { .. }),
        }
    }

    /// The slots, in the order of the columns.
    fn slots(&self) -> impl Iterator<Item = usize> {
        self.keys.iter().chain(&self.inputs).copied().chain([0])
    }

    fn schema(&self, engine: &Engine<'_>) -> SchemaRef {
        let field = |(index, slot): (usize, usize)| {
            Field::new(
                index.to_string(),
                canonical_type(engine.plan.slots[slot].column_type),
                true,
            )
        };
        let mut fields: Vec<Field> = self.slots().enumerate().map(field).collect();
        fields.push(Field::new("row", DataType::UInt64, false));
        Arc::new(Schema::new(fields))
    }

    pub fn keys<'a>(&self, batch: &'a RecordBatch) -> &'a [ArrayRef] {
        &batch.columns()[..self.keys.len()]
    }

    pub fn input<'a>(&self, batch: &'a RecordBatch, index: usize) -> &'a ArrayRef {
        batch.column(self.keys.len() + index)
    }

    pub fn times<'a>(&self, batch: &'a RecordBatch) -> &'a [i64] {
        times(batch.column(self.keys.len() + self.inputs.len()))
    }

    /// The rows of a partition in the order of the spine.
    fn in_order(&self, engine: &Engine<'_>, partition: Partition) -> Result<RecordBatch, BackfillError> {
        let batches = partition.load()?;
        let batch = match batches.as_slice() {
            [batch] => batch.clone(),
            _ => concat_batches(&self.schema(engine), &batches).map_err(too_large)?,
        };
        let rows = batch
            .column(batch.num_columns() - 1)
            .as_primitive::<UInt64Type>()
            .values();
        if rows.is_sorted() {
            return Ok(batch);
        }
        let mut order: Vec<u32> = (0..rows.len() as u32).collect();
        order.sort_unstable_by_key(|index| rows[*index as usize]);
        take_record_batch(&batch, &arrow::array::UInt32Array::from(order)).map_err(too_large)
    }

    /// The modules' instances of a thread, if the view needs any.
    fn instances(&self, engine: &Engine<'_>) -> Result<Option<Instances>, BackfillError> {
        match self.is_aggregate {
            true => Ok(Some(Instances::new(&engine.plan, engine.modules, CallLimits::BATCH)?)),
            false => Ok(None),
        }
    }
}

/// What is known of a spine once it is divided.
struct Scattered {
    /// Per morsel, how many rows went to each partition.
    counts: Vec<Mutex<Vec<u32>>>,
    entities: Membership,
    /// No row may see what is later.
    last_us: AtomicI64,
}

impl Scattered {
    /// Per morsel, how many rows of each partition lie before it.
    fn starts(&self) -> Vec<Vec<u32>> {
        let mut next: Vec<u32> = Vec::new();
        let start = |counts: &Mutex<Vec<u32>>| {
            let counts = counts.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            next.resize(counts.len(), 0);
            let start = next.clone();
            next.iter_mut().zip(&*counts).for_each(|(next, count)| *next += count);
            start
        };
        self.counts.iter().map(start).collect()
    }
}

fn scatter_spine(
    engine: &Engine<'_>,
    columns: &SpineColumns,
    scatter: &Scatter<'_>,
) -> Result<Scattered, BackfillError> {
    let spine = &engine.spine;
    let scattered = Scattered {
        counts: spine.morsels.iter().map(|_| Mutex::default()).collect(),
        entities: Membership::new(spine.scan().row_count()),
        last_us: AtomicI64::new(i64::MIN),
    };
    let slots: BTreeSet<usize> = columns.slots().collect();
    let schema = columns.schema(engine);
    let divide = |cache: &mut GatherCache, index: usize| -> Result<(), BackfillError> {
        let read = spine.read(cache, index, &slots, &BTreeSet::new(), false)?;
        let first = spine.morsels[index].first_row;
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
        for slot in columns.slots() {
            arrays.push(read.array(slot)?.clone());
        }
        arrays.push(Arc::new(UInt64Array::from_iter_values(first..first + read.rows as u64)));
        let batch = RecordBatch::try_new(schema.clone(), arrays).map_err(too_large)?;
        let words = KeyWords::lenient(columns.keys(&batch), read.rows);
        let counts = scatter.push(&batch, &words, |_| true)?;
        *scattered.counts[index]
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner()) = counts;
        for (row, word) in words.words.iter().enumerate() {
            if words.is_present(row) {
                scattered.entities.insert(*word);
            }
        }
        let last = columns.times(&batch).iter().copied().max().unwrap_or(i64::MIN);
        let last = engine.options.sight().seen_at(EventTime(last));
        scattered.last_us.fetch_max(last.0, Ordering::Relaxed);
        Ok(())
    };
    crate::workers::for_each(
        engine.budget.threads,
        spine.morsels.len(),
        || Ok(GatherCache::default()),
        divide,
    )?;
    Ok(scattered)
}

/// Divides the rows that some row of the spine may see: those of its entities, up to its last time.
fn scatter_history(
    engine: &Engine<'_>,
    history: &History,
    morsels: &[Morsel],
    scatter: &Scatter<'_>,
    scattered: &Scattered,
) -> Result<(), BackfillError> {
    let last_us = scattered.last_us.load(Ordering::Relaxed);
    crate::workers::for_each(
        engine.budget.threads,
        morsels.len(),
        || Ok(()),
        |(), index| {
            let read = history.read(&morsels[index])?;
            let (batch, words) = (&read.batch, &read.words);
            let event_time = history.event_time(batch);
            let keep = |row: usize| event_time[row] <= last_us && scattered.entities.may_contain(words.words[row]);
            scatter.push(batch, words, keep)?;
            Ok(())
        },
    )
}

/// The as-of join of a partition.
fn join_features(
    engine: &Engine<'_>,
    history: &History,
    columns: &SpineColumns,
    spine: &RecordBatch,
    source: Vec<RecordBatch>,
    ties: &AtomicU64,
) -> Result<PartitionRows, BackfillError> {
    // What decides about rows, as one; the features stay in their pieces.
    let deciding: Vec<usize> = (0..history.key_columns)
        .chain(history.types.len()..history.schema().fields().len())
        .collect();
    let schema = Arc::new(history.schema().project(&deciding).map_err(too_large)?);
    let projected: Result<Vec<RecordBatch>, _> = source.iter().map(|batch| batch.project(&deciding)).collect();
    let whole = concat_batches(&schema, &projected.map_err(too_large)?).map_err(too_large)?;
    let places: Vec<(u32, u32)> = (0..)
        .zip(&source)
        .flat_map(|(piece, batch)| (0..batch.num_rows() as u32).map(move |row| (piece, row)))
        .collect();

    let words = history.words(&whole).map_err(|error| BackfillError::TooLarge {
        reason: error.source.to_string(),
    })?;
    let known_at = history.has_known_at.then(|| whole.column(history.key_columns + 1));
    let known_at = known_at.map(|array| move |row: u32| time_at(array, row as usize));
    let encode = |row: u32, out: &mut Vec<u8>| {
        let (piece, row) = places[row as usize];
        for (array, column_type) in source[piece as usize].columns().iter().zip(&history.types) {
            encode_row(&[value_at(array, *column_type, row as usize)], out);
        }
    };
    let versions = Versions {
        words: &words,
        keys: KeyColumns::new(history.keys(&whole)),
        event_time: times(whole.column(history.key_columns)),
        known_at: known_at
            .as_ref()
            .map(|known_at| known_at as &dyn Fn(u32) -> Option<EventTime>),
        encode: &encode,
    };
    let spine_words = KeyWords::lenient(columns.keys(spine), spine.num_rows());
    let Joined {
        rows,
        status,
        ties: tied,
    } = join(
        &versions,
        &Moments {
            words: &spine_words,
            keys: KeyColumns::new(columns.keys(spine)),
            times: columns.times(spine),
            sight: engine.options.sight(),
            ttl: history.step.ttl,
        },
    );
    ties.fetch_add(tied, Ordering::Relaxed);
    let kept = |batch: &RecordBatch| {
        history
            .kept
            .iter()
            .map(|column| batch.column(*column).clone())
            .collect()
    };
    Ok(PartitionRows {
        statuses: status,
        places: rows
            .iter()
            .map(|row| places.get(*row as usize).copied().unwrap_or((crate::asof::NO_ROW, 0)))
            .collect(),
        pieces: source.iter().map(kept).collect(),
    })
}

/// A column of a partition.
pub(crate) fn column(array: &ArrayRef, column_type: ColumnType) -> Result<Column, BackfillError> {
    array_to_column(array, column_type).map_err(|error| BackfillError::TooLarge {
        reason: error.to_string(),
    })
}

/// The words that were inserted, and a few more: one bit each, in eight times as many.
struct Membership {
    bits: Vec<AtomicU64>,
}

impl Membership {
    fn new(words: u64) -> Self {
        const MOST_BITS: u64 = 1 << 28;
        let bits = words.saturating_mul(8).next_power_of_two().clamp(64, MOST_BITS);
        Self {
            bits: (0..bits / 64).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    // The lower bits of a word; the upper ones are the partition's. Relaxed: threads meet before the bits are read.
    fn place(&self, word: u64) -> (&AtomicU64, u64) {
        let index = (word / 64) as usize & (self.bits.len() - 1);
        (&self.bits[index], 1 << (word % 64))
    }

    fn insert(&self, word: u64) {
        let (bits, bit) = self.place(word);
        if bits.load(Ordering::Relaxed) & bit == 0 {
            bits.fetch_or(bit, Ordering::Relaxed);
        }
    }

    fn may_contain(&self, word: u64) -> bool {
        let (bits, bit) = self.place(word);
        bits.load(Ordering::Relaxed) & bit != 0
    }
}
