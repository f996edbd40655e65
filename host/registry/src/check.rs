use std::fmt;

use wasmparser::{Parser, Payload, Validator, WasmFeatures};
use wit_component::DecodedWasm;

use crate::contract::{self, Interface};

/// The largest component that is taken, in bytes.
pub const MAX_COMPONENT_BYTES: usize = 8 << 20;

/// What a transform of ours should stay below, in bytes. It is for reports; nothing is refused for it.
pub const COMPONENT_BUDGET_BYTES: usize = 200 << 10;

const _: () = assert!(COMPONENT_BUDGET_BYTES < MAX_COMPONENT_BYTES);

/// The world of the contract that a component exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum World {
    /// `row-transform`: inputs to outputs, row by row.
    RowTransform,
    /// `aggregate-transform`: state over events.
    AggregateTransform,
}

impl World {
    /// The name in the contract.
    pub fn name(self) -> &'static str {
        match self {
            Self::RowTransform => "row-transform",
            Self::AggregateTransform => "aggregate-transform",
        }
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which world a component exports, where it keeps to the contract: a valid component that imports nothing, not even types,
/// and exports the functions of one world with their very types. Nothing of it is run or compiled.
///
/// # Errors
/// It does not; each error says what its author can do.
pub fn check_component(bytes: &[u8]) -> Result<World, CheckError> {
    if MAX_COMPONENT_BYTES < bytes.len() {
        return Err(CheckError::TooLarge { bytes: bytes.len() });
    }
    check_header(bytes)?;
    Validator::new_with_features(FEATURES)
        .validate_all(bytes)
        .map_err(|error| CheckError::Invalid {
            offset: error.offset() as usize,
            reason: error.message().to_owned(),
        })?;

    let imports = import_names(bytes)?;
    if !imports.is_empty() {
        return Err(CheckError::Imports { names: imports });
    }
    check_exports(&exports(bytes)?)
}

/// What components may use: what is in the standard and gives the same results on every machine. No threads and no relaxed
/// SIMD.
pub(crate) const FEATURES: WasmFeatures = WasmFeatures::WASM2
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::WIDE_ARITHMETIC)
    .union(WasmFeatures::COMPONENT_MODEL);

/// What is wrong before the first section, said as people would.
fn check_header(bytes: &[u8]) -> Result<(), CheckError> {
    const MAGIC: &[u8; 4] = b"\0asm";
    if !bytes.starts_with(MAGIC) {
        return Err(CheckError::NotWebAssembly);
    }
    if !Parser::is_core_wasm(bytes) && !Parser::is_component(bytes) {
        return Err(CheckError::Invalid {
            offset: MAGIC.len(),
            reason: "cut short, or of a version of WebAssembly that is not known".to_owned(),
        });
    }
    if Parser::is_core_wasm(bytes) {
        return Err(CheckError::CoreModule);
    }
    Ok(())
}

