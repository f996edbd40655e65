use std::collections::BTreeMap;

use crate::Timestamp;
use crate::accumulate::Accumulator;
use crate::window::WindowMeta;

/// The version of the layout below, part of every [`state_version`].
const LAYOUT_VERSION: u32 = 2;

/// The state of one entity: its events, summed up in tiles as wide as the windows' hops.
///
/// Windows of the same hop share their tiles. A tile that no later query can see is dropped, as a function of the last event
/// time alone, so the state depends on the events and not on their order.
///
/// ```text
/// u32     state version
/// i64     time of the last event
/// levels  in the order of their tile width, each:
///   varint  number of tiles, at least one
///   tiles   in the order of time, each: varint distance to the tile before (the first: zigzag number), accumulators
/// ```
///
/// The last tile of every level is that of the last event, and none is older than the next query can see.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct State<A> {
    /// None without events.
    last: Option<Timestamp>,
    levels: Vec<BTreeMap<i64, A>>,
}

/// The tiles of one width.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Level {
    pub tile_us: i64,
    /// The window of this hop that reaches back the furthest.
    longest: WindowMeta,
}

impl Level {
    /// Whether every tile that `other` needs is here, too.
    pub const fn covers(&self, other: &Self) -> bool {
        self.tile_us == other.tile_us && self.longest.length_us >= other.longest.length_us
    }

    /// The first tile that a query after the event at `last` can see.
    const fn first_tile(&self, last: i64) -> i64 {
        self.longest.first_tile(last.saturating_add(1))
    }
}

/// A number that changes with anything that the bytes of a state depend on, so that no state is read as another's: the
/// layout, the accumulators and the widths and reaches of the tiles.
pub(crate) fn state_version<A: Accumulator>(levels: &[Level]) -> u32 {
    let mut words = format!("{LAYOUT_VERSION};");
    A::layout(&mut words);
    for level in levels {
        words += &format!(";{}/{}", level.longest.length_us, level.tile_us);
    }
    xxhash_rust::xxh3::xxh3_64(words.as_bytes()) as u32
}

/// The levels that these windows need, narrow tiles first.
pub(crate) fn levels(windows: &[WindowMeta]) -> Vec<Level> {
    let mut levels: Vec<Level> = Vec::new();
    for window in windows {
        match levels.iter_mut().find(|level| level.tile_us == window.tile_us()) {
            Some(level) if level.longest.length_us < window.length_us => level.longest = *window,
            Some(_) => {}
            None => levels.push(Level {
                tile_us: window.tile_us(),
                longest: *window,
            }),
        }
    }
    levels.sort_by_key(|level| level.tile_us);
    levels
}

impl<A: Accumulator> State<A> {
    pub fn new(levels: &[Level]) -> Self {
        Self {
            last: None,
            levels: levels.iter().map(|_| BTreeMap::new()).collect(),
        }
    }

    /// Adds an event: `add` puts it into a tile. Call [`evict`](Self::evict) after the last.
    pub fn add(&mut self, levels: &[Level], time: Timestamp, add: impl Fn(&mut A)) {
        let last = self.last.map_or(time, |last| last.max(time));
        self.last = Some(last);
        for (level, tiles) in levels.iter().zip(&mut self.levels) {
            let tile = time.as_micros().div_euclid(level.tile_us);
            // What no query can see is not kept only to be evicted.
            if tile >= level.first_tile(last.as_micros()) {
                add(tiles.entry(tile).or_default());
            }
        }
    }

    /// The state as one of other accumulators and of levels that these cover.
    pub fn convert<B: Accumulator + From<A>>(self, levels: &[Level], to: &[Level]) -> State<B> {
        let mut from: Vec<(&Level, Option<BTreeMap<i64, A>>)> =
            levels.iter().zip(self.levels.into_iter().map(Some)).collect();
        let tiles = to.iter().map(|level| {
            let covering = from.iter_mut().find(|(covering, _)| covering.covers(level));
            let tiles = covering.and_then(|(_, tiles)| tiles.take()).unwrap_or_default();
            tiles
                .into_iter()
                .map(|(tile, totals)| (tile, B::from(totals)))
                .collect()
        });
        let mut converted = State {
            last: self.last,
            levels: tiles.collect(),
        };
        converted.evict(to);
        converted
    }

