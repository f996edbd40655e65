use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

use unskew_snapshot::{EventTime, Lateness};

use crate::fresh::event::{Event, Events, Refusal};
use crate::fresh::journal::Journal;
use crate::fresh::overlay::Overlay;
use crate::fresh::writer::{Doubtful, Staged, Writer};
use crate::fresh::{FreshOptions, PushError, Pushed, lock};
use crate::instance::CallLimits;
use crate::metrics::FreshMetrics;
use crate::sync::{Mutex, MutexGuard};

/// Events that an overlay catches up with at once. Pushes wait for as many, of a thread that gives way to others.
const CATCH_UP_EVENTS: usize = 1 << 8;

/// The fresh events of a view, and the overlays that have them.
#[derive(Debug, Default)]
pub(super) struct ViewLog {
    /// Held by a push from beginning to end: the events of a view are taken one push after the other.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What the snapshot of some overlay has not, in the order of arrival.
    events: Vec<Arc<Event>>,
    event_bytes: usize,
    /// Of the generations in memory, the last one last.
    residents: Vec<Arc<Resident>>,
    counts: Counts,
    /// When the last of the forgotten events became visible: an overlay as of a time before may lack some.
    forgotten_from: Option<EventTime>,
    refused_late: Option<RefusedLate>,
}

/// Events that no overlay took because they were late: one of a greater lateness may lack some.
#[derive(Clone, Copy, Debug)]
struct RefusedLate {
    /// Of the one that was the least late, how late it was.
    least: Lateness,
    /// When the last of them became visible: an overlay as of then has what it wants of them.
    from: EventTime,
}

/// An overlay, for as long as its generation is in memory.
#[derive(Debug)]
struct Resident {
    overlay: Weak<Overlay>,
    watermark: EventTime,
    lateness: Option<Lateness>,
    writer: Mutex<Writer>,
    /// Whether events were forgotten, or refused as late, that its snapshot does not have and it would.
    has_gap: bool,
}

#[derive(Debug, Default)]
struct Counts {
    taken: u64,
    covered: u64,
    forgotten: u64,
    refused: [u64; Refusal::ALL.len()],
    full: u64,
}

/// A push, with what it needs.
pub(super) struct Push<'a> {
    pub events: &'a Events,
    /// The latest time that an event may have.
    pub latest: EventTime,
    pub options: &'a FreshOptions,
    pub limits: CallLimits,
    pub journal: Option<&'a Mutex<Journal>>,
}

/// An overlay that is being written to.
struct Writing<'a> {
    overlay: &'a Arc<Overlay>,
    writer: MutexGuard<'a, Writer>,
    staged: Staged,
    /// Of events that it cannot take.
    unfit: Vec<Arc<Event>>,
}

impl ViewLog {
    /// Takes an event that was taken before the last start.
    pub fn remember(&self, event: Arc<Event>) {
        let mut state = lock(&self.state);
        state.event_bytes += event.bytes();
        state.events.push(event);
    }

    /// Adds the overlay of a generation that is about to be served, and has it catch up.
    pub fn join(&self, overlay: &Arc<Overlay>, limits: CallLimits) {
        let (resident, events) = {
            let mut state = lock(&self.state);
            let is_overlay = |resident: &Arc<Resident>| std::ptr::eq(resident.overlay.as_ptr(), Arc::as_ptr(overlay));
            if state.residents.iter().any(is_overlay) {
                return;
            }
            let (watermark, lateness) = (overlay.watermark(), overlay.lateness());
            let resident = Arc::new(Resident {
                overlay: Arc::downgrade(overlay),
                watermark,
                lateness,
                writer: Mutex::default(),
                has_gap: state.forgotten_from.is_some_and(|from| watermark < from)
                    || state
                        .refused_late
                        .is_some_and(|late| late.is_lacked(watermark, lateness)),
            });
            state.residents.push(Arc::clone(&resident));
            if state.residents.len() == 1 {
                // Of what was remembered from before the start.
                state.forget_covered();
            }
            // Those that come from now on are pushed to it.
            let fresh = state.events.iter().filter(|event| resident.takes(event));
            let fresh = fresh.cloned().collect::<Vec<_>>();
            (resident, fresh)
        };
        for events in events.chunks(CATCH_UP_EVENTS) {
            let mut writing = Writing::new(overlay, &resident);
            writing.stage(events, Doubtful::Mark, limits);
            writing.publish();
        }
    }

