//! Files for the other tests, and reading all that is in one.

use unskew_frame::{ColumnType, Value};
use unskew_snapshot::{
    DeltaOf, EntityKey, EventTime, FeatureColumn, KeyColumn, KeyPart, KeyType, Snapshot, SnapshotSchema,
    SnapshotWriter, Ttl, WriteOptions,
};

/// xorshift64*: the same numbers on every run.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }
}

fn schema() -> SnapshotSchema {
    SnapshotSchema {
        view: "all".to_owned(),
        key: vec![
            KeyColumn::new("id", KeyType::I64),
            KeyColumn::new("name", KeyType::String),
        ],
        features: [
            ("f64", ColumnType::F64),
            ("bool", ColumnType::Bool),
            ("text", ColumnType::String),
            ("f32", ColumnType::F32),
            ("i64", ColumnType::I64),
            ("state", ColumnType::Bytes),
            ("time", ColumnType::Timestamp),
            ("vector", ColumnType::Vector(3)),
        ]
        .map(|(name, of_type)| FeatureColumn::new(name, of_type))
        .into(),
        ttl: Some(Ttl::from_micros(50)),
    }
}

pub fn key(row: i64) -> EntityKey {
    let name = if row % 40 == 7 {
        "a long key ".repeat(20)
    } else {
        format!("n{}", row % 5)
    };
    EntityKey::new(&[KeyPart::I64(row), KeyPart::String(&name)]).unwrap()
}

/// A file of `rows` rows of every type, nulls, long keys and states of up to `state_bytes` among them.
pub fn file(rows: i64, state_bytes: usize) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let mut options = WriteOptions::new(schema(), EventTime(100));
    options.module_digest = Some([7; 32]);
    options.state_version = Some(3);
    let mut writer = SnapshotWriter::create(&path, options).unwrap();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for row in 0..rows {
        let number = random.below(1 << 30);
        let state: Vec<u8> = (0..random.below(state_bytes + 1))
            .map(|_| random.below(256) as u8)
            .collect();
        let text = format!("text {number}");
        let mut values = [
            Value::F64(number as f64 / 7.0),
            Value::Bool(number.is_multiple_of(2)),
            Value::String(&text),
            Value::F32(number as f32),
            Value::I64(-(number as i64)),
            Value::Bytes(&state),
            Value::Timestamp(number as i64),
            Value::Vector(&[1.0, 2.0, 3.0]),
        ];
        values[number % 8] = if row % 3 == 0 { Value::Null } else { values[number % 8] };
        writer
            .push(key(row).as_ref(), EventTime(row % 100), None, &values)
            .unwrap();
    }
    writer.finish().unwrap();
    std::fs::read(path).unwrap()
}

/// A delta of changed rows and as many removed keys, long ones among them.
pub fn delta(rows: i64) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("delta");
    let mut options = WriteOptions::new(schema(), EventTime(200));
    options.delta = Some(DeltaOf::first([0xb; 32]).next([0xd; 32]));
    let mut writer = SnapshotWriter::create(&path, options).unwrap();
    for row in 0..rows {
        let values = [Value::Null; 8];
        writer.push(key(row).as_ref(), EventTime(150), None, &values).unwrap();
        writer.push_removed(key(row + 7 * rows).as_ref()).unwrap();
    }
    writer.finish().unwrap();
    std::fs::read(path).unwrap()
}

/// Reads everything there is in every way there is; gives how many rows there were.
pub fn read_all(snapshot: &Snapshot) -> usize {
    let mut keys = Vec::new();
    for (key, row) in snapshot.iter() {
        let read: usize = row.values().map(|value| format!("{value:?}").len()).sum();
        assert!(read > 0 && row.event_time() <= snapshot.meta().watermark);
        assert_eq!(snapshot.get(key).map(|found| found.index()), Some(row.index()));
        keys.push(key);
    }
    let mut found = Vec::new();
    snapshot.get_many(&keys, &mut found);
    assert!(found.iter().all(Option::is_some));
    for row in 0..50 {
        let unknown = EntityKey::new(&[KeyPart::I64(-1 - row), KeyPart::String("n")]).unwrap();
        let _ = snapshot.get(unknown.as_ref());
    }
    keys.len()
}
