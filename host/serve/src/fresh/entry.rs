use std::cmp::Ordering;
use std::sync::Arc;

use unskew_snapshot::{
    DetachedRow, EntityKey, EventTime, HashedKey, KeyRef, Layers, Row, Snapshot, Version, compare_versions,
};

use crate::fresh::event::Event;

/// The most events of an entity that reads before the newest of them are answered with, one by one. Behind them are reads that
/// come later than so many events; earlier ones see that the row is from their future.
pub(super) const MAX_PENDING: usize = 64;
/// The most versions of a row of features that are kept for such reads.
pub(super) const MAX_STEPS: usize = 16;

/// What is fresh of one entity: what reads see of it at which time. Never changed; another takes its place.
///
/// ```text
///  features    steps [ a | b | c ]               each is the greatest version from an instant on
///  aggregate   steps [ settled | newest ]        the states of the events up to an instant, and of all
///              pending [ e f g ]                 those between the two, in the order in which they become visible
/// ```
///
/// A read waits for memory three times: for the entry's place in the table, for the entry, and for its newest row, and for none
/// of them where it asked before. So what it needs is at the front, and the rest is elsewhere.
#[derive(Clone, Debug)]
#[repr(C)]
pub(crate) struct Entry {
    pub hash: u64,
    /// The key, where it is as short as most: else it is compared where `key` has it.
    short_key: ShortKey,
    /// The last step's.
    newest: Option<Newest>,
    pub key: EntityKey,
    /// How many events it is made of.
    pub events: usize,
    /// In the order of time.
    pub steps: Vec<Step>,
    /// In the order in which they become visible.
    pub pending: Vec<Arc<Event>>,
    /// Whether there were steps before the first: then reads before that find nothing, and else what the snapshot has.
    pub is_cut: bool,
    /// Whether an event could not be counted in.
    pub is_failed: bool,
}

/// What most reads want: the last step.
#[derive(Clone, Debug)]
struct Newest {
    from: EventTime,
    row: DetachedRow,
}

/// Up to 23 bytes of a key; of a longer one, none and a length that no key has here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ShortKey {
    bytes: [u8; Self::MAX_BYTES],
    len: u8,
}

impl ShortKey {
    const MAX_BYTES: usize = 23;
    const LONG: u8 = u8::MAX;

    fn new(key: KeyRef<'_>) -> Self {
        let mut bytes = [0; Self::MAX_BYTES];
        let len = match bytes.get_mut(..key.as_bytes().len()) {
            Some(place) => {
                place.copy_from_slice(key.as_bytes());
                key.as_bytes().len() as u8
            }
            None => Self::LONG,
        };
        Self { bytes, len }
    }
}

/// What reads see from an instant on.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub from: EventTime,
    pub row: DetachedRow,
    /// The event that the row is; none of an aggregate.
    version: Option<Arc<Event>>,
}

/// What a read at a time sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// What the snapshot has.
    Snapshot,
    /// A step.
    Step(usize),
    /// A step, or what the snapshot has, with so many of the pending events.
    Late { step: Option<usize>, events: usize },
    /// All that is kept is from later.
    Future,
    /// An event could not be counted in.
    Failed,
}

impl Entry {
    /// Of no events.
    pub fn new(key: &EntityKey) -> Self {
        Self {
            hash: key.as_ref().hash(),
            short_key: ShortKey::new(key.as_ref()),
            newest: None,
            key: key.clone(),
            events: 0,
            steps: Vec::new(),
            pending: Vec::new(),
            is_cut: false,
            is_failed: false,
        }
    }

    /// As it is to be read: nothing of it is changed from here on.
    pub fn sealed(mut self) -> Self {
        self.newest = self.steps.last().map(|step| Newest {
            from: step.from,
            row: step.row.clone(),
        });
        self
    }

    /// Whether it is of a key.
    #[inline]
    pub fn is_of(&self, key: HashedKey<'_>) -> bool {
        let bytes = key.key().as_bytes();
        let is_same = match self.short_key.bytes.get(..self.short_key.len.into()) {
            Some(short) => short == bytes,
            None => self.key.as_ref() == key.key(),
        };
        is_same && self.hash == key.hash()
    }

    /// Asks for the newest row, and waits for nothing.
    #[inline]
    pub fn prefetch_row(&self) {
        if let Some(newest) = &self.newest {
            newest.row.prefetch();
        }
    }

    #[inline]
    pub fn answer(&self, at: EventTime) -> Answer {
        match &self.newest {
            Some(newest) if newest.from <= at && !self.is_failed => Answer::Step(self.steps.len() - 1),
            _ => self.answer_before(at),
        }
    }

    /// A read that is not after all events.
    #[cold]
    fn answer_before(&self, at: EventTime) -> Answer {
        if self.is_failed {
            return Answer::Failed;
        }
        let step = self.steps.iter().rposition(|step| step.from <= at);
        if step.is_none() && self.is_cut {
            return Answer::Future;
        }
        match (self.pending.partition_point(|event| event.visible_from() <= at), step) {
            (0, None) => Answer::Snapshot,
            (0, Some(step)) => Answer::Step(step),
            (events, step) => Answer::Late { step, events },
        }
    }

