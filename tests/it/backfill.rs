//! Backfills of services whose modules fail, and of entities that no memory holds.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value as Json;
use unskew_batch::{
    BackfillError, BackfillManifest, BackfillOptions, Backfilled, ColumnRequest, OutputOptions, Resources, Table,
    TableSource, backfill, quarantine_path,
};
use unskew_frame::{ColumnType, Value};
use unskew_tests::hostile::{Function, Guest};
use unskew_tests::{Fixture, chain};

/// What the guest fails on.
const POISON: f64 = 1_313.5;

const VIEWS: &str = r#"
[project]
name = "failing"

[[entity]]
name = "user"
keys = [{ name = "user", type = "i64" }]

[[source]]
name = "events"
path = "events.csv"
event_time = "time"

[[view]]
name = "seen"
entity = "user"
source = "events"
module = "aggregate"
inputs = { x = 1.0 }

[[view]]
name = "clicks"
entity = "user"
source = "events"
module = "ctr-history"
inputs = { prior_ctr = 0.1, prior_weight = 10 }

[[service]]
name = "windows"
request = [{ name = "user", type = "i64" }]
features = ["seen:x"]

[[service]]
name = "clicks"
request = [{ name = "user", type = "i64", nullable = true }]
features = ["clicks:impressions_7d", "clicks:clicks_7d", "clicks:ctr_7d"]

[[service]]
name = "transforms"
request = [{ name = "user", type = "i64" }, { name = "x", type = "f64" }]
fallbacks = { "defaulted:x" = 7.0 }
features = ["once:x", "twice:x", "defaulted:x"]

[[service.transform]]
name = "once"
module = "row"

[[service.transform]]
name = "twice"
module = "row"
inputs = { x = "once:x" }

[[service.transform]]
name = "defaulted"
module = "row"
"#;

fn fixture(spine: &str, events: &str) -> Fixture {
    let mut fixture = Fixture::new(VIEWS, &[("spine.csv", spine), ("events.csv", events)]);
    for (name, function) in [("row", Function::Apply), ("aggregate", Function::Batch)] {
        let guest = Guest {
            name: name.to_owned(),
            poison: Some(POISON),
            ..Guest::does(function, "")
        };
        let module = guest
            .load_into(&fixture.store)
            .unwrap_or_else(|error| panic!("{error}"));
        fixture.modules.insert(name.to_owned(), module);
    }
    fixture
}

fn options(fixture: &Fixture, service: &str) -> BackfillOptions {
    BackfillOptions {
        service: service.to_owned(),
        spine: fixture.path("spine.csv"),
        time_column: "time".to_owned(),
        statuses: true,
        output: OutputOptions { overwrite: true },
        max_quarantined: 5,
        ..BackfillOptions::default()
    }
}

fn run(fixture: &Fixture, options: &BackfillOptions) -> Result<Backfilled, BackfillError> {
    backfill(
        &fixture.project,
        &fixture.modules,
        options,
        &fixture.path("out.parquet"),
        |_| (),
    )
}

/// The values of a feature.
fn values(path: &Path, name: &str) -> Vec<Option<f64>> {
    let table = Table::read(&TableSource {
        path: path.to_owned(),
        event_time: "time".to_owned(),
        known_at: None,
        columns: vec![ColumnRequest {
            name: name.to_owned(),
            column_type: ColumnType::F64,
            required: true,
            nullable: true,
        }],
    });
    let table = table.unwrap_or_else(|error| panic!("{}", chain(&error)));
    let column = &table.columns()[0];
    let value = |row| match column.value(row) {
        Value::F64(value) => Some(value),
        _ => None,
    };
    (0..column.rows()).map(value).collect()
}

/// The rows that are named, by the steps that failed.
fn named(fixture: &Fixture) -> Vec<(u64, String)> {
    let text = fs::read_to_string(quarantine_path(&fixture.path("out.parquet"))).unwrap_or_default();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Json>(line).expect("JSON"));
    lines
        .map(|line| {
            assert!(line["key"]["user"].is_i64(), "{line}");
            assert!(
                line["prediction_time"]
                    .as_str()
                    .is_some_and(|at| at.starts_with("1970-01-0")),
                "{line}"
            );
            assert!(
                line["reason"].as_str().is_some_and(|reason| reason.contains("trapped")),
                "{line}"
            );
            (
                line["row"].as_u64().expect("a number"),
                line["step"].as_str().expect("a name").to_owned(),
            )
        })
        .collect()
}

