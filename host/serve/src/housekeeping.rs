use std::sync::{Arc, Weak};
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use crate::engine::EngineError;
use crate::generation::Generation;
use crate::generations::Generations;
use crate::session::Prepared;
use crate::sync::{receive, thread};

/// How often it is looked whether requests are done with a generation.
const LOOK: Duration = Duration::from_millis(5);
/// How often failures are forgotten by half, and quarantines shortened.
const SECOND: Duration = Duration::from_secs(1);

/// How often sampled calls are made again.
const AUDIT: Duration = Duration::from_millis(100);

/// A thread for what no request should do: freeing what is no longer served, for unmapping takes milliseconds a gigabyte, and
/// leaving generations that fail.
#[derive(Debug)]
pub(crate) struct Housekeeper {
    tasks: Sender<Task>,
}

enum Task {
    Attend(Weak<Generations>),
    Free(Arc<Generation>),
    FreePrepared(Box<Prepared>),
    Quarantine(u64, String),
}

impl Housekeeper {
    /// Starts the thread, which ends when the housekeeper is dropped.
    pub fn new() -> Result<Self, EngineError> {
        let (tasks, receiver) = unbounded();
        thread::Builder::new()
            .name("unskew-keep".to_owned())
            .spawn(move || keep(&receiver))
            .map_err(|error| EngineError(error.to_string()))?;
        Ok(Self { tasks })
    }

    /// The generations whose failures are counted.
    pub fn attend(&self, generations: &Arc<Generations>) {
        self.send(Task::Attend(Arc::downgrade(generations)));
    }

    /// Frees a generation when its last request is done.
    pub fn free(&self, generation: Arc<Generation>) {
        self.send(Task::Free(generation));
    }

    /// Gives a session's instances back to their generation, or frees them if it is no longer in memory.
    pub fn free_prepared(&self, prepared: Prepared) {
        self.send(Task::FreePrepared(Box::new(prepared)));
    }

    /// Leaves a generation for this reason.
    pub fn quarantine(&self, generation: u64, reason: String) {
        self.send(Task::Quarantine(generation, reason));
    }

    fn send(&self, task: Task) {
        // The thread lives as long as this; were it gone, what is to be freed would be freed here.
        let _ = self.tasks.send(task);
    }
}

fn keep(tasks: &Receiver<Task>) {
    let mut generations: Weak<Generations> = Weak::new();
    let mut waiting: Vec<Arc<Generation>> = Vec::new();
    let mut idle = Duration::ZERO;
    loop {
        let wait = if waiting.is_empty() { AUDIT } else { LOOK };
        match receive(tasks, wait) {
            Ok(Task::Attend(attended)) => generations = attended,
            // Once, or it would wait for itself: what is freed may be served again by who found it in memory, and freed again.
            Ok(Task::Free(generation)) if waiting.iter().any(|other| Arc::ptr_eq(other, &generation)) => {}
            Ok(Task::Free(generation)) => waiting.push(generation),
            Ok(Task::FreePrepared(prepared)) => match generations.upgrade() {
                Some(generations) => generations.take_back(*prepared),
                None => drop(prepared),
            },
            Ok(Task::Quarantine(number, reason)) => {
                if let Some(generations) = generations.upgrade() {
                    generations.quarantine(number, &reason);
                }
            }
            Err(RecvTimeoutError::Timeout) => idle += wait,
            // The host is gone, and with it all that could still be served.
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if let Some(generations) = generations.upgrade() {
            generations.run_audit();
        }
        if idle >= SECOND {
            idle = Duration::ZERO;
            if let Some(generations) = generations.upgrade() {
                generations.forget_some();
            }
        }
        // A switch has made every guard a count, so the only one left is this thread's.
        waiting.retain(|generation| Arc::strong_count(generation) > 1);
    }
}
