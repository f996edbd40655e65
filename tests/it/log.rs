//! Generated logs, the CSV files and the project made of them, and what their features are by the rules of time alone:
//! every event looked at for every row.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use unskew_frame::Value;
use unskew_snapshot::{EventTime, MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, Status};
use unskew_tests::Fixture;

/// 2024-01-10T00:00:00Z.
pub const START: i64 = 1_704_844_800_000_000;
/// How long the log is: longer than the longest window.
pub const DAYS: i64 = 9;
pub const ITEMS: i64 = 24;
/// The windows of `ctr-history`: name, length, hop.
pub const WINDOWS: [(&str, i64, i64); 3] = [
    ("1h", MICROS_PER_HOUR, 5 * MICROS_PER_MINUTE),
    ("1d", MICROS_PER_DAY, MICROS_PER_HOUR),
    ("7d", 7 * MICROS_PER_DAY, MICROS_PER_HOUR),
];
const PRIOR_CTR: f64 = 0.005;
const TTL_US: u64 = (3 * MICROS_PER_DAY) as u64;

#[derive(Clone, Debug)]
pub struct Impression {
    pub time: i64,
    pub known_at: Option<i64>,
    pub item: Option<i64>,
    pub segment: Option<String>,
    pub clicked: Option<bool>,
}

/// A row of the table of items.
#[derive(Clone, Debug)]
pub struct Item {
    pub time: i64,
    pub known_at: Option<i64>,
    pub item: Option<i64>,
    pub price: Option<i64>,
    pub category: Option<String>,
}

/// A row of a spine.
#[derive(Clone, Debug)]
pub struct Row {
    pub time: i64,
    pub item: Option<i64>,
    pub segment: Option<String>,
    pub position: Option<i64>,
}

#[derive(Clone, Debug)]
pub struct Log {
    pub impressions: Vec<Impression>,
    pub items: Vec<Item>,
    pub has_known_at: bool,
    /// What the views of impressions declare.
    pub lateness: Option<i64>,
}

/// xorshift64*: the same numbers from the same seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// Of `0..n`.
    pub fn below(&mut self, n: i64) -> i64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as i64 % n
    }

    /// Once in `n` times.
    pub fn one_in(&mut self, n: i64) -> bool {
        self.below(n) == 0
    }

    /// A time in `[from, to)`, now and then on a boundary or beside one.
    fn time(&mut self, from: i64, to: i64) -> i64 {
        let time = from + (self.below(1 << 30) * (1 << 30) + self.below(1 << 30)) % (to - from);
        let hop = [1, 1, 5 * MICROS_PER_MINUTE, MICROS_PER_HOUR, MICROS_PER_DAY][self.below(5) as usize];
        (time - time % hop + [0, 0, 0, 1, -1][self.below(5) as usize]).clamp(from, to - 1)
    }

    fn segment(&mut self) -> Option<String> {
        let segments = ["a", "b", "ü", "", "with, comma"];
        match segments.get(self.below(6) as usize) {
            // An empty cell of CSV is no value.
            Some(segment) if !segment.is_empty() => Some((*segment).to_owned()),
            _ => None,
        }
    }
}

impl Log {
    /// `impressions` impressions over [`DAYS`] days. Item 0 has none.
    pub fn generate(seed: u64, impressions: usize, has_known_at: bool) -> Self {
        let mut random = Random::new(seed);
        let end = START + DAYS * MICROS_PER_DAY;
        let mut log = Self {
            impressions: Vec::with_capacity(impressions),
            items: Vec::new(),
            has_known_at,
            lateness: None,
        };
        for _ in 0..impressions {
            let time = match log.impressions.last() {
                Some(last) if random.one_in(5) => last.time,
                _ => random.time(START, end),
            };
            // A few items have most of the impressions.
            let hot = 1 + random.below(ITEMS - 1);
            let item = 1 + random.below(hot);
            let impression = Impression {
                time,
                known_at: log.known_at(&mut random, time),
                item: (!random.one_in(50)).then_some(item),
                segment: random.segment(),
                clicked: (!random.one_in(20)).then(|| random.one_in(8)),
            };
            log.impressions.push(impression);
        }
        for _ in 0..impressions / 10 {
            let time = match log.items.last() {
                Some(last) if random.one_in(5) => last.time,
                _ => random.time(START, end),
            };
            let item = Item {
                time,
                known_at: log.known_at(&mut random, time),
                item: (!random.one_in(50)).then(|| random.below(ITEMS)),
                price: (!random.one_in(10)).then(|| random.below(5_000)),
                category: random.segment(),
            };
            log.items.push(item);
        }
        log
    }

