use crate::window::{MAX_WINDOWS, WindowMeta};

/// How the windows of an aggregate divide time.
///
/// The tail of a window lies on a multiple of its hop, its tiles' width. Between two neighbouring places for a tail, of whatever
/// window, is a cell: a query sees all events of a cell or none. Far back only the long windows have a place for a tail, so cells are
/// as narrow as the shortest hop only as far as its windows reach:
///
/// ```text
/// 1h/5m                                    | | | | | | | | | | | | |
/// 24h/1h       |           |           |           |           |
/// cells        |           |           |   | | | | | | | | | | | | |
/// ```
///
/// There are never more cells with events than there are tiles with events. Places are counted in the greatest width that all hops
/// are multiples of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tiling {
    unit_us: i64,
    /// Narrow tiles first.
    levels: Vec<Level>,
}

/// The tiles of one width.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Level {
    /// In units.
    width: i64,
    /// The window of this hop that reaches back the furthest.
    longest: WindowMeta,
}

impl Level {
    /// The place where the tile of a place begins.
    fn start(&self, place: i64) -> i64 {
        place.div_euclid(self.width).saturating_mul(self.width)
    }
}

impl Tiling {
    /// That of at most [`MAX_WINDOWS`] windows.
    pub fn of(windows: &[WindowMeta]) -> Self {
        let unit_us = unit_us(windows);
        let mut levels: Vec<Level> = Vec::new();
        for window in windows {
            match levels
                .iter_mut()
                .find(|level| level.longest.tile_us() == window.tile_us())
            {
                Some(level) if level.longest.length_us < window.length_us => level.longest = *window,
                Some(_) => {}
                None => levels.push(Level {
                    width: window.tile_us() / unit_us,
                    longest: *window,
                }),
            }
        }
        levels.sort_by_key(|level| level.width);
        Self { unit_us, levels }
    }

    /// What the states of these windows depend on: the widths and reaches of the tiles.
    pub fn layout(&self, text: &mut String) {
        for Level { longest, .. } in &self.levels {
            *text += &format!(";{}/{}", longest.length_us, longest.tile_us());
        }
    }

    /// The place of an instant.
    #[inline]
    pub fn place(&self, time_us: i64) -> i64 {
        time_us.div_euclid(self.unit_us)
    }

    /// The first instant of a place.
    pub fn time_us(&self, place: i64) -> i64 {
        place.saturating_mul(self.unit_us)
    }

    /// The place where the tail of a window lies at `t`.
    pub fn tail(&self, window: &WindowMeta, t: i64) -> i64 {
        window.first_tile(t).saturating_mul(window.tile_us() / self.unit_us)
    }

    /// Where the cell of a place begins as long as every window reaches there.
    #[inline]
    pub fn narrowest_cell(&self, place: i64) -> i64 {
        let mut start = i64::MIN;
        for level in &self.levels {
            start = start.max(level.start(place));
            if start == place {
                break;
            }
        }
        start
    }

    /// What queries after an event at `last` can still tell apart.
    pub fn reach(&self, last: i64) -> Reach<'_> {
        let mut tails = [0; MAX_WINDOWS];
        for (tail, level) in tails.iter_mut().zip(&self.levels) {
            *tail = self.tail(&level.longest, last.saturating_add(1));
        }
        Reach {
            levels: &self.levels,
            tails,
        }
    }
}

/// A [`Tiling`] as far as windows reach back.
pub(crate) struct Reach<'a> {
    levels: &'a [Level],
    /// Of each level, the earliest place for a tail.
    tails: [i64; MAX_WINDOWS],
}

impl Reach<'_> {
    /// Where the cell of a place begins, or of a cell that was narrower; none where no window reaches.
    #[inline]
    pub fn cell(&self, place: i64) -> Option<i64> {
        let mut cell = None;
        for (level, tail) in self.levels.iter().zip(&self.tails) {
            let start = level.start(place);
            if start >= *tail {
                cell = cell.max(Some(start));
                if start == place {
                    break;
                }
            }
        }
        cell
    }
}

/// The greatest width that the tiles of all windows are multiples of.
pub(crate) const fn unit_us(windows: &[WindowMeta]) -> i64 {
    let (mut unit_us, mut i) = (0, 0);
    while i < windows.len() {
        let mut rest = windows[i].tile_us();
        while rest != 0 {
            (unit_us, rest) = (rest, unit_us % rest);
        }
        i += 1;
    }
    if unit_us == 0 { 1 } else { unit_us }
}

#[cfg(test)]
mod tests;
