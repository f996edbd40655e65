//! A million events of one entity within its windows, which have exact tails.

use super::*;
use crate::aggregate::entities::Entity;
use crate::ctr_history::exact_spend;

const EVENTS: usize = 1_000_000;
const MILLISECOND: i64 = 1_000;
const HOUR: i64 = MICROS_PER_HOUR;

/// An event each 2.5 s, for almost 29 days.
fn time(event: usize) -> i64 {
    event as i64 * 2_500 * MILLISECOND
}

/// In quarters, so that plain sums are exact.
fn amount(event: usize) -> f64 {
    (event % 8) as f64 / 4.0
}

/// The events in an order of arrival, and a query behind each of some of them.
struct Hot {
    arrival: Vec<usize>,
    /// How many events are visible, and when it asks.
    queries: Vec<(usize, i64)>,
}

impl Hot {
    /// The outputs in the order of the module: count, sum, mean and last of each window.
    fn read(
        &self,
        instance: &mut Instance,
        limits: impl Fn(&[Column]) -> CallRows,
    ) -> Result<Vec<Column>, (CallError, Option<usize>)> {
        let (mut times, mut amounts) = (Column::new(ColumnType::Timestamp), Column::new(ColumnType::F64));
        for event in &self.arrival {
            times.push_timestamp(time(*event));
            amounts.push_f64(amount(*event));
        }
        let mut asked_at = Column::new(ColumnType::Timestamp);
        self.queries.iter().for_each(|(_, t)| asked_at.push_timestamp(*t));
        let entities = Entities {
            entities: vec![Entity {
                events: 0..self.arrival.len(),
                queries: 0..self.queries.len(),
                has_key: true,
            }],
            events: (0..self.arrival.len() as u32).collect(),
            queries: (0..self.queries.len() as u32).collect(),
            visible: self.queries.iter().map(|(visible, _)| *visible as u32).collect(),
        };
        let events = [times, amounts];
        let Kind::Aggregate(aggregation) = &exact_spend().descriptor().kind else {
            unreachable!("it is an aggregate")
        };
        let questions = Questions {
            entities: &entities,
            events: &events,
            queries: &[asked_at],
            states: &[],
            reach: Reach::of(&aggregation.windows),
            limits: limits(&events),
        };
        let outputs = exact_spend().descriptor().outputs.iter();
        let mut done: Vec<Column> = outputs.map(|output| Column::new(output.column_type)).collect();
        let mut asking = Asking::new(&questions);
        let mut first = 0;
        while first < self.queries.len() {
            let asked = asking.ask(instance, first..self.queries.len(), &mut done);
            asked.result.map_err(|error| (error, asking.crowd()))?;
            first += asked.queries;
        }
        Ok(done)
    }

    /// The outputs, by an instance that has no more than the usual memory.
    fn read_usual(&self) -> Vec<Column> {
        let usual = CallLimits::BATCH.memory_bytes;
        self.read(&mut exact_instance(usual), |events| CallRows::of(events, usual))
            .unwrap()
    }

    /// What the outputs must be, from nothing but the definition of a window.
    fn check(&self, outputs: &[Column]) {
        let windows = [HOUR, 24 * HOUR, 7 * 24 * HOUR, 30 * 24 * HOUR];
        for (row, (visible, t)) in self.queries.iter().enumerate() {
            let mut totals = [(0_i64, 0.0, None); 4];
            for event in &self.arrival[..*visible] {
                for ((count, sum, last), length) in totals.iter_mut().zip(windows) {
                    if t - length <= time(*event) {
                        *count += 1;
                        *sum += amount(*event);
                        *last = (*last).max(Some(*event));
                    }
                }
            }
            for (window, (count, sum, last)) in totals.into_iter().enumerate() {
                let of_some = |value: f64| if count > 0 { Value::F64(value) } else { Value::Null };
                let expected = [
                    Value::I64(count),
                    of_some(sum),
                    of_some(sum / count as f64),
                    last.map_or(Value::Null, |event| Value::F64(amount(event))),
                ];
                for (column, expected) in outputs[4 * window..].iter().zip(expected) {
                    assert_eq!(
                        column.value(row),
                        expected,
                        "window {window} of {:?}",
                        self.queries[row]
                    );
                }
            }
        }
    }
}

fn exact_instance(memory_bytes: usize) -> Instance {
    let limits = CallLimits {
        memory_bytes,
        ..CallLimits::BATCH
    };
    exact_spend().instantiate(limits).unwrap()
}

/// As they happen: a million in the windows of the last queries.
#[test]
fn a_million_events_of_an_entity_are_within_its_windows() {
    let hot = Hot {
        arrival: (0..EVENTS).collect(),
        queries: (1..=10)
            .map(|n| n * EVENTS / 10)
            .map(|visible| (visible, time(visible - 1) + 1))
            .collect(),
    };
    hot.check(&hot.read_usual());
    // The last two queries, 2 h later: the hour before them is empty.
    let later = Hot {
        queries: vec![(EVENTS, time(EVENTS) + 2 * HOUR); 2],
        ..hot
    };
    later.check(&later.read_usual());
}

/// Known up to an hour late: ranked by time, in the memory of one instance.
#[test]
fn a_million_events_that_became_known_late_are_ranked() {
    let mut arrival: Vec<usize> = (0..EVENTS).collect();
    for late in arrival.chunks_mut(1_440) {
        late.reverse();
        late.rotate_left(late.len() / 2);
    }
    let hot = Hot {
        arrival,
        queries: (1..=8)
            .map(|n| n * EVENTS / 8)
            .map(|visible| (visible, time(visible) + HOUR))
            .collect(),
    };
    hot.check(&hot.read_usual());
}

/// More than there is room for is told with the number of events.
#[test]
fn a_crowd_without_room_is_refused() {
    const CROWD: usize = 500_000;
    let hot = Hot {
        arrival: (0..CROWD).collect(),
        queries: vec![(100, time(100)), (CROWD, time(CROWD))],
    };
    let mut instance = exact_instance(CallLimits::BATCH.memory_bytes);
    let limits = |_: &[Column]| CallRows {
        hot_events: 50_000,
        ..AT_ONCE
    };
    let (error, crowd) = hot.read(&mut instance, limits).unwrap_err();
    assert!(error.is_of_rows(), "{error}");
    assert_eq!(crowd, Some(CROWD));
}