    /// The tiles of the level of `window`, in the order of time.
    pub fn tiles(&self, levels: &[Level], window: &WindowMeta) -> impl Iterator<Item = (i64, &A)> {
        let index = levels.iter().position(|level| level.tile_us == window.tile_us());
        let tiles = index.and_then(|index| self.levels.get(index)).into_iter().flatten();
        tiles.map(|(tile, totals)| (*tile, totals))
    }

    pub fn merge(&mut self, other: &Self) {
        self.last = self.last.max(other.last);
        for (tiles, others) in self.levels.iter_mut().zip(&other.levels) {
            for (tile, totals) in others {
                tiles.entry(*tile).or_default().merge(totals);
            }
        }
    }

    /// Drops the tiles that no query after the last event can see.
    pub fn evict(&mut self, levels: &[Level]) {
        let Some(last) = self.last else { return };
        for (level, tiles) in levels.iter().zip(&mut self.levels) {
            let first = level.first_tile(last.as_micros());
            if tiles.first_key_value().is_some_and(|(tile, _)| *tile < first) {
                *tiles = tiles.split_off(&first);
            }
        }
    }

    /// The totals of `window` at `t`, which is later than every event here.
    pub fn totals(&self, levels: &[Level], window: &WindowMeta, t: Timestamp) -> A {
        let (mut totals, first) = (A::default(), window.first_tile(t.as_micros()));
        for (_, tile) in self.tiles(levels, window).filter(|(tile, _)| *tile >= first) {
            totals.merge(tile);
        }
        totals
    }

    /// The time of the last event; none without events.
    pub fn last(&self) -> Option<Timestamp> {
        self.last
    }

    /// Writes the state, which has events.
    pub fn encode(&self, version: u32, last: Timestamp, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&version.to_le_bytes());
        bytes.extend_from_slice(&last.as_micros().to_le_bytes());
        for tiles in &self.levels {
            push_varint(bytes, tiles.len() as u128);
            let mut previous = None;
            for (tile, totals) in tiles {
                match previous {
                    None => push_varint(bytes, zigzag((*tile).into())),
                    Some(previous) => push_varint(bytes, tile.abs_diff(previous).into()),
                }
                previous = Some(*tile);
                totals.encode(bytes);
            }
        }
    }

    pub fn decode(bytes: &[u8], version: u32, levels: &[Level]) -> Result<Self, StateError> {
        let mut state = Self::new(levels);
        let last = for_each_tile(bytes, version, levels, |level, tile, reader| {
            state.levels[level].insert(tile, A::decode(reader)?);
            Ok(())
        })?;
        state.last = Some(last);
        Ok(state)
    }
}

/// Calls `f(level, tile, reader)` for every tile in `bytes`, to read its accumulators, and gives the time of the last event: reading
/// a state needs no more than this.
#[inline]
pub(crate) fn for_each_tile(
    bytes: &[u8],
    version: u32,
    levels: &[Level],
    mut f: impl FnMut(usize, i64, &mut StateReader<'_>) -> Result<(), StateError>,
) -> Result<Timestamp, StateError> {
    let mut reader = StateReader::new(bytes);
    let written = u32::from_le_bytes(reader.array()?);
    if written != version {
        return Err(StateError::Version(written));
    }
    let last = i64::from_le_bytes(reader.array()?);
    for (index, level) in levels.iter().enumerate() {
        let mut tile = None;
        for _ in 0..reader.u64()? {
            let next = match tile {
                None => reader.i64()?,
                Some(tile) => {
                    let step = i64::try_from(reader.u64()?).map_err(|_| StateError::Damaged)?;
                    i64::checked_add(tile, step)
                        .filter(|_| step > 0)
                        .ok_or(StateError::Damaged)?
                }
            };
            // A tile that could not be there would be seen by queries that must not see it.
            if tile.is_none() && next < level.first_tile(last) {
                return Err(StateError::Damaged);
            }
            tile = Some(next);
            f(index, next, &mut reader)?;
        }
        if tile != Some(last.div_euclid(level.tile_us)) {
            return Err(StateError::Damaged);
        }
    }
    reader.end()?;
    Ok(Timestamp::from_micros(last))
}

/// Reads the bytes of a state.
#[derive(Debug)]
pub struct StateReader<'a> {
    bytes: &'a [u8],
}

