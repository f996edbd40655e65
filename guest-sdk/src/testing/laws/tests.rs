//! A check that cannot fail is none: accumulators that break one law each.

use super::*;

/// What the check says of a broken accumulator.
fn complaint<A: Accumulate<V> + Debug, V: Clone + Debug>(value: fn(&mut Random) -> V) -> String {
    let check = std::panic::catch_unwind(|| check_accumulator_laws::<A, V>(2_000, value));
    let Err(complaint) = check else { return String::new() };
    complaint.downcast_ref::<String>().cloned().unwrap_or_default()
}

macro_rules! broken {
    ($name:ident($type:ty), $value:ty, $(max_bytes: $max_bytes:expr,)? merge: $merge:expr, encode: $encode:expr, add: $add:expr) => {
        #[derive(Clone, Debug, Default, PartialEq)]
        struct $name($type);

        impl Accumulator for $name {
            $(const MAX_BYTES: Option<u64> = Some($max_bytes);)?

            fn layout(text: &mut String) {
                text.push_str(stringify!($name));
            }

            fn merge(&mut self, other: &Self) {
                const MERGE: fn($type, $type) -> $type = $merge;
                self.0 = MERGE(self.0, other.0);
            }

            fn encode(&self, bytes: &mut Vec<u8>) {
                const ENCODE: fn($type) -> Vec<u8> = $encode;
                bytes.extend(ENCODE(self.0));
            }

            fn decode(reader: &mut StateReader<'_>) -> Result<Self, StateError> {
                reader.array().map(<$type>::from_le_bytes).map(Self)
            }
        }

        impl Accumulate<$value> for $name {
            fn add(&mut self, _: Timestamp, value: $value) {
                const ADD: fn($type, $value) -> $type = $add;
                self.0 = ADD(self.0, value);
            }
        }
    };
}

broken!(PlainSum(f64), f64, merge: |a, b| a + b, encode: |sum| sum.to_le_bytes().to_vec(), add: |sum, v| sum + v);
broken!(LastToArrive(i64), i64, merge: |_, b| b, encode: |last| last.to_le_bytes().to_vec(), add: |_, v| v);
broken!(Forgetful(i64), i64, merge: |a, _| a, encode: |sum| sum.to_le_bytes().to_vec(), add: |sum, v| sum.wrapping_add(v));
broken!(Loose(i64), i64, merge: i64::wrapping_add, encode: |sum| (sum & !4).to_le_bytes().to_vec(), add: |sum, v| sum.wrapping_add(v));
broken!(Stretching(i64), i64, merge: i64::wrapping_add, encode: |sum| vec![sum as u8; 9], add: |sum, v| sum.wrapping_add(v));
broken!(Outgrown(i64), i64, max_bytes: 7, merge: i64::wrapping_add, encode: |sum| sum.to_le_bytes().to_vec(), add: |sum, v| sum.wrapping_add(v));

#[test]
fn broken_laws_are_found() {
    let complaints = [
        complaint::<PlainSum, _>(|random| random.finite_f64()),
        complaint::<LastToArrive, _>(|random| random.i64()),
        complaint::<Forgetful, _>(|random| random.i64()),
        complaint::<Loose, _>(|random| random.i64()),
        complaint::<Stretching, _>(|random| random.i64()),
        complaint::<Outgrown, _>(|random| random.i64()),
    ];
    let laws: Vec<&str> = complaints.iter().filter_map(|complaint| complaint.get(..17)).collect();
    assert_eq!(
        laws,
        [
            "another order of ",
            "another order of ",
            "merging into the ",
            "`a long hop` of i",
            "a state cannot be",
            "more bytes than t",
        ]
    );
}

/// Few events that break the law, and how to see it again.
#[test]
fn a_complaint_is_short() {
    let complaint = complaint::<LastToArrive, _>(|random| random.i64());
    let values = complaint.lines().find_map(|line| line.strip_prefix("values: "));
    let values = values.map(|values| values.matches(',').count() + 1);
    assert_eq!(values, Some(2), "{complaint}");
    assert!(complaint.contains("\nseed: "), "{complaint}");
}
