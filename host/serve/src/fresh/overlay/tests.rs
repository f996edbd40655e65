use std::sync::atomic::AtomicBool;
use std::thread;

use unskew_snapshot::{EntityKey, KeyPart};

use super::*;

fn entry(key: i64, events: usize) -> Arc<Entry> {
    let key = EntityKey::new(&[KeyPart::I64(key)]).unwrap();
    let mut entry = Entry::new(&key);
    entry.events = events;
    Arc::new(entry.sealed())
}

fn filled(table: Table, entries: i64, retired: &mut Retired) -> Table {
    for key in 0..entries {
        assert!(table.put(entry(key, 1), retired));
    }
    table
}

fn get(table: &Table, key: i64) -> Option<usize> {
    let key = EntityKey::new(&[KeyPart::I64(key)]).unwrap();
    table.get(key.as_ref().into()).map(|entry| entry.events)
}

#[test]
fn entries_are_found_and_others_are_not() {
    let mut retired = Retired::default();
    // Nearly as many as there are places, so that most are not in their own.
    let small = filled(Table::new(4_096), 3_000, &mut retired);
    assert!((0..3_000).all(|key| get(&small, key) == Some(1)));
    let table = small.grown(&mut retired);
    drop(small);
    assert!((0..3_000).all(|key| get(&table, key) == Some(1)));
    assert!((3_000..9_000).all(|key| get(&table, key).is_none()));
    for key in (0..3_000).step_by(7) {
        assert!(!table.put(entry(key, 2), &mut retired));
    }
    assert!((0..3_000).all(|key| get(&table, key) == Some(1 + usize::from(key % 7 == 0))));
    retired.free();
    assert!(retired.entries.is_empty());
}

#[test]
fn keys_of_any_length_are_compared_to_the_last_byte() {
    let table = Table::new(512);
    let texts: Vec<String> = (0..40)
        .flat_map(|len| ["a", "b"].map(|end| "k".repeat(len) + end))
        .collect();
    let keys: Vec<EntityKey> = texts
        .iter()
        .map(|text| EntityKey::new(&[KeyPart::String(text)]).unwrap())
        .collect();
    for (events, key) in (1..).zip(&keys) {
        let mut entry = Entry::new(key);
        entry.events = events;
        assert!(table.put(Arc::new(entry.sealed()), &mut Retired::default()));
    }
    for (events, key) in (1..).zip(&keys) {
        assert_eq!(table.get(key.as_ref().into()).map(|entry| entry.events), Some(events));
        let entry = Entry::new(key);
        assert_eq!(
            keys.iter().filter(|other| entry.is_of(other.as_ref().into())).count(),
            1
        );
    }
}

#[test]
fn the_filter_tells_nearly_all_keys_that_have_no_entry() {
    let hash = |key: i64| EntityKey::new(&[KeyPart::I64(key)]).unwrap().as_ref().hash();
    // As many entities as there may be of that memory.
    for (max_bytes, keys) in [(4 << 20, 4_000), (256 << 20, 200_000)] {
        let filter = Filter::new(max_bytes);
        (0..keys).for_each(|key| filter.add(hash(key)));
        assert!((0..keys).all(|key| filter.may_have(hash(key))));
        let passed = (keys..keys + 10_000).filter(|key| filter.may_have(hash(*key))).count();
        assert!(passed < 700, "{passed} of 10,000");
    }
    for max_bytes in [0, usize::MAX] {
        let bytes = size_of_val(&*Filter::new(max_bytes).words);
        assert!(FILTER_BYTES.contains(&bytes));
    }
}

/// Readers that hold entries while they are replaced free nothing, and never see one go or grow less.
#[test]
fn readers_see_each_entry_from_its_first_to_its_last() {
    const KEYS: i64 = 40;
    let table = Table::new(128);
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen = [0; KEYS as usize];
                    let mut held = Vec::new();
                    while !is_done.load(Ordering::Relaxed) {
                        for key in 0..KEYS {
                            let of_key = EntityKey::new(&[KeyPart::I64(key)]).unwrap();
                            let found = table.get(of_key.as_ref().into());
                            let events = found.as_ref().map_or(0, |entry| entry.events);
                            assert!(events >= seen[key as usize], "{events} after {}", seen[key as usize]);
                            seen[key as usize] = events;
                            held.extend(found);
                        }
                        // The writer has each of them as well, so that none is freed here.
                        held.drain(..).for_each(|entry| assert!(Arc::strong_count(&entry) > 1));
                    }
                })
            })
            .collect();
        let mut retired = Retired::default();
        for events in 1..500 {
            for key in 0..KEYS {
                table.put(entry(key, events), &mut retired);
            }
            retired.free();
        }
        is_done.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        retired.free();
        assert!(retired.entries.is_empty());
    });
}
