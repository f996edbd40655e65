use core::fmt::Write as _;

use super::{Accumulate, Accumulator, Identity};
use crate::Timestamp;
use crate::bound::{greater, varint_len};
use crate::state::{StateError, StateReader, push_varint};

/// A sparse entry is this many bits of a hash and, in 6 more, the place of the first set bit behind them.
const SPARSE_BITS: u32 = 26;
const RANK_BITS: u32 = 6;

/// How many different values there were: a HyperLogLog with 2^`P` registers, whose standard error is 1.04 / sqrt(2^`P`), 1.6 %
/// for the default of 12.
///
/// Up to as many values as take no more bytes than the registers (768 for a `P` of 12) it counts hashes of their own and is exact
/// but for collisions; beyond that it holds registers. Which of the two is a function of the values, so equal sets
/// are equal bytes. After Flajolet, Fusy, Gandouet and Meunier (2007), the sparse form after Heule, Nunkesser and Hall
/// (2013), the estimator after Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017), which needs no
/// tables of corrections. The hash is XXH3 with 64 bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distinct<const P: u32 = 12> {
    /// Ascending, one for each prefix of a hash.
    sparse: Vec<u32>,
    /// The registers; empty while sparse.
    registers: Vec<u8>,
}

impl<const P: u32> Distinct<P> {
    const REGISTERS: usize = {
        assert!(P >= 4 && P <= 16, "the precision is 4 to 16");
        1 << P
    };
    /// As many entries as take the bytes of the registers: 4 each, against 6 bits.
    const SPARSE_MAX: usize = Self::REGISTERS * 6 / 8 / 4;
    /// The greatest place of a first set bit behind the bits of the register.
    const RANK_MAX: u8 = (64 - P + 1) as u8;

    /// The number of different values, estimated where there are many.
    pub fn value(&self) -> i64 {
        if self.registers.is_empty() {
            self.sparse.len() as i64
        } else {
            libm::round(self.estimate()) as i64
        }
    }

    /// Whether it counts hashes rather than estimates.
    pub fn is_exact(&self) -> bool {
        self.registers.is_empty()
    }

    fn estimate(&self) -> f64 {
        let m = Self::REGISTERS as f64;
        let mut counts = [0_u32; 64];
        for register in &self.registers {
            counts[usize::from(*register) % 64] += 1;
        }
        let top = usize::from(Self::RANK_MAX);
        let mut z = m * tau(1.0 - f64::from(counts[top]) / m);
        for count in counts[1..top].iter().rev() {
            z = 0.5 * (z + f64::from(*count));
        }
        z += m * sigma(f64::from(counts[0]) / m);
        m * m / (2.0 * core::f64::consts::LN_2) / z
    }

    fn add_hash(&mut self, hash: u64) {
        if self.registers.is_empty() {
            let rank = (hash << SPARSE_BITS).leading_zeros().min(64 - SPARSE_BITS) + 1;
            self.add_entry((hash >> (64 - SPARSE_BITS)) as u32, rank);
        } else {
            let rank = (hash << P).leading_zeros().min(64 - P) + 1;
            self.raise((hash >> (64 - P)) as usize, rank as u8);
        }
    }

    fn add_entry(&mut self, prefix: u32, rank: u32) {
        let at = self.sparse.partition_point(|entry| entry >> RANK_BITS < prefix);
        let entry = prefix << RANK_BITS | rank;
        match self.sparse.get_mut(at) {
            Some(held) if *held >> RANK_BITS == prefix => *held = entry.max(*held),
            _ => self.sparse.insert(at, entry),
        }
        if self.sparse.len() > Self::SPARSE_MAX {
            self.make_dense();
        }
    }

    fn make_dense(&mut self) {
        self.registers = vec![0; Self::REGISTERS];
        for entry in core::mem::take(&mut self.sparse) {
            self.raise_by(entry);
        }
    }

    /// What a sparse entry says of the registers.
    fn raise_by(&mut self, entry: u32) {
        let (prefix, rank) = (entry >> RANK_BITS, entry & ((1 << RANK_BITS) - 1));
        let behind = SPARSE_BITS - P;
        let rest = prefix & ((1 << behind) - 1);
        let rank = match rest {
            0 => behind + rank,
            _ => rest.leading_zeros() - (32 - behind) + 1,
        };
        self.raise((prefix >> behind) as usize, rank as u8);
    }

