/// Reads the bytes of a state.
#[derive(Debug)]
pub struct StateReader<'a> {
    bytes: &'a [u8],
}

/// Why a state cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateError {
    /// It is of a version that this module does not read.
    Version(u32),
    /// The bytes end early, go on too long, or were written by nothing of ours.
    Damaged,
}

impl<'a> StateReader<'a> {
    /// Reads `bytes` from their start.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The next byte.
    ///
    /// # Errors
    /// There is none.
    #[inline]
    pub fn byte(&mut self) -> Result<u8, StateError> {
        let (first, rest) = self.bytes.split_first().ok_or(StateError::Damaged)?;
        self.bytes = rest;
        Ok(*first)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// There are not so many.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], StateError> {
        let (first, rest) = self.bytes.split_first_chunk().ok_or(StateError::Damaged)?;
        self.bytes = rest;
        Ok(*first)
    }

    /// The next `len` bytes.
    #[inline]
    pub(crate) fn slice(&mut self, len: usize) -> Result<&'a [u8], StateError> {
        let (slice, rest) = self.bytes.split_at_checked(len).ok_or(StateError::Damaged)?;
        self.bytes = rest;
        Ok(slice)
    }

    /// The bytes to come.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many bytes are to come.
    #[inline]
    pub(crate) fn left(&self) -> usize {
        self.bytes.len()
    }

    /// The next variable-length number.
    ///
    /// # Errors
    /// The bytes end, or the number is beyond 128 bits or longer than it need be.
    #[inline]
    pub fn varint(&mut self) -> Result<u128, StateError> {
        match self.short_varint() {
            Some(number) => Ok(number.into()),
            None => self.long_varint(),
        }
    }

    /// A number of up to eight bytes, which most are; none, and nothing is read, of what is longer or not a number.
    #[inline]
    fn short_varint(&mut self) -> Option<u64> {
        match self.bytes.split_first() {
            Some((byte, rest)) if *byte < 0x80 => {
                self.bytes = rest;
                Some((*byte).into())
            }
            _ => self.several_bytes(),
        }
    }

    fn several_bytes(&mut self) -> Option<u64> {
        let mut number = 0;
        for (index, byte) in self.bytes.iter().take(8).enumerate() {
            number |= u64::from(byte & 0x7f) << (7 * index);
            if *byte < 0x80 {
                if *byte == 0 && index > 0 {
                    return None;
                }
                self.bytes = &self.bytes[index + 1..];
                return Some(number);
            }
        }
        None
    }

    /// In steps of 128 bits, which are calls of functions in a component.
    #[cold]
    fn long_varint(&mut self) -> Result<u128, StateError> {
        let mut number = 0_u128;
        for shift in (0..).step_by(7) {
            let byte = self.byte()?;
            let bits = u128::from(byte & 0x7f);
            if shift > 121 && bits >> (128 - shift) != 0 || byte == 0 && shift > 0 {
                return Err(StateError::Damaged);
            }
            number |= bits << shift;
            if byte < 0x80 {
                break;
            }
            if shift > 121 {
                return Err(StateError::Damaged);
            }
        }
        Ok(number)
    }

    /// The next variable-length number, of 64 bits.
    ///
    /// # Errors
    /// Those of [`varint`](Self::varint), and a number beyond 64 bits.
    #[inline]
    pub fn u64(&mut self) -> Result<u64, StateError> {
        match self.short_varint() {
            Some(number) => Ok(number),
            None => u64::try_from(self.long_varint()?).map_err(|_| StateError::Damaged),
        }
    }

    /// The next variable-length number of either sign, of 64 bits.
    #[inline]
    pub(crate) fn i64(&mut self) -> Result<i64, StateError> {
        let number = self.u64()?;
        Ok((number >> 1).cast_signed() ^ -((number & 1).cast_signed()))
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// Something is.
    pub fn end(&self) -> Result<(), StateError> {
        if self.bytes.is_empty() {
            Ok(())
        } else {
            Err(StateError::Damaged)
        }
    }
}

/// Appends `number` in 7-bit groups, least first.
#[inline]
pub(crate) fn push_varint(bytes: &mut Vec<u8>, number: u128) {
    match u64::try_from(number) {
        Ok(mut number) => {
            while number >= 0x80 {
                bytes.push(number as u8 | 0x80);
                number >>= 7;
            }
            bytes.push(number as u8);
        }
        Err(_) => push_long_varint(bytes, number),
    }
}

#[cold]
fn push_long_varint(bytes: &mut Vec<u8>, mut number: u128) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Small numbers of either sign as small numbers.
pub(crate) const fn zigzag(number: i128) -> u128 {
    (number << 1 ^ number >> 127).cast_unsigned()
}

pub(crate) const fn unzigzag(number: u128) -> i128 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}
