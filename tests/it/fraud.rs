//! The mistake that the parity gate is for: a nightly job that counts whole days, where the host counts the last 24 hours.

use std::fs;

use unskew_batch::{Parity, TrainingSet};
use unskew_frame::Value;
use unskew_snapshot::{EventTime, MICROS_PER_DAY, MICROS_PER_HOUR};
use unskew_tests::Fixture;

/// 2024-03-01T00:00:00Z.
const MIDNIGHT: i64 = 1_709_251_200_000_000;

const PROJECT: &str = r#"
[project]
name = "payments"

[[entity]]
name = "card"
keys = [{ name = "card_id", type = "i64" }]

[[source]]
name = "payments"
path = "payments.csv"
event_time = "time"

[[view]]
name = "card_history"
entity = "card"
source = "payments"
module = "ctr-history"
events = { clicked = "disputed" }
inputs = { prior_ctr = 0.0, prior_weight = 1.0 }

[[service]]
name = "fraud"
request = [{ name = "card_id", type = "i64" }]
features = ["card_history:impressions_1d", "card_history:clicks_1d", "card_history:impressions_7d"]
"#;

struct Payment {
    card: i64,
    time: i64,
    disputed: bool,
}

/// A card pays every 3 hours for 10 days; from the last noon on it pays every 5 minutes: the fraud.
fn payments() -> Vec<Payment> {
    let mut payments = Vec::new();
    for card in 0..3 {
        payments.extend((0..80).map(|n| Payment {
            card,
            time: MIDNIGHT + n * 3 * MICROS_PER_HOUR + card,
            disputed: n % 9 == 0,
        }));
    }
    let noon = MIDNIGHT + 9 * MICROS_PER_DAY + 12 * MICROS_PER_HOUR;
    payments.extend((0..60).map(|n| Payment {
        card: 1,
        time: noon + n * MICROS_PER_HOUR / 12,
        disputed: true,
    }));
    payments
}

/// `SELECT count(*) … WHERE day = yesterday`, as the warehouse computes it overnight.
fn nightly(payments: &[Payment], card: i64, t: i64) -> i64 {
    let midnight = t.div_euclid(MICROS_PER_DAY) * MICROS_PER_DAY;
    let is_yesterday = |payment: &&Payment| {
        payment.card == card && payment.time >= midnight - MICROS_PER_DAY && payment.time < midnight
    };
    payments.iter().filter(is_yesterday).count() as i64
}

/// The last 24 hours, by the hour: what the view says.
fn rolling(payments: &[Payment], card: i64, t: i64) -> i64 {
    let tail = (t - MICROS_PER_DAY).div_euclid(MICROS_PER_HOUR) * MICROS_PER_HOUR;
    let is_seen = |payment: &&Payment| payment.card == card && payment.time >= tail && payment.time < t;
    payments.iter().filter(is_seen).count() as i64
}

/// Serves every row of the spine and compares `impressions_1d` with `computed`.
fn gate(fixture: &Fixture, set: &TrainingSet, computed: impl Fn(i64, i64) -> i64) -> Parity {
    let host = fixture.host();
    let service = host.service("fraud").expect("it is published");
    let mut session = host.session();
    let mut parity = Parity::default();
    let cards = set.spine.field("card_id").expect("a field of the service");
    for (row, t) in set.spine.times.iter().enumerate() {
        let Value::I64(card) = cards.value(row) else {
            panic!("row {row} has a card")
        };
        let mut request = service.request(*t);
        request
            .set("card_id", Value::I64(card))
            .expect("a field of the service");
        let served = session.evaluate(&request).expect("it is served");
        let name = "card_history:impressions_1d";
        let feature = set.plan.feature_index(name).expect("a feature of the service");
        parity.compare(row, *t, name, served.value(0, feature), Value::I64(computed(card, t.0)));
    }
    parity
}

fn fixture(payments: &[Payment], watermark: i64) -> (Fixture, TrainingSet) {
    let mut csv = "card_id,time,disputed\n".to_owned();
    for payment in payments {
        csv += &format!("{},{},{}\n", payment.card, payment.time, u8::from(payment.disputed));
    }
    let fixture = Fixture::new(PROJECT, &[("payments.csv", &csv)]);
    let times = (0..12).map(|n| watermark + n * MICROS_PER_HOUR / 2);
    let rows = times.flat_map(|time| (0..4).map(move |card| format!("{time},{card}\n")));
    fs::write(
        fixture.path("spine.csv"),
        format!("time,card_id\n{}", rows.collect::<String>()),
    )
    .expect("a file in the fixture");
    fixture.publish(EventTime(watermark));
    let set = fixture.compute("fraud", "spine.csv", Some(EventTime(watermark)));
    (fixture, set)
}

#[test]
fn a_window_that_ends_at_midnight_fails_the_gate() {
    let payments = payments();
    let watermark = MIDNIGHT + 9 * MICROS_PER_DAY + 17 * MICROS_PER_HOUR;
    let known: Vec<Payment> = payments
        .into_iter()
        .filter(|payment| payment.time < watermark)
        .collect();
    let (fixture, set) = fixture(&known, watermark);

    let parity = gate(&fixture, &set, |card, t| rolling(&known, card, t));
    assert!(parity.is_exact(), "the control: {:#?}", parity.named);
    assert_eq!(parity.values, 48);

    let parity = gate(&fixture, &set, |card, t| nightly(&known, card, t));
    assert!(!parity.is_exact());
    // At 17:00 the card under attack has 8 payments of yesterday and 68 of the last 24 hours.
    let named: Vec<String> = parity.named.iter().map(ToString::to_string).collect();
    assert_eq!(
        named.iter().find(|line| line.starts_with("row 1 ")).map(String::as_str),
        Some(
            "row 1 (2024-03-10T17:00:00.000000Z), feature `card_history:impressions_1d`: served I64(68), computed I64(8)"
        ),
        "{named:#?}"
    );
    // Card 3 has no payments, so both agree on it in every row.
    assert!(
        parity.mismatches >= 12 && parity.mismatches <= 36,
        "{} mismatches",
        parity.mismatches
    );
    assert!(parity.named.iter().all(|mismatch| mismatch.row % 4 != 3));
}

/// The training set itself passes, and one changed bit of one value does not.
#[test]
fn one_value_that_is_off_by_one_fails_the_gate() {
    let payments = payments();
    let watermark = MIDNIGHT + 11 * MICROS_PER_DAY;
    let (fixture, set) = fixture(&payments, watermark);
    let parity = gate(&fixture, &set, |card, t| rolling(&payments, card, t));
    assert!(parity.is_exact(), "{:#?}", parity.named);
    let parity = gate(&fixture, &set, |card, t| {
        rolling(&payments, card, t) + i64::from(card == 2 && t == watermark)
    });
    assert_eq!((parity.mismatches, parity.named[0].row), (1, 2));
    assert!(!Parity::default().is_exact(), "nothing compared is nothing proven");
}
