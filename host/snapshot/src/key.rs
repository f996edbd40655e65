use core::borrow::Borrow;
use core::fmt;
use core::str::FromStr;

use unskew_frame::{ColumnType, Value};
use xxhash_rust::xxh3::xxh3_64;

/// The greatest length of an entity key's encoding.
pub const MAX_KEY_BYTES: usize = 4_096;

pub(crate) const TAG_I64: u8 = 1;
const TAG_STRING: u8 = 2;
const TAG_BYTES: u8 = 3;
/// A tag and an integer.
pub(crate) const I64_BYTES: usize = 1 + size_of::<i64>();
/// A tag and a length.
const PREFIX_BYTES: usize = 3;

// The length of a part is a u16.
const _: () = assert!(MAX_KEY_BYTES <= u16::MAX as usize);

/// An entity key in its one canonical encoding. Equality, order and hash are those of the bytes.
///
/// Each part of the key is a tag byte and its value, one after the other; different parts give different bytes, whatever
/// their number and types. Integers are little-endian.
///
/// | part | bytes |
/// |---|---|
/// | i64 | `01`, value as 8 bytes |
/// | string | `02`, length as 2 bytes, UTF-8 |
/// | bytes | `03`, length as 2 bytes, bytes |
///
/// ```
/// use unskew_snapshot::{EntityKey, KeyPart};
///
/// let mut key = EntityKey::new(&[KeyPart::I64(7), KeyPart::String("de")]).unwrap();
/// assert_eq!(key.as_bytes(), b"\x01\x07\0\0\0\0\0\0\0\x02\x02\0de");
/// assert_eq!(key.to_string(), r#"(7, "de")"#);
///
/// // A key on the hot path is built again and again in the same memory.
/// key.clear();
/// key.push(KeyPart::String("u1")).unwrap();
/// assert_eq!(key.as_ref().hash(), 0x04b8_57bc_ba86_d987);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityKey {
    bytes: Vec<u8>,
}

impl EntityKey {
    /// The key of these parts.
    ///
    /// # Errors
    /// The encoding is longer than [`MAX_KEY_BYTES`].
    pub fn new(parts: &[KeyPart<'_>]) -> Result<Self, KeyError> {
        let mut key = Self::default();
        for part in parts {
            key.push(*part)?;
        }
        Ok(key)
    }

    /// Drops the parts and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Appends a part. Allocates only when the key grows beyond any it held before.
    ///
    /// # Errors
    /// The encoding would be longer than [`MAX_KEY_BYTES`]. The key is unchanged.
    #[inline]
    pub fn push(&mut self, part: KeyPart<'_>) -> Result<(), KeyError> {
        push_part(&mut self.bytes, 0, part)
    }

    /// The encoding.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The key, borrowed.
    #[inline]
    pub fn as_ref(&self) -> KeyRef<'_> {
        KeyRef(&self.bytes)
    }

    /// See [`KeyRef::parts`].
    ///
    /// # Errors
    /// The key's parts are not of these types.
    pub fn parts(&self, types: &[KeyType]) -> Result<Vec<KeyPart<'_>>, KeyError> {
        self.as_ref().parts(types)
    }
}

impl Borrow<[u8]> for EntityKey {
    fn borrow(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Display for EntityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

/// An entity key, borrowed: what a lookup takes.
///
/// Its text form is for people: the value of a single part, `(7, "de")` of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyRef<'a>(&'a [u8]);

/// An entity key with its hash, for several lookups that share it.
#[derive(Clone, Copy, Debug)]
pub struct HashedKey<'a> {
    key: KeyRef<'a>,
    hash: u64,
}

impl<'a> HashedKey<'a> {
    /// A key of no parts with any hash: what fills an array of keys before they are known.
    pub const EMPTY: Self = Self::from_verified(KeyRef::EMPTY, 0);

    /// A key and what was its hash before.
    pub(crate) const fn from_verified(key: KeyRef<'a>, hash: u64) -> Self {
        Self { key, hash }
    }

    /// The key.
    #[inline]
    pub const fn key(self) -> KeyRef<'a> {
        self.key
    }

    /// Its hash.
    #[inline]
    pub const fn hash(self) -> u64 {
        self.hash
    }
}

impl<'a> From<KeyRef<'a>> for HashedKey<'a> {
    #[inline(always)]
    fn from(key: KeyRef<'a>) -> Self {
        Self::from_verified(key, key.hash())
    }
}

impl<'a> KeyRef<'a> {
    /// A key of no parts, which no snapshot holds: what fills an array of keys before they are known.
    pub const EMPTY: Self = Self(&[]);

