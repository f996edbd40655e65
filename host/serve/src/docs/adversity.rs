//! What a host does when something around it goes wrong. All but the last paragraph is tested in the repository
//! (`tests/it/adversity.rs`, `operate.rs`); in all of it what was served goes on being served, and nothing panics.
//!
//! # A thread with a small stack
//! A component's own stack is part of the calling thread's, and nothing can be caught where that ends. So an evaluation asks
//! first: a thread with less than [`EVALUATE_STACK_BYTES`](crate::EVALUATE_STACK_BYTES) left gets
//! [`EvaluateError::Stack`](crate::EvaluateError::Stack), and a call by [`Instance`](crate::Instance) with less than
//! [`CALL_STACK_BYTES`](crate::CALL_STACK_BYTES) [`CallError::Stack`](crate::CallError::Stack). Generations are loaded on threads of
//! their own, whatever the stack of the thread that asks for it. A component that recurses without end has used up its
//! own share by then, and traps.
//!
//! ```
//! use unskew::{CALL_STACK_BYTES, EVALUATE_STACK_BYTES};
//!
//! // The threads of the standard library have 2 MiB; those of musl, 128 KiB, are too small.
//! assert!(CALL_STACK_BYTES < EVALUATE_STACK_BYTES);
//! assert_eq!(EVALUATE_STACK_BYTES, 384 << 10);
//! ```
//!
//! # Native code that was changed
//! An artefact names its component, the engine's settings and a checksum of its code. Whatever byte is flipped, wherever it is
//! cut: it is refused before it is loaded, with the file's name, and `unskew prepare` makes it again. That
//! guards against damage, not against whoever may write into the cache: native code runs unchecked, so the directory must be
//! writable by nobody but the host's user and those who prepare for it.
//!
//! ```
//! use unskew::{Cpu, Digest, decode_artefact, encode_artefact};
//!
//! let component = Digest::of(b"a component");
//! let mut artefact = encode_artefact(&component, Cpu::Baseline, b"its native code");
//! assert!(decode_artefact(&component, &artefact).is_ok());
//! assert!(decode_artefact(&Digest::of(b"another"), &artefact).is_err());
//! let last = artefact.len() - 1;
//! artefact[last] ^= 1;
//! assert!(decode_artefact(&component, &artefact).is_err());
//! ```
//!
//! # Several processes on one store
//! Any number of hosts may read a store while publishers write it and others prepare native code: files get their names when
//! they are whole, under the digest of what is in them, and `current` is replaced in one step. Two publishers at once make two
//! generations. A [`state_dir`](crate::HostOptions::state_dir) is one host's: a second is told so and does not open.
//!
//! # A store that is removed, moved or unmounted
//! What is served is in memory, so it stays. [`Health::failure`](crate::Health) says what is missing; a host that follows the
//! store looks for it again, at intervals that double up to a minute, and serves the next generation when the store is back,
//! also one that counts from 1 again. On Linux the directory of a mapped file may go, and its pages stay; a network file system
//! that loses its server does not keep that promise, and [`Backing::Private`](crate::Backing::Private) does not need it.
//!
//! # What may not be read
//! A file, a directory, a manifest without permission: an error that names it, in `health`, and the generation before.
//!
//! # A full disk
//! A host writes two small files: which generation it serves, beside the native code, and its decisions in
//! [`state_dir`](crate::HostOptions::state_dir). Where that cannot be written it serves as before, and `health` says that a
//! restart would forget them. A publication on a full disk fails wherever it was, names the file, leaves the store as it was, and
//! leaves no temporary file; the same command goes on when there is room.
//!
//! # A file that is changed in place
//! Nobody may: files of a store are immutable, and a host checks every byte before it serves them. A file that is changed
//! afterwards gives wrong values, one that is shortened ends the process by SIGBUS, both only under
//! [`Backing::File`](crate::Backing::File).
