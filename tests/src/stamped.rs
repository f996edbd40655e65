//! Stores of generations whose every row, and whose module's every output, says which generation it is of.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io;
use std::path::Path;

use unskew::{
    ColumnType, EntityKey, EventTime, Features, Host, KeyPart, Request, Session, SnapshotEntry, Status, Store, Value,
};
use unskew_batch::Project;
use unskew_registry::{Draft, commit, load_modules, module_entries, put_snapshot};
use unskew_snapshot::{FeatureColumn, KeyColumn, KeyType, SnapshotSchema, SnapshotWriter, WriteOptions};

use crate::hostile::Guest;
use crate::runtime;

/// The width of a row with its key.
pub const ROW_BYTES: u64 = 64;
/// Beside the stamp.
const VALUES: usize = 4;
/// By users and by items.
pub const VIEWS: [&str; 2] = ["users", "items"];
const TIME: EventTime = EventTime(1_705_276_800_000_000);
/// When requests ask.
pub const NOW: EventTime = EventTime(TIME.0 + 1);

const PROJECT: &str = r#"
[project]
name = "swap"

[[entity]]
name = "user"
keys = [{ name = "user", type = "i64" }]

[[entity]]
name = "item"
keys = [{ name = "item", type = "i64" }]

[[source]]
name = "rows"
path = "rows.csv"
event_time = "time"

[[view]]
name = "users"
entity = "user"
source = "rows"
features = [{ name = "stamp", type = "i64" }, { name = "v0", type = "f64" }, { name = "v1", type = "f64" },
            { name = "v2", type = "f64" }, { name = "v3", type = "f64" }]

[[view]]
name = "items"
entity = "item"
source = "rows"
features = [{ name = "stamp", type = "i64" }, { name = "v0", type = "f64" }, { name = "v1", type = "f64" },
            { name = "v2", type = "f64" }, { name = "v3", type = "f64" }]

[[service]]
name = "ranker"
request = [{ name = "user", type = "i64" }]
candidate = [{ name = "item", type = "i64" }, { name = "x", type = "f64" }]
features = ["users:stamp", "items:stamp", "module:x", "users:v0", "users:v1", "users:v2", "users:v3", "items:v0", "items:v1",
            "items:v2", "items:v3"]

[[service.transform]]
name = "module"
module = "stamp"
"#;

/// The items of a request.
pub const ITEMS: usize = 32;
/// The user and the items of a request.
pub type Rows = [u64; ITEMS + 1];

/// Makes `store` a store of generations up to `generation` of `rows` rows in each of the views: adds one.
///
/// # Errors
/// A file cannot be written.
pub fn publish(store: &Store, generation: u64, rows: u64) -> Result<u64, Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("unskew.toml");
    let project = Project::parse(&path, PROJECT)?;
    let components = [Guest::constant("stamp", generation as f64).component()];
    let modules = load_modules(runtime(), store, &components)?;
    let mut snapshots = BTreeMap::new();
    for view in VIEWS {
        // In the store's file system, where a link will do.
        let path = store.root().join(format!("{}-{generation}.draft", std::process::id()));
        write(&path, view, generation, rows)?;
        let published = put_snapshot(store, &path);
        fs::remove_file(&path)?;
        let entry = SnapshotEntry {
            deltas: Vec::new(),
            digest: published?,
            watermark_us: NOW.0,
            row_count: rows,
            late_count: None,
        };
        snapshots.insert(view.to_owned(), entry);
    }
    let draft = Draft {
        catalog: project.catalog().clone(),
        modules: module_entries(store, &modules)?,
        snapshots,
    };
    Ok(commit(store, draft)?)
}

/// Makes another generation current, as a publisher does: in one step.
///
/// # Errors
/// The store cannot be written.
pub fn set_current(store: &Store, generation: u64) -> io::Result<()> {
    let draft = store.root().join(format!("{}.current", std::process::id()));
    fs::write(&draft, Store::encode_current(generation))?;
    fs::rename(draft, store.current_path())
}