    /// The key of an encoding, which was perhaps stored elsewhere.
    ///
    /// # Errors
    /// The bytes are not the encoding of a key.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, KeyError> {
        if bytes.len() > MAX_KEY_BYTES {
            return Err(KeyError::TooLong { key_bytes: bytes.len() });
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let offset = bytes.len() - rest.len();
            (_, rest) = split_part(rest).ok_or(KeyError::Malformed { offset })?;
        }
        Ok(Self(bytes))
    }

    /// The key of bytes that a verified snapshot holds.
    pub(crate) const fn from_verified(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The encoding.
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The hash of the key: xxh3, 64 bits, without a seed. The same on every machine and for ever; never trusted alone.
    #[inline(always)]
    pub fn hash(self) -> u64 {
        match <&[u8; I64_BYTES]>::try_from(self.0) {
            Ok(bytes) => xxh3_64(bytes),
            Err(_) => hash_of_any(self.0),
        }
    }

    /// The key, owned.
    pub fn to_entity_key(self) -> EntityKey {
        EntityKey { bytes: self.0.to_vec() }
    }

    /// Whether the key's parts are of these types. Allocates nothing.
    pub fn has_types(self, types: &[KeyType]) -> bool {
        self.check_types(types).is_ok()
    }

    /// The parts, which must be of these types.
    ///
    /// # Errors
    /// The key has another number of parts, or a part of another type.
    pub fn parts(self, types: &[KeyType]) -> Result<Vec<KeyPart<'a>>, KeyError> {
        self.check_types(types)?;
        Ok(self.iter().collect())
    }

    /// The parts, of whatever types.
    fn iter(self) -> impl Iterator<Item = KeyPart<'a>> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let part;
            (part, rest) = split_part(rest)?;
            Some(part)
        })
    }

    pub(crate) fn check_types(self, types: &[KeyType]) -> Result<(), KeyError> {
        let mut parts = self.iter();
        for (index, expected) in types.iter().enumerate() {
            match parts.next() {
                Some(part) if part.key_type() == *expected => {}
                Some(_) => {
                    return Err(KeyError::PartType {
                        part: index,
                        expected: *expected,
                    });
                }
                None => {
                    return Err(KeyError::PartCount { expected: types.len() });
                }
            }
        }
        match parts.next() {
            None => Ok(()),
            Some(_) => Err(KeyError::PartCount { expected: types.len() }),
        }
    }
}

impl fmt::Display for KeyRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = self.iter().peekable();
        match (parts.next(), parts.peek()) {
            (Some(part), None) => part.fmt(f),
            (first, _) => {
                f.write_str("(")?;
                for (index, part) in first.into_iter().chain(parts).enumerate() {
                    if index > 0 {
                        f.write_str(", ")?;
                    }
                    part.fmt(f)?;
                }
                f.write_str(")")
            }
        }
    }
}

/// One part of an entity key. A null part has no encoding: such a key is not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyPart<'a> {
    /// A signed 64-bit integer.
    I64(i64),
    /// A text.
    String(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
}

impl<'a> KeyPart<'a> {
    /// The part that a column's value is; none for a missing value and for a type that keys do not have.
    pub const fn of(value: Value<'a>) -> Option<Self> {
        Some(match value {
            Value::I64(value) => Self::I64(value),
            Value::String(value) => Self::String(value),
            Value::Bytes(value) => Self::Bytes(value),
            _ => return None,
        })
    }

    /// The type of the part.
    pub const fn key_type(&self) -> KeyType {
        match self {
            Self::I64(_) => KeyType::I64,
            Self::String(_) => KeyType::String,
            Self::Bytes(_) => KeyType::Bytes,
        }
    }
}

impl fmt::Display for KeyPart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::I64(value) => value.fmt(f),
            Self::String(text) => write!(f, "{text:?}"),
            Self::Bytes(bytes) => {
                f.write_str("0x")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

/// The type of a part of an entity key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyType {
    /// A signed 64-bit integer.
    I64,
    /// A text.
    String,
    /// Bytes.
    Bytes,
}

impl KeyType {
    /// The type of a column that holds parts of this type.
    pub const fn column_type(self) -> ColumnType {
        match self {
            Self::I64 => ColumnType::I64,
            Self::String => ColumnType::String,
            Self::Bytes => ColumnType::Bytes,
        }
    }

    /// The number that stands for the type in keys and snapshot files. Never reused.
    pub const fn tag(self) -> u8 {
        match self {
            Self::I64 => TAG_I64,
            Self::String => TAG_STRING,
            Self::Bytes => TAG_BYTES,
        }
    }

