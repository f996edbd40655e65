use crate::header::{u32_at, u64_at};

/// The most deltas that one base is read with: beyond it they are compacted.
pub const MAX_DELTAS: usize = 8;

/// The name of the metadata's extension that makes a snapshot a delta.
pub(crate) const EXTENSION: &str = "delta";
/// ```text
///  0      32          64       68  72        80
///  | base | previous  | number | 0 | removed |
/// ```
const EXTENSION_BYTES: usize = 80;

/// What a delta follows: its rows are those that changed since, and the keys that are gone. Digests are SHA-256 of whole files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeltaOf {
    /// The snapshot that the first delta follows.
    pub base: [u8; 32],
    /// The file that this one follows: the base, or the delta before.
    pub previous: [u8; 32],
    /// Counts the deltas of the base from 1, to [`MAX_DELTAS`].
    pub number: u32,
}

impl DeltaOf {
    /// Of the first delta on a base.
    pub const fn first(base: [u8; 32]) -> Self {
        Self {
            base,
            previous: base,
            number: 1,
        }
    }

    /// Of the delta that follows the one of this digest.
    pub const fn next(self, digest: [u8; 32]) -> Self {
        Self {
            base: self.base,
            previous: digest,
            number: self.number + 1,
        }
    }

    /// Whether a file may say so.
    pub(crate) fn is_valid(&self) -> bool {
        (1..=MAX_DELTAS as u32).contains(&self.number) && (self.number == 1) == (self.base == self.previous)
    }

    /// The bytes of the extension.
    pub(crate) fn encode(&self, removed_count: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(EXTENSION_BYTES);
        bytes.extend_from_slice(&self.base);
        bytes.extend_from_slice(&self.previous);
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&removed_count.to_le_bytes());
        bytes
    }

    /// What the bytes of the extension say, and the number of removed keys.
    pub(crate) fn decode(bytes: &[u8]) -> Option<(Self, u64)> {
        let bytes: &[u8; EXTENSION_BYTES] = bytes.try_into().ok()?;
        let (base, rest) = bytes.split_first_chunk::<32>()?;
        let (previous, _) = rest.split_first_chunk::<32>()?;
        let of = Self {
            base: *base,
            previous: *previous,
            number: u32_at(bytes, 64),
        };
        let is_whole = of.is_valid() && u32_at(bytes, 68) == 0;
        is_whole.then_some((of, u64_at(bytes, 72)))
    }
}
