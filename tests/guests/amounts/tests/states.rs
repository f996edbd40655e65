//! The seeds of the fuzz target `states`, and changes of them, on every run of the tests.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::Path;

use amounts::AmountsOfPayments;
use unskew_guest::frame::{Column, ColumnType, Value};
use unskew_guest::testing::{Random, column, fold};

use state::read_state;

#[path = "../../../../fuzz/src/state.rs"]
mod state;

/// A state of so many events, behind its version.
fn seed(events: u64) -> Vec<u8> {
    let mut random = Random::new(events);
    let times: Vec<i64> = (0..events)
        .map(|_| 1_705_320_000_000_000 - (random.u64() % 4_000_000_000) as i64)
        .collect();
    let mut columns = vec![
        column(ColumnType::I64, times.iter().map(|_| Value::I64(0))),
        column(ColumnType::Timestamp, times.iter().map(|time| Value::Timestamp(*time))),
    ];
    for column_type in [ColumnType::F64, ColumnType::I64] {
        let mut values = Column::new(column_type);
        times.iter().for_each(|_| random.push_value(&mut values, true));
        columns.push(values);
    }
    let none = column(ColumnType::Bytes, [Value::Null]);
    let states = fold::<AmountsOfPayments>(&none, &columns.iter().collect::<Vec<_>>()).unwrap();
    states.view().bytes(0)[4..].to_vec()
}

/// The seeds are states of the SDK; UPDATE_EXPECT=1 writes them anew.
#[test]
fn seeds_and_changes_of_them_are_refused_or_harmless() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../fuzz/state-seeds");
    for (name, events) in [("one", 1), ("few", 5), ("many", 40)] {
        let (path, whole) = (seeds.join(name), seed(events));
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&path, &whole).unwrap();
        }
        assert!(
            fs::read(&path).unwrap() == whole,
            "{name} is no state of today: UPDATE_EXPECT=1"
        );
        read_state(&whole);
        let mut random = Random::new(events);
        for _ in 0..1_000 {
            let mut changed = whole.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(changed.len());
                changed[at] = match random.below(4) {
                    0 => 0,
                    1 => changed[at] ^ 1 << random.below(8),
                    2 => changed[at].wrapping_add(1),
                    _ => random.u64() as u8,
                };
            }
            if random.below(4) == 0 {
                changed.truncate(random.below(changed.len()));
            }
            read_state(&changed);
        }
    }
}