#[test]
fn a_row_that_a_transform_fails_on_costs_no_other() {
    const POISONED: [usize; 2] = [17, 200];
    let x = |row: usize| if POISONED.contains(&row) { POISON } else { row as f64 };
    let rows: String = (0..300)
        .map(|row| format!("{},{row},{}\n", 1_000 + row, x(row)))
        .collect();
    let fixture = fixture(&format!("time,user,x\n{rows}"), "time,user,x,clicked\n");
    let mut options = options(&fixture, "transforms");
    options.max_quarantined = 4;
    let made = run(&fixture, &options).unwrap_or_else(|error| panic!("{}", chain(&error)));
    // `twice` is not called with what is missing.
    assert_eq!(made.manifest.quarantined, 4);
    let path = fixture.path("out.parquet");
    for (feature, lost) in [("once:x", None), ("twice:x", None), ("defaulted:x", Some(7.0))] {
        for (row, value) in values(&path, feature).into_iter().enumerate() {
            let expected = if POISONED.contains(&row) {
                lost
            } else {
                Some(row as f64)
            };
            assert_eq!(value, expected, "{feature} in row {row}");
        }
    }
    let rows: BTreeSet<u64> = named(&fixture).into_iter().map(|(row, _)| row).collect();
    assert_eq!(rows, BTreeSet::from([18, 201]));

    options.max_quarantined = 3;
    let error = run(&fixture, &options).expect_err("one too many");
    assert!(
        matches!(error, BackfillError::Quarantined { limit: 3, .. }),
        "{error:?}"
    );
    options.max_quarantined = 0;
    let error = run(&fixture, &options).expect_err("none may fail");
    assert!(matches!(error, BackfillError::Evaluate(_)), "{error:?}");
}

#[test]
fn an_event_that_an_aggregate_fails_on_costs_the_rows_that_see_it() {
    // User 3 has it at 150; others have none.
    let events: String = (0..400)
        .map(|row| {
            let x = if row == 151 { POISON } else { 1.0 };
            format!("{row},{},{x},0\n", row % 4)
        })
        .collect();
    let rows: String = (0..16).map(|row| format!("{},{}\n", 100 + row * 5, row % 4)).collect();
    let fixture = fixture(&format!("time,user\n{rows}"), &format!("time,user,x,clicked\n{events}"));
    let lost = |row: usize| row % 4 == 3 && 100 + row * 5 > 151;
    let expected: Vec<u64> = (0..16).filter(|row| lost(*row)).map(|row| row as u64 + 1).collect();
    for (memory_bytes, save_after) in [(1, 0), (1, 10), (1 << 30, 10)] {
        let mut options = options(&fixture, "windows");
        options.resources = Resources {
            memory_bytes,
            threads: 2,
            save_after: std::time::Duration::from_secs(save_after),
            ..Resources::default()
        };
        let made = run(&fixture, &options).unwrap_or_else(|error| panic!("{}", chain(&error)));
        let counts = made.manifest.views["seen"].rows;
        assert_eq!(
            (counts.present, counts.failed),
            (16 - expected.len() as u64, expected.len() as u64)
        );
        for (row, value) in values(&fixture.path("out.parquet"), "seen:x").into_iter().enumerate() {
            assert_eq!(value, (!lost(row)).then_some(7.0), "row {row}");
        }
        let rows: Vec<u64> = named(&fixture).into_iter().map(|(row, _)| row).collect();
        assert_eq!(rows, expected);
    }
}

/// The budget decides how a hot entity's events are divided by time, and not what its windows hold.
#[test]
fn windows_of_a_hot_entity_are_the_same_in_any_memory() {
    const EVENTS: u64 = 30_000;
    let mixed = |row: u64| row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let time = |row: u64, rows: u64| mixed(row) % 1_000 + row * 40 * 86_400_000_000 / rows;
    let user = |row: u64| if mixed(row) % 8 == 0 { mixed(row + 7) % 100 } else { 7 };
    let events: String = (0..EVENTS)
        .map(|row| format!("{},{},1,{}\n", time(row, EVENTS), user(row), mixed(row) % 2))
        .collect();
    let spine: String = (0..2_000)
        .map(|row| match mixed(row) % 11 {
            0 => format!("{},\n", time(row, 2_000)),
            _ => format!("{},{}\n", time(row, 2_000), user(row + 1)),
        })
        .collect();
    let fixture = fixture(
        &format!("time,user\n{spine}"),
        &format!("time,user,x,clicked\n{events}"),
    );
    let mut made: Vec<BackfillManifest> = Vec::new();
    for (memory_bytes, save_after) in [(1 << 30, 10), (1 << 20, 10), (1 << 17, 0)] {
        let mut options = options(&fixture, "clicks");
        options.resources = Resources {
            memory_bytes,
            threads: 2,
            save_after: std::time::Duration::from_secs(save_after),
            ..Resources::default()
        };
        let backfilled = run(&fixture, &options).unwrap_or_else(|error| panic!("{}", chain(&error)));
        made.push(backfilled.manifest);
    }
    let counts = made[0].views["clicks"].rows;
    assert!(counts.present > 1_500 && counts.without_key > 100, "{counts:?}");
    assert!(made.iter().all(|manifest| *manifest == made[0]));
}
