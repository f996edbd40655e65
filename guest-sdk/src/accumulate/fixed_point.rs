mod wide;

use crate::state::{StateError, StateReader};
pub(super) use wide::Wide;
use wide::{Read, encode_limbs, negate, round_magnitude, trimmed};

/// Digits of 32 bits that are held in place.
const DIGITS: usize = 2 * LIMBS;
/// What they make.
const LIMBS: usize = 4;
/// Digits that a word is added to, wherever its lowest bit is in the first.
const WORD_DIGITS: usize = 3;
/// The most additions before carries are passed on: each adds less than 2^32 to a digit, which has 63 bits and a sign.
const MAX_PENDING: u64 = 1 << 29;

/// A binary fixed-point number without a bound: what exact sums are kept in.
///
/// Values of similar size have their bits in the same few digits, so those are what is held in place, and carries wait: adding is
/// three additions without a branch. What is beyond the digits, values of very different sizes, is added to a [`Wide`].
///
/// ```text
/// number = digits[i] * 2^(32 * (first_digit + i)), added up, + far
/// add:     where the digits reach: add each 32 bits to their digit; else add to far
/// settle:  pass on the carries, from the lowest digit up, which gives limbs of a two's complement
/// ```
///
/// After the small superaccumulator of Neal (2015). In memory a number has many forms; equality and bytes are those of the number.
#[derive(Clone, Debug, Default)]
pub(super) struct FixedPoint {
    /// The weight of the first digit is 2^(32 * first_digit); a multiple of two, so that digits make whole limbs.
    first_digit: i64,
    digits: [i64; DIGITS],
    /// How many numbers were added to the digits since they were 0.
    pending: u64,
    far: Option<Box<Wide>>,
}

impl FixedPoint {
    /// Adds or subtracts `magnitude` * 2^`exponent`.
    pub fn add(&mut self, magnitude: u128, exponent: i64, is_negative: bool) {
        self.add_word(magnitude as u64, exponent, is_negative);
        let high = (magnitude >> 64) as u64;
        if high > 0 {
            self.add_word(high, exponent + 64, is_negative);
        }
    }

    /// Adds or subtracts `magnitude` * 2^`exponent`.
    #[inline]
    pub fn add_word(&mut self, magnitude: u64, exponent: i64, is_negative: bool) {
        let place = ((exponent >> 5) - self.first_digit).cast_unsigned() as usize;
        if place > DIGITS - WORD_DIGITS || self.pending >= MAX_PENDING {
            return self.add_far(magnitude, exponent, is_negative);
        }
        let shift = exponent & 31;
        // In two steps, for a shift by 64 is none.
        let (low, high) = (magnitude << shift, magnitude >> 1 >> (63 - shift));
        let sign = -i64::from(is_negative);
        let signed = |part: u64| (part.cast_signed() ^ sign) - sign;
        self.digits[place] += signed(low & u64::from(u32::MAX));
        self.digits[place + 1] += signed(low >> 32);
        self.digits[place + 2] += signed(high);
        self.pending += 1;
    }

    #[cold]
    fn add_far(&mut self, magnitude: u64, exponent: i64, is_negative: bool) {
        if self.make_room(exponent >> 5) {
            self.add_word(magnitude, exponent, is_negative);
        } else {
            self.far().add_word(magnitude, exponent, is_negative);
        }
    }

    /// Adds another number.
    #[inline]
    pub fn merge(&mut self, other: &Self) {
        if let Some(far) = &other.far {
            self.far().merge(far);
        }
        if self.pending == 0 {
            (self.first_digit, self.digits, self.pending) = (other.first_digit, other.digits, other.pending);
        } else if self.first_digit == other.first_digit && self.pending + other.pending <= MAX_PENDING {
            for (digit, other) in self.digits.iter_mut().zip(&other.digits) {
                *digit += other;
            }
            self.pending += other.pending;
        } else if other.pending > 0 {
            self.merge_settled(other);
        }
    }

    #[cold]
    fn merge_settled(&mut self, other: &Self) {
        let limbs = other.limbs();
        let (first, limbs) = trimmed(other.first_digit / 2, &limbs);
        self.add_limbs(first, limbs);
    }

    /// Adds a number of two limbs: what most sums of values are.
    #[inline]
    fn add_pair(&mut self, first: i64, low: u64, high: u64) {
        let place = (2 * first - self.first_digit).cast_unsigned() as usize;
        if place > DIGITS - 4 || self.pending >= MAX_PENDING {
            return self.add_limbs(first, &[low, high]);
        }
        self.digits[place] += i64::from(low as u32);
        self.digits[place + 1] += i64::from((low >> 32) as u32);
        self.digits[place + 2] += i64::from(high as u32);
        self.digits[place + 3] += high.cast_signed() >> 32;
        self.pending += 1;
    }

    /// Adds a number of any limbs.
    #[cold]
    fn add_limbs(&mut self, first: i64, limbs: &[u64]) {
        let Some(last) = limbs.len().checked_sub(1) else { return };
        let place = |number: &Self| {
            let place = 2 * first - number.first_digit;
            let is_within = 0 <= place && place as usize + 2 * limbs.len() <= DIGITS;
            (is_within && number.pending < MAX_PENDING).then_some(place as usize)
        };
        let mut found = place(self);
        if found.is_none() && self.make_room(2 * first) {
            found = place(self);
        }
        let Some(place) = found else {
            return self.far().add_limbs(first, limbs);
        };
        for ((index, limb), digits) in limbs.iter().enumerate().zip(self.digits[place..].chunks_exact_mut(2)) {
            digits[0] += i64::from(*limb as u32);
            digits[1] += match index == last {
                true => limb.cast_signed() >> 32,
                false => i64::from((limb >> 32) as u32),
            };
        }
        self.pending += 1;
    }

