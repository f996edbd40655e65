//! What the crates do together.

mod fraud;
mod host;
mod hostile;
mod log;
mod parity;
mod semantics;
mod tidy;
