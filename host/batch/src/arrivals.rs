use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use unskew::{
    ActivateError, CallLimits, FreshOptions, Host, HostOptions, Kind, Module, PushError, Refusal, Session, Store,
    descriptors,
};
use unskew_frame::{Column, Value};
use unskew_registry::put_module;
use unskew_snapshot::{EventTime, event_visible_from, is_event_visible, is_late, is_visible, visible_from};

use crate::backfill::{BackfillError, BackfillOptions, compute};
use crate::parity::{Parity, ReplayError, request, requests};
use crate::project::Project;
use crate::publish::{PublishError, publish};
use crate::training_set::TrainingSet;
use crate::view::view_source;
use crate::view_rows::ViewRows;

/// The most events of one push, and how far ahead of their time some are pushed.
const MAX_PUSH: u64 = 16;
const AHEAD: Duration = Duration::from_secs(3_600);
/// How often a journal is tried that a host was just ended with.
const MAX_ATTEMPTS: u32 = 1_000;

/// How a log is replayed as it arrived.
#[derive(Clone, Debug)]
pub struct ArrivalOptions {
    /// The service, and the spine: what is asked when. Nothing is frozen and nothing lags.
    pub backfill: BackfillOptions,
    /// The time as of which the first snapshots are made; that of the first row of the spine, if none is given. Rows of the spine
    /// before it are left out.
    pub snapshots_at: Option<EventTime>,
    /// How often newer snapshots are made and served, the generation before is served again for a while, and the host is ended and
    /// opened again: each so many times, at moments by chance.
    pub disturbances: usize,
    /// Of all that is by chance.
    pub seed: u64,
    /// Pushes one event twice, for those who want to see that it is found.
    pub push_twice: bool,
}

/// What a replay of a log did and found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arrivals {
    /// The comparison of every value that was served with that of a backfill.
    pub parity: Parity,
    /// Requests that were served.
    pub requests: u64,
    /// Events that were pushed.
    pub events: u64,
    /// Events that the snapshots had already.
    pub covered: u64,
    /// Events without a key, which are nobody's in a backfill as well.
    pub keyless: u64,
    /// Events that were refused because they were late, which a backfill leaves out as well.
    pub late: u64,
    /// Generations that were served because they were newer.
    pub swaps: u64,
    /// Generations that were served again.
    pub rollbacks: u64,
    /// Hosts that were ended and opened again.
    pub restarts: u64,
}

/// Replays a log event by event, as it arrived: snapshots are made as of the start, then what happened since is pushed to a host,
/// each event when it became known, and between the events each row of the spine is asked for at its time. What the host serves
/// is compared with a backfill of the same rows, bit for bit.
///
/// An event arrives at its known-at, or when it happened if its source has none; those that arrive between two requests, in an order
/// by chance, and some up to an hour early, which reads must not see before. Meanwhile newer snapshots are published, the host goes
/// back from them, and is ended and opened again with its journal. All of it is done in `scratch`, a directory, with the modules
/// and the native code of `store`. `observe` is told how many of the requests are served.
///
/// # Errors
/// See [`ArrivalError`]. What differs is no error: it is in [`Arrivals::parity`].
pub fn replay_arrivals(
    project: &Project,
    modules: &BTreeMap<String, Module>,
    store: &Store,
    scratch: &Path,
    options: &ArrivalOptions,
    mut observe: impl FnMut(usize, usize),
) -> Result<Arrivals, ArrivalError> {
    let set = compute(project, modules, &options.backfill, |_| {})?;
    let first = options.snapshots_at.or(set.spine.times.iter().min().copied());
    let start = first.unwrap_or(EventTime(0));
    let mut stage = Stage::open(project, modules, store, scratch, start)?;
    let service = stage.service(&options.backfill.service)?;
    let mut asked: Vec<_> = requests(&service, &set)?
        .into_iter()
        .filter(|rows| set.spine.times[rows.start] >= start)
        .collect();
    asked.sort_by_key(|rows| set.spine.times[rows.start]);
    let end = asked.last().map_or(start, |rows| set.spine.times[rows.start]);

    let mut random = Random(options.seed);
    let mut sources = stage.sources(&set, start, end)?;
    let mut twice = options.push_twice;
    let mut disturb: BTreeMap<usize, Vec<Disturbance>> = BTreeMap::new();
    for disturbance in Disturbance::ALL {
        for _ in 0..options.disturbances {
            let at = random.below(asked.len().max(1) as u64) as usize;
            disturb.entry(at).or_default().push(disturbance);
        }
    }
    let mut arrivals = Arrivals::default();
    for (number, rows) in asked.iter().enumerate() {
        let now = set.spine.times[rows.start];
        for source in &mut sources {
            let due = source.due(now, &mut random);
            stage.push(source, &due, now, &mut random, &mut arrivals)?;
            // One that this request sees, and counts.
            let seen = due
                .iter()
                .find(|row| source.is_aggregate && source.from(**row) <= now && source.counts(**row));
            if let Some(row) = seen.filter(|_| std::mem::take(&mut twice)) {
                stage.push(source, &[*row], now, &mut random, &mut arrivals)?;
            }
        }
        for disturbance in disturb.remove(&number).unwrap_or_default() {
            stage.disturb(disturbance, now, &mut random, &mut arrivals)?;
        }
        let service = stage.service(&options.backfill.service)?;
        let request = request(&service, &set, rows.clone()).map_err(ReplayError::from)?;
        let served = stage.session.evaluate(&request).map_err(ReplayError::from)?;
        arrivals.parity.compare_rows(&set, rows.clone(), &served)?;
        arrivals.requests += 1;
        observe(number + 1, asked.len());
    }
    Ok(arrivals)
}

