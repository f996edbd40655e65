use super::*;

fn push(sorter: &mut Sorter, hash: u64, key: &[u8], known_at: i64) {
    let record = Record {
        is_removed: false,
        hash,
        known_at: Some(crate::EventTime(known_at)),
        row: &hash.to_le_bytes(),
        key,
        heap: &key[..key.len() / 2],
        words: &[],
    };
    sorter.push(record).unwrap();
}

/// The hashes, keys and known-at of all records, in the order of the visit.
fn visited(sorter: &mut Sorter) -> Vec<(u64, Vec<u8>, i64)> {
    let mut visited = Vec::new();
    let mut was_last = true;
    let visit = &mut |record: Record<'_>, is_last: bool| {
        let is_same_key = visited
            .last()
            .is_some_and(|(hash, key, _): &(_, Vec<u8>, _)| (*hash, &key[..]) == record.order());
        assert_eq!(is_same_key, !was_last);
        was_last = is_last;
        assert_eq!(record.row, record.hash.to_le_bytes());
        assert_eq!(record.heap, &record.key[..record.key.len() / 2]);
        visited.push((record.hash, record.key.to_vec(), record.known_at.unwrap().as_micros()));
        Ok::<_, io::Error>(())
    };
    sorter.visit(visit).unwrap();
    assert!(was_last);
    visited
}

/// With and without runs, and when asked again, the order is that of hash and key.
#[test]
fn records_come_sorted_however_many_runs_there_were() {
    let folder = tempfile::tempdir().unwrap();
    let directory = SpillDirectory(folder.path().to_owned());
    for limit_bytes in [u64::MAX, 200_000, 50_000, 3_000] {
        let mut sorter = Sorter::with_limit(8, limit_bytes, directory.clone());
        let mut expected = Vec::new();
        for i in 0..6_000_u64 {
            // Pairs of keys share a hash, and every third key comes twice.
            let hash = (i / 2 % 2_000).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let key = format!("{}", i % 2).repeat(1 + (i % 7) as usize).into_bytes();
            push(&mut sorter, hash, &key, i as i64);
            expected.push((hash, key, i as i64));
        }
        assert_eq!(sorter.runs.is_empty(), limit_bytes == u64::MAX);
        assert!(sorter.runs.len() < MAX_RUNS);
        expected.sort();
        for _ in 0..2 {
            let mut visited = visited(&mut sorter);
            assert!(visited.is_sorted_by_key(|(hash, key, _)| (*hash, key.clone())));
            visited.sort();
            assert!(visited == expected, "limit {limit_bytes}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "a run has a name");
    }
}

#[test]
fn memory_is_held_below_the_limit() {
    const LIMIT_BYTES: u64 = 64 << 20;
    let folder = tempfile::tempdir().unwrap();
    let mut sorter = Sorter::with_limit(8, LIMIT_BYTES, SpillDirectory(folder.path().to_owned()));
    for i in 0..2_000_000_u64 {
        push(&mut sorter, i.wrapping_mul(0x9e37_79b9_7f4a_7c15), b"key", 0);
        let words: usize = sorter.log.iter().map(Chunk::capacity).sum();
        let held = size_of::<u64>() * words + size_of::<Entry>() * sorter.entry_capacity;
        assert!(held as u64 <= LIMIT_BYTES, "{held}");
    }
    assert!((1..6).contains(&sorter.runs.len()), "{}", sorter.runs.len());
}

#[test]
fn an_error_of_the_visitor_ends_the_visit() {
    let folder = tempfile::tempdir().unwrap();
    for limit_bytes in [u64::MAX, 3_000] {
        let mut sorter = Sorter::with_limit(8, limit_bytes, SpillDirectory(folder.path().to_owned()));
        for i in 0..500 {
            push(&mut sorter, i << 50, b"key", 0);
        }
        let mut visits = 0;
        let result = sorter.visit(&mut |_, _| {
            visits += 1;
            if visits == 7 {
                Err(io::Error::other("enough"))
            } else {
                Ok(())
            }
        });
        assert_eq!(result.unwrap_err().to_string(), "enough");
        assert_eq!(visits, 7);
    }
}
