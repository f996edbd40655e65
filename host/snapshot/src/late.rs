use crate::Lateness;
use crate::header::u64_at;

/// The name of the metadata's extension that says what became of late events.
pub(crate) const EXTENSION: &str = "late";
/// ```text
///  0          8       16
///  | lateness | count |
/// ```
const EXTENSION_BYTES: usize = 16;

/// What the states of a snapshot leave out, because the view declares a lateness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LateEvents {
    /// Events that became known later than this after they happened are in no state.
    pub lateness: Lateness,
    /// How many there are of them that would be in the states else; of a delta, those since the file that it follows.
    pub count: u64,
}

impl LateEvents {
    /// The bytes of the extension.
    pub(crate) fn encode(&self) -> Vec<u8> {
        [self.lateness.as_micros(), self.count].map(u64::to_le_bytes).concat()
    }

    /// What the bytes of the extension say.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; EXTENSION_BYTES] = bytes.try_into().ok()?;
        Some(Self {
            lateness: Lateness::from_micros(u64_at(bytes, 0)),
            count: u64_at(bytes, 8),
        })
    }
}
