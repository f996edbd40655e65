//! What the host does not do, and what it does not promise.
//!
//! # What a call may use
//! [`CallLimits`](crate::CallLimits) are set right before each call: how long it runs, how much memory its instance has, and how
//! much it may give. A component's stack is fixed. Native code is compiled for a level of a processor, [`Cpu`](crate::Cpu): a
//! host loads the best of those in its cache that its machine can run, and the results are the same at every level.
//!
//! ```
//! use std::time::Duration;
//! use unskew::{CallLimits, MAX_CANDIDATES};
//!
//! let serving = CallLimits::SERVING;
//! assert_eq!(serving.deadline, Duration::from_millis(20));
//! assert_eq!(serving.memory_bytes, 4 << 20);
//! assert!(!serving.fresh_instance);
//! assert_eq!(MAX_CANDIDATES, 4_096);
//! ```
//!
//! A deadline is looked at between two instructions. One instruction that fills or copies memory is not interrupted, so a small
//! memory is part of a deadline: the default of 4 MiB is filled in half a millisecond. Raise it with that in mind. The clock is
//! a thread that wakes every [`TICK`](crate::TICK); where it waits for a processor, deadlines wait with it. `cargo xtask bench
//! hostile` measures how late the calls of some two hundred hostile components end.
//!
//! # What a module may keep
//! Every step of a service has an instance of its own in every session. Its memory is not cleared between calls, because that
//! costs an instantiation. So:
//! - no module can read the memory of another, of another step, of another service or of another session, ever;
//! - a module may leave something in its memory and find it again in a later request of the same session: another user's
//!   request, perhaps.
//!
//! A module whose *outputs* depend on that is refused or left: its golden calls are made on fresh and on used instances, in
//! order, in reverse, shuffled and split, when it is published and before each host serves it, and one call in
//! [`HostOptions::audit_every`](crate::HostOptions::audit_every) is made again on a fresh instance while it is served. A module
//! imports nothing, so outputs are the only way out.
//!
//! None of this is proof against a module that is written to wait for its moment. Where modules come from people who must not
//! see each other's requests, set [`CallLimits::fresh_instance`](crate::CallLimits::fresh_instance): every call then runs on an
//! instance that no call has used.
//!
//! # Mapped files
//! A snapshot is mapped. Files of a store are never changed after their rename, and are opened only after their digest was
//! compared; but whoever shortens one under its mapping ends the process with SIGBUS.
//! [`Backing::Private`](crate::Backing::Private) reads it into memory of the process instead.
//!
//! # Memory
//! While a generation is loaded, its snapshots are in memory beside the current one's, less those that both have:
//! twice a generation's bytes where every view changes, and once more for each of
//! [`HostOptions::kept_generations`](crate::HostOptions::kept_generations).
//! [`HostOptions::memory_bytes`](crate::HostOptions::memory_bytes) is a limit on the sum. Where the next generation does not fit
//! beside what is kept for a rollback, that is let go first; where it does not fit beside the current one, it is refused and
//! the current one is served on. Twice a generation is therefore enough for swaps, with no rollback in the worst case:
//! `cargo xtask bench swap` measures the peak.
//! Instances come on top: at most [`CallLimits::memory_bytes`](crate::CallLimits::memory_bytes) for each module, service and
//! session, of which only touched pages are real.
//!
//! # Time
//! The library reads no clock while it evaluates: ages and windows are relative to the prediction time that the request gives.
//! A request with a wrong time gets right answers to a wrong question.
//!
//! # What survives a restart
//! The number of the generation that was served last, in the cache of native code. Pins, revocations and quarantines only with
//! [`HostOptions::state_dir`](crate::HostOptions::state_dir); written when the decision is made, so that the end of the process
//! loses nothing, and a power failure at most the last seconds. Fresh events only with a journal: see [`fresh`](crate::docs::fresh).
