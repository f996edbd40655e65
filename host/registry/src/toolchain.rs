use std::collections::BTreeSet;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The target that transforms are compiled for: it has no system, so a component has nothing to import.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// The oldest compiler that is used: the first that knows the edition of the SDK.
const MIN_RUSTC: Version = Version(1, 85);

/// The crates of the standard library that are built where none is installed for [`TARGET`].
const STD_CRATES: &str = "std,panic_abort";

/// A Rust compiler that can make WebAssembly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    rustc: PathBuf,
    cargo: PathBuf,
    sysroot: PathBuf,
    version: String,
    std: Std,
    linker: PathBuf,
}

/// Where the standard library for [`TARGET`] comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Std {
    /// It is installed.
    Installed,
    /// Its source is; cargo builds it with the transform. Cargo fetches the few crates that the source uses from its
    /// registry, once, because it does not look at the copies beside the source.
    Source,
}

impl Toolchain {
    /// The first compiler on the `PATH` with a standard library for WebAssembly, else the first that can build one from
    /// source.
    ///
    /// # Errors
    /// There is none; the error says what to install.
    pub fn find() -> Result<Self, ToolchainError> {
        Self::find_in(&env::var_os("PATH").unwrap_or_default())
    }

    /// As [`find`](Self::find), with this `PATH`.
    ///
    /// # Errors
    /// There is none; the error says what to install.
    pub fn find_in(path: &OsStr) -> Result<Self, ToolchainError> {
        let mut seen = BTreeSet::new();
        let compilers: Vec<Compiler> = env::split_paths(path)
            .filter(|directory| directory.is_absolute())
            .filter_map(|directory| Compiler::ask(&directory.join("rustc")))
            .filter(|compiler| seen.insert(compiler.sysroot.clone()))
            .collect();
        let linkers = Linkers::find(&compilers, path);
        let usable = || compilers.iter().filter(|compiler| MIN_RUSTC <= compiler.release);

        let installed = usable()
            .filter(|c| c.has_std())
            .find_map(|c| c.toolchain(Std::Installed, &linkers));
        let source = || {
            usable()
                .filter(|c| c.has_std_source())
                .find_map(|c| c.toolchain(Std::Source, &linkers))
        };
        installed.or_else(source).ok_or_else(|| ToolchainError {
            found: compilers.iter().map(|compiler| compiler.lack(&linkers)).collect(),
        })
    }

    /// Whether the standard library is built together with the first transform, which takes a minute or more.
    pub fn builds_std(&self) -> bool {
        self.std == Std::Source
    }

    /// The compiler's version, as it says it.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The compiler's own directory.
    pub(crate) fn sysroot(&self) -> &Path {
        &self.sysroot
    }

    /// A cargo command of this toolchain, unmoved by the settings of a cargo that this program may have been started by.
    pub(crate) fn cargo(&self, rustflags: &[OsString]) -> Command {
        let mut command = Command::new(&self.cargo);
        for (name, _) in env::vars_os() {
            if is_inherited_setting(&name) {
                command.env_remove(name);
            }
        }
        command.env("RUSTC", &self.rustc);
        command.env("CARGO_ENCODED_RUSTFLAGS", rustflags.join(OsStr::new("\x1f")));
        command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", &self.linker);
        if self.std == Std::Source {
            // The option that builds the standard library is not stable, and the compiler is.
            command.env("RUSTC_BOOTSTRAP", "1");
        }
        command
    }

    /// The arguments that choose the target and its standard library.
    pub(crate) fn target_arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--target".to_owned(), TARGET.to_owned()];
        if self.std == Std::Source {
            arguments.push(format!("-Zbuild-std={STD_CRATES}"));
            // Without backtraces and unwinding: a transform that panics is a trap, whose frames the host has.
            arguments.push("-Zbuild-std-features=".to_owned());
        }
        arguments
    }

    /// The folder of this toolchain's outputs within a target folder.
    pub(crate) fn folder(&self) -> &'static str {
        match self.std {
            Std::Installed => "guest",
            Std::Source => "guest-std",
        }
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let std = match self.std {
            Std::Installed => "",
            Std::Source => ", building the standard library from source",
        };
        write!(f, "{} in {}{std}", self.version, self.sysroot.display())
    }
}

/// Settings of an outer cargo or of a developer's shell. Where to find registries and how to reach them stays.
fn is_inherited_setting(name: &OsStr) -> bool {
    const KEPT: [&str; 7] = [
        "CARGO_HOME",
        "CARGO_BUILD_JOBS",
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
        "CARGO_TERM_",
    ];
    const DROPPED: [&str; 8] = [
        "CARGO",
        "RUSTC",
        "RUSTDOC",
        "RUSTFLAGS",
        "RUSTUP_TOOLCHAIN",
        "__CARGO",
        "MAKEFLAGS",
        "MFLAGS",
    ];
    let name = name.to_string_lossy();
    DROPPED.iter().any(|prefix| name.starts_with(prefix)) && !KEPT.iter().any(|prefix| name.starts_with(prefix))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32);

/// What a `rustc` says of itself.
#[derive(Debug)]
struct Compiler {
    sysroot: PathBuf,
    /// Its first line of `--version --verbose`.
    version: String,
    release: Version,
    host: String,
    /// Beside the `rustc` that was asked.
    cargo_beside: PathBuf,
}

