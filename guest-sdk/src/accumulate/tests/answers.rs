//! What the accumulators answer, beside the laws: tables, and the plainest code that there is.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

#[test]
fn rates_are_smoothed_by_priors() {
    let rate: Rate = of(&[true, false, false, true, false, false]);
    assert_eq!((rate.total(), rate.hits()), (6, 2));
    assert_eq!(rate.value(), Some(2.0 / 6.0));
    assert_eq!(rate.smoothed(0.5, 2.0), Some(3.0 / 8.0));
    assert_eq!(Rate::default().value(), None);
    assert_eq!(Rate::default().smoothed(0.25, 4.0), Some(0.25));
    let ratio: Ratio = of(&[(0.1, 1_i64), (0.2, 0), (-0.3, 3)]);
    // The numerator is the exact sum, rounded once.
    assert_eq!(ratio.value(), Some(2.775_557_561_562_891_4e-17 / 4.0));
    assert_eq!(
        ratio.smoothed(1.5, 4.0),
        Some((2.775_557_561_562_891_4e-17 + 6.0) / 8.0)
    );
    assert_eq!(of::<Ratio, _>(&[(1.0, 0.0)]).value(), None);
}

#[test]
fn decimals_add_up_as_accounts_do() {
    let sum: DecimalSum<2> = of(&[0.1, 0.2]);
    assert_eq!((sum.units(), sum.value()), (Some(30), Some(0.3)));
    for (value, units) in [
        (0.005, 1),
        // The f64 nearest to 0.015 is below it, that nearest to 0.025 above.
        (0.015, 1),
        (0.025, 3),
        (-0.005, -1),
        (1e-300, 0),
        (5e-324, 0),
        (0.0, 0),
        (-0.0, 0),
        (9.2e16, 9_200_000_000_000_000_000),
        (1.0, 100),
    ] {
        assert_eq!(of::<DecimalSum<2>, _>(&[value]).units(), Some(units), "{value}");
    }
    // Half of the last digit, exactly, goes to the even one.
    for (value, units) in [(0.5, 0), (1.5, 2), (2.5, 2), (-0.5, 0), (-1.5, -2), (0.75, 1)] {
        assert_eq!(of::<DecimalSum<0>, _>(&[value]).units(), Some(units), "{value}");
    }
    let invalid: DecimalSum<6> = of(&[f64::NAN, f64::INFINITY, 1e300, -1e14, 9.3e12, 1.0]);
    assert_eq!((invalid.invalid(), invalid.units()), (5, Some(1_000_000)));
    let whole: DecimalSum<3> = of(&[7_i64, i64::MAX]);
    assert_eq!((whole.units(), whole.invalid()), (Some(7_000), 1));
    // The sum is exact beyond an i64, and says so.
    let much: DecimalSum<0> = of(&[i64::MAX, i64::MAX]);
    assert_eq!((much.units(), much.value(), much.invalid()), (None, None, 0));
}

#[test]
fn variances_do_not_cancel() {
    let variance = |values: &[f64]| of::<Variance, _>(values);
    assert_eq!(variance(&[]).population(), None);
    assert_eq!(
        (variance(&[5.0]).population(), variance(&[5.0]).sample()),
        (Some(0.0), None)
    );
    assert_eq!(variance(&[0.1; 10]).population(), Some(0.0));
    // Of the textbook: n Σx² - (Σx)² in f64 gives 0 or worse here.
    let shifted = variance(&[1e9 + 4.0, 1e9 + 7.0, 1e9 + 13.0, 1e9 + 16.0]);
    assert_eq!((shifted.sample(), shifted.population()), (Some(30.0), Some(22.5)));
    assert_eq!(shifted.mean(), Some(1e9 + 10.0));
    assert_eq!(of::<Variance, _>(&[i64::MAX, i64::MAX, i64::MAX]).sample(), Some(0.0));
    assert_eq!(
        of::<Variance, _>(&[i64::MIN, i64::MAX]).population(),
        Some(2_f64.powi(126))
    );
    assert_eq!(variance(&[1e-300, 3e-300]).population(), Some(0.0));
    assert_eq!(variance(&[f64::MAX, -f64::MAX]).population(), Some(f64::INFINITY));
    assert!(variance(&[f64::INFINITY, 1.0]).population().is_some_and(f64::is_nan));
    assert_eq!(variance(&[f64::INFINITY, 1.0]).mean(), Some(f64::INFINITY));
}

