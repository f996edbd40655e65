//! The stack of the calling thread, which a component's own is part of: where it ends, nothing can be caught.

use std::thread;

use crate::engine::{EngineError, MAX_STACK_BYTES};

/// What a call of a component needs of the calling thread's stack: what the component may use, and what the engine and this
/// crate use around it.
pub const CALL_STACK_BYTES: usize = MAX_STACK_BYTES + (64 << 10);
/// What an evaluation needs: a call, and what is done with its columns.
pub const EVALUATE_STACK_BYTES: usize = CALL_STACK_BYTES + (64 << 10);
/// Of the thread that loads a generation: files, descriptors and plans besides.
const LOAD_STACK_BYTES: usize = 2 << 20;

/// Whether so much of this thread's stack is left. Costs a few nanoseconds; where the system does not tell, there is enough.
#[inline]
pub(crate) fn has_room(bytes: usize) -> bool {
    // A thread of a model has a stack of the model's, which the system does not know, and calls no component.
    cfg!(all(test, feature = "model")) || stacker::remaining_stack().is_none_or(|left| left >= bytes)
}

/// Whether anybody is served while a generation is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beside {
    Nobody,
    /// Where threads wait for a processor, those that answer requests come first.
    Requests,
}

/// Does what needs an ordinary stack on a thread that has one, and waits for it.
pub(crate) fn on_own_thread<T: Send>(beside: Beside, load: impl FnOnce() -> T + Send) -> Result<T, EngineError> {
    if cfg!(all(test, feature = "model")) {
        // A thread that is none of the model's cannot take its locks.
        return Ok(load());
    }
    let failed = |reason: &str| EngineError(format!("cannot load on a thread of its own: {reason}"));
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("unskew-load".to_owned())
            .stack_size(LOAD_STACK_BYTES)
            .spawn_scoped(scope, || {
                if beside == Beside::Requests {
                    give_way();
                }
                load()
            })
            .map_err(|error| failed(&error.to_string()))?;
        thread.join().map_err(|_| failed("it panicked"))
    })
}

/// Has this thread, and those that it starts, take a thirtieth of a processor that others want: nice 15, in batches. Where
/// requests want all processors, their p99.9 during swaps of 512 MiB is then 1.3 times the steady one, and a swap takes 18
/// seconds; at nice 9 it is 1.8 to 2.4 times, and 10 seconds; at nice 19 no better, and 47 seconds (benches/swap).
pub(crate) fn give_way() {
    #[cfg(target_os = "linux")]
    {
        use thread_priority::{
            NormalThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
            set_thread_priority_and_policy, thread_native_id,
        };
        // Of 99, where 49 is a thread like any other.
        const LOW: u8 = 12;
        if let Ok(value) = ThreadPriorityValue::try_from(LOW) {
            let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
            // Where the system does not let it, loading competes with requests, and is done sooner.
            let _ = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Crossplatform(value), policy);
        }
    }
}
