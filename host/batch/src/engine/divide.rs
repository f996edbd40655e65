use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, RecordBatch, UInt64Array};
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};
use unskew_snapshot::EventTime;

use super::Engine;
use super::division::{Division, quantiles, slice};
use super::gather::GatherCache;
use super::history::History;
use super::membership::Membership;
use super::scatter::{Partition, Scatter, too_large};
use super::spine_columns::SpineColumns;
use crate::backfill::{BackfillError, Phase};
use crate::manifest::HistoryCounts;
use crate::words::{KeyWords, partition_of};

/// How the rows of a view were divided: what a resumed backfill needs to know to take the results that are there.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Divided {
    pub division: Division,
    /// Rows of the spine without a key.
    pub keyless: u64,
    pub history: HistoryCounts,
}

/// A share of the spine and of the history.
pub(crate) type Share = Mutex<Option<(Partition, Partition)>>;

/// Divides the spine and a history by entity key; `missing` says which shares are still to be joined.
pub(crate) fn scatter(
    engine: &Engine<'_>,
    history: &History,
    columns: &SpineColumns,
    bits: u32,
    missing: &[bool],
    known: Option<Divided>,
) -> Result<(Divided, Vec<Share>), BackfillError> {
    let directory = engine.scratch();
    let scatter = |schema: SchemaRef, side: &str| {
        Scatter::new(
            schema,
            1 << bits,
            &engine.budget,
            &directory,
            format!("{}-{side}", history.view),
        )
    };
    let spine = scatter(columns.schema(engine), "spine");
    let seen = scatter_spine(engine, history, columns, &spine, missing)?;
    let spine = spine.finish()?;
    let source = scatter(history.schema().clone(), "source");
    let counts = scatter_history(engine, history, &source, &seen, missing)?;
    let source = source.finish()?;

    let divided = known.unwrap_or_else(|| {
        let starts = spine
            .iter()
            .zip(&source)
            .map(|(spine, source)| starts(engine, columns, spine, source));
        Divided {
            division: Division::new(bits, starts),
            keyless: seen.keyless.load(Ordering::Relaxed),
            history: counts,
        }
    });
    let shares = spine.into_iter().zip(source).map(|pair| Mutex::new(Some(pair)));
    Ok((divided, shares.collect()))
}

/// The times at which a share is to be divided, if it is too large.
fn starts(engine: &Engine<'_>, columns: &SpineColumns, spine: &Partition, source: &Partition) -> Vec<i64> {
    /// What a row takes while it is joined, beside its values.
    const ROW_BYTES: u64 = 64;
    let rows = spine.rows + source.rows;
    let bytes = match columns.is_aggregate || spine.is_spilled() || source.is_spilled() {
        true => spine.bytes + source.bytes + ROW_BYTES * rows,
        // The values stay where they are held.
        false => ROW_BYTES * rows,
    };
    // States that keep every event save nothing from slice to slice, and may come to be too large.
    let most = if columns.reach.has_exact_tail { 4 } else { 2 } * engine.budget.partition_bytes;
    if bytes <= most {
        return Vec::new();
    }
    let sample = spine.sample.iter().chain(&source.sample).copied().collect();
    quantiles(sample, bytes.div_ceil(engine.budget.partition_bytes) as usize)
}

/// A share, divided by time where it is to be.
pub(crate) fn slices(
    engine: &Engine<'_>,
    history: &History,
    columns: &SpineColumns,
    starts: &[i64],
    share: usize,
    spine: Partition,
    source: Partition,
) -> Result<Vec<(Partition, Partition)>, BackfillError> {
    if starts.is_empty() {
        return Ok(vec![(spine, source)]);
    }
    let directory = engine.scratch();
    let divide = |schema: SchemaRef, side: &str, partition: Partition, time: &dyn Fn(&RecordBatch, usize) -> i64| {
        let prefix = format!("{}-{side}-{share}", history.view);
        let scatter = Scatter::new(schema, starts.len() + 1, &engine.budget, &directory, prefix);
        partition.for_each(&engine.budget, |batch| {
            engine.proceed()?;
            let time = |row| time(batch, row);
            scatter.push(batch, |row| Some(slice(starts, time(row))), time)
        })?;
        scatter.finish()
    };
    let sight = engine.options.sight();
    let seen_at = |batch: &RecordBatch, row: usize| sight.seen_at(EventTime(columns.times(batch)[row])).0;
    let visible_from = |batch: &RecordBatch, row: usize| history.visible_from(batch, row);
    let spine = divide(columns.schema(engine), "spine-slice", spine, &seen_at)?;
    let source = divide(history.schema().clone(), "source-slice", source, &visible_from)?;
    Ok(spine.into_iter().zip(source).collect())
}

/// The most rows of a history that one thread reads at a time.
pub(crate) const MAX_PIECE_ROWS: usize = 1 << 17;