    /// The same log where views declare a lateness, if it has a known-at: some impressions are exactly as late as they may be, some
    /// later by a microsecond.
    pub fn with_lateness(mut self, lateness: i64) -> Self {
        if self.has_known_at {
            self.lateness = Some(lateness);
            for (index, event) in self.impressions.iter_mut().enumerate() {
                if let beyond @ 0..2 = index % 10 {
                    event.known_at = Some(event.time + lateness + beyond as i64);
                }
            }
        }
        self
    }

    /// Whether an impression is too late to count.
    pub fn is_late(&self, event: &Impression) -> bool {
        self.lateness
            .zip(event.known_at)
            .is_some_and(|(lateness, known_at)| known_at - event.time > lateness)
    }

    /// By view with a lateness, the impressions that could be seen at a time if they had not been late.
    pub fn late(&self, at: i64) -> BTreeMap<String, u64> {
        let is_seen = |event: &&Impression| event.time < at && event.known_at.is_none_or(|known_at| known_at <= at);
        let late = self
            .impressions
            .iter()
            .filter(|event| is_seen(event) && self.is_late(event));
        let (mut of_items, mut of_segments) = (0, 0);
        for event in late.filter(|event| event.item.is_some()) {
            of_items += 1;
            of_segments += u64::from(event.segment.is_some());
        }
        let views = [("item_ctr", of_items), ("segment_ctr", of_segments)];
        let views = views.into_iter().filter(|_| self.lateness.is_some());
        views.map(|(view, count)| (view.to_owned(), count)).collect()
    }

    /// Mostly at once, now and then hours late; now and then unknown, which is from the first.
    fn known_at(&self, random: &mut Random, time: i64) -> Option<i64> {
        if !self.has_known_at || random.one_in(10) {
            return None;
        }
        Some(match random.below(4) {
            0 => random.time(time, time + MICROS_PER_DAY),
            1 => time + 1,
            _ => time,
        })
    }

    /// The rows of a spine in `[from, to)`, some of which ask for an instant of the log or one that is a window later.
    pub fn spine(&self, seed: u64, rows: usize, from: i64, to: i64) -> Vec<Row> {
        let mut random = Random::new(seed.wrapping_mul(77));
        let mut spine: Vec<Row> = Vec::with_capacity(rows);
        for _ in 0..rows {
            // A request has several candidates, and some rows come twice.
            if let Some(last) = spine.last().filter(|_| !random.one_in(4)).cloned() {
                let item = if random.one_in(8) {
                    last.item
                } else {
                    Some(random.below(ITEMS + 2))
                };
                spine.push(Row { item, ..last });
                continue;
            }
            let time = if random.one_in(3) && !self.impressions.is_empty() {
                let event = &self.impressions[random.below(self.impressions.len() as i64) as usize];
                let later = [0, WINDOWS[0].1, WINDOWS[1].1, WINDOWS[2].1][random.below(4) as usize];
                let time = event.known_at.filter(|_| random.one_in(2)).unwrap_or(event.time);
                (time + later + random.below(3) - 1).clamp(from, to - 1)
            } else {
                random.time(from, to)
            };
            spine.push(Row {
                time,
                item: (!random.one_in(12)).then(|| random.below(ITEMS + 2)),
                segment: random.segment(),
                position: (!random.one_in(4)).then(|| random.below(5)),
            });
        }
        spine
    }

    /// A project of the log.
    pub fn fixture(&self) -> Fixture {
        Fixture::new(
            &self.toml(),
            &[
                ("impressions.csv", &self.impressions_csv()),
                ("items.csv", &self.items_csv()),
            ],
        )
    }

    /// What the project file says.
    pub fn toml(&self) -> String {
        let known_at = if self.has_known_at {
            "known_at = \"known_at\""
        } else {
            ""
        };
        let lateness = self.lateness.map(|us| format!("lateness = \"{us}us\""));
        PROJECT
            .replace("KNOWN_AT", known_at)
            .replace("LATENESS", &lateness.unwrap_or_default())
    }

