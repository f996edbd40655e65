use std::collections::BTreeMap;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;

/// The threads that a step runs on: as many as the machine has cores.
pub(crate) fn core_count() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Runs `task` for each of `0..tasks`, which threads take in that order, each thread with a state of its own.
///
/// # Errors
/// Of the tasks that failed, the error of the first: every task before it was begun before it and is waited for, so the
/// error does not depend on which thread is faster.
pub(crate) fn for_each<S, E: Send>(
    threads: usize,
    tasks: usize,
    state: impl Fn() -> Result<S, E> + Sync,
    task: impl Fn(&mut S, usize) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let failed: Mutex<Option<(usize, E)>> = Mutex::new(None);
    let fail = |index: usize, error: E| {
        stop.store(true, Ordering::Relaxed);
        let mut failed = failed.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if failed.as_ref().is_none_or(|(first, _)| index < *first) {
            *failed = Some((index, error));
        }
    };
    let work = || {
        let mut state = match state() {
            Ok(state) => state,
            Err(error) => return fail(0, error),
        };
        while !stop.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if tasks <= index {
                break;
            }
            if let Err(error) = task(&mut state, index) {
                fail(index, error);
            }
        }
    };
    let helpers = threads.min(tasks).saturating_sub(1);
    thread::scope(|scope| {
        (0..helpers).for_each(|_| drop(scope.spawn(work)));
        work();
    });
    match failed.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) {
        Some((_, error)) => Err(error),
        None => Ok(()),
    }
}

/// Like [`for_each`], and hands what `produce` makes to `consume`, in the order of the tasks, one at a time. At most two tasks
/// a thread are made ahead.
pub(crate) fn for_each_in_order<S, T: Send, E: Send>(
    threads: usize,
    tasks: usize,
    state: impl Fn() -> Result<S, E> + Sync,
    produce: impl Fn(&mut S, usize) -> Result<T, E> + Sync,
    consume: impl FnMut(T) -> Result<(), E> + Send,
) -> Result<(), E> {
    struct Line<T, C> {
        next: usize,
        waiting: BTreeMap<usize, T>,
        has_failed: bool,
        consume: C,
    }
    let line = Mutex::new(Line {
        next: 0,
        waiting: BTreeMap::new(),
        has_failed: false,
        consume,
    });
    let moved = Condvar::new();
    let lock = || line.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    for_each(threads, tasks, state, |state, index| {
        let is_far_ahead = |line: &mut Line<T, _>| !line.has_failed && line.next + 2 * threads <= index;
        let waited = moved.wait_while(lock(), is_far_ahead);
        if waited.unwrap_or_else(|poisoned| poisoned.into_inner()).has_failed {
            return Ok(());
        }
        let made = catch_unwind(AssertUnwindSafe(|| produce(state, index))).unwrap_or_else(|panic| {
            // Those that wait for this task must not wait for ever.
            lock().has_failed = true;
            moved.notify_all();
            resume_unwind(panic)
        });
        let mut line = lock();
        let consumed = made.and_then(|made| {
            line.waiting.insert(index, made);
            loop {
                let next = line.next;
                match line.waiting.remove(&next) {
                    None => return Ok(()),
                    Some(made) => (line.consume)(made)?,
                }
                line.next += 1;
            }
        });
        line.has_failed |= consumed.is_err();
        moved.notify_all();
        consumed
    })
}

#[cfg(test)]
mod tests;
