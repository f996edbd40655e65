//! [`ExactSum`] against a sum of single bits.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{decoded, encoded, f64s};
use crate::StateError;
use crate::accumulate::ExactSum;

fn sum(values: &[f64]) -> ExactSum {
    let mut sum = ExactSum::default();
    values.iter().for_each(|value| sum.add(*value));
    sum
}

/// The sum of finite values, rounded once, bit by bit: a counter for every power of two, carried from the least up.
fn naive(values: &[f64]) -> f64 {
    // Counter i weighs 2^(i - 1074).
    let mut counters = vec![0_i64; 2_200];
    for value in values {
        let bits = value.to_bits();
        let (exponent, fraction) = ((bits >> 52 & 0x7ff) as usize, bits & ((1 << 52) - 1));
        let (mantissa, shift) = if exponent == 0 {
            (fraction, 0)
        } else {
            (fraction | 1 << 52, exponent - 1)
        };
        for bit in (0..53).filter(|bit| mantissa >> bit & 1 == 1) {
            counters[shift + bit] += if value.is_sign_negative() { -1 } else { 1 };
        }
    }
    // The sign is that of the greatest counter once everything below it is a bit.
    carry(&mut counters);
    let is_negative = counters.last().is_some_and(|top| *top < 0);
    if is_negative {
        counters.iter_mut().for_each(|counter| *counter = -*counter);
        carry(&mut counters);
    }
    let Some(top) = counters.iter().rposition(|counter| *counter != 0) else {
        return 0.0;
    };
    let least = top.saturating_sub(52);
    let mut mantissa = (least..=top)
        .rev()
        .fold(0_u64, |mantissa, bit| mantissa << 1 | counters[bit].cast_unsigned());
    if least > 0 && counters[least - 1] == 1 {
        let is_tie = counters[..least - 1].iter().all(|counter| *counter == 0);
        mantissa += u64::from(!is_tie || mantissa & 1 == 1);
    }
    // Products with powers of two are exact here, or overflow as they should.
    let scale = |value: f64, mut exponent: i32| {
        let mut value = value;
        while exponent > 0 {
            value *= 2.0;
            exponent -= 1;
        }
        value
    };
    let least_weight = f64::from_bits(1);
    let magnitude = scale(mantissa as f64 * least_weight, least as i32);
    if is_negative { -magnitude } else { magnitude }
}

/// Leaves 0 or 1 in every counter but the last.
fn carry(counters: &mut [i64]) {
    for i in 0..counters.len() - 1 {
        counters[i + 1] += counters[i] >> 1;
        counters[i] &= 1;
    }
}

