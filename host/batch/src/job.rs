use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use unskew::{Digest, Plan};

use crate::backfill::{BackfillOptions, SEMANTICS_VERSION};
use crate::engine::Engine;
use crate::project::Project;
use crate::storage::Object;

/// What a backfill computes, of what, and by what: all that its result depends on, so that one is only resumed where the rest
/// would be of a piece with what is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Job {
    /// What was asked for, as text by the option's name.
    question: BTreeMap<String, String>,
    /// Of what the project says of the service.
    definitions: Option<Digest>,
    pub modules: BTreeMap<String, Digest>,
    inputs: Vec<InputStamp>,
    /// The version of unskew, of the rules and of the engine's settings.
    version: String,
    /// Whether the output may be replaced. No part of the comparison: a resumed backfill does what the first was told.
    pub overwrite: bool,
}

/// A file as it is before it is read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct InputStamp {
    pub path: PathBuf,
    pub bytes: u64,
    /// When it was written last, as far as that is known: nanoseconds since 1970.
    pub modified_ns: Option<u64>,
    /// What changes with the bytes of an object.
    #[serde(default)]
    pub tag: Option<String>,
}

impl InputStamp {
    pub fn of(path: &Path, bytes: u64) -> Self {
        let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        let since = modified.and_then(|modified| modified.duration_since(UNIX_EPOCH).ok());
        Self {
            path: path.to_owned(),
            bytes,
            modified_ns: since.and_then(|since| u64::try_from(since.as_nanos()).ok()),
            tag: None,
        }
    }

    pub fn of_object(object: &Object) -> Self {
        Self {
            path: PathBuf::from(&object.url),
            bytes: object.bytes,
            modified_ns: None,
            tag: object.tag.clone(),
        }
    }
}

impl Job {
    pub fn of(engine: &Engine<'_>, project: &Project) -> Self {
        let options = engine.options;
        let modules = engine.plan.modules().filter_map(|name| {
            let module = engine.modules.get(name)?;
            Some((name.to_owned(), module.digest()))
        });
        Self {
            question: question(options, &engine.plan),
            definitions: Some(definitions(&engine.plan, project)),
            modules: modules.collect(),
            inputs: engine.input_stamps(),
            version: format!(
                "{}, semantics {SEMANTICS_VERSION}, engine {}",
                env!("CARGO_PKG_VERSION"),
                unskew::settings_digest(unskew::Cpu::Baseline)
            ),
            overwrite: options.output.overwrite,
        }
    }

    /// Of all of it.
    pub fn digest(&self) -> Digest {
        let compared = Self {
            overwrite: false,
            ..self.clone()
        };
        Digest::of(&serde_json::to_vec(&compared).unwrap_or_default())
    }

    /// What is not the same in `other`, each as a part of a sentence; nothing, if one can be resumed as the other.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        let names: BTreeSet<&String> = self.question.keys().chain(other.question.keys()).collect();
        for name in names {
            let (before, after) = (self.question.get(name), other.question.get(name));
            if before != after {
                let shown = |value: Option<&String>| value.map_or("none", String::as_str).to_owned();
                differences.push(format!("{name} was {}, now it is {}", shown(before), shown(after)));
            }
        }
        if self.definitions != other.definitions {
            differences.push("the project defines something differently".to_owned());
        }
        let names: BTreeSet<&String> = self.modules.keys().chain(other.modules.keys()).collect();
        differences.extend(
            names
                .into_iter()
                .filter(|name| self.modules.get(*name) != other.modules.get(*name))
                .map(|name| format!("module `{name}` is another")),
        );
        let before: BTreeSet<&InputStamp> = self.inputs.iter().collect();
        let after: BTreeSet<&InputStamp> = other.inputs.iter().collect();
        let paths: BTreeSet<&PathBuf> = before.symmetric_difference(&after).map(|stamp| &stamp.path).collect();
        differences.extend(
            paths
                .into_iter()
                .map(|path| format!("{} was written since, or is another file", path.display())),
        );
        if self.version != other.version {
            differences.push(format!(
                "it was begun by version {}, this is {}",
                self.version, other.version
            ));
        }
        differences
    }
}

fn question(options: &BackfillOptions, plan: &Plan) -> BTreeMap<String, String> {
    // All of them, so that a new option is not forgotten.
    let BackfillOptions {
        service,
        spine,
        time_column,
        filter,
        freeze_at,
        lag_us,
        statuses,
        // The modules are compared by their digests.
        generation: _,
        // How it is done, not what.
        output: _,
        resources: _,
        resume: _,
        max_quarantined: _,
    } = options;
    let entries = [
        ("the service", service.clone()),
        ("the spine", spine.display().to_string()),
        ("the time column", time_column.clone()),
        ("the condition", or_none(filter.to_string())),
        (
            "the freeze",
            freeze_at.map_or("none".to_owned(), |time| time.to_string()),
        ),
        ("the lag", format!("{lag_us} us")),
        ("whether statuses are written", statuses.to_string()),
    ];
    let entries = entries.map(|(name, value)| (name.to_owned(), value));
    // Of the definitions, what is worth a name of its own: it changes which events count.
    let latenesses = plan.views.iter().filter_map(|step| {
        let lateness = step.lateness?;
        Some((format!("the lateness of view `{}`", step.view), lateness.to_string()))
    });
    entries.into_iter().chain(latenesses).collect()
}

fn or_none(text: String) -> String {
    if text.is_empty() { "none".to_owned() } else { text }
}

/// The plan, and for each of its views where its history is from.
fn definitions(plan: &Plan, project: &Project) -> Digest {
    let sources = plan.views.iter().map(|step| {
        let view = project.view_source(&step.view);
        let source = view.and_then(|view| project.source(&view.source));
        (view, source)
    });
    // For the process that writes it and others of its version, which all write it the same way.
    let text = format!("{plan:?} {:?}", sources.collect::<Vec<_>>());
    Digest::of(text.as_bytes())
}

#[cfg(test)]
mod tests;
