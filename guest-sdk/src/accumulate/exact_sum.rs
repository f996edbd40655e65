use super::Accumulator;
use crate::state::{StateError, StateReader, push_varint};

/// The least bit of an f64 weighs 2^-1074: limb 0 starts there.
const LEAST_EXPONENT: i32 = -1074;
/// Values reach 2^1024 and there may be 2^64 of them: 2098 + 64 bits and a sign.
const MAX_LIMBS: usize = 35;

/// A sum of f64s that is exact whatever their order: a fixed-point number with a bit for every bit that an f64 can have.
///
/// Only the limbs in use are held: for values of similar size two or three of the 35. [`round`](Self::round) rounds the
/// exact sum once, to nearest, ties to even. After Neal, "Fast exact summation using small and large superaccumulators"
/// (2015), and Kulisch; the limbs here carry at once, which keeps them canonical without a normalising pass:
///
/// ```text
/// add x:    place the 53 bits of x in the limb of its exponent, add or subtract with carry, trim
/// merge:    add limb by limb with carry, trim
/// round:    take the magnitude, its top 53 bits, and a sticky bit of the rest
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExactSum {
    /// The weight of `limbs[0]` is 2^(64 * first - 1074).
    first: usize,
    /// Two's complement, least limb first; no redundant limb at either end, so none for 0.
    limbs: Vec<u64>,
    has_nan: bool,
    has_positive_infinity: bool,
    has_negative_infinity: bool,
}

impl ExactSum {
    /// Adds a value.
    pub fn add(&mut self, value: f64) {
        if !value.is_finite() {
            self.has_nan |= value.is_nan();
            self.has_positive_infinity |= value == f64::INFINITY;
            self.has_negative_infinity |= value == f64::NEG_INFINITY;
            return;
        }
        let bits = value.to_bits();
        let exponent = (bits >> 52 & 0x7ff) as usize;
        let fraction = bits & ((1 << 52) - 1);
        let (mantissa, shift) = match exponent {
            0 => (fraction, 0),
            _ => (fraction | 1 << 52, exponent - 1),
        };
        if mantissa == 0 {
            return;
        }
        let wide = u128::from(mantissa) << (shift % 64);
        let wide = if value < 0.0 { wide.wrapping_neg() } else { wide };
        // 53 bits shifted by at most 63 leave the sign of the upper limb right.
        self.add_limbs(shift / 64, &[wide as u64, (wide >> 64) as u64]);
    }

    /// The sum, rounded to the nearest f64, ties to even.
    pub fn round(&self) -> f64 {
        if self.has_nan || self.has_positive_infinity && self.has_negative_infinity {
            return unskew_frame::canonical_f64(f64::NAN);
        }
        if self.has_positive_infinity {
            return f64::INFINITY;
        }
        if self.has_negative_infinity {
            return f64::NEG_INFINITY;
        }
        let is_negative = self.sign_limb() != 0;
        let mut limbs = self.limbs.clone();
        if is_negative {
            negate(&mut limbs);
        }
        let magnitude = round_magnitude(self.first, &limbs);
        if is_negative { -magnitude } else { magnitude }
    }

    /// What all the limbs above the last would be.
    fn sign_limb(&self) -> u64 {
        self.limbs.last().map_or(0, |last| sign_of(*last))
    }

    fn add_limbs(&mut self, first: usize, addend: &[u64]) {
        if self.limbs.is_empty() {
            self.first = first;
        }
        if first < self.first {
            self.limbs.splice(0..0, (first..self.first).map(|_| 0));
            self.first = first;
        }
        let start = first - self.first;
        let sign = self.sign_limb();
        // One limb above both for the carry.
        let len = self.limbs.len().max(start + addend.len()) + 1;
        self.limbs.resize(len, sign);
        let addend_sign = addend.last().map_or(0, |last| sign_of(*last));
        let mut carry = false;
        for (i, limb) in self.limbs.iter_mut().enumerate().skip(start) {
            let add = addend.get(i - start).copied().unwrap_or(addend_sign);
            let (sum, over) = limb.overflowing_add(add);
            let (sum, over_again) = sum.overflowing_add(u64::from(carry));
            *limb = sum;
            carry = over || over_again;
        }
        self.trim();
    }

