/// The upper bounds of the kinds of ages: the very time, a minute, an hour, 6 hours, a day, a week, 30 days. What is older is the
/// last kind.
pub const AGE_BOUNDS_US: [i64; 7] = [
    0,
    60_000_000,
    3_600_000_000,
    6 * 3_600_000_000,
    86_400_000_000,
    7 * 86_400_000_000,
    30 * 86_400_000_000,
];

/// How old rows were when they were used, in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ages {
    sorted: Vec<i64>,
}

impl Ages {
    pub(super) fn of(mut ages: Vec<i64>) -> Self {
        ages.sort_unstable();
        Self { sorted: ages }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.sorted.len() as u64
    }

    /// The age that a share of the rows has at most, the least for 0 and the greatest for 1; none without rows.
    pub fn quantile(&self, share: f64) -> Option<i64> {
        let last = self.sorted.len().checked_sub(1)?;
        let index = (share.clamp(0.0, 1.0) * last as f64).round() as usize;
        self.sorted.get(index).copied()
    }

    /// The rows of each kind: of [`AGE_BOUNDS_US`] and one more.
    pub fn histogram(&self) -> [u64; AGE_BOUNDS_US.len() + 1] {
        let mut counts = [0; AGE_BOUNDS_US.len() + 1];
        for age in &self.sorted {
            counts[AGE_BOUNDS_US.partition_point(|bound| bound < age)] += 1;
        }
        counts
    }
}
