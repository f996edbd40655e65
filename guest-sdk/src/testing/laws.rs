use core::fmt::Debug;

use super::Random;
use crate::Timestamp;
use crate::accumulate::{Accumulate, Accumulator};
use crate::reading::{Tails, read_windows};
use crate::slide::{Events, Sight, Slide};
use crate::state::{State, StateError, StateReader, StateView};
use crate::tiling::Tiling;
use crate::window::WindowMeta;

/// How many random cases [`aggregator_laws!`](crate::aggregator_laws) checks.
pub const LAW_CASES: usize = 10_000;

/// As much of a complaint as says which law it is of.
const LAW_NAME: usize = 12;

/// Checks the laws of an accumulator on random values, to the bit:
///
/// - any order of arrival, any cut into parts and any tree of merges, through the bytes, give the same bytes;
/// - the default changes nothing; bytes are read as what wrote them, and are no more than [`Accumulator::MAX_BYTES`]; damaged ones
///   are refused, or are those of another accumulator;
/// - in windows: folding and reading, folding one by one with what is out of sight dropped, merging, and the batch form all give
///   what adding up the events of the window from scratch gives.
///
/// # Panics
/// On a law that does not hold, with the shortest events found for which it does not.
pub fn check_accumulator_laws<A, V>(cases: usize, value: impl Fn(&mut Random) -> V)
where
    A: Accumulate<V> + Debug,
    V: Clone + Debug,
{
    for seed in 0..cases as u64 {
        let mut random = Random::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let len = random.below(16);
        let values: Vec<V> = (0..len).map(|_| value(&mut random)).collect();
        let case = Case {
            values,
            seed: random.u64(),
        };
        if let Err(broken) = case.check::<A>() {
            let (case, broken) = case.shortest::<A>(broken);
            panic!("{broken}\nvalues: {:?}\nseed: {}", case.values, case.seed);
        }
    }
}

/// Values, and everything else drawn from a seed.
#[derive(Clone)]
struct Case<V> {
    values: Vec<V>,
    seed: u64,
}

impl<V: Clone + Debug> Case<V> {
    fn check<A: Accumulate<V> + Debug>(&self) -> Result<(), String> {
        let mut random = Random::new(self.seed);
        let values: Vec<(Timestamp, V)> = self.values.iter().map(|v| (random.time(), v.clone())).collect();
        check_merging::<A, V>(&values, &mut random)?;
        let base = random.one_of(&[0, -30, 1_000_000_007, -1_000_000_007]);
        let step = random.one_of(&[1, 7, 100, 500]);
        let mut values: Vec<(Timestamp, V)> = self
            .values
            .iter()
            .map(|v| (Timestamp::from_micros(base + random.below(40) as i64 * step), v.clone()))
            .collect();
        if random.bool() {
            values.sort_by_key(|(time, _)| *time);
        }
        check_windows::<A, V>(&values, &mut random, step)
    }

    /// Leaves out values as long as the law stays broken.
    fn shortest<A: Accumulate<V> + Debug>(mut self, mut broken: String) -> (Self, String) {
        let mut index = 0;
        while index < self.values.len() {
            let mut shorter = self.clone();
            shorter.values.remove(index);
            // Fewer values are taken in other orders: a few seeds find one that still shows it.
            let still = (0..16).find_map(|_| {
                shorter.seed = shorter.seed.wrapping_add(1);
                let still = shorter.check::<A>().err()?;
                (still.get(..LAW_NAME) == broken.get(..LAW_NAME)).then_some(still)
            });
            match still {
                Some(still) => (self, broken, index) = (shorter, still, 0),
                None => index += 1,
            }
        }
        (self, broken)
    }
}

fn fold<A: Accumulate<V>, V: Clone>(values: &[(Timestamp, V)]) -> A {
    let mut folded = A::default();
    for (time, value) in values {
        folded.add(*time, value.clone());
    }
    folded
}

pub(crate) fn encoded<A: Accumulator>(accumulator: &A) -> Vec<u8> {
    let mut bytes = Vec::new();
    accumulator.encode(&mut bytes);
    bytes
}