/// Finite values: of any size, of similar size, and with the opposite of some so that they cancel.
fn finite() -> impl Strategy<Value = Vec<f64>> {
    let near =
        (-1_i64 << 53..1 << 53, 0_u32..80).prop_map(|(mantissa, shift)| mantissa as f64 * (1_u128 << shift) as f64);
    let tiny = (any::<bool>(), 0_u64..1 << 54).prop_map(|(is_negative, bits)| {
        let value = f64::from_bits(bits);
        if is_negative { -value } else { value }
    });
    let value = prop_oneof![3 => f64s(), 3 => near, 1 => tiny].prop_filter("finite", |value| value.is_finite());
    (vec(value, 0..16), vec(any::<prop::sample::Index>(), 0..8)).prop_map(|(mut values, opposites)| {
        for opposite in opposites {
            if !values.is_empty() {
                values.push(-values[opposite.index(values.len())]);
            }
        }
        values
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn the_sum_is_exact_and_rounded_once(values in finite()) {
        prop_assert_eq!(sum(&values).round().to_bits(), naive(&values).to_bits());
    }

    /// A range in which i128 is exact and its conversion rounds to nearest, ties to even.
    #[test]
    fn the_sum_is_that_of_integers(values in vec((-1_i64 << 53..=1 << 53, 0_u32..60), 0..40), exponent in -1074_i32..850) {
        let total: i128 = values.iter().map(|(mantissa, shift)| i128::from(*mantissa) << shift).sum();
        // 2^exponent; powi is inexact below the normal numbers.
        let scale = if exponent < -1022 { f64::from_bits(1 << (exponent + 1074)) } else { 2_f64.powi(exponent) };
        let values: Vec<f64> = values.iter().map(|(mantissa, shift)| *mantissa as f64 * (1_u64 << shift) as f64 * scale).collect();
        prop_assert_eq!(sum(&values).round().to_bits(), (total as f64 * scale).to_bits());
    }

    /// What cancels leaves nothing behind, not in the bytes either.
    #[test]
    fn cancellation_is_complete(values in finite(), rest in finite()) {
        let mut cancelled = sum(&values);
        rest.iter().chain(&values.iter().map(|value| -value).collect::<Vec<_>>()).for_each(|value| cancelled.add(*value));
        prop_assert_eq!(&cancelled, &sum(&rest));
        prop_assert_eq!(encoded(&cancelled), encoded(&sum(&rest)));
    }

    /// The bytes of -x are those of x but for the sign, and no number has two encodings.
    #[test]
    fn negative_sums_mirror_positive_ones(values in finite()) {
        let negative: Vec<f64> = values.iter().map(|value| -value).collect();
        let (plus, minus) = (sum(&values), sum(&negative));
        prop_assert_eq!(plus.round() + 0.0, -minus.round() + 0.0);
        let mut zero = plus;
        crate::accumulate::Accumulator::merge(&mut zero, &minus);
        prop_assert_eq!(encoded(&zero), [0, 0, 0]);
    }
}

#[test]
fn hard_sums() {
    let ulp = f64::EPSILON;
    let least = f64::from_bits(1);
    let many = |value: f64, count: usize| vec![value; count];
    let cases: Vec<(Vec<f64>, f64)> = vec![
        (vec![], 0.0),
        (vec![-0.0], 0.0),
        (vec![-0.0, -0.0, 0.0], 0.0),
        (vec![1e308, 1e308, -1e308], 1e308),
        (vec![f64::MAX, f64::MAX, -f64::MAX, -f64::MAX, 1.0], 1.0),
        (vec![f64::MAX, f64::MAX], f64::INFINITY),
        (vec![-f64::MAX, -f64::MAX], f64::NEG_INFINITY),
        (vec![1e16, 1.0, -1e16], 1.0),
        ([many(1.0, 1_000), vec![1e16]].concat(), 1e16 + 1_000.0),
        (many(0.1, 10), 1.0),
        (vec![0.1, 0.2, -0.3], 2.775_557_561_562_891_4e-17),
        // Ties go to the even neighbour, anything more or less does not.
        (vec![1.0, ulp / 2.0], 1.0),
        (vec![1.0 + ulp, ulp / 2.0], 1.0 + 2.0 * ulp),
        (vec![1.0, ulp / 2.0, least], 1.0 + ulp),
        (vec![1.0 + ulp, ulp / 2.0, -least], 1.0 + ulp),
        (vec![-1.0, -ulp / 2.0], -1.0),
        (vec![-1.0, -ulp / 2.0, -least], -1.0 - ulp),
        // Rounding up to the next power of two, and to infinity.
        (vec![2.0 - ulp, ulp / 2.0], 2.0),
        (vec![f64::MAX, f64::MAX * (ulp / 4.0)], f64::MAX),
        (vec![f64::MAX, 2_f64.powi(970)], f64::INFINITY),
        (vec![f64::MAX, 2_f64.powi(970), -least], f64::MAX),
        // Among the subnormals nothing is rounded.
        (vec![least], least),
        (vec![-least], -least),
        (many(least, 1_000), f64::from_bits(1_000)),
        (vec![least, -least], 0.0),
        (vec![f64::MIN_POSITIVE, -least], f64::from_bits((1 << 52) - 1)),
        (vec![f64::from_bits((1 << 52) - 1), least], f64::MIN_POSITIVE),
        (
            vec![f64::MIN_POSITIVE, f64::MIN_POSITIVE, -least],
            f64::from_bits((1 << 53) - 1),
        ),
        // Limbs of all ones, and of a single sign bit.
        (vec![2_f64.powi(64 * 17 - 1074), -least], 2_f64.powi(64 * 17 - 1074)),
        (vec![-(2_f64.powi(63)), 2_f64.powi(62)], -(2_f64.powi(62))),
    ];
    for (values, expected) in cases {
        assert_eq!(sum(&values).round().to_bits(), expected.to_bits(), "{values:?}");
        assert_eq!(naive(&values).to_bits(), expected.to_bits(), "the twin on {values:?}");
    }
}

#[test]
fn what_is_not_finite_stays() {
    let (nan, infinity) = (f64::NAN, f64::INFINITY);
    for (values, expected) in [
        (&[infinity, -1e308][..], infinity),
        (&[-infinity, 1e308], -infinity),
        (&[infinity, -infinity], nan),
        (&[-infinity, 1.0, infinity], nan),
        (&[nan, 1.0], nan),
        (&[f64::from_bits(u64::MAX), infinity], nan),
    ] {
        // NaN is the canonical one.
        assert_eq!(
            sum(values).round().to_bits(),
            unskew_frame::canonical_f64(expected).to_bits(),
            "{values:?}"
        );
    }
    // The finite values are kept beside: the bytes depend on all values, whatever is answered.
    assert_ne!(encoded(&sum(&[infinity, 1.0])), encoded(&sum(&[infinity])));
}

#[test]
fn a_sum_has_one_encoding() {
    let limbs = |flags: u8, first: u8, limbs: &[u64]| {
        // The position is a zigzag number.
        let mut bytes = vec![flags, first * 2, limbs.len() as u8];
        limbs
            .iter()
            .for_each(|limb| bytes.extend_from_slice(&limb.to_le_bytes()));
        decoded::<ExactSum>(&bytes).map(|_| ())
    };
    let damaged = Err(StateError::Damaged);
    assert_eq!(limbs(0, 0, &[]), Ok(()));
    assert_eq!(limbs(7, 0, &[1]), Ok(()));
    assert_eq!(limbs(0, 34, &[1]), Ok(()));
    assert_eq!(limbs(0, 0, &[1 << 63, 0]), Ok(()));
    assert_eq!(limbs(0, 0, &[1, u64::MAX]), Ok(()));
    assert_eq!(limbs(8, 0, &[1]), damaged);
    // Zero from somewhere, limbs of nothing below and above, a limb of the sign alone.
    assert_eq!(limbs(0, 1, &[]), damaged);
    assert_eq!(limbs(0, 0, &[0]), damaged);
    assert_eq!(limbs(0, 0, &[0, 1]), damaged);
    assert_eq!(limbs(0, 0, &[1, 0]), damaged);
    assert_eq!(limbs(0, 0, &[1, 2, 0]), damaged);
    assert_eq!(limbs(0, 0, &[1 << 63, u64::MAX]), damaged);
    assert_eq!(limbs(0, 0, &[1, u64::MAX, u64::MAX]), damaged);
    // Beyond what values can reach.
    assert_eq!(limbs(0, 35, &[1]), damaged);
    assert_eq!(limbs(0, 34, &[1, 1]), damaged);
    assert_eq!(limbs(0, 0, &[1; 36]), damaged);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    /// However sums are put together, whichever digits each of them holds, they are the sum of all values.
    #[test]
    fn merging_is_adding(parts in vec(finite(), 1..6), order in any::<u64>()) {
        let mut merged = ExactSum::default();
        for (index, part) in parts.iter().enumerate() {
            let part = match order >> index & 1 {
                0 => sum(part),
                // As it comes from a state.
                _ => decoded(&encoded(&sum(part))).expect("it was encoded"),
            };
            crate::accumulate::Accumulator::merge(&mut merged, &part);
        }
        let whole = sum(&parts.concat());
        prop_assert_eq!(encoded(&merged), encoded(&whole));
        prop_assert_eq!(merged.round().to_bits(), whole.round().to_bits());
        prop_assert_eq!(merged, whole);
    }

    /// More values than carries can wait for: merged with itself, a sum soon has 2^40 times as many.
    #[test]
    fn carries_do_not_wait_for_ever(mantissas in vec(-1_i64 << 53..=1 << 53, 1..6), doublings in 20..64) {
        let values: Vec<f64> = mantissas.iter().map(|mantissa| *mantissa as f64 / 1e3).collect();
        let mut doubled = sum(&values);
        for _ in 0..doublings {
            let half = doubled.clone();
            crate::accumulate::Accumulator::merge(&mut doubled, &half);
            doubled.add(1.0);
            doubled.add(-1.0);
        }
        let scaled: Vec<f64> = values.iter().map(|value| value * 2_f64.powi(doublings)).collect();
        prop_assert_eq!(encoded(&doubled), encoded(&sum(&scaled)));
        prop_assert_eq!(&doubled, &sum(&scaled));
    }
}
