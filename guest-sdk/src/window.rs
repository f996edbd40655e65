/// The most windows of an aggregate.
pub(crate) const MAX_WINDOWS: usize = 64;

/// A window `[tail, t)` of a query at t: the tail is `t - length`, moved back to a multiple of the hop unless that is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowMeta {
    /// As the outputs carry it: `1h` in `clicks_1h`.
    pub name: &'static str,
    /// In microseconds, more than 0.
    pub length_us: i64,
    /// In microseconds; 0 keeps the tail exact.
    pub hop_us: i64,
}

impl WindowMeta {
    /// The width of the tiles that the window is made of. An exact tail is tiles of a microsecond, one per event time.
    pub(crate) const fn tile_us(&self) -> i64 {
        if self.hop_us == 0 { 1 } else { self.hop_us }
    }

    /// The most tiles that the window is made of; none for an exact tail, where there is one for each time of an event.
    pub const fn max_tiles(&self) -> Option<u64> {
        if self.hop_us == 0 {
            return None;
        }
        // Those that the length covers, the one that the tail is moved back in, and the one of the head.
        Some((self.length_us / self.hop_us) as u64 + 2)
    }

    /// The first instant in the window of a query at `t`.
    pub const fn tail(&self, t: i64) -> i64 {
        self.first_tile(t).saturating_mul(self.tile_us())
    }

    /// The number of the first tile in the window of a query at `t`.
    pub(crate) const fn first_tile(&self, t: i64) -> i64 {
        t.saturating_sub(self.length_us).div_euclid(self.tile_us())
    }
}

/// Reads windows as the attribute macro takes them: `"7d/1h"` is seven days that move by the hour, `"10m"` has an exact
/// tail. Lengths are sums of days, hours, minutes, seconds and milliseconds: `1d12h`, `90s`, `250ms`.
///
/// # Panics
/// At compile time, on a text that is none of this, a length of 0, a hop beyond its window, or two windows of one name.
pub const fn parse_windows<const N: usize>(texts: [&'static str; N]) -> [WindowMeta; N] {
    let mut windows = [WindowMeta {
        name: "",
        length_us: 0,
        hop_us: 0,
    }; N];
    let mut i = 0;
    while i < N {
        windows[i] = parse_window(texts[i]);
        i += 1;
    }
    distinct_windows(windows)
}

/// One window. The attribute macro calls it at the place of the text, so that the compiler points there.
pub const fn parse_window(text: &'static str) -> WindowMeta {
    let (name, rest) = text.split_at(find_slash(text.as_bytes()));
    let length_us = parse_duration_us(name.as_bytes());
    let hop_us = if rest.is_empty() {
        0
    } else {
        parse_duration_us(rest.split_at(1).1.as_bytes())
    };
    assert!(length_us > 0, "a window is longer than 0");
    assert!(hop_us <= length_us, "a hop is not longer than its window");
    WindowMeta {
        name,
        length_us,
        hop_us,
    }
}

/// The windows, if no two have the same name.
pub const fn distinct_windows<const N: usize>(windows: [WindowMeta; N]) -> [WindowMeta; N] {
    let mut i = 0;
    while i < N {
        let mut j = 0;
        while j < i {
            assert!(
                !same(windows[j].name, windows[i].name),
                "two windows have the same length"
            );
            j += 1;
        }
        i += 1;
    }
    windows
}

const fn find_slash(text: &[u8]) -> usize {
    let mut i = 0;
    while i < text.len() && text[i] != b'/' {
        i += 1;
    }
    i
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

const fn parse_duration_us(text: &[u8]) -> i64 {
    assert!(
        !text.is_empty(),
        "a window is a length such as `1h` and a hop behind a slash, such as `1h/5m`"
    );
    let mut total: i64 = 0;
    let mut i = 0;
    while i < text.len() {
        let start = i;
        let mut number: i64 = 0;
        while i < text.len() && text[i].is_ascii_digit() {
            number = within(number.checked_mul(10));
            number = within(number.checked_add((text[i] - b'0') as i64));
            i += 1;
        }
        assert!(
            i > start && i < text.len(),
            "a length is numbers and units: `1d12h`, `90s`, `250ms`"
        );
        let is_milli = text[i] == b'm' && i + 1 < text.len() && text[i + 1] == b's';
        let unit = match text[i] {
            _ if is_milli => 1_000,
            b's' => 1_000_000,
            b'm' => 60_000_000,
            b'h' => 3_600_000_000,
            b'd' => 86_400_000_000,
            _ => panic!("the units of a length are d, h, m, s and ms"),
        };
        total = within(total.checked_add(within(number.checked_mul(unit))));
        i += if is_milli { 2 } else { 1 };
    }
    total
}

const fn within(number: Option<i64>) -> i64 {
    match number {
        Some(number) => number,
        None => panic!("a length is at most 2^63 microseconds, 292,271 years"),
    }
}

#[cfg(test)]
mod tests;