    /// The row of a step.
    pub fn row<'a>(&'a self, step: usize, snapshot: &'a Snapshot) -> Row<'a> {
        match &self.newest {
            Some(newest) if step + 1 == self.steps.len() => newest.row.row(snapshot),
            _ => self.steps[step].row.row(snapshot),
        }
    }

    /// The row with all events; none where one of them could not be counted in.
    pub fn newest<'a>(&'a self, layers: &'a Layers) -> Option<Row<'a>> {
        match self.steps.len().checked_sub(1) {
            _ if self.is_failed => None,
            Some(newest) => Some(self.row(newest, &layers.base().snapshot)),
            // None of its versions is greater than the snapshot's.
            None => layers.get(self.key.as_ref()),
        }
    }

    /// Of an aggregate, the state of the events that are pending no longer.
    pub fn settled(&self) -> Option<&Step> {
        self.steps.first().filter(|_| self.is_cut)
    }

    pub fn set_settled(&mut self, step: Step) {
        match self.is_cut {
            true => self.steps[0] = step,
            false => self.steps.insert(0, step),
        }
        self.is_cut = true;
    }

    /// Of an aggregate, the state of all events.
    pub fn set_newest(&mut self, step: Step) {
        self.steps.truncate(usize::from(self.is_cut));
        self.steps.push(step);
    }

    /// Makes these events pending, and gives those that are so no longer: what is visible where the settled state is, and the
    /// first where there are too many.
    pub fn add_pending(&mut self, events: &[Arc<Event>]) -> Vec<Arc<Event>> {
        let settled_from = self.settled().map(|step| step.from);
        let (mut to_settle, pending): (Vec<_>, Vec<_>) = events
            .iter()
            .cloned()
            .partition(|event| settled_from.is_some_and(|from| event.visible_from() <= from));
        self.pending.extend(pending);
        self.pending.sort_by_key(|event| event.visible_from());
        if self.pending.len() > MAX_PENDING {
            let surplus = self.pending.len() - MAX_PENDING / 2;
            to_settle.extend(self.pending.drain(..surplus));
        }
        to_settle
    }

    /// The memory that it takes beside its events.
    pub fn bytes(&self) -> usize {
        let rows: usize = self.steps.iter().map(|step| step.row.bytes()).sum();
        let lists = size_of_val(&*self.steps) + size_of_val(&*self.pending);
        // Besides: what counts the owners, and its place in the table.
        size_of::<Self>() + self.key.as_bytes().len() + rows + lists + 10 * size_of::<usize>()
    }
}

impl Step {
    pub fn of_state(from: EventTime, row: DetachedRow) -> Self {
        Self {
            from,
            row,
            version: None,
        }
    }
}

/// The versions of an entity's row that are the greatest at some time, given what the snapshot has.
///
/// ```text
/// each step is a greater version than the one before, from a later instant on
/// an event that is not greater than what is seen when it becomes visible changes nothing
/// else it is a step, and those behind it that are not greater are none any more
/// ```
pub(super) fn add_version(
    steps: &mut Vec<Step>,
    is_cut: &mut bool,
    event: &Arc<Event>,
    in_snapshot: Option<Row<'_>>,
    row: impl FnOnce() -> Option<DetachedRow>,
) -> Option<()> {
    // A row that the snapshot has became known before any event that it has not, if they happened at once.
    let known_before = in_snapshot.map(|row| Version {
        event_time: row.event_time(),
        known_at: None,
        row: &[],
    });
    let is_greater = |than: &Version<'_>| compare_versions(&event.version(), than) == Ordering::Greater;
    if known_before.is_some_and(|version| !is_greater(&version)) {
        return Some(());
    }
    let beats = |step: &Step| {
        step.version
            .as_ref()
            .is_none_or(|version| is_greater(&version.version()))
    };
    let mut from = event.visible_from();
    let mut place = steps.partition_point(|step| step.from <= from);
    match place.checked_sub(1).map(|before| &steps[before]) {
        Some(before) if !beats(before) => return Some(()),
        // Of one instant, the greatest counts.
        Some(before) if before.from == from => place -= 1,
        Some(_) => {}
        // What was seen then is not known any more: it counts from where that is.
        None if *is_cut => from = steps.first().map_or(from, |first| first.from),
        None => {}
    }
    let beaten = steps[place..].iter().take_while(|step| beats(step)).count();
    if *is_cut && place == 0 && beaten == 0 {
        return Some(());
    }
    let step = Step {
        from,
        row: row()?,
        version: Some(Arc::clone(event)),
    };
    steps.splice(place..place + beaten, [step]);
    if steps.len() > MAX_STEPS {
        steps.remove(0);
        *is_cut = true;
    }
    Some(())
}

#[cfg(test)]
mod tests;
