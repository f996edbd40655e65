//! Amounts that are none and sums that do not fit, through a component: a training set, a host with a snapshot of the events, and
//! one that they were pushed to say the same, to the bit and with the same status.

use unskew::Host;
use unskew_frame::Value;
use unskew_snapshot::{EventTime, MICROS_PER_HOUR, Status};
use unskew_tests::{Fixture, guest, load};

/// 2024-01-15T12:00:00Z.
const NOON: i64 = 1_705_320_000_000_000;

const PROJECT: &str = r#"
[project]
name = "payments"

[[entity]]
name = "user"
keys = [{ name = "user", type = "string" }]

[[source]]
name = "payments"
path = "payments.csv"
event_time = "event_time"

[[view]]
name = "paid"
entity = "user"
source = "payments"
module = "amounts"

[[service]]
name = "model"
request = [{ name = "user", type = "string", nullable = true }]
features = [
    "paid:events_1h", "paid:units_1h", "paid:sum_1h", "paid:mean_10m", "paid:variance_1h", "paid:decimals_1h",
    "paid:invalid_1h", "paid:greatest_10m", "paid:median_1h",
]
"#;

/// A user, an amount and units.
type Payment = (&'static str, f64, Option<i64>);

const PAYMENTS: [Payment; 11] = [
    ("nan", 1.0, Some(1)),
    ("nan", f64::NAN, None),
    ("infinite", f64::INFINITY, Some(1)),
    ("infinite", 2.0, Some(1)),
    ("overflow", 1.0, Some(i64::MAX)),
    ("overflow", 1.0, Some(1)),
    ("passes", 1.0, Some(i64::MAX)),
    ("passes", 1.0, Some(1)),
    ("passes", 1.0, Some(-1)),
    ("accounts", 9e16, Some(0)),
    ("accounts", 9e16, Some(0)),
];

const USERS: [&str; 6] = ["nan", "infinite", "overflow", "passes", "accounts", "nobody"];

/// As bits, so that a NaN is equal to itself and zeros are not to each other.
fn bits(value: Value<'_>) -> Option<u64> {
    match value {
        Value::I64(value) => Some(value.cast_unsigned()),
        Value::F64(value) => Some(value.to_bits()),
        _ => None,
    }
}

type Cell = (Option<u64>, Status);

fn serve(host: &Host) -> Vec<Vec<Cell>> {
    let service = host.service("model").expect("it is published");
    let mut session = host.session();
    let of_user = |user: &&str| {
        let mut request = service.request(EventTime(NOON));
        request.set("user", Value::String(user)).expect("a field");
        let served = session.evaluate(&request).expect("it is served");
        (0..served.width())
            .map(|feature| (bits(served.value(0, feature)), served.status(0, feature)))
            .collect()
    };
    USERS.iter().map(of_user).collect()
}

#[test]
fn bad_amounts_are_the_same_in_training_and_in_serving() {
    let mut csv = "user,event_time,amount,units\n".to_owned();
    for ((user, amount, units), n) in PAYMENTS.iter().zip(0..) {
        let units = units.map_or(String::new(), |units| units.to_string());
        csv += &format!("{user},{},{amount},{units}\n", NOON - 1_000_000 + n);
    }
    let spine: String = USERS.iter().map(|user| format!("{NOON},{user}\n")).collect();
    let spine = format!("time,user\n{spine}");
    let mut fixture = Fixture::new(PROJECT, &[("payments.csv", &csv), ("spine.csv", &spine)]);
    fixture
        .modules
        .extend(load(&fixture.store, &[guest("amounts").to_vec()]));

    let set = fixture.compute("model", "spine.csv", None);
    let computed: Vec<Vec<Cell>> = (0..USERS.len())
        .map(|row| {
            let features = 0..set.plan.features.len();
            features
                .map(|feature| (bits(set.value(row, feature)), set.status(row, feature)))
                .collect()
        })
        .collect();

    let (present, null) = (|value: Value<'_>| (bits(value), Status::Present), (None, Status::Null));
    let nan = Value::F64(f64::from_bits(0x7ff8_0000_0000_0000));
    let of = |user: &str| &computed[USERS.iter().position(|known| *known == user).expect("a user")];
    // Events, units, sum, mean, variance, decimals, invalid, greatest, median.
    assert_eq!(
        of("nan")[..4],
        [
            present(Value::I64(2)),
            present(Value::I64(1)),
            present(nan),
            present(nan)
        ]
    );
    assert_eq!(
        of("nan")[5..8],
        [present(Value::F64(1.0)), present(Value::I64(1)), present(nan)]
    );
    assert_eq!(of("infinite")[2], present(Value::F64(f64::INFINITY)));
    assert_eq!(of("infinite")[4], present(nan));
    // A sum that does not fit is missing, and says so; it is no other number.
    assert_eq!(
        of("overflow")[..3],
        [present(Value::I64(2)), null, present(Value::F64(2.0))]
    );
    assert_eq!(of("passes")[1], present(Value::I64(i64::MAX)));
    assert_eq!(of("accounts")[2], present(Value::F64(1.8e17)));
    assert_eq!(of("accounts")[5..7], [null, present(Value::I64(0))]);
    assert!(of("nobody").iter().all(|(_, status)| *status == Status::NotFound));

    // Of events that were pushed: the snapshot is of before.
    fixture.publish(EventTime(NOON - MICROS_PER_HOUR));
    let host = fixture.host();
    let mut events = host
        .events("paid", &["user", "amount", "units"])
        .expect("columns of the view");
    for ((user, amount, units), n) in PAYMENTS.iter().zip(0..) {
        let values = [
            Value::String(user),
            Value::F64(*amount),
            units.map_or(Value::Null, Value::I64),
        ];
        events
            .push(EventTime(NOON - 1_000_000 + n), None, &values)
            .expect("an event");
    }
    let pushed = host.push(&events, EventTime(NOON)).expect("there is room");
    assert_eq!(pushed.taken, PAYMENTS.len(), "{pushed:?}");
    assert_eq!(serve(&host), computed, "pushed");

    // Of a snapshot that has them.
    fixture.publish(EventTime(NOON));
    assert_eq!(serve(&fixture.host()), computed, "published");
}
