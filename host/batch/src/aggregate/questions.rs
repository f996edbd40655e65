use std::ops::Range;

use unskew::{CallError, CallLimits, Instance, state_column};
use unskew_frame::{Column, ColumnType, encoded_words};

use super::entities::Entities;
use super::reach::Reach;
use super::{MAX_CALL_ROWS, push_state};

/// The bytes of events that go to one call at most, but for one event, of those that an instance may have: with what a module makes
/// of them and its results they stay within.
const fn event_bytes(instance_bytes: usize) -> usize {
    instance_bytes / 8 * 3
}
/// What an event counts as at least: a module keeps its place among others, where some became known late.
const LEAST_EVENT_BYTES: usize = 12;
/// The most queries of a call that has more events than [`MAX_CALL_ROWS`]: a module keeps totals for each of them and each window.
const MAX_HOT_QUERIES: usize = MAX_CALL_ROWS;

/// What the batch form of an aggregate is asked: the events and queries of [`Entities`], in that order.
pub(crate) struct Questions<'a> {
    pub entities: &'a Entities,
    /// The times of the events, then the columns of the module's events.
    pub events: &'a [Column],
    /// The times of the queries, then the module's inputs, which may be scalars.
    pub queries: &'a [Column],
    /// What is known of each entity before its events, or why that is not known; nothing of any, if empty.
    pub states: &'a [Option<Result<Vec<u8>, String>>],
    pub reach: Reach,
    pub limits: CallRows,
}

/// How much goes to one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallRows {
    /// Events and queries of several entities are put together up to so many.
    pub rows: usize,
    /// The most events of an entity that has more of them, as long as its queries can be asked by fewer.
    pub events: usize,
    /// The most events of an entity whose windows have exact tails.
    pub hot_events: usize,
    /// The most queries of a call that has more than `rows` events.
    pub hot_queries: usize,
}

impl CallRows {
    /// For events of these columns, and an instance that may have so many bytes of memory.
    pub fn of(events: &[Column], instance_bytes: usize) -> Self {
        let rows = events.first().map_or(0, Column::rows);
        let columns: Vec<&Column> = events.iter().collect();
        // Events that are too large for any frame are too large for one of a call's worth.
        let bytes = encoded_words(&columns, rows).map_or(usize::MAX, |words| 8 * words);
        let within = |instance_bytes: usize| {
            let most = event_bytes(instance_bytes) / (bytes / rows.max(1)).max(LEAST_EVENT_BYTES);
            most.max(MAX_CALL_ROWS)
        };
        Self {
            rows: MAX_CALL_ROWS,
            events: within(CallLimits::BATCH.memory_bytes),
            hot_events: within(instance_bytes.max(CallLimits::BATCH.memory_bytes)),
            hot_queries: MAX_HOT_QUERIES,
        }
    }

    /// The most events that one query may see of an entity without folding some of them. Where folding bounds what is kept, so few
    /// that a call has at least as many new events as old ones: every event is sent to twice as many calls at most.
    fn of_query(&self, reach: Reach) -> usize {
        match reach.has_exact_tail {
            true => self.hot_events,
            false => self.events / 2,
        }
    }

    /// The most events of a call of one entity whose first query sees so many: for the same reason twice as many, where there is
    /// room.
    fn of_hot_call(&self, reach: Reach, first_seen: usize) -> usize {
        match reach.has_exact_tail {
            true => first_seen
                .saturating_mul(2)
                .clamp(self.events.min(self.hot_events), self.hot_events),
            false => self.events,
        }
    }
}

impl Questions<'_> {
    /// Why nothing is known of a query's entity.
    pub fn lost(&self, entity: usize) -> Option<&str> {
        self.states.get(entity)?.as_ref()?.as_ref().err().map(String::as_str)
    }

    /// The state of an entity before its events.
    fn state(&self, entity: usize) -> Option<&[u8]> {
        self.states.get(entity)?.as_ref()?.as_deref().ok()
    }
}

/// Asks a module, a call at a time.
pub(crate) struct Asking<'a> {
    questions: &'a Questions<'a>,
    parts: Vec<Part>,
    call: Call,
    /// Of the hot entity that was asked last, what became of its first events.
    folded: Option<Folded>,
    /// The events that the query sees whose call could not be made because they had to be folded.
    crowd: Option<usize>,
    /// The events that went to calls, to be folded or to be seen: the work that was done.
    #[cfg(test)]
    pub events_sent: usize,
}

/// The queries of one entity that go to one call.
struct Part {
    entity: usize,
    /// What became of its first events, if it is hot.
    folded: Option<Folded>,
    queries: Range<usize>,
}

impl Part {
    fn base(&self) -> usize {
        self.folded.as_ref().map_or(0, |folded| folded.events)
    }
}

