//! What is defined: entities, views of them, and the services that models read. A project file and a generation's manifest
//! hold the same types.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use unskew_frame::ColumnType;
use unskew_snapshot::{KeyType, Lateness};

/// The name under which the prediction time is an input of every transform that asks for it.
pub const PREDICTION_TIME: &str = "prediction_time";

/// What is defined: entities, views of them, and the services that models read. Project files hold it for a backfill,
/// generations for a host; both resolve it with [`Plan::resolve`](crate::Plan::resolve).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    /// The things that features are about.
    #[serde(default, rename = "entity")]
    pub entities: Vec<Entity>,
    /// The features of an entity, from one source.
    #[serde(default, rename = "view")]
    pub views: Vec<View>,
    /// The vectors that models read.
    #[serde(default, rename = "service")]
    pub services: Vec<Service>,
}

/// What a key identifies: a user, an item, a user on a campaign.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entity {
    /// Unique among entities.
    pub name: String,
    /// The columns of its key, in order. Requests, spines and sources carry them by these names.
    pub keys: Vec<EntityColumn>,
}

/// One column of an entity's key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntityColumn {
    /// The name of the column.
    pub name: String,
    /// Its type.
    #[serde(rename = "type", with = "as_text")]
    pub key_type: KeyType,
}

/// The features of one entity: columns of a source, or an aggregate over its events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct View {
    /// Unique among views; `view:feature` names a feature.
    pub name: String,
    /// The name of the entity.
    pub entity: String,
    /// How long a value lives after its event time, in microseconds; for ever if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_us: Option<u64>,
    /// The columns that the source gives. Empty for an aggregate, whose features are its module's outputs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<Field>,
    /// The aggregate that folds the source's events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregate: Option<ModuleUse>,
    /// How old its snapshot may be when it is served, and what happens then; any age if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staleness: Option<Staleness>,
    /// How much later than it happened an event may become known and still count, in microseconds: see
    /// [`is_late`](unskew_snapshot::is_late). Of an aggregate alone; for ever if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lateness_us: Option<u64>,
}

impl View {
    /// How late an event may become known and still count.
    pub fn lateness(&self) -> Option<Lateness> {
        self.lateness_us.map(Lateness::from_micros)
    }
}

/// How old a snapshot may be. Its age is the prediction time of a request less the snapshot's watermark: no clock is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Staleness {
    /// The greatest age that is not stale, in microseconds.
    pub max_age_us: u64,
    /// What happens to requests beyond it.
    #[serde(default)]
    pub when_stale: WhenStale,
}

/// What happens to a request that reads a view whose snapshot is too old.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenStale {
    /// The old values are served; only readiness tells.
    #[default]
    Serve,
    /// The view's values are missing, with [`Status::Stale`](crate::Status::Stale).
    Missing,
    /// The request fails with [`EvaluateError::Stale`](crate::EvaluateError::Stale).
    Fail,
}

/// A named, typed column: of a view, or of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// The name of the column.
    pub name: String,
    /// Its type.
    #[serde(rename = "type", with = "as_text")]
    pub column_type: ColumnType,
    /// Whether a request may leave it out. A feature of a view may always be missing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nullable: bool,
}

/// A module and where its inputs come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModuleUse {
    /// The module's name.
    pub module: String,
    /// By input. An input that is not here is the field of its own name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, Binding>,
}

/// Where an input comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Binding {
    /// The same for every row.
    Bool(bool),
    /// The same for every row; an f64 input takes it too where it is exact.
    I64(i64),
    /// The same for every row.
    F64(f64),
    /// A field of the request, `view:feature`, `transform:output` or [`PREDICTION_TIME`].
    Reference(String),
    /// The same for every row.
    Text {
        /// The constant.
        text: String,
    },
}

/// The vector that a model reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Unique among services.
    pub name: String,
    /// The fields that a request has once.
    #[serde(default)]
    pub request: Vec<Field>,
    /// The fields that each candidate has.
    #[serde(default)]
    pub candidate: Vec<Field>,
    /// Row transforms, each after those it reads.
    #[serde(default, rename = "transform")]
    pub transforms: Vec<Transform>,
    /// The features in the order of the model: fields, `view:feature` and `transform:output`.
    pub features: Vec<String>,
    /// What takes the place of values that an aggregate or a transform could not give, because it trapped, was late or gave
    /// nonsense: by `view:feature` or `transform:output`. Without one the value is missing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fallbacks: BTreeMap<String, Constant>,
}

/// A value that a definition gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Constant {
    /// Of a bool.
    Bool(bool),
    /// Of an i64 or a timestamp; of a float where it is exact.
    I64(i64),
    /// Of a float.
    F64(f64),
    /// Of a string.
    Text(String),
}

/// A row transform in a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transform {
    /// Unique within the service and among views; `transform:output` names a feature.
    pub name: String,
    /// The module's name.
    pub module: String,
    /// By input. An input that is not here is the field of its own name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, Binding>,
}

mod as_text {
    use super::*;

    pub fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}
