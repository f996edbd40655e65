use crate::state::{StateError, StateReader, push_varint, zigzag};

/// Limbs that are held without an allocation: sums of values of similar size need two or three.
const INLINE_LIMBS: usize = 4;

/// A binary fixed-point number without a bound, in the limbs of a two's complement that carry at once.
///
/// ```text
/// add:    place the bits in the limbs of their exponent, add with carry up to the top
/// round:  take the magnitude, its top 53 bits, and a sticky bit of the rest
/// ```
///
/// In memory limbs may be redundant, so that adding need not tidy up; equality and bytes are those of the number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wide {
    /// The weight of the first limb is 2^(64 * first).
    first: i64,
    limbs: Limbs,
}

/// A number as it is read: mostly it has no more than two limbs.
pub(super) enum Read {
    Zero,
    /// The weight of the first, and both.
    Pair(i64, u64, u64),
    Longer(Wide),
}

impl Wide {
    /// Adds or subtracts `magnitude` * 2^`exponent`.
    pub fn add_word(&mut self, magnitude: u64, exponent: i64, is_negative: bool) {
        let (limb, shift) = (exponent >> 6, exponent & 63);
        // In two steps, for a shift by 64 is none. The high limb's sign is clear: fewer than 64 bits are shifted into it.
        let (low, high) = (magnitude << shift, magnitude >> 1 >> (63 - shift));
        let (low, high) = match is_negative {
            true => (low.wrapping_neg(), (!high).wrapping_add(u64::from(low == 0))),
            false => (low, high),
        };
        self.add_limbs(limb, &[low, high]);
    }

    /// Adds another number.
    #[inline]
    pub fn merge(&mut self, other: &Self) {
        let limbs = other.limbs.as_slice();
        // As it is, redundant or not, where there is room for it.
        if self.has_room(other.first, limbs.len()) {
            self.add_limbs(other.first, limbs);
        } else {
            let (first, limbs) = other.trimmed();
            if !limbs.is_empty() {
                self.add_limbs(first, limbs);
            }
        }
    }

    #[inline]
    fn has_room(&self, first: i64, len: usize) -> bool {
        first >= self.first && (first - self.first) as usize + len <= self.limbs.len
    }

    /// Whether it is below 0.
    pub fn is_negative(&self) -> bool {
        self.limbs.as_slice().last().is_some_and(|last| last >> 63 == 1)
    }

    /// The product.
    pub fn times(&self, other: &Self) -> Self {
        let is_negative = self.is_negative() != other.is_negative();
        let ((first, left), (other_first, right)) = (self.magnitude(), other.magnitude());
        let (left, right) = (left.as_slice(), right.as_slice());
        let mut product = vec![0_u64; left.len() + right.len() + 1];
        for (i, a) in left.iter().enumerate() {
            let mut carry = 0_u128;
            for (j, b) in right.iter().enumerate() {
                carry += u128::from(product[i + j]) + u128::from(*a) * u128::from(*b);
                product[i + j] = carry as u64;
                carry >>= 64;
            }
            product[i + right.len()] = carry as u64;
        }
        let mut number = Self {
            first: first + other_first,
            limbs: Limbs::of(&product),
        };
        if is_negative {
            number.negate();
        }
        number
    }

    /// The difference.
    pub fn minus(mut self, mut other: Self) -> Self {
        other.negate();
        self.merge(&other);
        self
    }

    /// The number times 2^(64 * `limbs`).
    pub fn shifted(&self, limbs: i64) -> Self {
        let mut shifted = self.clone();
        shifted.first += limbs;
        shifted
    }

    /// The number times 2^`exponent` as the nearest f64, ties to even; infinite beyond the greatest.
    pub fn round(&self, exponent: i64) -> f64 {
        let (first, limbs) = self.magnitude();
        let magnitude = round_magnitude(limbs.as_slice(), (first * 64).saturating_add(exponent));
        if self.is_negative() { -magnitude } else { magnitude }
    }

    /// The limbs without redundant ones: none for 0, and one form for each number.
    pub fn trimmed(&self) -> (i64, &[u64]) {
        trimmed(self.first, self.limbs.as_slice())
    }

