//! The floor: reading the events and sorting them by user and time, which is not all of the work of any tool.

use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};

use unskew_backfill_benches::files::read;

/// An event by its user, time and amount.
type Event = (i64, i64, f64);

/// Users are divided into so many shares, each of which one thread sorts.
const SHARES: usize = 64;

/// Reads every value of the events and sorts them on `threads` threads.
pub fn read_and_sort(events: &Path, threads: usize) -> Result<(), Box<dyn Error + Send + Sync>> {
    let batches = read(events, threads, usize::MAX)?;
    let shares: Vec<Mutex<Vec<Vec<Event>>>> = (0..SHARES).map(|_| Mutex::default()).collect();
    on_threads(threads, batches.len(), |batch| {
        for (share, events) in shares.iter().zip(divide(&batches[batch])) {
            lock(share).push(events);
        }
    });
    drop(batches);
    on_threads(threads, SHARES, |share| {
        let mut events = std::mem::take(&mut *lock(&shares[share])).concat();
        events.sort_unstable_by_key(|(user, time, _)| (*user, *time));
        black_box(&events);
    });
    Ok(())
}

fn on_threads(threads: usize, tasks: usize, task: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let each = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
                each.take_while(|index| *index < tasks).for_each(&task);
            });
        }
    });
}

fn divide(batch: &RecordBatch) -> Vec<Vec<Event>> {
    let users = batch.column(0).as_primitive::<Int64Type>().values();
    let times = batch.column(1).as_primitive::<TimestampMicrosecondType>().values();
    let amounts = batch.column(2).as_primitive::<Float64Type>().values();
    let mut shares: Vec<Vec<Event>> = (0..SHARES)
        .map(|_| Vec::with_capacity(users.len() / SHARES * 2))
        .collect();
    for ((user, time), amount) in users.iter().zip(times).zip(amounts) {
        let hash = user.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58;
        shares[hash as usize].push((*user, *time, *amount));
    }
    shares
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
