//! What the compiler may use of a processor.
#![expect(
    unsafe_code,
    reason = "the compiler has no checked way to name features; request-context is 1.02 times as fast with them"
)]

use unskew::Cpu;
use wasmtime::Config;

const V2: [&str; 5] = ["has_sse3", "has_ssse3", "has_sse41", "has_sse42", "has_popcnt"];
/// Without FMA: the compiler never fuses a multiplication and an addition, and this keeps it so.
const V3: [&str; 5] = ["has_avx", "has_avx2", "has_bmi1", "has_bmi2", "has_lzcnt"];

/// Lets the compiler use the features of `cpu`.
pub(crate) fn enable(config: &mut Config, cpu: Cpu) {
    let features: &[&[&str]] = match cpu {
        Cpu::Baseline => &[],
        Cpu::V2 => &[&V2],
        Cpu::V3 => &[&V2, &V3],
    };
    for feature in features.iter().copied().flatten() {
        // SAFETY: these are names of features, which change how code is compiled and not what it does. A machine without
        // them does not run it: the artefact says which level it is for, and the engine checks its features once more.
        unsafe { config.cranelift_flag_enable(feature) };
    }
}
