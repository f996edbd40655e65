use std::collections::BTreeMap;
use std::error::Error;

use unskew_snapshot::EventTime;

use crate::audit::Audits;
use crate::evaluation::EvaluateError;

/// What a host serves, and why it is not the newest. For people and for probes; costs a lock, so not for every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The generation that is served.
    pub current: u64,
    /// The store's current generation, as last seen.
    pub latest_seen: u64,
    /// The generation that is held until [`Host::unpin`](crate::Host::unpin).
    pub pinned: Option<u64>,
    /// Generations that are not served, whatever the store says.
    pub revoked: Vec<u64>,
    /// Generations whose calls failed, which are not served for a while.
    pub quarantined: Vec<u64>,
    /// The generations in memory, the current one last.
    pub resident: Vec<u64>,
    /// The bytes of their snapshots; one that several generations share counts once.
    pub mapped_bytes: u64,
    /// Why a generation is not served, or fails as it is; none when another was activated since.
    pub failure: Option<Failure>,
    /// How often the generation changed since the host was opened.
    pub swaps: u64,
    /// Calls that were made again on fresh instances.
    pub audits: Audits,
    /// Per view of the current generation, the time as of which its snapshot is.
    pub watermarks: BTreeMap<String, EventTime>,
}

/// Why a host should be sent no requests: what it would answer is not what its operator wants.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotReady {
    /// It serves a generation that was revoked, for want of another.
    #[error("generation {generation} is served although it was revoked: no other is in memory, publish one")]
    Revoked {
        /// The generation.
        generation: u64,
    },
    /// Requests of a service fail, because a view that it reads is too old.
    #[error("service `{service}`: {reason}")]
    Stale {
        /// The service.
        service: String,
        /// [`EvaluateError::Stale`], as its requests have it.
        reason: EvaluateError,
    },
}

/// Why a generation is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The generation, or the one seen before where not even that could be read.
    pub generation: u64,
    /// The error and its causes; of calls, the last one's.
    pub message: String,
    /// How often it was tried.
    pub attempts: u32,
}

impl Health {
    /// Whether the store's current generation is served, or another on purpose.
    pub fn is_up_to_date(&self) -> bool {
        self.failure.is_none() && (self.current == self.latest_seen || self.is_held())
    }

    fn is_held(&self) -> bool {
        self.pinned.is_some() || self.revoked.contains(&self.latest_seen)
    }
}

impl Failure {
    pub(crate) fn new(generation: u64, error: &dyn Error) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message = format!("{message}: {error}");
            cause = error.source();
        }
        Self {
            generation,
            message,
            attempts: 1,
        }
    }
}
