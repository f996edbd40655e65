use std::collections::BTreeMap;

use unskew::catalog::View;
use unskew::{Descriptor, Kind};
use unskew_frame::Column;
use unskew_snapshot::EntityKey;

use crate::aggregate::{EventLog, MAX_CALL_ROWS};
use crate::backfill::BackfillError;
use crate::entity_key::entity_keys;
use crate::events::EventIndex;
use crate::project::Project;
use crate::storage::Storage;
use crate::table::{ColumnRequest, Table, TableSource};

/// The history of a view: the columns of its key, then those of its features or of its module's events.
pub(crate) struct ViewTable {
    pub view: View,
    pub table: Table,
    key_columns: usize,
}

/// Reads the history that a view is made of.
pub(crate) fn read_view(
    project: &Project,
    modules: &BTreeMap<String, Descriptor>,
    name: &str,
) -> Result<ViewTable, BackfillError> {
    let source = view_source(project, modules, name)?;
    Ok(ViewTable {
        table: Table::read_from(&source.storage, &source.table)?,
        view: source.view,
        key_columns: source.key_columns,
    })
}

/// What the history of a view is made of.
pub(crate) struct HistorySource {
    pub view: View,
    /// The columns of its key, then those of its features or of its module's events.
    pub table: TableSource,
    pub key_columns: usize,
    /// Where it is.
    pub storage: Storage,
}

/// What the history of the view `name` is made of.
pub(crate) fn view_source(
    project: &Project,
    modules: &BTreeMap<String, Descriptor>,
    name: &str,
) -> Result<HistorySource, BackfillError> {
    let missing = |reason: String| BackfillError::View {
        view: name.to_owned(),
        reason,
    };
    let view = project.catalog().views.iter().find(|view| view.name == name);
    let (Some(view), Some(view_source)) = (view, project.view_source(name)) else {
        return Err(missing("the project does not define it".to_owned()));
    };
    let source = project
        .source(&view_source.source)
        .ok_or_else(|| missing(format!("there is no source `{}`", view_source.source)))?;
    let events = match &view.aggregate {
        None => Vec::new(),
        Some(aggregate) => match modules.get(&aggregate.module).map(|descriptor| &descriptor.kind) {
            Some(Kind::Aggregate(aggregation)) => aggregation
                .events
                .iter()
                .map(|event| ColumnRequest {
                    name: event.name.clone(),
                    column_type: event.column_type,
                    required: true,
                    nullable: event.nullable,
                })
                .collect(),
            _ => {
                return Err(missing(format!(
                    "module `{}` is not an aggregate that is there",
                    aggregate.module
                )));
            }
        },
    };
    if let Some(unknown) = view_source
        .events
        .keys()
        .find(|name| events.iter().all(|event| event.name != **name))
    {
        return Err(missing(format!("its module's events have no column `{unknown}`")));
    }
    Ok(HistorySource {
        view: view.clone(),
        table: source.table_source(view_source, events),
        key_columns: view_source.keys.len(),
        storage: project.storage().clone(),
    })
}

impl HistorySource {
    /// The index of a feature.
    pub fn feature(&self, name: &str) -> Result<usize, BackfillError> {
        self.view
            .features
            .iter()
            .position(|feature| feature.name == name)
            .ok_or_else(|| BackfillError::View {
                view: self.view.name.clone(),
                reason: format!("it has no feature `{name}`"),
            })
    }
}

impl ViewTable {
    /// Of a table that was read otherwise.
    pub fn new(view: View, table: Table, key_columns: usize) -> Self {
        Self {
            view,
            table,
            key_columns,
        }
    }

    /// How many of the columns are parts of the key.
    pub fn key_columns(&self) -> usize {
        self.key_columns
    }

    /// The entity key of each row.
    pub fn keys(&self) -> Result<Vec<Option<EntityKey>>, BackfillError> {
        let columns: Vec<&Column> = self.table.columns()[..self.key_columns].iter().collect();
        entity_keys(&columns, self.table.rows()).map_err(|source| BackfillError::Key {
            view: self.view.name.clone(),
            source,
        })
    }

    /// The columns of the features, or of the events.
    pub fn values(&self) -> &[Column] {
        &self.table.columns()[self.key_columns..]
    }

    /// The events of an aggregate.
    pub fn event_log(&self) -> Result<EventLog<'_>, BackfillError> {
        Ok(EventLog {
            table: &self.table,
            index: EventIndex::build(self.keys()?, &self.table, self.view.lateness()),
            columns: self.values().iter().collect(),
            call_rows: MAX_CALL_ROWS,
        })
    }
}
