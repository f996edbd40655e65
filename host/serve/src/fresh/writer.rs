use std::collections::BTreeMap;
use std::sync::Arc;

use unskew_frame::{Column, Value};
use unskew_snapshot::{DetachedRow, EntityKey, EventTime};

use crate::fresh::entry::{Entry, Step, add_version};
use crate::fresh::event::{Event, Refusal};
use crate::fresh::fold::{Fold, fold};
use crate::fresh::overlay::{Overlay, Retired};
use crate::instance::{CallLimits, Instance};

/// What counts events into an overlay. One at a time; an overlay whose writer nobody else has is as it was left.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// Of an aggregate, from the first event on.
    instance: Option<Instance>,
    retired: Retired,
    /// The memory of the overlay's entries.
    pub entry_bytes: usize,
    /// Entities with an event that could not be counted in.
    pub failed: u64,
    /// What the module said when it last failed.
    pub failure: Option<String>,
}

/// What happens with an event that cannot be counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubtful {
    /// It is refused, and nothing has changed: nobody was told yet that it was taken.
    Refuse {
        /// The most events of an entity.
        max_entity_events: usize,
    },
    /// It was taken already: its entity says that it failed.
    Mark,
}

/// Entries that are made and not seen by anybody yet.
#[derive(Debug, Default)]
pub(super) struct Staged {
    entries: Vec<Entry>,
    /// By the index of an event, in no order.
    pub refused: Vec<(usize, Refusal)>,
}

/// What is to become an entry.
struct Draft {
    entry: Entry,
    /// The indices of its new events.
    events: Vec<usize>,
}

impl Writer {
    /// Makes the entries that `overlay` has with these events, which its snapshot has not. Nothing is seen of them until they are
    /// [published](Self::publish).
    pub fn stage(
        &mut self,
        overlay: &Overlay,
        events: &[Arc<Event>],
        doubtful: Doubtful,
        limits: CallLimits,
    ) -> Staged {
        let mut staged = Staged::default();
        let mut drafts: BTreeMap<&EntityKey, Draft> = BTreeMap::new();
        for (index, event) in events.iter().enumerate() {
            let draft = drafts
                .entry(&event.key)
                .or_insert_with(|| Draft::new(overlay, &event.key));
            match doubtful {
                Doubtful::Refuse { max_entity_events } if draft.entry.events >= max_entity_events => {
                    staged.refused.push((index, Refusal::EntityFull));
                    continue;
                }
                _ => {}
            }
            draft.entry.events += 1;
            draft.events.push(index);
        }
        let mut drafts: Vec<Draft> = drafts.into_values().filter(|draft| !draft.events.is_empty()).collect();
        let mut failed = vec![false; drafts.len()];
        match &overlay.module {
            None => add_versions(overlay, events, &mut drafts, &mut failed),
            Some(_) => self.add_to_states(overlay, events, &mut drafts, &mut failed, limits),
        }
        for (mut draft, failed) in drafts.into_iter().zip(failed) {
            match doubtful {
                Doubtful::Refuse { .. } if failed => {
                    let events = draft.events.into_iter();
                    staged.refused.extend(events.map(|index| (index, Refusal::Failed)));
                    continue;
                }
                _ => draft.entry.is_failed |= failed,
            }
            staged.entries.push(draft.entry);
        }
        staged
    }

    /// Has readers see what was staged.
    pub fn publish(&mut self, overlay: &Overlay, staged: Staged) {
        for entry in staged.entries {
            let before = overlay.get(entry.key.as_ref().into());
            self.entry_bytes += entry.bytes();
            self.entry_bytes -= before.as_ref().map_or(0, |before| before.bytes());
            let was_failed = before.is_some_and(|before| before.is_failed);
            self.failed += u64::from(entry.is_failed && !was_failed);
            overlay.put(Arc::new(entry.sealed()), &mut self.retired);
        }
        self.retired.free();
    }

    /// Marks the entity of an event that this overlay cannot take.
    pub fn mark(&mut self, overlay: &Overlay, key: &EntityKey) {
        let mut entry = Draft::new(overlay, key).entry;
        entry.events += 1;
        entry.is_failed = true;
        let entries = vec![entry];
        let refused = Vec::new();
        self.publish(overlay, Staged { entries, refused });
    }

    /// Frees what readers had and have no more.
    pub fn free_retired(&mut self) {
        self.retired.free();
    }