    #[cold]
    fn add_wide(&mut self, number: &Wide) {
        let (first, limbs) = number.trimmed();
        self.add_limbs(first, limbs);
    }

    /// Empties the digits if they hold as many numbers as they can, and puts them, if they are empty, where a number is that begins
    /// at `digit`. Whether they are.
    fn make_room(&mut self, digit: i64) -> bool {
        if self.pending >= MAX_PENDING {
            let (limbs, first) = (self.limbs(), self.first_digit / 2);
            self.far().add_limbs(first, &limbs);
            (self.digits, self.pending) = ([0; DIGITS], 0);
        }
        let is_empty = self.pending == 0;
        if is_empty {
            self.first_digit = first_digit_for(digit);
        }
        is_empty
    }

    fn far(&mut self) -> &mut Wide {
        self.far.get_or_insert_default()
    }

    /// The digits as limbs, the first of weight 2^(32 * `first_digit`): the last is no more than a sign and carries.
    #[inline]
    fn limbs(&self) -> [u64; LIMBS + 1] {
        let (mut limbs, mut carry) = ([0; LIMBS + 1], 0);
        for (limb, digits) in limbs.iter_mut().zip(self.digits.chunks_exact(2)) {
            let low = digits[0] + carry;
            let high = digits[1] + (low >> 32);
            *limb = low.cast_unsigned() & u64::from(u32::MAX) | high.cast_unsigned() << 32;
            carry = high >> 32;
        }
        limbs[LIMBS] = carry.cast_unsigned();
        limbs
    }

    /// The whole number.
    pub fn settled(&self) -> Wide {
        let mut number = self.far.as_deref().cloned().unwrap_or_default();
        if self.pending > 0 {
            number.add_limbs(self.first_digit / 2, &self.limbs());
        }
        number
    }

    /// The number times 2^`exponent` as the nearest f64, ties to even; infinite beyond the greatest.
    #[inline]
    pub fn round(&self, exponent: i64) -> f64 {
        if self.far.is_some() {
            return self.settled().round(exponent);
        }
        let mut limbs = self.limbs();
        let is_negative = limbs[LIMBS] >> 63 == 1;
        if is_negative {
            negate(&mut limbs);
        }
        let magnitude = round_magnitude(&limbs, (self.first_digit * 32).saturating_add(exponent));
        if is_negative { -magnitude } else { magnitude }
    }

    /// Appends the canonical bytes.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        match &self.far {
            None => encode_limbs(trimmed(self.first_digit / 2, &self.limbs()), bytes),
            Some(_) => encode_limbs(self.settled().trimmed(), bytes),
        }
    }

    /// Reads what [`encode`](Self::encode) wrote, of limbs at `range`.
    pub fn decode(reader: &mut StateReader<'_>, range: core::ops::Range<i64>) -> Result<Self, StateError> {
        match Read::decode(reader, range)? {
            Read::Zero => Ok(Self::default()),
            Read::Pair(first, low, high) => Ok(Self::of_pair(first, low, high)),
            Read::Longer(longer) => {
                let mut number = Self::default();
                number.add_wide(&longer);
                Ok(number)
            }
        }
    }

    /// A number of two limbs. Its digits are written one by one: to fill and to copy memory is a call out of a component.
    #[inline]
    fn of_pair(first: i64, low: u64, high: u64) -> Self {
        let first_digit = first_digit_for(2 * first);
        let pair = [low as u32, (low >> 32) as u32, high as u32].map(i64::from);
        let (a, b, c, d) = (pair[0], pair[1], pair[2], high.cast_signed() >> 32);
        // Limbs begin two or four digits behind the first.
        let digits = match 2 * first - first_digit {
            2 => [0, 0, a, b, c, d, 0, 0],
            _ => [0, 0, 0, 0, a, b, c, d],
        };
        Self {
            first_digit,
            digits,
            pending: 1,
            far: None,
        }
    }

    /// Adds the number that [`encode`](Self::encode) wrote, of limbs at `range`.
    #[inline]
    pub fn merge_encoded(
        &mut self,
        reader: &mut StateReader<'_>,
        range: core::ops::Range<i64>,
    ) -> Result<(), StateError> {
        match Read::decode(reader, range)? {
            Read::Zero => {}
            Read::Pair(first, low, high) => self.add_pair(first, low, high),
            Read::Longer(number) => self.add_wide(&number),
        }
        Ok(())
    }
}

/// Where the digits of a number begin whose first bits are in `digit`: not closer than need be, since a sum whose first value was a
/// little smaller or greater is to have the same digits.
const fn first_digit_for(digit: i64) -> i64 {
    (digit - 1).div_euclid(4) * 4
}

impl PartialEq for FixedPoint {
    fn eq(&self, other: &Self) -> bool {
        self.settled().trimmed() == other.settled().trimmed()
    }
}
