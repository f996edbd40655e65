use std::path::Path;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};

use crate::engine::EngineError;
use crate::generations::Generations;

/// The longest wait between two attempts at a store that gives no good generation.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Wakes the thread that follows a store, which ends when the generations are gone: drop this after them.
#[derive(Debug)]
pub(crate) struct Watch {
    wake: Sender<()>,
}

impl Watch {
    /// Follows the store in `root`: looks at it when the system says that it changed, and every `poll` whatever the system
    /// says, for not all file systems tell. After a failure the waits double, up to [`MAX_WAIT`].
    pub fn new(generations: &Arc<Generations>, root: &Path, poll: Duration) -> Result<Self, EngineError> {
        let (wake, woken) = bounded(1);
        let notifier = notifier(root, wake.clone());
        // What was announced before anybody listened, and after the host read the store, is looked for at once.
        let _ = wake.try_send(());
        let generations = Arc::downgrade(generations);
        thread::Builder::new()
            .name("unskew-watch".to_owned())
            .spawn(move || {
                // Dropped with the thread, it tells no more.
                let _notifier = notifier;
                follow(&generations, &woken, poll);
            })
            .map_err(|error| EngineError(error.to_string()))?;
        Ok(Self { wake })
    }

    /// Looks at the store now.
    pub fn wake(&self) {
        // Full: it is about to look.
        let _ = self.wake.try_send(());
    }
}

/// None where the system does not tell of changes; then they are found by polling.
fn notifier(root: &Path, wake: Sender<()>) -> Option<RecommendedWatcher> {
    let tell = move |event: notify::Result<Event>| {
        // That somebody reads is no change: this host does.
        if event.is_ok_and(|event| !event.kind.is_access()) {
            // Full: it is about to look.
            let _ = wake.try_send(());
        }
    };
    let mut notifier = notify::recommended_watcher(tell).ok()?;
    notifier.watch(root, RecursiveMode::NonRecursive).ok()?;
    Some(notifier)
}

fn follow(generations: &Weak<Generations>, woken: &Receiver<()>, poll: Duration) {
    let mut wait = poll;
    loop {
        if woken.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
        let Some(generations) = generations.upgrade() else {
            return;
        };
        // `health` has the error.
        wait = match generations.refresh() {
            Ok(_) => poll,
            Err(_) => (2 * wait).min(MAX_WAIT.max(poll)),
        };
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.wake();
    }
}
