use std::error::Error;

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
