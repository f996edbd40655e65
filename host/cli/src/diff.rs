use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use unskew_batch::{BackfillManifest, manifest_path};

use crate::answer::{Answer, titled_table};
use crate::failure::Failure;
use crate::project::storage;

/// Say what moved between two training sets: question, code, data or result.
///
/// Compares the manifests; the files themselves are not read. A result that differs although nothing else does is a defect.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  unskew diff monday.parquet tuesday.parquet")]
pub struct Diff {
    /// A training set; its manifest is beside it.
    #[arg(value_name = "BEFORE")]
    before: PathBuf,
    /// Another.
    #[arg(value_name = "AFTER")]
    after: PathBuf,
}

impl Diff {
    pub fn run(self) -> Result<Answer, Failure> {
        let storage = storage();
        let before = BackfillManifest::read_from(&storage, &manifest_path(&self.before))?;
        let after = BackfillManifest::read_from(&storage, &manifest_path(&self.after))?;
        let differences = before.diff(&after);
        let row = |difference: &unskew_batch::Difference| {
            let cells = [&difference.what, &difference.before, &difference.after];
            let mut row = vec![difference.kind.to_string()];
            row.extend(cells.into_iter().cloned());
            row
        };
        let text = match differences.is_empty() {
            true => "nothing moved\n".to_owned(),
            false => titled_table(
                "what moved",
                &["", "", "before", "after"],
                differences.iter().map(row).collect(),
            ),
        };
        let json = differences.iter().map(|difference| {
            json!({
                "kind": difference.kind.to_string(),
                "what": difference.what,
                "before": difference.before,
                "after": difference.after,
            })
        });
        let json = json!({ "differences": json.collect::<Vec<_>>() });
        Ok(Answer::new(text, json))
    }
}
