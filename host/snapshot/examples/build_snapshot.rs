//! Builds a snapshot of made-up rows: `build_snapshot PATH ROWS MEMORY_BYTES`. The tests break its system calls.

use std::error::Error;
use std::path::PathBuf;

use unskew_frame::{ColumnType, Value};
use unskew_snapshot::{
    EntityKey, EventTime, FeatureColumn, KeyColumn, KeyPart, KeyType, SnapshotSchema, SnapshotWriter, WriteOptions,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("usage: build_snapshot PATH ROWS MEMORY_BYTES");
    let path = PathBuf::from(next()?);
    let rows: i64 = next()?.parse()?;
    let schema = SnapshotSchema {
        view: "made_up".into(),
        key: vec![KeyColumn::new("id", KeyType::I64)],
        features: vec![
            FeatureColumn::new("number", ColumnType::F64),
            FeatureColumn::new("state", ColumnType::Bytes),
        ],
        ttl: None,
    };
    let mut options = WriteOptions::new(schema, EventTime(rows));
    options.memory_budget_bytes = next()?.parse()?;
    let mut writer = SnapshotWriter::create(&path, options)?;
    let state = [7; 2_000];
    for row in 0..rows {
        let key = EntityKey::new(&[KeyPart::I64(row)])?;
        let values = [
            Value::F64(row as f64),
            Value::Bytes(&state[..(row * 37 % 2_000) as usize]),
        ];
        writer.push(key.as_ref(), EventTime(row), None, &values)?;
    }
    writer.finish()?;
    Ok(())
}
