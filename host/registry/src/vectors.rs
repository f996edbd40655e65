//! Golden vectors: what the author of a transform says that it gives.
//!
//! They are a file of TOML beside the crate's manifest ([`VECTORS_FILE`]), carried in the component as a section of its own, so
//! that its digest covers them. Where a transform is built, checked or published, the component itself must give what they say;
//! then they are golden calls, which every host makes before it serves the module.

use serde::Deserialize;
use toml::Value as Toml;
use unskew::{Column, ColumnDescriptor, Descriptor, EventTime, GoldenCall, GoldenFunction, Kind, Module, Value};

use crate::golden::LIMITS;
use crate::section::{CUSTOM_SECTION, HEADER_BYTES, Section, custom_section, push_section};

/// The file's name, in the folder of the crate.
pub const VECTORS_FILE: &str = "golden.toml";

/// The most bytes of the file.
pub const MAX_VECTORS_BYTES: usize = 256 << 10;
/// The most vectors of a module: each is a call or three at every activation.
pub const MAX_VECTORS: usize = 128;

const SECTION: &str = "unskew:golden";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, rename = "vector")]
    vectors: Vec<Vector>,
}

/// A row or a query, and what it gives.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    /// In words.
    #[serde(default)]
    what: String,
    /// Of an aggregate: what happened before, in any order.
    #[serde(default)]
    events: Vec<toml::Table>,
    /// Of an aggregate: the time of the query.
    at: Option<Toml>,
    /// The inputs; one that is not there is missing.
    #[serde(default, rename = "in")]
    inputs: toml::Table,
    /// The outputs; one that is not there is missing.
    out: Option<toml::Table>,
}

impl File {
    fn read(text: &str) -> Result<Self, VectorError> {
        let file: Self = toml::from_str(text).map_err(|error| VectorError::Syntax(error.to_string()))?;
        match file.vectors.len() {
            count if count > MAX_VECTORS => Err(VectorError::TooMany { count }),
            _ => Ok(file),
        }
    }
}

/// The component with the golden vectors of `text`, a file of TOML, in the place of those that it may have.
///
/// # Errors
/// The text is no such file, or too large; or the component's sections cannot be told apart.
pub fn embed_vectors(component: &[u8], text: &str) -> Result<Vec<u8>, VectorError> {
    if MAX_VECTORS_BYTES < text.len() {
        return Err(VectorError::TooLarge { bytes: text.len() });
    }
    File::read(text)?;
    let mut embedded = component.get(..HEADER_BYTES).unwrap_or_default().to_vec();
    for section in Section::all(component) {
        let section = section.map_err(VectorError::Component)?;
        if vectors_in(&section).is_none() {
            embedded.extend_from_slice(section.whole);
        }
    }
    push_section(
        &mut embedded,
        CUSTOM_SECTION,
        &[&custom_section(SECTION), text.as_bytes()].concat(),
    );
    Ok(embedded)
}

/// The golden vectors in a component, as its author wrote them; none if it has none.
pub fn embedded_vectors(component: &[u8]) -> Option<&str> {
    let mut sections = Section::all(component).map_while(Result::ok);
    std::str::from_utf8(sections.find_map(|section| vectors_in(&section))?).ok()
}

/// What a section has, if it is that of the vectors.
fn vectors_in<'a>(section: &Section<'a>) -> Option<&'a [u8]> {
    let custom = Some(section.content).filter(|_| section.id == CUSTOM_SECTION);
    custom?.strip_prefix(&custom_section(SECTION)[..])
}

/// The golden calls that a component's author asks for, which its module, as it is loaded here, answers as they say.
///
/// # Errors
/// The file is not of this module's types, or the module gives something else: the error names the vector and the column, and
/// says what the module gives.
pub fn vector_calls(component: &[u8], module: &Module) -> Result<Vec<GoldenCall>, VectorError> {
    let Some(text) = embedded_vectors(component) else {
        return Ok(Vec::new());
    };
    let mut calls = Vec::new();
    for (index, vector) in File::read(text)?.vectors.iter().enumerate() {
        let place = || match vector.what.as_str() {
            "" => format!("vector {}", index + 1),
            what => format!("vector {} ({what})", index + 1),
        };
        let of_vector = |reason: String| VectorError::Vector { place: place(), reason };
        calls.extend(vector.calls(module).map_err(of_vector)?);
    }
    Ok(calls)
}

