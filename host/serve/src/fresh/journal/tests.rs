use std::io::{Seek, SeekFrom};

use proptest::prelude::*;
use unskew_frame::{ColumnType, Value};
use unskew_snapshot::{KeyPart, KeyType, encode_row};

use super::*;
use crate::catalog::{EntityColumn, Field};

fn schema(view: &str) -> Arc<EventSchema> {
    Arc::new(EventSchema {
        view: view.to_owned(),
        is_aggregate: true,
        keys: vec![EntityColumn {
            name: "user".to_owned(),
            key_type: KeyType::String,
        }],
        columns: vec![Field {
            name: "price".to_owned(),
            column_type: ColumnType::F64,
            nullable: true,
        }],
    })
}

fn event(schema: &Arc<EventSchema>, user: &str, time: i64) -> Arc<Event> {
    let mut row = Vec::new();
    let price = if time % 3 == 0 {
        Value::Null
    } else {
        Value::F64(time as f64)
    };
    encode_row(&[price], &mut row);
    Arc::new(Event {
        schema: Arc::clone(schema),
        key: EntityKey::new(&[KeyPart::String(user)]).unwrap(),
        event_time: EventTime(time),
        known_at: (time % 2 == 0).then_some(EventTime(time + 1)),
        row: row.into(),
    })
}

fn open(directory: &Path) -> (Journal, Vec<Arc<Event>>) {
    Journal::open(directory, Durability::Process).unwrap()
}

fn error(directory: &Path) -> JournalError {
    Journal::open(directory, Durability::Process).err().unwrap()
}

/// Appends pushes of these times to views by turns.
fn write(directory: &Path, times: std::ops::Range<i64>) -> Vec<Arc<Event>> {
    let (mut journal, _) = open(directory);
    let schemas = [schema("clicks"), schema("views")];
    let mut written = Vec::new();
    for time in times {
        let pushed = [
            event(&schemas[0], "ada", time),
            event(&schemas[time as usize % 2], "bob", time),
        ];
        journal.append(&pushed).unwrap();
        written.extend(pushed);
    }
    written
}

fn segment(directory: &Path, number: u64) -> PathBuf {
    Segment::new(directory, number).path
}

#[test]
fn what_was_taken_is_there_after_a_restart() {
    for durability in [Durability::Process, Durability::Machine] {
        let folder = tempfile::tempdir().unwrap();
        let mut expected = Vec::new();
        for start in 0..3 {
            let (mut journal, found) = Journal::open(folder.path(), durability).unwrap();
            assert_eq!(found, expected);
            for time in 0..5 {
                let pushed = [event(&schema("clicks"), "ada", 10 * start + time)];
                journal.append(&pushed).unwrap();
                journal.append(&[]).unwrap();
                expected.extend(pushed);
            }
        }
        assert_eq!(open(folder.path()).1, expected);
    }
}

#[test]
fn two_hosts_do_not_share_a_journal() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    assert!(matches!(error(folder.path()), JournalError::Locked { .. }));
    drop(first);
    open(folder.path());
}

#[test]
fn segments_without_use_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let clicks = schema("clicks");
    let (mut journal, _) = open(folder.path());
    journal.segment_bytes = 100;
    for time in 0..20 {
        journal.append(&[event(&clicks, "ada", time)]).unwrap();
    }
    let segments = journal.segments.len();
    assert!(segments > 5, "{segments}");
    // An event is of use until something later than it is covered.
    journal.forget(|view, from| view == "clicks" && from <= EventTime(10));
    assert!(journal.segments.len() < segments);
    drop(journal);
    let (mut journal, found) = open(folder.path());
    let times = |events: &[Arc<Event>]| events.iter().map(|event| event.event_time.0).collect::<Vec<_>>();
    assert!(
        times(&found).ends_with(&(10..20).collect::<Vec<_>>()),
        "{:?}",
        times(&found)
    );
    assert!(times(&found)[0] > 5, "{:?}", times(&found));
    journal.forget(|_, _| true);
    journal.append(&[event(&clicks, "ada", 30)]).unwrap();
    drop(journal);
    let (mut journal, found) = open(folder.path());
    assert_eq!(times(&found), [30]);
    journal.forget(|_, _| false);
    assert_eq!(journal.segments.len(), 1);
}

#[test]
fn a_torn_end_is_cut_off_and_damage_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let written = write(folder.path(), 0..4);
    let path = segment(folder.path(), 1);
    let bytes = fs::read(&path).unwrap();
    let (_, of_all) = open(folder.path());
    assert_eq!(of_all, written);
    for cut in 0..bytes.len() {
        fs::write(&path, &bytes[..cut]).unwrap();
        let (journal, found) = open(folder.path());
        // Of a push all or nothing, but for one of two views.
        assert!(written.starts_with(&found), "cut at {cut}");
        drop(journal);
        // What was cut off is not there either.
        let (_, again) = open(folder.path());
        assert_eq!(again, found, "cut at {cut}");
        // As after the end of a machine.
        fs::write(&path, [&bytes[..cut], &[0; 100]].concat()).unwrap();
        assert!(matches!(
            Journal::open(folder.path(), Durability::Process),
            Ok(_) | Err(JournalError::Corrupt { .. })
        ));
    }
    let last = Segment::new(folder.path(), 1);
    for offset in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[offset] ^= 0x10;
        fs::write(&path, &damaged).unwrap();
        match Journal::open(folder.path(), Durability::Process) {
            // The end of the last record may not have been written.
            Ok((_, found)) => assert!(
                written.starts_with(&found) && found.len() + 2 >= written.len(),
                "{offset}"
            ),
            Err(JournalError::Corrupt { path, .. }) => assert_eq!(path, last.path),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn what_is_torn_before_the_last_segment_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 0..3);
    write(folder.path(), 3..6);
    let path = segment(folder.path(), 1);
    let length = fs::metadata(&path).unwrap().len();
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(length - 1)
        .unwrap();
    let error = error(folder.path());
    assert!(matches!(error, JournalError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("move the file away"), "{error}");
    // As it says.
    fs::remove_file(path).unwrap();
    assert_eq!(open(folder.path()).1.len(), 6);
}

/// A disk that is full, as the kernel plays it.
#[test]
#[cfg(target_os = "linux")]
fn what_a_full_disk_does_not_take_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let clicks = schema("clicks");
    let (mut journal, _) = open(folder.path());
    journal.append(&[event(&clicks, "ada", 1)]).unwrap();
    journal.file = Some(File::options().write(true).open("/dev/full").unwrap());
    let error = journal.append(&[event(&clicks, "ada", 2)]).err().unwrap();
    assert!(matches!(error, JournalError::Io { operation: "write", .. }), "{error}");
    journal.append(&[event(&clicks, "ada", 3)]).unwrap();
    drop(journal);
    let times: Vec<i64> = open(folder.path()).1.iter().map(|event| event.event_time.0).collect();
    assert_eq!(times, [1, 3]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_are_a_panic(noise in prop::collection::vec(any::<u8>(), 0..200), place in 0..400_u64) {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 0..2);
        let mut file = File::options().write(true).open(segment(folder.path(), 1)).unwrap();
        file.seek(SeekFrom::Start(place)).unwrap();
        file.write_all(&noise).unwrap();
        drop(file);
        let _ = Journal::open(folder.path(), Durability::Process);
    }
}
