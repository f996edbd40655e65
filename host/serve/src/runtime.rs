use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use wasmtime::Engine;

use crate::cpu::Cpu;
use crate::digest::Digest;
use crate::engine::{EngineError, engine};
use crate::load::{LoadError, load};
use crate::module::{DescribeError, Module};
use crate::store::Store;

/// The period of the ticks that deadlines are counted in.
pub const TICK: Duration = Duration::from_micros(500);

/// The engine and its ticker. One per process is enough; cheap to clone.
#[derive(Clone, Debug)]
pub struct Runtime {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    engine: Engine,
    stop: Arc<AtomicBool>,
    ticker: Option<JoinHandle<()>>,
}

impl Runtime {
    /// Makes the engine and starts the thread that counts deadlines, which wakes every [`TICK`].
    ///
    /// # Errors
    /// The machine cannot run the engine, or no thread can be started.
    pub fn new() -> Result<Self, EngineError> {
        let engine = engine()?;
        let stop = Arc::new(AtomicBool::new(false));
        let (ticking, stopped) = (engine.clone(), Arc::clone(&stop));
        let ticker = thread::Builder::new()
            .name("unskew-tick".to_owned())
            .spawn(move || tick(&ticking, &stopped))
            .map_err(|error| EngineError(error.to_string()))?;
        Ok(Self {
            shared: Arc::new(Shared {
                engine,
                stop,
                ticker: Some(ticker),
            }),
        })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.shared.engine
    }

    /// Loads the native code of the component `digest` from the private cache `compiled`.
    ///
    /// The cache must be writable by nobody but this host's user and builders that it trusts: native code runs unchecked.
    ///
    /// # Errors
    /// The code is missing, damaged, or made for another engine: compile it again; or the component does not describe
    /// itself.
    pub fn load(&self, compiled: &Path, digest: &Digest) -> Result<Module, ModuleError> {
        let (path, bytes) = read_compiled(compiled, digest)?;
        let component = load(self.engine(), digest, &bytes).map_err(|error| ModuleError::Refused {
            path,
            reason: error.to_string(),
            is_artefact: matches!(error, LoadError::Artefact(_)),
        })?;
        Module::new(self, *digest, component).map_err(|source| ModuleError::Describe {
            digest: *digest,
            source,
        })
    }
}

/// The native code for the best processor that this machine's is and that the cache has code for.
fn read_compiled(compiled: &Path, digest: &Digest) -> Result<(PathBuf, Vec<u8>), ModuleError> {
    for cpu in Cpu::ALL.into_iter().rev().filter(|cpu| cpu.is_supported()) {
        let path = Store::compiled_path(compiled, digest, cpu);
        match fs::read(&path) {
            Ok(bytes) => return Ok((path, bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(ModuleError::Read { path, source }),
        }
    }
    Err(ModuleError::NotCompiled {
        digest: *digest,
        cpu: Cpu::best(),
    })
}

/// Keeps the engine's epoch at the ticks that have passed, until told to stop.
fn tick(engine: &Engine, stopped: &AtomicBool) {
    let start = Instant::now();
    let mut ticks = 0_u64;
    // Relaxed: a late look at the flag costs a tick.
    while !stopped.load(Ordering::Relaxed) {
        // Sleeps that begin where the last one ended would add up what each of them is late.
        let due = Duration::from_nanos((ticks + 1).saturating_mul(TICK.as_nanos() as u64));
        thread::sleep(due.saturating_sub(start.elapsed()));
        let passed = (start.elapsed().as_nanos() / TICK.as_nanos()) as u64;
        // All at once after a wait for a processor: deadlines are not later by the number of the waits.
        while ticks < passed {
            engine.increment_epoch();
            ticks += 1;
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(ticker) = self.ticker.take() {
            // The thread only ends by returning.
            let _ = ticker.join();
        }
    }
}

/// Why a module could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// The cache has no native code for it.
    #[error(
        "module {digest} is not compiled for this host, whose processor is of level {cpu}: run `unskew prepare` on the store"
    )]
    NotCompiled {
        /// The component.
        digest: Digest,
        /// The best level of this machine's processor.
        cpu: Cpu,
    },
    /// The native code cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The native code is not this engine's.
    #[error("{}: {reason}: run `unskew prepare` on the store to compile it again", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
        /// Whether the file is at fault, and not the machine.
        is_artefact: bool,
    },
    /// The component does not say what it is.
    #[error("module {digest} is no transform")]
    Describe {
        /// The component.
        digest: Digest,
        /// Why.
        source: DescribeError,
    },
}
