//! The edges of the rules of time, from files to a training set and to what is served.

use std::collections::BTreeMap;
use std::fs;

use unskew::Host;
use unskew_batch::TrainingSet;
use unskew_frame::Value;
use unskew_snapshot::{EventTime, MICROS_PER_DAY, MICROS_PER_HOUR, Status};
use unskew_tests::Fixture;

/// 2024-01-15T00:00:00Z.
const DAY: i64 = 1_705_276_800_000_000;

/// A table of rows in the file `rows.csv`, with a TTL.
fn table_project(ttl: &str) -> String {
    format!(
        r#"
[project]
name = "purchases"

[[entity]]
name = "user"
keys = [{{ name = "user", type = "string" }}]

[[source]]
name = "rows"
path = "rows.csv"
event_time = "event_time"

[[view]]
name = "user_stats"
entity = "user"
source = "rows"
{ttl}
features = [{{ name = "purchases", type = "i64" }}, {{ name = "spent", type = "f64" }}]

[[service]]
name = "model"
request = [{{ name = "user", type = "string", nullable = true }}]
features = ["user_stats:purchases", "user_stats:spent"]
"#
    )
}

/// Events in the file `events.csv`, counted over 1 h, 1 d and 7 d.
const EVENTS_PROJECT: &str = r#"
[project]
name = "events"

[[entity]]
name = "user"
keys = [{ name = "user", type = "string" }]

[[source]]
name = "events"
path = "events.csv"
event_time = "event_time"

[[view]]
name = "history"
entity = "user"
source = "events"
module = "ctr-history"
inputs = { prior_ctr = 0.5, prior_weight = 0.0 }

[[service]]
name = "model"
request = [{ name = "user", type = "string", nullable = true }]
features = ["history:impressions_1h", "history:impressions_1d", "history:clicks_1d", "history:ctr_1d"]
"#;

type Cells = (Vec<String>, Vec<Status>);

/// Features of a training set, a row each, as text.
fn cells(set: &TrainingSet) -> Vec<Cells> {
    let row = |row: usize| {
        let features = 0..set.plan.features.len();
        (
            features.clone().map(|feature| text(set.value(row, feature))).collect(),
            features.map(|feature| set.status(row, feature)).collect(),
        )
    };
    (0..set.spine.rows()).map(row).collect()
}

fn text(value: Value<'_>) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::I64(value) => value.to_string(),
        Value::F64(value) => format!("{value:?}"),
        other => format!("{other:?}"),
    }
}

/// What a host serves a user at `at`.
fn serve(host: &Host, at: i64, user: Option<&str>) -> Cells {
    let service = host.service("model").expect("it is published");
    let mut request = service.request(EventTime(at));
    request
        .set("user", user.map_or(Value::Null, Value::String))
        .expect("a field of the service");
    let mut session = host.session();
    let served = session.evaluate(&request).expect("it is served");
    let features = 0..served.width();
    (
        features.clone().map(|feature| text(served.value(0, feature))).collect(),
        features.map(|feature| served.status(0, feature)).collect(),
    )
}

/// Backfills each (time, user) and serves it by a generation of that time: both are `expected`, with one status for
/// all features or one each.
fn check(project: &str, files: &[(&str, &str)], rows: &[(i64, Option<&str>, &str, &[Status])]) {
    let fixture = Fixture::new(project, files);
    let mut spine = "time,user\n".to_owned();
    for (time, user, _, _) in rows {
        spine += &format!("{time},{}\n", user.unwrap_or_default());
    }
    fs::write(fixture.path("spine.csv"), spine).expect("a file in the fixture");
    let set = fixture.compute("model", "spine.csv", None);
    let computed = cells(&set);
    for (index, (time, user, values, statuses)) in rows.iter().enumerate() {
        let values: Vec<String> = values.split_whitespace().map(str::to_owned).collect();
        let statuses = match statuses {
            [status] => vec![*status; values.len()],
            statuses => statuses.to_vec(),
        };
        let expected = (values, statuses);
        assert_eq!(
            computed[index],
            expected,
            "backfill, row {index}, {user:?} at {}",
            EventTime(*time)
        );
    }
    let mut hosts: BTreeMap<i64, Host> = BTreeMap::new();
    for (index, (time, user, _, _)) in rows.iter().enumerate() {
        let host = hosts.entry(*time).or_insert_with(|| {
            fixture.publish(EventTime(*time));
            fixture.host()
        });
        assert_eq!(
            serve(host, *time, *user),
            computed[index],
            "serving, row {index}, {user:?} at {}",
            EventTime(*time)
        );
    }
}

