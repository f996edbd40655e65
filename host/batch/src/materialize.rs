use std::collections::BTreeMap;
use std::path::Path;

use unskew::catalog::{Entity, View};
use unskew::{CallLimits, Kind, Module, STATE_FEATURE, descriptors};
use unskew_frame::{ColumnType, Value};
use unskew_snapshot::{
    DuplicateKeys, EventTime, FeatureColumn, KeyColumn, LateEvents, SnapshotSchema, SnapshotWriter, Ttl, WriteOptions,
    Written, is_visible,
};

use crate::aggregate::{EventLog, FoldError, fold_states};
use crate::backfill::BackfillError;
use crate::project::Project;
use crate::reader::InputFile;
use crate::view::{ViewTable, read_view};

/// A snapshot that was made, and what of.
#[derive(Clone, Debug)]
pub struct Materialized {
    /// The file.
    pub written: Written,
    /// What was read.
    pub files: Vec<InputFile>,
}

/// Writes the snapshot of `view` to `path`: for each entity what was known before `watermark`. For an aggregate that is the
/// state of the events in `[.., watermark)`; for features the row that an as-of join at `watermark` would choose.
///
/// # Errors
/// See [`BackfillError`]. Nothing is left at `path` that was not there before.
pub fn materialize(
    project: &Project,
    modules: &BTreeMap<String, Module>,
    view: &str,
    watermark: EventTime,
    path: &Path,
) -> Result<Materialized, BackfillError> {
    let table = read_view(project, &descriptors(modules), view)?;
    let (options, module) = snapshot_options(project, modules, &table.view, watermark)?;
    let written = match module {
        None => write_features(&table, watermark, path, options),
        Some(module) => write_states(&table, module, watermark, path, options),
    }?;
    Ok(Materialized {
        written,
        files: table.table.files().to_vec(),
    })
}

/// How the snapshot of a view is written, and the module of an aggregate.
pub(crate) fn snapshot_options<'a>(
    project: &Project,
    modules: &'a BTreeMap<String, Module>,
    view: &View,
    watermark: EventTime,
) -> Result<(WriteOptions, Option<&'a Module>), BackfillError> {
    let missing = |reason: String| BackfillError::View {
        view: view.name.clone(),
        reason,
    };
    let entities = &project.catalog().entities;
    let entity = entities
        .iter()
        .find(|entity| entity.name == view.entity)
        .ok_or_else(|| missing(format!("there is no entity `{}`", view.entity)))?;
    let mut options = WriteOptions::new(schema(view, entity), watermark);
    options.duplicates = DuplicateKeys::AsOf;
    let Some(aggregate) = &view.aggregate else {
        return Ok((options, None));
    };
    let module = modules
        .get(&aggregate.module)
        .ok_or_else(|| missing(format!("module `{}` is not there", aggregate.module)))?;
    if let Kind::Aggregate(aggregation) = &module.descriptor().kind {
        options.state_version = Some(aggregation.state_version);
    }
    options.module_digest = Some(module.digest().0);
    Ok((options, Some(module)))
}

fn schema(view: &View, entity: &Entity) -> SnapshotSchema {
    let features = match &view.aggregate {
        Some(_) => vec![FeatureColumn::new(STATE_FEATURE, ColumnType::Bytes)],
        None => view
            .features
            .iter()
            .map(|feature| FeatureColumn::new(feature.name.as_str(), feature.column_type))
            .collect(),
    };
    SnapshotSchema {
        view: view.name.clone(),
        key: entity
            .keys
            .iter()
            .map(|column| KeyColumn::new(column.name.as_str(), column.key_type))
            .collect(),
        features,
        ttl: view.ttl_us.map(Ttl::from_micros),
    }
}

fn write_features(
    table: &ViewTable,
    watermark: EventTime,
    path: &Path,
    options: WriteOptions,
) -> Result<Written, BackfillError> {
    let failed = |source| BackfillError::Snapshot {
        view: table.view.name.clone(),
        source,
    };
    let mut writer = SnapshotWriter::create(path, options).map_err(failed)?;
    let mut values: Vec<Value<'_>> = Vec::new();
    for (row, key) in table.keys()?.iter().enumerate() {
        let event_time = table.table.event_time()[row];
        let known_at = table.table.known_at().and_then(|known_at| known_at[row]);
        let Some(key) = key else { continue };
        if !is_visible(event_time, known_at, watermark) {
            continue;
        }
        values.clear();
        values.extend(table.values().iter().map(|column| column.value(row)));
        writer
            .push(key.as_ref(), event_time, known_at, &values)
            .map_err(failed)?;
    }
    writer.finish().map_err(failed)
}

fn write_states(
    table: &ViewTable,
    module: &Module,
    watermark: EventTime,
    path: &Path,
    mut options: WriteOptions,
) -> Result<Written, BackfillError> {
    let failed = |source| BackfillError::Snapshot {
        view: table.view.name.clone(),
        source,
    };
    let log = table.event_log()?;
    options.late = late_events(&table.view, &log, watermark);
    let mut instance = module.instantiate(CallLimits::BATCH)?;
    let mut writer = SnapshotWriter::create(path, options).map_err(failed)?;
    let folded = fold_states(&log, watermark, &mut instance, |key, last, state| {
        writer
            .push(key.as_ref(), last, None, &[Value::Bytes(state)])
            .map_err(FoldError::Write)
    });
    match folded {
        Ok(()) => writer.finish().map_err(failed),
        Err(error) => Err(error.of_view(&table.view.name, &instance)),
    }
}

/// What an aggregate leaves out of the states as of `watermark`, if its view declares a lateness.
pub(crate) fn late_events(view: &View, log: &EventLog<'_>, watermark: EventTime) -> Option<LateEvents> {
    let count = log.index.late(watermark);
    view.lateness().map(|lateness| LateEvents { lateness, count })
}