/// The first events of an entity, which do not go to a call: its state has them, or no query sees them.
#[derive(Clone)]
struct Folded {
    entity: usize,
    /// Those at its time or later.
    query: usize,
    events: usize,
    state: Option<Vec<u8>>,
}

/// What happened to the first of some queries: how many of them, and whether they were answered.
pub(crate) struct Asked {
    pub queries: usize,
    pub result: Result<(), CallError>,
}

impl<'a> Asking<'a> {
    pub fn new(questions: &'a Questions<'a>) -> Self {
        Self {
            questions,
            parts: Vec::new(),
            call: Call::new(questions),
            folded: None,
            crowd: None,
            #[cfg(test)]
            events_sent: 0,
        }
    }

    /// Asks the first of these queries, as many as go to one call, and appends the answers to `done` in their order. None of
    /// their entities is [lost](Questions::lost).
    ///
    /// ```text
    /// for each entity: if it is hot, pass over its first events that no window of its next query reaches
    ///                  while that query sees more than goes to a call, fold some of them into its state
    ///                  put (state, the events since, the queries that see no more than goes to a call) into the call
    /// until the call is full
    /// ```
    ///
    /// What no window sees changes no answer, so passing over is exact; and times of queries ascend, so no query after it sees them
    /// either.
    pub fn ask(&mut self, instance: &mut Instance, queries: Range<usize>, done: &mut [Column]) -> Asked {
        self.parts.clear();
        let (mut next, mut events) = (queries.start, 0);
        while next < queries.end {
            let entity = self.questions.entities.of_query(next);
            let of_entity = next..queries.end.min(self.questions.entities.entities[entity].queries.end);
            let folded = match self.fold_until(entity, next, instance) {
                Ok(folded) => folded,
                // Those before it have an answer.
                Err(_) if next > queries.start => break,
                Err(error) => {
                    return Asked {
                        queries: of_entity.len(),
                        result: Err(error),
                    };
                }
            };
            let Some((part, seen)) = self.part(entity, folded, of_entity, next - queries.start, events) else {
                break;
            };
            (next, events) = (part.queries.end, events + seen);
            self.parts.push(part);
        }
        Asked {
            queries: next - queries.start,
            result: self.call_parts(instance, queries.start..next, done),
        }
    }

    /// As many queries of an entity as go into the call, which has some already, and how many events they see. None if the call is
    /// full.
    fn part(
        &self,
        entity: usize,
        folded: Option<Folded>,
        of_entity: Range<usize>,
        queries: usize,
        events: usize,
    ) -> Option<(Part, usize)> {
        let CallRows { rows, hot_queries, .. } = self.questions.limits;
        let visible = &self.questions.entities.visible;
        if queries >= rows || events >= rows {
            return None;
        }
        let base = folded.as_ref().map_or(0, |folded| folded.events);
        let seen = |query: usize| visible[query] as usize - base;
        let mut end = of_entity.end.min(of_entity.start + (rows - queries));
        if events + seen(end - 1) > rows {
            // A hot entity has a call of its own.
            if queries > 0 {
                return None;
            }
            end = of_entity.end.min(of_entity.start + hot_queries);
            let most = (self.questions.limits).of_hot_call(self.questions.reach, seen(of_entity.start));
            let is_within = |seen: &u32| *seen as usize - base <= most;
            end = of_entity.start + visible[of_entity.start..end].partition_point(is_within);
        }
        let part = Part {
            entity,
            folded,
            queries: of_entity.start..end,
        };
        Some((part, seen(end - 1)))
    }

    /// Leaves out the first events of a hot entity until a query sees no more of the others than go to a call.
    fn fold_until(
        &mut self,
        entity: usize,
        query: usize,
        instance: &mut Instance,
    ) -> Result<Option<Folded>, CallError> {
        let Questions {
            entities,
            events,
            queries,
            reach,
            limits,
            ..
        } = *self.questions;
        self.crowd = None;
        let visible = entities.visible[query] as usize;
        let most = limits.of_query(reach);
        if visible <= limits.rows.min(most) {
            return Ok(None);
        }
        let mut folded = match self.folded.take() {
            Some(folded) if folded.entity == entity && folded.query <= query => folded,
            _ => Folded {
                entity,
                query,
                events: 0,
                state: self.questions.state(entity).map(<[u8]>::to_vec),
            },
        };
        folded.query = query;
        let first = entities.entities[entity].events.start;
        let (times, first_seen) = (events[0].view(), reach.first_seen(queries[0].view().timestamp(query)));
        let unseen = (folded.events..visible).take_while(|event| times.timestamp(first + event) < first_seen);
        folded.events += unseen.count();
        let crowd = visible - folded.events;
        while visible - folded.events > most {
            let count = limits.rows.min(visible - folded.events);
            let events = first + folded.events..first + folded.events + count;
            self.crowd = Some(crowd);
            folded.state = fold_range(self.questions.events, folded.state.as_deref(), events, instance)?;
            folded.events += count;
            #[cfg(test)]
            {
                self.events_sent += count;
            }
        }
        self.crowd = None;
        self.folded = Some(folded.clone());
        Ok(Some(folded))
    }

