use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use unskew::{CallLimits, Instance, Module, descriptors};
use unskew_frame::Value;
use unskew_snapshot::{
    EventTime, LateEvents, Lateness, LayerError, Layers, MAX_DELTAS, OpenError, Row, Snapshot, SnapshotMeta,
    SnapshotWriter, Version, WriteOptions, Written, compare_versions, encode_row, is_event_visible, is_visible,
};

use crate::aggregate::{EventLog, FoldError, fold_events};
use crate::backfill::BackfillError;
use crate::materialize::{Materialized, late_events, snapshot_options};
use crate::project::Project;
use crate::view::{ViewTable, view_source};
use crate::view_rows::ViewRows;

/// Writes the snapshot of `view` as of `watermark` to `path`, from the snapshot at `previous` and what became visible since:
/// the same bytes as [`materialize`](crate::materialize()) writes. Row groups that are older throughout by their statistics are not
/// read.
///
/// ```text
/// new = the rows of the history that are visible at the watermark and were not at the previous one
/// of a feature table: the previous rows and the new ones, of which the writer keeps the greatest version of each key
/// of an aggregate: for each entity with new events, they are folded into its previous state; other states stay
/// ```
///
/// A new row is a greater version than the previous one of its key unless it happened before that, and where both happened at
/// once it became known later. So the previous rows do without the time when they became known. What changed in the history
/// behind the previous watermark, with no known-at to tell of it, is not seen: then the snapshot is to be made from scratch.
///
/// # Errors
/// See [`BackfillError`]. Nothing is left at `path` that was not there before.
pub fn materialize_since(
    project: &Project,
    modules: &BTreeMap<String, Module>,
    view: &str,
    watermark: EventTime,
    previous: &Path,
    path: &Path,
) -> Result<Materialized, BackfillError> {
    let unusable = |source| BackfillError::Previous {
        path: previous.to_owned(),
        source,
    };
    let before = Snapshot::open(previous).map_err(|error| unusable(WhyNot::Open(error)))?;
    let before = Layers::of(Arc::new(before)).map_err(|error| unusable(WhyNot::Layers(error)))?;
    let before = Previous {
        path: previous,
        layers: &before,
    };
    make(project, modules, view, watermark, before, path, What::Whole)
}

/// Writes the delta of `view` that leads from what `previous` has to `watermark`: the rows of entities that something became visible
/// of, and only those that are other rows now. Compacted with it, the previous files give the bytes that
/// [`materialize`](crate::materialize()) writes.
///
/// # Errors
/// See [`BackfillError`]. Nothing is left at `path` that was not there before.
pub fn materialize_delta(
    project: &Project,
    modules: &BTreeMap<String, Module>,
    view: &str,
    watermark: EventTime,
    previous: Previous<'_>,
    path: &Path,
) -> Result<Materialized, BackfillError> {
    make(project, modules, view, watermark, previous, path, What::Delta)
}

/// What is gone on from.
#[derive(Clone, Copy, Debug)]
pub struct Previous<'a> {
    /// The snapshot.
    pub path: &'a Path,
    /// The snapshot with its deltas.
    pub layers: &'a Layers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Whole,
    Delta,
}

fn make(
    project: &Project,
    modules: &BTreeMap<String, Module>,
    view: &str,
    watermark: EventTime,
    previous: Previous<'_>,
    path: &Path,
    what: What,
) -> Result<Materialized, BackfillError> {
    let source = view_source(project, &descriptors(modules), view)?;
    let (mut options, module) = snapshot_options(project, modules, &source.view, watermark)?;
    let before = previous.layers;
    let unusable = |source| BackfillError::Previous {
        path: previous.path.to_owned(),
        source,
    };
    check(before.newest(), &options, source.view.lateness()).map_err(unusable)?;
    if what == What::Delta {
        options.delta = Some(before.next_delta().ok_or(unusable(WhyNot::TooManyDeltas))?);
    }

    let since = before.watermark();
    let is_seen = if module.is_some() { is_event_visible } else { is_visible };
    let is_new = |time, known_at| is_seen(time, known_at, watermark) && !is_seen(time, known_at, since);
    let ViewRows { table, files, .. } = ViewRows::read(source, Some(since), is_new)?;
    let failed = |source| BackfillError::Snapshot {
        view: view.to_owned(),
        source,
    };
    let Some(module) = module else {
        let writer = SnapshotWriter::create(path, options).map_err(failed)?;
        let written = add_rows(&table, before, writer, what)?.map_err(failed)?;
        return Ok(Materialized { written, files });
    };
    let log = table.event_log()?;
    let late_before = before
        .late()
        .filter(|_| what == What::Whole)
        .map_or(0, |late| late.count);
    options.late = late_events(&table.view, &log, watermark).map(|late| LateEvents {
        count: late.count.saturating_add(late_before),
        ..late
    });
    let writer = SnapshotWriter::create(path, options).map_err(failed)?;
    let mut instance = module.instantiate(CallLimits::BATCH)?;
    let folded = fold_into(&log, before, &mut instance, writer, what);
    let written = folded.map_err(|error| error.of_view(view, &instance))?;
    Ok(Materialized { written, files })
}