    fn raise(&mut self, register: usize, rank: u8) {
        let held = &mut self.registers[register];
        *held = rank.max(*held);
    }
}

impl<const P: u32> Default for Distinct<P> {
    fn default() -> Self {
        Self {
            sparse: Vec::new(),
            registers: Vec::new(),
        }
    }
}

impl<const P: u32> Accumulator for Distinct<P> {
    const MAX_BYTES: Option<u64> = {
        // The entries are written as distances, which add up to less than 2^32: few of them have a fifth byte.
        let entries = Self::SPARSE_MAX as u64;
        let longest = (1 << 32) >> (4 * 7);
        let sparse = varint_len(entries as u128) + 4 * entries + longest;
        Some(1 + greater(sparse, Self::REGISTERS as u64 / 4 * 3))
    };

    fn layout(text: &mut String) {
        let _ = write!(text, "distinct {P}");
    }

    fn merge(&mut self, other: &Self) {
        if self.registers.is_empty() && !other.registers.is_empty() {
            self.make_dense();
        }
        for (register, rank) in other.registers.iter().enumerate() {
            self.raise(register, *rank);
        }
        for entry in &other.sparse {
            if self.registers.is_empty() {
                self.add_entry(entry >> RANK_BITS, entry & ((1 << RANK_BITS) - 1));
            } else {
                self.raise_by(*entry);
            }
        }
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        if self.registers.is_empty() {
            bytes.push(0);
            push_varint(bytes, self.sparse.len() as u128);
            let mut previous = 0;
            for entry in &self.sparse {
                push_varint(bytes, (entry - previous).into());
                previous = *entry;
            }
        } else {
            bytes.push(1);
            // Four registers in three bytes.
            for four in self.registers.chunks_exact(4) {
                let packed = four.iter().rev().fold(0, |packed, rank| packed << 6 | u32::from(*rank));
                bytes.extend_from_slice(&packed.to_le_bytes()[..3]);
            }
        }
    }

    fn decode(reader: &mut StateReader<'_>) -> Result<Self, StateError> {
        let mut read = Self::default();
        match reader.byte()? {
            0 => {
                let len = reader.u64()?;
                let mut previous = 0_u32;
                for _ in 0..len.min(Self::SPARSE_MAX as u64 + 1) {
                    let step = u32::try_from(reader.u64()?).map_err(|_| StateError::Damaged)?;
                    let entry = previous.checked_add(step).ok_or(StateError::Damaged)?;
                    let is_next = read.sparse.is_empty() || entry >> RANK_BITS > previous >> RANK_BITS;
                    let rank = entry & ((1 << RANK_BITS) - 1);
                    if !is_next || !(1..=64 - SPARSE_BITS + 1).contains(&rank) {
                        return Err(StateError::Damaged);
                    }
                    read.sparse.push(entry);
                    previous = entry;
                }
                if read.sparse.len() as u64 != len || read.sparse.len() > Self::SPARSE_MAX {
                    return Err(StateError::Damaged);
                }
            }
            1 => {
                for _ in 0..Self::REGISTERS / 4 {
                    let [a, b, c] = reader.array()?;
                    let packed = u32::from_le_bytes([a, b, c, 0]);
                    read.registers.extend((0..4).map(|i| (packed >> (6 * i) & 63) as u8));
                }
                if read.registers.iter().any(|rank| *rank > Self::RANK_MAX) {
                    return Err(StateError::Damaged);
                }
            }
            _ => return Err(StateError::Damaged),
        }
        Ok(read)
    }
}

impl<V: Identity, const P: u32> Accumulate<V> for Distinct<P> {
    #[inline]
    fn add(&mut self, _: Timestamp, value: V) {
        self.add_hash(value.hash());
    }
}

/// Ertl's σ: what registers that were never set add.
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

/// Ertl's τ: what registers at their greatest take away.
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = libm::sqrt(x);
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}