    fn impressions_csv(&self) -> String {
        let mut csv = "time,known_at,item_id,segment,click\n".to_owned();
        for row in &self.impressions {
            let click = row.clicked.map(u8::from);
            let cells = [
                cell(Some(row.time)),
                cell(row.known_at),
                cell(row.item),
                text(&row.segment),
                cell(click),
            ];
            csv += &cells.join(",");
            csv.push('\n');
        }
        csv
    }

    fn items_csv(&self) -> String {
        let mut csv = "time,known_at,item_id,price,category\n".to_owned();
        for row in &self.items {
            let price = row.price.map(|cents| format!("{:?}", cents as f64 / 100.0));
            let cells = [
                cell(Some(row.time)),
                cell(row.known_at),
                cell(row.item),
                cell(price),
                text(&row.category),
            ];
            csv += &cells.join(",");
            csv.push('\n');
        }
        csv
    }

    /// What is served of `view` for a row, by the rules alone: the values of the service's features of the view, and their
    /// status before missing values are told apart.
    pub fn naive(&self, row: &Row, freeze_at: Option<i64>) -> Naive<'_> {
        let seen_at = freeze_at.map_or(row.time, |freeze_at| freeze_at.min(row.time));
        let of_item = |event: &Impression| row.item.is_some() && event.item == row.item;
        let of_segment = |event: &Impression| of_item(event) && row.segment.is_some() && event.segment == row.segment;
        let mut values = Vec::new();
        let mut statuses = Vec::new();
        self.windows(row, seen_at, 100.0, of_item, &mut values, &mut statuses);
        self.windows(row, seen_at, 20.0, of_segment, &mut values, &mut statuses);
        let visible = self.items.iter().filter(|item| {
            row.item.is_some()
                && item.item == row.item
                && item.time <= seen_at
                && item.known_at.is_none_or(|known_at| known_at <= seen_at)
        });
        let last = visible.max_by_key(|item| (item.time, item.known_at, item.price, item.category.clone()));
        let status = match last {
            None => Status::NotFound,
            Some(item) if item.time.abs_diff(row.time) > TTL_US => Status::Expired,
            Some(_) => Status::Present,
        };
        let alive = last.filter(|_| status == Status::Present);
        let price = alive.and_then(|item| item.price);
        let category = alive.and_then(|item| item.category.as_deref());
        values.push(price.map_or(Value::Null, |cents| Value::F64(cents as f64 / 100.0)));
        values.push(category.map_or(Value::Null, Value::String));
        statuses.extend([status; 2]);
        for (value, status) in values.iter().zip(&mut statuses) {
            if *status == Status::Present && value.is_null() {
                *status = Status::Null;
            }
        }
        Naive { values, statuses }
    }

    fn windows(
        &self,
        row: &Row,
        seen_at: i64,
        weight: f64,
        is_of: impl Fn(&Impression) -> bool,
        values: &mut Vec<Value<'_>>,
        statuses: &mut Vec<Status>,
    ) {
        let visible: Vec<&Impression> = self
            .impressions
            .iter()
            .filter(|event| {
                is_of(event)
                    && event.time < seen_at
                    && event.known_at.is_none_or(|known_at| known_at <= seen_at)
                    && !self.is_late(event)
            })
            .collect();
        let status = if visible.is_empty() {
            Status::NotFound
        } else {
            Status::Present
        };
        for (_, length, hop) in WINDOWS {
            let tail = (row.time - length).div_euclid(hop) * hop;
            let window = || visible.iter().filter(|event| event.time >= tail);
            let impressions = window().count() as i64;
            let clicks = window().filter(|event| event.clicked == Some(true)).count() as i64;
            let ctr = (clicks as f64 + PRIOR_CTR * weight) / (impressions as f64 + weight);
            values.extend([Value::I64(impressions), Value::I64(clicks), Value::F64(ctr)]);
            statuses.extend([status; 3]);
        }
    }
}

/// The features of a row of service `features`, in its order.
#[derive(Debug)]
pub struct Naive<'a> {
    pub values: Vec<Value<'a>>,
    pub statuses: Vec<Status>,
}

