use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use serde::Deserialize;
use wasmparser::{Parser, Payload};
use wit_component::ComponentEncoder;

use crate::check::{CheckError, World, check_component};
use crate::product::with_wide_products;
use crate::section::push_section;
use crate::state_bound::STATE_SECTION;
use crate::toolchain::{Toolchain, ToolchainError};
use crate::vectors::{VECTORS_FILE, VectorError, embed_vectors};

/// How a transform is built.
#[derive(Clone, Debug, Default)]
pub struct BuildOptions {
    /// The compiler; the first on the `PATH` that can do it, if none.
    pub toolchain: Option<Toolchain>,
    /// Where cargo keeps what it compiles; `target` beside the workspace's manifest, if none. Cargo's own builds there are
    /// left alone.
    pub target_dir: Option<PathBuf>,
    /// Whether cargo must do without the network.
    pub is_offline: bool,
    /// Whether `Cargo.lock` must be there and stay as it is.
    pub is_locked: bool,
}

/// A transform's component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The name of the crate.
    pub name: String,
    /// The component, which passed [`check_component`].
    pub component: Vec<u8>,
    /// Its world.
    pub world: World,
    /// The size of the core module inside it.
    pub core_bytes: usize,
}

/// Builds the crate in `crate_dir` for WebAssembly and makes the component. What the compiler has to say goes to standard
/// error as it comes.
///
/// The same source, dependencies, compiler and linker give the same bytes in every directory: settings come from here and not from
/// the crate's profile or the caller's environment, paths are cut off, and no section is kept that the component does not
/// need. Two compilers give different bytes.
///
/// # Errors
/// There is no compiler for WebAssembly, the crate does not compile, or what it makes does not keep to the contract.
pub fn build_component(crate_dir: &Path, options: &BuildOptions) -> Result<Built, BuildError> {
    let found;
    let toolchain = match &options.toolchain {
        Some(toolchain) => toolchain,
        None => {
            found = Toolchain::find()?;
            &found
        }
    };
    let package = Package::read(crate_dir)?;
    let core_path = compile_core(toolchain, &package, options)?;
    let core = fs::read(&core_path).map_err(|source| BuildError::Read {
        path: core_path,
        source,
    })?;
    let core = with_wide_products(&core).map_err(|reason| package.refused(reason))?;
    let core = without_notes(&core).map_err(|reason| package.refused(reason))?;
    let component = with_vectors(&package, make_component(&package, &core)?)?;
    let world = check_component(&component).map_err(|source| BuildError::Check {
        name: package.name.clone(),
        source,
    })?;
    Ok(Built {
        name: package.name,
        component,
        world,
        core_bytes: core.len(),
    })
}

/// The settings of every build, whatever the crate's profile says: they are part of what a digest stands for.
const PROFILE: [&str; 9] = [
    "opt-level=3",
    "lto=\"fat\"",
    "codegen-units=1",
    "panic=\"abort\"",
    "strip=\"symbols\"",
    "debug=false",
    "debug-assertions=false",
    "overflow-checks=false",
    "incremental=false",
];

struct Package {
    name: String,
    directory: PathBuf,
    manifest: PathBuf,
}

impl Package {
    fn read(crate_dir: &Path) -> Result<Self, BuildError> {
        let unreadable = |source| BuildError::Read {
            path: crate_dir.join("Cargo.toml"),
            source,
        };
        let directory = fs::canonicalize(crate_dir).map_err(unreadable)?;
        let manifest = directory.join("Cargo.toml");
        let text = match fs::read_to_string(&manifest) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(BuildError::NoCrate { path: manifest });
            }
            Err(source) => {
                return Err(BuildError::Read { path: manifest, source });
            }
        };
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| BuildError::Manifest {
            path: manifest.clone(),
            reason: error.message().to_owned(),
        })?;
        let name = table.get("package").and_then(|package| package.get("name")?.as_str());
        match name {
            Some(name) => Ok(Self {
                name: name.to_owned(),
                directory,
                manifest,
            }),
            None => Err(BuildError::NoCrate { path: manifest }),
        }
    }

    fn refused(&self, reason: String) -> BuildError {
        BuildError::Component {
            name: self.name.clone(),
            reason,
        }
    }
}

