use std::hint::black_box;
use std::time::Instant;

/// A measure: gives nanoseconds an item, each time it is taken.
pub struct Measure<'a> {
    name: String,
    take: Box<dyn FnMut() -> f64 + 'a>,
}

impl<'a> Measure<'a> {
    /// The measure of this name, which is unlike that of any other.
    pub fn new(name: impl Into<String>, take: impl FnMut() -> f64 + 'a) -> Self {
        Self {
            name: name.into(),
            take: Box::new(take),
        }
    }
}

/// What measures gave that took turns.
///
/// Other programs, and other guests of the machine, slow memory down for seconds at a time. All measures are therefore taken
/// once in a round, a ratio is one of two measures of the same round, and the median of the rounds counts.
pub struct Figures {
    names: Vec<String>,
    /// By measure, by round.
    ns: Vec<Vec<f64>>,
}

impl Figures {
    /// Takes every measure once for nothing, then once a round, each round beginning with another one.
    pub fn take(rounds: usize, mut measures: Vec<Measure<'_>>) -> Self {
        let count = measures.len();
        let mut ns = vec![Vec::with_capacity(rounds); count];
        for measure in &mut measures {
            (measure.take)();
        }
        for round in 0..rounds {
            for turn in 0..count {
                let index = (round + turn) % count;
                ns[index].push((measures[index].take)());
            }
        }
        Self {
            names: measures.into_iter().map(|measure| measure.name).collect(),
            ns,
        }
    }

    /// Measures that were taken otherwise: by name, by round.
    pub fn given(measures: impl IntoIterator<Item = (String, Vec<f64>)>) -> Self {
        let (names, ns) = measures.into_iter().unzip();
        Self { names, ns }
    }

    /// The median of a measure.
    ///
    /// # Panics
    /// There is no measure of this name.
    pub fn median_ns(&self, name: &str) -> f64 {
        median(self.rounds_of(name).to_vec())
    }

    /// The median of the ratios of two measures within a round.
    ///
    /// # Panics
    /// There are no measures of these names.
    pub fn median_ratio(&self, name: &str, relative_to: &str) -> f64 {
        let pairs = self.rounds_of(name).iter().zip(self.rounds_of(relative_to));
        median(pairs.map(|(ns, base_ns)| ns / base_ns).collect())
    }

    /// The one of these measures that has the lowest median.
    ///
    /// # Panics
    /// There are no measures of these names.
    pub fn fastest<'n>(&self, names: &'n [String]) -> &'n str {
        let fastest = names
            .iter()
            .min_by(|a, b| self.median_ns(a).total_cmp(&self.median_ns(b)));
        fastest.expect("a measure is named")
    }

    fn rounds_of(&self, name: &str) -> &[f64] {
        let index = self.names.iter().position(|found| found == name);
        &self.ns[index.expect("a measure of this name was taken")]
    }
}

/// Nanoseconds for each of `count` items that `work` does.
pub fn ns_each<T>(count: usize, work: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    black_box(work());
    start.elapsed().as_nanos() as f64 / count as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count => (values[count / 2] + values[(count - 1) / 2]) / 2.0,
    }
}
