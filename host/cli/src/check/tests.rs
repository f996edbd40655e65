use super::*;

#[test]
fn states_have_a_bound_or_a_reason_for_none() {
    let check = |tiles, bytes, hops: &[i64], expected: &str| {
        let window = |(hop_us, name): (&i64, &str)| Window {
            name: name.to_owned(),
            length_us: 3_600_000_000,
            hop_us: *hop_us,
        };
        let kind = Kind::Aggregate(unskew::Aggregation {
            events: Vec::new(),
            windows: hops.iter().zip(["1h", "10m"]).map(window).collect(),
            state_version: 1,
            readable_state_versions: vec![1],
        });
        let bound = StateBound {
            tiles,
            bytes,
            limit_bytes: 16 << 20,
        };
        assert_eq!(state_bound(bound, &kind), expected);
    };
    check(Some(1), Some(1_234), &[1], "at most 1,234 bytes an entity, in 1 tile");
    check(
        Some(2),
        Some(16 << 20),
        &[1],
        "at most 16,777,216 bytes an entity, in 2 tiles",
    );
    let none =
        |reason: &str| format!("no bound below 16,777,216 bytes an entity, beyond which a fold is refused: {reason}");
    check(
        Some(2_000),
        Some(16_777_217),
        &[1],
        &none("2,000 tiles could have 16,777,217"),
    );
    check(None, None, &[1, 0], &none("window 10m has an exact tail"));
    check(Some(2), None, &[1], &none("an accumulator has none of its own"));
}