/// What a host has to bear while it serves.
#[derive(Clone, Copy, Debug)]
enum Disturbance {
    Swap,
    Rollback,
    Restart,
}

impl Disturbance {
    const ALL: [Self; 3] = [Self::Swap, Self::Rollback, Self::Restart];
}

/// A host and all that it stands on.
struct Stage<'a> {
    project: &'a Project,
    modules: &'a BTreeMap<String, Module>,
    store: Store,
    options: HostOptions,
    host: Host,
    session: Session,
    watermark: EventTime,
}

impl<'a> Stage<'a> {
    fn open(
        project: &'a Project,
        modules: &'a BTreeMap<String, Module>,
        with_modules: &Store,
        scratch: &Path,
        watermark: EventTime,
    ) -> Result<Self, ArrivalError> {
        let store = Store::new(scratch.join("store"));
        for module in modules.values() {
            let path = with_modules.module_path(&module.digest());
            let component = fs::read(&path).map_err(|source| ArrivalError::Read { path, source })?;
            put_module(&store, &component).map_err(PublishError::from)?;
        }
        let views = project.catalog().views.iter().map(|view| view.name.as_str());
        publish(project, modules, &store, views, watermark, |_| {})?;
        let options = HostOptions {
            // Whoever compares does not hurry.
            limits: CallLimits {
                deadline: Duration::from_secs(10),
                ..CallLimits::SERVING
            },
            compiled_dir: Some(with_modules.compiled_dir()),
            fresh: FreshOptions {
                journal_dir: Some(scratch.join("journal")),
                max_ahead: AHEAD,
                max_view_bytes: usize::MAX / 2,
                max_entity_events: usize::MAX,
                ..FreshOptions::default()
            },
            ..HostOptions::default()
        };
        let host = Host::open(store.root(), options.clone())?;
        Ok(Self {
            project,
            modules,
            session: host.session(),
            store,
            options,
            host,
            watermark,
        })
    }

    fn service(&self, name: &str) -> Result<unskew::Service, ArrivalError> {
        self.host.service(name).ok_or_else(|| ArrivalError::NoService {
            service: name.to_owned(),
        })
    }

