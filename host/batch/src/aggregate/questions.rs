use std::ops::Range;

use unskew::{CallError, Instance, state_column};
use unskew_frame::{Column, ColumnType, encoded_words};

use super::entities::Entities;
use super::{MAX_CALL_ROWS, push_state};

/// The bytes of events that go to one call at most, but for one event: with what a module makes of them and its results they stay
/// within the memory of an instance.
const MAX_EVENT_BYTES: usize = 24 << 20;
/// The most queries of a call that has more events than [`MAX_CALL_ROWS`].
const MAX_HOT_QUERIES: usize = 1 << 15;

/// What the batch form of an aggregate is asked: the events and queries of [`Entities`], in that order.
pub(crate) struct Questions<'a> {
    pub entities: &'a Entities,
    /// The times of the events, then the columns of the module's events.
    pub events: &'a [Column],
    /// The times of the queries, then the module's inputs, which may be scalars.
    pub queries: &'a [Column],
    /// What is known of each entity before its events, or why that is not known; nothing of any, if empty.
    pub states: &'a [Option<Result<Vec<u8>, String>>],
    pub limits: CallRows,
}

/// How much goes to one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallRows {
    /// Events and queries of several entities are put together up to so many.
    pub rows: usize,
    /// The most events. An entity's that are more are folded on the way, so none is too hot for a frame.
    pub events: usize,
    /// The most queries of a call that has more than `rows` events.
    pub hot_queries: usize,
}

impl CallRows {
    /// For events of these columns.
    pub fn of(events: &[Column]) -> Self {
        let rows = events.first().map_or(0, Column::rows);
        let columns: Vec<&Column> = events.iter().collect();
        // Events that are too large for any frame are too large for one of a call's worth.
        let bytes = encoded_words(&columns, rows).map_or(usize::MAX, |words| 8 * words);
        Self {
            rows: MAX_CALL_ROWS,
            events: (MAX_EVENT_BYTES / (bytes / rows.max(1)).max(1)).max(MAX_CALL_ROWS),
            hot_queries: MAX_HOT_QUERIES,
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
    /// Of the entity that was folded last, its state with its first events.
    folded: Option<Folded>,
}

/// The queries of one entity that go to one call.
struct Part {
    entity: usize,
    /// How many of its events are folded, and its state with them.
    folded: Option<Folded>,
    queries: Range<usize>,
}

impl Part {
    fn base(&self) -> usize {
        self.folded.as_ref().map_or(0, |folded| folded.events)
    }
}

#[derive(Clone)]
struct Folded {
    entity: usize,
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
        }
    }

    /// Asks the first of these queries, as many as go to one call, and appends the answers to `done` in their order. None of
    /// their entities is [lost](Questions::lost).
    ///
    /// ```text
    /// for each entity: while its next query sees more than a call's worth of new events, fold a call's worth into its state
    ///                  put (state, the events since, the queries that see no more than a call's worth) into the call
    /// until the call is full
    /// ```
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
        let CallRows {
            rows,
            events: max_events,
            hot_queries,
        } = self.questions.limits;
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
            end = end.min(of_entity.start + hot_queries);
            let is_within = |seen: &u32| *seen as usize - base <= max_events;
            end = of_entity.start + visible[of_entity.start..end].partition_point(is_within);
        }
        let part = Part {
            entity,
            folded,
            queries: of_entity.start..end,
        };
        Some((part, seen(end - 1)))
    }

    /// Folds events of an entity until a query sees no more new ones than go to a call.
    fn fold_until(
        &mut self,
        entity: usize,
        query: usize,
        instance: &mut Instance,
    ) -> Result<Option<Folded>, CallError> {
        let entities = self.questions.entities;
        let visible = entities.visible[query] as usize;
        let limit = self.questions.limits.events;
        if visible <= limit {
            return Ok(None);
        }
        let mut folded = match self.folded.take() {
            Some(folded) if folded.entity == entity && folded.events <= visible => folded,
            _ => Folded {
                entity,
                events: 0,
                state: self.questions.state(entity).map(<[u8]>::to_vec),
            },
        };
        let first = entities.entities[entity].events.start;
        while visible - folded.events > limit {
            let events = first + folded.events..first + folded.events + self.questions.limits.rows.min(limit);
            folded.events += events.len();
            folded.state = fold_range(self.questions.events, folded.state.as_deref(), events, instance)?;
        }
        self.folded = Some(folded.clone());
        Ok(Some(folded))
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
