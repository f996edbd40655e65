use std::fmt::Write as _;

use unskew_frame::ColumnType;

use crate::project::{ColumnBinding, is_plain_name};
use crate::survey::{Survey, SurveyedColumn};

mod guess;

use guess::{event_time, key, known_at, prediction_time};

/// A project file to start from, and what in it was guessed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sketch {
    /// The text of the project file.
    pub text: String,
    /// What each source was taken to be.
    pub sources: Vec<SketchedSource>,
    /// The spine's column of the prediction time, if there is a spine and it has one.
    pub time_column: Option<String>,
    /// The service of the features of all sources; none where no source was given.
    pub service: Option<String>,
}

/// What a source was taken to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SketchedSource {
    /// Its name, and that of its view.
    pub name: String,
    /// The column of its entity's key, if one looks like it.
    pub key: Option<String>,
    /// The column of its event time, if one looks like it.
    pub event_time: Option<String>,
    /// The column of its known-at, if one looks like it.
    pub known_at: Option<String>,
    /// Its rows.
    pub rows: u64,
    /// Its features.
    pub features: Vec<ColumnBinding>,
}

/// A source to write a project for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SketchInput {
    /// The path as the project file is to have it.
    pub path: String,
    /// What is there.
    pub survey: Survey,
}

/// The service of a sketch.
const SERVICE: &str = "model";

/// Writes a project file that reads these sources for the rows of this spine. Without any source it is one to fill in.
///
/// Nothing in a file says what is a key or a time, so they are guessed: times by their type and their names, keys by their
/// names and by being in the spine too. What was not found is left for the user, with a comment that says so.
pub fn sketch(project: &str, sources: &[SketchInput], spine: Option<&Survey>) -> Sketch {
    let mut text = format!(
        "# What unskew computes features from. Commands find this file as unskew.toml in the folder they are run in.\n\n\
         [project]\nname = {}\n",
        quoted(&plain(project))
    );
    if sources.is_empty() {
        text += EMPTY;
        return Sketch {
            text,
            sources: Vec::new(),
            time_column: spine.and_then(prediction_time),
            service: None,
        };
    }
    let time_column = spine.and_then(prediction_time);
    let mut sketched: Vec<SketchedSource> = Vec::with_capacity(sources.len());
    for source in sources {
        let name = unused(stem(&source.path), |name| {
            sketched.iter().any(|source| source.name == name)
        });
        sketched.push(look_at(name, source, spine, time_column.as_deref()));
    }
    push_entities(&mut text, &sketched, sources);
    push_sources(&mut text, &sketched, sources);
    push_views(&mut text, &sketched, sources, spine);
    push_service(&mut text, &sketched, sources, spine);
    Sketch {
        text,
        sources: sketched,
        time_column,
        service: Some(SERVICE.to_owned()),
    }
}

fn look_at(name: String, source: &SketchInput, spine: Option<&Survey>, time_column: Option<&str>) -> SketchedSource {
    let survey = &source.survey;
    let event_time = event_time(survey);
    let known_at = known_at(survey, event_time.as_deref());
    let key = key(survey, spine);
    let taken = [&key, &event_time, &known_at];
    let is_feature = |column: &&SurveyedColumn| {
        let is_taken = taken.iter().any(|taken| taken.as_ref() == Some(&column.name));
        let is_of_spine = is_repeated(column, spine) || Some(column.name.as_str()) == time_column;
        column.column_type.is_some()
            && !column.is_of_directories
            && !is_taken
            && !is_of_spine
            && !column.name.is_empty()
    };
    let mut features: Vec<ColumnBinding> = Vec::new();
    for column in survey.columns.iter().filter(is_feature) {
        let name = unused(plain(&column.name), |name| {
            features.iter().any(|feature| feature.name == name)
        });
        features.extend(column.column_type.map(|column_type| ColumnBinding {
            name,
            column: column.name.clone(),
            column_type,
        }));
    }
    SketchedSource {
        name,
        rows: survey.rows,
        features,
        key,
        event_time,
        known_at,
    }
}

