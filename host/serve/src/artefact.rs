use xxhash_rust::xxh3::xxh3_128;

use crate::cpu::Cpu;
use crate::digest::Digest;
use crate::engine::settings_digest;

const MAGIC: [u8; 8] = *b"UNSKEWN1";
const HEADER_BYTES: usize = 8 + 32 + 32 + 8 + 16;

/// Wraps native code for a private cache: which component it was compiled from, with which settings, and a checksum.
///
/// ```text
/// 0   8  magic UNSKEWN1
/// 8  32  digest of the engine's settings
/// 40 32  digest of the component
/// 72  8  length of the code
/// 80 16  xxh3-128 of the code
/// 96     the code
/// ```
pub fn encode_artefact(component: &Digest, cpu: Cpu, code: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + code.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&settings_digest(cpu).0);
    bytes.extend_from_slice(&component.0);
    bytes.extend_from_slice(&(code.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&xxh3_128(code).to_le_bytes());
    bytes.extend_from_slice(code);
    bytes
}

/// The code of an artefact that was compiled from `component` with this host's settings and arrived whole.
///
/// # Errors
/// It was not; the remedy is to compile again.
pub fn decode_artefact<'a>(component: &Digest, bytes: &'a [u8]) -> Result<&'a [u8], ArtefactError> {
    let (header, code) = bytes.split_at_checked(HEADER_BYTES).ok_or(ArtefactError::Damaged)?;
    if header[..8] != MAGIC {
        return Err(ArtefactError::Damaged);
    }
    match Cpu::ALL
        .into_iter()
        .find(|cpu| header[8..40] == settings_digest(*cpu).0)
    {
        None => return Err(ArtefactError::Settings),
        Some(cpu) if !cpu.is_supported() => return Err(ArtefactError::Cpu(cpu)),
        Some(_) => {}
    }
    if header[40..72] != component.0 {
        return Err(ArtefactError::Component);
    }
    if header[72..80] != (code.len() as u64).to_le_bytes() || header[80..] != xxh3_128(code).to_le_bytes() {
        return Err(ArtefactError::Damaged);
    }
    Ok(code)
}

/// Why native code is not loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArtefactError {
    /// Cut short, changed, or something else altogether.
    #[error("the compiled module is damaged")]
    Damaged,
    /// Compiled by another version or with other settings.
    #[error("the compiled module was made by another version of the engine or with other settings")]
    Settings,
    /// Compiled for processors that this machine's is not one of.
    #[error("the compiled module is for a processor of level {0}, which this machine's is not")]
    Cpu(Cpu),
    /// Compiled from another component.
    #[error("the compiled module belongs to another component")]
    Component,
}

#[cfg(test)]
mod tests;
