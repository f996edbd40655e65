use std::sync::{Arc, Weak};
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use crate::engine::EngineError;
use crate::generation::Generation;
use crate::generations::Generations;
use crate::session::Prepared;
use crate::stack::give_way;
use crate::sync::{receive, thread};

/// How often it is looked whether requests are done with a generation.
const LOOK: Duration = Duration::from_millis(5);
/// How often failures are forgotten by half, and quarantines shortened.
const SECOND: Duration = Duration::from_secs(1);

/// How often sampled calls are made again.
const AUDIT: Duration = Duration::from_millis(100);

/// Threads for what no request should do: one leaves generations that fail and finds what is no longer served, the other frees
/// that, at a low priority, for unmapping takes milliseconds a gigabyte.
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
    /// Starts the threads, which end when the housekeeper is dropped.
    pub fn new() -> Result<Self, EngineError> {
        let (tasks, receiver) = unbounded();
        let (unused, to_free) = unbounded();
        start("unskew-free", move || free(&to_free))?;
        start("unskew-keep", move || keep(&receiver, &unused))?;
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

fn start(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), EngineError> {
    let started = thread::Builder::new().name(name.to_owned()).spawn(run);
    started.map(drop).map_err(|error| EngineError(error.to_string()))
}

/// Unmaps what no request reads any more, when no request wants the processor.
fn free(unused: &Receiver<Arc<Generation>>) {
    give_way();
    while !matches!(receive(unused, AUDIT), Err(RecvTimeoutError::Disconnected)) {}
}

fn keep(tasks: &Receiver<Task>, unused: &Sender<Arc<Generation>>) {
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
        for generation in waiting.extract_if(.., |generation| Arc::strong_count(generation) == 1) {
            // Were the thread gone, it would be freed here.
            let _ = unused.send(generation);
        }
    }
}