    /// The type of a [`tag`](Self::tag).
    pub const fn from_tag(tag: u8) -> Option<Self> {
        Some(match tag {
            TAG_I64 => Self::I64,
            TAG_STRING => Self::String,
            TAG_BYTES => Self::Bytes,
            _ => return None,
        })
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::I64 => "i64",
            Self::String => "string",
            Self::Bytes => "bytes",
        })
    }
}

impl FromStr for KeyType {
    type Err = ParseKeyTypeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "i64" => Self::I64,
            "string" => Self::String,
            "bytes" => Self::Bytes,
            _ => return Err(ParseKeyTypeError(text.to_owned())),
        })
    }
}

/// A text that names no key type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a key type: use i64, string or bytes")]
pub struct ParseKeyTypeError(String);

/// Why bytes or parts are not an entity key, or not the key that was meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The encoding is longer than [`MAX_KEY_BYTES`].
    #[error("the entity key has {key_bytes} bytes, more than {MAX_KEY_BYTES}")]
    TooLong {
        /// The length it would have.
        key_bytes: usize,
    },
    /// The bytes are not the encoding of a key.
    #[error("the bytes are not an entity key: the part at offset {offset} is malformed")]
    Malformed {
        /// Where the part begins that is not one.
        offset: usize,
    },
    /// The key has another number of parts.
    #[error("the entity key has not {expected} parts")]
    PartCount {
        /// The parts of the schema's key.
        expected: usize,
    },
    /// A part is of another type.
    #[error("part {part} of the entity key is not of type {expected}")]
    PartType {
        /// The index of the part.
        part: usize,
        /// The type of the schema's key.
        expected: KeyType,
    },
}

/// Appends a part to the key that begins at `start` of `bytes`.
#[inline]
pub(crate) fn push_part(bytes: &mut Vec<u8>, start: usize, part: KeyPart<'_>) -> Result<(), KeyError> {
    let part_bytes = match part {
        KeyPart::I64(_) => I64_BYTES,
        KeyPart::String(text) => PREFIX_BYTES.saturating_add(text.len()),
        KeyPart::Bytes(bytes) => PREFIX_BYTES.saturating_add(bytes.len()),
    };
    let key_bytes = (bytes.len() - start).saturating_add(part_bytes);
    if key_bytes > MAX_KEY_BYTES {
        return Err(KeyError::TooLong { key_bytes });
    }
    match part {
        KeyPart::I64(value) => {
            let mut part = [TAG_I64; I64_BYTES];
            part[1..].copy_from_slice(&value.to_le_bytes());
            bytes.extend_from_slice(&part);
        }
        KeyPart::String(text) => push_prefixed(bytes, TAG_STRING, text.as_bytes()),
        KeyPart::Bytes(value) => push_prefixed(bytes, TAG_BYTES, value),
    }
    Ok(())
}

#[inline]
fn push_prefixed(bytes: &mut Vec<u8>, tag: u8, value: &[u8]) {
    // `push_part` checked the length, which is at most `MAX_KEY_BYTES`.
    let [low, high] = (value.len() as u16).to_le_bytes();
    bytes.extend_from_slice(&[tag, low, high]);
    bytes.extend_from_slice(value);
}

/// Not inlined, so that the hash of one integer is.
#[inline(never)]
fn hash_of_any(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// The length of the key of so many parts that `bytes` begin with; at most their length. Does not look at the values.
pub(crate) fn encoded_bytes(bytes: &[u8], part_count: usize) -> usize {
    let mut end = 0;
    for _ in 0..part_count {
        end += match bytes.get(end..) {
            Some([TAG_I64, ..]) => 1 + size_of::<i64>(),
            Some([_, low, high, ..]) => PREFIX_BYTES + usize::from(u16::from_le_bytes([*low, *high])),
            _ => 0,
        };
    }
    end.min(bytes.len())
}

/// The first part of an encoding and what follows it.
fn split_part(bytes: &[u8]) -> Option<(KeyPart<'_>, &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    if *tag == TAG_I64 {
        let (value, rest) = rest.split_first_chunk()?;
        return Some((KeyPart::I64(i64::from_le_bytes(*value)), rest));
    }
    let (len, rest) = rest.split_first_chunk()?;
    let (value, rest) = rest.split_at_checked(u16::from_le_bytes(*len).into())?;
    let part = match *tag {
        TAG_STRING => KeyPart::String(core::str::from_utf8(value).ok()?),
        TAG_BYTES => KeyPart::Bytes(value),
        _ => return None,
    };
    Some((part, rest))
}

#[cfg(test)]
mod tests;
