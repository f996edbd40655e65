use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use proptest::prelude::*;

use super::*;

fn words(keys: &[Option<i64>]) -> KeyWords {
    KeyWords::lenient(
        &[Arc::new(keys.iter().copied().collect::<Int64Array>()) as ArrayRef],
        keys.len(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn entries_are_the_rows_with_keys_by_word_and_time(
        rows in prop::collection::vec((prop::option::weighted(0.9, 0_i64..300), -9_i64..9), 0..2_000),
        // As many different words as rows, one word, and words that lie at both ends.
        kind in 0..3,
    ) {
        let keys: Vec<Option<i64>> = rows.iter().map(|(key, _)| *key).collect();
        let times: Vec<i64> = rows.iter().map(|(_, time)| *time).collect();
        let mut words = words(&keys);
        match kind {
            0 => {}
            1 => words.words.fill(7),
            _ => words.words.iter_mut().for_each(|word| *word = if *word % 2 == 0 { *word % 5 } else { u64::MAX - *word % 5 }),
        }
        let entries = sorted_entries(&words, &times, |row, time| time + i64::from(row % 3));
        prop_assert!(entries.is_sorted_by_key(|entry| (entry.word, entry.time)));
        let mut found: Vec<(u32, u64, i64)> = entries.iter().map(|entry| (entry.row, entry.word, entry.time)).collect();
        found.sort_unstable();
        let expected: Vec<(u32, u64, i64)> = (0..keys.len())
            .filter(|row| keys[*row].is_some())
            .map(|row| (row as u32, words.words[row], times[row] + row as i64 % 3))
            .collect();
        prop_assert_eq!(found, expected);
    }
}
