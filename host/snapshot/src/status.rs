use core::fmt;

use crate::{EventTime, Ttl, is_alive};

/// What became of a value that was asked for. A transform sees an option; logs, metrics and lookups see the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Status {
    /// There is a value.
    Present = 0,
    /// The row is there and counts; its value is null.
    Null = 1,
    /// There is no row of the key, or the key is null.
    NotFound = 2,
    /// The row is outside the TTL of its view.
    Expired = 3,
    /// The row is later than the time asked for: the snapshot is too new for the question.
    Future = 4,
    /// The component that computes the value failed, or one that it reads did: the value is missing.
    Failed = 5,
    /// The component that computes the value failed, and the value is the fallback that its service declares.
    Defaulted = 6,
    /// The snapshot is older than its view may be, and the view's values are missing for that.
    Stale = 7,
}

impl Status {
    /// Every status, by its number.
    pub const ALL: [Self; 8] = [
        Self::Present,
        Self::Null,
        Self::NotFound,
        Self::Expired,
        Self::Future,
        Self::Failed,
        Self::Defaulted,
        Self::Stale,
    ];

    /// The name in logs, metrics and command output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Null => "null",
            Self::NotFound => "not_found",
            Self::Expired => "outside_ttl",
            Self::Future => "future",
            Self::Failed => "failed",
            Self::Defaulted => "defaulted",
            Self::Stale => "stale",
        }
    }

    /// Whether there is a value to read.
    pub const fn is_present(self) -> bool {
        matches!(self, Self::Present | Self::Defaulted)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The status of a feature row that was found: [`Present`](Status::Present) when it is visible at `at` (`event_time <= at`)
/// and within its TTL, else [`Future`](Status::Future) or [`Expired`](Status::Expired).
#[inline]
pub const fn row_status(event_time: EventTime, ttl: Option<Ttl>, at: EventTime) -> Status {
    if event_time.0 > at.0 {
        Status::Future
    } else if is_alive(event_time, ttl, at) {
        Status::Present
    } else {
        Status::Expired
    }
}

#[cfg(test)]
mod tests;