pub(crate) fn decoded<A: Accumulator>(bytes: &[u8]) -> Result<A, StateError> {
    let mut reader = StateReader::new(bytes);
    let accumulator = A::decode(&mut reader)?;
    reader.end()?;
    Ok(accumulator)
}

fn merge_bytes<A: Accumulator>(accumulator: &mut A, bytes: &[u8]) -> Result<(), StateError> {
    let mut reader = StateReader::new(bytes);
    accumulator.merge_encoded(&mut reader)?;
    reader.end()
}

fn same<A: Accumulator + Debug>(law: &str, found: &A, expected: &A) -> Result<(), String> {
    if encoded(found) == encoded(expected) && found == expected {
        return Ok(());
    }
    Err(format!(
        "{law}\nfound: {found:?}\n  {:02x?}\nexpected: {expected:?}\n  {:02x?}",
        encoded(found),
        encoded(expected)
    ))
}

fn check_merging<A, V>(values: &[(Timestamp, V)], random: &mut Random) -> Result<(), String>
where
    A: Accumulate<V> + Debug,
    V: Clone,
{
    let whole: A = fold(values);
    let mut order = values.to_vec();
    random.shuffle(&mut order);
    same("another order of arrival gives another state", &fold(&order), &whole)?;

    let mut cuts = vec![0, order.len()];
    for _ in 0..random.below(6) {
        cuts.push(random.below(order.len() + 1));
    }
    cuts.sort_unstable();
    let mut parts: Vec<A> = cuts.windows(2).map(|cut| fold(&order[cut[0]..cut[1]])).collect();
    while parts.len() > 1 {
        let right = parts.swap_remove(random.below(parts.len()));
        let left = random.below(parts.len());
        // Through its bytes, as between two calls; decoded first, or as they are.
        let bytes = encoded(&right);
        let merged = match parts.len() % 2 {
            0 => decoded(&bytes).map(|right: A| parts[left].merge(&right)),
            _ => merge_bytes(&mut parts[left], &bytes),
        };
        merged.map_err(|error| format!("a state cannot be read again: {error:?}"))?;
    }
    same("a tree of merges gives another state", &parts[0], &whole)?;

    let mut identity = A::default();
    identity.merge(&whole);
    same("merging into the default changes what is merged", &identity, &whole)?;
    identity.merge(&A::default());
    same("merging the default changes something", &identity, &whole)?;
    check_bytes(&whole, random)
}

/// What is read is what was written, and what could not have been written is refused.
fn check_bytes<A: Accumulator + Debug>(whole: &A, random: &mut Random) -> Result<(), String> {
    let bytes = encoded(whole);
    if let Some(bound) = A::MAX_BYTES.filter(|bound| *bound < bytes.len() as u64) {
        return Err(format!(
            "more bytes than the accumulator's bound: {} instead of {bound}",
            bytes.len()
        ));
    }
    match decoded::<A>(&bytes) {
        Ok(read) => same("a state is read as another", &read, whole)?,
        Err(error) => return Err(format!("a state cannot be read: {error:?}")),
    }
    check_refusal::<A>(&bytes)?;
    for _ in 0..bytes.len().min(4) {
        let len = random.below(bytes.len());
        if decoded::<A>(&bytes[..len]).is_ok() {
            return Err(format!("{len} of {} bytes are a state: {bytes:02x?}", bytes.len()));
        }
    }
    let mut damaged = bytes;
    if !damaged.is_empty() {
        let at = random.below(damaged.len());
        damaged[at] = random.u64() as u8;
    }
    let made_up: Vec<u8> = (0..random.below(24))
        .map(|_| random.one_of(&[0, 0, 1, 2, 3, 0x81, 0xff]))
        .collect();
    for bytes in [damaged, made_up] {
        check_refusal::<A>(&bytes)?;
        if let Ok(read) = decoded::<A>(&bytes)
            && encoded(&read) != bytes
        {
            return Err(format!(
                "{read:?} is read from bytes that are not its own: {bytes:02x?}"
            ));
        }
    }
    Ok(())
}

/// Bytes are decoded and merged, or refused by both.
fn check_refusal<A: Accumulator>(bytes: &[u8]) -> Result<(), String> {
    if decoded::<A>(bytes).is_ok() == merge_bytes(&mut A::default(), bytes).is_ok() {
        return Ok(());
    }
    Err(format!(
        "bytes are refused by one of decoding and merging: {bytes:02x?}"
    ))
}

