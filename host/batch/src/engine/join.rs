use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{concat_batches, interleave_record_batch};
use unskew_frame::{Column, ColumnType};
use unskew_snapshot::{EventTime, encode_row};

use super::Engine;
use super::divide::{Divided, Share, scatter, slices};
use super::find::find_view;
use super::gather::{PartedResult, ViewResult};
use super::history::{History, time_at, times};
use super::result::{KeptResult, PartitionRows, ResultWriter};
use super::scatter::{share_bits, too_large};
use super::spine_columns::SpineColumns;
use super::windows::{Events, States, join_events};
use crate::array::{array_to_column, canonical_type, value_at};
use crate::asof::{Joined, Moments, NO_ROW, Versions, join};
use crate::backfill::{BackfillError, Phase};
use crate::manifest::{HistoryCounts, ViewCounts};
use crate::quarantine::Quarantined;
use crate::words::{KeyColumns, KeyWords};

/// A joined view, and what is to be told of it.
pub(crate) struct JoinedView {
    pub result: ViewResult,
    pub counts: ViewCounts,
    pub history: HistoryCounts,
    /// How many rows were chosen by row bytes alone.
    pub ties: u64,
    pub quarantined: Vec<Quarantined>,
}

/// Joins the spine with the history of a view: both are divided by entity key, then each share is joined by itself.
pub(crate) fn join_view(engine: &Engine<'_>, view: usize, history: &History) -> Result<JoinedView, BackfillError> {
    let columns = SpineColumns::new(engine, view, history);
    let bytes = history.scan.row_count() * (history.row_bytes() + 16);
    let bits = share_bits(bytes + 32 * engine.spine.scan().row_count(), &engine.budget);
    let name = format!("division-{view}-{bits}-{}", engine.spine.morsel_rows);
    let unfinished = engine.unfinished.as_ref();
    let known: Option<Divided> = unfinished.and_then(|unfinished| unfinished.saved_json(&name));

    if known.is_none()
        && let Some(joined) = find_view(engine, view, history)?
    {
        return Ok(joined);
    }

    let mut results: BTreeMap<usize, KeptResult> = BTreeMap::new();
    if let Some(known) = &known {
        let writer = ResultWriter::new(engine, view, &name, known, &columns.result_types);
        results.extend((0..known.division.parts()).filter_map(|part| Some((part, writer.find(part)?))));
    }
    let is_done = |share: usize| {
        let mut parts = known.iter().flat_map(|known| known.division.parts_of(share)).peekable();
        parts.peek().is_some() && parts.all(|part| results.contains_key(&part))
    };
    let missing: Vec<bool> = (0..1 << bits).map(|share| !is_done(share)).collect();
    let divided = match known {
        Some(known) if !missing.contains(&true) => known,
        known => {
            let (divided, shares) = scatter(engine, history, &columns, bits, &missing, known)?;
            let writer = ResultWriter::new(engine, view, &name, &divided, &columns.result_types);
            results.extend(join_shares(
                engine, history, &columns, &divided, shares, &missing, &writer,
            )?);
            divided
        }
    };
    Ok(joined(engine, &columns, divided, results))
}

