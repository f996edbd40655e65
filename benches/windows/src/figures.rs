//! A table of what runs took, each in a process of its own.

use std::error::Error;
use std::process::Command;

use serde_json::json;
use unskew_backfill_benches::run::{Run, median};

/// Runs a tool that prints a [`Run`].
///
/// # Errors
/// It failed, with its words.
pub fn run(tool: &str, mut command: Command) -> Result<Run, Box<dyn Error>> {
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("{tool} failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// A table of tools.
#[derive(Clone, Debug)]
pub struct Figures {
    /// The name of the bench.
    pub bench: &'static str,
    /// What was done, with how much of what.
    pub about: String,
    /// The rows of the spine.
    pub rows: u64,
    /// The threads of each tool.
    pub threads: usize,
    /// Whether figures are JSON, one object a line.
    pub json: bool,
}

impl Figures {
    /// Prints the line of a tool whose output has `bytes`, beside the floor's runs of the same rounds; above the first the
    /// heading.
    pub fn print(&self, is_first: bool, tool: &str, runs: &[Run], floor: &[Run], bytes: u64) {
        let of = |figure: fn(&Run) -> f64| median(runs.iter().map(figure));
        let (wall_s, cpu_s, peak_mib) = (of(|run| run.wall_s), of(|run| run.cpu_s), of(|run| run.peak_mib));
        // Of each round, as what slows one down slows its neighbours down.
        let ratio = median(runs.iter().zip(floor).map(|(run, floor)| run.wall_s / floor.wall_s));
        let version = runs.first().map_or("", |run| &run.version);
        if self.json {
            let object = json!({
                "bench": self.bench, "case": tool, "version": version, "rows": self.rows, "bytes": bytes,
                "threads": self.threads, "value": wall_s, "unit": "s", "ratio": ratio, "relative_to": "floor",
                "cpu_s": cpu_s, "peak_mib": peak_mib, "about": self.about,
            });
            return println!("{object}");
        }
        if is_first {
            println!("{}\n", self.about);
            println!(
                "{:<18} {:>8} {:>8} {:>8} {:>9} {:>12}",
                "", "wall s", "x floor", "cpu s", "peak MiB", "bytes"
            );
        }
        let name = format!("{tool} {version}");
        println!("{name:<18} {wall_s:>8.2} {ratio:>8.2} {cpu_s:>8.2} {peak_mib:>9.0} {bytes:>12}");
    }
}