    /// Whether the limbs are as [`trim`](Self::trim) leaves them: a sum has one form, so it has one encoding.
    fn is_trimmed(&self) -> bool {
        match self.limbs[..] {
            [] => self.first == 0,
            [only] => only != 0,
            [least, .., below, last] => least != 0 && last != sign_of(below),
            [below, last] => below != 0 && last != sign_of(below),
        }
    }

    fn trim(&mut self) {
        while let [.., below, last] = self.limbs[..] {
            if last != sign_of(below) {
                break;
            }
            self.limbs.pop();
        }
        if self.limbs == [0] {
            self.limbs.clear();
        }
        let zeros = self.limbs.iter().take_while(|limb| **limb == 0).count();
        self.limbs.drain(..zeros);
        self.first = if self.limbs.is_empty() { 0 } else { self.first + zeros };
    }
}

/// What a limb above `limb` is if it carries nothing but the sign.
fn sign_of(limb: u64) -> u64 {
    if limb >> 63 == 1 { u64::MAX } else { 0 }
}

/// The nearest f64 to the unsigned number `limbs` * 2^(64 * first - 1074).
fn round_magnitude(first: usize, limbs: &[u64]) -> f64 {
    let Some(top) = limbs.iter().rposition(|limb| *limb != 0) else {
        return 0.0;
    };
    // In units of 2^-1074.
    let bit_len = (first + top) * 64 + (64 - limbs[top].leading_zeros() as usize);
    if bit_len <= 53 {
        // Exact: the limb, the only one, is the bits of a subnormal or of the least normals.
        return f64::from_bits(limbs[top]);
    }
    let limb = |i: usize| -> u64 {
        if i < first {
            0
        } else {
            limbs.get(i - first).copied().unwrap_or(0)
        }
    };
    let low = bit_len - 53;
    let window = u128::from(limb(low / 64)) | u128::from(limb(low / 64 + 1)) << 64;
    let mantissa = (window >> (low % 64)) as u64 & ((1 << 53) - 1);
    let half = low - 1;
    let is_half = limb(half / 64) >> (half % 64) & 1 == 1;
    let is_sticky = (0..half / 64).any(|i| limb(i) != 0) || limb(half / 64) & ((1 << (half % 64)) - 1) != 0;
    let round_up = is_half && (is_sticky || mantissa & 1 == 1);
    let biased = (bit_len - 52) as u64;
    if biased >= 2047 {
        return f64::INFINITY;
    }
    // Rounding up carries into the exponent by itself, up to infinity.
    f64::from_bits((biased << 52) + (mantissa - (1 << 52)) + u64::from(round_up))
}

fn negate(limbs: &mut [u64]) {
    let mut carry = true;
    for limb in limbs {
        let (negated, over) = (!*limb).overflowing_add(u64::from(carry));
        *limb = negated;
        carry = over;
    }
}

impl Accumulator for ExactSum {
    fn merge(&mut self, other: &Self) {
        self.has_nan |= other.has_nan;
        self.has_positive_infinity |= other.has_positive_infinity;
        self.has_negative_infinity |= other.has_negative_infinity;
        if !other.limbs.is_empty() {
            self.add_limbs(other.first, &other.limbs);
        }
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        let flags = u8::from(self.has_nan)
            | u8::from(self.has_positive_infinity) << 1
            | u8::from(self.has_negative_infinity) << 2;
        bytes.push(flags);
        push_varint(bytes, self.first as u128);
        push_varint(bytes, self.limbs.len() as u128);
        for limb in &self.limbs {
            bytes.extend_from_slice(&limb.to_le_bytes());
        }
    }

    fn decode(reader: &mut StateReader<'_>) -> Result<Self, StateError> {
        let flags = reader.byte()?;
        let first = reader.u64()?;
        let len = reader.u64()?;
        if flags > 7 || first > MAX_LIMBS as u64 || len > MAX_LIMBS as u64 - first {
            return Err(StateError::Damaged);
        }
        let mut limbs = Vec::with_capacity(len as usize);
        for _ in 0..len {
            limbs.push(u64::from_le_bytes(reader.array()?));
        }
        let sum = Self {
            first: first as usize,
            limbs,
            has_nan: flags & 1 != 0,
            has_positive_infinity: flags & 2 != 0,
            has_negative_infinity: flags & 4 != 0,
        };
        if sum.is_trimmed() {
            Ok(sum)
        } else {
            Err(StateError::Damaged)
        }
    }
}

const _: () = assert!(MAX_LIMBS * 64 > 1024 + 64 + LEAST_EXPONENT.unsigned_abs() as usize);
