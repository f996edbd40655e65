use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};
use toml::Spanned;
use unskew::catalog::{Binding, EntityColumn, Service, WhenStale};
use unskew_frame::ColumnType;

use super::error::{Problem, Wrong};
use crate::nearest::nearest;

/// A project file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProject {
    pub(super) project: RawHead,
    #[serde(default)]
    pub(super) entity: Vec<RawEntity>,
    #[serde(default)]
    pub(super) source: Vec<RawSource>,
    #[serde(default)]
    pub(super) view: Vec<RawView>,
    #[serde(default)]
    pub(super) service: Vec<Spanned<Service>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHead {
    pub(super) name: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEntity {
    pub(super) name: Spanned<String>,
    #[serde(default)]
    pub(super) keys: Vec<Spanned<EntityColumn>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSource {
    pub(super) name: Spanned<String>,
    pub(super) path: String,
    pub(super) event_time: Option<String>,
    pub(super) known_at: Option<String>,
    #[serde(default)]
    pub(super) types: BTreeMap<String, Parsed<ColumnType>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawView {
    pub(super) name: Spanned<String>,
    pub(super) entity: Spanned<String>,
    pub(super) source: Spanned<String>,
    pub(super) ttl: Option<Spanned<String>>,
    pub(super) max_age: Option<Spanned<String>>,
    pub(super) when_stale: Option<Spanned<WhenStale>>,
    pub(super) lateness: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) keys: BTreeMap<Spanned<String>, String>,
    pub(super) features: Option<Vec<RawFeature>>,
    pub(super) module: Option<String>,
    pub(super) events: Option<Spanned<BTreeMap<String, String>>>,
    pub(super) inputs: Option<Spanned<BTreeMap<String, Binding>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFeature {
    pub(super) name: Spanned<String>,
    #[serde(rename = "type")]
    pub(super) column_type: Parsed<ColumnType>,
    pub(super) column: Option<String>,
}

/// A value that is written as text.
pub(super) struct Parsed<T>(pub(super) T);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

pub(super) fn parse(text: &str) -> Result<RawProject, Wrong> {
    toml::from_str(text).map_err(|error| Wrong {
        span: error.span().unwrap_or_default(),
        problem: Problem::Syntax(suggest(error.message())),
    })
}

/// What Feast calls settings that have other names here.
const FEAST: [(&str, &str); 9] = [
    ("timestamp_field", "event_time"),
    ("event_timestamp_column", "event_time"),
    ("created_timestamp_column", "known_at"),
    ("join_keys", "keys"),
    ("join_key", "keys"),
    ("schema", "features"),
    ("entities", "entity"),
    ("dtype", "type"),
    ("feature_view", "view"),
];

/// Adds the known setting that an unknown one was probably meant to be. Serde's message is
/// "unknown field `sorce`, expected one of `name`, `source`".
fn suggest(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let meant = quoted
        .next()
        .filter(|_| message.starts_with("unknown field"))
        .and_then(|unknown| {
            let known: Vec<&str> = quoted.collect();
            let feast = FEAST
                .iter()
                .find(|(feast, ours)| *feast == unknown && known.contains(ours));
            feast.map(|(_, ours)| *ours).or_else(|| nearest(unknown, known))
        });
    match meant {
        Some(meant) => format!("{message}: did you mean `{meant}`?"),
        None => message.to_owned(),
    }
}
