use std::fs::File;
use std::path::Path;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use super::*;
use crate::backfill::{Backfilled, backfill};
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
path = "prices.parquet"
event_time = "time"

[[view]]
name = "price"
entity = "item"
source = "prices"
features = [{ name = "price", type = "f64" }]

[[service]]
name = "model"
request = [{ name = "item", type = "i64" }]
features = ["price:price"]
"#;

/// Rows of item 1 at these times, in row groups of two.
fn write(path: &Path, times: &[i64], zone: Option<&str>) {
    let times = TimestampMicrosecondArray::from(times.to_vec()).with_timezone_opt(zone);
    let rows = times.len();
    let prices = Float64Array::from_iter_values(times.values().iter().map(|time| *time as f64));
    let batch = RecordBatch::try_from_iter([
        ("item", Arc::new(Int64Array::from(vec![1; rows])) as ArrayRef),
        ("time", Arc::new(times)),
        ("price", Arc::new(prices)),
    ])
    .unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(2)).build();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn run(folder: &Path, filter: &str) -> Result<Backfilled, BackfillError> {
    let project = Project::parse(&folder.join("unskew.toml"), PROJECT).unwrap();
    let options = BackfillOptions {
        service: "model".to_owned(),
        spine: folder.join("spine.parquet"),
        time_column: "time".to_owned(),
        filter: if filter.is_empty() {
            Filter::default()
        } else {
            filter.parse().unwrap()
        },
        freeze_at: None,
        lag_us: 0,
        statuses: true,
        output: OutputOptions { overwrite: true },
        ..BackfillOptions::default()
    };
    backfill(
        &project,
        &BTreeMap::new(),
        &options,
        &folder.join("out.parquet"),
        |_| (),
    )
}

#[test]
fn times_have_a_zone_on_both_sides_or_on_neither() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for (spine, prices, expected) in [
        (None, None, None),
        (Some("UTC"), Some("+02:00"), None),
        (None, Some("UTC"), Some(["no time zone", "a time zone"])),
        (Some("UTC"), None, Some(["a time zone", "no time zone"])),
    ] {
        write(&path("spine.parquet"), &[5], spine);
        write(&path("prices.parquet"), &[1, 2], prices);
        let error = run(folder.path(), "").err().map(|error| error.to_string());
        let expected = expected.map(|[spine, history]| {
            format!(
                "{}: column `time`: its times have {spine}, and those of view `price` {history}: write both with a zone, or \
                 both in UTC without one",
                path("spine.parquet").display()
            )
        });
        assert_eq!(error, expected);
    }
}

#[test]
fn history_that_is_later_than_every_prediction_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    write(&path("spine.parquet"), &[5, 15, 25], None);
    write(&path("prices.parquet"), &[1, 2, 11, 12, 21, 22, 31, 32], None);
    let read = |made: &Backfilled| {
        let history = made.history_read["price"];
        [
            history.row_groups_read,
            history.row_groups,
            made.spine_read.row_groups_read,
            made.output.rows,
        ]
    };
    let all = run(folder.path(), "").unwrap();
    assert_eq!(read(&all), [3, 4, 2, 3]);
    let early = run(folder.path(), "time < 1970-01-01T00:00:00.000006Z").unwrap();
    assert_eq!(read(&early), [1, 4, 1, 1]);
    assert_eq!(early.manifest.filter, "time < 1970-01-01T00:00:00.000006Z");
    let differences = all.manifest.diff(&early.manifest);
    assert_eq!(
        (differences[0].what.as_str(), differences[0].before.as_str()),
        ("where", "all rows")
    );
    assert_eq!(read(&run(folder.path(), "time > 2026-01-01").unwrap()), [0, 4, 0, 0]);
}