/// Joins the missing shares, each by one thread. Gives the results by part.
fn join_shares(
    engine: &Engine<'_>,
    history: &History,
    columns: &SpineColumns,
    divided: &Divided,
    shares: Vec<Share>,
    missing: &[bool],
    writer: &ResultWriter<'_>,
) -> Result<BTreeMap<usize, KeptResult>, BackfillError> {
    let division = &divided.division;
    let results: Mutex<BTreeMap<usize, KeptResult>> = Mutex::default();
    let tasks: Vec<usize> = (0..shares.len()).filter(|share| missing[*share]).collect();
    let share_rows = |share: &Share| {
        lock(share)
            .as_ref()
            .map_or(0, |(spine, source)| spine.rows + source.rows)
    };
    let rows = shares.iter().map(share_rows).sum();
    engine.begin(Phase::Join, Some(&history.step.view), rows, tasks.len());
    crate::workers::for_each(
        engine.budget.threads,
        tasks.len(),
        || columns.instances(engine),
        |instances, task| {
            let share = tasks[task];
            let (spine, source) = lock(&shares[share]).take().unwrap_or_default();
            let rows = spine.rows + source.rows;
            let parts = division.parts_of(share);
            let to_disk = spine.is_spilled() || source.is_spilled() || parts.len() > 1;
            let slices = slices(engine, history, columns, division.starts(share), share, spine, source)?;
            let mut carry = Carry::default();
            for (part, (spine, source)) in parts.clone().zip(slices) {
                engine.proceed()?;
                let is_last = part + 1 == parts.end;
                let held = spine.held_bytes() + source.held_bytes();
                let spine = columns.in_order(engine, spine)?;
                let source = source.load()?;
                let rows = match instances {
                    None => join_features(engine, history, columns, &spine, source, &mut carry, is_last)?,
                    Some(instances) => {
                        let events = Events {
                            history,
                            columns,
                            spine: &spine,
                            source,
                            is_last,
                        };
                        join_events(engine, instances, &mut carry.states, events)?
                    }
                };
                engine.budget.held.give(held);
                let per_morsel = engine.spine.count_per_morsel(columns.row_numbers(&spine));
                let kept = writer.keep(part, rows, per_morsel, to_disk)?;
                lock(&results).insert(part, kept);
            }
            engine.advance(rows, 1);
            Ok(())
        },
    )?;
    Ok(results.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()))
}

/// What the slices of a share before one leave for it.
#[derive(Default)]
struct Carry {
    /// The greatest version of each entity, and whether it is tied.
    batch: Option<RecordBatch>,
    tied: Vec<bool>,
    /// Of an aggregate: what is known of each entity.
    states: States,
}

/// The results of all parts as one.
fn joined(
    engine: &Engine<'_>,
    columns: &SpineColumns,
    divided: Divided,
    mut results: BTreeMap<usize, KeptResult>,
) -> JoinedView {
    let Divided {
        division,
        keyless,
        history,
    } = divided;
    let mut counts = ViewCounts::default();
    let (mut ties, mut quarantined) = (0, Vec::new());
    let parts = division.parts();
    let mut partitions = Vec::with_capacity(parts);
    let mut per_morsel = Vec::with_capacity(parts);
    for part in 0..parts {
        let KeptResult { result, told } = results.remove(&part).unwrap_or_default();
        counts.add(&told.counts);
        ties += told.ties;
        quarantined.extend(told.quarantined);
        per_morsel.push(told.per_morsel);
        partitions.push(result);
    }
    counts.without_key = keyless;
    if columns.is_aggregate {
        // A module also answers for nobody: from no events.
        counts.not_found = counts.not_found.saturating_sub(keyless);
    }
    let mut next = vec![0_u32; parts];
    let starts = (0..engine.spine.morsels.len()).map(|morsel| {
        let start = next.clone();
        for (next, counts) in next.iter_mut().zip(&per_morsel) {
            *next += counts.get(morsel).copied().unwrap_or(0);
        }
        start
    });
    JoinedView {
        result: ViewResult::Parted(PartedResult {
            starts: starts.collect(),
            division,
            keeps_keyless: columns.is_aggregate,
            types: columns
                .result_types
                .iter()
                .map(|column_type| canonical_type(*column_type))
                .collect(),
            partitions,
        }),
        counts,
        history,
        ties,
        quarantined,
    }
}