const PRESENT: &[Status] = &[Status::Present];
const NOT_FOUND: &[Status] = &[Status::NotFound];
const EXPIRED: &[Status] = &[Status::Expired];

#[test]
fn a_window_holds_its_tail_and_not_its_end() {
    // The 1 h window moves by 5 minutes and the others by the hour, so at 12:00 the tails are exactly 11:00 and the day
    // before at 12:00.
    let noon = DAY + 12 * MICROS_PER_HOUR;
    let rows = [
        ("at_t", noon),
        ("before_t", noon - 1),
        ("at_1h_tail", noon - MICROS_PER_HOUR),
        ("before_1h_tail", noon - MICROS_PER_HOUR - 1),
        ("at_1d_tail", noon - MICROS_PER_DAY),
        ("before_1d_tail", noon - MICROS_PER_DAY - 1),
    ];
    let mut csv = "user,event_time,clicked\n".to_owned();
    rows.iter()
        .for_each(|(user, time)| csv += &format!("{user},{time},1\n"));
    // Without a prior, no impression in the window is 0 / 0: missing.
    let no_ctr: &[Status] = &[Status::Present, Status::Present, Status::Present, Status::Null];
    let no_row: &[Status] = NOT_FOUND;
    check(
        EVENTS_PROJECT,
        &[("events.csv", &csv)],
        &[
            (noon, Some("at_t"), "0 0 0 -", no_row),
            (noon, Some("before_t"), "1 1 1 1.0", PRESENT),
            (noon, Some("at_1h_tail"), "1 1 1 1.0", PRESENT),
            (noon, Some("before_1h_tail"), "0 1 1 1.0", PRESENT),
            (noon, Some("at_1d_tail"), "0 1 1 1.0", PRESENT),
            (noon, Some("before_1d_tail"), "0 0 0 -", no_ctr),
            // A microsecond on, the event at t is in; the tails, on their hops, have not moved.
            (noon + 1, Some("at_t"), "1 1 1 1.0", PRESENT),
            (noon + 1, Some("at_1h_tail"), "1 1 1 1.0", PRESENT),
            (noon + 1, Some("at_1d_tail"), "0 1 1 1.0", PRESENT),
            // A hop on, they have.
            (noon + MICROS_PER_HOUR / 12, Some("at_1h_tail"), "0 1 1 1.0", PRESENT),
            (noon + MICROS_PER_HOUR - 1, Some("at_1d_tail"), "0 1 1 1.0", PRESENT),
            (noon + MICROS_PER_HOUR, Some("at_1d_tail"), "0 0 0 -", no_ctr),
            // A microsecond before the hop the tail is a whole hop earlier.
            (noon - 1, Some("before_1d_tail"), "0 1 1 1.0", PRESENT),
            (noon, None, "0 0 0 -", NOT_FOUND),
            (noon, Some("nobody"), "0 0 0 -", NOT_FOUND),
        ],
    );
}

#[test]
fn a_row_is_seen_from_its_time_and_lives_its_ttl_out() {
    let csv = format!("user,event_time,purchases,spent\nu1,{DAY},7,1.5\nnulls,{DAY},,\n");
    let nulls: &[Status] = &[Status::Null];
    check(
        &table_project("ttl = \"1d\""),
        &[("rows.csv", &csv)],
        &[
            (DAY - 1, Some("u1"), "- -", NOT_FOUND),
            (DAY, Some("u1"), "7 1.5", PRESENT),
            (DAY + MICROS_PER_DAY, Some("u1"), "7 1.5", PRESENT),
            (DAY + MICROS_PER_DAY + 1, Some("u1"), "- -", EXPIRED),
            (DAY + MICROS_PER_DAY, Some("nulls"), "- -", nulls),
            (DAY + MICROS_PER_DAY + 1, Some("nulls"), "- -", EXPIRED),
            (DAY, None, "- -", NOT_FOUND),
            (DAY, Some("nobody"), "- -", NOT_FOUND),
        ],
    );
}

