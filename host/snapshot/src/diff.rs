use core::cmp::Ordering;

use unskew_frame::{ColumnType, Value};

use crate::{KeyRef, Layers, Row, SnapshotSchema};

/// What differs between two snapshots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotDiff {
    /// Keys that only the second has.
    pub added: u64,
    /// Keys that only the first has.
    pub removed: u64,
    /// Keys of both whose event time or a value of a feature of both differs.
    pub changed: u64,
    /// Keys of both that are the same.
    pub unchanged: u64,
    /// Of the changed: those with another event time.
    pub event_time_changed: u64,
    /// The features of the first, in order, then those that only the second has.
    pub features: Vec<FeatureDiff>,
}

/// What differs in a feature.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FeatureDiff {
    /// Its name.
    pub name: String,
    /// Its types in the first and in the second; `None` where it is not there. Values of different types are not compared.
    pub types: [Option<ColumnType>; 2],
    /// Keys of both whose values differ, by their bits; a null is a value.
    pub changed: u64,
    /// Of those: keys whose value became null.
    pub became_null: u64,
    /// Of those: keys whose value was null.
    pub was_null: u64,
    columns: [Option<usize>; 2],
}

/// A key that two snapshots differ in.
#[derive(Clone, Copy, Debug)]
pub enum KeyDiff<'a> {
    /// Only the second has it.
    Added(KeyRef<'a>, Row<'a>),
    /// Only the first has it.
    Removed(KeyRef<'a>, Row<'a>),
    /// Both have it, with different rows.
    Changed(KeyRef<'a>, [Row<'a>; 2]),
}

/// Two snapshots have entity keys of different types.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the entity keys have different types, ({before}) and ({after}), so no key is in both")]
pub struct DiffError {
    /// The types of the first.
    before: String,
    /// The types of the second.
    after: String,
}

impl SnapshotDiff {
    /// Whether every key and every feature is the same.
    pub fn is_empty(&self) -> bool {
        let is_same = |feature: &FeatureDiff| feature.types[0] == feature.types[1];
        self.added + self.removed + self.changed == 0 && self.features.iter().all(is_same)
    }
}

/// Compares two snapshots, deltas on them included, key by key in one pass over both, and tells `visit` of each key that differs, in the canonical order.
///
/// # Errors
/// The entity keys are of different types.
pub fn diff<'a>(
    before: &'a Layers,
    after: &'a Layers,
    visit: &mut dyn FnMut(KeyDiff<'a>),
) -> Result<SnapshotDiff, DiffError> {
    check_keys(before.schema(), after.schema())?;
    let mut diff = SnapshotDiff {
        features: features([before.schema(), after.schema()]),
        ..SnapshotDiff::default()
    };
    let (mut befores, mut afters) = (before.iter().peekable(), after.iter().peekable());
    loop {
        let order = match (befores.peek(), afters.peek()) {
            (None, None) => return Ok(diff),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((a, _)), Some((b, _))) => (a.hash(), a).cmp(&(b.hash(), b)),
        };
        let row_before = if order.is_le() { befores.next() } else { None };
        let row_after = if order.is_ge() { afters.next() } else { None };
        match (row_before, row_after) {
            (Some((key, row)), None) => {
                diff.removed += 1;
                visit(KeyDiff::Removed(key, row));
            }
            (None, Some((key, row))) => {
                diff.added += 1;
                visit(KeyDiff::Added(key, row));
            }
            (Some((key, row)), Some((_, row_after))) => {
                if diff.count([row, row_after]) {
                    visit(KeyDiff::Changed(key, [row, row_after]));
                }
            }
            (None, None) => return Ok(diff),
        }
    }
}

impl SnapshotDiff {
    /// Counts a key of both; whether its rows differ.
    fn count(&mut self, rows: [Row<'_>; 2]) -> bool {
        let [before, after] = rows;
        let mut is_changed = before.event_time() != after.event_time();
        self.event_time_changed += u64::from(is_changed);
        for feature in &mut self.features {
            let [Some(a), Some(b)] = feature.columns else { continue };
            if feature.types[0] != feature.types[1] {
                continue;
            }
            let (a, b) = (before.value(a), after.value(b));
            if !is_same_bits(a, b) {
                is_changed = true;
                feature.changed += 1;
                feature.became_null += u64::from(b.is_null());
                feature.was_null += u64::from(a.is_null());
            }
        }
        self.changed += u64::from(is_changed);
        self.unchanged += u64::from(!is_changed);
        is_changed
    }
}

impl FeatureDiff {
    /// Whether the feature is in both, with one type, so that its values were compared.
    pub fn is_compared(&self) -> bool {
        self.types[0].is_some() && self.types[0] == self.types[1]
    }
}

/// Values as the file has them: 0.0 is not -0.0, and NaN is NaN.
fn is_same_bits(a: Value<'_>, b: Value<'_>) -> bool {
    let is_same_f32 = |a: f32, b: f32| a.to_bits() == b.to_bits();
    match (a, b) {
        (Value::F64(a), Value::F64(b)) => a.to_bits() == b.to_bits(),
        (Value::F32(a), Value::F32(b)) => is_same_f32(a, b),
        (Value::Vector(a), Value::Vector(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same_f32(*a, *b)),
        (a, b) => a == b,
    }
}

fn features(schemas: [&SnapshotSchema; 2]) -> Vec<FeatureDiff> {
    let named = |name: &str| {
        let columns = schemas.map(|schema| schema.feature_index(name));
        FeatureDiff {
            name: name.to_owned(),
            types: [0, 1].map(|side| columns[side].map(|column| schemas[side].features[column].column_type)),
            changed: 0,
            became_null: 0,
            was_null: 0,
            columns,
        }
    };
    let new = schemas[1]
        .features
        .iter()
        .filter(|feature| schemas[0].feature_index(&feature.name).is_none());
    schemas[0]
        .features
        .iter()
        .chain(new)
        .map(|feature| named(&feature.name))
        .collect()
}

fn check_keys(before: &SnapshotSchema, after: &SnapshotSchema) -> Result<(), DiffError> {
    if before.key_types() == after.key_types() {
        return Ok(());
    }
    let types = |schema: &SnapshotSchema| {
        let types: Vec<String> = schema.key_types().iter().map(ToString::to_string).collect();
        types.join(", ")
    };
    Err(DiffError {
        before: types(before),
        after: types(after),
    })
}

#[cfg(test)]
mod tests;
