use core::fmt;
use core::str::FromStr;

/// The greatest length of a vector column.
pub const MAX_VECTOR_LEN: u32 = 16_384;

/// The type of a feature, of a request field, of an event's column.
///
/// Its text form (`f64`, `f32`, `i64`, `bool`, `timestamp`, `string`, `bytes`, `f32[16]`) is used in project files,
/// manifests and errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ColumnType {
    /// IEEE 754 binary64; NaN is stored in its canonical form.
    F64,
    /// IEEE 754 binary32; NaN is stored in its canonical form.
    F32,
    /// A signed 64-bit integer.
    I64,
    /// True or false.
    Bool,
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp,
    /// UTF-8 text.
    String,
    /// Bytes without a meaning to the host: states, sketches.
    Bytes,
    /// A fixed number of f32s, between 1 and [`MAX_VECTOR_LEN`].
    Vector(u32),
}

impl ColumnType {
    /// The number that stands for the type in frames and snapshot files. Never reused.
    #[inline(always)]
    pub const fn tag(self) -> u8 {
        match self {
            Self::F64 => 1,
            Self::F32 => 2,
            Self::I64 => 3,
            Self::Bool => 4,
            Self::Timestamp => 5,
            Self::String => 6,
            Self::Bytes => 7,
            Self::Vector(_) => 8,
        }
    }

    /// The type of a [`tag`](Self::tag) and a vector length, which is 0 for every other type.
    pub const fn from_tag(tag: u8, vector_len: u32) -> Option<Self> {
        Some(match (tag, vector_len) {
            (1, 0) => Self::F64,
            (2, 0) => Self::F32,
            (3, 0) => Self::I64,
            (4, 0) => Self::Bool,
            (5, 0) => Self::Timestamp,
            (6, 0) => Self::String,
            (7, 0) => Self::Bytes,
            (8, 1..=MAX_VECTOR_LEN) => Self::Vector(vector_len),
            _ => return None,
        })
    }

    /// The length of a vector, 0 for every other type.
    #[inline(always)]
    pub const fn vector_len(self) -> u32 {
        match self {
            Self::Vector(len) => len,
            _ => 0,
        }
    }

    /// Whether values have a length of their own: strings and bytes.
    #[inline(always)]
    pub const fn is_variable(self) -> bool {
        matches!(self, Self::String | Self::Bytes)
    }

    /// Whether this is the [`tag`](Self::tag) of such a type.
    pub(crate) const fn is_variable_tag(tag: u8) -> bool {
        tag == Self::String.tag() || tag == Self::Bytes.tag()
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::F64 => f.write_str("f64"),
            Self::F32 => f.write_str("f32"),
            Self::I64 => f.write_str("i64"),
            Self::Bool => f.write_str("bool"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::String => f.write_str("string"),
            Self::Bytes => f.write_str("bytes"),
            Self::Vector(len) => write!(f, "f32[{len}]"),
        }
    }
}

/// A text that names no column type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseColumnTypeError(String);

impl fmt::Display for ParseColumnTypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not a column type: use f64, f32, i64, bool, timestamp, string, bytes or f32[N] with N from 1 to {MAX_VECTOR_LEN}",
            self.0
        )
    }
}

impl std::error::Error for ParseColumnTypeError {}

impl FromStr for ColumnType {
    type Err = ParseColumnTypeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let vector = || {
            let len = text.strip_prefix("f32[")?.strip_suffix(']')?.parse().ok()?;
            Self::from_tag(8, len)
        };
        Ok(match text {
            "f64" => Self::F64,
            "f32" => Self::F32,
            "i64" => Self::I64,
            "bool" => Self::Bool,
            "timestamp" => Self::Timestamp,
            "string" => Self::String,
            "bytes" => Self::Bytes,
            _ => return vector().ok_or_else(|| ParseColumnTypeError(text.to_owned())),
        })
    }
}

#[cfg(test)]
mod tests;