/// Whether the spine has the column too, so that a model can read it there.
fn is_repeated(column: &SurveyedColumn, spine: Option<&Survey>) -> bool {
    spine.is_some_and(|spine| spine.column(&column.name).is_some())
}

fn push_entities(text: &mut String, sketched: &[SketchedSource], sources: &[SketchInput]) {
    *text += "\n# What rows are about. A row of the spine has a column for each key.\n";
    let mut seen: Vec<&str> = Vec::new();
    for (source, input) in sketched.iter().zip(sources) {
        match &source.key {
            Some(key) if seen.contains(&key.as_str()) => {}
            Some(key) => {
                seen.push(key);
                let key_type = column_type(&input.survey, key);
                let _ = writeln!(
                    text,
                    "[[entity]]\nname = {}\nkeys = [{{ name = {}, type = \"{key_type}\" }}]",
                    quoted(&entity(source)),
                    quoted(key),
                );
            }
            None => {
                let _ = writeln!(
                    text,
                    "[[entity]]\nname = {}\n# No column of {} looks like a key. Name the one that says what a row is about:\n\
                     # keys = [{{ name = \"user_id\", type = \"i64\" }}]",
                    quoted(&entity(source)),
                    source.name,
                );
            }
        }
    }
}

fn push_sources(text: &mut String, sketched: &[SketchedSource], sources: &[SketchInput]) {
    *text += "\n# Where history is.\n";
    for (source, input) in sketched.iter().zip(sources) {
        let _ = writeln!(
            text,
            "[[source]]\nname = {}\npath = {}",
            quoted(&source.name),
            quoted(&input.path)
        );
        match &source.event_time {
            Some(column) => {
                let _ = writeln!(text, "event_time = {}   # when a row happened", quoted(column));
            }
            None => {
                *text += "# No column looks like a time. Name the one that says when a row happened:\n# event_time = \"…\"\n";
            }
        }
        if let Some(column) = &source.known_at {
            let _ = writeln!(text, "known_at = {}   # when it became known", quoted(column));
        }
    }
}

fn push_views(text: &mut String, sketched: &[SketchedSource], sources: &[SketchInput], spine: Option<&Survey>) {
    *text +=
        "\n# The features of an entity: as of each row of the spine, those of the last row that was known by then.\n";
    for (source, input) in sketched.iter().zip(sources) {
        let _ = writeln!(
            text,
            "[[view]]\nname = {name}\nentity = {}\nsource = {name}\n# ttl = \"7d\"   # how long a row counts; without it, for ever\nfeatures = [",
            quoted(&entity(source)),
            name = quoted(&source.name),
        );
        for feature in &source.features {
            let column = match feature.name == feature.column {
                true => String::new(),
                false => format!(", column = {}", quoted(&feature.column)),
            };
            let (name, feature_type) = (quoted(&feature.name), feature.column_type);
            let _ = writeln!(text, "  {{ name = {name}, type = \"{feature_type}\"{column} }},");
        }
        *text += "]\n";
        let taken = |column: &&SurveyedColumn| {
            ![&source.key, &source.event_time, &source.known_at].contains(&&Some(column.name.clone()))
        };
        let others = || input.survey.columns.iter().filter(taken);
        let repeated: Vec<&str> = others()
            .filter(|column| is_repeated(column, spine))
            .map(|column| column.name.as_str())
            .collect();
        if !repeated.is_empty() {
            let _ = writeln!(
                text,
                "# Left out, as the spine has them: {}",
                one_line(&repeated.join(", "))
            );
        }
        for column in others().filter(|column| column.column_type.is_none()) {
            let (name, stored) = (one_line(&column.name), one_line(&column.stored));
            let _ = writeln!(text, "# Left out, as it cannot be read: {name} ({stored})");
        }
    }
}

