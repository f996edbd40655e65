use crate::section::{CUSTOM_SECTION, MODULE_SECTION, Section, custom_section};

/// The section of a core module in which the SDK says how large states can be.
pub(crate) const STATE_SECTION: &str = "unskew:state";

/// The most that the state of one entity can be, as the component of an aggregate says it.
///
/// The SDK computes it from the accumulators and the windows when the component is compiled, and puts it into a section of the
/// module: three u64s, little-endian, the tiles, the bytes, of both of which the greatest number is none, and the limit. So it is
/// read without running anything, it is covered by the digest, and `describe` is of the same type as before: every component and
/// every host go on together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateBound {
    /// Tiles of all widths; none where a window has an exact tail.
    pub tiles: Option<u64>,
    /// Bytes; none where there is no bound of the tiles, or an accumulator has none.
    pub bytes: Option<u64>,
    /// The bytes beyond which a fold is refused.
    pub limit_bytes: u64,
}

impl StateBound {
    /// What is said in a component; none, if nothing is: it is no aggregate, or was made by another SDK.
    pub fn of(component: &[u8]) -> Option<Self> {
        let name = custom_section(STATE_SECTION);
        let modules = Section::all(component).map_while(Result::ok);
        let modules = modules.filter(|section| section.id == MODULE_SECTION);
        let mut sections = modules.flat_map(|module| Section::all(module.content).map_while(Result::ok));
        let content = sections.find_map(|section| match section.id {
            CUSTOM_SECTION => section.content.strip_prefix(&name[..]),
            _ => None,
        })?;
        let (words, []) = content.as_chunks() else { return None };
        let [tiles, bytes, limit] = *words else { return None };
        let bound = |word| Some(u64::from_le_bytes(word)).filter(|bound| *bound < u64::MAX);
        Some(Self {
            tiles: bound(tiles),
            bytes: bound(bytes),
            limit_bytes: u64::from_le_bytes(limit),
        })
    }

    /// The most bytes that a state is kept with, whatever its bound is.
    pub fn most_bytes(&self) -> u64 {
        self.bytes.unwrap_or(u64::MAX).min(self.limit_bytes)
    }
}

#[cfg(test)]
mod tests;
