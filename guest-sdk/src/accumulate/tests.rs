//! The laws of [`Accumulator`], to the bit, for each of them.

mod exact_sum;

use core::fmt::Debug;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Values and one way to take them: an order, a cut into parts and a tree of merges, all from a seed.
#[derive(Clone, Debug)]
struct Case<V> {
    values: Vec<(Timestamp, V)>,
    seed: u64,
}

fn case<V: Clone + Debug>(value: impl Strategy<Value = V>) -> impl Strategy<Value = Case<V>> {
    // Times meet often, for the ties of Last.
    let time = prop_oneof![3 => -2_i64..3, 1 => any::<i64>()].prop_map(Timestamp::from_micros);
    (vec((time, value), 0..20), any::<u64>()).prop_map(|(values, seed)| Case { values, seed })
}

/// A number below `end`: splitmix64.
fn below(seed: &mut u64, end: usize) -> usize {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*seed ^ *seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ mixed >> 31) % end as u64) as usize
}

fn fold<A: Accumulate<V>, V: Clone>(values: &[(Timestamp, V)]) -> A {
    let mut folded = A::default();
    for (time, value) in values {
        folded.add(*time, value.clone());
    }
    folded
}

fn encoded<A: Accumulator>(accumulator: &A) -> Vec<u8> {
    let mut bytes = Vec::new();
    accumulator.encode(&mut bytes);
    bytes
}

fn decoded<A: Accumulator>(bytes: &[u8]) -> Result<A, StateError> {
    let mut reader = StateReader::new(bytes);
    let accumulator = A::decode(&mut reader)?;
    reader.end()?;
    Ok(accumulator)
}

/// `value` gives the bits of what the accumulator answers.
fn check_laws<A, V, B>(case: &Case<V>, value: impl Fn(&A) -> B) -> Result<(), TestCaseError>
where
    A: Accumulate<V> + Debug,
    V: Clone,
    B: PartialEq + Debug + Copy,
{
    let whole: A = fold(&case.values);
    let (bytes, bits) = (encoded(&whole), value(&whole));
    let same = |other: &A| {
        prop_assert_eq!(other, &whole);
        prop_assert_eq!(encoded(other), &bytes[..]);
        prop_assert_eq!(value(other), bits);
        Ok(())
    };
    let (mut order, mut seed) = (case.values.clone(), case.seed);
    for i in (1..order.len()).rev() {
        order.swap(i, below(&mut seed, i + 1));
    }
    same(&fold(&order))?;

    let mut cuts = vec![0, order.len()];
    cuts.resize_with(2 + below(&mut seed, 6), || below(&mut seed, order.len() + 1));
    cuts.sort_unstable();
    let mut parts: Vec<A> = cuts.windows(2).map(|cut| fold(&order[cut[0]..cut[1]])).collect();
    while parts.len() > 1 {
        let right = parts.swap_remove(below(&mut seed, parts.len()));
        let left = below(&mut seed, parts.len());
        // Through its bytes, as between two calls.
        let right: A = decoded(&encoded(&right)).map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
        parts[left].merge(&right);
    }
    let mut merged = parts.swap_remove(0);
    same(&merged)?;

    let mut from_default = A::default();
    from_default.merge(&whole);
    same(&from_default)?;
    merged.merge(&A::default());
    same(&merged)?;
    prop_assert_eq!(decoded::<A>(&bytes), Ok(whole));

    for len in 0..bytes.len() {
        prop_assert_eq!(decoded::<A>(&bytes[..len]), Err(StateError::Damaged));
    }
    Ok(())
}

/// Bytes that are read at all are those that would be written.
fn check_canonical<A: Accumulator>(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(read) = decoded::<A>(bytes) {
        prop_assert_eq!(encoded(&read), bytes);
    }
    Ok(())
}

fn bits(value: f64) -> u64 {
    value.to_bits()
}