/// The path of the core module that cargo made.
fn compile_core(toolchain: &Toolchain, package: &Package, options: &BuildOptions) -> Result<PathBuf, BuildError> {
    let workspace = workspace_dir(toolchain, package)?;
    let target_dir = match &options.target_dir {
        Some(directory) => std::path::absolute(directory).map_err(|source| BuildError::Read {
            path: directory.clone(),
            source,
        })?,
        None => workspace.join("target"),
    };
    let target_dir = target_dir.join(toolchain.folder());

    let mut command = toolchain.cargo(&remapped(toolchain, &workspace, &target_dir));
    // `rustc`, not `build`: with the one crate type that can be optimised as a whole, also where the crate has others.
    command.args(["rustc", "--release", "--lib", "--crate-type", "cdylib"]);
    command.args(toolchain.target_arguments());
    command.arg("--manifest-path").arg(&package.manifest);
    command.arg("--target-dir").arg(&target_dir);
    command.arg("--message-format=json-render-diagnostics");
    for setting in PROFILE {
        command.arg("--config").arg(format!("profile.release.{setting}"));
    }
    command.args(options.is_offline.then_some("--offline"));
    command.args(options.is_locked.then_some("--locked"));
    // Settings of registries are found from here up.
    command.current_dir(&package.directory);

    let output = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .and_then(std::process::Child::wait_with_output)
        .map_err(|source| BuildError::Cargo { source })?;
    if !output.status.success() {
        return Err(BuildError::Compile {
            name: package.name.clone(),
            status: output.status,
        });
    }
    module_path(&output.stdout, &package.manifest).ok_or_else(|| BuildError::NoModule {
        name: package.name.clone(),
    })
}

fn workspace_dir(toolchain: &Toolchain, package: &Package) -> Result<PathBuf, BuildError> {
    let output = toolchain
        .cargo(&[])
        .args([
            "locate-project",
            "--workspace",
            "--message-format",
            "plain",
            "--manifest-path",
        ])
        .arg(&package.manifest)
        .current_dir(&package.directory)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| BuildError::Cargo { source })?;
    let text = String::from_utf8_lossy(&output.stdout);
    match Path::new(text.trim()).parent() {
        Some(directory) if output.status.success() => Ok(directory.to_owned()),
        _ => Err(BuildError::Compile {
            name: package.name.clone(),
            status: output.status,
        }),
    }
}

/// Flags that cut this machine's directories off the paths in panic messages. Where two apply, the later one does.
fn remapped(toolchain: &Toolchain, workspace: &Path, target_dir: &Path) -> Vec<OsString> {
    let home = env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"));
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from).or(home);
    let std_source = toolchain.sysroot().join("lib/rustlib/src/rust");
    let linked_source = fs::canonicalize(&std_source).ok();
    [
        Some((workspace, "/workspace")),
        cargo_home.as_deref().map(|home| (home, "/cargo")),
        Some((std_source.as_path(), "/rust")),
        linked_source.as_deref().map(|source| (source, "/rust")),
        Some((target_dir, "/target")),
    ]
    .into_iter()
    .flatten()
    .map(|(from, to)| {
        let mut flag = OsString::from("--remap-path-prefix=");
        flag.push(from);
        flag.push("=");
        flag.push(to);
        flag
    })
    .collect()
}

/// What cargo says of an artefact that it made.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

fn module_path(messages: &[u8], manifest: &Path) -> Option<PathBuf> {
    messages
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Message>(line).ok())
        .filter(|message| message.reason == "compiler-artifact" && message.manifest_path == manifest)
        .flat_map(|message| message.filenames)
        .find(|path| path.extension() == Some(OsStr::new("wasm")))
}