impl Vector {
    fn calls(&self, module: &Module) -> Result<Vec<GoldenCall>, String> {
        let descriptor = module.descriptor();
        let call = |function, frames: Vec<Vec<Column>>| {
            let mut instance = module.instantiate(LIMITS).map_err(|error| error.to_string())?;
            let call = GoldenCall::record(&mut instance, descriptor, function, 1, frames);
            match &call.outcome {
                Ok(outputs) if matches!(function, GoldenFunction::Fold) => Ok((call.clone(), outputs.clone())),
                Ok(outputs) => {
                    self.compare(descriptor, function, outputs)?;
                    Ok((call.clone(), Vec::new()))
                }
                Err(error) => Err(format!("{function} fails: {error}")),
            }
        };
        let inputs = row(&self.inputs, &descriptor.inputs, "in")?;
        let Kind::Aggregate(aggregation) = &descriptor.kind else {
            if !self.events.is_empty() || self.at.is_some() {
                return Err("a row transform has neither `events` nor `at`".to_owned());
            }
            return Ok(vec![call(GoldenFunction::Apply, vec![inputs])?.0]);
        };
        let at = timestamp(
            self.at
                .as_ref()
                .ok_or("an aggregate needs `at`, the time of the query")?,
        )
        .map_err(|reason| format!("`at` {reason}"))?;
        let events = self.events(&aggregation.events, at)?;
        let none = vec![missing_state()];
        let query = |visible: Option<i64>| {
            let mut columns = vec![integer(0), time(at)];
            columns.extend(visible.map(integer));
            columns.extend(inputs.iter().cloned());
            columns
        };
        let visible = self.events.len() as i64;
        let (batch, _) = call(
            GoldenFunction::Batch,
            vec![none.clone(), events.clone(), query(Some(visible))],
        )?;
        let (fold, states) = call(GoldenFunction::Fold, vec![none, events])?;
        let (read, _) = call(GoldenFunction::Read, vec![states, query(None)])?;
        Ok(vec![batch, fold, read])
    }

    /// The frame of the events, all of one state.
    fn events(&self, columns: &[ColumnDescriptor], at: i64) -> Result<Vec<Column>, String> {
        let mut frame = vec![integer(0), time(0)];
        frame.extend(columns.iter().map(|column| Column::new(column.column_type)));
        frame.iter_mut().for_each(Column::clear);
        for (index, event) in self.events.iter().enumerate() {
            let place = format!("event {}", index + 1);
            let mut event = event.clone();
            let happened = event.remove("time").ok_or(format!("{place} has no `time`"))?;
            let happened = timestamp(&happened).map_err(|reason| format!("`time` of {place} {reason}"))?;
            if at <= happened {
                return Err(format!("{place} is not before `at`: no window has it"));
            }
            frame[0].push_i64(0);
            frame[1].push_timestamp(happened);
            for (to, from) in frame[2..].iter_mut().zip(row(&event, columns, &place)?) {
                to.extend_from(from.view(), 0..1);
            }
        }
        Ok(frame)
    }

    fn compare(&self, descriptor: &Descriptor, function: GoldenFunction, found: &[Column]) -> Result<(), String> {
        let outputs = &descriptor.outputs;
        let Some(out) = &self.out else {
            let given: Vec<String> = outputs
                .iter()
                .zip(found)
                .filter(|(_, column)| column.null_count() == 0)
                .map(|(output, column)| format!("{} = {}", output.name, shown(column.value(0))))
                .collect();
            return Err(format!(
                "there is no `out`; the component gives\nout = {{ {} }}",
                given.join(", ")
            ));
        };
        let expected = row(out, outputs, "out")?;
        for ((output, expected), found) in outputs.iter().zip(&expected).zip(found) {
            let (expected, found) = (expected.value(0), found.value(0));
            if expected != found {
                return Err(format!(
                    "{function} gives {} for `{}`, expected {}",
                    shown(found),
                    output.name,
                    shown(expected)
                ));
            }
        }
        Ok(())
    }
}

/// One row of columns from a table.
fn row(table: &toml::Table, columns: &[ColumnDescriptor], place: &str) -> Result<Vec<Column>, String> {
    let is_known = |name: &&String| columns.iter().any(|column| column.name == **name);
    if let Some(name) = table.keys().find(|name| !is_known(name)) {
        let known: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        return Err(format!(
            "{place} has no column `{name}`; there are {}",
            known.join(", ")
        ));
    }
    columns
        .iter()
        .map(|declared| {
            let mut column = Column::new(declared.column_type);
            match table.get(&declared.name) {
                None if declared.nullable => column.push_null(),
                None => return Err(format!("{place} needs `{}`", declared.name)),
                Some(value) => {
                    push(&mut column, value).map_err(|reason| format!("`{}` of {place} {reason}", declared.name))?
                }
            }
            Ok(column)
        })
        .collect()
}

