//! What threads that load, switch and free generations meet in: of the standard library, or, in unit tests with the
//! feature `model`, of shuttle, which runs the same code in one interleaving of its threads after the other.

#[cfg(not(all(test, feature = "model")))]
pub(crate) use std::sync::{Mutex, MutexGuard};
#[cfg(not(all(test, feature = "model")))]
pub(crate) use std::thread;
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError};
#[cfg(all(test, feature = "model"))]
pub(crate) use shuttle::sync::{Mutex, MutexGuard};
#[cfg(all(test, feature = "model"))]
pub(crate) use shuttle::thread;

/// What comes next, if it comes in time.
#[cfg(not(all(test, feature = "model")))]
pub(crate) fn receive<T>(receiver: &Receiver<T>, timeout: Duration) -> Result<T, RecvTimeoutError> {
    receiver.recv_timeout(timeout)
}

/// No time passes between two steps of a model: others are let run instead.
#[cfg(all(test, feature = "model"))]
pub(crate) fn receive<T>(receiver: &Receiver<T>, _timeout: Duration) -> Result<T, RecvTimeoutError> {
    use crossbeam::channel::TryRecvError;

    thread::yield_now();
    receiver.try_recv().map_err(|error| match error {
        TryRecvError::Empty => RecvTimeoutError::Timeout,
        TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
    })
}