/// The as-of join of a part.
fn join_features(
    engine: &Engine<'_>,
    history: &History,
    columns: &SpineColumns,
    spine: &RecordBatch,
    mut source: Vec<RecordBatch>,
    carry: &mut Carry,
    is_last: bool,
) -> Result<PartitionRows, BackfillError> {
    if let Some(batch) = carry.batch.take() {
        source.insert(0, batch);
    }
    // What decides about rows, as one; the features stay in their pieces.
    let deciding = history.deciding();
    let schema = Arc::new(history.schema().project(&deciding).map_err(too_large)?);
    let projected: Result<Vec<RecordBatch>, _> = source.iter().map(|batch| batch.project(&deciding)).collect();
    let whole = concat_batches(&schema, &projected.map_err(too_large)?).map_err(too_large)?;
    let places: Vec<(u32, u32)> = (0..)
        .zip(&source)
        .flat_map(|(piece, batch)| (0..batch.num_rows() as u32).map(move |row| (piece, row)))
        .collect();

    let encode = |row: u32, out: &mut Vec<u8>| {
        let (piece, row) = places[row as usize];
        for (array, column_type) in source[piece as usize].columns().iter().zip(&history.types) {
            encode_row(&[value_at(array, *column_type, row as usize)], out);
        }
    };
    let sides = Sides {
        history,
        columns,
        spine,
        deciding: &whole,
    };
    let Joined {
        rows,
        status,
        ties,
        last,
    } = join_rows(engine, &sides, &encode, &carry.tied, !is_last)?;
    if !is_last {
        let (last, tied): (Vec<(usize, usize)>, Vec<bool>) = last
            .into_iter()
            .map(|(row, is_tied)| {
                let (piece, row) = places[row as usize];
                ((piece as usize, row as usize), is_tied)
            })
            .unzip();
        let pieces: Vec<&RecordBatch> = source.iter().collect();
        carry.batch = match last.is_empty() {
            true => None,
            false => Some(interleave_record_batch(&pieces, &last).map_err(too_large)?),
        };
        carry.tied = tied;
    }
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
            .map(|row| places.get(*row as usize).copied().unwrap_or((NO_ROW, 0)))
            .collect(),
        pieces: source.iter().map(kept).collect(),
        ties,
        quarantined: Vec::new(),
    })
}

/// What is joined.
pub(super) struct Sides<'a> {
    pub history: &'a History,
    pub columns: &'a SpineColumns,
    /// Rows of the spine.
    pub spine: &'a RecordBatch,
    /// Rows of the history: their [deciding](History::deciding) columns.
    pub deciding: &'a RecordBatch,
}

/// Which row of the history each row of the spine is given. `encode` gives the bytes of rows whose values decide; `carried` and
/// `wants_last` are those of [`join`].
pub(super) fn join_rows(
    engine: &Engine<'_>,
    sides: &Sides<'_>,
    encode: &dyn Fn(u32, &mut Vec<u8>),
    carried: &[bool],
    wants_last: bool,
) -> Result<Joined, BackfillError> {
    let Sides {
        history,
        columns,
        spine,
        deciding,
    } = sides;
    let words = history.words(deciding).map_err(|error| BackfillError::TooLarge {
        reason: error.source.to_string(),
    })?;
    let known_at = history.has_known_at.then(|| deciding.column(history.key_columns + 1));
    let known_at = known_at.map(|array| move |row: u32| time_at(array, row as usize));
    let versions = Versions {
        words: &words,
        keys: KeyColumns::new(history.keys(deciding)),
        event_time: times(deciding.column(history.key_columns)),
        known_at: known_at
            .as_ref()
            .map(|known_at| known_at as &dyn Fn(u32) -> Option<EventTime>),
        encode,
        carried,
    };
    let spine_words = KeyWords::lenient(columns.keys(spine), spine.num_rows());
    let moments = Moments {
        words: &spine_words,
        keys: KeyColumns::new(columns.keys(spine)),
        times: columns.times(spine),
        sight: engine.options.sight(),
        ttl: history.step.ttl,
    };
    Ok(join(&versions, &moments, wants_last))
}

/// A column of a partition.
pub(crate) fn column(array: &ArrayRef, column_type: ColumnType) -> Result<Column, BackfillError> {
    array_to_column(array, column_type).map_err(|error| BackfillError::TooLarge {
        reason: error.to_string(),
    })
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
