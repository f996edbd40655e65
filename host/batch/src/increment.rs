use std::collections::BTreeMap;
use std::path::Path;

use unskew::{CallLimits, EvaluateError, Instance, Module, descriptors};
use unskew_frame::Value;
use unskew_snapshot::{
    EventTime, OpenError, Snapshot, SnapshotWriter, WriteOptions, Written, is_event_visible, is_visible,
};

use crate::aggregate::{EventLog, FoldError, fold_events};
use crate::backfill::BackfillError;
use crate::materialize::{Materialized, snapshot_options};
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
    let source = view_source(project, &descriptors(modules), view)?;
    let (options, module) = snapshot_options(project, modules, &source.view, watermark)?;
    let unusable = |source| BackfillError::Previous {
        path: previous.to_owned(),
        source,
    };
    let before = Snapshot::open(previous).map_err(|error| unusable(WhyNot::Open(error)))?;
    check(&before, &options).map_err(unusable)?;

    let since = before.meta().watermark;
    let is_seen = if module.is_some() { is_event_visible } else { is_visible };
    let is_new = |time, known_at| is_seen(time, known_at, watermark) && !is_seen(time, known_at, since);
    let ViewRows { table, files, .. } = ViewRows::read(source, Some(since), is_new)?;
    let failed = |source| BackfillError::Snapshot {
        view: view.to_owned(),
        source,
    };
    let writer = SnapshotWriter::create(path, options).map_err(failed)?;
    let written = match module {
        None => add_rows(&table, &before, writer)?.map_err(failed)?,
        Some(module) => {
            let mut instance = module.instantiate(CallLimits::BATCH)?;
            match fold_into(&table.event_log()?, &before, &mut instance, writer) {
                Ok(written) => written,
                Err(FoldError::Write(source)) => return Err(failed(source)),
                Err(FoldError::Call(error)) => return Err(EvaluateError::call(view, &instance, error).into()),
            }
        }
    };
    Ok(Materialized { written, files })
}

/// Why a snapshot cannot be gone on from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WhyNot {
    /// It cannot be opened.
    #[error("it cannot be opened")]
    Open(#[source] OpenError),
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
    /// It is of a later time.
    #[error("its watermark, {found}, is later than {watermark}")]
    Later {
        /// The watermark of the snapshot.
        found: EventTime,
        /// The one to materialize.
        watermark: EventTime,
    },
}

/// The snapshot is of this view and no later.
fn check(before: &Snapshot, options: &WriteOptions) -> Result<(), WhyNot> {
    let meta = before.meta();
    if meta.schema != options.schema {
        return Err(WhyNot::Schema {
            found: meta.schema.view.clone(),
            view: options.schema.view.clone(),
        });
    }
    if (meta.module_digest, meta.state_version) != (options.module_digest, options.state_version) {
        return Err(WhyNot::Module);
    }
    if options.watermark < meta.watermark {
        return Err(WhyNot::Later {
            found: meta.watermark,
            watermark: options.watermark,
        });
    }
    Ok(())
}

/// The previous rows and the new ones: the writer keeps the greatest version of each key.
fn add_rows(
    table: &ViewTable,
    before: &Snapshot,
    mut writer: SnapshotWriter,
) -> Result<Result<Written, unskew_snapshot::WriteError>, BackfillError> {
    let keys = table.keys()?;
    let mut write = || {
        let mut values: Vec<Value<'_>> = Vec::new();
        for (key, row) in before.iter() {
            values.clear();
            values.extend(row.values());
            writer.push(key, row.event_time(), None, &values)?;
        }
        for (row, key) in keys.iter().enumerate() {
            let Some(key) = key else { continue };
            let known_at = table.table.known_at().and_then(|known_at| known_at[row]);
            values.clear();
            values.extend(table.values().iter().map(|column| column.value(row)));
            writer.push(key.as_ref(), table.table.event_time()[row], known_at, &values)?;
        }
        Ok(())
    };
    Ok(write().and_then(|()| writer.finish()))
}

/// The previous states with the new events folded in.
fn fold_into(
    log: &EventLog<'_>,
    before: &Snapshot,
    instance: &mut Instance,
    mut writer: SnapshotWriter,
) -> Result<Written, FoldError> {
    for (key, row) in before.iter() {
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
        let state = fold_events(log, old.map(|row| row.bytes(0).to_vec()), events, instance)?;
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
