//! A view that declares a lateness: what is left out is told wherever something is made.

use tempfile::TempDir;
use unskew_tests::component;

use crate::shop::write;
use crate::transcript::Transcript;

const PROJECT: &str = r#"[project]
name = "late"

[[entity]]
name = "item"
keys = [{ name = "item_id", type = "i64" }]

[[source]]
name = "impressions"
path = "impressions.csv"
event_time = "time"
known_at = "loaded"

[[view]]
name = "ctr"
entity = "item"
source = "impressions"
module = "ctr-history"
inputs = { prior_ctr = 0.1, prior_weight = 10 }
lateness = "2h"

[[service]]
name = "clicks"
request = [{ name = "item_id", type = "i64" }]
features = ["ctr:impressions_1d"]
"#;

/// The second is exactly as late as it may be, the third and the fifth are later, the fourth is nobody's.
const IMPRESSIONS: &str = "\
item_id,time,loaded,clicked
1,2024-01-14T08:00:00Z,,1
1,2024-01-14T08:00:00Z,2024-01-14T10:00:00Z,1
1,2024-01-14T08:00:00Z,2024-01-14T10:00:00.000001Z,1
,2024-01-14T08:00:00Z,2024-01-14T12:00:00Z,0
2,2024-01-14T09:00:00Z,2024-01-14T14:00:00Z,0
";

const SPINE: &str = "\
prediction_time,item_id
2024-01-14T12:00:00Z,1
2024-01-14T16:00:00Z,2
";

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "unskew.toml", PROJECT);
    write(folder.path(), "other.toml", PROJECT.replace("\"2h\"", "\"3h\""));
    write(
        folder.path(),
        "unknown.toml",
        PROJECT.replace("known_at = \"loaded\"\n", ""),
    );
    write(folder.path(), "impressions.csv", IMPRESSIONS);
    write(folder.path(), "spine.csv", SPINE);
    write(folder.path(), "ctr-history.wasm", component("ctr-history"));
    folder
}

const MODULE: [&str; 2] = ["--module", "ctr-history.wasm"];

#[test]
fn what_is_left_out_for_being_late_is_told() {
    let folder = folder();
    let materialize = |watermark, out, more: &[&'static str]| {
        let fixed = ["materialize", "--view", "ctr", "--watermark", watermark, "--out", out];
        [&fixed[..], &MODULE, more].concat()
    };
    let of_spine = |command, more: &[&'static str]| {
        let fixed = [command, "--service", "clicks", "--spine", "spine.csv"];
        [&fixed[..], &MODULE, more].concat()
    };
    let publish = [
        &["publish", "--watermark", "2024-01-14T16:00:00Z", "--store", "store"][..],
        &MODULE,
    ]
    .concat();
    Transcript::new(folder.path())
        .run(0, &materialize("2024-01-14T12:00:00Z", "noon.snapshot", &[]))
        .run(
            0,
            &materialize(
                "2024-01-14T16:00:00Z",
                "whole.snapshot",
                &["--incremental", "noon.snapshot"],
            ),
        )
        .run(
            0,
            &materialize("2024-01-14T16:00:00Z", "one.delta", &["--delta-from", "noon.snapshot"]),
        )
        .run(0, &["snapshot", "inspect", "one.delta"])
        .run(
            0,
            &[
                "snapshot",
                "compact",
                "noon.snapshot",
                "one.delta",
                "--out",
                "compacted.snapshot",
            ],
        )
        .run(0, &[&["rebuild", "compacted.snapshot"][..], &MODULE].concat())
        .run(
            3,
            &[
                &["rebuild", "compacted.snapshot", "--project", "other.toml"][..],
                &MODULE,
            ]
            .concat(),
        )
        .run(
            1,
            &materialize(
                "2024-01-14T16:00:00Z",
                "other.snapshot",
                &["--incremental", "noon.snapshot", "--project", "other.toml"],
            ),
        )
        .run(
            1,
            &materialize("2024-01-14", "unknown.snapshot", &["--project", "unknown.toml"]),
        )
        .run(0, &of_spine("backfill", &["--out", "train.parquet"]))
        .run(0, &of_spine("audit", &[]))
        .run(0, &publish)
        .run(
            0,
            &of_spine(
                "replay",
                &["--snapshots-at", "2024-01-14T10:00:00Z", "--disturbances", "0"],
            ),
        )
        .expect("late");
}
