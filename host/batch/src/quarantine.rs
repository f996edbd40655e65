use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use unskew_frame::Value;
use unskew_snapshot::EventTime;

/// A row of the spine for which a component failed. The row is in the training set: what the component gives is missing there,
/// or the fallback that the service declares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quarantined {
    /// The number of the row in the spine, from 1; over all of its files.
    pub row: u64,
    /// The prediction time, as RFC 3339.
    pub prediction_time: String,
    /// The fields of the entity keys that the service reads; without any, all fields.
    pub key: BTreeMap<String, serde_json::Value>,
    /// The name of the transform or of the view.
    pub step: String,
    /// Its module.
    pub module: String,
    /// What went wrong.
    pub reason: String,
}

/// Where the rows of a training set are named for which a component failed: one JSON object a line.
pub fn quarantine_path(output: &Path) -> PathBuf {
    let mut path = output.as_os_str().to_owned();
    path.push(".quarantine.jsonl");
    path.into()
}

/// A value as JSON: a time as RFC 3339, bytes as hexadecimal digits, a float that JSON has no number for as its name.
pub(crate) fn json_value(value: Value<'_>) -> serde_json::Value {
    let float = |value: f64| match serde_json::Number::from_f64(value) {
        Some(number) => number.into(),
        None => value.to_string().into(),
    };
    match value {
        Value::Null => serde_json::Value::Null,
        Value::F64(value) => float(value),
        Value::F32(value) => float(value.into()),
        Value::I64(value) => value.into(),
        Value::Bool(value) => value.into(),
        Value::Timestamp(micros) => EventTime(micros).to_string().into(),
        Value::String(text) => text.into(),
        Value::Bytes(bytes) => bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
            .into(),
        Value::Vector(values) => values.iter().map(|value| float((*value).into())).collect(),
    }
}