fn push_service(text: &mut String, sketched: &[SketchedSource], sources: &[SketchInput], spine: Option<&Survey>) {
    let _ = writeln!(
        text,
        "\n# What one model reads: the columns that it is asked with, and its features in order.\n[[service]]\nname = \"{SERVICE}\"\nrequest = ["
    );
    let mut seen: Vec<&str> = Vec::new();
    for (source, input) in sketched.iter().zip(sources) {
        let Some(key) = source.key.as_deref().filter(|key| !seen.contains(key)) else {
            continue;
        };
        seen.push(key);
        let is_complete = spine
            .and_then(|spine| spine.column(key))
            .is_some_and(|column| column.is_complete);
        let nullable = if is_complete { "" } else { ", nullable = true" };
        let key_type = column_type(&input.survey, key);
        let _ = writeln!(text, "  {{ name = {}, type = \"{key_type}\"{nullable} }},", quoted(key));
    }
    *text += "]\nfeatures = [\n";
    for source in sketched {
        for feature in &source.features {
            let _ = writeln!(text, "  {},", quoted(&format!("{}:{}", source.name, feature.name)));
        }
    }
    *text += "]\n";
}

/// The entity of a source: its key without what says that it is one.
fn entity(source: &SketchedSource) -> String {
    let Some(key) = &source.key else {
        return plain(&source.name);
    };
    let key = ["_id", "_key", "_uuid", "Id", "ID"]
        .iter()
        .find_map(|suffix| key.strip_suffix(suffix))
        .filter(|rest| !rest.is_empty())
        .unwrap_or(key);
    plain(key)
}

fn column_type(survey: &Survey, name: &str) -> ColumnType {
    let found = survey.column(name).and_then(|column| column.column_type);
    found.unwrap_or(ColumnType::String)
}

/// The name of a file or of a directory without what says its format, from a path or a URL.
fn stem(path: &str) -> String {
    let name = path
        .trim_end_matches(['/', '\\'])
        .rsplit(['/', '\\'])
        .next()
        .unwrap_or(path);
    let stem = name.split_once('.').map_or(name, |(stem, _)| stem);
    plain(stem)
}

/// The name with nothing in it that names do not have.
fn plain(name: &str) -> String {
    let is_letter = |letter: char| is_plain_name(letter.encode_utf8(&mut [0; 4]));
    let name: String = name
        .chars()
        .map(|letter| if is_letter(letter) { letter } else { '_' })
        .collect();
    if name.is_empty() { "unnamed".to_owned() } else { name }
}

/// The name, with a number behind it if it is taken.
fn unused(name: String, is_taken: impl Fn(&str) -> bool) -> String {
    let numbered = (2..).map(|number| format!("{name}_{number}"));
    std::iter::once(name.clone())
        .chain(numbered)
        .find(|name| !is_taken(name))
        .unwrap_or_default()
}

/// As a value of TOML.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// As a part of a comment.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect()
}

/// What a project without sources begins with.
const EMPTY: &str = r#"
# Take away the number signs and put in your own names, or let a file be looked at:
#   unskew init --source prices.parquet --spine impressions.parquet

# What rows are about. A row of the spine has a column for each key.
# [[entity]]
# name = "item"
# keys = [{ name = "item_id", type = "i64" }]

# Where history is: a file, or a directory of Parquet files.
# [[source]]
# name = "prices"
# path = "prices.parquet"
# event_time = "time"            # when a row happened
# known_at = "loaded_at"         # when it became known, where that is later

# The features of an entity: as of each row of the spine, those of the last row that was known by then.
# [[view]]
# name = "item_price"
# entity = "item"
# source = "prices"
# ttl = "7d"                     # how long a row counts; without it, for ever
# features = [{ name = "price", type = "f64" }]

# Windows over events, by a module: see `unskew build`.
# [[view]]
# name = "item_ctr"
# entity = "item"
# source = "clicks"              # with a table [[source]] of its own
# module = "ctr-history"
# lateness = "2h"                # what became known later than that after it happened does not count; without it, all does

# What one model reads: the columns that it is asked with, and its features in order.
# [[service]]
# name = "model"
# request = [{ name = "item_id", type = "i64" }]
# features = ["item_price:price"]
"#;

#[cfg(test)]
mod tests;
