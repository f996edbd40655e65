use std::fs;
use std::io;

use memmap2::MmapMut;

/// The size of the pages that memory is in. A miss in small ones costs a walk of the page tables on top.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Pages {
    /// The least that the machine has: 4 KiB on most.
    Small,
    /// 2 MiB on most.
    Huge,
}

impl Pages {
    /// The pages of memory of `bytes` bytes that was taken since [`huge_bytes`] gave `huge_before`, as they turned out.
    pub fn found(huge_before: u64, bytes: u64) -> Self {
        let huge = huge_bytes().saturating_sub(huge_before);
        if huge > bytes / 2 { Self::Huge } else { Self::Small }
    }

    /// Their name in tables and figures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Huge => "huge",
        }
    }
}

/// Memory of its own in pages of one kind, zeroed.
pub struct Memory {
    map: MmapMut,
    bytes: usize,
}

impl Memory {
    /// # Errors
    /// There is not that much.
    pub fn new(bytes: usize, pages: Pages) -> io::Result<Self> {
        let map = MmapMut::map_anon(bytes.max(8).next_multiple_of(8))?;
        #[cfg(target_os = "linux")]
        map.advise(match pages {
            Pages::Small => memmap2::Advice::NoHugePage,
            Pages::Huge => memmap2::Advice::HugePage,
        })?;
        #[cfg(not(target_os = "linux"))]
        let _ = pages;
        Ok(Self { map, bytes })
    }

    /// All of it.
    #[inline(always)]
    pub fn bytes(&self) -> &[u8] {
        &self.map[..self.bytes]
    }

    /// All of it.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.map[..self.bytes]
    }

    /// All of it, and what rounding up to whole words added.
    #[inline(always)]
    pub fn words(&self) -> &[u64] {
        bytemuck::cast_slice(&self.map)
    }

    /// All of it, and what rounding up to whole words added.
    pub fn words_mut(&mut self) -> &mut [u64] {
        bytemuck::cast_slice_mut(&mut self.map)
    }
}

/// The memory of this process that is in huge pages; 0 where the system does not tell.
pub fn huge_bytes() -> u64 {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let kib = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        ["AnonHugePages", "ShmemPmdMapped", "FilePmdMapped"]
            .contains(&name)
            .then(|| rest.split_whitespace().next()?.parse::<u64>().ok())?
    };
    1_024 * rollup.lines().filter_map(kib).sum::<u64>()
}

/// The name of the processor, and how many there are.
pub fn processor() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model.trim());
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{model}, {count} processors, {}", std::env::consts::ARCH)
}