    /// What happened of each view of the service after `start`, as far as it matters up to `end`.
    fn sources(&self, set: &TrainingSet, start: EventTime, end: EventTime) -> Result<Vec<Source>, ArrivalError> {
        let descriptors = descriptors(self.modules);
        let mut sources = Vec::new();
        for step in &set.plan.views {
            let source = view_source(self.project, &descriptors, &step.view)?;
            let is_aggregate = source.view.aggregate.is_some();
            let mut columns: Vec<String> = self.key_names(&source.view.entity);
            let module = source
                .view
                .aggregate
                .as_ref()
                .and_then(|aggregate| descriptors.get(&aggregate.module));
            match module.map(|module| &module.kind) {
                Some(Kind::Aggregate(module)) => columns.extend(module.events.iter().map(|event| event.name.clone())),
                _ => columns.extend(source.view.features.iter().map(|feature| feature.name.clone())),
            }
            let is_seen = if is_aggregate { is_event_visible } else { is_visible };
            let from = if is_aggregate { event_visible_from } else { visible_from };
            let rows = ViewRows::read(source, None, |time, known_at| {
                !is_seen(time, known_at, start) && from(time, known_at) <= end
            })?;
            sources.push(Source::new(step.view.clone(), columns, is_aggregate, rows));
        }
        Ok(sources)
    }

    fn key_names(&self, entity: &str) -> Vec<String> {
        let entities = self
            .project
            .catalog()
            .entities
            .iter()
            .filter(|defined| defined.name == entity);
        entities
            .flat_map(|entity| &entity.keys)
            .map(|key| key.name.clone())
            .collect()
    }

    fn push(
        &self,
        source: &Source,
        rows: &[usize],
        now: EventTime,
        random: &mut Random,
        arrivals: &mut Arrivals,
    ) -> Result<(), ArrivalError> {
        let columns: Vec<&str> = source.columns.iter().map(String::as_str).collect();
        let mut rest = rows;
        while !rest.is_empty() {
            let (some, after) = rest.split_at(rest.len().min(1 + random.below(MAX_PUSH) as usize));
            rest = after;
            let mut events = self.host.events(&source.view, &columns)?;
            for row in some {
                let (event_time, known_at) = source.times(*row);
                events.push(event_time, known_at, &source.values(*row))?;
            }
            let pushed = self.host.push(&events, now)?;
            let is_left_out = |refusal: Refusal| matches!(refusal, Refusal::NoKey | Refusal::Late);
            if let Some((place, refusal)) = pushed.refused.iter().find(|(_, refusal)| !is_left_out(*refusal)) {
                return Err(ArrivalError::Refused {
                    view: source.view.clone(),
                    event_time: source.times(some[*place]).0,
                    reason: pushed.failure.unwrap_or_else(|| refusal.name().to_owned()),
                });
            }
            arrivals.events += pushed.taken as u64;
            arrivals.covered += pushed.covered as u64;
            arrivals.keyless += pushed.refused_for(Refusal::NoKey) as u64;
            arrivals.late += pushed.refused_for(Refusal::Late) as u64;
        }
        Ok(())
    }

    fn disturb(
        &mut self,
        disturbance: Disturbance,
        now: EventTime,
        random: &mut Random,
        arrivals: &mut Arrivals,
    ) -> Result<(), ArrivalError> {
        match disturbance {
            Disturbance::Swap => {
                self.swap(now, random)?;
                arrivals.swaps += 1;
            }
            Disturbance::Rollback => {
                // What is served then stays until the next swap.
                if self.host.rollback().is_err() {
                    self.swap(now, random)?;
                    arrivals.swaps += 1;
                    self.host.rollback()?;
                }
                arrivals.rollbacks += 1;
            }
            Disturbance::Restart => {
                self.restart()?;
                arrivals.restarts += 1;
            }
        }
        Ok(())
    }

    /// Has a newer generation served, whose snapshots are some time old when they are there.
    fn swap(&mut self, now: EventTime, random: &mut Random) -> Result<(), ArrivalError> {
        let age = random.below(now.0.abs_diff(self.watermark.0).max(1));
        self.watermark = EventTime(now.0.saturating_sub_unsigned(age)).max(self.watermark);
        let views = self.project.catalog().views.iter().map(|view| view.name.as_str());
        publish(self.project, self.modules, &self.store, views, self.watermark, |_| {})?;
        self.host.unpin();
        self.host.refresh()?;
        Ok(())
    }

