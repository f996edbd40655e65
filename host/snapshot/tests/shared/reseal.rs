//! Checksums for bytes that no writer wrote: docs/snapshot-format.md. Written apart from the code that checks them.

use xxhash_rust::xxh3::xxh3_64;

pub const HEADER_BYTES: usize = 256;
const BLOCK_BYTES: usize = 65_536;
/// Where the section table says that the checksums begin.
const CHECKSUMS_FIELD: usize = 64 + 5 * 24 + 8;
const CHECKSUMS_DIGEST: usize = HEADER_BYTES - 16;
const HEADER_DIGEST: usize = HEADER_BYTES - 8;

/// Makes the checksums of a changed file hold again, as far as its header says where they are.
pub fn reseal(file: &mut [u8]) {
    if file.len() < HEADER_BYTES {
        return;
    }
    let field = file[CHECKSUMS_FIELD..].first_chunk().copied().unwrap_or_default();
    let checksums = usize::try_from(u64::from_le_bytes(field)).unwrap_or(usize::MAX);
    if (HEADER_BYTES..=file.len()).contains(&checksums) {
        for (index, start) in (0..checksums).step_by(BLOCK_BYTES).enumerate() {
            let end = (start + BLOCK_BYTES).min(checksums);
            let digest = xxh3_64(&file[start.max(HEADER_BYTES)..end]).to_le_bytes();
            if let Some(place) = file.get_mut(checksums + 8 * index..checksums + 8 * index + 8) {
                place.copy_from_slice(&digest);
            }
        }
        let digest = xxh3_64(&file[checksums..]).to_le_bytes();
        file[CHECKSUMS_DIGEST..HEADER_DIGEST].copy_from_slice(&digest);
    }
    reseal_header(file);
}

/// The same for the header alone, of a file that has one.
pub fn reseal_header(file: &mut [u8]) {
    let digest = xxh3_64(&file[..HEADER_DIGEST]).to_le_bytes();
    file[HEADER_DIGEST..HEADER_BYTES].copy_from_slice(&digest);
}
