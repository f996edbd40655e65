//! Whether a rewritten module shows what the engine's own canonicalisation of NaN shows.

use unskew_registry::{core_module, rewritten};
use wasmtime::{Config, Engine, Extern, Instance, Module, Store, Val, ValType};

use crate::made::FUEL;

/// More than the calls of a module that ends take, and less than the engine's other stacks.
const STACK_BYTES: usize = 1_900 << 10;
const _: () = assert!(FUEL as usize * 3_800 < STACK_BYTES);

/// Two engines: one that canonicalises every NaN, and one that leaves them all.
pub struct Engines {
    canonicalising: Engine,
    plain: Engine,
}

impl Engines {
    pub fn new() -> wasmtime::Result<Self> {
        let engine = |is_canonicalising| {
            let mut config = Config::new();
            config.wasm_relaxed_simd(false);
            config.wasm_wide_arithmetic(true);
            config.max_wasm_stack(STACK_BYTES);
            config.cranelift_nan_canonicalization(is_canonicalising);
            Engine::new(&config)
        };
        Ok(Self {
            canonicalising: engine(true)?,
            plain: engine(false)?,
        })
    }

    /// # Errors
    /// They show something else, or the component cannot be taken apart.
    pub fn compare(&self, component: &[u8]) -> Result<(), String> {
        let rewritten = rewritten(component).map_err(|error| error.to_string())?;
        let shown = |engine, component| {
            let module = core_module(component)?;
            show(engine, module).map_err(|error| format!("{error:#}"))
        };
        let expected = shown(&self.canonicalising, component)?;
        let found = shown(&self.plain, &rewritten)?;
        match expected == found {
            true => Ok(()),
            false => Err(format!("the rewrite shows other bits:\n{expected:#?}\n{found:#?}")),
        }
    }
}

/// The results of all exported functions, called in order, and the memory afterwards.
fn show(engine: &Engine, module: &[u8]) -> wasmtime::Result<Vec<String>> {
    let module = Module::new(engine, module)?;
    let mut store = Store::new(engine, ());
    let Ok(instance) = Instance::new(&mut store, &module, &[]) else {
        return Ok(vec!["it traps at its start".to_owned()]);
    };
    let mut seen = Vec::new();
    for export in module.exports() {
        match instance.get_export(&mut store, export.name()) {
            Some(Extern::Func(function)) => {
                let function_type = function.ty(&store);
                let arguments: Vec<Val> = function_type.params().map(argument).collect();
                let mut results = vec![Val::I32(0); function_type.results().len()];
                seen.push(match function.call(&mut store, &arguments, &mut results) {
                    Ok(()) => format!("{} gives {results:?}", export.name()),
                    Err(error) => format!("{} fails: {}", export.name(), error.root_cause()),
                });
            }
            Some(Extern::Memory(memory)) => {
                let words = memory.data(&store).chunks(8).enumerate();
                seen.extend(
                    words
                        .filter(|(_, word)| word.iter().any(|byte| *byte != 0))
                        .map(|(index, word)| format!("{} at {}: {word:02x?}", export.name(), 8 * index)),
                );
            }
            _ => {}
        }
    }
    Ok(seen)
}

/// Exports of a world take addresses and lengths.
fn argument(value_type: ValType) -> Val {
    match value_type {
        ValType::I64 => Val::I64(8),
        _ => Val::I32(8),
    }
}
