use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use super::xxh3;
use crate::{hash_i64, hash_pair_i64};

/// Computed with the reference implementation of XXH3. A hash that changed would change every model's categories.
#[test]
fn hashes_are_these() {
    let long = [b'x'; 300];
    for (bytes, hash) in [
        (&b""[..], 0x2d06_8005_38d3_94c2_u64 >> 1),
        (b"a", 0xe6c6_32b6_1e96_4e1f >> 1),
        (b"sport", 0xb165_b49a_4cab_7404 >> 1),
        ("käse".as_bytes(), 0xc3b8_a562_fbcf_dfb1 >> 1),
        (&42_i64.to_le_bytes(), 0xd5a6_f8c8_38df_27c8 >> 1),
        (&(-1_i64).to_le_bytes(), 0x5111_c7e4_7d78_4413 >> 1),
        (&long, 0xa5d1_b460_7dc8_3554 >> 1),
    ] {
        assert_eq!(hash_i64(bytes), hash.cast_signed(), "{bytes:?}");
    }
}

#[test]
fn hashes_of_pairs_are_these() {
    for (first, second, hash) in [
        (1, 2, 0x03f7_4361_40a2_35f7),
        (2, 1, 0x7daa_65b1_915f_1c44),
        (0, 0, 0x6853_3532_e3a9_44b4),
        (-1, -1, 0x3915_1017_83d2_5989),
    ] {
        assert_eq!(hash_pair_i64(first, second), hash, "{first} {second}");
    }
}

/// So `%` keeps a category in range.
#[test]
fn no_hash_is_negative() {
    assert!((0..10_000_i64).all(|id| hash_i64(&id.to_le_bytes()) >= 0 && hash_pair_i64(id, -id) >= 0));
}

proptest! {
    #[test]
    fn short_hashes_are_those_of_the_library(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        prop_assert_eq!(xxh3(&bytes), xxh3_64(&bytes));
    }
}
