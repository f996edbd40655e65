use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use unskew::catalog::Catalog;
use unskew_frame::ColumnType;

use crate::storage::Storage;
use crate::table::{ColumnRequest, TableSource};

mod check;
mod error;
mod raw;
mod references;

pub(crate) use check::is_plain_name;
pub use error::{Problem, ProjectError};

/// What a project file, `unskew.toml`, defines: entities, sources, views and services.
#[derive(Clone, Debug, PartialEq)]
pub struct Project {
    path: PathBuf,
    name: String,
    catalog: Catalog,
    sources: Vec<Source>,
    views: Vec<ViewSource>,
    storage: Storage,
}

/// A table of feature rows or an event log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Unique among sources.
    pub name: String,
    /// The file or directory, or its URL; a path in the project file is relative to its directory.
    pub path: PathBuf,
    /// The column of the event time.
    pub event_time: String,
    /// The column of the time when a row became known.
    pub known_at: Option<String>,
    /// The types of columns that are not to be guessed from a text file.
    pub types: BTreeMap<String, ColumnType>,
}

/// Where the columns of a view come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewSource {
    /// The name of the view.
    pub view: String,
    /// The name of its source.
    pub source: String,
    /// The columns of the entity's key, in order.
    pub keys: Vec<ColumnBinding>,
    /// The columns of its features, in order; none of an aggregate.
    pub features: Vec<ColumnBinding>,
    /// The columns of an aggregate's events, by the module's name for them. One that is not here has the module's name.
    pub events: BTreeMap<String, String>,
}

/// A column of a source and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnBinding {
    /// The name of the key's part or of the feature.
    pub name: String,
    /// The column of the source.
    pub column: String,
    /// Its type.
    pub column_type: ColumnType,
}

impl Project {
    /// Reads and checks a project file. Nothing else is read: sources may not be there yet.
    ///
    /// # Errors
    /// The file is missing, or something in it is wrong: the error says on which line.
    pub fn load(path: &Path) -> Result<Self, ProjectError> {
        let text = fs::read_to_string(path).map_err(|source| ProjectError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(path, &text)
    }

    /// Checks the text of a project file at `path`.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(path: &Path, text: &str) -> Result<Self, ProjectError> {
        raw::parse(text)
            .and_then(|raw| check::check(raw, path, text))
            .map_err(|wrong| wrong.in_file(path, text))
    }

    /// The same project, whose sources, spines and outputs may be in a storage.
    pub fn with_storage(self, storage: Storage) -> Self {
        Self { storage, ..self }
    }

    /// Where its sources, its spines and its outputs are.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// The project file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name of the project.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The entities, views and services.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The sources, in the order of the file.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The source of this name.
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.name == name)
    }

    /// Where the columns of each view come from, in the order of the file.
    pub fn view_sources(&self) -> &[ViewSource] {
        &self.views
    }

    /// Where the columns of a view come from.
    pub fn view_source(&self, view: &str) -> Option<&ViewSource> {
        self.views.iter().find(|source| source.view == view)
    }
}

impl Source {
    /// A table of the columns that a view reads: the parts of its entity's key, then the feature columns of a feature
    /// table, then `events`, which are those of an aggregate's module.
    pub fn table_source(&self, view: &ViewSource, events: Vec<ColumnRequest>) -> TableSource {
        let bound = view.keys.iter().chain(&view.features);
        let mut columns: Vec<ColumnRequest> = bound
            .map(|binding| ColumnRequest {
                name: binding.column.clone(),
                column_type: binding.column_type,
                required: true,
                nullable: true,
            })
            .collect();
        columns.extend(events.into_iter().map(|event| ColumnRequest {
            name: view.event_column(&event.name).to_owned(),
            ..event
        }));
        TableSource {
            path: self.path.clone(),
            columns,
            event_time: self.event_time.clone(),
            known_at: self.known_at.clone(),
        }
    }
}

impl ViewSource {
    /// The column of the source that is `event`, a column of the module's events.
    pub fn event_column<'a>(&'a self, event: &'a str) -> &'a str {
        self.events.get(event).map_or(event, String::as_str)
    }
}

#[cfg(test)]
mod tests;