    /// Adds a number of these limbs, which are not none.
    pub fn add_limbs(&mut self, first: i64, addend: &[u64]) {
        if !self.has_room(first, addend.len()) {
            self.reach(first, addend.len());
        }
        let start = (first - self.first) as usize;
        let limbs = self.limbs.as_mut_slice();
        let sign = limbs.last().map_or(0, |last| sign_of(*last));
        let addend_sign = addend.last().map_or(0, |last| sign_of(*last));
        let mut carry = false;
        for (limb, add) in limbs[start..].iter_mut().zip(addend) {
            (*limb, carry) = add_carry(*limb, *add, carry);
        }
        // Above the addend there is only its sign to add: nothing once that and the carry cancel.
        for limb in &mut limbs[start + addend.len()..] {
            if carry == (addend_sign != 0) {
                break;
            }
            (*limb, carry) = add_carry(*limb, addend_sign, carry);
        }
        let is_over = sign == addend_sign && limbs.last().is_some_and(|last| sign_of(*last) != sign);
        if is_over {
            self.limbs.push(sign);
        }
    }

    /// Makes room for `len` limbs from `first` on and one more for their carry.
    #[cold]
    fn reach(&mut self, first: i64, len: usize) {
        if self.limbs.len == 0 && len <= INLINE_LIMBS - 2 {
            // A limb below as well: the next value may be of a smaller size.
            self.first = first - 1;
            self.limbs = Limbs {
                len: INLINE_LIMBS,
                ..Limbs::default()
            };
            return;
        }
        let held = self.trimmed();
        let (start, sign) = match held.1.last() {
            None => (first, 0),
            Some(last) => (first.min(held.0), sign_of(*last)),
        };
        let end = (first + len as i64).max(held.0 + held.1.len() as i64);
        let mut limbs = Limbs::default();
        let zeros = if held.1.is_empty() { end - start } else { held.0 - start };
        for _ in 0..zeros {
            limbs.push(0);
        }
        for limb in held.1 {
            limbs.push(*limb);
        }
        while (limbs.as_slice().len() as i64) < end - start + 1 {
            limbs.push(sign);
        }
        (self.first, self.limbs) = (start, limbs);
    }

    fn negate(&mut self) {
        // One more limb: the least number has no positive of its size.
        let sign = if self.is_negative() { u64::MAX } else { 0 };
        self.limbs.push(sign);
        negate(self.limbs.as_mut_slice());
    }

    /// The absolute value, unsigned.
    fn magnitude(&self) -> (i64, Limbs) {
        let (first, limbs) = self.trimmed();
        let mut limbs = Limbs::of(limbs);
        if self.is_negative() {
            negate(limbs.as_mut_slice());
        }
        (first, limbs)
    }
}

impl Read {
    /// Reads what [`encode_limbs`] wrote, of limbs at `range`.
    #[inline]
    pub fn decode(reader: &mut StateReader<'_>, range: core::ops::Range<i64>) -> Result<Self, StateError> {
        let (first, len) = (reader.i64()?, reader.u64()?);
        let is_within = match len {
            0 => first == 0,
            _ => range.contains(&first) && (range.end - first).cast_unsigned() >= len,
        };
        if !is_within {
            return Err(StateError::Damaged);
        }
        let mut limb = || reader.array().map(u64::from_le_bytes);
        let (low, high) = match len {
            0 => return Ok(Self::Zero),
            1 => {
                let low = limb()?;
                (low, sign_of(low))
            }
            2 => (limb()?, limb()?),
            _ => return Self::decode_longer(reader, first, len),
        };
        if low == 0 || len == 2 && high == sign_of(low) {
            return Err(StateError::Damaged);
        }
        Ok(Self::Pair(first, low, high))
    }

    fn decode_longer(reader: &mut StateReader<'_>, first: i64, len: u64) -> Result<Self, StateError> {
        let mut limbs = Limbs::default();
        for _ in 0..len {
            limbs.push(u64::from_le_bytes(reader.array()?));
        }
        match trimmed(first, limbs.as_slice()) == (first, limbs.as_slice()) {
            true => Ok(Self::Longer(Wide { first, limbs })),
            false => Err(StateError::Damaged),
        }
    }
}

/// The limbs without redundant ones: none for 0, and one form for each number.
pub(super) fn trimmed(first: i64, mut limbs: &[u64]) -> (i64, &[u64]) {
    while let [rest @ .., below, last] = limbs {
        if *last != sign_of(*below) {
            break;
        }
        limbs = &limbs[..rest.len() + 1];
    }
    let zeros = limbs.iter().take_while(|limb| **limb == 0).count();
    match &limbs[zeros..] {
        [] => (0, &[]),
        limbs => (first + zeros as i64, limbs),
    }
}