pub fn spine_csv(rows: &[Row]) -> String {
    let mut csv = "time,item_id,segment,position\n".to_owned();
    for row in rows {
        let cells = [
            cell(Some(row.time)),
            cell(row.item),
            text(&row.segment),
            cell(row.position),
        ];
        csv += &cells.join(",");
        csv.push('\n');
    }
    csv
}

fn cell(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn text(value: &Option<String>) -> String {
    let mut cell = String::new();
    if let Some(value) = value {
        let _ = write!(cell, "\"{value}\"");
    }
    cell
}

/// The prediction time of a row.
pub fn time(row: &Row) -> EventTime {
    EventTime(row.time)
}

/// Service `features` has the features of [`Log::naive`] and takes null keys; `ranker` adds a row transform on top.
const PROJECT: &str = r#"
[project]
name = "generated"

[[entity]]
name = "item"
keys = [{ name = "item_id", type = "i64" }]

[[entity]]
name = "item_in_segment"
keys = [{ name = "segment", type = "string" }, { name = "item_id", type = "i64" }]

[[source]]
name = "impressions"
path = "impressions.csv"
event_time = "time"
KNOWN_AT

[[source]]
name = "items"
path = "items.csv"
event_time = "time"
KNOWN_AT

[[view]]
name = "item_context"
entity = "item"
source = "items"
ttl = "3d"
features = [{ name = "price", type = "f64" }, { name = "category", type = "string" }]

[[view]]
name = "item_ctr"
entity = "item"
source = "impressions"
module = "ctr-history"
events = { clicked = "click" }
inputs = { prior_ctr = 0.005, prior_weight = 100.0 }
LATENESS

[[view]]
name = "segment_ctr"
entity = "item_in_segment"
source = "impressions"
module = "ctr-history"
events = { clicked = "click" }
inputs = { prior_ctr = 0.005, prior_weight = 20.0 }
LATENESS

[[service]]
name = "features"
request = [{ name = "segment", type = "string", nullable = true }]
candidate = [{ name = "item_id", type = "i64", nullable = true }]
features = [
    "item_ctr:impressions_1h", "item_ctr:clicks_1h", "item_ctr:ctr_1h",
    "item_ctr:impressions_1d", "item_ctr:clicks_1d", "item_ctr:ctr_1d",
    "item_ctr:impressions_7d", "item_ctr:clicks_7d", "item_ctr:ctr_7d",
    "segment_ctr:impressions_1h", "segment_ctr:clicks_1h", "segment_ctr:ctr_1h",
    "segment_ctr:impressions_1d", "segment_ctr:clicks_1d", "segment_ctr:ctr_1d",
    "segment_ctr:impressions_7d", "segment_ctr:clicks_7d", "segment_ctr:ctr_7d",
    "item_context:price", "item_context:category",
]

# Every key in the request, so that a lookup serves all candidates.
[[service]]
name = "one_item"
request = [{ name = "segment", type = "string", nullable = true }, { name = "item_id", type = "i64", nullable = true }]
candidate = [{ name = "position", type = "i64", nullable = true }]
features = ["item_ctr:ctr_7d", "segment_ctr:ctr_1d", "item_context:price", "item_context:category", "position"]

[[service]]
name = "no_candidates"
request = [{ name = "segment", type = "string", nullable = true }, { name = "item_id", type = "i64", nullable = true }]
features = ["item_ctr:ctr_7d", "segment_ctr:ctr_1d", "item_context:price"]

[[service]]
name = "ranker"
request = [{ name = "segment", type = "string", nullable = true }]
candidate = [{ name = "item_id", type = "i64" }, { name = "position", type = "i64", nullable = true }]
features = [
    "position", "segment", "item_ctr:ctr_1d", "segment_ctr:ctr_7d", "item_context:category",
    "context:hour", "context:day_of_week", "context:item_hash", "context:segment_hash", "context:item_segment_hash",
    "context:item_position_hash", "context:floor_bucket", "context:ctr_trend", "context:ctr_logit",
    "context:ctr_at_position",
]

[[service.transform]]
name = "context"
module = "request-context"
inputs = { user_segment = "segment", floor_price = "item_context:price", ctr_1d = "item_ctr:ctr_1d", ctr_7d = "item_ctr:ctr_7d" }
"#;
