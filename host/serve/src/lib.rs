//! The embedded host: evaluates feature services inside a latency-critical process.
//!
//! - [`Host`], [`Health`]: a store's current generation, served to any number of threads; pinned, rolled back, revoked
//! - [`Service`], [`Request`], [`RequestOf`]: what a caller resolves once, and fills for every request, by name or from structs
//! - [`Session`], [`Features`]: one thread's instances, and what they computed
//! - [`Events`], [`Pushed`]: what happened since the snapshots, [pushed](Host::push) by the process itself and seen by its next read
//! - [`Metrics`]: what is counted
//! - [`Plan`], [`Evaluation`], [`Instance`]: the path that batch and serving share
//! - [`Runtime`], [`Module`], [`Descriptor`]: components, loaded
//! - [`Store`], [`Manifest`], [`catalog`], [`Golden`]: what is published
//! - [`docs`]: patterns, operations, limits, performance
//!
//! ```no_run
//! use unskew::{EventTime, Host, HostOptions, Value};
//!
//! let host = Host::open("store", HostOptions::default())?;
//! let ranker = host.service("ranker").ok_or("the generation has no ranker")?;
//! let mut session = host.session();
//! let mut request = ranker.request(EventTime(1_575_072_000_000_000));
//! request.set("user_feature_0", Value::String("81ce123cbb5bd8ce"))?;
//! request.push_candidate(&[Value::I64(3), Value::I64(1)])?;
//! let features = session.evaluate(&request)?;
//! let mut matrix = Vec::new();
//! features.write_f32(f32::NAN, &mut matrix);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Generations
//! With [`HostOptions::follow`] a host serves each generation of its store as soon as it is published: a thread loads and checks
//! everything that is not in memory yet, makes an instance of every module for each session, and switches with one store of
//! a pointer. A request sees one generation throughout. What cannot be loaded is never served: the generation before goes on,
//! also over a restart, and [`Host::health`] says why. [`Host::rollback`] goes back to the one before in under a millisecond.
//!
//! During a swap the snapshots of both generations are in memory, less those they share, and [`HostOptions::kept_generations`]
//! stay for a rollback: with the default of one, and views that change every time, twice the bytes of a generation, and three
//! times while the next one is loaded, unless [`HostOptions::memory_bytes`] says less.
//!
//! # Failures
//! A transform that traps, runs past its deadline or gives nonsense costs its request its own features and nothing else: they
//! are the fallbacks that the service declares, with [`Status::Defaulted`], or missing, with [`Status::Failed`]. Its instance is
//! replaced. A module that gives other values than where it was published is not served, and one that keeps something from
//! call to call is refused or found out: see [`Golden`] and [`HostOptions::audit_every`]. Where more than
//! [`HostOptions::max_failures`] calls fail within a second or two, the host goes back to the generation before and tries the
//! failing one again later; without one before, or pinned, it goes on and says so in [`Host::health`].
//!
//! # Costs
//! [`Session::evaluate`] looks up all keys of a request together, in all views, so that their memory misses overlap; makes one
//! call per transform for all candidates, and one read per aggregate view. Features that only the model reads are not copied
//! but into its matrix: [`Features::write_f32`] and its like read the rows of the snapshots where they lie, neighbours in row
//! and model at once, so list a view's features one behind the other and in the order of its definition where you can. Until
//! the [`Features`] are dropped the generation stays in memory.
//!
//! In the steady state neither allocates, takes a lock or makes a system call, where the modules are made with the SDK; another
//! module's results are a list, once a call. Instances are made by whoever makes a session or loads a generation, tens of
//! microseconds each, and not by a request. [`Session::lookup`] costs a memory miss and a comparison of the view's name.
//! `cargo xtask bench request` measures whole requests against the same by hand.
//!
//! # Metrics
//! [`Host::metrics`] says what was counted: lookups by result, missing values by feature and reason, failed calls by kind,
//! changes of the generation, and durations. It is always on. Each session counts in memory that it alone writes, with
//! plain loads and stores; one request in 64 reads the clock, for histograms alone. The crate `unskew-metrics` shows them to
//! Prometheus.
//!
//! # Limits
//! A call runs for 20 ms and in 4 MiB unless [`HostOptions::limits`] says otherwise; a request has at most
//! [`MAX_CANDIDATES`] candidates. A snapshot that somebody shortens under its mapping ends the process by SIGBUS:
//! [`Backing::Private`] does not.

#![cfg_attr(test, allow(clippy::unwrap_used))]

// The macro names the crate from outside; its own tests use it too.
#[cfg(test)]
extern crate self as unskew;

mod artefact;
mod audit;
pub mod catalog;
mod cpu;
mod descriptor;
mod digest;
mod direct;
pub mod docs;
mod engine;
mod evaluation;
mod features;
mod fields;
mod fresh;
mod generation;
mod generations;
mod golden;
mod health;
mod host;
mod housekeeping;
mod instance;
mod lifted;
mod load;
mod lookups;
mod matrix;
pub mod metrics;
mod module;
mod note;
mod plan;
mod quarantine;
mod recycle;
mod request;
mod resident;
mod runtime;
mod session;
mod stack;
mod store;
mod sync;
mod watch;
mod wit;

pub use artefact::{ArtefactError, decode_artefact, encode_artefact};
pub use audit::Audits;
pub use catalog::Catalog;
pub use cpu::{Cpu, ParseCpuError};
pub use descriptor::{Aggregation, ColumnDescriptor, Descriptor, Kind, Window};
pub use digest::{Digest, ParseDigestError};
pub use direct::{DIRECT_INPUT, DIRECT_MODULE};
pub use engine::{EngineError, NAN_REWRITE, TARGET, config, engine, settings, settings_digest};
pub use evaluation::{EvaluateError, Evaluation, Instances};
pub use features::Features;
pub use fields::{FieldType, FieldValue, Fields, RequestOf};
pub use fresh::{Durability, Events, FreshOptions, JournalError, MAX_PUSH_EVENTS, PushError, Pushed, Refusal};
pub use generation::{ActivateError, STATE_FEATURE};
pub use generations::Refresh;
pub use golden::{Golden, GoldenCall, GoldenError, GoldenFunction};
pub use health::{Failure, Health, NotReady};
pub use host::{Host, HostOptions};
pub use instance::{CallError, CallLimits, Instance, output_columns, state_column};
pub use metrics::Metrics;
pub use module::{DescribeError, InstantiateError, Module, descriptors};
pub use plan::{FeatureStep, Plan, ResolveError, Slot, TransformStep, ViewRead, ViewStep};
pub use request::{MAX_CANDIDATES, Request, RequestError, Service};
pub use runtime::{ModuleError, Runtime, TICK};
pub use session::{LookupError, Session};
pub use stack::{CALL_STACK_BYTES, EVALUATE_STACK_BYTES};
pub use store::{
    FileEntry, MANIFEST_FORMAT, MANIFEST_FORMAT_WITH_DELTAS, Manifest, ModuleEntry, SnapshotEntry, Store, StoreError,
};
pub use unskew_frame::{Column, ColumnType, Value};
pub use unskew_macros::Fields;
pub use unskew_snapshot::{Backing, EntityKey, EventTime, KeyPart, KeyRef, Row, Status};
