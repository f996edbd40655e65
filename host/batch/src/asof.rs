use std::cmp::Ordering;

use unskew_snapshot::{EventTime, Status, Ttl, Version, compare_versions, is_visible, row_status, visible_from};

pub(crate) use self::entries::{Entry, sorted_entries};
use crate::words::{KeyColumns, KeyWords};

mod entries;

/// The rows of a source, or of one part of it, for the as-of join.
pub(crate) struct Versions<'a> {
    pub words: &'a KeyWords,
    pub keys: KeyColumns<'a>,
    pub event_time: &'a [i64],
    /// When each row became known, where the source says so.
    pub known_at: Option<&'a dyn Fn(u32) -> Option<EventTime>>,
    /// Appends the canonical bytes of a row's values, which decide between rows of the same times.
    pub encode: &'a dyn Fn(u32, &mut Vec<u8>),
    /// The rows at the front that another join left as [`Joined::last`], for each whether it was tied.
    pub carried: &'a [bool],
}

/// The rows of a spine, or of one part of it.
pub(crate) struct Moments<'a> {
    pub words: &'a KeyWords,
    pub keys: KeyColumns<'a>,
    pub times: &'a [i64],
    pub sight: Sight,
    pub ttl: Option<Ttl>,
}

/// What the spine rows were joined with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Joined {
    /// The source's row of each spine row; [`NO_ROW`] unless its status is present.
    pub rows: Vec<u32>,
    /// Why, for each spine row: present, not found or expired.
    pub status: Vec<Status>,
    /// Spine rows whose value was chosen by row bytes alone, from rows of the same times and other values.
    pub ties: u64,
    /// If asked for, the greatest version of each entity of the source and whether it is tied, in any order: all that a join
    /// of later rows needs of these.
    pub last: Vec<(u32, bool)>,
}

/// In the place of a row: none.
pub(crate) const NO_ROW: u32 = u32::MAX;

/// What a row of a spine may see.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sight {
    /// What became known later than this is not seen.
    pub freeze_at: Option<EventTime>,
    /// How much later than it says everything became known, in microseconds.
    pub lag_us: u64,
}

impl Sight {
    /// The time up to which a row at `at` may see.
    pub fn seen_at(self, at: EventTime) -> EventTime {
        let at = EventTime(at.0.saturating_sub_unsigned(self.lag_us));
        self.freeze_at.map_or(at, |freeze_at| freeze_at.min(at))
    }
}

/// Joins each spine row with the greatest version of its entity that is visible at its time: less the lag, and at the freeze if that is
/// earlier, as though nothing later had been known. The age for the TTL is that at the spine row's time in any case, so a frozen join
/// gives what a snapshot as of the freeze gives when it is read at that time.
///
/// ```text
/// sort the versions by (entity, when they become visible), the spine rows by (entity, time)
/// for each entity: for each spine row: move on past the versions that are visible by then; the greatest of them is the answer
/// ```
///
/// What is visible once stays so: the greatest so far is all that is remembered. "By entity" is by its word first; the keys are
/// compared where equal words do not mean equal keys. With `wants_last` the versions behind the last spine row count too, for
/// [`Joined::last`].
pub(crate) fn join(versions: &Versions<'_>, moments: &Moments<'_>, wants_last: bool) -> Joined {
    let rows = moments.times.len();
    let source = match versions.known_at {
        None => sorted_entries(versions.words, versions.event_time, |_, time| time),
        Some(known_at) => sorted_entries(versions.words, versions.event_time, |row, time| {
            visible_from(EventTime(time), known_at(row)).0
        }),
    };
    let spine = sorted_entries(moments.words, moments.times, |_, time| time);
    let mut join = Join {
        versions,
        moments,
        wants_last,
        joined: Joined {
            rows: vec![NO_ROW; rows],
            status: vec![Status::NotFound; rows],
            ties: 0,
            last: Vec::new(),
        },
        here: Vec::new(),
        best: Vec::new(),
    };
    let (mut source, mut spine) = (&source[..], &spine[..]);
    while let Some(version) = source.first() {
        spine = &spine[spine.iter().take_while(|moment| moment.word < version.word).count()..];
        if spine.is_empty() && !wants_last {
            break;
        }
        let (group, rest) = source.split_at(run(source));
        source = rest;
        let is_wanted = spine.first().is_some_and(|moment| moment.word == version.word);
        let (moments, rest) = spine.split_at(if is_wanted { run(spine) } else { 0 });
        spine = rest;
        if is_wanted || wants_last {
            join.word(group, moments);
        }
    }
    join.joined
}

