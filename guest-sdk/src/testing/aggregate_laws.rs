use unskew_frame::{Column, ColumnType};

use super::{Random, batch, fold, merge, read};
use crate::aggregate::{Accumulators, Aggregate};
use crate::bound::StateBound;
use crate::column::{ColumnMeta, Input};

/// The most states, events and queries of a case.
const MAX_STATES: usize = 3;
const MAX_EVENTS: usize = 20;
const MAX_QUERIES: usize = 8;

/// Checks the laws of an aggregate on random events and queries, through its frames, to the bit:
///
/// - any order of arrival, event by event or at once, and merging give the same states;
/// - reading a state gives what the batch form gives for the events in it, whether they come as a state or as events;
/// - events older than every window change no output;
/// - no state has more bytes than its [bound](StateBound).
///
/// Times lie at and beside the edges of the windows, and at both ends of time; values are missing, NaN, infinite, the least and the
/// greatest.
///
/// # Panics
/// On a law that does not hold, with the seed of the case.
pub fn check_aggregate_laws<T: Aggregate>(cases: usize) {
    for seed in 0..cases as u64 {
        let mut random = Random::new(seed.wrapping_mul(0x9e6c_63d0_876a_68ee));
        if let Err(broken) = Case::random::<T>(&mut random).check::<T>(&mut random) {
            panic!("{broken}\nseed: {seed}");
        }
    }
}

/// An event or a query: whose it is, when, and a row of a table of values.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Row {
    state: usize,
    time: i64,
    /// Of a query.
    visible: usize,
    value: usize,
}

struct Case {
    states: usize,
    /// In the order in which they become visible.
    events: Vec<Row>,
    queries: Vec<Row>,
    event_values: Vec<Column>,
    query_values: Vec<Column>,
}

impl Case {
    fn random<T: Aggregate>(random: &mut Random) -> Self {
        let states = 1 + random.below(MAX_STATES);
        let base = random.one_of(&[0, 1_705_312_800_000_000, -86_400_000_000, i64::MIN, i64::MAX - 1]);
        let count = random.below(MAX_EVENTS);
        let mut events: Vec<Row> = (0..count)
            .map(|value| Row {
                state: random.below(states),
                // Before the last instant, so that there is one for a query behind it.
                time: base.saturating_add(offset::<T>(random)).min(i64::MAX - 1),
                visible: 0,
                value,
            })
            .collect();
        if random.bool() {
            events.sort_by_key(|event| event.time);
        }
        events.sort_by_key(|event| event.state);
        let event_columns = <<T::Totals as Accumulators>::Event<'_> as Input<'_>>::COLUMNS;
        let event_values = values(random, event_columns, count);
        let count = random.below(MAX_QUERIES);
        let mut case = Self {
            states,
            events,
            queries: Vec::new(),
            event_values,
            query_values: values(random, <T::Input<'_> as Input<'_>>::COLUMNS, count),
        };
        for value in 0..count {
            let state = random.below(states);
            let of_state: Vec<&Row> = case.events.iter().filter(|event| event.state == state).collect();
            let visible = random.below(of_state.len() + 1);
            let last = of_state[..visible].iter().map(|event| event.time).max();
            let after = if random.bool() {
                1
            } else {
                offset::<T>(random).abs().max(1)
            };
            case.queries.push(Row {
                state,
                time: last.unwrap_or(base).saturating_add(after),
                visible,
                value,
            });
        }
        case.queries
            .sort_by_key(|query| (query.state, query.visible, query.time));
        case
    }

