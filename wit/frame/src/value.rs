use crate::ColumnType;

/// One value of any column type, borrowed.
///
/// Equality is of bits, as parity means it: NaN equals NaN, 0.0 differs from -0.0.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// No value.
    Null,
    /// See [`ColumnType::F64`](crate::ColumnType::F64).
    F64(f64),
    /// See [`ColumnType::F32`](crate::ColumnType::F32).
    F32(f32),
    /// See [`ColumnType::I64`](crate::ColumnType::I64).
    I64(i64),
    /// See [`ColumnType::Bool`](crate::ColumnType::Bool).
    Bool(bool),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// See [`ColumnType::String`](crate::ColumnType::String).
    String(&'a str),
    /// See [`ColumnType::Bytes`](crate::ColumnType::Bytes).
    Bytes(&'a [u8]),
    /// See [`ColumnType::Vector`](crate::ColumnType::Vector).
    Vector(&'a [f32]),
}

impl Value<'_> {
    /// The type of the value; none where there is no value.
    pub fn column_type(&self) -> Option<ColumnType> {
        Some(match self {
            Self::Null => return None,
            Self::F64(_) => ColumnType::F64,
            Self::F32(_) => ColumnType::F32,
            Self::I64(_) => ColumnType::I64,
            Self::Bool(_) => ColumnType::Bool,
            Self::Timestamp(_) => ColumnType::Timestamp,
            Self::String(_) => ColumnType::String,
            Self::Bytes(_) => ColumnType::Bytes,
            Self::Vector(values) => ColumnType::Vector(u32::try_from(values.len()).unwrap_or(u32::MAX)),
        })
    }

    /// Whether there is no value.
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::F64(a), Self::F64(b)) => a.to_bits() == b.to_bits(),
            (Self::F32(a), Self::F32(b)) => a.to_bits() == b.to_bits(),
            (Self::I64(a), Self::I64(b)) | (Self::Timestamp(a), Self::Timestamp(b)) => a == b,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::String(a), Self::String(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::Vector(a), Self::Vector(b)) => {
                a.len() == b.len() && a.iter().zip(*b).all(|(a, b)| a.to_bits() == b.to_bits())
            }
            _ => false,
        }
    }
}

impl Eq for Value<'_> {}

/// `value` with every NaN replaced by the one canonical NaN (quiet, positive, no payload), so that NaN has one bit pattern
/// on every machine.
#[inline]
pub const fn canonical_f64(value: f64) -> f64 {
    if value.is_nan() {
        f64::from_bits(0x7ff8_0000_0000_0000)
    } else {
        value
    }
}

/// The same as [`canonical_f64`] for f32.
#[inline]
pub const fn canonical_f32(value: f32) -> f32 {
    if value.is_nan() {
        f32::from_bits(0x7fc0_0000)
    } else {
        value
    }
}
