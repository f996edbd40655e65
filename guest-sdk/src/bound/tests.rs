use super::*;
use crate::Timestamp;
use crate::accumulate::{
    Accumulate, Count, DecimalSum, Distinct, Edges, ExactSum, First, Histogram, LastK, LastSeen, Max, Mean, Quantiles,
    Rate, Ratio, Sum, TopK, Variance,
};
use crate::state::{State, push_varint};
use crate::testing::{decoded, encoded};
use crate::tiling::Tiling;
use crate::window::parse_windows;

#[derive(Clone, Debug, PartialEq)]
struct Halves;

impl Edges for Halves {
    const EDGES: &'static [f64] = &[0.5];
}

#[test]
fn accumulators_say_their_bounds() {
    let bounds = [
        ("count", Count::MAX_BYTES, 10),
        ("rate", Rate::MAX_BYTES, 20),
        ("sum of i64", Sum::<i64>::MAX_BYTES, 19),
        ("decimal sum", DecimalSum::<6>::MAX_BYTES, 29),
        ("sum of f64", Sum::<f64>::MAX_BYTES, 283),
        ("mean", Mean::MAX_BYTES, 293),
        ("ratio", Ratio::MAX_BYTES, 566),
        ("variance", Variance::MAX_BYTES, 11 + 282 + 547),
        ("max", Max::<bool>::MAX_BYTES, 9),
        ("first", First::<f64>::MAX_BYTES, 17),
        ("last k", LastK::<f64, 200>::MAX_BYTES, 2 + 16 * 200),
        ("last seen", LastSeen::MAX_BYTES, 9),
        ("histogram", Histogram::<Halves>::MAX_BYTES, 10 + 1 + 20),
        ("distinct", Distinct::<12>::MAX_BYTES, 1 + 2 + 4 * 768 + 16),
        ("quantiles", Quantiles::<6, 512>::MAX_BYTES, 10 + 2 + 13 * 512),
        ("top k", TopK::<64, 32>::MAX_BYTES, 1 + 10 * 2 * 32 * 65),
        ("top k, exact", TopK::<4_096, 1>::MAX_BYTES, 1 + 2 + 18 * 4_096),
    ];
    for (name, bound, expected) in bounds {
        assert_eq!(bound, Some(expected), "{name}");
    }
}

/// Bounds that are reached are not too low by luck.
#[test]
fn bounds_are_reached() {
    let mut greatest = Vec::new();
    push_varint(&mut greatest, u64::MAX.into());
    assert_eq!(encoded(&decoded::<Count>(&greatest).unwrap()).len(), 10);

    let mut least = vec![0xff; 18];
    least.push(3);
    assert_eq!(encoded(&decoded::<Sum<i64>>(&least).unwrap()).len(), 19);

    let mut last: LastK<f64, 3> = LastK::default();
    (0..5).for_each(|_| last.add(Timestamp::default(), f64::NAN));
    assert_eq!(Some(encoded(&last).len() as u64), LastK::<f64, 3>::MAX_BYTES);

    // Every limb but the two that only sums of very many values reach.
    let mut sum = ExactSum::default();
    sum.add(f64::MAX);
    sum.add(5e-324);
    let unreached = ExactSum::MAX_BYTES.unwrap() - encoded(&sum).len() as u64;
    assert_eq!(unreached, 2 * 8);
}

/// Every cell that windows can have, each as large as it can be.
#[test]
fn a_state_that_is_full_is_within_its_bound() {
    let windows = parse_windows(["1h/5m", "2h/5m", "1d/1h"]);
    let bound = StateBound::new(&windows, Count::MAX_BYTES);
    assert_eq!(
        bound.tiles,
        Some(26 + 26),
        "those of the longer window of five minutes, and of the day"
    );

    let mut count = Vec::new();
    push_varint(&mut count, u64::MAX.into());
    let (count, tiling): (Count, _) = (decoded(&count).unwrap(), Tiling::of(&windows));
    let mut longest = 0;
    for base in [i64::MIN, 0, i64::MAX - (30 << 32)] {
        let mut state = State::new();
        for second in 0..(30 << 32) / 1_000_000 {
            let time = Timestamp::from_micros(base + second * 1_000_000);
            state.add(&tiling, time, |cell: &mut Count| cell.clone_from(&count));
            if second % 100 == 0 {
                state.settle(&tiling);
                let mut bytes = Vec::new();
                state.encode(&tiling, 1, time, &mut bytes);
                longest = longest.max(bytes.len() as u64);
            }
        }
    }
    let bytes = bound.bytes.unwrap();
    assert!(
        longest <= bytes && bytes <= longest + longest / 8,
        "{longest} of {bytes}"
    );
}

#[test]
fn what_has_no_bound_has_none() {
    let of = |texts: [&'static str; 2], bytes| StateBound::new(&parse_windows(texts), bytes);
    let none = StateBound {
        tiles: None,
        bytes: None,
    };
    assert_eq!(of(["10m", "1h/5m"], Some(1)), none, "an exact tail");
    assert_eq!(
        of(["1d/1h", "1h/5m"], None),
        StateBound {
            tiles: Some(40),
            bytes: None
        }
    );
    assert_eq!(
        of(["1d/1h", "1h/5m"], Some(u64::MAX / 2)).bytes,
        None,
        "beyond all numbers"
    );
    assert_eq!(none.section()[..16], [0xff; 16]);
    let words = of(["1d/1h", "1h/5m"], Some(10)).section();
    assert_eq!(words[..8], 40_u64.to_le_bytes());
    assert_eq!(words[16..], (16_u64 << 20).to_le_bytes());
}
