//! Sections of modules and components as bytes: what is not touched keeps every byte.

/// A section.
pub(crate) struct Section<'a> {
    pub id: u8,
    /// Without its number and size.
    pub content: &'a [u8],
    /// With them.
    pub whole: &'a [u8],
}

impl<'a> Section<'a> {
    /// The sections behind the header of a module or a component.
    pub fn all(bytes: &'a [u8]) -> impl Iterator<Item = Result<Self, String>> {
        let mut rest = bytes.get(HEADER_BYTES..).unwrap_or_default();
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let section = Self::first(rest);
            rest = section.as_ref().map_or(&[], |section| &rest[section.whole.len()..]);
            Some(section.ok_or_else(|| "a section is cut short".to_owned()))
        })
    }

    fn first(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = wasmparser::BinaryReader::new(bytes, 0);
        let id = reader.read_u8().ok()?;
        let len = reader.read_var_u32().ok()? as usize;
        let start = reader.current_position();
        let whole = bytes.get(..start.checked_add(len)?)?;
        Some(Self {
            id,
            content: &whole[start..],
            whole,
        })
    }
}

/// The module with these bodies for its functions'.
///
/// # Errors
/// A section is cut short.
pub(crate) fn with_bodies(module: &[u8], bodies: &[Vec<u8>]) -> Result<Vec<u8>, String> {
    const CODE_SECTION: u8 = 10;
    let mut rewritten = module.get(..HEADER_BYTES).unwrap_or_default().to_vec();
    for section in Section::all(module) {
        let section = section?;
        if section.id != CODE_SECTION {
            rewritten.extend_from_slice(section.whole);
            continue;
        }
        let mut code = Vec::with_capacity(section.content.len());
        push_u32(&mut code, bodies.len());
        for body in bodies {
            push_u32(&mut code, body.len());
            code.extend_from_slice(body);
        }
        push_section(&mut rewritten, CODE_SECTION, &code);
    }
    Ok(rewritten)
}

/// The number of a section of any name.
pub(crate) const CUSTOM_SECTION: u8 = 0;
/// The number of a section of a component that is a core module.
pub(crate) const MODULE_SECTION: u8 = 1;

/// How the content of a custom section of this name begins.
pub(crate) fn custom_section(name: &str) -> Vec<u8> {
    let mut begin = Vec::new();
    push_u32(&mut begin, name.len());
    begin.extend_from_slice(name.as_bytes());
    begin
}

/// Magic and version.
pub(crate) const HEADER_BYTES: usize = 8;

pub(crate) fn push_section(bytes: &mut Vec<u8>, id: u8, content: &[u8]) {
    bytes.push(id);
    push_u32(bytes, content.len());
    bytes.extend_from_slice(content);
}

/// Appends a number as WebAssembly writes them.
pub(crate) fn push_u32(bytes: &mut Vec<u8>, mut value: usize) {
    while 0x80 <= value {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}
