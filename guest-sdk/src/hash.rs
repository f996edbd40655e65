use xxhash_rust::xxh3::xxh3_64;

/// A stable 63-bit hash of `bytes` (XXH3), the same on every machine and in every version: for ids as categories. Not
/// negative, so that it can be reduced with `%`.
pub fn hash_i64(bytes: &[u8]) -> i64 {
    (xxh3_64(bytes) >> 1).cast_signed()
}

/// The hash of an ordered pair: for feature crosses. Differs from that of the concatenation.
pub fn hash_pair_i64(first: i64, second: i64) -> i64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&first.to_le_bytes());
    bytes[8..].copy_from_slice(&second.to_le_bytes());
    hash_i64(&bytes)
}

#[cfg(test)]
mod tests;