    /// The events that a query sees, if the last call was not made because they are too many for one and could not be folded.
    pub fn crowd(&self) -> Option<usize> {
        self.crowd
    }

    fn call_parts(
        &mut self,
        instance: &mut Instance,
        rows: Range<usize>,
        done: &mut [Column],
    ) -> Result<(), CallError> {
        let questions = self.questions;
        let visible = &questions.entities.visible;
        let call = &mut self.call;
        call.clear(self.parts.len() == 1);
        for (index, part) in self.parts.iter().enumerate() {
            let state = match &part.folded {
                Some(folded) => folded.state.as_deref(),
                None => questions.state(part.entity),
            };
            push_state(&mut call.states, state);
            let first = questions.entities.entities[part.entity].events.start;
            let seen = visible[part.queries.end - 1] as usize;
            #[cfg(test)]
            {
                self.events_sent += seen - part.base();
            }
            call.events
                .push(questions.events, index, first + part.base()..first + seen);
            call.queries.push(questions.queries, index, part.queries.clone());
            for seen in &visible[part.queries.clone()] {
                call.visible.push_i64(i64::from(*seen) - part.base() as i64);
            }
        }
        let queries = call.queries.columns(questions.queries);
        // How many events are seen stands behind the state and the time.
        let queries: Vec<&Column> = queries[..2]
            .iter()
            .copied()
            .chain([&call.visible])
            .chain(queries[2..].iter().copied())
            .collect();
        instance.batch(
            &call.states,
            &call.events.columns(questions.events),
            &queries,
            rows.len(),
            done,
        )
    }
}

/// `state` with the events in `range` added.
pub(crate) fn fold_range(
    sorted: &[Column],
    state: Option<&[u8]>,
    range: Range<usize>,
    instance: &mut Instance,
) -> Result<Option<Vec<u8>>, CallError> {
    let (mut states, mut folded) = (state_column(), state_column());
    push_state(&mut states, state);
    let mut events = Rows::new(sorted);
    events.clear(true);
    events.push(sorted, 0, range);
    instance.fold(&states, &events.columns(sorted), &mut folded)?;
    let view = folded.view();
    Ok(view.is_present(0).then(|| view.bytes(0).to_vec()))
}

/// One call of the batch form; its memory is kept.
struct Call {
    states: Column,
    events: Rows,
    queries: Rows,
    visible: Column,
}

impl Call {
    fn new(questions: &Questions<'_>) -> Self {
        Self {
            states: state_column(),
            events: Rows::new(questions.events),
            queries: Rows::new(questions.queries),
            visible: Column::new(ColumnType::I64),
        }
    }

    fn clear(&mut self, is_of_one: bool) {
        self.states.clear();
        self.events.clear(is_of_one);
        self.queries.clear(is_of_one);
        self.visible.clear();
    }
}

/// Ranges of sorted rows, each of a state.
struct Rows {
    /// The state of each row; a scalar where all are of one.
    states: Column,
    columns: Vec<Column>,
}

impl Rows {
    fn new(sorted: &[Column]) -> Self {
        Self {
            states: Column::new(ColumnType::I64),
            columns: sorted.iter().map(|column| Column::new(column.column_type())).collect(),
        }
    }

    fn clear(&mut self, is_of_one: bool) {
        self.states.clear();
        if is_of_one {
            self.states.push_i64(0);
            self.states.make_scalar();
        }
        self.columns.iter_mut().for_each(Column::clear);
    }

    fn push(&mut self, sorted: &[Column], state: usize, rows: Range<usize>) {
        if !self.states.is_scalar() {
            rows.clone().for_each(|_| self.states.push_i64(state as i64));
        }
        for (column, sorted) in self.columns.iter_mut().zip(sorted) {
            if !sorted.is_scalar() {
                column.extend_from(sorted.view(), rows.clone());
            }
        }
    }

    /// The states, then the columns; a scalar as it is.
    fn columns<'a>(&'a self, sorted: &'a [Column]) -> Vec<&'a Column> {
        let columns = self.columns.iter().zip(sorted);
        let columns = columns.map(|(column, sorted)| if sorted.is_scalar() { sorted } else { column });
        std::iter::once(&self.states).chain(columns).collect()
    }
}
