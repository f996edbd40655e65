use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use unskew::{ArtefactError, Cpu, Digest, Manifest, Store};
use wasmtime::Engine;

use crate::check::{CheckError, FEATURES, check_component};
use crate::features;
use crate::file;
use crate::rewrite::rewrite;

/// Native code for a component, wrapped as an artefact that only the same component on an engine of the same settings loads.
/// The same component gives the same bytes. The code runs on processors of level `cpu` and better.
///
/// # Errors
/// The component does not keep to the contract, or the compiler refuses it.
pub fn compile(component: &[u8], cpu: Cpu) -> Result<Vec<u8>, CompileError> {
    Compiler::new(cpu)?.compile(component)
}

/// The component as [`compile`] gives it to the compiler: with canonical NaNs, and its core module exported where that may be
/// called directly.
///
/// # Errors
/// The component does not keep to the contract.
pub fn rewritten(component: &[u8]) -> Result<Vec<u8>, CompileError> {
    check_component(component)?;
    rewrite(component, FEATURES).map_err(|reason| CompileError::Refused {
        digest: Digest::of(component),
        reason,
    })
}

/// Compiles one module of a store into the cache of native code in `directory`, for the best processor that this machine's
/// is, unless it is there already, whole and made with this host's settings.
///
/// # Errors
/// The module is missing or damaged, does not keep to the contract, or the cache cannot be written.
pub fn compile_into(store: &Store, directory: &Path, digest: &Digest) -> Result<Compiled, CompileError> {
    let mut compiler = None;
    compile_missing(store, directory, digest, Cpu::best(), &mut compiler)
}

/// Fills the cache of native code in `directory` with every module of a generation, for processors of level `cpu` and
/// better. `progress` hears of each module that is
/// done, with the number done and the number in all.
///
/// # Errors
/// As [`compile_into`], of the first module that fails. What was compiled before stays in the cache.
pub fn prepare(
    store: &Store,
    directory: &Path,
    manifest: &Manifest,
    cpu: Cpu,
    mut progress: impl FnMut(&Compiled, usize, usize),
) -> Result<Vec<Compiled>, CompileError> {
    // Two names may mean one component.
    let digests: BTreeSet<Digest> = manifest.modules.values().map(|entry| entry.digest).collect();
    let mut compiler = None;
    let mut done = Vec::with_capacity(digests.len());
    for digest in &digests {
        let compiled = compile_missing(store, directory, digest, cpu, &mut compiler)?;
        done.push(compiled);
        progress(&compiled, done.len(), digests.len());
    }
    Ok(done)
}

/// A module whose native code is in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// The component.
    pub digest: Digest,
    /// The size of its artefact.
    pub bytes: usize,
    /// Whether it was there already.
    pub is_cached: bool,
}

fn compile_missing(
    store: &Store,
    directory: &Path,
    digest: &Digest,
    cpu: Cpu,
    compiler: &mut Option<Compiler>,
) -> Result<Compiled, CompileError> {
    let path = Store::compiled_path(directory, digest, cpu);
    if let Some(bytes) = cached_bytes(&path, digest, cpu)? {
        return Ok(Compiled {
            digest: *digest,
            bytes,
            is_cached: true,
        });
    }
    let component = read_module(store, digest)?;
    let compiler = match compiler {
        Some(compiler) => compiler,
        None => compiler.insert(Compiler::new(cpu)?),
    };
    let artefact = compiler.compile(&component)?;
    file::replace(&path, &artefact).map_err(|source| CompileError::Write { path, source })?;
    Ok(Compiled {
        digest: *digest,
        bytes: artefact.len(),
        is_cached: false,
    })
}

/// The size of the artefact if it is one that this host loads. One that is damaged or of other settings is compiled again.
fn cached_bytes(path: &Path, digest: &Digest, cpu: Cpu) -> Result<Option<usize>, CompileError> {
    match fs::read(path) {
        Ok(bytes) => {
            let is_good = match unskew::decode_artefact(digest, &bytes) {
                Ok(_) => true,
                // Whole, for another machine than this one.
                Err(ArtefactError::Cpu(found)) => found == cpu,
                Err(_) => false,
            };
            Ok(is_good.then_some(bytes.len()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CompileError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

fn read_module(store: &Store, digest: &Digest) -> Result<Vec<u8>, CompileError> {
    let path = store.module_path(digest);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(CompileError::Missing { digest: *digest, path });
        }
        Err(source) => return Err(CompileError::Read { path, source }),
    };
    let found = Digest::of(&bytes);
    if found != *digest {
        return Err(CompileError::Damaged { path, found });
    }
    Ok(bytes)
}

struct Compiler {
    engine: Engine,
    cpu: Cpu,
}

impl Compiler {
    fn new(cpu: Cpu) -> Result<Self, CompileError> {
        let refused = |error: wasmtime::Error| CompileError::Engine {
            reason: format!("{error:#}"),
        };
        let mut config = unskew::config();
        // Named even where it is this machine's own: without a name the compiler would use whatever this processor has.
        config.target(unskew::TARGET).map_err(refused)?;
        features::enable(&mut config, cpu);
        Ok(Self {
            engine: Engine::new(&config).map_err(refused)?,
            cpu,
        })
    }

    fn compile(&self, component: &[u8]) -> Result<Vec<u8>, CompileError> {
        let digest = Digest::of(component);
        let code = self
            .engine
            .precompile_component(&rewritten(component)?)
            .map_err(|error| CompileError::Refused {
                digest,
                reason: format!("{error:#}"),
            })?;
        Ok(unskew::encode_artefact(&digest, self.cpu, &code))
    }
}

/// Why a component is not compiled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// It does not keep to the contract.
    #[error("cannot compile a component that does not keep to the contract")]
    Check(#[from] CheckError),
    /// The compiler cannot be had on this machine.
    #[error(
        "cannot make a compiler for {}: {reason}; compile on a machine of that architecture",
        unskew::TARGET
    )]
    Engine {
        /// Why.
        reason: String,
    },
    /// The compiler refuses the component.
    #[error("cannot compile {digest}: {reason}; rebuild it with `unskew build`")]
    Refused {
        /// The component.
        digest: Digest,
        /// Why.
        reason: String,
    },
    /// The store has no such module.
    #[error("the store has no module {digest}: publish it again, {} is missing", path.display())]
    Missing {
        /// The component.
        digest: Digest,
        /// Where it should be.
        path: PathBuf,
    },
    /// A module's bytes are not those of its digest.
    #[error("{} is damaged, its bytes are those of {found}: move it away and publish the module again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The digest of what it holds.
        found: Digest,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The cache cannot be written.
    #[error("cannot write {}: check that the directory can be written and has room", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests;
