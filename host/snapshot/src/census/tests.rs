use super::*;

/// The width of the place for the key, of keys of these lengths.
fn width(lengths: &[(usize, u64)]) -> usize {
    let layout = RowLayout::new(&[], 0).unwrap();
    let mut census = Census::new(&layout);
    for (len, count) in lengths {
        census.key_lengths[*len] += count;
        census.row_count += count;
    }
    census.key_slot_bytes()
}

#[test]
fn a_few_long_keys_do_not_widen_every_row() {
    for (lengths, expected) in [
        (&[][..], 0),
        (&[(9, 1_000)], 9),
        (&[(23, 1_000), (24, 1_000)], 24),
        // Half of the keys are short: the place is still as wide as the others.
        (&[(12, 500), (40, 500)], 40),
        (&[(12, 1_000_000), (400, 3)], 12),
        (&[(12, 1), (400, 1)], 12),
        // No narrower than what points to a key.
        (&[(4, 1_000_000), (4_096, 1)], 8),
    ] {
        assert_eq!(width(lengths), expected, "{lengths:?}");
    }
}