/// How many of the entries have the word of the first.
fn run(entries: &[Entry]) -> usize {
    let word = entries.first().map(|entry| entry.word);
    entries.iter().take_while(|entry| Some(entry.word) == word).count()
}

struct Join<'a> {
    versions: &'a Versions<'a>,
    moments: &'a Moments<'a>,
    wants_last: bool,
    joined: Joined,
    /// The bytes of two rows that are compared.
    here: Vec<u8>,
    best: Vec<u8>,
}

/// The greatest version so far, and whether one of the same times has other values.
#[derive(Clone, Copy)]
struct Best {
    row: u32,
    event_time: EventTime,
    is_tied: bool,
}

impl Join<'_> {
    /// Joins what has one word: one entity, but for a collision.
    fn word(&mut self, source: &[Entry], spine: &[Entry]) {
        let (versions, moments) = (self.versions, self.moments);
        if versions.words.is_exact && moments.words.is_exact {
            return self.entity(source, spine);
        }
        let representative = source[0].row as usize;
        let is_same =
            |keys: &KeyColumns<'_>, entry: &Entry| versions.keys.is_same(representative, keys, entry.row as usize);
        if source.iter().all(|entry| is_same(&versions.keys, entry))
            && spine.iter().all(|entry| is_same(&moments.keys, entry))
        {
            return self.entity(source, spine);
        }
        let (here, source): (Vec<Entry>, Vec<Entry>) = source.iter().partition(|entry| is_same(&versions.keys, entry));
        let (spine_here, spine): (Vec<Entry>, Vec<Entry>) =
            spine.iter().partition(|entry| is_same(&moments.keys, entry));
        self.entity(&here, &spine_here);
        if !source.is_empty() {
            self.word(&source, &spine);
        }
    }

    fn entity(&mut self, source: &[Entry], spine: &[Entry]) {
        let mut best: Option<Best> = None;
        let mut next = 0;
        for moment in spine {
            let at = EventTime(moment.time);
            let seen_at = self.moments.sight.seen_at(at);
            while let Some(version) = source.get(next).filter(|version| self.is_visible(version, seen_at)) {
                best = Some(self.greater(best, version));
                next += 1;
            }
            let Some(Best {
                row,
                event_time,
                is_tied,
            }) = best
            else {
                continue;
            };
            let status = row_status(event_time, self.moments.ttl, at);
            self.joined.status[moment.row as usize] = status;
            if status.is_present() {
                self.joined.rows[moment.row as usize] = row;
                self.joined.ties += u64::from(is_tied);
            }
        }
        if self.wants_last {
            for version in &source[next..] {
                best = Some(self.greater(best, version));
            }
            self.joined.last.extend(best.map(|best| (best.row, best.is_tied)));
        }
    }

    fn is_visible(&self, version: &Entry, seen_at: EventTime) -> bool {
        let known_at = self.versions.known_at.and_then(|known_at| known_at(version.row));
        is_visible(self.event_time(version), known_at, seen_at)
    }

    /// Where all is known at once, rows become visible when they happen.
    fn event_time(&self, version: &Entry) -> EventTime {
        EventTime(match self.versions.known_at {
            None => version.time,
            Some(_) => self.versions.event_time[version.row as usize],
        })
    }

    /// The greater of the greatest so far and another version.
    fn greater(&mut self, best: Option<Best>, version: &Entry) -> Best {
        let row = version.row;
        let here = Best {
            row,
            event_time: self.event_time(version),
            is_tied: self.versions.carried.get(row as usize).is_some_and(|is_tied| *is_tied),
        };
        let Some(best) = best else {
            return here;
        };
        // Without its bytes first: versions of the same times are few.
        let version = |of: Best, bytes| Version {
            event_time: of.event_time,
            known_at: self.versions.known_at.and_then(|known_at| known_at(of.row)),
            row: bytes,
        };
        match compare_versions(&version(best, &[]), &version(here, &[])) {
            Ordering::Less => here,
            Ordering::Greater => best,
            Ordering::Equal => {
                self.best.clear();
                self.here.clear();
                (self.versions.encode)(best.row, &mut self.best);
                (self.versions.encode)(row, &mut self.here);
                let (old, new) = (version(best, &self.best), version(here, &self.here));
                let is_tied = best.is_tied || here.is_tied || old.is_tied_with(&new);
                match compare_versions(&old, &new) {
                    Ordering::Less => Best { is_tied, ..here },
                    _ => Best { is_tied, ..best },
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