/// Versions of one time: the greatest bytes win, column by column, whatever the order of the file; a missing value is least.
#[test]
fn ties_are_broken_by_the_rows_themselves() {
    let rows = [
        "u1,{},3,9.0",
        "u1,{},4,-1.0",
        "u1,{},4,",
        "u1,{},,99.0",
        "u2,{},-5,0.0",
        "u2,{},-5,-0.0",
    ];
    let header = "user,event_time,purchases,spent";
    for order in [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [1, 5, 0, 3, 2, 4]] {
        let lines = order.map(|row: usize| rows[row].replace("{}", &DAY.to_string()));
        let csv = format!("{header}\n{}\n", lines.join("\n"));
        check(
            &table_project(""),
            &[("rows.csv", &csv)],
            &[
                (DAY, Some("u1"), "4 -1.0", PRESENT),
                (DAY, Some("u2"), "-5 0.0", PRESENT),
            ],
        );
        let fixture = Fixture::new(&table_project(""), &[("rows.csv", &csv)]);
        fs::write(
            fixture.path("spine.csv"),
            format!("time,user\n{DAY},u1\n{DAY},u2\n{DAY},u3\n"),
        )
        .expect("a file in the fixture");
        let set = fixture.compute("model", "spine.csv", None);
        assert_eq!(
            set.ties["user_stats"], 2,
            "both users' values were chosen by the row bytes alone"
        );
    }
}

#[test]
fn spine_rows_keep_their_order_and_their_number() {
    let csv = format!("user,event_time,purchases,spent\nu1,{DAY},7,1.5\nu2,{DAY},8,2.5\n");
    let later = DAY + MICROS_PER_HOUR;
    check(
        &table_project(""),
        &[("rows.csv", &csv)],
        &[
            (later, Some("u2"), "8 2.5", PRESENT),
            (DAY, Some("u1"), "7 1.5", PRESENT),
            (later, Some("u2"), "8 2.5", PRESENT),
            (later, None, "- -", NOT_FOUND),
            (DAY, Some("u1"), "7 1.5", PRESENT),
            (DAY, Some("u1"), "7 1.5", PRESENT),
            (later, None, "- -", NOT_FOUND),
            (DAY - 1, Some("u1"), "- -", NOT_FOUND),
        ],
    );
    let events = format!("user,event_time,clicked\nu1,{DAY},1\nu1,{DAY},1\nu1,{DAY},0\nu2,{DAY},\n");
    check(
        EVENTS_PROJECT,
        &[("events.csv", &events)],
        &[
            (later, Some("u2"), "1 1 0 0.0", PRESENT),
            // Events of one instant are all counted.
            (DAY + 1, Some("u1"), "3 3 2 0.6666666666666666", PRESENT),
            (later, Some("u2"), "1 1 0 0.0", PRESENT),
            (DAY, Some("u1"), "0 0 0 -", NOT_FOUND),
            (DAY + 1, Some("u1"), "3 3 2 0.6666666666666666", PRESENT),
        ],
    );
}

/// Three purchases against a table of feature rows: values that other feature stores document for the same tables.
#[test]
fn golden_purchases() {
    let features = "user,event_time,purchases,spent\n\
        u1,2024-01-10T00:00:00Z,5,45.0\n\
        u1,2024-01-17T00:00:00Z,6,46.0\n\
        u2,2024-01-15T00:00:00Z,3,60.0\n";
    let parse = |text: &str| EventTime::parse_rfc3339(text).expect("a time").0;
    let purchases = [
        (parse("2024-01-15T10:00:00Z"), Some("u1")),
        (parse("2024-01-20T14:30:00Z"), Some("u1")),
        (parse("2024-01-18T09:00:00Z"), Some("u2")),
    ];
    let all = ["5 45.0", "6 46.0", "3 60.0"];
    for (ttl, alive) in [
        ("", [true, true, true]),
        ("ttl = \"4d\"", [false, true, true]),
        ("ttl = \"3d9h\"", [false, false, true]),
        ("ttl = \"3d\"", [false, false, false]),
    ] {
        let rows: Vec<(i64, Option<&str>, &str, &[Status])> = (0..3)
            .map(|row| {
                let (time, user) = purchases[row];
                if alive[row] {
                    (time, user, all[row], PRESENT)
                } else {
                    (time, user, "- -", EXPIRED)
                }
            })
            .collect();
        check(&table_project(ttl), &[("rows.csv", features)], &rows);
    }
}
