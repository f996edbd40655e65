use std::path::PathBuf;

use clap::Args;
use serde_json::{Value as Json, json};
use unskew::Store;
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
}

impl Prepare {
    pub fn run(self) -> Result<Answer, Failure> {
        let store = Store::new(self.store);
        let manifest = current_manifest(&store)?;
        let watch = Watch::new();
        let modules = prepare(&store, &store.compiled_dir(), &manifest, |compiled, done, all| {
            let did = if compiled.is_cached { "kept" } else { "compiled" };
            watch.say(&format!("{did} module {done} of {all}"));
        })?;
        drop(watch);

        let mut facts = Facts::default()
            .with("generation", manifest.generation)
            .with("cache", store.compiled_dir().display());
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
            "modules": modules.iter().map(compiled).collect::<Json>(),
        });
        Ok(Answer {
            text: facts.text(),
            json,
        })
    }
}

fn state(compiled: &Compiled) -> &'static str {
    match compiled.is_cached {
        true => "was there",
        false => "compiled",
    }
}
