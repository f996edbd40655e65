//! Windows at their edges, through every way to ask.

use super::*;

/// Whether the event at `event_time` is in `window` of a query at `t`, by `read` and by `batch`.
fn is_in(window: &str, event_time: i64, t: i64) -> bool {
    let events = [event(0, event_time)];
    let states = fold(&no_states(1), &events).unwrap();
    let name = format!("auctions_{window}");
    let by_read = read(&states, &[query(0, t, 0)]).unwrap();
    let by_batch = batch(&no_states(1), &events, &[query(0, t, 1)]).unwrap();
    let by_state = batch(&states, &[], &[query(0, t, 0)]).unwrap();
    let count = output(&by_read, &name, 0);
    assert_eq!(output(&by_batch, &name, 0), count);
    assert_eq!(output(&by_state, &name, 0), count);
    assert!(count == Value::I64(0) || count == Value::I64(1));
    count == Value::I64(1)
}

#[test]
fn a_window_is_half_open() {
    for base in [0, 1_000, -5, -1_000_003] {
        for (window, length_us) in [("exact7", 7), ("exact20", 20)] {
            // At t - w it is in, a microsecond before it is out.
            assert!(is_in(window, base, base + length_us), "{window} at {base}");
            assert!(!is_in(window, base, base + length_us + 1), "{window} at {base}");
            assert!(is_in(window, base, base + length_us - 1), "{window} at {base}");
            assert!(is_in(window, base, base + 1), "{window} at {base}");
        }
    }
}

/// An event at the query's time, or after it, cannot be folded before the query.
#[test]
fn an_event_at_t_is_not_seen() {
    for (event_time, t) in [(100, 100), (101, 100), (-5, -5), (0, i64::MIN), (i64::MAX, i64::MAX)] {
        let events = [event(0, event_time)];
        let states = fold(&no_states(1), &events).unwrap();
        let refused = Err(AggregateError::QueryBeforeState(0));
        assert_eq!(read(&states, &[query(0, t, 0)]), refused);
        assert_eq!(batch(&states, &[], &[query(0, t, 0)]), refused);
        assert_eq!(batch(&no_states(1), &events, &[query(0, t, 1)]), refused);
        // Not visible, it is not there.
        let outputs = batch(&no_states(1), &events, &[query(0, t, 0)]).unwrap();
        assert_eq!(output(&outputs, "auctions_hop1000long", 0), Value::I64(0));
    }
}

#[test]
fn a_hop_moves_the_tail_back() {
    for (window, event_time, t, expected) in [
        // 20 long: from 80, floored to 77.
        ("hop7", 77, 100, true),
        ("hop7", 76, 100, false),
        // From 84, a multiple of 7.
        ("hop7", 84, 104, true),
        ("hop7", 83, 104, false),
        ("hop7", 83, 103, true),
        // From -20, floored to -21.
        ("hop7", -21, 0, true),
        ("hop7", -22, 0, false),
        // A multiple of the hop stays exact at multiples of the hop, and only there.
        ("hop7even", 7, 28, true),
        ("hop7even", 6, 28, false),
        ("hop7even", 0, 27, true),
        ("hop7even", 7, 29, true),
        ("hop7even", 7, 34, true),
        ("hop7even", 7, 35, false),
        ("hop1000", 1_000, 2_999, true),
        ("hop1000", 1_000, 3_000, false),
        ("hop1000long", -1_000, 2_501, true),
        ("hop1000long", -1_001, 2_501, false),
        ("hop1000long", -1_001, 2_499, true),
    ] {
        assert_eq!(
            is_in(window, event_time, t),
            expected,
            "{event_time} in {window} at {t}"
        );
    }
}

