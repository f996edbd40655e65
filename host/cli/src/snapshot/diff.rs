use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value as Json, json};
use unskew_frame::ColumnType;
use unskew_snapshot::{FeatureDiff, KeyDiff, Layers, Row, SnapshotDiff, SnapshotSchema, diff};

use super::layers::{open_layers, open_whole, whole};
use super::open;
use crate::answer::{Answer, Facts, grouped, titled_table};
use crate::failure::Failure;
use crate::value::{value_json, value_text};

/// Show what differs between two snapshots.
///
/// Counts the keys that were added, removed and changed, and for each feature the keys whose value changed, became null or was
/// null; then the first keys that differ. Values are compared by their bits. That they differ is an answer and no
/// failure: read `added`, `removed` and `changed` of `--json`. A snapshot and deltas on it show what all the deltas change.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  unskew snapshot diff yesterday.snapshot today.snapshot --keys 20")]
pub struct Diff {
    /// The first snapshot.
    before: PathBuf,
    /// The second, or the deltas on the first in the order of their numbers.
    #[arg(required = true)]
    after: Vec<PathBuf>,
    /// How many of the keys that differ are shown.
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    keys: usize,
}

/// A key that differs, as it is shown.
struct Shown {
    key: String,
    text: Vec<String>,
    json: Json,
}

impl Diff {
    pub fn run(self) -> Result<Answer, Failure> {
        let before = open_whole(&self.before)?;
        let after = match &self.after[..] {
            [after] => {
                let snapshot = open(after)?;
                match snapshot.meta().delta {
                    None => whole(after, snapshot)?,
                    Some(_) => open_layers(&self.before, &self.after)?,
                }
            }
            deltas => open_layers(&self.before, deltas)?,
        };
        Ok(compare([&before, &after], self.keys)?.1)
    }
}

/// What differs between two snapshots, and the same in words with the first keys that do.
pub fn compare(snapshots: [&Layers; 2], keys: usize) -> Result<(SnapshotDiff, Answer), Failure> {
    let schemas = snapshots.map(|snapshot| snapshot.schema());
    let mut shown = Vec::new();
    let found = diff(snapshots[0], snapshots[1], &mut |key| {
        if shown.len() < keys {
            shown.push(show(key, schemas));
        }
    })
    .map_err(|error| Failure::from(error).help("give two snapshots of one view"))?;

    let mut facts = Facts::default()
        .with("added", grouped(found.added))
        .with("removed", grouped(found.removed))
        .with("changed", grouped(found.changed))
        .with("unchanged", grouped(found.unchanged))
        .with("event time", grouped(found.event_time_changed));
    let watermarks = snapshots.map(|snapshot| snapshot.watermark().to_string());
    facts = facts.with("watermarks", watermarks.join(" -> "));
    let features = found.features.iter().map(feature_line).collect();
    let lines = shown
        .iter()
        .flat_map(|key| key.text.iter().map(|line| vec![key.key.clone(), line.clone()]));
    let text = facts.text()
        + &titled_table(
            "features",
            &["name", "type", "changed", "became null", "was null"],
            features,
        )
        + &titled_table("keys that differ", &["key", "what"], lines.collect());
    let json = json!({
        "added": found.added,
        "removed": found.removed,
        "changed": found.changed,
        "unchanged": found.unchanged,
        "event_time_changed": found.event_time_changed,
        "watermarks": watermarks,
        "features": found.features.iter().map(feature_json).collect::<Json>(),
        "keys": shown.into_iter().map(|key| key.json).collect::<Json>(),
    });
    Ok((found, Answer::new(text, json)))
}

fn feature_line(feature: &FeatureDiff) -> Vec<String> {
    let name = |of_type: Option<ColumnType>| of_type.map_or("none".to_owned(), |of_type| of_type.to_string());
    let [before, after] = feature.types.map(name);
    let count = |count| {
        if feature.is_compared() {
            grouped(count)
        } else {
            String::new()
        }
    };
    vec![
        feature.name.clone(),
        if before == after {
            before
        } else {
            format!("{before} -> {after}")
        },
        count(feature.changed),
        count(feature.became_null),
        count(feature.was_null),
    ]
}

fn feature_json(feature: &FeatureDiff) -> Json {
    json!({
        "name": feature.name,
        "types": feature.types.map(|of_type| of_type.map(|of_type| of_type.to_string())),
        "changed": feature.changed,
        "became_null": feature.became_null,
        "was_null": feature.was_null,
    })
}

/// What happened to a key: of a changed one, the features whose values differ.
fn show(key: KeyDiff<'_>, schemas: [&SnapshotSchema; 2]) -> Shown {
    let (key, rows, what) = match key {
        KeyDiff::Added(key, row) => (key, [None, Some(row)], "added"),
        KeyDiff::Removed(key, row) => (key, [Some(row), None], "removed"),
        KeyDiff::Changed(key, [before, after]) => (key, [Some(before), Some(after)], "changed"),
    };
    let mut text = Vec::new();
    let mut changes = Map::new();
    if let [Some(before), Some(after)] = rows {
        if before.event_time() != after.event_time() {
            text.push(format!("event time {} -> {}", before.event_time(), after.event_time()));
        }
        for (column, feature) in schemas[0].features.iter().enumerate() {
            let Some(other) = schemas[1].feature_index(&feature.name) else {
                continue;
            };
            if schemas[1].features[other].column_type != feature.column_type {
                continue;
            }
            let values = [before.value(column), after.value(other)];
            let [a, b] = values.map(value_text);
            // As text: what differs in bits alone, NaN aside, differs in text.
            if a != b {
                text.push(format!("{} {a} -> {b}", feature.name));
                changes.insert(feature.name.clone(), json!(values.map(value_json)));
            }
        }
    } else {
        text.push(what.to_owned());
    }
    let times = rows.map(|row: Option<Row<'_>>| row.map(|row| row.event_time().to_string()));
    Shown {
        key: key.to_string(),
        text,
        json: json!({ "key": key.to_string(), "what": what, "event_times": times, "features": changes }),
    }
}