impl Compiler {
    fn ask(rustc: &Path) -> Option<Self> {
        if !rustc.is_file() {
            return None;
        }
        let verbose = run(rustc, &["--version", "--verbose"])?;
        let field = |name: &str| {
            verbose
                .lines()
                .find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
        };
        let release = field("release:")?;
        let mut parts = release.split('.').map(str::parse);
        let (Some(Ok(major)), Some(Ok(minor))) = (parts.next(), parts.next()) else {
            return None;
        };
        Some(Self {
            sysroot: PathBuf::from(run(rustc, &["--print", "sysroot"])?.trim()),
            version: verbose.lines().next()?.to_owned(),
            release: Version(major, minor),
            host: field("host:")?,
            cargo_beside: rustc.with_file_name("cargo"),
        })
    }

    fn rustlib(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib")
    }

    fn own_linker(&self) -> PathBuf {
        self.rustlib().join(&self.host).join("bin/rust-lld")
    }

    fn has_std(&self) -> bool {
        let Ok(entries) = fs::read_dir(self.rustlib().join(TARGET).join("lib")) else {
            return false;
        };
        let names: Vec<OsString> = entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
        ["libcore-", "libstd-"].iter().all(|library| {
            names.iter().any(|name| {
                let name = name.to_string_lossy();
                name.starts_with(library) && name.ends_with(".rlib")
            })
        })
    }

    fn has_std_source(&self) -> bool {
        self.rustlib().join("src/rust/library/std/Cargo.toml").is_file()
    }

    /// The cargo of the same installation. The one in the sysroot comes first: the one beside may be a proxy that would start
    /// another version.
    fn cargo(&self) -> Option<PathBuf> {
        let own = self.sysroot.join("bin/cargo");
        [own, self.cargo_beside.clone()]
            .into_iter()
            .find(|cargo| cargo.is_file())
    }

    fn toolchain(&self, std: Std, linkers: &Linkers) -> Option<Toolchain> {
        Some(Toolchain {
            rustc: Some(self.sysroot.join("bin/rustc")).filter(|rustc| rustc.is_file())?,
            cargo: self.cargo()?,
            sysroot: self.sysroot.clone(),
            version: self.version.clone(),
            std,
            linker: linkers.for_compiler(self)?,
        })
    }

    /// What keeps this compiler from being used.
    fn lack(&self, linkers: &Linkers) -> String {
        let mut lacks = Vec::new();
        if self.release < MIN_RUSTC {
            lacks.push(format!("is older than {}.{}", MIN_RUSTC.0, MIN_RUSTC.1));
        }
        if !self.has_std() && !self.has_std_source() {
            lacks.push(format!("has neither a standard library for {TARGET} nor its source"));
        }
        if self.cargo().is_none() {
            lacks.push("has no cargo".to_owned());
        }
        if linkers.for_compiler(self).is_none() {
            lacks.push("has no linker for WebAssembly".to_owned());
        }
        format!("{} in {} {}", self.version, self.sysroot.display(), lacks.join(" and "))
    }
}

/// The linkers for WebAssembly on this machine. Any version serves any compiler.
struct Linkers {
    any: Option<PathBuf>,
}

impl Linkers {
    fn find(compilers: &[Compiler], path: &OsStr) -> Self {
        let of_compilers = compilers.iter().map(Compiler::own_linker);
        let on_path = env::split_paths(path)
            .filter(|directory| directory.is_absolute())
            .flat_map(|directory| {
                let mut named: Vec<(u32, PathBuf)> = fs::read_dir(&directory)
                    .into_iter()
                    .flatten()
                    .filter_map(|entry| {
                        let name = entry.ok()?.file_name();
                        Some((linker_rank(&name.to_string_lossy())?, directory.join(name)))
                    })
                    .collect();
                named.sort_by(|left, right| right.cmp(left));
                named.into_iter().map(|(_, linker)| linker)
            });
        Self {
            // A dangling symbolic link is no file.
            any: of_compilers.chain(on_path).find(|linker| linker.is_file()),
        }
    }

    fn for_compiler(&self, compiler: &Compiler) -> Option<PathBuf> {
        let own = compiler.own_linker();
        if own.is_file() { Some(own) } else { self.any.clone() }
    }
}

/// How good the file's name says it is: the compiler's own, then the later versions; none for what is no linker.
fn linker_rank(name: &str) -> Option<u32> {
    match name.strip_prefix("wasm-ld") {
        None => (name == "rust-lld").then_some(u32::MAX),
        Some("") => Some(0),
        Some(version) => version.strip_prefix('-')?.parse().ok(),
    }
}

/// The standard output of a compiler, asked outside every setting of an outer cargo.
fn run(program: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments);
    for (name, _) in env::vars_os() {
        if is_inherited_setting(&name) {
            command.env_remove(name);
        }
    }
    let output = command.output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then_some(text)
}

/// There is no compiler for WebAssembly on this machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no Rust compiler on the PATH can make WebAssembly{}\ninstall one of\n  rustup target add {TARGET}\n  apt-get install rustc-web \
     rust-web-src cargo-web lld    # Debian: builds the standard library from source", found.iter().map(|lack| format!("\n  {lack}")).collect::<String>()
)]
pub struct ToolchainError {
    found: Vec<String>,
}

#[cfg(test)]
mod tests;