/// Appends the canonical bytes of a number's [`trimmed`] limbs: position of the first limb, number of limbs, limbs.
pub(super) fn encode_limbs((first, limbs): (i64, &[u64]), bytes: &mut Vec<u8>) {
    push_varint(bytes, zigzag(first.into()));
    push_varint(bytes, limbs.len() as u128);
    for limb in limbs {
        bytes.extend_from_slice(&limb.to_le_bytes());
    }
}

/// Makes of a number its opposite, where the opposite has room in as many limbs.
#[inline]
pub(super) fn negate(limbs: &mut [u64]) {
    let mut carry = true;
    for limb in limbs {
        (*limb, carry) = add_carry(!*limb, 0, carry);
    }
}

#[inline]
fn add_carry(a: u64, b: u64, carry: bool) -> (u64, bool) {
    let (sum, is_over) = a.overflowing_add(b);
    let (sum, is_over_again) = sum.overflowing_add(u64::from(carry));
    (sum, is_over | is_over_again)
}

/// What a limb above `limb` is if it carries nothing but the sign.
#[inline]
fn sign_of(limb: u64) -> u64 {
    (limb.cast_signed() >> 63).cast_unsigned()
}

/// The nearest f64 to the unsigned number `limbs` * 2^`exponent`.
pub(super) fn round_magnitude(limbs: &[u64], exponent: i64) -> f64 {
    const LEAST: i64 = -1074;
    let Some(top) = limbs.iter().rposition(|limb| *limb != 0) else {
        return 0.0;
    };
    let zeros = i64::from(limbs[top].leading_zeros());
    let top_exponent = (top as i64 * 64 + 63 - zeros).saturating_add(exponent);
    if top_exponent > 1023 {
        return f64::INFINITY;
    }
    // The top 64 bits, the first of which is set, and whether any are below.
    let (high, low) = (limbs[top], top.checked_sub(1).map_or(0, |below| limbs[below]));
    let bits = high << zeros | low >> 1 >> (63 - zeros);
    let is_more = low << zeros != 0 || limbs[..top].iter().rev().skip(1).any(|limb| *limb != 0);
    // An f64 has 53 of them, fewer where the last would weigh less than its least.
    let last_exponent = (top_exponent - 52).max(LEAST);
    let dropped = 63 - (top_exponent - last_exponent);
    if dropped > 64 {
        return 0.0;
    }
    let kept = bits >> 1 >> (dropped - 1);
    let is_half = bits >> (dropped - 1) & 1 == 1;
    let is_sticky = is_more || bits & ((1 << (dropped - 1)) - 1) != 0;
    let kept = kept + u64::from(is_half && (is_sticky || kept & 1 == 1));
    // The bit above the 52 of the fraction counts the exponent up by itself, to infinity as well.
    f64::from_bits((((last_exponent - LEAST) as u64) << 52) + kept)
}

/// A vector of limbs, the first few of them in place.
#[derive(Clone, Debug, Default)]
struct Limbs {
    len: usize,
    inline: [u64; INLINE_LIMBS],
    /// All of them, once there are more.
    spilled: Vec<u64>,
}

impl Limbs {
    fn of(limbs: &[u64]) -> Self {
        let mut small = Self {
            len: limbs.len(),
            ..Self::default()
        };
        match small.inline.get_mut(..limbs.len()) {
            Some(inline) => inline.copy_from_slice(limbs),
            None => small.spilled.extend_from_slice(limbs),
        }
        small
    }

    #[inline]
    fn as_slice(&self) -> &[u64] {
        if self.spilled.is_empty() {
            &self.inline[..self.len]
        } else {
            &self.spilled
        }
    }

    #[inline]
    fn as_mut_slice(&mut self) -> &mut [u64] {
        if self.spilled.is_empty() {
            &mut self.inline[..self.len]
        } else {
            &mut self.spilled
        }
    }

    fn push(&mut self, limb: u64) {
        if self.spilled.is_empty() && self.len < INLINE_LIMBS {
            self.inline[self.len] = limb;
        } else {
            if self.spilled.is_empty() {
                self.spilled.extend_from_slice(&self.inline);
            }
            self.spilled.push(limb);
        }
        self.len += 1;
    }
}