/// Small and large, and often one of a few, so that values meet and cancel.
fn i64s() -> impl Strategy<Value = i64> {
    prop_oneof![-3_i64..4, any::<i64>(), Just(i64::MIN), Just(i64::MAX)]
}

/// Any bits, NaNs of any payload among them; numbers of similar size; both zeros, infinities, the least and the greatest.
fn f64s() -> impl Strategy<Value = f64> {
    let special = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        5e-324,
        -5e-324,
        1e16,
        1e308,
        -1e308,
    ];
    prop_oneof![
        4 => (-1_000_000_i64..1_000_000).prop_map(|v| v as f64 / 64.0),
        3 => any::<u64>().prop_map(f64::from_bits),
        3 => prop::sample::select(special.to_vec()),
        1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY]),
    ]
}

/// Bytes that nearly are an encoding: small numbers, limbs of few bits.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![0_u8..4, Just(0), Just(0xff), any::<u8>()], 0..24)
}

macro_rules! laws {
    ($($name:ident: $accumulator:ty, $values:expr, $value:expr;)*) => {
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(2_000))]
            $(
                #[test]
                fn $name(case in case($values), nearly in nearly()) {
                    check_laws::<$accumulator, _, _>(&case, $value)?;
                    check_canonical::<$accumulator>(&nearly)?;
                }
            )*
        }
    };
}

laws! {
    count: Count, Just(()), Count::value;
    sum_of_i64: Sum<i64>, i64s(), Sum::<i64>::value;
    sum_of_f64: Sum<f64>, f64s(), |sum: &Sum<f64>| bits(sum.value());
    mean: Mean, f64s(), |mean: &Mean| (mean.value().map(bits), mean.count());
    min_of_i64: Min<i64>, i64s(), Min::value;
    min_of_f64: Min<f64>, f64s(), |min: &Min<f64>| min.value().map(bits);
    min_of_bool: Min<bool>, any::<bool>(), Min::value;
    min_of_timestamp: Min<Timestamp>, i64s().prop_map(Timestamp::from_micros), Min::value;
    max_of_i64: Max<i64>, i64s(), Max::value;
    max_of_f64: Max<f64>, f64s(), |max: &Max<f64>| max.value().map(bits);
    max_of_bool: Max<bool>, any::<bool>(), Max::value;
    max_of_timestamp: Max<Timestamp>, i64s().prop_map(Timestamp::from_micros), Max::value;
    last_of_i64: Last<i64>, i64s(), |last: &Last<i64>| (last.time(), last.value());
    last_of_f64: Last<f64>, f64s(), |last: &Last<f64>| (last.time(), last.value().map(bits));
    last_of_bool: Last<bool>, any::<bool>(), |last: &Last<bool>| (last.time(), last.value());
    last_of_timestamp: Last<Timestamp>, i64s().prop_map(Timestamp::from_micros), |last: &Last<Timestamp>| (last.time(), last.value());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// What the laws do not say: the answers themselves, against the plainest code.
    #[test]
    fn answers_are_the_plain_ones(case in case(i64s())) {
        let values: Vec<i64> = case.values.iter().map(|(_, value)| *value).collect();
        let sum: i128 = values.iter().map(|value| i128::from(*value)).sum();
        prop_assert_eq!(fold::<Sum<i64>, _>(&case.values).value(), i64::try_from(sum).ok());
        prop_assert_eq!(fold::<Min<i64>, _>(&case.values).value(), values.iter().copied().min());
        prop_assert_eq!(fold::<Max<i64>, _>(&case.values).value(), values.iter().copied().max());
        let last = fold::<Last<i64>, _>(&case.values);
        prop_assert_eq!(last.time().zip(last.value()), case.values.iter().copied().max());
        let units: Vec<_> = case.values.iter().map(|(time, _)| (*time, ())).collect();
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
        [0, 16, 1, 0, 0, 0, 0, 0, 0, 0xfc, 0xff, 1]
    );
}
