use std::sync::Arc;

use super::*;

#[test]
fn a_key_with_a_missing_part_has_no_word() {
    let a: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(1)]));
    let b: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), Some("x"), None]));
    let words = KeyWords::lenient(&[Arc::clone(&a), b], 3);
    assert_eq!([0, 1, 2].map(|row| words.is_present(row)), [true, false, false]);
    assert!(!words.is_exact);
    let words = KeyWords::lenient(&[a], 3);
    assert_eq!([0, 1, 2].map(|row| words.is_present(row)), [true, false, true]);
    assert!(words.is_exact);
    assert_eq!(words.words[0], words.words[2]);
}

#[test]
fn words_of_integers_are_spread_and_different() {
    let values: Vec<i64> = (-5_000..5_000).chain([i64::MIN, i64::MAX]).collect();
    let rows = values.len();
    let words = KeyWords::lenient(&[Arc::new(Int64Array::from(values)) as ArrayRef], rows).words;
    let mut counts = [0; 16];
    words.iter().for_each(|word| counts[partition_of(*word, 4)] += 1);
    assert!(counts.iter().all(|count| (500..750).contains(count)), "{counts:?}");
    let mut unique = words.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), rows);
    assert_eq!(partition_of(u64::MAX, 0), 0);
}

#[test]
fn a_key_that_is_too_long_is_refused_or_nobodys() {
    let long = "x".repeat(5_000);
    let column: ArrayRef = Arc::new(StringArray::from(vec!["a", &long]));
    let error = KeyWords::of(&[Arc::clone(&column)], 2).err().unwrap();
    assert_eq!(error.row, 1);
    assert!(matches!(error.source, KeyError::TooLong { .. }));
    let words = KeyWords::lenient(&[column], 2);
    assert_eq!([0, 1].map(|row| words.is_present(row)), [true, false]);
}
