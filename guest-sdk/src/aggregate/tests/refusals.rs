//! What is not what the descriptor calls for: an error that says so, never a panic.

use super::*;

/// The message of a refused frame.
fn refusal<T: core::fmt::Debug>(result: Result<T, AggregateError>) -> String {
    match result {
        Err(AggregateError::Frame(message)) => message,
        other => panic!("not a refused frame: {other:?}"),
    }
}

fn state_of(events: &[Event]) -> Vec<u8> {
    fold(&no_states(1), events).unwrap().view().bytes(0).to_vec()
}

fn states_of(states: &[&[u8]]) -> Column {
    column(ColumnType::Bytes, states.iter().map(|state| Value::Bytes(state)))
}

/// The same error by every function that reads states.
fn check_states(states: &Column, expected: &AggregateError) {
    let (none, queries) = (no_states(states.rows()), [query(0, 1_000, 0)]);
    assert_eq!(fold(states, &[]).unwrap_err(), *expected);
    assert_eq!(testing::merge::<MarketPrice>(states, &none).unwrap_err(), *expected);
    assert_eq!(testing::merge::<MarketPrice>(&none, states).unwrap_err(), *expected);
    assert_eq!(batch(states, &[], &queries).unwrap_err(), *expected);
}

#[test]
fn states_of_other_versions_are_refused() {
    let mut state = state_of(&[event(0, 5)]);
    state[0] ^= 1;
    let version = u32::from_le_bytes(*state.first_chunk().unwrap());
    let states = states_of(&[&state]);
    check_states(&states, &AggregateError::StateVersion(version));
    assert_eq!(
        read(&states, &[query(0, 9, 0)]),
        Err(AggregateError::StateVersion(version))
    );
    // A state that nobody asks for is not read.
    assert!(read(&states, &[]).is_ok());
}

#[test]
fn damaged_states_are_refused_by_row() {
    let good = state_of(&[event(0, 5), event(0, 6)]);
    let mut longer = good.clone();
    longer.push(0);
    for damaged in [&[][..], &good[..3], &good[..11], &good[..good.len() - 1], &longer] {
        let states = states_of(&[&good, damaged]);
        check_states(&states, &AggregateError::State(1));
        assert_eq!(read(&states, &[query(1, 9, 0)]), Err(AggregateError::State(1)));
        assert!(read(&states, &[query(0, 9, 0)]).is_ok());
    }
}

#[test]
fn every_damaged_byte_is_refused_or_read() {
    let layout = Layout::of::<MarketPrice>();
    let state = state_of(&[event(0, -3), event(0, 1_500), event(0, 1_512)]);
    for len in 0..state.len() {
        check_states(&states_of(&[&state[..len]]), &AggregateError::State(0));
    }
    let mut refused = 0;
    for at in 0..state.len() {
        for byte in 0..=255 {
            let mut damaged = state.clone();
            damaged[at] = byte;
            let Ok(decoded) = State::<Totals>::decode(&damaged, layout.version, &layout.tiling) else {
                refused += 1;
                continue;
            };
            // What was read is written as it was: no state has two forms.
            let mut again = Vec::new();
            decoded.encode(&layout.tiling, layout.version, decoded.last().unwrap(), &mut again);
            assert_eq!(again, damaged, "byte {at} is {byte}");
        }
        for bit in 0..8 {
            let mut damaged = state.clone();
            damaged[at] ^= 1 << bit;
            let states = states_of(&[&damaged]);
            let (folded, answer) = (fold(&states, &[event(0, 1_600)]), read(&states, &[query(0, 1_700, 0)]));
            match folded {
                Ok(folded) => {
                    assert!(fold(&folded, &[]).is_ok());
                    assert!(answer.is_ok() || answer == Err(AggregateError::QueryBeforeState(0)));
                }
                Err(error) => {
                    assert!(matches!(
                        error,
                        AggregateError::State(0) | AggregateError::StateVersion(_)
                    ));
                    // A query reads what it needs: it may see nothing of the damage.
                    match answer {
                        Ok(_) | Err(AggregateError::QueryBeforeState(0)) => {}
                        Err(answer) => assert_eq!(answer, error),
                    }
                }
            }
        }
    }
    assert!(
        refused > 256 * state.len() / 3,
        "{refused} of {} are refused",
        256 * state.len()
    );
}

/// A state whose cells are not those of its last event, or that no query after that can see, is damaged. None can lie after it,
/// whatever the bytes: they are counted back from there.
#[test]
fn a_cell_that_could_not_be_there_is_damage() {
    let state = state_of(&[event(0, 5_000), event(0, 5_003)]);
    // Two cells, each number in a byte: the distances are 0 and 3.
    assert_eq!(state[12..16], [2, 0, 0, 3]);
    for (distances, is_good) in [
        ([0, 3], true),
        ([0, 19], true),
        // Out of sight of the exact tails, and not where a hop begins.
        ([0, 20], false),
        ([1, 3], false),
        ([3, 3], false),
        ([0, 0], false),
    ] {
        let mut state = state.clone();
        state[14..16].copy_from_slice(&distances);
        assert_eq!(fold(&states_of(&[&state]), &[]).is_ok(), is_good, "{distances:?}");
    }
    // Where the first totals end, and widths that are wider than need be.
    for at in [13, 16] {
        let mut state = state.clone();
        state[at] ^= 1;
        check_states(&states_of(&[&state]), &AggregateError::State(0));
    }
}