#[test]
fn first_and_last_know_their_times() {
    let events = [(at(3), 5_i64), (at(1), 7), (at(3), 9), (at(1), 2)];
    let (first, last): (First<i64>, Last<i64>) = (fold(&events), fold(&events));
    assert_eq!((first.time(), first.value()), (Some(at(1)), Some(2)));
    assert_eq!((last.time(), last.value()), (Some(at(3)), Some(9)));
    let three: LastK<i64, 3> = fold(&events);
    assert_eq!(three.values(), [(at(3), 9), (at(3), 5), (at(1), 7)]);
    assert_eq!((three.get(0), three.get(2), three.get(3)), (Some(9), Some(7), None));
    let units: Vec<_> = events.iter().map(|(time, _)| (*time, ())).collect();
    assert_eq!(fold::<LastSeen, _>(&units).seconds_before(at(10)), Some(7.0));
    assert_eq!(fold::<FirstSeen, _>(&units).seconds_before(at(10)), Some(9.0));
    assert_eq!(LastSeen::default().seconds_before(at(10)), None);
}

#[test]
fn decays_halve() {
    let events = [(at(0), 8.0), (at(60), 4.0), (at(120), 2.0)];
    let decay: Decay<60> = fold(&events);
    assert_eq!(decay.value(at(120)), 2.0 + 2.0 + 2.0);
    assert_eq!(decay.value(at(180)), 3.0);
    assert_eq!(decay.value(at(60 * 1_003)), 6.0 * 2_f64.powi(-1_001));
    assert_eq!(Decay::<60>::default().value(at(0)), 0.0);
    // Between half-lives the weight is 2^-fraction.
    let one: Decay<60> = fold(&[(at(0), 1.0)]);
    assert_eq!(one.value(at(30)), libm::exp2(-0.5));
    // What is far older weighs nothing, whenever it comes.
    let (old, new) = ((at(0), 1e300), (at(60 * 4_096), 1.0));
    assert_eq!(fold::<Decay<60>, _>(&[old, new]), fold(&[new, old]));
    assert_eq!(fold::<Decay<60>, _>(&[new, old]).value(at(60 * 4_096)), 1.0);
    // A value so old is still there while nothing is newer: 1e300 is 2^996.58.
    assert_eq!(
        fold::<Decay<60>, _>(&[old]).value(at(60 * 1_000)),
        1e300 * 2_f64.powi(-1_000)
    );
    assert_eq!(fold::<Decay<60>, _>(&[(at(0), 1.0), (at(0), -1.0)]).value(at(7)), 0.0);
    assert!(fold::<Decay<60>, _>(&[(at(0), f64::NAN)]).value(at(7)).is_nan());
    for end in [i64::MIN, i64::MAX] {
        let end = Timestamp::from_micros(end);
        let events = [(end, 1.0), (at(0), 1.0)];
        assert!(
            (0.99..=1.0).contains(&fold::<Decay<1>, _>(&events[..1]).value(end)),
            "{end:?}"
        );
        let expected = if end > at(0) {
            fold::<Decay<1>, _>(&events[..1])
        } else {
            fold(&events[1..])
        };
        assert_eq!(fold::<Decay<1>, _>(&events), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Against a sum of weights in the plain way, which rounds with every addition.
    #[test]
    fn decays_are_near_the_plain_ones(events in vec((0_i64..1_000_000_000, 1_i64..1_000), 1..50)) {
        let now = 1_000_000_000;
        let plain: f64 = events
            .iter()
            .map(|(time, value)| *value as f64 * libm::exp2(-((now - time) as f64) / 60e6))
            .sum();
        let timed: Vec<_> = events.iter().map(|(time, value)| (Timestamp::from_micros(*time), *value)).collect();
        let decay = fold::<Decay<60>, _>(&timed).value(Timestamp::from_micros(now));
        prop_assert!((decay - plain).abs() <= 1e-13 * plain, "{} is not {}", decay, plain);
    }

    #[test]
    fn quantiles_are_near_those_of_the_sorted_values(mut values in vec(f64s().prop_filter("normal", |v| *v == 0.0 || v.is_normal()), 1..200), q in 0.0_f64..=1.0) {
        values.sort_by(f64::total_cmp);
        let quantiles: Quantiles = of(&values);
        let exact = values[(q * (values.len() - 1) as f64) as usize];
        let found = quantiles.quantile(q).unwrap();
        prop_assert!((found - exact).abs() <= exact.abs() * 2_f64.powi(-7), "{} is not {}", found, exact);
        prop_assert_eq!(quantiles.count(), values.len() as i64);
    }

    #[test]
    fn histograms_count_between_edges(values in vec(f64s(), 0..100)) {
        let histogram: Histogram<Prices> = of(&values);
        let edges = [f64::NEG_INFINITY, -1.0, 0.0, 0.5, 1.0, 100.0, f64::INFINITY];
        for bin in 0..6 {
            let inside = |value: &&f64| **value >= edges[bin] && (**value < edges[bin + 1] || bin == 5);
            prop_assert_eq!(histogram.bin(bin), values.iter().filter(inside).count() as i64);
        }
        prop_assert_eq!(histogram.count() + histogram.not_numbers(), values.len() as i64);
    }

    /// Exact up to the limit, whatever the values.
    #[test]
    fn top_k_counts(values in vec(0_i64..12, 0..60)) {
        let mut counts: Vec<(i64, i64)> = (0..12)
            .map(|key| (-(values.iter().filter(|value| **value == key).count() as i64), key))
            .filter(|(count, _)| *count < 0)
            .collect();
        counts.sort_unstable();
        let expected: Vec<_> = counts.iter().take(5).map(|(count, key)| Frequent { key: *key, count: -count }).collect();
        let top: TopK<12> = of(&values);
        prop_assert!(top.is_exact());
        prop_assert_eq!(top.top(5), expected);
    }
}

#[test]
fn quantiles_of_edge_values() {
    let quantile = |values: &[f64], q| of::<Quantiles, _>(values).quantile(q);
    assert_eq!(quantile(&[], 0.5), None);
    assert_eq!(quantile(&[1.0], f64::NAN), None);
    assert_eq!(quantile(&[0.0, -0.0], 1.0), Some(0.0));
    assert_eq!(
        quantile(&[f64::INFINITY, f64::NEG_INFINITY], 0.0),
        Some(f64::NEG_INFINITY)
    );
    assert_eq!(quantile(&[f64::INFINITY, f64::NEG_INFINITY], 1.0), Some(f64::INFINITY));
    assert!(quantile(&[f64::MAX], 0.5).is_some_and(|max| max >= f64::MAX * 0.98 && max.is_finite()));
    assert_eq!(of::<Quantiles, _>(&[f64::NAN, 1.0]).not_numbers(), 1);
    // Between 1 and 2 there are 64 buckets, and the middle of the first is 1 + 1 / 128.
    assert_eq!(quantile(&[1.0], 0.5), Some(1.0 + 1.0 / 128.0));
    // Beyond the limit the least values count as those of the least bucket kept.
    let few: Quantiles<6, 2> = of(&[1.0, 2.0, 4.0, 8.0]);
    assert_eq!(
        (few.count(), few.quantile(0.0), few.quantile(1.0)),
        (
            4,
            of::<Quantiles, _>(&[4.0]).quantile(0.0),
            of::<Quantiles, _>(&[8.0]).quantile(0.0)
        )
    );
}

#[test]
fn shares_are_below_a_value() {
    let prices: Quantiles = of(&[1.0, 2.0, 4.0, 8.0]);
    for (value, share) in [
        (0.5, 0.0),
        (1.0, 0.125),
        (1.5, 0.25),
        (2.0, 0.375),
        (5.0, 0.75),
        (100.0, 1.0),
        (-1.0, 0.0),
    ] {
        assert_eq!(prices.share_below(value), Some(share), "{value}");
    }
    assert_eq!(prices.share_below(f64::NAN), None);
    assert_eq!(Quantiles::<6, 2048>::default().share_below(1.0), None);
}

#[test]
fn distinct_is_exact_and_then_near() {
    for count in [0_i64, 1, 10, 768] {
        let distinct: Distinct = of(&(0..count).chain(0..count).collect::<Vec<_>>());
        assert_eq!((distinct.value(), distinct.is_exact()), (count, true));
    }
    for count in [769_i64, 1_000, 2_000, 5_000, 20_000, 100_000, 300_000] {
        let distinct: Distinct = of(&(0..count).collect::<Vec<_>>());
        assert!(!distinct.is_exact());
        // Three standard errors of 1.6 %.
        let error = (distinct.value() - count).abs() as f64 / count as f64;
        assert!(error < 0.049, "{count}: {}", distinct.value());
        assert_eq!(encoded(&distinct).len(), 3_073);
    }
    // Of many sets, the error is what the theory says, and has no side.
    let (mut squares, mut sum) = (0.0, 0.0);
    for set in 0..200_i64 {
        let values: Vec<i64> = (0..3_000).map(|value| set << 32 | value).collect();
        let error = of::<Distinct<10>, _>(&values).value() as f64 / 3_000.0 - 1.0;
        (squares, sum) = (squares + error * error, sum + error);
    }
    let (deviation, bias) = (libm::sqrt(squares / 200.0), sum / 200.0);
    assert!(
        (0.025..0.040).contains(&deviation) && bias.abs() < 0.008,
        "{deviation} {bias}"
    );
}

/// The hash is fixed: these are on disk.
#[test]
fn identities_are_these() {
    assert_eq!("728x90".key(), crate::hash_i64(b"728x90"));
    assert_eq!(Identity::hash(&"728x90"), xxhash_rust::xxh3::xxh3_64(b"728x90"));
    assert_eq!(
        Identity::hash(&7_i64),
        xxhash_rust::xxh3::xxh3_64(&[7, 0, 0, 0, 0, 0, 0, 0])
    );
    assert_eq!((7_i64.key(), Timestamp::from_micros(-7).key()), (7, -7));
    assert_eq!(Identity::hash(&f64::NAN), Identity::hash(&-f64::NAN));
    assert_ne!(Identity::hash(&("a", "b")), Identity::hash(&("b", "a")));
}

/// Beyond the limit the heavy values are found among many light ones, with counts that are not too low.
#[test]
fn top_k_finds_the_heavy_ones() {
    let mut random = Random::new(7);
    let mut values: Vec<i64> = Vec::new();
    for (key, count) in [(7, 3_000), (-5, 2_000), (1 << 60, 1_500)] {
        values.extend(core::iter::repeat_n(key, count));
    }
    values.extend((0..10_000).map(|_| random.u64().cast_signed() % 5_000));
    random.shuffle(&mut values);
    let top: TopK = of(&values);
    assert!(!top.is_exact());
    let found = top.top(3);
    assert_eq!(
        found.iter().map(|frequent| frequent.key).collect::<Vec<_>>(),
        [7, -5, 1 << 60]
    );
    for (frequent, count) in found.iter().zip([3_000, 2_000, 1_500]) {
        assert!((count..count + 250).contains(&frequent.count), "{frequent:?}");
    }
    // In whatever order and split.
    let (left, right) = values.split_at(4_321);
    let mut merged: TopK = of(right);
    merged.merge(&of(left));
    assert_eq!(encoded(&merged), encoded(&top));
}
