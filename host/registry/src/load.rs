use std::collections::BTreeMap;

use unskew::{Digest, Module, ModuleError, Runtime, Store};

use crate::compile::{CompileError, compile_into};
use crate::publish::{PublishError, put_module};

/// Publishes components into `store`, compiles them into its cache of native code and loads them: by the names that they
/// give themselves.
///
/// # Errors
/// A component is refused, cannot be compiled or loaded, or two have the same name.
pub fn load_modules(
    runtime: &Runtime,
    store: &Store,
    components: &[Vec<u8>],
) -> Result<BTreeMap<String, Module>, LoadModulesError> {
    let mut modules = BTreeMap::new();
    for component in components {
        let digest = put_module(store, component)?;
        compile_into(store, &store.compiled_dir(), &digest)?;
        let module = runtime.load(&store.compiled_dir(), &digest)?;
        let name = module.descriptor().name.clone();
        if let Some(other) = modules.insert(name.clone(), module)
            && other.digest() != digest
        {
            return Err(LoadModulesError::SameName {
                name,
                digests: [other.digest(), digest],
            });
        }
    }
    Ok(modules)
}

/// Why modules could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadModulesError {
    /// A component is refused or cannot be stored.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// A component cannot be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// A compiled component cannot be loaded.
    #[error(transparent)]
    Load(#[from] ModuleError),
    /// Two components give themselves the same name.
    #[error("two modules are called `{name}`: {} and {}: give one", digests[0], digests[1])]
    SameName {
        /// The name.
        name: String,
        /// The components.
        digests: [Digest; 2],
    },
}