    /// Takes the events of a push.
    pub fn push(&self, served: &Arc<Overlay>, push: &Push<'_>) -> Result<Pushed, PushError> {
        let mut state = lock(&self.state);
        let pushed = state.push(served, push);
        match &pushed {
            Ok(pushed) => {
                state.counts.taken += pushed.taken as u64;
                state.counts.covered += pushed.covered as u64;
                for (_, refusal) in &pushed.refused {
                    state.counts.refused[*refusal as usize] += 1;
                }
            }
            Err(error) => state.counts.full += u64::from(error.is_full()),
        }
        pushed
    }

    /// Forgets what the snapshots of all generations in memory have: all that was visible at the time that is given back, none
    /// without such a generation.
    pub fn forget_covered(&self) -> Option<EventTime> {
        let mut state = lock(&self.state);
        let before = state.residents.len();
        state.residents.retain(|resident| resident.overlay.strong_count() > 0);
        for resident in &state.residents {
            lock(&resident.writer).free_retired();
        }
        if state.residents.len() < before || state.residents.is_empty() {
            state.forget_covered();
        }
        state.covered_until()
    }

    pub fn metrics(&self, view: &str) -> FreshMetrics {
        let state = lock(&self.state);
        let mut residents = state.residents.iter().rev();
        let last = residents.find_map(|resident| Some((resident.overlay.upgrade()?, lock(&resident.writer))));
        let mut metrics = FreshMetrics {
            view: view.to_owned(),
            has_gap: state.residents.iter().any(|resident| resident.has_gap),
            events: state.events.len() as u64,
            oldest_event: state.events.iter().map(|event| event.event_time).min(),
            bytes: state.event_bytes as u64,
            taken: state.counts.taken,
            covered: state.counts.covered,
            forgotten: state.counts.forgotten,
            refused: state.counts.refused,
            full: state.counts.full,
            ..FreshMetrics::default()
        };
        if let Some((overlay, writer)) = last {
            metrics.entities = overlay.len() as u64;
            metrics.failed_entities = writer.failed;
            metrics.failure.clone_from(&writer.failure);
            metrics.bytes += writer.entry_bytes as u64;
        }
        metrics
    }
}

impl State {
    fn push(&mut self, served: &Arc<Overlay>, push: &Push<'_>) -> Result<Pushed, PushError> {
        self.make_room(&served.schema.view, push)?;
        let mut pushed = Pushed::default();
        let mut events: Vec<(usize, Arc<Event>)> = Vec::with_capacity(push.events.len());
        for (index, event) in push.events.iter().enumerate() {
            match event {
                Err(refusal) => pushed.refused.push((index, *refusal)),
                Ok(event) if event.is_later_than(push.latest) => pushed.refused.push((index, Refusal::Future)),
                Ok(event) => events.push((index, Arc::clone(event))),
            }
        }

        let residents = self.residents.clone();
        let mut overlays: Vec<(Arc<Overlay>, &Resident)> = residents
            .iter()
            .filter_map(|resident| Some((resident.overlay.upgrade()?, &**resident)))
            .collect();
        // The one that is served says which events are taken.
        overlays.sort_by_key(|(overlay, _)| !Arc::ptr_eq(overlay, served));
        let mut writings: Vec<Writing<'_>> = Vec::with_capacity(overlays.len());
        for (number, (overlay, resident)) in overlays.iter().enumerate() {
            let mut writing = Writing::new(overlay, resident);
            let is_fresh = |(_, event): &&(usize, Arc<Event>)| resident.takes(event);
            let (indices, fresh): (Vec<usize>, Vec<_>) = events.iter().filter(is_fresh).cloned().unzip();
            if number > 0 {
                writing.stage(&fresh, Doubtful::Mark, push.limits);
            } else {
                let late = events.iter().filter(|(_, event)| event.is_late(resident.lateness));
                pushed.refused.extend(late.map(|(index, _)| (*index, Refusal::Late)));
                pushed.covered = events.len() - fresh.len() - pushed.refused_for(Refusal::Late);
                let max_entity_events = push.options.max_entity_events;
                writing.stage(&fresh, Doubtful::Refuse { max_entity_events }, push.limits);
                let refused = std::mem::take(&mut writing.staged.refused);
                pushed.taken = fresh.len() - refused.len();
                if !refused.is_empty() {
                    pushed.failure = writing.writer.failure.clone();
                    pushed
                        .refused
                        .extend(refused.iter().map(|(place, refusal)| (indices[*place], *refusal)));
                    let refused: BTreeSet<usize> = refused.iter().map(|(place, _)| indices[*place]).collect();
                    events.retain(|(index, _)| !refused.contains(index));
                }
            }
            writings.push(writing);
        }
        pushed.refused.sort_unstable_by_key(|(index, _)| *index);

        let is_wanted = |event: &Arc<Event>| overlays.iter().any(|(_, resident)| resident.takes(event));
        let events = events.into_iter().map(|(_, event)| event);
        let (wanted, others): (Vec<Arc<Event>>, Vec<_>) = events.partition(is_wanted);
        if let Some(journal) = push.journal {
            lock(journal).append(&wanted)?;
        }
        writings.into_iter().for_each(Writing::publish);
        self.event_bytes += wanted.iter().map(|event| event.bytes()).sum::<usize>();
        self.events.extend(wanted);
        let is_lacked = |event: &&Arc<Event>| {
            overlays
                .iter()
                .any(|(_, resident)| !event.is_within(resident.watermark))
        };
        for event in others.iter().filter(is_lacked) {
            self.refused_late = RefusedLate::with(self.refused_late, event);
        }
        Ok(pushed)
    }