const WINDOWS: [WindowMeta; 5] = [
    window("exact", 7, 0),
    window("exact and longer", 20, 0),
    window("a hop", 20, 7),
    window("the same hop", 21, 7),
    window("a long hop", 3_500, 1_000),
];

const fn window(name: &'static str, length_us: i64, hop_us: i64) -> WindowMeta {
    WindowMeta {
        name,
        length_us,
        hop_us,
    }
}

struct Values<'a, V> {
    times: Vec<i64>,
    values: &'a [(Timestamp, V)],
}

impl<A: Accumulate<V>, V: Clone> Events<A> for Values<'_, V> {
    fn times(&self) -> &[i64] {
        &self.times
    }

    fn add(&self, event: usize, totals: &mut A) {
        let (time, value) = &self.values[event];
        totals.add(*time, value.clone());
    }
}

fn check_windows<A, V>(values: &[(Timestamp, V)], random: &mut Random, step: i64) -> Result<(), String>
where
    A: Accumulate<V> + Debug,
    V: Clone + Debug,
{
    let tiling = Tiling::of(&WINDOWS);
    // The first events come as a state, to the batch form.
    let base = random.below(values.len() + 1);
    let queries = queries(values, base, random, step);
    for sight in &queries {
        let visible = &values[..base + sight.visible];
        let (state, t) = (state_of::<A, V>(&tiling, visible), Timestamp::from_micros(sight.time));
        let mut read = vec![A::default(); WINDOWS.len()];
        read_bytes(&state_bytes(&state, &tiling), &tiling, t, &mut read)?;
        for (window, read) in WINDOWS.iter().zip(&read) {
            let expected = from_scratch(visible, window, sight.time);
            let of_state = state.totals(&tiling, window, t);
            same(
                &format!("`{}` of the state at {sight:?}", window.name),
                &of_state,
                &expected,
            )?;
            same(&format!("`{}` of its bytes at {sight:?}", window.name), read, &expected)?;
        }
    }
    let (before, events) = values.split_at(base);
    let before_state: State<A> = state_of(&tiling, before);
    let mut broken = Ok(());
    let mut answers = 0;
    let mut slide = Slide::new();
    slide.run(
        &tiling,
        &WINDOWS,
        &before_state,
        &Values {
            times: events.iter().map(|(time, _)| time.as_micros()).collect(),
            values: events,
        },
        &queries,
        |window, query, totals: &A| {
            let (sight, window) = (queries[query], &WINDOWS[window]);
            let expected = from_scratch(&values[..base + sight.visible], window, sight.time);
            answers += 1;
            if broken.is_ok() {
                broken = same(
                    &format!("`{}` in batch, {base} before, at {sight:?}", window.name),
                    totals,
                    &expected,
                );
            }
        },
    );
    broken?;
    if answers != queries.len() * WINDOWS.len() {
        return Err(format!("{answers} answers to {} queries", queries.len()));
    }
    check_states::<A, V>(values, &tiling, random)
}

/// Queries as the batch form takes them: the visible events ascend, and each is before the query.
fn queries<V>(values: &[(Timestamp, V)], base: usize, random: &mut Random, step: i64) -> Vec<Sight> {
    let mut visible: Vec<usize> = (0..random.below(7))
        .map(|_| random.below(values.len() - base + 1))
        .collect();
    visible.sort_unstable();
    let last = |count: usize| values[..count].iter().map(|(time, _)| time.as_micros()).max();
    let mut queries: Vec<Sight> = visible
        .into_iter()
        .map(|visible| {
            // Often at a window's edge, sometimes far behind.
            let after = (random.below(30) as i64 * step + random.below(3) as i64 - 1).max(1);
            let after = if random.bool() { 1 } else { after };
            Sight {
                time: last(base + visible).unwrap_or(0) + after,
                visible,
            }
        })
        .collect();
    if random.bool() {
        // Times ascend, too.
        let mut latest = i64::MIN;
        for query in &mut queries {
            query.time = query.time.max(latest);
            latest = query.time;
        }
    }
    queries
}

