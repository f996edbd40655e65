use core::num::NonZero;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

/// How many threads share the work of opening a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Threads(NonZero<usize>);

impl Threads {
    /// As many as were asked for; as many as the machine runs at once, if none were.
    pub(crate) fn new(asked: Option<NonZero<usize>>) -> Self {
        Self(asked.unwrap_or_else(|| thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN)))
    }

    pub(crate) fn count(self) -> usize {
        self.0.get()
    }

    /// Does the work of all parts and gives the results in their order, or the first error of that order. Where no thread
    /// can be had, the caller's does it all.
    pub(crate) fn each<P: Send, T: Send, E: Send>(
        self,
        parts: Vec<P>,
        work: impl Fn(P) -> Result<T, E> + Sync,
    ) -> Result<Vec<T>, E> {
        let part_count = parts.len();
        let parts = Mutex::new(parts.into_iter().enumerate());
        let results = Mutex::new(Vec::with_capacity(part_count));
        let work_off = || {
            loop {
                let part = lock(&parts).next();
                let Some((number, part)) = part else {
                    return;
                };
                let result = work(part);
                lock(&results).push((number, result));
            }
        };
        thread::scope(|scope| {
            for _ in 1..self.count().min(part_count) {
                if thread::Builder::new().spawn_scoped(scope, work_off).is_err() {
                    break;
                }
            }
            work_off();
        });
        let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        results.sort_by_key(|(number, _)| *number);
        results.into_iter().map(|(_, result)| result).collect()
    }
}

/// A lock is held for a step that does not panic, so what it guards is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
