//! Directories, threads, what to watch, and what to do.
//!
//! # Directories
//! | what | who writes it | may be lost |
//! |---|---|---|
//! | the store: see [`Store`](crate::Store) | publishers | no |
//! | [`HostOptions::compiled_dir`](crate::HostOptions::compiled_dir), `compiled` in the store by default | `unskew prepare`, and nobody else: native code runs unchecked | yes: `unskew prepare` makes it again |
//! | [`HostOptions::state_dir`](crate::HostOptions::state_dir) | the one host that has it | yes: pins, revocations and quarantines are forgotten |
//! | [`FreshOptions::journal_dir`](crate::FreshOptions::journal_dir) | the one host that has it | yes: the events since the snapshots are forgotten |
//!
//! ```no_run
//! use std::path::PathBuf;
//! use std::time::Duration;
//! use unskew::{Backing, Host, HostOptions};
//!
//! let host = Host::open(
//!     "/srv/features",
//!     HostOptions {
//!         compiled_dir: Some(PathBuf::from("/var/cache/bidder/compiled")),
//!         state_dir: Some(PathBuf::from("/var/lib/bidder/unskew")),
//!         follow: Some(Duration::from_secs(10)),
//!         wait: Duration::from_secs(30),
//!         memory_bytes: Some(16 << 30),
//!         snapshots: Backing::Private,
//!         ..HostOptions::default()
//!     },
//! )?;
//! # Ok::<(), unskew::ActivateError>(())
//! ```
//!
//! # A start
//! A host starts on, in order: the generation that was pinned; the store's current one; where that is damaged, revoked or
//! quarantined, the one that was served last. It needs no network and no publisher. It fails where none of them can be loaded,
//! and where its state directory is damaged or another host's.
//!
//! # Deltas
//! `unskew publish --delta` publishes only what changed since the store's current generation: a file in the size of the change,
//! which hosts map beside the snapshot that they have, and which costs them no second copy of it. It is a generation like any other: it
//! is swapped to, pinned and rolled back. After eight deltas on a snapshot the next publication is of a whole one.
//!
//! A read of a key that no delta has pays a word of a filter, which takes two bytes for each changed key of a generation; one of a
//! key that changed looks in the deltas that may have it, the newest first. What is read is, bit for bit, what the whole snapshot
//! would have. Watermarks are those of the newest delta, for staleness and for fresh events too.
//!
//! What is published as deltas is what became visible since; rows that were changed or deleted behind the watermark of the
//! snapshot, with no known-at to tell of it, come with the next whole one. `unskew snapshot delta` compares two whole snapshots and
//! sees those, too.
//!
//! # Threads
//! `unskew-tick` counts deadlines. `unskew-keep` frees what is no longer served, makes audited calls again, and leaves
//! generations that fail. `unskew-watch` follows the store, and the system's notifier has one of its own. None of them is waited
//! for by a request.
//!
//! # What to watch
//! [`Host::ready`](crate::Host::ready) is for the load balancer. [`Host::health`](crate::Host::health) is for people and alerts:
//!
//! | field of [`Health`](crate::Health) | alert when | then |
//! |---|---|---|
//! | `failure` | it is there for longer than a publication takes | read its message: it names the file, the view or the module |
//! | `current`, `latest_seen` | they differ, and nothing is pinned | the same |
//! | `watermarks` | now less a watermark is beyond what the view is good for | see why nothing newer was published |
//! | `quarantined` | it is not empty | a transform fails or keeps state: `failure` says which; publish a mended one |
//! | `pinned`, `revoked` | they are there and nobody remembers why | [`unpin`](crate::Host::unpin) |
//! | `audits.differing` | it grows | a module keeps something from call to call: revoke its generation |
//! | `audits.dropped` | it grows as fast as `audits.exact` | raise `audit_every` |
//! | `mapped_bytes` | it is near the machine's memory | lower `kept_generations` |
//!
//! # What to do
//! | what happens | what the host does | what you do |
//! |---|---|---|
//! | a file of the new generation is damaged or missing | serves the one before, and says which file | publish again |
//! | native code is missing or of another engine | does not activate that generation | `unskew prepare` on this machine |
//! | golden calls give other values here | does not activate that generation | `unskew prepare`; if they still do, the machine or the engine computes otherwise: keep the module from it |
//! | a module keeps something from call to call | refuses it, or leaves its generation | mend the module |
//! | a transform traps or is late | serves its fallbacks, replaces the instance; leaves the generation when it goes on | mend the module |
//! | the store goes away | serves on, and looks for it ever more rarely, up to once a minute | bring it back |
//! | a generation is wrong | nothing: it cannot know | [`rollback`](crate::Host::rollback) here, `current` in the store for all |
//! | a generation must never be served | | [`revoke`](crate::Host::revoke) it on every host |
//! | the machine lacks memory for a swap | refuses the new generation with the bytes that it needs | raise `memory_bytes`, or the machine |
