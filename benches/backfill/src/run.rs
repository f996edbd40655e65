use std::error::Error;
use std::fs;
use std::time::Instant;

use serde::{Deserialize, Serialize};

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
    /// Does the work and prints what it took, as one line of JSON.
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

/// The figure in the middle.
pub fn median(figures: impl Iterator<Item = f64>) -> f64 {
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