/// The bytes of the snapshots of a generation.
///
/// # Errors
/// It cannot be read.
pub fn generation_bytes(store: &Store, generation: u64) -> Result<u64, Box<dyn Error>> {
    let mut bytes = 0;
    for entry in store.manifest(generation)?.snapshots.values() {
        bytes += fs::metadata(store.snapshot_path(&entry.digest))?.len();
    }
    Ok(bytes)
}

/// A request to fill.
///
/// # Errors
/// The host has no such service.
pub fn request(host: &Host) -> Result<Request, Box<dyn Error>> {
    let service = host.service("ranker").ok_or("there is no service `ranker`")?;
    Ok(service.request(NOW))
}

/// Asks for a user and items.
///
/// # Errors
/// The request is of another service.
pub fn fill(request: &mut Request, rows: &Rows) -> Result<(), Box<dyn Error>> {
    request.reset(NOW);
    request.set("user", Value::I64(rows[0] as i64))?;
    for item in &rows[1..] {
        request.push_candidate(&[Value::I64(*item as i64), Value::F64(0.5)])?;
    }
    Ok(())
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Every value of every row is there and of the generation that the request says it saw.
    Right,
    /// A value is another generation's, or another row's.
    Mixed,
    /// A value is missing, or all are.
    Failed,
}

/// Evaluates a request for these rows.
pub fn answer(session: &mut Session, request: &Request, rows: &Rows) -> Answer {
    match session.evaluate(request) {
        Ok(features) => judge(&features, rows),
        Err(_) => Answer::Failed,
    }
}

fn judge(features: &Features<'_>, rows: &Rows) -> Answer {
    let stamp = features.generation();
    let of_all = [
        Value::I64(stamp as i64),
        Value::I64(stamp as i64),
        Value::F64(stamp as f64),
    ];
    for row in 0..ITEMS {
        for (feature, expected) in of_all.into_iter().enumerate() {
            if features.status(row, feature) != Status::Present {
                return Answer::Failed;
            }
            if features.value(row, feature) != expected {
                return Answer::Mixed;
            }
        }
        for column in 0..VALUES {
            let user = features.value(row, of_all.len() + column);
            let item = features.value(row, of_all.len() + VALUES + column);
            if user != Value::F64(value(rows[0], column)) || item != Value::F64(value(rows[row + 1], column)) {
                return Answer::Mixed;
            }
        }
    }
    Answer::Right
}

/// The value of a row, the same in every generation.
fn value(row: u64, column: usize) -> f64 {
    (row * 8 + column as u64) as f64
}

fn write(path: &Path, view: &str, generation: u64, rows: u64) -> Result<(), Box<dyn Error>> {
    let mut features = vec![FeatureColumn::new("stamp", ColumnType::I64)];
    features.extend((0..VALUES).map(|column| FeatureColumn::new(format!("v{column}"), ColumnType::F64)));
    let schema = SnapshotSchema {
        view: view.to_owned(),
        key: vec![KeyColumn::new(view.trim_end_matches('s'), KeyType::I64)],
        features,
        ttl: None,
    };
    let mut writer = SnapshotWriter::create(path, WriteOptions::new(schema, NOW))?;
    let mut key = EntityKey::default();
    for row in 0..rows {
        key.clear();
        key.push(KeyPart::I64(row as i64))?;
        let mut values = [Value::I64(generation as i64); VALUES + 1];
        for (column, slot) in values[1..].iter_mut().enumerate() {
            *slot = Value::F64(value(row, column));
        }
        writer.push(key.as_ref(), TIME, None, &values)?;
    }
    writer.finish()?;
    Ok(())
}

/// The number that the next published generation gets, if nobody else publishes.
///
/// # Errors
/// The store cannot be read.
pub fn next_generation(store: &Store) -> io::Result<u64> {
    let directory = store.root().join("generations");
    if !directory.exists() {
        return Ok(1);
    }
    let mut last = 0;
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".json")?.parse().ok());
        last = last.max(number.unwrap_or(0));
    }
    Ok(last + 1)
}
