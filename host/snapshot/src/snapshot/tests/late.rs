//! What a file says of late events.

use super::reseal::reseal;
use super::*;
use crate::{LateEvents, Lateness};

const LATE: LateEvents = LateEvents {
    lateness: Lateness::from_micros(0x1122_3344_5566),
    count: 7,
};

fn file(late: Option<LateEvents>) -> Vec<u8> {
    let options = WriteOptions {
        late,
        ..WriteOptions::new(all_types(), EventTime(200))
    };
    build(options, &[]).unwrap().0
}

#[test]
fn it_is_read_as_it_was_written() {
    for late in [None, Some(LATE)] {
        assert_eq!(open(&file(late)).unwrap().meta().late, late);
    }
}

/// As a program from before it does: it serves the same states.
#[test]
fn a_reader_that_does_not_know_it_passes_over_it() {
    let mut file = file(Some(LATE));
    let name = file.windows(4).position(|bytes| bytes == b"late").unwrap();
    file[name..name + 4].copy_from_slice(b"fate");
    reseal(&mut file);
    assert_eq!(open(&file).unwrap().meta().late, None);
}

#[test]
fn a_malformed_one_is_refused() {
    for bytes in [&[0; 15][..], &[0; 17]] {
        assert_eq!(LateEvents::decode(bytes), None);
    }
    assert_eq!(LateEvents::decode(&LATE.encode()), Some(LATE));
}
