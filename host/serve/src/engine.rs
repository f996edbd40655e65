use std::sync::OnceLock;

use wasmtime::{Config, Engine, Inlining};

use crate::cpu::Cpu;
use crate::digest::Digest;

/// What an instance may have for a batch of thousands of rows, or to fold what was pushed, in bytes. The most that any is given is
/// [`CallLimits::MAX_MEMORY_BYTES`](crate::CallLimits::MAX_MEMORY_BYTES).
pub const BATCH_INSTANCE_BYTES: usize = 64 << 20;
/// The stack of a component, in bytes.
pub const MAX_STACK_BYTES: usize = 256 << 10;
/// The target that components are compiled for: the baseline of this machine's architecture, so that one artefact runs on
/// every machine of a fleet.
pub const TARGET: &str = if cfg!(target_arch = "aarch64") {
    "aarch64-unknown-linux-gnu"
} else {
    "x86_64-unknown-linux-gnu"
};

/// The engine's version. A test compares it with Cargo.lock; the engine also checks it in the code it loads.
pub const WASMTIME_VERSION: &str = "48.0.8";

/// The one configuration of the engine, for running and for compiling alike. A compiler adds [`TARGET`] and the features of
/// a [`Cpu`], which only it can set, and rewrites modules so that every NaN whose bits can be seen is the canonical one
/// ([`NAN_REWRITE`]); [`settings`] names them too, so an artefact compiled otherwise is refused.
pub fn config() -> Config {
    let mut config = Config::new();
    // Asynchronous components triple the cost of a call, and no transform waits for anything.
    config.concurrency_support(false);
    config.epoch_interruption(true);
    config.max_wasm_stack(MAX_STACK_BYTES);
    // Results must not depend on the machine: no relaxed SIMD, no threads.
    config.wasm_relaxed_simd(false);
    // Whole products of 64 bits, which hashes are made of: integers, so the same everywhere.
    config.wasm_wide_arithmetic(true);
    config.memory_init_cow(true);
    // Small functions of a transform's libraries are called for every row, each with a look at the clock.
    config.compiler_inlining(Inlining::Yes);
    config.wasm_backtrace_max_frames(None);
    config
}

/// The version of the rewrite that makes NaN canonical before a module is compiled.
pub const NAN_REWRITE: u32 = 1;

/// What native code depends on, a line each. It is part of every compiled artefact.
pub fn settings(cpu: Cpu) -> String {
    format!(
        "wasmtime {WASMTIME_VERSION}\ntarget {TARGET}\ncpu {cpu}\nnan-rewrite {NAN_REWRITE}\nepoch-interruption true\n\
         relaxed-simd false\nwide-arithmetic true\ninlining true\nconcurrency false\nstack {MAX_STACK_BYTES}\n",
    )
}

/// The digest of [`settings`].
pub fn settings_digest(cpu: Cpu) -> Digest {
    static DIGESTS: OnceLock<[Digest; Cpu::ALL.len()]> = OnceLock::new();
    let digests = DIGESTS.get_or_init(|| Cpu::ALL.map(|cpu| Digest::of(settings(cpu).as_bytes())));
    digests[cpu as usize]
}

/// An engine of [`config`].
///
/// # Errors
/// The machine cannot run it.
pub fn engine() -> Result<Engine, EngineError> {
    Engine::new(&config()).map_err(|error| EngineError(format!("{error:#}")))
}

/// The engine could not be made on this machine.
#[derive(Debug, thiserror::Error)]
#[error("cannot make the engine: {0}")]
pub struct EngineError(pub(crate) String);
