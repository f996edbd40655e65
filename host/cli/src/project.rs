use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use unskew::Store;
use unskew_batch::{Project, ProjectError, Storage};
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
