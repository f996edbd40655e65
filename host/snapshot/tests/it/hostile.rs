//! Files whose checksums hold, for somebody made them: refused, or read without harm.

use unskew_snapshot::Snapshot;

use crate::reseal::reseal;
use crate::rows::{Random, file, read_all};

/// Opens a file that may deceive, and reads all of it if it opens.
pub fn open_and_read(bytes: Vec<u8>) -> bool {
    match Snapshot::from_bytes(bytes) {
        Ok(snapshot) => {
            read_all(&snapshot);
            true
        }
        Err(error) => {
            assert!(error.is_corrupt() || error.is_unsupported_version(), "{error}");
            false
        }
    }
}

#[test]
fn deceit_is_refused_or_harmless() {
    let whole = file(300, 40);
    let mut random = Random(0xfeed_f00d_dead_beef);
    let mut opened = 0;
    for round in 0..20_000 {
        let mut changed = whole.clone();
        // A third each at the header, at the metadata and the first rows, and anywhere.
        let range = [8..240, 256..4_096, 256..whole.len()][round % 3].clone();
        for _ in 0..=random.below(3) {
            let at = range.start + random.below(range.len());
            changed[at] = match random.below(5) {
                0 => 0,
                1 => 0xff,
                2 => changed[at] ^ 1 << random.below(8),
                3 => changed[at].wrapping_add(1),
                _ => random.below(256) as u8,
            };
        }
        if random.below(8) == 0 {
            // Slots of rows and of the heap change places.
            let [a, b] = [0, 0].map(|_| 256 + 8 * random.below((whole.len() - 512) / 8));
            for offset in 0..104 {
                changed.swap(a + offset, b + offset);
            }
        }
        reseal(&mut changed);
        opened += u32::from(open_and_read(changed));
    }
    // A changed number or time is still a number or a time.
    assert!((100..19_000).contains(&opened), "{opened}");
}