/// Why a snapshot cannot be gone on from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WhyNot {
    /// It cannot be opened.
    #[error("it cannot be opened")]
    Open(#[source] OpenError),
    /// It is a delta, or a delta that does not follow it.
    #[error("{0}")]
    Layers(LayerError),
    /// It has as many deltas as a snapshot may have.
    #[error("it has {MAX_DELTAS} deltas already, the most there may be: compact them")]
    TooManyDeltas,
    /// It is of another view, or the view was defined otherwise.
    #[error("it is of view `{found}` and of other columns, keys or another TTL than view `{view}` has now")]
    Schema {
        /// The view in the snapshot.
        found: String,
        /// The view to materialize.
        view: String,
    },
    /// Another module made its states.
    #[error("its states are those of another version of the module")]
    Module,
    /// Its view declared another lateness: it has events that the view would refuse now, or lacks some that it would take.
    #[error("it was made with {}, the view has {}", shown(found), shown(lateness))]
    Lateness {
        /// The lateness of the snapshot.
        found: Option<Lateness>,
        /// That of the view.
        lateness: Option<Lateness>,
    },
    /// It is of a later time.
    #[error("its watermark, {found}, is later than {watermark}")]
    Later {
        /// The watermark of the snapshot.
        found: EventTime,
        /// The one to materialize.
        watermark: EventTime,
    },
}

fn shown(lateness: &Option<Lateness>) -> String {
    lateness.map_or("no lateness".to_owned(), |lateness| format!("a lateness of {lateness}"))
}

/// The snapshot is of this view and no later.
fn check(meta: &SnapshotMeta, options: &WriteOptions, lateness: Option<Lateness>) -> Result<(), WhyNot> {
    if meta.schema != options.schema {
        return Err(WhyNot::Schema {
            found: meta.schema.view.clone(),
            view: options.schema.view.clone(),
        });
    }
    if (meta.module_digest, meta.state_version) != (options.module_digest, options.state_version) {
        return Err(WhyNot::Module);
    }
    let found = meta.lateness();
    if found != lateness {
        return Err(WhyNot::Lateness { found, lateness });
    }
    if options.watermark < meta.watermark {
        return Err(WhyNot::Later {
            found: meta.watermark,
            watermark: options.watermark,
        });
    }
    Ok(())
}

/// The previous rows and the new ones, of which the writer keeps the greatest version of each key; or, of a delta, the new ones that
/// are greater than the previous ones.
fn add_rows(
    table: &ViewTable,
    before: &Layers,
    mut writer: SnapshotWriter,
    what: What,
) -> Result<Result<Written, unskew_snapshot::WriteError>, BackfillError> {
    let keys = table.keys()?;
    let mut write = || {
        let mut values: Vec<Value<'_>> = Vec::new();
        if what == What::Whole {
            for (key, row) in before.iter() {
                values.clear();
                values.extend(row.values());
                writer.push(key, row.event_time(), None, &values)?;
            }
        }
        for (row, key) in keys.iter().enumerate() {
            let Some(key) = key else { continue };
            let known_at = table.table.known_at().and_then(|known_at| known_at[row]);
            values.clear();
            values.extend(table.values().iter().map(|column| column.value(row)));
            let event_time = table.table.event_time()[row];
            let old = before.get(key.as_ref()).filter(|_| what == What::Delta);
            if old.is_none_or(|old| is_greater(event_time, known_at, &values, old)) {
                writer.push(key.as_ref(), event_time, known_at, &values)?;
            }
        }
        Ok(())
    };
    Ok(write().and_then(|()| writer.finish()))
}

/// Whether a new row is a greater version than the previous one of its key.
fn is_greater(event_time: EventTime, known_at: Option<EventTime>, values: &[Value<'_>], old: Row<'_>) -> bool {
    let (mut new_bytes, mut old_bytes) = (Vec::new(), Vec::new());
    encode_row(values, &mut new_bytes);
    encode_row(&old.values().collect::<Vec<_>>(), &mut old_bytes);
    let new = Version {
        event_time,
        known_at,
        row: &new_bytes,
    };
    let old = Version {
        event_time: old.event_time(),
        known_at: None,
        row: &old_bytes,
    };
    compare_versions(&new, &old).is_gt()
}

/// The previous states with the new events folded in; of a delta those that are others now.
fn fold_into(
    log: &EventLog<'_>,
    before: &Layers,
    instance: &mut Instance,
    mut writer: SnapshotWriter,
    what: What,
) -> Result<Written, FoldError> {
    let untouched = (what == What::Whole).then(|| before.iter());
    for (key, row) in untouched.into_iter().flatten() {
        if log.index.group(&key.to_entity_key()).is_none() {
            writer
                .push(key, row.event_time(), None, &[row.value(0)])
                .map_err(FoldError::Write)?;
        }
    }
    for (key, events) in log.index.groups() {
        let old = before.get(key.as_ref());
        let newest = events.iter().map(|row| log.table.event_time()[*row as usize]).max();
        let last = newest.max(old.map(|row| row.event_time()));
        let state = fold_events(log, key, old.map(|row| row.bytes(0).to_vec()), events, instance)?;
        let is_same = |row: &Row<'_>| Some(row.event_time()) == last && Some(row.bytes(0)) == state.as_deref();
        if what == What::Delta && old.as_ref().is_some_and(is_same) {
            continue;
        }
        if let (Some(last), Some(state)) = (last, state) {
            writer
                .push(key.as_ref(), last, None, &[Value::Bytes(&state)])
                .map_err(FoldError::Write)?;
        }
    }
    writer.finish().map_err(FoldError::Write)
}

#[cfg(test)]
mod tests;
