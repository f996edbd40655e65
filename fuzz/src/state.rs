use amounts::AmountsOfPayments;
use unskew_guest::frame::{Column, ColumnType};
use unskew_guest::testing::{batch, fold, merge, read, state_versions};

/// Takes bytes as the state of an aggregate with every accumulator of amounts, behind its version: they are refused by every
/// function, or by none, and then they are what would have been written.
pub fn read_state(bytes: &[u8]) {
    let version = state_versions::<AmountsOfPayments>()[0];
    let state = [&version.to_le_bytes()[..], bytes].concat();
    // The time of the last event stands behind the version.
    let last = bytes.first_chunk().map_or(0, |last| i64::from_le_bytes(*last));
    let of = |column_type, push: &dyn Fn(&mut Column)| {
        let mut column = Column::new(column_type);
        push(&mut column);
        column
    };
    let states = of(ColumnType::Bytes, &|column| column.push_bytes(&state));
    let none = of(ColumnType::Bytes, &Column::push_null);
    let index = of(ColumnType::I64, &|column| column.push_i64(0));
    let events: Vec<Column> = [ColumnType::I64, ColumnType::Timestamp, ColumnType::F64, ColumnType::I64]
        .map(Column::new)
        .into();
    let events: Vec<&Column> = events.iter().collect();

    let folded = fold::<AmountsOfPayments>(&states, &events);
    let merged = merge::<AmountsOfPayments>(&none, &states);
    assert_eq!(folded.is_ok(), merged.is_ok());
    if let (Ok(folded), Ok(merged)) = (&folded, &merged) {
        assert!(
            *folded == states && *merged == states,
            "a state that is read is another when it is written"
        );
    }
    let Some(later) = last.checked_add(1) else { return };
    for t in [later, later.saturating_add(300_000_000), i64::MAX] {
        let time = of(ColumnType::Timestamp, &|column| column.push_timestamp(t));
        let answers = read::<AmountsOfPayments>(&states, &[&index, &time]);
        let in_batch = batch::<AmountsOfPayments>(&states, &events, &[&index, &time, &index]);
        match (folded.is_ok(), answers, in_batch) {
            // What is not merged is not read as closely when it is read.
            (true, Ok(answers), Ok(in_batch)) => assert_eq!(answers, in_batch),
            (false, _, Err(_)) => {}
            (is_state, answers, in_batch) => {
                panic!(
                    "a state: {is_state}; read {}, in batch {}",
                    answers.is_ok(),
                    in_batch.is_ok()
                )
            }
        }
    }
}
