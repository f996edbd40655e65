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
    stacker::remaining_stack().is_none_or(|left| left >= bytes)
}

/// Does what needs an ordinary stack on a thread that has one, and waits for it.
pub(crate) fn on_own_thread<T: Send>(load: impl FnOnce() -> T + Send) -> Result<T, EngineError> {
    let failed = |reason: &str| EngineError(format!("cannot load on a thread of its own: {reason}"));
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("unskew-load".to_owned())
            .stack_size(LOAD_STACK_BYTES)
            .spawn_scoped(scope, load)
            .map_err(|error| failed(&error.to_string()))?;
        thread.join().map_err(|_| failed("it panicked"))
    })
}