    fn check<T: Aggregate>(&self, random: &mut Random) -> Result<(), String> {
        let none = no_states(self.states);
        let whole = self.fold::<T>(&none, &self.events)?;
        let mut order = self.events.clone();
        random.shuffle(&mut order);
        let cut = random.below(order.len() + 1);
        let one_by_one = order
            .iter()
            .try_fold(none.clone(), |states, event| self.fold::<T>(&states, &[*event]))?;
        if one_by_one != whole {
            return Err(format!(
                "event by event, in another order, the states differ: {order:?}"
            ));
        }
        let (left, right) = (
            self.fold::<T>(&none, &order[..cut])?,
            self.fold::<T>(&none, &order[cut..])?,
        );
        if merge::<T>(&left, &right).map_err(|error| format!("merge: {error:?}"))? != whole {
            return Err(format!(
                "merged, the states differ: {:?} and {:?}",
                &order[..cut],
                &order[cut..]
            ));
        }

        let in_batch = self.batch::<T>(&none, &self.events, &self.queries)?;
        for (row, query) in self.queries.iter().enumerate() {
            let mut events = self.events.clone();
            events.retain(|event| event.state == query.state);
            events.truncate(query.visible);
            let state = self.fold::<T>(&none, &events)?;
            let answer = self.read::<T>(&state, query)?;
            let unseen = Row { visible: 0, ..*query };
            let from_state = self.batch::<T>(&state, &[], &[unseen])?;
            events.retain(|event| T::WINDOWS.iter().any(|window| event.time >= window.tail(query.time)));
            let recomputed = self.read::<T>(&self.fold::<T>(&none, &events)?, query)?;
            let cut = random.below(query.visible + 1);
            let rest = Row {
                visible: query.visible - cut,
                ..*query
            };
            let mut of_state = self.events.clone();
            of_state.retain(|event| event.state == query.state);
            let (before, after) = of_state.split_at(cut);
            let both = self.batch::<T>(&self.fold::<T>(&none, before)?, after, &[rest])?;
            for (index, column) in answer.iter().enumerate() {
                let name = &super::output_names::<T>()[index];
                let expected = column.value(0);
                for (what, found) in [
                    ("in batch", in_batch[index].value(row)),
                    ("in batch from the state", from_state[index].value(0)),
                    ("in batch from a state and events", both[index].value(0)),
                    ("without what no window sees", recomputed[index].value(0)),
                ] {
                    if found != expected {
                        return Err(format!(
                            "`{name}` is {expected:?} and {what} {found:?}, at {query:?}: {events:?}"
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    fn fold<T: Aggregate>(&self, states: &Column, events: &[Row]) -> Result<Column, String> {
        let columns = self.columns(events, &self.event_values, false);
        let folded =
            fold::<T>(states, &columns.iter().collect::<Vec<_>>()).map_err(|error| format!("fold: {error:?}"))?;
        let states = folded.view();
        let greatest = (0..self.states).map(|state| states.bytes(state).len() as u64).max();
        match StateBound::of::<T>().bytes {
            Some(bound) if greatest > Some(bound) => Err(format!(
                "a state of {greatest:?} bytes is beyond its bound of {bound}: {events:?}"
            )),
            _ => Ok(folded),
        }
    }

    fn read<T: Aggregate>(&self, states: &Column, query: &Row) -> Result<Vec<Column>, String> {
        let columns = self.columns(&[*query], &self.query_values, false);
        read::<T>(states, &columns.iter().collect::<Vec<_>>()).map_err(|error| format!("read: {error:?}"))
    }

    fn batch<T: Aggregate>(&self, states: &Column, events: &[Row], queries: &[Row]) -> Result<Vec<Column>, String> {
        let events = self.columns(events, &self.event_values, false);
        let queries = self.columns(queries, &self.query_values, true);
        let (events, queries): (Vec<&Column>, Vec<&Column>) = (events.iter().collect(), queries.iter().collect());
        batch::<T>(states, &events, &queries).map_err(|error| format!("batch: {error:?}"))
    }

    /// The columns of a frame of `rows`, which are put in the order of their states.
    fn columns(&self, rows: &[Row], values: &[Column], has_visible: bool) -> Vec<Column> {
        let mut rows = rows.to_vec();
        rows.sort_by_key(|row| row.state);
        let mut columns = vec![Column::new(ColumnType::I64), Column::new(ColumnType::Timestamp)];
        let mut visible = Column::new(ColumnType::I64);
        for row in &rows {
            columns[0].push_i64(row.state as i64);
            columns[1].push_timestamp(row.time);
            visible.push_i64(row.visible as i64);
        }
        columns.extend(has_visible.then_some(visible));
        for value in values {
            let mut column = Column::new(value.column_type());
            for row in &rows {
                column.extend_from(value.view(), row.value..row.value + 1);
            }
            columns.push(column);
        }
        columns
    }
}

fn no_states(count: usize) -> Column {
    let mut states = Column::new(ColumnType::Bytes);
    (0..count).for_each(|_| states.push_null());
    states
}

fn values(random: &mut Random, columns: &[ColumnMeta], count: usize) -> Vec<Column> {
    let fill = |column: &ColumnMeta| {
        let mut values = Column::new(column.column_type);
        (0..count).for_each(|_| random.push_value(&mut values, column.nullable));
        values
    };
    columns.iter().map(fill).collect()
}

/// A distance in time: at the edge of a window, beside it, or anywhere in it.
fn offset<T: Aggregate>(random: &mut Random) -> i64 {
    let window = T::WINDOWS[random.below(T::WINDOWS.len())];
    let at = match random.below(4) {
        0 => window.length_us,
        1 => window.hop_us * random.below(4) as i64,
        2 => (random.u64() % window.length_us.cast_unsigned()).cast_signed(),
        _ => 0,
    };
    at + random.below(3) as i64 - 1
}
