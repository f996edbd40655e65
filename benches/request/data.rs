//! The rows of three views, which are a function of their number, and requests about them.

use unskew_frame::{ColumnType, Value};
use unskew_snapshot::{EntityKey, EventTime, FeatureColumn, KeyColumn, KeyPart, KeyType, MICROS_PER_DAY, Ttl};
use unskew_snapshot::{SnapshotSchema, SnapshotWriter, WriteOptions};
use unskew_snapshot_benches::Random;

/// When all requests are made.
pub const NOW: EventTime = EventTime(1_575_072_000_000_000);
/// The time to live of what is known of a user and an item.
pub const PAIR_TTL_US: u64 = MICROS_PER_DAY as u64;
/// The items that a user has a row with, less those that there are too few of.
const ITEMS_OF_USER: u64 = 128;
/// One candidate in so many is an item that the user has no row with.
const UNKNOWN: u64 = 5;
/// One value in so many is null.
const NULL: u64 = 33;

/// The features of each view.
#[derive(Clone, Copy, Debug)]
pub struct Widths {
    pub user: usize,
    pub item: usize,
    pub pair: usize,
}

impl Widths {
    /// Together with those of the row transform.
    pub fn total(self) -> usize {
        self.user + self.item + self.pair + 10
    }
}

/// One of the views.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// By user: f64s.
    User,
    /// By item: f64s; the first two are click-through rates.
    Item,
    /// By user and item: f32s.
    Pair,
}

/// How many rows each view has.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    pub users: u64,
    pub items: u64,
    pub pairs: u64,
}

impl Rows {
    /// As many as take `bytes` of values each.
    pub fn of_bytes(bytes: u64, widths: Widths) -> Self {
        let rows = |row_bytes: usize| (bytes / (row_bytes as u64 + 16)).max(ITEMS_OF_USER);
        Self {
            users: rows(8 * widths.user),
            items: rows(8 * widths.item),
            pairs: rows(4 * widths.pair),
        }
    }
}

impl View {
    pub const ALL: [Self; 3] = [Self::User, Self::Item, Self::Pair];

    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Item => "item",
            Self::Pair => "pair",
        }
    }

    pub fn width(self, widths: Widths) -> usize {
        match self {
            Self::User => widths.user,
            Self::Item => widths.item,
            Self::Pair => widths.pair,
        }
    }

    pub fn rows(self, rows: Rows) -> u64 {
        match self {
            Self::User => rows.users,
            Self::Item => rows.items,
            Self::Pair => rows.pairs,
        }
    }

    pub fn column_type(self) -> ColumnType {
        match self {
            Self::User | Self::Item => ColumnType::F64,
            Self::Pair => ColumnType::F32,
        }
    }

    pub fn feature(self, feature: usize) -> String {
        match (self, feature) {
            (Self::Item, 0) => "ctr_1d".to_owned(),
            (Self::Item, 1) => "ctr_7d".to_owned(),
            _ => format!("f{feature}"),
        }
    }

    pub fn keys(self) -> &'static [&'static str] {
        match self {
            Self::User => &["user"],
            Self::Item => &["item_id"],
            Self::Pair => &["user", "item_id"],
        }
    }

    /// The value of a feature in a row, between 0 and 1 and exact as an f32.
    pub fn value(self, row: u64, feature: usize) -> Option<f32> {
        let word = mix(row * 1_024 + feature as u64 + ((self as u64 + 1) << 56));
        (!word.is_multiple_of(NULL)).then_some((word >> 40) as f32 / (1 << 24) as f32)
    }

    /// Most rows of a pair are less than a day old.
    pub fn event_time(self, row: u64) -> EventTime {
        EventTime(NOW.0 - 1 - (mix(row) % (PAIR_TTL_US + PAIR_TTL_US / 20)) as i64)
    }

    fn schema(self, widths: Widths) -> SnapshotSchema {
        SnapshotSchema {
            view: self.name().to_owned(),
            key: self
                .keys()
                .iter()
                .map(|key| KeyColumn::new(*key, KeyType::I64))
                .collect(),
            features: (0..self.width(widths))
                .map(|feature| FeatureColumn::new(self.feature(feature), self.column_type()))
                .collect(),
            ttl: (self == Self::Pair).then_some(Ttl::from_micros(PAIR_TTL_US)),
        }
    }

    /// Writes the snapshot.
    pub fn write(self, path: &std::path::Path, widths: Widths, rows: Rows) {
        let options = WriteOptions::new(self.schema(widths), NOW);
        let mut writer = SnapshotWriter::create(path, options).expect("a snapshot can be made");
        let mut key = EntityKey::default();
        let mut values = vec![Value::Null; self.width(widths)];
        for row in 0..self.rows(rows) {
            key.clear();
            let mut push = |part: i64| key.push(KeyPart::I64(part)).expect("a short key");
            match self {
                Self::User => push(user_id(row)),
                Self::Item => push(item_id(row)),
                Self::Pair => {
                    let (user, item) = pair(row, rows);
                    push(user);
                    push(item);
                }
            }
            for (feature, slot) in values.iter_mut().enumerate() {
                *slot = match (self.value(row, feature), self) {
                    (None, _) => Value::Null,
                    (Some(value), Self::Pair) => Value::F32(value),
                    (Some(value), _) => Value::F64(value.into()),
                };
            }
            writer
                .push(key.as_ref(), self.event_time(row), None, &values)
                .expect("the row fits the schema");
        }
        writer.finish().expect("the snapshot can be written");
    }
}

