use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use unskew::Store;
use unskew_batch::{BackfillError, ColumnBinding, Project, ProjectError, ReadError, Storage, ViewSource};
use unskew_objects::CloudObjects;

use crate::failure::Failure;

/// Which project, and where its store is.
#[derive(Args, Debug)]
pub struct ProjectArgs {
    /// The project file: entities, sources, views and services.
    #[arg(long, value_name = "FILE", default_value = "unskew.toml")]
    pub project: PathBuf,
    /// The store [default: .unskew/store beside the project file].
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
}

impl ProjectArgs {
    /// Reads the project file.
    pub fn load(&self) -> Result<Project, Failure> {
        let project = Project::load(&self.project).map_err(|error| match &error {
            ProjectError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => Failure::from(error)
                .help("run in the folder of a project, or give its file: --project path/to/unskew.toml"),
            _ => error.into(),
        })?;
        Ok(project.with_storage(storage()))
    }

    /// The store.
    pub fn store(&self) -> Store {
        Store::new(match &self.store {
            Some(root) => root.clone(),
            None => self.project.parent().unwrap_or(Path::new("")).join(".unskew/store"),
        })
    }
}

/// Says of a column that a source does not have how the project file names another.
pub fn explain_source(error: BackfillError, project: &Project) -> Failure {
    let help = match &error {
        BackfillError::Read(ReadError::MissingColumn { path, column, .. }) => rename_help(project, path, column),
        BackfillError::Entity { .. } => Some(
            "where a window has an exact tail, the time of every event is kept: give it a hop, as in 30d/1h; a backfill may have \
             more --memory instead"
                .to_owned(),
        ),
        _ => None,
    };
    match help {
        Some(help) => Failure::from(error).help(help),
        None => error.into(),
    }
}

/// How the project file names another column of the file at `path` than `column`; none where no view reads the file.
fn rename_help(project: &Project, path: &Path, column: &str) -> Option<String> {
    let views = project.view_sources().iter();
    let of_file = views.filter(|view| {
        let source = project.source(&view.source);
        source.is_some_and(|source| path.starts_with(&source.path))
    });
    let of_file: Vec<&ViewSource> = of_file.collect();
    let (owner, setting) = of_file
        .iter()
        .find_map(|view| setting_of(project, view, column))
        .or_else(|| of_file.iter().find_map(|view| event_setting_of(project, view, column)))?;
    Some(format!(
        "{owner} reads it: where the file calls it otherwise, say so in {}: {setting}",
        project.path().display()
    ))
}

/// What names a column of a source, and whose setting that is: a time, a part of the key, a feature.
fn setting_of(project: &Project, view: &ViewSource, column: &str) -> Option<(String, String)> {
    let source = project.source(&view.source)?;
    let times = [
        ("event_time", Some(&source.event_time)),
        ("known_at", source.known_at.as_ref()),
    ];
    if let Some((setting, _)) = times
        .iter()
        .find(|(_, named)| named.is_some_and(|named| named == column))
    {
        return Some((format!("source `{}`", source.name), format!("{setting} = \"COLUMN\"")));
    }
    let owner = format!("view `{}`", view.view);
    let named = |bindings: &[ColumnBinding]| {
        let binding = bindings.iter().find(|binding| binding.column == column);
        binding.map(|binding| binding.name.clone())
    };
    if let Some(key) = named(&view.keys) {
        return Some((owner, format!("keys = {{ {key} = \"COLUMN\" }}")));
    }
    let feature = named(&view.features)?;
    let setting = format!("features = [{{ name = \"{feature}\", column = \"COLUMN\", … }}]");
    Some((owner, setting))
}

/// The same of a column that a view's module asks for.
fn event_setting_of(project: &Project, view: &ViewSource, column: &str) -> Option<(String, String)> {
    let views = &project.catalog().views;
    let module = &views
        .iter()
        .find(|known| known.name == view.view)?
        .aggregate
        .as_ref()?
        .module;
    let named = view.events.iter().find(|(_, named)| *named == column);
    let event = named.map_or(column, |(event, _)| event);
    let owner = format!("module `{module}` of view `{}`", view.view);
    Some((owner, format!("events = {{ {event} = \"COLUMN\" }}")))
}

/// Where sources, spines and outputs are: files, and objects by their URLs. It asks for nothing before one is named.
pub fn storage() -> Storage {
    Storage::with_objects(Arc::new(CloudObjects::from_environment()))
}

/// Checks that the project defines the view or the service called `name`.
pub fn check_defined<'a>(
    kind: &str,
    name: &str,
    path: &Path,
    known: impl Iterator<Item = &'a str>,
) -> Result<(), Failure> {
    let known: Vec<&str> = known.collect();
    if known.contains(&name) {
        return Ok(());
    }
    let failure = Failure::new(format!("{} defines no {kind} `{name}`", path.display()));
    Err(failure.help(match known.is_empty() {
        true => format!("it defines no {kind} at all: add one, a table [[{kind}]]"),
        false => format!("it defines: {}", known.join(", ")),
    }))
}
