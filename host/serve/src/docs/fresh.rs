//! Fresh events: what happened since the snapshots.
//!
//! A snapshot is as old as its watermark, and what happened since is what bidding needs most: whether this user saw the ad a
//! minute ago. A process that knows of an event [pushes](crate::Host::push) it, and its next read has it.
//!
//! ```no_run
//! use unskew::{EventTime, Host, HostOptions, Value};
//!
//! let host = Host::open("store", HostOptions::default())?;
//! // The columns by name, in the order of the values to come: the entity's key, then what the view's module takes.
//! let mut events = host.events("user_frequency", &["user_id", "kind"])?;
//! let now = EventTime(1_705_276_800_000_000);
//! events.push(now, None, &[Value::String("u7"), Value::String("impression")])?;
//! let pushed = host.push(&events, now)?;
//! assert_eq!((pushed.taken, pushed.refused.len()), (1, 0));
//! events.clear();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What a read sees
//! Exactly what a backfill at the same time would see, if its source had the events that have arrived: for an aggregate the
//! component's own state of the snapshot's events and the pushed ones, for a view of features the greatest version by the as-of
//! rule. An event counts from when it became known, and never for a read at or before its own time. So a request that took its time
//! a moment before an event was pushed does not see it, and is answered from the state before.
//!
//! An event of a time to come is taken too, up to [`FreshOptions::max_ahead`](crate::FreshOptions::max_ahead) later than the push
//! (1 s: clocks differ), and seen by reads that are after it. What is further ahead is refused
//! ([`Refusal::Future`](crate::Refusal::Future)).
//!
//! That much is kept of each entity for such reads: the last 32 to 64 events, and of a view of features the last 16 versions. A
//! read that comes later than that finds [`Status::Future`](crate::Status::Future), as with a snapshot that is too new for it.
//!
//! # Known-at
//! Push an event with a known-at if the view's source has one, and without if it has none: that is how snapshots are made, and so
//! how the host knows what a snapshot has. An event is in the snapshot if it happened, and became known, before the watermark.
//! Those it does not count again: they are [`Pushed::covered`](crate::Pushed::covered). In a view without known-at that is every
//! event from before the watermark, also one that comes too late for the files that the snapshot was made of; it is lost to
//! features as it is to the files.
//!
//! Where the view declares a lateness, an event that became known later than that after it happened is refused
//! ([`Refusal::Late`](crate::Refusal::Late)): no backfill and no snapshot counts it either. One without a known-at is not late.
//!
//! The best known-at is the time of the push, written to the log that becomes the source: then training sees each event when
//! serving did, and not when it happened. `unskew replay` proves it on a log.
//!
//! A push counts an event each time. Whoever delivers twice counts twice, in aggregates; in views of features it changes nothing.
//!
//! # Generations
//! A push counts its events into every generation in memory, the one that is being loaded too, before it returns. So a swap, a
//! rollback and a quarantine take effect in one step with the fresh events of that generation, and none is missing or counted
//! twice. A new generation's are made before it is served: what its snapshots have is not among them. Events are forgotten when the
//! snapshots of all generations in memory have them.
//!
//! A generation that is pinned and whose snapshots are older than those that were in memory lacks the events between: metrics say
//! so (`has_gap`). Push them again from your log, or pin a newer one. The same holds for a start without a journal: push what
//! happened since [`Health::watermarks`](crate::Health::watermarks) from the log that events come from. And for a generation whose view
//! has a greater lateness than those before it: it lacks what was refused as late before it was loaded.
//!
//! Each generation counts by the lateness of its own view; the one that is served says what is refused.
//!
//! Where a new generation's module asks for a column that events in memory do not have, or fails on one of them, the values of those
//! entities are missing with [`Status::Failed`](crate::Status::Failed), until a snapshot has the events: no value is made of
//! half of them. Where the service declares fallbacks, such an entity has those, with [`Status::Defaulted`](crate::Status::Defaulted).
//!
//! # Sessions that pause
//! A session holds a generation from the begin of a call until its [`Features`](crate::Features) are let go, and none between calls:
//! however many were swapped meanwhile, and whatever was pushed, its next call reads the current one. Features that are held read
//! what they found; pushes go on to be counted into their generation, but not into them. What that costs is memory: the
//! generation, with its fresh events, for as long as it is held.
//!
//! Of fresh events, a session has what its last request found until its next one: a row or a state of each key that had any. That is
//! all that it holds back, however much is pushed meanwhile; what is replaced is freed by who pushes as soon as no reader has it.
//!
//! # What it costs
//! | | |
//! |---|---|
//! | a read, nothing was pushed to the view | a load |
//! | a read of a key without fresh events | its hash, and a word of a filter: 256 KiB a view with the default limit |
//! | a read of a key with fresh events | its entry in a hash table: three memory misses where that is larger than the caches, the row among them; of a request's keys they overlap |
//! | a read before the newest event of its key | for an aggregate, folding the events of the key that it does see, at most 64 |
//! | a push | a call of the module for all entities together, and their entries; twice with a generation kept for a rollback |
//! | memory | the event, and a row or state for each entity of each generation: [`FreshOptions::max_view_bytes`] |
//!
//! Readers take no lock and allocate nothing. Pushes to one view wait for each other, so push many events at once where there are
//! many, from a thread of its own.
//!
//! `cargo xtask bench fresh --quick`, on two processors of an AMD EPYC with 400,000 rows a view and 100,000 entities fresh: a lookup
//! takes 125 ns without fresh events, no more with those of other keys, and 424 ns where each key has its own; a request of 100
//! candidates 17 µs, 18 µs and 37 µs. With the same rows in a delta a lookup takes 118 ns of the base alone, 97 ns of keys that are in no
//! delta and 81 ns of those that are: what it costs is less than what two mappings differ by. A push of one event takes 2 µs to a view of
//! features and 5 µs to an aggregate, 2 µs of a hundred together; half of the events are read 3 µs after their push began.
//!
//! [`FreshOptions::max_view_bytes`]: crate::FreshOptions::max_view_bytes
//!
//! # When it is full
//! A view takes 256 MiB at most, unless [`FreshOptions`](crate::FreshOptions) says otherwise, and an entity 65,536 events.
//! A push beyond is refused, with an error that says so: publish a newer snapshot, which takes the place of the events, or raise
//! the limit. Nothing is dropped to make room.
//!
//! # Journal
//! With [`FreshOptions::journal_dir`](crate::FreshOptions::journal_dir) events outlive the process: a push is written before it
//! returns, all of its events or none, and the next start counts in what the snapshots do not have. One host has a directory; another
//! is refused. With [`Durability::Machine`](crate::Durability::Machine) each push waits for the disk and outlives the machine too.
//!
//! A push that the disk does not take, because it is full or broken, is an error, and its events are not counted. What was being
//! written when the process ended is cut off. A journal that is damaged elsewhere keeps the host from starting, and the error names
//! the file and the offset: move the file away to start without its events. Files whose events all snapshots have are removed.
//!
//! # Several hosts
//! Each host has the events that were pushed to it. Send them to all hosts that should have them, over whatever you have; the order
//! does not matter.