/// The names of the imports of the component itself, not of the modules inside it.
fn import_names(bytes: &[u8]) -> Result<Vec<String>, CheckError> {
    let invalid = |error: wasmparser::BinaryReaderError| CheckError::Invalid {
        offset: error.offset() as usize,
        reason: error.message().to_owned(),
    };
    let mut depth = 0_usize;
    let mut names = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(invalid)? {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    names.push(import.map_err(invalid)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(names)
}

fn exports(bytes: &[u8]) -> Result<Vec<Interface>, CheckError> {
    match wit_component::decode(bytes) {
        Ok(DecodedWasm::Component(resolve, world)) => {
            Ok(contract::interfaces(&resolve, &resolve.worlds[world].exports))
        }
        Ok(DecodedWasm::WitPackage(..)) => Err(CheckError::WitPackage),
        Err(error) => Err(CheckError::Shape {
            reason: format!("{error:#}"),
        }),
    }
}

fn check_exports(exports: &[Interface]) -> Result<World, CheckError> {
    let contract = contract::contract()?;
    let has = |interface: &str| {
        exports
            .iter()
            .any(|export| export.name == contract.interface_name(interface))
    };
    let world = match (has("row"), has("aggregate")) {
        (true, false) => World::RowTransform,
        (false, true) => World::AggregateTransform,
        (true, true) => return Err(CheckError::BothWorlds),
        (false, false) => {
            return Err(CheckError::NoWorld {
                contract: contract.package.clone(),
                exports: exports.iter().map(|export| export.name.clone()).collect(),
            });
        }
    };
    for expected in contract.exports(world) {
        let Some(found) = exports.iter().find(|export| export.name == expected.name) else {
            return Err(CheckError::MissingExport {
                name: expected.name.clone(),
                world,
            });
        };
        for (function, signature) in &expected.functions {
            let name = || format!("{}#{function}", expected.name);
            match found.functions.get(function) {
                None => {
                    return Err(CheckError::MissingExport { name: name(), world });
                }
                Some(found) if found != signature => {
                    return Err(CheckError::WrongType {
                        name: name(),
                        found: found.clone(),
                        expected: signature.clone(),
                    });
                }
                Some(_) => {}
            }
        }
    }
    Ok(world)
}

/// Why a file is not a transform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// More than [`MAX_COMPONENT_BYTES`].
    #[error(
        "the component has {bytes} bytes, more than {MAX_COMPONENT_BYTES}: build it with `unskew build`, which optimises and \
         strips, and keep tables in views instead of code"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// It does not begin as WebAssembly does.
    #[error("not WebAssembly: give the component that `unskew build` wrote, not its source or its text")]
    NotWebAssembly,
    /// Cut short, damaged, or using what is not allowed.
    #[error("not valid WebAssembly at offset {offset}: {reason}; build or fetch the component again")]
    Invalid {
        /// Where, in bytes.
        offset: usize,
        /// What is wrong.
        reason: String,
    },
    /// A module of the core specification.
    #[error("a core module, not a component: build it with `unskew build`, which makes the component")]
    CoreModule,
    /// A component that holds interfaces only.
    #[error("a package of interfaces without code: build the transform's crate with `unskew build`")]
    WitPackage,
    /// A component whose imports or exports are not interfaces of functions.
    #[error("a component whose exports no interface describes: {reason}; build it with `unskew build`")]
    Shape {
        /// What is wrong.
        reason: String,
    },
    /// It imports something.
    #[error("imports {}; a transform imports nothing: {}", names.join(", "), import_remedy(names))]
    Imports {
        /// Every import.
        names: Vec<String>,
    },
    /// It exports neither world.
    #[error(
        "exports {} and so neither world of {contract}: export `row` or `aggregate`, built against this version of the contract",
        list(exports)
    )]
    NoWorld {
        /// The package that it should implement.
        contract: String,
        /// What it exports.
        exports: Vec<String>,
    },
    /// It exports both worlds.
    #[error("exports both `row` and `aggregate`: split it into two components")]
    BothWorlds,
    /// Part of its world is missing.
    #[error("does not export {name}, which the world {world} has: build it against the contract's wit")]
    MissingExport {
        /// The interface, or `interface#function`.
        name: String,
        /// The world that it exports otherwise.
        world: World,
    },
    /// A function has another type than in the contract.
    #[error("exports {name} as {found}, but the contract has {expected}: build it against the contract's wit")]
    WrongType {
        /// `interface#function`.
        name: String,
        /// The type that it has.
        found: String,
        /// The type that it should have.
        expected: String,
    },
    /// The contract that was built into this crate cannot be read: a mistake of ours.
    #[error("the contract built into this program cannot be read: {reason}")]
    Contract {
        /// What is wrong.
        reason: String,
    },
}

/// What an author does about the imports: by where they usually come from.
fn import_remedy(names: &[String]) -> &'static str {
    let any = |part: &str| names.iter().any(|name| name.contains(part));
    if any("clock") {
        "take the prediction time as an input instead of reading a clock, and build for wasm32-unknown-unknown"
    } else if any("random") {
        "take a seed or a key's hash as an input instead of random numbers, and build for wasm32-unknown-unknown"
    } else if any("wasi:") || any("wasi_") {
        "build for wasm32-unknown-unknown, as `unskew build` does, and take what you need as inputs"
    } else {
        "take what you need as inputs"
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "nothing".to_owned()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod tests;