    /// Ends the host and opens it again.
    fn restart(&mut self) -> Result<(), ArrivalError> {
        // A host without the journal takes its place for a moment.
        let mut options = self.options.clone();
        options.fresh.journal_dir = None;
        self.host = Host::open(self.store.root(), options)?;
        self.session = self.host.session();
        // The journal is let go by a thread of the one before.
        let mut attempts = 0;
        self.host = loop {
            match Host::open(self.store.root(), self.options.clone()) {
                Err(ActivateError::Journal(error)) if error.is_locked() && attempts < MAX_ATTEMPTS => {
                    attempts += 1;
                    thread::sleep(Duration::from_millis(5));
                }
                opened => break opened?,
            }
        };
        self.session = self.host.session();
        Ok(())
    }
}

/// What happened of a view.
struct Source {
    view: String,
    /// The parts of the key, then what an event has.
    columns: Vec<String>,
    is_aggregate: bool,
    rows: ViewRows,
    /// The rows that did not arrive yet, the last ones first.
    to_come: Vec<usize>,
}

impl Source {
    fn new(view: String, columns: Vec<String>, is_aggregate: bool, rows: ViewRows) -> Self {
        let mut source = Self {
            view,
            columns,
            is_aggregate,
            to_come: (0..rows.table.table.rows()).collect(),
            rows,
        };
        let mut to_come = std::mem::take(&mut source.to_come);
        to_come.sort_by_key(|row| std::cmp::Reverse(source.from(*row)));
        source.to_come = to_come;
        source
    }

    fn times(&self, row: usize) -> (EventTime, Option<EventTime>) {
        let table = &self.rows.table.table;
        (
            table.event_time()[row],
            table.known_at().and_then(|known_at| known_at[row]),
        )
    }

    /// When a row is there to be seen.
    fn from(&self, row: usize) -> EventTime {
        let (event_time, known_at) = self.times(row);
        match self.is_aggregate {
            true => event_visible_from(event_time, known_at),
            false => visible_from(event_time, known_at),
        }
    }

    fn values(&self, row: usize) -> Vec<Value<'_>> {
        let columns: &[Column] = self.rows.table.table.columns();
        columns[..self.columns.len()]
            .iter()
            .map(|column| column.value(row))
            .collect()
    }

    /// Whether a row is an event that counts for somebody.
    fn counts(&self, row: usize) -> bool {
        let (event_time, known_at) = self.times(row);
        let values = self.values(row);
        let key = &values[..self.rows.table.key_columns()];
        key.iter().all(|value| !value.is_null()) && !is_late(event_time, known_at, self.rows.table.view.lateness())
    }

    fn next(&mut self, by: EventTime) -> Option<usize> {
        let row = *self.to_come.last().filter(|row| self.from(**row) <= by)?;
        self.to_come.pop();
        Some(row)
    }

    /// The rows that arrive by now, and one now and then that is early, in an order by chance.
    fn due(&mut self, now: EventTime, random: &mut Random) -> Vec<usize> {
        let mut due = Vec::new();
        while let Some(row) = self.next(now) {
            due.push(row);
        }
        let soon = EventTime(now.0.saturating_add(AHEAD.as_micros() as i64 / 2));
        if random.below(4) == 0 {
            due.extend(self.next(soon));
        }
        for index in (1..due.len()).rev() {
            due.swap(index, random.below(index as u64 + 1) as usize);
        }
        due
    }
}

/// SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014).
struct Random(u64);

impl Random {
    /// Of `0..bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// Why a log could not be replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArrivalError {
    /// The features cannot be computed, or the history cannot be read.
    #[error(transparent)]
    Backfill(#[from] BackfillError),
    /// A generation cannot be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// A generation cannot be served.
    #[error(transparent)]
    Activate(#[from] ActivateError),
    /// Events cannot be pushed.
    #[error(transparent)]
    Push(#[from] PushError),
    /// An event is refused that a backfill takes.
    #[error("view `{view}`: the event of {event_time} is refused: {reason}")]
    Refused {
        /// The view.
        view: String,
        /// When it happened.
        event_time: EventTime,
        /// Why.
        reason: String,
    },
    /// A request cannot be made or served.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The project has no such service.
    #[error("the project has no service `{service}`")]
    NoService {
        /// The service.
        service: String,
    },
    /// A module is not in the store.
    #[error("cannot read {}", path.display())]
    Read {
        /// The component.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}