    /// Folds the events into the newest state of each entity, and those that are pending no longer into the settled one.
    fn add_to_states(
        &mut self,
        overlay: &Overlay,
        events: &[Arc<Event>],
        drafts: &mut [Draft],
        failed: &mut [bool],
        limits: CallLimits,
    ) {
        let (mut makings, mut folds) = (Vec::new(), Vec::new());
        for (index, draft) in drafts.iter_mut().enumerate() {
            let entry = &mut draft.entry;
            let added: Vec<_> = draft.events.iter().map(|index| Arc::clone(&events[*index])).collect();
            let (newest, settled) = (entry.steps.last().cloned(), entry.settled().cloned());
            let to_settle = entry.add_pending(&added);
            for (place, step, events) in [(Place::Newest, newest, added), (Place::Settled, settled, to_settle)] {
                if events.is_empty() {
                    continue;
                }
                let before = match &step {
                    Some(step) => Some(step.row.row(overlay.base())),
                    None => overlay.layers.get(entry.key.as_ref()),
                };
                let from = events.iter().map(|event| event.visible_from()).max();
                let last = events.iter().map(|event| event.event_time).max();
                makings.push(Making {
                    draft: index,
                    place,
                    from: from.max(step.as_ref().map(|step| step.from)).unwrap_or(EventTime::MIN),
                    last: last.max(before.map(|row| row.event_time())).unwrap_or(EventTime::MIN),
                });
                folds.push(Fold {
                    state: before.map(|row| row.bytes(0).to_vec()),
                    events,
                });
            }
        }
        let states = self.fold(overlay, folds, limits);
        for (index, making) in makings.into_iter().enumerate() {
            let entry = &mut drafts[making.draft].entry;
            let state = states.get(index).and_then(Option::as_ref);
            let row = state.and_then(|state| {
                let values = [Value::Bytes(state)];
                DetachedRow::new(overlay.base(), entry.key.as_ref(), making.last, &values)
            });
            match row.map(|row| Step::of_state(making.from, row)) {
                None => failed[making.draft] = true,
                Some(step) => match making.place {
                    Place::Newest => entry.set_newest(step),
                    Place::Settled => entry.set_settled(step),
                },
            }
        }
    }

    /// The states, none where the module gave none; nothing at all where there is no instance of it.
    fn fold(&mut self, overlay: &Overlay, folds: Vec<Fold>, limits: CallLimits) -> Vec<Option<Vec<u8>>> {
        if self.instance.is_none() {
            let module = overlay.module.as_ref();
            match module.map(|module| module.instantiate(limits)) {
                Some(Ok(instance)) => self.instance = Some(instance),
                Some(Err(error)) => self.failure = Some(error.to_string()),
                None => {}
            }
        }
        let Some(instance) = &mut self.instance else {
            return Vec::new();
        };
        let states = fold(&overlay.schema, instance, folds);
        if let Some(Err(error)) = states.iter().find(|state| state.is_err()) {
            self.failure = Some(format!("{error}: {}", instance.detail()));
        }
        states.into_iter().map(Result::ok).collect()
    }
}

/// A state that is being made, and where it goes.
struct Making {
    draft: usize,
    place: Place,
    from: EventTime,
    /// The time of its last event.
    last: EventTime,
}

#[derive(Clone, Copy)]
enum Place {
    Newest,
    Settled,
}

impl Draft {
    /// The entry of a key as it is, or one without events.
    fn new(overlay: &Overlay, key: &EntityKey) -> Self {
        let entry = match overlay.get(key.as_ref().into()) {
            Some(entry) => Entry::clone(&entry),
            None => Entry::new(key),
        };
        let events = Vec::new();
        Self { entry, events }
    }
}

/// Puts each event among the versions of its entity.
fn add_versions(overlay: &Overlay, events: &[Arc<Event>], drafts: &mut [Draft], failed: &mut [bool]) {
    let mut columns = overlay.schema.value_columns();
    for (draft, failed) in drafts.iter_mut().zip(failed) {
        let Draft { entry, events: added } = draft;
        let in_snapshot = overlay.layers.get(entry.key.as_ref());
        for event in added.iter().map(|index| &events[*index]) {
            let row = || {
                columns.iter_mut().for_each(Column::clear);
                event.append_to(&mut columns);
                let values: Vec<Value<'_>> = columns.iter().map(|column| column.value(0)).collect();
                DetachedRow::new(overlay.base(), event.key.as_ref(), event.event_time, &values)
            };
            if add_version(&mut entry.steps, &mut entry.is_cut, event, in_snapshot, row).is_none() {
                *failed = true;
            }
        }
    }
}
