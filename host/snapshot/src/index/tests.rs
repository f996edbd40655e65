use proptest::prelude::*;

use super::*;

proptest! {
    /// What a lookup computes is in range for any hash, and for any groups that a header may name.
    #[test]
    fn slots_are_in_the_group_of_their_hash(hash: u64, group_count in 1_u32..70_000, group_slots in SPREAD + 1..60_000) {
        let index = Index { group_count, group_slots };
        prop_assert!(index.group(hash) < group_count);
        let first = index.group(hash) * group_slots;
        for number in 0..ALTERNATIVES {
            let slot = index.slots(hash).slot(number);
            prop_assert!((first..first + group_slots).contains(&slot));
            prop_assert_eq!(index.slots_in_group(hash).slot(number), slot - first);
            prop_assert!(index.slots(hash).number_of(slot).is_some_and(|lowest| lowest <= number));
        }
    }

    #[test]
    fn groups_have_room_for_their_rows(row_count in 0_u64..4_000_000_000, group_rows in 1_u64..20_000) {
        if let Some(index) = Index::for_rows(row_count, group_rows) {
            prop_assert!(index.slot_count() >= row_count);
            prop_assert!(index.group_slots > SPREAD);
        } else {
            prop_assert!(row_count > 1 << 28, "{row_count} rows fit");
        }
    }
}

/// The addresses are part of the format.
#[test]
fn slots_have_golden_vectors() {
    let index = Index {
        group_count: 245,
        group_slots: 17_910,
    };
    for (hash, group, home, second) in [
        (0, 0, 0, 0),
        (u64::MAX, 244, 17_906, 2_874),
        (0x04b8_57bc_ba86_d987, 4, 9_262, 7_875),
    ] {
        assert_eq!(index.group(hash), group, "{hash:x}");
        assert_eq!(index.slots_in_group(hash), Slots { home, second }, "{hash:x}");
    }
}

#[test]
fn groups_follow_the_number_of_rows() {
    let cases = [
        (0, 1, 4),
        (1, 1, 6),
        (100, 1, 114),
        (16_384, 1, 17_911),
        (16_385, 2, 8_959),
        (4_000_000, 245, 17_848),
    ];
    for (rows, group_count, group_slots) in cases {
        let expected = Index {
            group_count,
            group_slots,
        };
        assert_eq!(Index::for_rows(rows, GROUP_ROWS), Some(expected), "{rows} rows");
    }
}