    /// Refuses a push that would go beyond the view's memory.
    fn make_room(&mut self, view: &str, push: &Push<'_>) -> Result<(), PushError> {
        let added: usize = push.events.iter().flatten().map(|event| event.bytes()).sum();
        let limit = push.options.max_view_bytes;
        if self.used_bytes() + added > limit {
            self.residents.retain(|resident| resident.overlay.strong_count() > 0);
            self.forget_covered();
        }
        let used = self.used_bytes();
        if used + added > limit {
            let view = view.to_owned();
            return Err(PushError::Full { view, used, limit });
        }
        Ok(())
    }

    fn used_bytes(&self) -> usize {
        let entries = self.residents.iter().map(|resident| lock(&resident.writer).entry_bytes);
        self.event_bytes + entries.sum::<usize>()
    }

    fn covered_until(&self) -> Option<EventTime> {
        self.residents.iter().map(|resident| resident.watermark).min()
    }

    fn forget_covered(&mut self) {
        // What no generation in memory has a view for, nobody waits for.
        let watermark = self.covered_until().unwrap_or(EventTime::MAX);
        let before = self.events.len();
        let forgotten_from = &mut self.forgotten_from;
        self.events.retain(|event| {
            let is_within = event.is_within(watermark);
            if is_within {
                *forgotten_from = Some(event.visible_from()).max(*forgotten_from);
            }
            !is_within
        });
        self.counts.forgotten += (before - self.events.len()) as u64;
        self.event_bytes = self.events.iter().map(|event| event.bytes()).sum();
    }
}

impl Resident {
    /// Whether its overlay counts an event: its snapshot does not have it, and it is not late.
    fn takes(&self, event: &Event) -> bool {
        !event.is_within(self.watermark) && !event.is_late(self.lateness)
    }
}

impl RefusedLate {
    fn with(before: Option<Self>, event: &Event) -> Option<Self> {
        let known_at = event.known_at?;
        let least = Lateness::from_micros(known_at.0.abs_diff(event.event_time.0));
        let from = event.visible_from();
        Some(before.map_or(Self { least, from }, |before| Self {
            least: before.least.min(least),
            from: before.from.max(from),
        }))
    }

    /// Whether an overlay may lack one of them.
    fn is_lacked(self, watermark: EventTime, lateness: Option<Lateness>) -> bool {
        watermark < self.from && lateness.is_none_or(|lateness| self.least <= lateness)
    }
}

impl<'a> Writing<'a> {
    /// Waits for who else writes to the overlay.
    fn new(overlay: &'a Arc<Overlay>, resident: &'a Resident) -> Self {
        Self {
            overlay,
            writer: lock(&resident.writer),
            staged: Staged::default(),
            unfit: Vec::new(),
        }
    }

    fn stage(&mut self, events: &[Arc<Event>], doubtful: Doubtful, limits: CallLimits) {
        let mut fitting = Vec::with_capacity(events.len());
        for event in events {
            match event.fit(&self.overlay.schema) {
                Some(event) => fitting.push(event),
                None => self.unfit.push(Arc::clone(event)),
            }
        }
        self.staged = self.writer.stage(self.overlay, &fitting, doubtful, limits);
    }

    fn publish(mut self) {
        self.writer.publish(self.overlay, self.staged);
        for event in &self.unfit {
            self.writer.mark(self.overlay, &event.key);
        }
    }
}
