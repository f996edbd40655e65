//! What this process has of the system.

use std::error::Error;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::Stamped;

pub struct Memory {
    resident_bytes: u64,
    mappings: usize,
    files: usize,
    snapshots: usize,
}

impl Memory {
    pub fn now(stamped: &Stamped) -> Result<Self, Box<dyn Error>> {
        let maps = fs::read_to_string("/proc/self/maps")?;
        let root = stamped.store.root().display().to_string();
        Ok(Self {
            resident_bytes: status_bytes("VmRSS:")?,
            mappings: maps.lines().count(),
            files: fs::read_dir("/proc/self/fd")?.count(),
            snapshots: maps.lines().filter(|line| line.contains(&root)).count(),
        })
    }

    /// When what was let go is freed, or after a while.
    pub fn settled(stamped: &Stamped, before: &Self) -> Result<Self, Box<dyn Error>> {
        let start = Instant::now();
        loop {
            let now = Self::now(stamped)?;
            let is_as_before = now.snapshots == before.snapshots
                && now.resident_bytes < before.resident_bytes + stamped.generation_bytes / 4;
            if is_as_before || start.elapsed() > Duration::from_secs(10) {
                return Ok(now);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl std::fmt::Display for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.0} MiB resident, {} mappings ({} of snapshots), {} files",
            self.resident_bytes as f64 / f64::from(1 << 20),
            self.mappings,
            self.snapshots,
            self.files
        )
    }
}

/// Has [`peak_bytes`] begin anew, where the system lets it.
pub fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// The most that was resident.
pub fn peak_bytes() -> Result<u64, Box<dyn Error>> {
    status_bytes("VmHWM:")
}

fn status_bytes(name: &str) -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB"));
    let kib: u64 = value.ok_or("the system does not tell")?.parse()?;
    Ok(kib << 10)
}