#[test]
fn the_ends_of_time_have_windows() {
    assert!(is_in("exact7", i64::MIN, i64::MIN + 7));
    assert!(!is_in("exact7", i64::MIN, i64::MIN + 8));
    assert!(is_in("hop7", i64::MIN, i64::MIN + 1));
    assert!(is_in("exact7", i64::MAX - 7, i64::MAX));
    assert!(!is_in("exact7", i64::MAX - 8, i64::MAX));
    // Both in one state.
    let events = [event(0, i64::MAX - 1), event(0, i64::MIN), event(0, i64::MAX - 1)];
    let outputs = read(&fold(&no_states(1), &events).unwrap(), &[query(0, i64::MAX, 0)]).unwrap();
    assert_eq!(output(&outputs, "auctions_exact20", 0), Value::I64(2));
}

#[test]
fn no_history_is_empty_windows() {
    let queries = [query(0, 0, 0), query(1, i64::MIN, 0)];
    for outputs in [
        read(&no_states(2), &queries).unwrap(),
        batch(&no_states(2), &[], &queries).unwrap(),
    ] {
        for row in 0..2 {
            assert_eq!(output(&outputs, "auctions_exact7", row), Value::I64(0));
            assert_eq!(output(&outputs, "spend_exact7", row), Value::F64(0.0));
            assert_eq!(output(&outputs, "ranks_exact7", row), Value::I64(0));
            assert_eq!(output(&outputs, "price_exact7", row), Value::Null);
            assert_eq!(output(&outputs, "last_won_hop7", row), Value::Null);
            assert_eq!(output(&outputs, "scaled_hop7", row), Value::I64(0));
        }
    }
    // A state of no events stays missing, through every function.
    assert_eq!(fold(&no_states(2), &[]), Ok(no_states(2)));
    assert_eq!(
        testing::merge::<MarketPrice>(&no_states(2), &no_states(2)),
        Ok(no_states(2))
    );
    assert_eq!(fold(&no_states(0), &[]), Ok(no_states(0)));
    assert_eq!(read(&no_states(0), &[]).unwrap()[0].rows(), 0);
}

/// A host may pass what is the same for all rows as a scalar.
#[test]
fn scalars_are_columns() {
    let events = [event(0, 1), event(0, 2)];
    let mut columns = event_columns(&events);
    columns[0] = Column::scalar(ColumnType::I64, Value::I64(0)).unwrap();
    columns[2] = Column::scalar(ColumnType::F64, Value::F64(1.0)).unwrap();
    let states = testing::fold::<MarketPrice>(&no_states(1), &refs(&columns)).unwrap();
    assert_eq!(states, fold(&no_states(1), &events).unwrap());
    let queries = [query(0, 3, 0), query(0, 9, 0)];
    let mut columns = query_columns(&queries, false);
    columns[2] = Column::scalar(ColumnType::I64, Value::I64(2)).unwrap();
    assert_eq!(
        testing::read::<MarketPrice>(&states, &refs(&columns)),
        read(&states, &queries)
    );
}

/// Missing values are not accumulated, and a missing flag is not set.
#[test]
fn missing_values_are_left_out() {
    let at = |time, price, won| Event {
        state: 0,
        time,
        auction: Auction {
            price,
            won,
            rank: time,
            exchange: Some("adx"),
        },
    };
    let events = [
        at(1, None, Some(true)),
        at(2, Some(4.0), None),
        at(3, Some(2.0), Some(false)),
        at(4, None, None),
    ];
    let outputs = read(&fold(&no_states(1), &events).unwrap(), &[query(0, 5, 0)]).unwrap();
    for (name, expected) in [
        ("auctions", Value::I64(4)),
        ("wins", Value::I64(1)),
        ("spend", Value::F64(6.0)),
        ("price", Value::Null),
        ("ranks", Value::I64(10)),
        ("best", Value::I64(1)),
        ("dearest", Value::F64(4.0)),
        ("last_won", Value::Bool(false)),
        ("scaled", Value::I64(8)),
    ] {
        assert_eq!(output(&outputs, &format!("{name}_exact7"), 0), expected, "{name}");
    }
}
