use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use crate::engine::EngineError;
use crate::generation::Generation;
use crate::session::Prepared;

/// How often it is looked whether requests are done with a generation.
const LOOK: Duration = Duration::from_millis(5);

/// Frees what is no longer served, on a thread of its own: unmapping takes milliseconds a gigabyte, which no request should
/// pay for having been the last.
#[derive(Debug)]
pub(crate) struct Reclaimer {
    retired: Sender<Retired>,
}

enum Retired {
    Generation(Arc<Generation>),
    Prepared(Box<Prepared>),
}

impl Reclaimer {
    /// Starts the thread, which ends once everything is freed after the reclaimer was dropped.
    pub fn new() -> Result<Self, EngineError> {
        let (retired, receiver) = unbounded();
        thread::Builder::new()
            .name("unskew-reclaim".to_owned())
            .spawn(move || reclaim(&receiver))
            .map_err(|error| EngineError(error.to_string()))?;
        Ok(Self { retired })
    }

    /// Frees a generation when its last request is done.
    pub fn retire(&self, generation: Arc<Generation>) {
        // The thread lives as long as this; were it gone, the generation would be freed here.
        let _ = self.retired.send(Retired::Generation(generation));
    }

    /// Frees a session's instances of a generation before.
    pub fn retire_prepared(&self, prepared: Prepared) {
        let _ = self.retired.send(Retired::Prepared(Box::new(prepared)));
    }
}

fn reclaim(retired: &Receiver<Retired>) {
    let mut waiting: Vec<Arc<Generation>> = Vec::new();
    loop {
        let next = match waiting.is_empty() {
            true => retired.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => retired.recv_timeout(LOOK),
        };
        match next {
            Ok(Retired::Generation(generation)) => waiting.push(generation),
            Ok(Retired::Prepared(prepared)) => drop(prepared),
            Err(RecvTimeoutError::Timeout) => {}
            // The host is gone, and with it all that could still be served.
            Err(RecvTimeoutError::Disconnected) => return,
        }
        // A switch has made every guard a count, so the only one left is this thread's.
        waiting.retain(|generation| Arc::strong_count(generation) > 1);
    }
}
