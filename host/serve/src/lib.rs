//! The embedded host: evaluates feature services inside a latency-critical process.

mod artefact;
pub mod catalog;
mod descriptor;
mod digest;
mod engine;
mod evaluation;
mod generation;
mod host;
mod instance;
mod load;
mod module;
mod plan;
mod request;
mod runtime;
mod session;
mod store;
mod wit;

pub use artefact::{ArtefactError, decode_artefact, encode_artefact};
pub use catalog::Catalog;
pub use descriptor::{Aggregation, ColumnDescriptor, Descriptor, Kind, Window};
pub use digest::{Digest, ParseDigestError};
pub use engine::{EngineError, NAN_CANONICALIZATION, TARGET, config, engine, settings, settings_digest};
pub use evaluation::{EvaluateError, Evaluation, Instances};
pub use generation::{ActivateError, STATE_FEATURE};
pub use host::{Host, HostOptions, Refresh};
pub use instance::{CallError, CallLimits, Instance, output_columns, state_column};
pub use module::{DescribeError, InstantiateError, Module};
pub use plan::{FeatureStep, Plan, ResolveError, Slot, TransformStep, ViewRead, ViewStep};
pub use request::{MAX_CANDIDATES, Request, RequestError, Service};
pub use runtime::{ModuleError, Runtime, TICK};
pub use session::{Features, Session};
pub use store::{MANIFEST_FORMAT, Manifest, ModuleEntry, SnapshotEntry, Store, StoreError};
