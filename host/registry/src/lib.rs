//! Build, check, compile and publish transform components and generations.
//!
//! A transform's crate becomes a component ([`build_component`]), which is checked against the contract
//! ([`check_component`]) and published into a store under its digest ([`put_module`]). Snapshots follow ([`put_snapshot`]),
//! and a generation names them all ([`commit`]), with what each module gave where it was published ([`module_entries`]). A host compiles what its generation names into native code of its own
//! ([`prepare`]): native code is never published, so nobody else's is ever run.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod build;
mod check;
mod compile;
mod contract;
mod features;
mod file;
#[cfg(test)]
mod fixture;
mod golden;
mod load;
mod nan;
mod product;
mod publish;
mod rewrite;
mod section;
mod state_bound;
mod toolchain;
mod vectors;

pub use build::{BuildError, BuildOptions, Built, build_component};
pub use check::{COMPONENT_BUDGET_BYTES, CheckError, MAX_COMPONENT_BYTES, World, check_component};
pub use compile::{CompileError, Compiled, compile, compile_into, prepare, rewritten};
pub use golden::{make_golden, module_entries, put_golden};
pub use load::{LoadModulesError, load_modules};
pub use publish::{Draft, PublishError, commit, put_module, put_snapshot};
pub use rewrite::core_module;
pub use state_bound::StateBound;
pub use toolchain::{TARGET, Toolchain, ToolchainError};
pub use vectors::{
    MAX_VECTORS, MAX_VECTORS_BYTES, VECTORS_FILE, VectorError, embed_vectors, embedded_vectors, vector_calls,
};
