//! Damage as disks, networks and programs do it: none of it is unnoticed.

use unskew_snapshot::Snapshot;

use crate::rows::{Random, file, read_all};

const PAGE_BYTES: usize = 4_096;

/// Changes the file in one of the ways in which files are damaged.
fn damage(file: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(file.len());
    let pages = file.len().div_ceil(PAGE_BYTES);
    match random.below(7) {
        0 => file[at] ^= 1 << random.below(8),
        1 => file[at] = file[at].wrapping_add(1 + random.below(255) as u8),
        2 => {
            let start = random.below(pages) * PAGE_BYTES;
            let end = (start + PAGE_BYTES).min(file.len());
            file[start..end].fill(0);
        }
        3 => {
            let whole_pages = (file.len() / PAGE_BYTES).max(1);
            let [a, b] = [random.below(whole_pages), random.below(whole_pages)].map(|page| page * PAGE_BYTES);
            for offset in 0..PAGE_BYTES.min(file.len() - a.max(b)) {
                file.swap(a + offset, b + offset);
            }
        }
        4 => file.truncate(at),
        5 => file.extend(std::iter::repeat_n(0, 1 + random.below(2 * PAGE_BYTES))),
        _ => {
            let more: Vec<u8> = file[at..].iter().copied().take(PAGE_BYTES).collect();
            file.extend(more);
        }
    }
}

/// 100,000 damages; those that happen to change nothing, as the swap of a page with itself, are not counted.
#[test]
fn no_damage_is_unnoticed() {
    let mut random = Random(0x0123_4567_89ab_cdef);
    for (rows, state_bytes, rounds) in [(3, 20, 80_000), (60, 100, 17_000), (900, 300, 3_000)] {
        let whole = file(rows, state_bytes);
        assert_eq!(read_all(&Snapshot::from_bytes(whole.clone()).unwrap()), rows as usize);
        let mut damages = 0;
        while damages < rounds {
            let mut damaged = whole.clone();
            damage(&mut damaged, &mut random);
            if damaged == whole {
                continue;
            }
            damages += 1;
            let error = Snapshot::from_bytes(damaged).expect_err("the damage is unnoticed");
            assert!(error.is_corrupt(), "{error}");
        }
    }
}
