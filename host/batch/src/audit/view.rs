use std::collections::{BTreeMap, HashMap};

use unskew::{Descriptor, ViewRead, ViewStep};
use unskew_frame::Column;
use unskew_snapshot::{EntityKey, EventTime, is_alive, is_event_visible, is_late, is_visible};

use super::{Ages, AuditError, AuditOptions, Origin, Sample, ViewAudit, slot_value, slots_of};
use crate::backfill::BackfillError;
use crate::entity_key::{EntityKeyError, entity_keys};
use crate::project::Project;
use crate::table::VersionOrder;
use crate::training_set::TrainingSet;
use crate::view::view_source;
use crate::view_rows::ViewRows;

/// The rows of a view's history by entity, each entity's as versions: the last is the greatest.
struct History {
    rows: ViewRows,
    groups: HashMap<EntityKey, Vec<u32>>,
    is_aggregate: bool,
    /// Events that count for nobody, because they were late.
    late: Vec<u32>,
}

/// Finds again which row of its history each row of the spine has its features of. Gives those of the sampled rows too.
pub(super) fn audit_view(
    project: &Project,
    descriptors: &BTreeMap<String, Descriptor>,
    set: &TrainingSet,
    step: &ViewStep,
    options: &AuditOptions,
    label_times: Option<&[Option<EventTime>]>,
    sampled: &[usize],
) -> Result<(ViewAudit, Vec<Sample>), AuditError> {
    let history = History::read(project, descriptors, step)?;
    let keys = spine_keys(set, step)?;
    let sight = options.backfill.sight();
    let mut found = ViewAudit {
        view: step.view.clone(),
        is_aggregate: history.is_aggregate,
        ages: Ages::default(),
        late: step.lateness.map(|_| {
            let last = set.spine.times.iter().max().map(|last| sight.seen_at(*last));
            let is_visible = |row: &&u32| last.is_some_and(|last| history.is_visible(**row, last));
            history.late.iter().filter(is_visible).count() as u64
        }),
        not_found: 0,
        expired: 0,
        naive_leaks: 0,
        after_label: label_times.map(|_| 0),
        mistraced: 0,
    };
    let (mut ages, mut samples) = (Vec::new(), Vec::new());
    for (row, (key, at)) in keys.iter().zip(&set.spine.times).enumerate() {
        let group = key.as_ref().and_then(|key| history.groups.get(key));
        let group = group.map(Vec::as_slice).unwrap_or_default();
        let seen_at = sight.seen_at(*at);
        let source = history.last_seen(group, seen_at);
        if group.last().is_some_and(|last| !history.is_visible(*last, seen_at)) {
            found.naive_leaks += 1;
        }
        let happened = source.map(|source| history.event_time(source));
        let is_used = happened.is_some_and(|time| is_alive(time, step.ttl, *at));
        match happened {
            None => found.not_found += 1,
            Some(_) if !is_used => found.expired += 1,
            Some(time) => {
                ages.push(at.0.saturating_sub(time.0));
                let label_time = label_times.and_then(|times| times[row]);
                if label_time.is_some_and(|label_time| label_time <= time) {
                    found.after_label = found.after_label.map(|count| count + 1);
                }
            }
        }
        let used = source.filter(|_| is_used);
        found.mistraced += u64::from(!history.has_values_of(set, step, row, used));
        if sampled.binary_search(&row).is_ok() {
            samples.push(Sample {
                row: row as u64,
                prediction_time: *at,
                view: step.view.clone(),
                entity: key.as_ref().map(ToString::to_string),
                origin: used.map(|source| history.origin(source)),
                events: history.is_aggregate.then(|| {
                    let visible = group.iter().filter(|event| history.is_visible(**event, seen_at));
                    visible.count() as u64
                }),
            });
        }
    }
    found.ages = Ages::of(ages);
    Ok((found, samples))
}

impl History {
    fn read(
        project: &Project,
        descriptors: &BTreeMap<String, Descriptor>,
        step: &ViewStep,
    ) -> Result<Self, BackfillError> {
        let source = view_source(project, descriptors, &step.view)?;
        let rows = ViewRows::read(source, None, |_, _| true)?;
        let mut groups: HashMap<EntityKey, Vec<u32>> = HashMap::new();
        let mut late = Vec::new();
        for (row, key) in (0..).zip(rows.table.keys()?) {
            let Some(key) = key else { continue };
            let event_time = rows.table.table.event_time()[row as usize];
            let known_at = rows.table.table.known_at().and_then(|known_at| known_at[row as usize]);
            match is_late(event_time, known_at, step.lateness) {
                true => late.push(row),
                false => groups.entry(key).or_default().push(row),
            }
        }
        let mut order = VersionOrder::new(&rows.table.table);
        for group in groups.values_mut() {
            group.sort_unstable_by(|a, b| order.compare(*a, *b));
        }
        Ok(Self {
            is_aggregate: matches!(step.read, ViewRead::Aggregate { .. }),
            rows,
            groups,
            late,
        })
    }

    fn event_time(&self, row: u32) -> EventTime {
        self.rows.table.table.event_time()[row as usize]
    }

    fn known_at(&self, row: u32) -> Option<EventTime> {
        self.rows.table.table.known_at()?[row as usize]
    }

    fn is_visible(&self, row: u32, at: EventTime) -> bool {
        match self.is_aggregate {
            true => is_event_visible(self.event_time(row), self.known_at(row), at),
            false => is_visible(self.event_time(row), self.known_at(row), at),
        }
    }

    /// The greatest of an entity's versions that is visible.
    fn last_seen(&self, group: &[u32], at: EventTime) -> Option<u32> {
        group.iter().rev().copied().find(|row| self.is_visible(*row, at))
    }

    fn origin(&self, row: u32) -> Origin {
        let (path, in_file) = self.rows.origin(row);
        Origin {
            path: path.clone(),
            row: in_file + 1,
            event_time: self.event_time(row),
            known_at: self.known_at(row),
        }
    }

    /// Whether a row of the training set has the values of a row of the history, or none. What a module made of events is not
    /// to be seen in one of them.
    fn has_values_of(&self, set: &TrainingSet, step: &ViewStep, row: usize, source: Option<u32>) -> bool {
        let ViewRead::Features(features) = &step.read else {
            return true;
        };
        let view = &self.rows.table.view;
        let is_same = |((name, _), slot): (&(String, usize), usize)| {
            let column = view.features.iter().position(|feature| feature.name == *name);
            let of_set = slot_value(&set.evaluation.columns[slot], row);
            match (source, column) {
                (Some(source), Some(column)) => {
                    let of_source = self.rows.table.values()[column].value(source as usize);
                    bytes_of(of_set) == bytes_of(of_source)
                }
                _ => of_set.is_null(),
            }
        };
        features.iter().zip(slots_of(&step.read)).all(is_same)
    }
}

/// Values are the same by their bits.
fn bytes_of(value: unskew_frame::Value<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    unskew_snapshot::encode_row(&[value], &mut bytes);
    bytes
}

/// The entity of each row of the spine; a key that is too long is nobody's, as in the join.
fn spine_keys(set: &TrainingSet, step: &ViewStep) -> Result<Vec<Option<EntityKey>>, BackfillError> {
    let columns: Vec<&Column> = step.keys.iter().map(|slot| &set.evaluation.columns[*slot]).collect();
    entity_keys(&columns, set.spine.times.len()).map_err(|source: EntityKeyError| BackfillError::Key {
        view: step.view.clone(),
        source,
    })
}
