use unskew_frame::{Column, ColumnType};

use crate::Timestamp;

/// Numbers for tests: the same for the same seed, on every machine. After Steele, Lea and Flood, "Fast splittable
/// pseudorandom number generators" (2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Starts at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `end`, which is more than 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.u64() % end as u64) as usize
    }

    /// One of these.
    pub fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// Either.
    pub fn bool(&mut self) -> bool {
        self.u64() & 1 == 1
    }

    /// Mostly a few small numbers, so that values meet; any others, the least and the greatest.
    pub fn i64(&mut self) -> i64 {
        match self.below(8) {
            0..4 => self.below(9) as i64 - 4,
            4 => self.one_of(&[i64::MIN, i64::MAX, i64::MIN + 1, 0]),
            _ => self.u64().cast_signed() >> self.below(64),
        }
    }

    /// A finite number: of similar sizes, so that sums round; of any size; zeros, the least and the greatest.
    pub fn finite_f64(&mut self) -> f64 {
        const SPECIAL: [f64; 12] = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            0.1,
            f64::MAX,
            f64::MIN,
            f64::MIN_POSITIVE,
            5e-324,
            -5e-324,
            1e16,
            -1e308,
        ];
        match self.below(8) {
            0..3 => (self.below(2_000_000) as f64 - 1e6) / 64.0,
            3 | 4 => (self.below(2_000) as f64 - 1e3) / 100.0,
            5 => self.one_of(&SPECIAL),
            _ => {
                let any = f64::from_bits(self.u64());
                if any.is_finite() { any } else { 0.5 }
            }
        }
    }

    /// As [`finite_f64`](Self::finite_f64), and sometimes an infinity or a NaN of any payload.
    pub fn f64(&mut self) -> f64 {
        match self.below(40) {
            0 => f64::NAN,
            1 => f64::INFINITY,
            2 => f64::NEG_INFINITY,
            3 => f64::from_bits(self.u64() | 0x7ff8_0000_0000_0000),
            _ => self.finite_f64(),
        }
    }

    /// One of a few short texts.
    pub fn text(&mut self) -> &'static str {
        self.one_of(&["", "a", "b", "adx", "click", "impression", "käse", "728x90"])
    }

    /// Mostly one of a few times, so that events meet; any others.
    pub fn time(&mut self) -> Timestamp {
        Timestamp::from_micros(match self.below(4) {
            0 => self.u64().cast_signed(),
            1 => (self.u64() >> 12).cast_signed(),
            _ => self.below(5) as i64 - 2,
        })
    }

    /// Puts `items` into any order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }

    /// Appends a value of the column's type, or sometimes none to a nullable column.
    pub fn push_value(&mut self, column: &mut Column, nullable: bool) {
        if nullable && self.below(5) == 0 {
            return column.push_null();
        }
        match column.column_type() {
            ColumnType::F64 => column.push_f64(self.f64()),
            ColumnType::F32 => column.push_f32(self.f64() as f32),
            ColumnType::I64 => column.push_i64(self.i64()),
            ColumnType::Bool => column.push_bool(self.bool()),
            ColumnType::Timestamp => column.push_timestamp(self.i64()),
            ColumnType::String => column.push_str(self.text()),
            ColumnType::Bytes => column.push_bytes(self.text().as_bytes()),
            ColumnType::Vector(len) => {
                let vector: Vec<f32> = (0..len).map(|_| self.f64() as f32).collect();
                column.push_vector(&vector);
            }
        }
    }
}
