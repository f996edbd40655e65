use super::*;

/// Fourteen columns of eight bytes, as they were measured: one thread 44 MiB, beside what the process takes.
const NARROW: Writing = Writing {
    columns: 14,
    group_rows: 1 << 17,
    group_bytes: (14 * 8) << 17,
};
/// Two thousand such columns.
const WIDE: Writing = Writing {
    columns: 2_004,
    group_rows: 1 << 12,
    group_bytes: (2_004 * 8) << 12,
};

#[test]
fn a_thread_takes_what_its_columns_and_row_groups_do() {
    assert_eq!(NARROW.thread_bytes() >> 20, 40);
    assert_eq!(WIDE.thread_bytes() >> 20, 501);
    let nothing = Writing {
        columns: 0,
        group_rows: 0,
        group_bytes: 0,
    };
    assert_eq!(nothing.thread_bytes(), 0);
}

#[test]
fn there_are_as_many_threads_as_the_budget_has_room_for() {
    let least = |threads: u64| ((PROCESS_BYTES + threads * NARROW.thread_bytes()) * 100).div_ceil(TOLERANCE_PERCENT);
    assert_eq!(NARROW.threads_within(u64::MAX, 8), Ok(8));
    assert_eq!(NARROW.threads_within(least(3), 8), Ok(3));
    assert_eq!(NARROW.threads_within(least(3) - 1, 8), Ok(2));
    assert_eq!(NARROW.threads_within(0, 0), Ok(1));
    assert_eq!(WIDE.threads_within(WIDE.thread_bytes(), 8), Ok(1));
    assert_eq!(
        WIDE.threads_within(WIDE.thread_bytes() / 2, 8)
            .map_err(|bytes| bytes >> 20),
        Err(426)
    );
}
