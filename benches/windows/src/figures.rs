//! What runs took, each in a process of its own.

use std::error::Error;
use std::fs;
use std::process::Command;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::json;

/// What one run took.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Run {
    /// The version of the tool.
    pub version: String,
    /// Seconds by the clock.
    pub wall_s: f64,
    /// Seconds of all processors.
    pub cpu_s: f64,
    /// The most memory that the process had, in MiB.
    pub peak_mib: f64,
}

impl Run {
    /// Does the work and prints what it took, for [`run`] to read.
    ///
    /// # Errors
    /// The work failed, or the system does not tell.
    pub fn print(version: &str, work: impl FnOnce() -> Result<(), Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
        let (cpu, start) = (cpu_s()?, Instant::now());
        work()?;
        let run = Self {
            version: version.to_owned(),
            wall_s: start.elapsed().as_secs_f64(),
            cpu_s: cpu_s()? - cpu,
            peak_mib: peak_mib()?,
        };
        println!("{}", serde_json::to_string(&run)?);
        Ok(())
    }
}

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

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The processor time of this process so far.
fn cpu_s() -> Result<f64, Box<dyn Error>> {
    const TICKS_PER_S: f64 = 100.0;
    let stat = fs::read_to_string("/proc/self/stat")?;
    // Behind the name, which may have spaces: fields 14 and 15 of proc(5) are utime and stime.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks =
        |field: usize| -> Result<f64, Box<dyn Error>> { Ok(fields.get(field - 3).ok_or("a short stat")?.parse()?) };
    Ok((ticks(14)? + ticks(15)?) / TICKS_PER_S)
}

/// The most memory that this process has had.
fn peak_mib() -> Result<f64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .ok_or("no VmHWM")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}

/// The processor.
pub fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let names = cpus
        .lines()
        .filter_map(|line| line.strip_prefix("model name")?.split(':').nth(1));
    let names: Vec<&str> = names.map(str::trim).collect();
    format!("{} x {}", names.len(), names.first().unwrap_or(&"an unknown processor"))
}
