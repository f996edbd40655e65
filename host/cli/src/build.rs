use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use unskew::Digest;
use unskew_registry::{BuildError, BuildOptions, COMPONENT_BUDGET_BYTES, Toolchain, build_component};

use crate::answer::{Answer, Facts, grouped};
use crate::failure::{Context, Failure};
use crate::modules::{golden_vectors, load_alone};
use crate::output;

/// Build a transform's crate into a component.
///
/// Compiles the crate with the first Rust compiler on the PATH that can make WebAssembly, makes the component, checks it
/// against the contract and its golden vectors (golden.toml in the folder of the crate), and writes it as <NAME>.wasm. The same source, dependencies and compiler give the same bytes, and so
/// the same digest, in every directory and on every machine.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  unskew build transforms/ctr-history --out modules")]
pub struct Build {
    /// The folder of the crate.
    #[arg(value_name = "CRATE-DIR")]
    crate_dir: PathBuf,
    /// The folder to write the component to; made if it is not there.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Where cargo keeps what it compiles [default: `target` beside the workspace's manifest].
    #[arg(long, value_name = "DIR")]
    target_dir: Option<PathBuf>,
    /// Do without the network.
    #[arg(long)]
    offline: bool,
    /// Refuse to change Cargo.lock.
    #[arg(long)]
    locked: bool,
}

impl Build {
    pub fn run(self) -> Result<Answer, Failure> {
        let toolchain = Toolchain::find()?;
        if toolchain.builds_std() {
            // Nobody may be listening.
            let _ = writeln!(
                io::stderr(),
                "this compiler has no standard library for WebAssembly: it is built from source, once, in a minute or more"
            );
        }
        let options = BuildOptions {
            toolchain: Some(toolchain.clone()),
            target_dir: self.target_dir,
            is_offline: self.offline,
            is_locked: self.locked,
        };
        let built = build_component(&self.crate_dir, &options).map_err(|error| match error {
            BuildError::NoCrate { .. } | BuildError::Read { .. } => {
                Failure::from(error).help("give the folder of a crate, as in `unskew build transforms/ctr-history`")
            }
            BuildError::Compile { .. } if self.offline || self.locked => {
                Failure::from(error).help("if dependencies are missing, build once without --offline and --locked")
            }
            error => error.into(),
        })?;
        let (_, vectors) = load_alone(&built.component)
            .context(|| format!("{} compiles and keeps to the contract, but does not work", built.name))?;
        let path = self.out.join(format!("{}.wasm", built.name));
        fs::create_dir_all(&self.out)
            .and_then(|()| output::replace(&path, &built.component))
            .context(|| format!("cannot write {}", path.display()))?;

        let bytes = built.component.len() as u64;
        let budget = COMPONENT_BUDGET_BYTES as u64;
        let digest = Digest::of(&built.component);
        let size = match bytes <= budget {
            true => format!("{} bytes of a budget of {}", grouped(bytes), grouped(budget)),
            false => format!(
                "{} bytes, {} over the budget of {}: move tables into views, and leave out dependencies that format text",
                grouped(bytes),
                grouped(bytes - budget),
                grouped(budget)
            ),
        };
        let text = Facts::default()
            .with("name", &built.name)
            .with("world", built.world)
            .with("toolchain", &toolchain)
            .with("size", size)
            .with("golden", golden_vectors(vectors))
            .with("digest", digest)
            .with("file", path.display())
            .text();
        let json = json!({
            "name": built.name,
            "world": built.world.name(),
            "toolchain": toolchain.to_string(),
            "bytes": bytes,
            "budget_bytes": budget,
            "golden_vectors": vectors,
            "digest": digest,
            "path": path.display().to_string(),
        });
        Ok(Answer::new(text, json))
    }
}
