use super::*;

const MIB: u64 = 1 << 20;

#[track_caller]
#[allow(clippy::single_range_in_vec_init, reason = "a list of ranges")]
fn check(ranges: &[Range<u64>], expected: &[Range<u64>]) {
    let parts = parts(ranges);
    assert_eq!(parts, expected);
    // A byte is the lowest of its place.
    let bytes = |range: &Range<u64>| -> Bytes { range.clone().map(|at| (at % 251) as u8).collect() };
    let read: Vec<Bytes> = parts.iter().map(bytes).collect();
    for range in ranges {
        assert!(assemble(range, &parts, &read) == bytes(range), "{range:?}");
    }
}

#[test]
#[allow(clippy::single_range_in_vec_init, reason = "a list of ranges")]
fn ranges_are_asked_for_together_and_in_parts() {
    check(&[], &[]);
    check(&[7..7], &[]);
    check(&[7..9], &[7..9]);
    check(&[7..9, 9..12], &[7..12]);
    check(&[7..9, 9 + GAP_BYTES..20 + GAP_BYTES], &[7..20 + GAP_BYTES]);
    check(
        &[7..9, 10 + GAP_BYTES..20 + GAP_BYTES],
        &[7..9, 10 + GAP_BYTES..20 + GAP_BYTES],
    );
    check(&[3..3 + 8 * MIB], &[3..3 + 8 * MIB]);
    check(
        &[3..10, 10..20 * MIB],
        &[3..3 + 8 * MIB, 3 + 8 * MIB..3 + 16 * MIB, 3 + 16 * MIB..20 * MIB],
    );
}

#[test]
fn what_is_cut_short_shows() {
    let parts = [0..4, 4..8];
    let read = [Bytes::from_static(b"abcd"), Bytes::from_static(b"e")];
    assert_eq!(assemble(&(2..8), &parts, &read), "cde");
    assert_eq!(assemble(&(6..8), &parts, &read), "");
}
