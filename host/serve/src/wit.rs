//! The contract's types as the engine lifts them: wit/transform.wit.

use unskew_frame::ColumnType;
use wasmtime::component::{ComponentType, Lift};

use crate::descriptor;

pub const METADATA: &str = "unskew:transform/metadata@0.1.0";
pub const ROW: &str = "unskew:transform/row@0.1.0";
pub const AGGREGATE: &str = "unskew:transform/aggregate@0.1.0";

#[derive(ComponentType, Lift)]
#[component(variant)]
pub enum WitColumnType {
    #[component(name = "float64")]
    Float64,
    #[component(name = "float32")]
    Float32,
    #[component(name = "int64")]
    Int64,
    #[component(name = "boolean")]
    Boolean,
    #[component(name = "timestamp")]
    Timestamp,
    #[component(name = "text")]
    Text,
    #[component(name = "bytes")]
    Bytes,
    #[component(name = "vector")]
    Vector(u32),
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub struct WitColumn {
    name: String,
    #[component(name = "column-type")]
    column_type: WitColumnType,
    nullable: bool,
    doc: String,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub struct WitWindow {
    name: String,
    #[component(name = "length-us")]
    length_us: i64,
    #[component(name = "hop-us")]
    hop_us: i64,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub struct WitAggregation {
    events: Vec<WitColumn>,
    windows: Vec<WitWindow>,
    #[component(name = "state-version")]
    state_version: u32,
    #[component(name = "readable-state-versions")]
    readable_state_versions: Vec<u32>,
}

#[derive(ComponentType, Lift)]
#[component(variant)]
pub enum WitKind {
    #[component(name = "row")]
    Row,
    #[component(name = "aggregate")]
    Aggregate(WitAggregation),
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub struct WitDescriptor {
    name: String,
    version: String,
    owner: String,
    description: String,
    inputs: Vec<WitColumn>,
    outputs: Vec<WitColumn>,
    kind: WitKind,
}

/// `row.error`.
#[derive(ComponentType, Lift)]
#[component(variant)]
pub enum WitRowError {
    #[component(name = "frame")]
    Frame(String),
}

/// `aggregate.error`.
#[derive(ComponentType, Lift)]
#[component(variant)]
pub enum WitAggregateError {
    #[component(name = "frame")]
    Frame(String),
    #[component(name = "state-version")]
    StateVersion(u32),
    #[component(name = "state")]
    State(String),
    #[component(name = "query-before-state")]
    QueryBeforeState(String),
}

impl From<WitRowError> for String {
    fn from(error: WitRowError) -> Self {
        match error {
            WitRowError::Frame(reason) => format!("frame: {reason}"),
        }
    }
}

impl From<WitAggregateError> for String {
    fn from(error: WitAggregateError) -> Self {
        match error {
            WitAggregateError::Frame(reason) => format!("frame: {reason}"),
            WitAggregateError::StateVersion(version) => {
                format!(
                    "the state is of version {version:#010x}, which this module does not read: rebuild it from its events"
                )
            }
            WitAggregateError::State(place) => format!("{place} is damaged"),
            WitAggregateError::QueryBeforeState(place) => format!("{place} is not later than the events of its state"),
        }
    }
}

impl TryFrom<WitDescriptor> for descriptor::Descriptor {
    type Error = String;

    fn try_from(wit: WitDescriptor) -> Result<Self, String> {
        let kind = match wit.kind {
            WitKind::Row => descriptor::Kind::Row,
            WitKind::Aggregate(aggregation) => descriptor::Kind::Aggregate(descriptor::Aggregation {
                events: columns("events", aggregation.events)?,
                windows: aggregation
                    .windows
                    .into_iter()
                    .map(|window| descriptor::Window {
                        name: window.name,
                        length_us: window.length_us,
                        hop_us: window.hop_us,
                    })
                    .collect(),
                state_version: aggregation.state_version,
                readable_state_versions: aggregation.readable_state_versions,
            }),
        };
        let outputs = columns("outputs", wit.outputs)?;
        if outputs.is_empty() {
            return Err("it has no outputs".to_owned());
        }
        Ok(Self {
            name: wit.name,
            version: wit.version,
            owner: wit.owner,
            description: wit.description,
            inputs: columns("inputs", wit.inputs)?,
            outputs,
            kind,
        })
    }
}

fn columns(what: &str, columns: Vec<WitColumn>) -> Result<Vec<descriptor::ColumnDescriptor>, String> {
    let mut described: Vec<descriptor::ColumnDescriptor> = Vec::with_capacity(columns.len());
    for column in columns {
        if column.name.is_empty() || column.name.contains(':') {
            return Err(format!("`{}` is no name for one of the {what}", column.name));
        }
        if described.iter().any(|other| other.name == column.name) {
            return Err(format!("two of the {what} are called `{}`", column.name));
        }
        let column_type = match column.column_type {
            WitColumnType::Float64 => ColumnType::F64,
            WitColumnType::Float32 => ColumnType::F32,
            WitColumnType::Int64 => ColumnType::I64,
            WitColumnType::Boolean => ColumnType::Bool,
            WitColumnType::Timestamp => ColumnType::Timestamp,
            WitColumnType::Text => ColumnType::String,
            WitColumnType::Bytes => ColumnType::Bytes,
            WitColumnType::Vector(len) => ColumnType::from_tag(ColumnType::Vector(len).tag(), len)
                .ok_or_else(|| format!("`{}` is a vector of length {len}", column.name))?,
        };
        described.push(descriptor::ColumnDescriptor {
            name: column.name,
            column_type,
            nullable: column.nullable,
            doc: column.doc,
        });
    }
    Ok(described)
}