pub fn user_id(row: u64) -> i64 {
    mix(row ^ (1 << 60)) as i64
}

pub fn item_id(row: u64) -> i64 {
    mix(row ^ (1 << 61)) as i64
}

/// The user and the item of a row: no two rows have the same.
pub fn pair(row: u64, rows: Rows) -> (i64, i64) {
    let (user, number) = (row / ITEMS_OF_USER, row % ITEMS_OF_USER);
    (user_id(user), item_id(item_of(user, number, rows)))
}

/// The items of one user are spread over all items.
fn item_of(user: u64, number: u64, rows: Rows) -> u64 {
    (mix(user) % rows.items + number * (rows.items / ITEMS_OF_USER)) % rows.items
}

const fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// What a bidder knows when it asks.
#[derive(Clone, Debug, Default)]
pub struct Bid {
    pub user: i64,
    pub segment: String,
    pub floor_price: f64,
    /// Items and positions.
    pub candidates: Vec<(i64, i64)>,
}

/// Makes bids, the same in every run, in memory that is used again.
pub struct Bids {
    random: Random,
    rows: Rows,
    candidates: usize,
    bid: Bid,
}

impl Bids {
    pub fn new(seed: u64, rows: Rows, candidates: usize) -> Self {
        Self {
            random: Random::new(seed),
            rows,
            candidates,
            bid: Bid::default(),
        }
    }

    pub fn next(&mut self) -> &Bid {
        let Self {
            random,
            rows,
            candidates,
            bid,
        } = self;
        let users = (rows.pairs / ITEMS_OF_USER).min(rows.users);
        let user = random.below(users);
        bid.user = user_id(user);
        bid.segment.clear();
        bid.segment.push_str("segment-");
        bid.segment.push(char::from(b'a' + random.below(26) as u8));
        bid.floor_price = 0.05 * (random.below(60) as f64);
        bid.candidates.clear();
        let first = random.below(ITEMS_OF_USER);
        for number in 0..*candidates as u64 {
            let item = match random.below(UNKNOWN) {
                0 => random.below(rows.items),
                _ => item_of(user, (first + number) % ITEMS_OF_USER, *rows),
            };
            bid.candidates.push((item_id(item), 1 + (number % 5) as i64));
        }
        bid
    }
}
