//! The contract's types as the engine lifts them: wit/transform.wit.

use std::collections::BTreeSet;

use unskew_frame::{ColumnType, MAX_COLUMNS};
use wasmtime::component::{ComponentType, Lift};

use crate::descriptor;

pub const METADATA: &str = "unskew:transform/metadata@0.1.0";
pub const ROW: &str = "unskew:transform/row@0.1.0";
pub const AGGREGATE: &str = "unskew:transform/aggregate@0.1.0";

/// The most bytes of a name or a version, which stand in manifests, metrics and errors.
const MAX_NAME_BYTES: usize = 256;
/// The most bytes of a text for people: an owner, a description, a column's doc.
const MAX_TEXT_BYTES: usize = 16 << 10;
/// The most windows, and the most versions of a state that can be read.
const MAX_WINDOWS: usize = 1_024;
/// The columns of a frame that the contract puts before the declared ones: state-index, query-time, visible.
const CONTRACT_COLUMNS: usize = 3;

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
        name("the module", &wit.name)?;
        name("the version", &wit.version)?;
        text("the owner", &wit.owner)?;
        text("the description", &wit.description)?;
        let kind = match wit.kind {
            WitKind::Row => descriptor::Kind::Row,
            WitKind::Aggregate(aggregation) => descriptor::Kind::Aggregate(aggregation.try_into()?),
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

impl TryFrom<WitAggregation> for descriptor::Aggregation {
    type Error = String;

    fn try_from(wit: WitAggregation) -> Result<Self, String> {
        count("windows", wit.windows.len(), MAX_WINDOWS)?;
        count(
            "readable state versions",
            wit.readable_state_versions.len(),
            MAX_WINDOWS,
        )?;
        let window = |window: WitWindow| {
            name("a window", &window.name)?;
            Ok(descriptor::Window {
                name: window.name,
                length_us: window.length_us,
                hop_us: window.hop_us,
            })
        };
        Ok(Self {
            events: columns("events", wit.events)?,
            windows: wit.windows.into_iter().map(window).collect::<Result<_, String>>()?,
            state_version: wit.state_version,
            readable_state_versions: wit.readable_state_versions,
        })
    }
}

fn columns(what: &str, columns: Vec<WitColumn>) -> Result<Vec<descriptor::ColumnDescriptor>, String> {
    count(what, columns.len(), MAX_COLUMNS - CONTRACT_COLUMNS)?;
    let mut names = BTreeSet::new();
    for column in &columns {
        name(&format!("one of the {what}"), &column.name)?;
        if column.name.contains(':') {
            return Err(format!("`{}` is no name for one of the {what}", column.name));
        }
        if !names.insert(column.name.as_str()) {
            return Err(format!("two of the {what} are called `{}`", column.name));
        }
        text(&format!("the doc of `{}`", column.name), &column.doc)?;
    }
    columns.into_iter().map(described).collect()
}

fn described(column: WitColumn) -> Result<descriptor::ColumnDescriptor, String> {
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
    Ok(descriptor::ColumnDescriptor {
        name: column.name,
        column_type,
        nullable: column.nullable,
        doc: column.doc,
    })
}

fn name(of: &str, name: &str) -> Result<(), String> {
    if name.len() > MAX_NAME_BYTES {
        return Err(format!(
            "the name of {of} has {} bytes, more than {MAX_NAME_BYTES}",
            name.len()
        ));
    }
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(format!("`{}` is no name for {of}", name.escape_debug()));
    }
    Ok(())
}

fn text(what: &str, text: &str) -> Result<(), String> {
    if text.len() <= MAX_TEXT_BYTES {
        return Ok(());
    }
    Err(format!("{what} has {} bytes, more than {MAX_TEXT_BYTES}", text.len()))
}

fn count(what: &str, count: usize, limit: usize) -> Result<(), String> {
    if count <= limit {
        return Ok(());
    }
    Err(format!("it has {count} {what}, more than {limit}"))
}
