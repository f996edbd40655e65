use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use unskew_batch::{Sketch, SketchInput, SketchedSource, Survey, sketch, url_of};

use crate::answer::{Answer, Facts, counted};
use crate::failure::{Context, Failure};
use crate::output::{check_directory, directory_of};
use crate::project::storage;

/// Write a project file to start from.
///
/// It looks at the files that are given: which columns there are, of which types, which of them are times and which look like
/// the keys of an entity. The project file that it writes defines a view with the features of each source and a service with
/// all of them. Nothing in a file says what its columns mean, so read what it wrote before you use it.
///
/// A file that is there is not overwritten.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  unskew init --source weather.parquet --spine flights.parquet
  unskew backfill --service model --spine flights.parquet --time-column time --out train.parquet")]
pub struct Init {
    /// The project file to write.
    #[arg(long, value_name = "FILE", default_value = "unskew.toml")]
    project: PathBuf,
    /// A file of history, or a directory of Parquet files: feature rows with the times when they came to be.
    #[arg(long = "source", value_name = "FILE", num_args = 1..)]
    sources: Vec<PathBuf>,
    /// The rows that features will be computed for; a key is looked for among its columns.
    #[arg(long, value_name = "FILE")]
    spine: Option<PathBuf>,
}

impl Init {
    pub fn run(self) -> Result<Answer, Failure> {
        check_directory(&self.project)?;
        if self.project.symlink_metadata().is_ok() {
            return Err(exists(&self.project));
        }
        let storage = storage();
        let survey = |path: &Path| Survey::of_stored(&storage, path);
        let spine = self.spine.as_deref().map(survey).transpose()?;
        let sources = self
            .sources
            .iter()
            .map(|path| {
                Ok(SketchInput {
                    path: self.path_from_project(path)?,
                    survey: survey(path)?,
                })
            })
            .collect::<Result<Vec<_>, Failure>>()?;
        let sketch = sketch(&self.project_name(), &sources, spine.as_ref());
        create(&self.project, &sketch.text)?;
        Ok(self.answer(&sketch))
    }

    /// The path of a source as the project file has it: paths there are relative to its directory.
    fn path_from_project(&self, path: &Path) -> Result<String, Failure> {
        let is_here = directory_of(&self.project) == Path::new(".");
        let path = match is_here || path.is_absolute() || url_of(path).is_some() {
            true => path.to_owned(),
            false => std::path::absolute(path).context(|| format!("cannot find {}", path.display()))?,
        };
        match path.to_str() {
            Some(path) => Ok(path.to_owned()),
            None => Err(Failure::new(format!(
                "{} is not UTF-8, as a project file is: rename it",
                path.display()
            ))),
        }
    }

    /// That of its directory.
    fn project_name(&self) -> String {
        let directory = fs::canonicalize(directory_of(&self.project)).unwrap_or_default();
        let name = directory.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    fn answer(&self, sketch: &Sketch) -> Answer {
        let mut facts = Facts::default().with("project", self.project.display());
        for source in &sketch.sources {
            facts = facts.with(format!("source {}", source.name), told(source));
        }
        let next = self.next(sketch);
        let text = facts.text() + &format!("\nRead it and put right what was guessed, then:\n  {next}\n");
        let sources: Vec<_> = sketch
            .sources
            .iter()
            .map(|source| {
                json!({
                    "name": source.name,
                    "rows": source.rows,
                    "key": source.key,
                    "event_time": source.event_time,
                    "known_at": source.known_at,
                    "features": source.features.iter().map(|feature| feature.name.as_str()).collect::<Vec<_>>(),
                })
            })
            .collect();
        let json = json!({
            "path": self.project.display().to_string(),
            "sources": sources,
            "service": sketch.service,
            "time_column": sketch.time_column,
            "next": next,
        });
        Answer::new(text, json)
    }

    fn next(&self, sketch: &Sketch) -> String {
        let mut line = "unskew backfill".to_owned();
        if self.project != Path::new("unskew.toml") {
            line += &format!(" --project {}", self.project.display());
        }
        let spine = self.spine.as_deref().unwrap_or(Path::new("SPINE.parquet"));
        line += &format!(
            " --service {} --spine {}",
            sketch.service.as_deref().unwrap_or("SERVICE"),
            spine.display()
        );
        if let Some(column) = sketch
            .time_column
            .as_deref()
            .filter(|column| *column != "prediction_time")
        {
            line += &format!(" --time-column {column}");
        }
        line + " --out train.parquet"
    }
}

/// What a source was taken to be, in one line.
fn told(source: &SketchedSource) -> String {
    let or_none = |column: &Option<String>, none: &str| column.clone().unwrap_or_else(|| none.to_owned());
    let mut line = format!(
        "{}, key {}, event time {}",
        counted(source.rows, "row"),
        or_none(&source.key, "NOT FOUND"),
        or_none(&source.event_time, "NOT FOUND"),
    );
    if let Some(known_at) = &source.known_at {
        line += &format!(", known at {known_at}");
    }
    line + &format!(", {}", counted(source.features.len() as u64, "feature"))
}

/// Writes a file that must not be there yet.
fn create(path: &Path, text: &str) -> Result<(), Failure> {
    let mut file = match File::create_new(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists(path)),
        file => file.context(|| format!("cannot write {}", path.display()))?,
    };
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .context(|| format!("cannot write {}", path.display()))
}

fn exists(path: &Path) -> Failure {
    Failure::new(format!("{} is there already", path.display()))
        .help("edit it, or give another file to write: --project other.toml")
}