/// Why a state cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateError {
    /// It is of a version that this module does not read.
    Version(u32),
    /// The bytes end early, go on too long, or were written by nothing of ours.
    Damaged,
}

impl<'a> StateReader<'a> {
    /// Reads `bytes` from their start.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The next byte.
    ///
    /// # Errors
    /// There is none.
    #[inline]
    pub fn byte(&mut self) -> Result<u8, StateError> {
        let (first, rest) = self.bytes.split_first().ok_or(StateError::Damaged)?;
        self.bytes = rest;
        Ok(*first)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// There are not so many.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], StateError> {
        let (first, rest) = self.bytes.split_first_chunk().ok_or(StateError::Damaged)?;
        self.bytes = rest;
        Ok(*first)
    }

    /// The next variable-length number.
    ///
    /// # Errors
    /// The bytes end, or the number is beyond 128 bits or longer than it need be.
    #[inline]
    pub fn varint(&mut self) -> Result<u128, StateError> {
        match self.short_varint() {
            Some(number) => Ok(number.into()),
            None => self.long_varint(),
        }
    }

    /// A number of up to eight bytes, which most are; none, and nothing is read, of what is longer or not a number.
    #[inline]
    fn short_varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for (index, byte) in self.bytes.iter().take(8).enumerate() {
            number |= u64::from(byte & 0x7f) << (7 * index);
            if *byte < 0x80 {
                if *byte == 0 && index > 0 {
                    return None;
                }
                self.bytes = &self.bytes[index + 1..];
                return Some(number);
            }
        }
        None
    }

    /// In steps of 128 bits, which are calls of functions in a component.
    #[cold]
    fn long_varint(&mut self) -> Result<u128, StateError> {
        let mut number = 0_u128;
        for shift in (0..).step_by(7) {
            let byte = self.byte()?;
            let bits = u128::from(byte & 0x7f);
            if shift > 121 && bits >> (128 - shift) != 0 || byte == 0 && shift > 0 {
                return Err(StateError::Damaged);
            }
            number |= bits << shift;
            if byte < 0x80 {
                break;
            }
            if shift > 121 {
                return Err(StateError::Damaged);
            }
        }
        Ok(number)
    }

    /// The next variable-length number, of 64 bits.
    ///
    /// # Errors
    /// Those of [`varint`](Self::varint), and a number beyond 64 bits.
    #[inline]
    pub fn u64(&mut self) -> Result<u64, StateError> {
        match self.short_varint() {
            Some(number) => Ok(number),
            None => u64::try_from(self.long_varint()?).map_err(|_| StateError::Damaged),
        }
    }

    /// The next variable-length number of either sign, of 64 bits.
    #[inline]
    pub(crate) fn i64(&mut self) -> Result<i64, StateError> {
        let number = self.u64()?;
        Ok((number >> 1).cast_signed() ^ -((number & 1).cast_signed()))
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// Something is.
    pub fn end(&self) -> Result<(), StateError> {
        if self.bytes.is_empty() {
            Ok(())
        } else {
            Err(StateError::Damaged)
        }
    }
}

/// Appends `number` in 7-bit groups, least first.
#[inline]
pub(crate) fn push_varint(bytes: &mut Vec<u8>, number: u128) {
    match u64::try_from(number) {
        Ok(mut number) => {
            while number >= 0x80 {
                bytes.push(number as u8 | 0x80);
                number >>= 7;
            }
            bytes.push(number as u8);
        }
        Err(_) => push_long_varint(bytes, number),
    }
}

#[cold]
fn push_long_varint(bytes: &mut Vec<u8>, mut number: u128) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Small numbers of either sign as small numbers.
pub(crate) const fn zigzag(number: i128) -> u128 {
    (number << 1 ^ number >> 127).cast_unsigned()
}

pub(crate) const fn unzigzag(number: u128) -> i128 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

#[cfg(test)]
mod tests;
