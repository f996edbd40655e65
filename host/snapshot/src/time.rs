use core::fmt;

use crate::duration::write_duration_us;

/// Microseconds in a second.
pub const MICROS_PER_SECOND: i64 = 1_000_000;
/// Microseconds in a minute.
pub const MICROS_PER_MINUTE: i64 = 60 * MICROS_PER_SECOND;
/// Microseconds in an hour.
pub const MICROS_PER_HOUR: i64 = 60 * MICROS_PER_MINUTE;
/// Microseconds in a day of 24 hours; UTC has no other days.
pub const MICROS_PER_DAY: i64 = 24 * MICROS_PER_HOUR;

/// Whether a value of `event_time` still counts at `at`: it is expired when `at - event_time > ttl`, so alive exactly at the
/// TTL, and for ever without one. A value later than `at` is alive; whether it may be seen is [`is_visible`]'s answer.
///
/// ```
/// use unskew_snapshot::{EventTime, Ttl, is_alive};
///
/// let ttl = Some(Ttl::from_micros(10));
/// assert!(is_alive(EventTime(0), ttl, EventTime(10)));
/// assert!(!is_alive(EventTime(0), ttl, EventTime(11)));
/// assert!(is_alive(EventTime(0), None, EventTime(i64::MAX)));
/// ```
///
/// [`is_visible`]: crate::is_visible
#[inline]
pub const fn is_alive(event_time: EventTime, ttl: Option<Ttl>, at: EventTime) -> bool {
    let Some(ttl) = ttl else { return true };
    // `abs_diff` is exact for any two i64, where a subtraction would overflow.
    at.0 <= event_time.0 || at.0.abs_diff(event_time.0) <= ttl.0
}

/// Whether an event became known later than `lateness` allows: `known_at - event_time > lateness`. Exactly at it is not late, nor
/// is what is known before it happens. Where nothing says when an event became known, or nothing was declared, no event is late.
///
/// An aggregate never counts a late event: no backfill, no snapshot and no host does.
///
/// ```
/// use unskew_snapshot::{EventTime, Lateness, is_late};
///
/// let lateness = Some(Lateness::from_micros(10));
/// assert!(!is_late(EventTime(0), Some(EventTime(10)), lateness));
/// assert!(is_late(EventTime(0), Some(EventTime(11)), lateness));
/// assert!(!is_late(EventTime(0), None, lateness));
/// ```
#[inline]
pub const fn is_late(event_time: EventTime, known_at: Option<EventTime>, lateness: Option<Lateness>) -> bool {
    let (Some(known_at), Some(lateness)) = (known_at, lateness) else {
        return false;
    };
    event_time.0 < known_at.0 && lateness.0 < known_at.0.abs_diff(event_time.0)
}

/// An instant in microseconds since 1970-01-01T00:00:00Z, of the proleptic Gregorian calendar without leap seconds.
///
/// Its text form is RFC 3339 in UTC with microseconds. Years outside 0–9999, which RFC 3339 has no form for, are written and
/// read as ISO 8601 does: a sign and six digits.
///
/// ```
/// use unskew_snapshot::EventTime;
///
/// let time = EventTime::parse_rfc3339("2024-01-15 10:00:00.25+02:00").unwrap();
/// assert_eq!(time.to_string(), "2024-01-15T08:00:00.250000Z");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventTime(pub i64);

impl EventTime {
    /// The earliest instant.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest instant.
    pub const MAX: Self = Self(i64::MAX);

    /// The instant `micros` microseconds after 1970-01-01T00:00:00Z.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// The instant of an RFC 3339 text, `None` if the text is anything else.
    ///
    /// Reads a date (`2024-01-15`: midnight UTC) or a date, one of `T`, `t` and space, a time with seconds, an optional
    /// fraction of 1 to 9 digits (cut to microseconds) and an optional offset, `Z`, `z` or `±hh:mm` (none: UTC). A second
    /// of 60 is refused: no count of microseconds stands for it.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let mut cursor = Cursor(text.as_bytes());
        let days = cursor.date()?;
        let mut micros = i128::from(days) * i128::from(MICROS_PER_DAY);
        if !cursor.0.is_empty() {
            if !(cursor.eat(b'T') || cursor.eat(b't') || cursor.eat(b' ')) {
                return None;
            }
            micros += i128::from(cursor.time_of_day()?);
            micros -= i128::from(cursor.offset()?);
        }
        if !cursor.0.is_empty() {
            return None;
        }
        i64::try_from(micros).ok().map(Self)
    }
}

impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.0.div_euclid(MICROS_PER_DAY));
        let of_day = self.0.rem_euclid(MICROS_PER_DAY);
        if (0..=9999).contains(&year) {
            write!(f, "{year:04}")?;
        } else {
            write!(f, "{year:+07}")?;
        }
        write!(
            f,
            "-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}Z",
            of_day / MICROS_PER_HOUR,
            of_day / MICROS_PER_MINUTE % 60,
            of_day / MICROS_PER_SECOND % 60,
            of_day % MICROS_PER_SECOND
        )
    }
}

/// How long a value counts after its event time: [`is_alive`]. Its text form is a duration, `3d9h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ttl(u64);

impl Ttl {
    /// A TTL of `micros` microseconds.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// The TTL in microseconds.
    pub const fn as_micros(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_duration_us(self.0, f)
    }
}

/// How much later than it happened an event may become known and still count: [`is_late`]. Its text form is a duration, `2h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lateness(u64);

impl Lateness {
    /// A lateness of `micros` microseconds.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// The lateness in microseconds.
    pub const fn as_micros(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Lateness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_duration_us(self.0, f)
    }
}

/// What is left of a text.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    /// Days since 1970-01-01.
    fn date(&mut self) -> Option<i64> {
        let year = if self.eat(b'+') {
            self.digits(6)?
        } else if self.eat(b'-') {
            -self.digits(6)?
        } else {
            self.digits(4)?
        };
        let month = self.after(b'-', 2)?;
        let day = self.after(b'-', 2)?;
        let is_date = (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
        is_date.then(|| days_from_civil(year, month, day))
    }

    /// Microseconds since midnight.
    fn time_of_day(&mut self) -> Option<i64> {
        let hour = self.digits(2)?;
        let minute = self.after(b':', 2)?;
        let second = self.after(b':', 2)?;
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let mut micros = 0;
        if self.eat(b'.') {
            let len = self.0.iter().take_while(|b| b.is_ascii_digit()).count();
            if !(1..=9).contains(&len) {
                return None;
            }
            let fraction = self.digits(len)?;
            micros = fraction * 10_i64.pow(9 - len as u32) / 1_000;
        }
        Some(hour * MICROS_PER_HOUR + minute * MICROS_PER_MINUTE + second * MICROS_PER_SECOND + micros)
    }

    /// Microseconds that the local time is ahead of UTC.
    fn offset(&mut self) -> Option<i64> {
        if self.0.is_empty() || self.eat(b'Z') || self.eat(b'z') {
            return Some(0);
        }
        let sign = if self.eat(b'+') {
            1
        } else if self.eat(b'-') {
            -1
        } else {
            return None;
        };
        let hours = self.digits(2)?;
        let minutes = self.after(b':', 2)?;
        (hours <= 23 && minutes <= 59).then_some(sign * (hours * MICROS_PER_HOUR + minutes * MICROS_PER_MINUTE))
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.0.first() == Some(&byte);
        if found {
            self.0 = &self.0[1..];
        }
        found
    }

    fn after(&mut self, separator: u8, len: usize) -> Option<i64> {
        if self.eat(separator) { self.digits(len) } else { None }
    }

    /// A number of exactly `len` digits, at most 9.
    fn digits(&mut self, len: usize) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(len)?;
        let number = digits.iter().try_fold(0, |number, byte| {
            byte.is_ascii_digit().then(|| 10 * number + i64::from(byte - b'0'))
        })?;
        self.0 = rest;
        Some(number)
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": eras of 400 years, years that begin in March.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse of [`days_from_civil`], from the same source.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests;
