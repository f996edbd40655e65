//! Loading native code: the one place where bytes become executable.
#![expect(
    unsafe_code,
    reason = "native code is trusted by where it comes from, which no type can say"
)]

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::artefact::{ArtefactError, decode_artefact};
use crate::digest::Digest;

/// The component whose native code `artefact` holds.
///
/// The bytes must come from a cache that this host, or a builder that it trusts, wrote: native code is not checked for what
/// it does. What can be checked is: that it is whole, that it was compiled from `digest`, and with this engine's settings.
pub(crate) fn load(engine: &Engine, digest: &Digest, artefact: &[u8]) -> Result<Component, LoadError> {
    let code = decode_artefact(digest, artefact)?;
    // SAFETY: the code is what `unskew-registry` compiled with this engine's version and settings: the settings' digest and
    // the checksum of the code hold, and the cache is private to the host by its contract (`Runtime::load`).
    unsafe { Component::deserialize(engine, code) }.map_err(|error| LoadError::Engine(format!("{error:#}")))
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error(transparent)]
    Artefact(#[from] ArtefactError),
    #[error("the engine refuses the compiled module: {0}")]
    Engine(String),
}