fn push(column: &mut Column, value: &Toml) -> Result<(), String> {
    use unskew::ColumnType as Type;
    let expected = |what: &str| Err(format!("is not {what}: {value}"));
    let floats = |value: &Toml| match value {
        Toml::Float(value) => Some(*value),
        // What TOML takes for a whole number may stand for itself only.
        Toml::Integer(value) if value.unsigned_abs() <= 1 << 53 => Some(*value as f64),
        _ => None,
    };
    match (column.column_type(), value) {
        (Type::F64, value) => match floats(value) {
            Some(value) => column.push_f64(value),
            None => return expected("a number"),
        },
        (Type::F32, value) => match floats(value) {
            Some(value) => column.push_f32(value as f32),
            None => return expected("a number"),
        },
        (Type::I64, Toml::Integer(value)) => column.push_i64(*value),
        (Type::I64, _) => return expected("a whole number"),
        (Type::Bool, Toml::Boolean(value)) => column.push_bool(*value),
        (Type::Bool, _) => return expected("true or false"),
        (Type::Timestamp, value) => column.push_timestamp(timestamp(value)?),
        (Type::String, Toml::String(value)) => column.push_str(value),
        (Type::String, _) => return expected("a text"),
        (Type::Bytes, Toml::String(value)) => match bytes(value) {
            Some(value) => column.push_bytes(&value),
            None => return expected("bytes as pairs of hexadecimal digits"),
        },
        (Type::Bytes, _) => return expected("bytes as pairs of hexadecimal digits"),
        (Type::Vector(len), value) => {
            let values = value.as_array().map(Vec::as_slice).unwrap_or_default();
            let values: Option<Vec<f32>> = values.iter().map(|value| Some(floats(value)? as f32)).collect();
            match values.filter(|values| values.len() == len as usize) {
                Some(values) => column.push_vector(&values),
                None => return expected(&format!("a list of {len} numbers")),
            }
        }
    }
    Ok(())
}

fn timestamp(value: &Toml) -> Result<i64, String> {
    let time = match value {
        Toml::Integer(micros) => Some(*micros),
        Toml::Datetime(time) if time.offset.is_some() => {
            EventTime::parse_rfc3339(&time.to_string()).map(|time| time.as_micros())
        }
        _ => None,
    };
    time.ok_or_else(|| format!("is not a time with its zone, such as 2024-01-15T10:00:00Z, nor microseconds: {value}"))
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs
        .iter()
        .map(byte)
        .collect::<Option<Vec<u8>>>()
        .filter(|_| rest.is_empty())
}

/// A value as the file has it.
fn shown(value: Value<'_>) -> String {
    let float = |value: f64| Toml::Float(value).to_string();
    match value {
        Value::Null => "nothing".to_owned(),
        Value::F64(value) => float(value),
        // Not widened, whose digits would be others.
        Value::F32(value) => format!("{value:?}"),
        Value::I64(value) => value.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Timestamp(micros) => EventTime::from_micros(micros).to_string(),
        Value::String(text) => Toml::String(text.to_owned()).to_string(),
        Value::Bytes(bytes) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("\"{digits}\"")
        }
        Value::Vector(values) => format!("{values:?}"),
    }
}

fn integer(value: i64) -> Column {
    let mut column = Column::new(unskew::ColumnType::I64);
    column.push_i64(value);
    column
}

fn time(micros: i64) -> Column {
    let mut column = Column::new(unskew::ColumnType::Timestamp);
    column.push_timestamp(micros);
    column
}

fn missing_state() -> Column {
    let mut column = unskew::state_column();
    column.push_null();
    column
}

/// Why golden vectors do not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VectorError {
    /// The file is not TOML, or has what such a file does not have.
    #[error("{VECTORS_FILE}: {0}")]
    Syntax(String),
    /// The component is none.
    #[error("it is no component: {0}")]
    Component(String),
    /// The file is too large.
    #[error("{VECTORS_FILE} has {bytes} bytes; there may be {MAX_VECTORS_BYTES}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The file has too many vectors.
    #[error("{VECTORS_FILE} has {count} vectors; there may be {MAX_VECTORS}")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// A vector is not of the module's types, or the module gives something else.
    #[error("{VECTORS_FILE}, {place}: {reason}")]
    Vector {
        /// Which.
        place: String,
        /// What is wrong.
        reason: String,
    },
}

#[cfg(test)]
mod tests;
