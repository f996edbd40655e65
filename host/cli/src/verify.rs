use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use unskew_batch::{BackfillManifest, manifest_path};

use crate::answer::{Answer, Facts, counted, grouped};
use crate::failure::Failure;
use crate::project::storage;

/// Check a training set and everything that it was made of against its manifest.
///
/// Reads the training set and every input again and compares sizes and digests. It fails where anything is not what it was.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  unskew verify train.parquet")]
pub struct Verify {
    /// The training set; its manifest is beside it.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Verify {
    pub fn run(self) -> Result<Answer, Failure> {
        let storage = storage();
        let manifest = BackfillManifest::read_from(&storage, &manifest_path(&self.file))?;
        let stale = manifest.verify(&storage, &self.file);
        if !stale.is_empty() {
            let lines: Vec<String> = stale
                .iter()
                .map(|stale| format!("{} {}", stale.path.display(), stale.reason))
                .collect();
            let message = format!(
                "{} not what the manifest says: {}",
                counted(stale.len() as u64, "file"),
                lines.join("; ")
            );
            return Err(Failure::new(message).help("backfill again, or put back what it was made of"));
        }
        let text = Facts::default()
            .with("file", self.file.display())
            .with("service", &manifest.service)
            .with("rows", grouped(manifest.rows))
            .with(
                "inputs",
                format!("{}, all as they were", counted(manifest.inputs.len() as u64, "file")),
            )
            .with("digest", manifest.output)
            .text();
        let json = json!({
            "path": self.file.display().to_string(),
            "service": manifest.service,
            "rows": manifest.rows,
            "inputs": manifest.inputs.len(),
            "digest": manifest.output,
        });
        Ok(Answer::new(text, json))
    }
}