/// Rows of so many bytes that one thread reads at a time: as many as may be, because a page that is not read to its end is
/// decoded again for the next rows, and pages of wide files have many.
pub(crate) fn piece_rows(engine: &Engine<'_>, row_bytes: u64) -> usize {
    const LEAST: usize = 1 << 8;
    ((engine.budget.partition_bytes / 2 / row_bytes.max(1)) as usize).clamp(LEAST, MAX_PIECE_ROWS)
}

/// What is known of a spine once it is divided.
struct Seen {
    entities: Membership,
    /// No row may see what is later.
    last_us: AtomicI64,
    keyless: AtomicU64,
}

fn scatter_spine(
    engine: &Engine<'_>,
    history: &History,
    columns: &SpineColumns,
    scatter: &Scatter<'_>,
    missing: &[bool],
) -> Result<Seen, BackfillError> {
    let spine = &engine.spine;
    let seen = Seen {
        entities: Membership::new(spine.scan().row_count()),
        last_us: AtomicI64::new(i64::MIN),
        keyless: AtomicU64::new(0),
    };
    let slots: BTreeSet<usize> = columns.slots().collect();
    let schema = columns.schema(engine);
    let bits = missing.len().ilog2();
    let sight = engine.options.sight();
    let rows = spine.scan().row_count() + history.scan.row_count();
    engine.begin(Phase::Divide, Some(&history.step.view), rows, missing.len());
    let divide = |cache: &mut GatherCache, index: usize| -> Result<(), BackfillError> {
        engine.proceed()?;
        let read = spine.read(cache, index, &slots, &BTreeSet::new(), false)?;
        let first = spine.morsels[index].first_row;
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
        for slot in columns.slots() {
            arrays.push(read.array(slot)?.clone());
        }
        arrays.push(Arc::new(UInt64Array::from_iter_values(first..first + read.rows as u64)));
        let batch = RecordBatch::try_new(schema.clone(), arrays).map_err(too_large)?;
        let words = KeyWords::lenient(columns.keys(&batch), read.rows);
        let times = columns.times(&batch);
        let share = |row: usize| {
            let share = match words.is_present(row) {
                true => Some(partition_of(words.words[row], bits)),
                false => columns.is_aggregate.then_some(0),
            };
            share.filter(|share| missing[*share])
        };
        scatter.push(&batch, share, |row| sight.seen_at(EventTime(times[row])).0)?;
        let mut keyless = 0;
        for (row, word) in words.words.iter().enumerate() {
            match words.is_present(row) {
                true => seen.entities.insert(*word),
                false => keyless += 1,
            }
        }
        seen.keyless.fetch_add(keyless, Ordering::Relaxed);
        let last = times.iter().copied().max().unwrap_or(i64::MIN);
        seen.last_us
            .fetch_max(sight.seen_at(EventTime(last)).0, Ordering::Relaxed);
        engine.advance(read.rows as u64, 0);
        Ok(())
    };
    crate::workers::for_each(
        engine.budget.threads,
        spine.morsels.len(),
        || Ok(GatherCache::default()),
        divide,
    )?;
    Ok(seen)
}

/// Divides the rows that some row of the spine may see: those of its entities, up to its last time.
fn scatter_history(
    engine: &Engine<'_>,
    history: &History,
    scatter: &Scatter<'_>,
    seen: &Seen,
    missing: &[bool],
) -> Result<HistoryCounts, BackfillError> {
    let last_us = seen.last_us.load(Ordering::Relaxed);
    let morsels = history.morsels(piece_rows(engine, history.row_bytes()), last_us);
    let bits = missing.len().ilog2();
    let (keyless, late, seen_rows) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    crate::workers::for_each(
        engine.budget.threads,
        morsels.len(),
        || Ok::<(), BackfillError>(()),
        |(), index| {
            engine.proceed()?;
            let read = history.read(&morsels[index])?;
            let (batch, words) = (&read.batch, &read.words);
            let event_time = history.event_time(batch);
            let (mut absent, mut too_late, mut visible) = (0, 0, 0);
            let share = |row: usize| {
                if !words.is_present(row) {
                    absent += 1;
                    return None;
                }
                if history.is_late(batch, row) {
                    too_late += u64::from(history.visible_from(batch, row) <= last_us);
                    return None;
                }
                let word = words.words[row];
                let is_seen = event_time[row] <= last_us && seen.entities.may_contain(word);
                visible += u64::from(is_seen);
                let share = partition_of(word, bits);
                (is_seen && missing[share]).then_some(share)
            };
            scatter.push(batch, share, |row| history.visible_from(batch, row))?;
            keyless.fetch_add(absent, Ordering::Relaxed);
            late.fetch_add(too_late, Ordering::Relaxed);
            seen_rows.fetch_add(visible, Ordering::Relaxed);
            engine.advance(batch.num_rows() as u64, 0);
            Ok(())
        },
    )?;
    // Row groups that are later throughout are not read at all.
    let (rows, without_key, late) = (history.scan.row_count(), keyless.into_inner(), late.into_inner());
    Ok(HistoryCounts {
        rows,
        without_key,
        late,
        unseen: rows.saturating_sub(without_key + late + seen_rows.into_inner()),
    })
}
