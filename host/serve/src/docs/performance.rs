//! What costs what.
//!
//! Figures change with machines; `cargo xtask bench` in the repository has them, with their peers, in one run. README.md says
//! what was last measured. What does not change:
//!
//! # Per request
//! - One guard on the current generation: an atomic operation or two. Everything after it is of that generation.
//! - One read per view and distinct key: about one memory miss. Keys of all candidates are looked up together, so their misses
//!   overlap.
//! - One call per transform, for all candidates together: entering a component costs the same for one row and for a hundred.
//!   Send the candidates of a request as one request, not one each.
//! - A field of the request, and a feature of a key that all candidates share, is one value however many candidates there are.
//!
//! # Per session
//! An instance of each module of each service: tens of microseconds and its memory. Sessions give their instances back when
//! they are dropped, for the next; still, a session a thread is cheaper than a session a request.
//!
//! # Per generation
//! All of it on another thread: digests (a read of every new file), checksums of every block, golden calls, instances for every
//! session. Beside requests it runs on half of the processors, at a low priority (nice 15): where all are busy, a swap takes
//! longer, some 50 seconds for 1 GiB instead of 2, and requests hardly notice. The switch itself is one store of a pointer. Old generations
//! are unmapped by another thread, at the same priority, after the last request. `cargo xtask bench swap` compares the tail of requests with and without swaps.
//!
//! # What options cost
//! | option | cost |
//! |---|---|
//! | [`CallLimits::fresh_instance`](crate::CallLimits::fresh_instance) | an instantiation for every call of every transform |
//! | [`HostOptions::audit_every`](crate::HostOptions::audit_every) | a copy of one call's inputs and outputs in so many, and the same call again on another thread: with the default, a thousandth |
//! | [`HostOptions::snapshots`](crate::HostOptions::snapshots) = [`Backing::Private`](crate::Backing::Private) | a copy of every snapshot instead of shared pages, but huge pages where the system has them, on which lookups in large tables are faster |
//! | [`HostOptions::kept_generations`](crate::HostOptions::kept_generations) | their memory, for a rollback without a load |
//! | [`HostOptions::follow`](crate::HostOptions::follow) | two threads that sleep |
//!
//! ```
//! use unskew::HostOptions;
//!
//! let options = HostOptions::default();
//! assert_eq!(options.audit_every, 1_024);
//! assert_eq!(options.kept_generations, 1);
//! assert_eq!(options.max_failures, 32);
//! assert_eq!(options.follow, None);
//! ```
//!
//! # First requests
//! Pages are read in before a generation is served, so the first request is not slower by page faults than the thousandth. A
//! machine under memory pressure may drop pages of mapped files; lock them or use a private copy where that is a risk.
