use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::Project;
use crate::output::OutputOptions;
use crate::reader::Filter;

const PROJECT: &str = r#"
[project]
name = "shop"

[[entity]]
name = "item"
keys = [{ name = "item", type = "i64" }]

[[source]]
name = "prices"
path = "prices.csv"
event_time = "time"

[[source]]
name = "outcomes"
path = "outcomes.csv"
event_time = "time"

[[view]]
name = "price"
entity = "item"
source = "prices"
ttl = "3h"
features = [{ name = "price", type = "i64" }]

[[view]]
name = "leak"
entity = "item"
source = "outcomes"
features = [{ name = "sold", type = "f64" }, { name = "word", type = "string" }]

[[service]]
name = "model"
request = [{ name = "item", type = "i64", nullable = true }]
features = ["price:price", "leak:sold", "leak:word"]
"#;

const HOUR: i64 = 3_600_000_000;
const ROWS: i64 = 40;

/// When row `row` is predicted.
fn at(row: i64) -> i64 {
    1000 * HOUR + row * HOUR
}

/// A spine of an item each. The prices are two hours old, of one item four, of one there is none, and of every fourth there is
/// one of tomorrow. The outcomes, half an hour old, say what the label is; of every fifth row it was known an hour before.
fn shop() -> (tempfile::TempDir, Project) {
    let folder = tempfile::tempdir().unwrap();
    let mut spine = "item,t,label,known\n".to_owned();
    let mut prices = "item,time,price\n".to_owned();
    let mut outcomes = "item,time,sold,word\n".to_owned();
    for row in 0..ROWS {
        let t = at(row);
        let label = row % 2;
        let known = if row % 5 == 0 { t - HOUR } else { t + HOUR };
        let _ = writeln!(spine, "{row},{t},{label},{}", EventTime(known));
        match row {
            38 => {}
            39 => drop(writeln!(prices, "{row},{},5", t - 4 * HOUR)),
            _ => drop(writeln!(prices, "{row},{},{}", t - 2 * HOUR, row * 7 % 11)),
        }
        if row % 4 == 0 {
            let _ = writeln!(prices, "{row},{},7", t + 24 * HOUR);
        }
        let word = ["no", "yes"][label as usize];
        let _ = writeln!(outcomes, "{row},{},{},{word}", t - HOUR / 2, 2 * label);
    }
    for (name, text) in [
        ("spine.csv", &spine),
        ("prices.csv", &prices),
        ("outcomes.csv", &outcomes),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let project = Project::parse(&folder.path().join("unskew.toml"), PROJECT).unwrap();
    (folder, project)
}

fn options(folder: &Path) -> AuditOptions {
    AuditOptions {
        backfill: BackfillOptions {
            service: "model".to_owned(),
            spine: folder.join("spine.csv"),
            time_column: "t".to_owned(),
            filter: Filter::default(),
            freeze_at: None,
            lag_us: 0,
            statuses: false,
            output: OutputOptions::default(),
            ..BackfillOptions::default()
        },
        label: Some("label".parse().unwrap()),
        label_time: Some("known".to_owned()),
        samples: 4,
        suspicious_auc: 0.95,
    }
}

fn run(project: &Project, options: &AuditOptions) -> Result<Audit, AuditError> {
    audit(project, &BTreeMap::new(), options, |_| ())
}

#[test]
fn a_planted_leak_is_found() {
    let (folder, project) = shop();
    let found = run(&project, &options(folder.path())).unwrap();
    assert_eq!((found.rows, found.labels), (40, Some([20, 20])));
    assert!(!found.is_clean());

    let [price, leak] = found.views.as_slice() else {
        panic!("two views");
    };
    assert_eq!((price.not_found, price.expired, price.ages.count()), (1, 1, 38));
    assert_eq!(price.ages.quantile(0.0), Some(2 * HOUR));
    assert_eq!(price.ages.histogram(), [0, 0, 0, 38, 0, 0, 0, 0]);
    assert_eq!(
        (price.naive_leaks, price.after_label, price.mistraced),
        (10, Some(0), 0)
    );
    assert_eq!(leak.ages.histogram(), [0, 0, 40, 0, 0, 0, 0, 0]);
    assert_eq!((leak.naive_leaks, leak.after_label, leak.mistraced), (0, Some(8), 0));

    let told: Vec<(&str, bool)> = found
        .features
        .iter()
        .map(|f| (f.feature.as_str(), f.is_suspicious))
        .collect();
    assert_eq!(told, [("price:price", false), ("leak:sold", true), ("leak:word", true)]);
    assert_eq!(found.features[1].auc, Some(1.0));
    assert_eq!(found.features[2].auc, Some(1.0));
    assert_eq!(found.features[0].present, 38);

    // Row 5 of the spine: its price is the eighth row behind the header, as rows 0 and 4 have two.
    let rows: Vec<(u64, &str)> = found.samples.iter().map(|s| (s.row, s.view.as_str())).collect();
    assert_eq!(&rows[..3], [(5, "price"), (5, "leak"), (15, "price")]);
    let origin = found.samples[0].origin.as_ref().unwrap();
    assert_eq!((origin.path.clone(), origin.row), (folder.path().join("prices.csv"), 8));
    assert_eq!(origin.event_time, EventTime(at(5) - 2 * HOUR));
}

#[test]
fn without_the_leak_nothing_is_told() {
    let (folder, project) = shop();
    let mut options = options(folder.path());
    // A day's lag hides all of it, and the prices too.
    options.backfill.lag_us = 24 * 3_600_000_000;
    let found = run(&project, &options).unwrap();
    assert!(found.is_clean(), "{found:?}");
    assert!(
        found
            .views
            .iter()
            .all(|view| view.ages.count() == 0 && view.not_found == 40)
    );
    assert!(found.samples.iter().all(|sample| sample.origin.is_none()));
    options.label = None;
    options.label_time = None;
    let found = run(&project, &options).unwrap();
    assert!(found.features.is_empty() && found.labels.is_none());
    assert_eq!(found.views[0].after_label, None);
}

#[test]
fn labels_that_are_none_are_refused() {
    let (folder, project) = shop();
    let error = |label: &str, time: &str| {
        let mut options = options(folder.path());
        options.label = Some(label.parse().unwrap());
        options.label_time = Some(time.to_owned());
        run(&project, &options).map_or_else(|error| chain(&error), |_| "no error".to_owned())
    };
    assert_eq!(
        error("labe", "known"),
        "the spine has no column `labe`; it has label, known, item"
    );
    assert_eq!(
        error("item", "known"),
        "row 3, column `item` of the spine: a label is 0 or 1, and this is 2: say what a positive one is above"
    );
    let message = error("known", "known");
    assert!(
        message.starts_with("column `known` of the spine: Utf8 cannot be read as f64"),
        "{message}"
    );
    let message = error("label", "label");
    assert!(
        message == "no error" || message.starts_with("column `label`"),
        "{message}"
    );
    for wrong in ["", "> 5", "a > b"] {
        assert!(wrong.parse::<Label>().is_err());
    }
    assert_eq!("delay > 15".parse::<Label>().unwrap().to_string(), "delay > 15");
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let _ = write!(text, ": {error}");
        source = error.source();
    }
    text
}

proptest! {
    #[test]
    fn the_auc_is_the_share_of_pairs_in_order(
        rows in prop::collection::vec((0..6_i8, any::<bool>()), 0..40),
    ) {
        let rows: Vec<(f64, bool)> = rows.into_iter().map(|(score, outcome)| (f64::from(score), outcome)).collect();
        let (mut pairs, mut wins) = (0.0, 0.0);
        for (positive, _) in rows.iter().filter(|(_, outcome)| *outcome) {
            for (negative, _) in rows.iter().filter(|(_, outcome)| !*outcome) {
                pairs += 1.0;
                wins += if positive > negative { 1.0 } else if positive == negative { 0.5 } else { 0.0 };
            }
        }
        let expected = (pairs > 0.0).then(|| wins / pairs);
        let found = auc::auc(rows);
        prop_assert!(found.is_some() == expected.is_some());
        prop_assert!((found.unwrap_or(0.0) - expected.unwrap_or(0.0)).abs() < 1e-12);
    }
}
