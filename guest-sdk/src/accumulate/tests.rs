//! The laws of [`Accumulator`], to the bit, for each of them.

mod answers;
mod exact_sum;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::testing::{Random, decoded, encoded};

fn fold<A: Accumulate<V>, V: Clone>(values: &[(Timestamp, V)]) -> A {
    let mut folded = A::default();
    for (time, value) in values {
        folded.add(*time, value.clone());
    }
    folded
}

/// Of values at one time.
fn of<A: Accumulate<V>, V: Clone>(values: &[V]) -> A {
    fold(
        &values
            .iter()
            .map(|value| (Timestamp::default(), value.clone()))
            .collect::<Vec<_>>(),
    )
}

fn bits(value: f64) -> u64 {
    value.to_bits()
}

/// Small and large, and often one of a few, so that values meet and cancel.
fn i64s() -> impl Strategy<Value = i64> {
    any::<u64>().prop_map(|seed| Random::new(seed).i64())
}

/// Any bits, NaNs of any payload among them; numbers of similar size; both zeros, infinities, the least and the greatest.
fn f64s() -> impl Strategy<Value = f64> {
    any::<u64>().prop_map(|seed| Random::new(seed).f64())
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Prices;

impl Edges for Prices {
    const EDGES: &'static [f64] = &[-1.0, 0.0, 0.5, 1.0, 100.0];
}

// Limits are small where there are some, so that cases pass them.
crate::aggregator_laws! {
    count: Count, |random| _ = random.u64();
    rate: Rate, |random| random.bool();
    sum_of_i64: Sum<i64>, |random| random.i64();
    sum_of_f64: Sum<f64>, |random| random.f64();
    decimal_sum: DecimalSum<2>, |random| random.f64();
    decimal_sum_of_i64: DecimalSum<6>, |random| random.i64();
    ratio: Ratio, |random| (random.f64(), random.i64());
    mean: Mean, |random| random.f64();
    mean_of_i64: Mean, |random| random.i64();
    variance: Variance, |random| random.f64();
    variance_of_i64: Variance, |random| random.i64();
    min_of_i64: Min<i64>, |random| random.i64();
    min_of_f64: Min<f64>, |random| random.f64();
    min_of_bool: Min<bool>, |random| random.bool();
    min_of_timestamp: Min<Timestamp>, |random| random.time();
    max_of_i64: Max<i64>, |random| random.i64();
    max_of_f64: Max<f64>, |random| random.f64();
    max_of_bool: Max<bool>, |random| random.bool();
    max_of_timestamp: Max<Timestamp>, |random| random.time();
    first_of_i64: First<i64>, |random| random.i64();
    first_of_f64: First<f64>, |random| random.f64();
    last_of_i64: Last<i64>, |random| random.i64();
    last_of_f64: Last<f64>, |random| random.f64();
    last_of_bool: Last<bool>, |random| random.bool();
    last_of_timestamp: Last<Timestamp>, |random| random.time();
    last_k: LastK<f64, 3>, |random| random.f64();
    last_seen: LastSeen, |random| _ = random.u64();
    first_seen: FirstSeen, |random| _ = random.u64();
    decay: Decay<1>, |random| random.f64();
    decay_of_events: Decay<3600>, |random| _ = random.u64();
    distinct: Distinct<4>, |random| random.text();
    distinct_of_i64: Distinct<5>, |random| random.i64();
    quantiles: Quantiles<6, 4>, |random| random.f64();
    quantiles_of_i64: Quantiles<2>, |random| random.i64();
    histogram: Histogram<Prices>, |random| random.f64();
    top_k: TopK<3, 2>, |random| random.text();
    top_k_of_i64: TopK<6, 2>, |random| random.i64();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// What the laws do not say: the answers themselves, against the plainest code.
    #[test]
    fn answers_are_the_plain_ones(timed in vec((-2_i64..3, i64s()), 0..20)) {
        let timed: Vec<(Timestamp, i64)> = timed.into_iter().map(|(t, value)| (Timestamp::from_micros(t), value)).collect();
        let values: Vec<i64> = timed.iter().map(|(_, value)| *value).collect();
        let sum: i128 = values.iter().map(|value| i128::from(*value)).sum();
        prop_assert_eq!(fold::<Sum<i64>, _>(&timed).value(), i64::try_from(sum).ok());
        prop_assert_eq!(fold::<Min<i64>, _>(&timed).value(), values.iter().copied().min());
        prop_assert_eq!(fold::<Max<i64>, _>(&timed).value(), values.iter().copied().max());
        let last = fold::<Last<i64>, _>(&timed);
        prop_assert_eq!(last.time().zip(last.value()), timed.iter().copied().max());
        let first = fold::<First<i64>, _>(&timed);
        prop_assert_eq!(first.time().zip(first.value()), timed.iter().copied().min());
        let mut latest = timed.clone();
        latest.sort_unstable_by(|a, b| b.cmp(a));
        latest.truncate(4);
        let four = fold::<LastK<i64, 4>, _>(&timed);
        prop_assert_eq!(four.values(), &latest[..]);
        let units: Vec<_> = timed.iter().map(|(time, _)| (*time, ())).collect();
        prop_assert_eq!(fold::<Count, _>(&units).value(), values.len() as i64);
    }

    /// Ranks order floats as `total_cmp` does, once NaN is canonical.
    #[test]
    fn ranks_are_the_total_order(a in f64s(), b in f64s(), rank in any::<u64>()) {
        let canonical = unskew_frame::canonical_f64;
        prop_assert_eq!(a.rank().cmp(&b.rank()), canonical(a).total_cmp(&canonical(b)));
        prop_assert_eq!(f64::from_rank(a.rank()).map(bits), Some(bits(canonical(a))));
        if let Some(value) = f64::from_rank(rank) {
            prop_assert_eq!(value.rank(), rank);
        }
    }
}

#[test]
fn floats_are_ordered_with_their_zeros_and_nan() {
    let times = |values: &[f64]| -> Vec<_> { values.iter().map(|value| (Timestamp::default(), *value)).collect() };
    for (values, min, max) in [
        (&[0.0, -0.0][..], -0.0, 0.0),
        (&[1.0, f64::NAN, f64::INFINITY], 1.0, f64::NAN),
        (
            &[f64::from_bits(u64::MAX), f64::NEG_INFINITY],
            f64::NEG_INFINITY,
            f64::NAN,
        ),
        (&[f64::from_bits(u64::MAX)], f64::NAN, f64::NAN),
    ] {
        let values = times(values);
        let (least, greatest): (Min<f64>, Max<f64>) = (fold(&values), fold(&values));
        assert_eq!(
            (least.value().map(bits), greatest.value().map(bits)),
            (Some(bits(min)), Some(bits(max)))
        );
        // Of one time, the last is the greatest.
        assert_eq!(fold::<Last<f64>, _>(&values).value().map(bits), Some(bits(max)));
    }
    // Equality is that of the bytes: a derived one took the zeros for equal, and NaN for unequal to itself.
    assert_ne!(fold::<Min<f64>, _>(&times(&[0.0])), fold(&times(&[-0.0])));
    assert_ne!(fold::<Last<f64>, _>(&times(&[0.0])), fold(&times(&[-0.0])));
    assert_eq!(fold::<Max<f64>, _>(&times(&[f64::NAN])), fold(&times(&[-f64::NAN])));
}

#[test]
fn sums_of_i64_may_pass_what_fits() {
    let sum =
        |values: &[i64]| fold::<Sum<i64>, _>(&values.iter().map(|v| (Timestamp::default(), *v)).collect::<Vec<_>>());
    assert_eq!(sum(&[]).value(), Some(0));
    assert_eq!(sum(&[i64::MAX, 1]).value(), None);
    assert_eq!(sum(&[i64::MAX, 1, -1]).value(), Some(i64::MAX));
    assert_eq!(sum(&[i64::MIN, -1, i64::MAX, 1]).value(), Some(-1));
    // A state that was made up wraps; it does not panic.
    let mut bytes = vec![0xff; 18];
    bytes.push(3);
    let mut least: Sum<i64> = decoded(&bytes).unwrap();
    least.add(Timestamp::default(), -1);
    least.merge(&decoded(&bytes).unwrap());
    assert_eq!(least.value(), Some(-1));
}

#[test]
fn counts_stop_at_the_greatest() {
    let bytes = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    let mut count: Count = decoded(&bytes).unwrap();
    count.add(Timestamp::default(), ());
    count.merge(&count.clone());
    assert_eq!((count.value(), encoded(&count)), (i64::MAX, bytes.to_vec()));
}

/// States are on disk: an encoding that changes needs a new layout version.
#[test]
fn encodings_are_these_bytes() {
    let at = Timestamp::from_micros;
    assert_eq!(encoded(&fold::<Count, _>(&vec![(at(0), ()); 300])), [0xac, 2]);
    assert_eq!(encoded(&fold::<Sum<i64>, _>(&[(at(0), -3_i64)])), [5]);
    assert_eq!(
        encoded(&fold::<Min<bool>, _>(&[(at(0), true)])),
        [1, 1, 0, 0, 0, 0, 0, 0, 0]
    );
    assert_eq!(
        encoded(&fold::<Max<i64>, _>(&[(at(0), -2)])),
        [1, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]
    );
    assert_eq!(encoded(&Max::<f64>::default()), [0]);
    assert_eq!(
        encoded(&fold::<Last<f64>, _>(&[(at(1), 1.0)])),
        [1, 1, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0xf0, 0xbf]
    );
    // -1.0 is -2^50 in the limb of weight 2^(64 * 16 - 1074).
    assert_eq!(
        encoded(&fold::<Mean, _>(&[(at(0), -1.0)])),
        [0, 32, 1, 0, 0, 0, 0, 0, 0, 0xfc, 0xff, 1]
    );
}
