use std::fmt;
use std::str::FromStr;

/// What native code may ask of a processor: a level of the architecture. Results are the same at every level; code for a
/// higher one is faster, and runs only where the processor has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cpu {
    /// What every processor of the architecture has.
    Baseline,
    /// x86-64-v2: SSE4.2, POPCNT. Processors since about 2009.
    V2,
    /// x86-64-v3: AVX2, BMI2, LZCNT. Processors since about 2015.
    V3,
}

impl Cpu {
    /// Every level, the least first.
    pub const ALL: [Self; 3] = [Self::Baseline, Self::V2, Self::V3];

    /// The best level that this machine has.
    pub fn best() -> Self {
        Self::ALL
            .into_iter()
            .rev()
            .find(|cpu| cpu.is_supported())
            .unwrap_or(Self::Baseline)
    }

    /// Whether this machine has it.
    pub fn is_supported(self) -> bool {
        match self {
            Self::Baseline => true,
            Self::V2 => has_v2(),
            Self::V3 => has_v2() && has_v3(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn has_v2() -> bool {
    is_x86_feature_detected!("sse3")
        && is_x86_feature_detected!("ssse3")
        && is_x86_feature_detected!("sse4.1")
        && is_x86_feature_detected!("sse4.2")
        && is_x86_feature_detected!("popcnt")
}

#[cfg(target_arch = "x86_64")]
fn has_v3() -> bool {
    is_x86_feature_detected!("avx")
        && is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_v2() -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
fn has_v3() -> bool {
    false
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Baseline => "baseline",
            Self::V2 => "v2",
            Self::V3 => "v3",
        })
    }
}

impl FromStr for Cpu {
    type Err = ParseCpuError;

    fn from_str(text: &str) -> Result<Self, ParseCpuError> {
        Self::ALL
            .into_iter()
            .find(|cpu| cpu.to_string() == text)
            .ok_or_else(|| ParseCpuError(text.to_owned()))
    }
}

/// A text that names no level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no level of a processor: use baseline, v2 or v3")]
pub struct ParseCpuError(String);

#[cfg(test)]
mod tests;