/// What the definition of a window says, and no more.
fn from_scratch<A: Accumulate<V>, V: Clone>(visible: &[(Timestamp, V)], window: &WindowMeta, t: i64) -> A {
    let inside: Vec<(Timestamp, V)> = visible
        .iter()
        .filter(|(time, _)| time.as_micros() >= window.tail(t))
        .cloned()
        .collect();
    fold(&inside)
}

fn state_of<A: Accumulate<V>, V: Clone>(tiling: &Tiling, values: &[(Timestamp, V)]) -> State<A> {
    let mut state = State::new();
    for (time, value) in values {
        state.add(tiling, *time, |totals: &mut A| totals.add(*time, value.clone()));
    }
    state.settle(tiling);
    state
}

fn state_bytes<A: Accumulator>(state: &State<A>, tiling: &Tiling) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(last) = state.last() {
        state.encode(tiling, 0, last, &mut bytes);
    }
    bytes
}

/// What the windows of a state, of which there may be no bytes, have at `t`.
fn read_bytes<A: Accumulator>(bytes: &[u8], tiling: &Tiling, t: Timestamp, read: &mut [A]) -> Result<(), String> {
    if bytes.is_empty() {
        return Ok(());
    }
    let mut tails = Tails::default();
    tails.move_to(tiling, &WINDOWS, t);
    StateView::of::<A>(bytes, 0)
        .and_then(|view| {
            read_windows(&view, tiling, &tails, &A::default(), |window, totals: &A| {
                read[window].clone_from(totals)
            })
        })
        .map_err(|error| format!("the windows of a state cannot be read: {error:?}"))
}

/// The bytes of a state are a function of the events, whatever was dropped on the way.
fn check_states<A, V>(values: &[(Timestamp, V)], tiling: &Tiling, random: &mut Random) -> Result<(), String>
where
    A: Accumulate<V> + Debug,
    V: Clone,
{
    let whole = state_bytes(&state_of::<A, V>(tiling, values), tiling);
    let mut order = values.to_vec();
    random.shuffle(&mut order);
    let read = |bytes: &[u8]| -> Result<State<A>, String> {
        if bytes.is_empty() {
            return Ok(State::new());
        }
        State::decode(bytes, 0, tiling).map_err(|error| format!("the state of windows cannot be read: {error:?}"))
    };
    let mut bytes = Vec::new();
    for (time, value) in &order {
        let mut state = read(&bytes)?;
        state.add(tiling, *time, |totals: &mut A| totals.add(*time, value.clone()));
        state.settle(tiling);
        bytes = state_bytes(&state, tiling);
    }
    if bytes != whole {
        return Err(format!(
            "event by event, the state is {bytes:02x?}, from scratch {whole:02x?}"
        ));
    }
    let (left, right) = order.split_at(random.below(order.len() + 1));
    let part = |values| state_bytes(&state_of::<A, V>(tiling, values), tiling);
    let mut merged = read(&part(left))?;
    merged.merge(read(&part(right))?);
    merged.settle(tiling);
    let merged = state_bytes(&merged, tiling);
    if merged != whole {
        return Err(format!("merged, the state is {merged:02x?}, from scratch {whole:02x?}"));
    }
    check_damage::<A>(whole, tiling, random)
}

/// A damaged state is refused, or another's that is whole; reading it ends, whatever it gives.
fn check_damage<A: Accumulator>(mut bytes: Vec<u8>, tiling: &Tiling, random: &mut Random) -> Result<(), String> {
    if bytes.is_empty() {
        return Ok(());
    }
    let cut = random.below(bytes.len());
    if State::<A>::decode(&bytes[..cut], 0, tiling).is_ok() {
        return Err(format!("{cut} bytes of a state are one: {bytes:02x?}"));
    }
    let at = random.below(bytes.len());
    bytes[at] = random.u64() as u8;
    let mut read = vec![A::default(); WINDOWS.len()];
    for bytes in [&bytes[..cut], &bytes] {
        let _ = read_bytes(bytes, tiling, random.time(), &mut read);
    }
    match State::<A>::decode(&bytes, 0, tiling).map(|state| state_bytes(&state, tiling)) {
        Ok(again) if again != bytes => Err(format!("a state of {again:02x?} is read from {bytes:02x?}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
