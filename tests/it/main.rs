//! What the crates do together.

mod adversity;
mod agreement;
mod amounts;
mod backfill;
mod deltas;
mod direct;
mod events;
mod failing;
mod fraud;
mod fresh;
mod golden;
mod host;
mod hostile;
mod log;
mod matrix;
mod metrics;
mod operate;
mod parity;
mod refused;
mod semantics;
mod tidy;
mod transforms;
