use std::path::PathBuf;

use clap::Args;
use serde_json::{Value as Json, json};
use unskew::{Cpu, Store};
use unskew_registry::{Compiled, prepare};

use crate::answer::{Answer, Facts, grouped};
use crate::failure::Failure;
use crate::modules::current_manifest;
use crate::watch::Watch;

/// Compile a store's current modules for this machine.
///
/// A host loads native code from its own private cache, `compiled` in its store, and never from anyone else. This fills the
/// cache for the current generation, and again after an update of unskew. Modules that are compiled already are kept.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  unskew prepare --store /var/lib/bidder/store")]
pub struct Prepare {
    /// The store.
    #[arg(long, value_name = "DIR")]
    store: PathBuf,

    /// Compile for processors of this level: baseline, v2 or v3 [default: the best of this machine's].
    ///
    /// Results are the same at every level. A host takes the best code that its processor runs: give the level of the
    /// weakest machine that shares this store.
    #[arg(long, value_name = "LEVEL", hide_default_value = true)]
    cpu: Option<Cpu>,
}

impl Prepare {
    pub fn run(self) -> Result<Answer, Failure> {
        let store = Store::new(self.store);
        let manifest = current_manifest(&store)?;
        let cpu = self.cpu.unwrap_or_else(Cpu::best);
        let watch = Watch::new();
        let modules = prepare(&store, &store.compiled_dir(), &manifest, cpu, |compiled, done, all| {
            let did = if compiled.is_cached { "kept" } else { "compiled" };
            watch.say(&format!("{did} module {done} of {all}"));
        })?;
        drop(watch);

        let mut facts = Facts::default()
            .with("generation", manifest.generation)
            .with("cache", store.compiled_dir().display())
            .with("processor", cpu);
        for (name, entry) in &manifest.modules {
            if let Some(compiled) = modules.iter().find(|compiled| compiled.digest == entry.digest) {
                facts = facts.with(
                    format!("module {name}"),
                    format!("{} bytes, {}", grouped(compiled.bytes as u64), state(compiled)),
                );
            }
        }
        let compiled = |compiled: &Compiled| -> Json {
            json!({ "digest": compiled.digest, "bytes": compiled.bytes, "was_there": compiled.is_cached })
        };
        let json = json!({
            "generation": manifest.generation,
            "cache": store.compiled_dir().display().to_string(),
            "processor": cpu.to_string(),
            "modules": modules.iter().map(compiled).collect::<Json>(),
        });
        Ok(Answer {
            text: facts.text(),
            json,
            is_partial: false,
        })
    }
}

fn state(compiled: &Compiled) -> &'static str {
    match compiled.is_cached {
        true => "was there",
        false => "compiled",
    }
}
