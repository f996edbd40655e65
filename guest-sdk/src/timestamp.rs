const MICROS_PER_HOUR: i64 = 3_600_000_000;
const MICROS_PER_DAY: i64 = 24 * MICROS_PER_HOUR;

/// An instant: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since 1970-01-01T00:00:00Z.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// The hour of the day in UTC, 0 to 23.
    pub const fn hour(self) -> i64 {
        self.0.rem_euclid(MICROS_PER_DAY) / MICROS_PER_HOUR
    }

    /// The day of the week in UTC: Monday is 0, Sunday is 6.
    pub const fn day_of_week(self) -> i64 {
        // 1970-01-01 was a Thursday.
        (self.0.div_euclid(MICROS_PER_DAY) + 3).rem_euclid(7)
    }

    /// The last midnight in UTC, this instant included.
    pub const fn midnight(self) -> Self {
        Self(self.0.saturating_sub(self.0.rem_euclid(MICROS_PER_DAY)))
    }
}

#[cfg(test)]
mod tests;