#[test]
fn state_indices_ascend_within_the_states() {
    let states = no_states(2);
    for (indices, message) in [
        (&[1, 0][..], "row 1 is of state 0 after 1, of 2"),
        (&[0, 2], "row 1 is of state 2 after 0, of 2"),
        (&[-1], "row 0 is of state -1 after 0, of 2"),
        (&[i64::MAX], "row 0 is of state 9223372036854775807 after 0, of 2"),
    ] {
        let mut events = event_columns(&vec![event(0, 1); indices.len()]);
        events[0] = column(ColumnType::I64, indices.iter().map(|index| Value::I64(*index)));
        let refused = refusal(testing::fold::<MarketPrice>(&states, &refs(&events)));
        assert_eq!(refused, format!("events: {message}"));
        let mut queries = query_columns(&vec![query(0, 1, 0); indices.len()], false);
        queries[0] = events[0].clone();
        let refused = refusal(testing::read::<MarketPrice>(&states, &refs(&queries)));
        assert_eq!(refused, format!("queries: {message}"));
    }
}

#[test]
fn visible_ascends_within_the_events() {
    let (states, events) = (no_states(2), [event(0, 1), event(0, 2), event(1, 1)]);
    for (queries, message) in [
        (
            &[query(0, 9, 2), query(0, 9, 1)][..],
            "query 1 sees 1 events after one that sees 2, of 2",
        ),
        (&[query(0, 9, 3)], "query 0 sees 3 events after one that sees 0, of 2"),
        (
            &[query(0, 9, 2), query(1, 9, 2)],
            "query 1 sees 2 events after one that sees 0, of 1",
        ),
    ] {
        assert_eq!(refusal(batch(&states, &events, queries)), message);
    }
    // Anew for each state.
    assert!(batch(&states, &events, &[query(0, 9, 2), query(1, 9, 0)]).is_ok());
    let mut queries = query_columns(&[query(0, 9, 0)], true);
    queries[2] = column(ColumnType::I64, [Value::I64(-1)]);
    let refused = refusal(testing::batch::<MarketPrice>(
        &states,
        &refs(&event_columns(&events)),
        &refs(&queries),
    ));
    assert!(refused.starts_with("query 0 sees "), "{refused}");
}

#[test]
fn a_query_before_its_state_is_named() {
    let states = fold(&no_states(2), &[event(1, 10)]).unwrap();
    let queries = [query(0, 5, 0), query(1, 11, 0), query(1, 10, 0)];
    assert_eq!(read(&states, &queries), Err(AggregateError::QueryBeforeState(2)));
    assert_eq!(batch(&states, &[], &queries), Err(AggregateError::QueryBeforeState(2)));
    assert!(read(&states, &queries[..2]).is_ok());
    // The greatest time counts, not the last to come.
    let events = [event(0, 20), event(0, 3)];
    assert_eq!(
        batch(&no_states(1), &events, &[query(0, 20, 2)]),
        Err(AggregateError::QueryBeforeState(0))
    );
    assert!(batch(&no_states(1), &events, &[query(0, 21, 2)]).is_ok());
}

#[test]
fn values_must_be_there_where_they_are_declared() {
    let events = [event(0, 1)];
    for (index, message) in [
        (0, "events: column 0 has missing values"),
        (1, "events: column 1 has missing values"),
        (4, "events: `rank` has missing values and is not an Option"),
    ] {
        let mut columns = event_columns(&events);
        columns[index] = column(columns[index].column_type(), [Value::Null]);
        assert_eq!(
            refusal(testing::fold::<MarketPrice>(&no_states(1), &refs(&columns))),
            message
        );
    }
    for index in 0..3 {
        let mut columns = query_columns(&[query(0, 1, 0)], true);
        columns[index] = column(columns[index].column_type(), [Value::Null]);
        let refused = refusal(testing::batch::<MarketPrice>(
            &no_states(1),
            &refs(&event_columns(&[])),
            &refs(&columns),
        ));
        assert_eq!(refused, format!("queries: column {index} has missing values"));
    }
}

#[test]
fn frames_of_other_types_are_refused() {
    let (states, events, queries) = (
        no_states(1),
        event_columns(&[event(0, 1)]),
        query_columns(&[query(0, 9, 0)], true),
    );
    for index in 0..events.len() {
        let wrong = column(ColumnType::F32, [Value::F32(0.0)]);
        let mut columns = refs(&events);
        columns[index] = &wrong;
        let expected = format!("events: frame column {index}: the column is of another type than expected");
        assert_eq!(refusal(testing::fold::<MarketPrice>(&states, &columns)), expected);
        assert_eq!(
            refusal(testing::batch::<MarketPrice>(&states, &columns, &refs(&queries))),
            expected
        );
    }
    for index in 0..queries.len() {
        let wrong = column(ColumnType::F32, [Value::F32(0.0)]);
        let mut columns = refs(&queries);
        columns[index] = &wrong;
        let expected = format!("queries: frame column {index}: the column is of another type than expected");
        assert_eq!(
            refusal(testing::batch::<MarketPrice>(&states, &refs(&events), &columns)),
            expected
        );
    }
    // A batch's queries have a column more than read's.
    let expected = "queries: the frame has another number of columns than expected";
    assert_eq!(
        refusal(testing::read::<MarketPrice>(&states, &refs(&queries))),
        expected
    );
    let texts = column(ColumnType::String, [Value::Null]);
    assert_eq!(
        refusal(fold(&texts, &[])),
        "states: frame column 0: the column is of another type than expected"
    );
    assert_eq!(
        refusal(testing::merge::<MarketPrice>(&no_states(1), &no_states(2))),
        "the two sides have different numbers of rows"
    );
    let mut out = FrameBuffer::new();
    assert!(refusal(fold_frame::<MarketPrice>(&[], &[1, 2, 3], &mut out)).starts_with("states: "));
}
