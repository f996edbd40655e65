use xxhash_rust::xxh3::xxh3_64;

#[cfg(target_family = "wasm")]
use crate::component::multiply_fold;

/// A stable 63-bit hash of `bytes` (XXH3), the same on every machine and in every version: for ids as categories. Not
/// negative, so that it can be reduced with `%`.
#[inline]
pub fn hash_i64(bytes: &[u8]) -> i64 {
    (xxh3(bytes) >> 1).cast_signed()
}

/// The hash of an ordered pair: for feature crosses. Differs from that of the concatenation.
pub fn hash_pair_i64(first: i64, second: i64) -> i64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&first.to_le_bytes());
    bytes[8..].copy_from_slice(&second.to_le_bytes());
    hash_i64(&bytes)
}

/// XXH3 without a seed.
///
/// Pairs of ids are hashed here: for the product that takes most of it there is an instruction, which the library's own code does
/// not get. The steps are those of the reference implementation for 9 to 16 bytes (xxhash.h, `XXH3_len_9to16_64b`).
#[inline]
fn xxh3(bytes: &[u8]) -> u64 {
    /// Of the default secret: words 3 and 4, words 5 and 6.
    const FLIPS: [u64; 2] = [0x6782_737b_ea42_39b9, 0xaf56_bc3b_0996_523a];
    if let (Some(first), Some(last), 9..=16) = (bytes.first_chunk(), bytes.last_chunk(), bytes.len()) {
        let low = u64::from_le_bytes(*first) ^ FLIPS[0];
        let high = u64::from_le_bytes(*last) ^ FLIPS[1];
        let sum = (bytes.len() as u64)
            .wrapping_add(low.swap_bytes())
            .wrapping_add(high)
            .wrapping_add(multiply_fold(low, high));
        return avalanche(sum);
    }
    xxh3_64(bytes)
}

#[inline]
const fn avalanche(mut hash: u64) -> u64 {
    hash ^= hash >> 37;
    hash = hash.wrapping_mul(0x1656_6791_9e37_79f9);
    hash ^ hash >> 32
}

/// Both halves of the product of 128 bits, one over the other.
#[cfg(not(target_family = "wasm"))]
#[inline]
const fn multiply_fold(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests;