/// The module without its custom sections (names, the versions of tools), save those that describe the component's type and its
/// states.
fn without_notes(core: &[u8]) -> Result<Vec<u8>, String> {
    let mut kept = Vec::with_capacity(core.len());
    for payload in Parser::new(0).parse_all(core) {
        let payload = payload.map_err(|error| error.to_string())?;
        let contents = |range: Range<u64>| &core[range.start as usize..range.end as usize];
        match &payload {
            Payload::Version { range, .. } => kept.extend_from_slice(contents(range.clone())),
            Payload::CustomSection(section)
                if !section.name().starts_with("component-type") && section.name() != STATE_SECTION => {}
            _ => {
                if let Some((id, range)) = payload.as_section() {
                    let contents = contents(range);
                    push_section(&mut kept, id, contents);
                }
            }
        }
    }
    Ok(kept)
}

fn make_component(package: &Package, core: &[u8]) -> Result<Vec<u8>, BuildError> {
    let has_type = Parser::new(0).parse_all(core).flatten().any(
        |payload| matches!(payload, Payload::CustomSection(section) if section.name().starts_with("component-type")),
    );
    if !has_type {
        return Err(BuildError::NoBindings {
            name: package.name.clone(),
        });
    }
    let refused = |error| package.refused(format!("{error:#}"));
    ComponentEncoder::default()
        .validate(true)
        .module(core)
        .map_err(refused)?
        .encode()
        .map_err(refused)
}

/// With the golden vectors in the crate's folder, if there are any.
fn with_vectors(package: &Package, component: Vec<u8>) -> Result<Vec<u8>, BuildError> {
    let path = package.directory.join(VECTORS_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => embed_vectors(&component, &text).map_err(|source| BuildError::Vectors {
            name: package.name.clone(),
            source,
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(component),
        Err(source) => Err(BuildError::Read { path, source }),
    }
}

/// Why a transform is not built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// No compiler here makes WebAssembly.
    #[error("no toolchain for WebAssembly")]
    Toolchain(#[from] ToolchainError),
    /// There is no package.
    #[error("{} is not the manifest of a crate: give the folder of a transform's crate", path.display())]
    NoCrate {
        /// The manifest.
        path: PathBuf,
    },
    /// The package's manifest is not TOML.
    #[error("cannot parse {}: {reason}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or the directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Cargo cannot be started.
    #[error("cannot run cargo")]
    Cargo {
        /// Why.
        source: io::Error,
    },
    /// The crate does not compile.
    #[error("cargo could not build {name} for WebAssembly ({status}): its messages are above")]
    Compile {
        /// The crate.
        name: String,
        /// How cargo ended.
        status: ExitStatus,
    },
    /// Cargo made no module.
    #[error("cargo made no WebAssembly of {name}: has the crate a library, src/lib.rs?")]
    NoModule {
        /// The crate.
        name: String,
    },
    /// The crate exports nothing of the contract.
    #[error(
        "{name} compiles, but exports no transform: use the SDK's attributes, or `wit_bindgen::generate!` and `export!`, where \
         the target is WebAssembly"
    )]
    NoBindings {
        /// The crate.
        name: String,
    },
    /// The module does not make a component.
    #[error("cannot make a component of {name}: {reason}")]
    Component {
        /// The crate.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// Its golden vectors cannot be read.
    #[error("`{name}` has golden vectors that cannot be read")]
    Vectors {
        /// The crate.
        name: String,
        /// Why.
        source: VectorError,
    },
    /// The component does not keep to the contract.
    #[error("{name} does not keep to the contract")]
    Check {
        /// The crate.
        name: String,
        /// What is wrong.
        source: CheckError,
    },
}

#[cfg(test)]
mod tests;
