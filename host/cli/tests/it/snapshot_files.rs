use std::path::Path;

use serde_json::Value as Json;

use crate::shop::{shop, write};
use crate::transcript::{Transcript, run, text};

/// `snapshot build` of the shop's prices, as of the 14th.
const PRICE: [&str; 16] = [
    "--from",
    "prices.csv",
    "--view",
    "item_price",
    "--key",
    "item_id:i64",
    "--feature",
    "price:f64",
    "--feature",
    "label:string",
    "--event-time",
    "time",
    "--watermark",
    "2024-01-14",
    "--ttl",
    "7d",
];

fn build<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["snapshot", "build", out][..], &PRICE, more].concat()
}

#[test]
fn a_snapshot_is_built_from_tables_and_compared_with_another() {
    let folder = shop();
    write(
        folder.path(),
        "more.csv",
        "item_id,time,price,label\n1,2024-01-13T12:00:00Z,8.25,new\n3,2024-01-05T00:00:00Z,,\n4,2024-01-05T00:00:00Z,-0.0,four\n",
    );
    Transcript::new(folder.path())
        .run(0, &build("first.snapshot", &["--duplicates", "as-of"]))
        .run(
            0,
            &build(
                "second.snapshot",
                &["--duplicates", "as-of", "--from", "more.csv", "--memory", "200MiB"],
            ),
        )
        .run(0, &["snapshot", "inspect", "second.snapshot"])
        .run(0, &["snapshot", "diff", "first.snapshot", "second.snapshot"])
        .run(0, &["snapshot", "diff", "first.snapshot", "second.snapshot", "--json"])
        .run(
            0,
            &["snapshot", "diff", "first.snapshot", "second.snapshot", "--keys", "1"],
        )
        .run(0, &["snapshot", "diff", "second.snapshot", "second.snapshot"])
        .expect("snapshot-files");
}

/// What `materialize` makes of a project's view is what `snapshot build` makes of the view's table.
#[test]
fn a_built_snapshot_is_the_materialized_one() {
    let folder = shop();
    let materialize = [
        "materialize",
        "--view",
        "item_price",
        "--watermark",
        "2024-01-14",
        "--out",
        "materialized.snapshot",
    ];
    for arguments in [&materialize[..], &build("built.snapshot", &["--duplicates", "as-of"])] {
        let output = run(folder.path(), arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    assert!(read("built.snapshot") == read("materialized.snapshot"));
    assert_eq!(
        diff(folder.path(), "built.snapshot", "materialized.snapshot")["unchanged"],
        2
    );
}

/// Days of prices as a snapshot and deltas: read together, compared, compacted to the bytes of the whole.
#[test]
fn deltas_are_made_read_and_compacted() {
    let folder = shop();
    let price = |name: &'static str, watermark: &'static str, more: &[&'static str]| {
        let fixed = [
            "materialize",
            "--view",
            "item_price",
            "--watermark",
            watermark,
            "--out",
            name,
        ];
        [&fixed[..], more].concat()
    };
    write(
        folder.path(),
        "other.csv",
        "item_id,time,price,label\n2,2024-01-05T00:00:00Z,9.0,\n",
    );
    let other = build("other.snapshot", &["--from", "other.csv"]);
    let other: Vec<&str> = other.into_iter().filter(|argument| *argument != "prices.csv").collect();
    let from = other.iter().rposition(|argument| *argument == "--from").unwrap();
    let other = [&other[..3], &other[from..], &other[4..from]].concat();
    Transcript::new(folder.path())
        .run(0, &price("base.snapshot", "2024-01-02", &[]))
        .run(0, &price("one.delta", "2024-01-10", &["--delta-from", "base.snapshot"]))
        .run(
            0,
            &price(
                "two.delta",
                "2024-01-14",
                &["--delta-from", "base.snapshot", "one.delta"],
            ),
        )
        .run(0, &price("whole.snapshot", "2024-01-14", &[]))
        .run(0, &["snapshot", "inspect", "two.delta"])
        .run(0, &["snapshot", "verify", "two.delta"])
        .run(0, &["snapshot", "get", "base.snapshot", "1"])
        .run(
            0,
            &[
                "snapshot",
                "get",
                "base.snapshot",
                "1",
                "--delta",
                "one.delta",
                "--delta",
                "two.delta",
            ],
        )
        .run(0, &["snapshot", "get", "two.delta", "1"])
        .run(0, &["snapshot", "diff", "base.snapshot", "one.delta", "two.delta"])
        .run(
            0,
            &[
                "snapshot",
                "compact",
                "base.snapshot",
                "one.delta",
                "two.delta",
                "--out",
                "compact.snapshot",
            ],
        )
        .run(0, &["snapshot", "diff", "compact.snapshot", "whole.snapshot"])
        .run(0, &other)
        .run(
            0,
            &[
                "snapshot",
                "delta",
                "whole.snapshot",
                "other.snapshot",
                "--out",
                "less.delta",
            ],
        )
        .run(0, &["snapshot", "get", "less.delta", "1"])
        .run(0, &["snapshot", "get", "whole.snapshot", "1", "--delta", "less.delta"])
        .run(
            1,
            &[
                "snapshot",
                "compact",
                "base.snapshot",
                "two.delta",
                "--out",
                "bad.snapshot",
            ],
        )
        .run(
            1,
            &[
                "snapshot",
                "compact",
                "whole.snapshot",
                "one.delta",
                "--out",
                "bad.snapshot",
            ],
        )
        .run(
            1,
            &["snapshot", "compact", "one.delta", "two.delta", "--out", "bad.snapshot"],
        )
        .run(
            1,
            &[
                "snapshot",
                "compact",
                "base.snapshot",
                "whole.snapshot",
                "--out",
                "bad.snapshot",
            ],
        )
        .run(
            1,
            &[
                "snapshot",
                "delta",
                "whole.snapshot",
                "base.snapshot",
                "--out",
                "bad.delta",
            ],
        )
        .run(1, &price("bad.snapshot", "2024-01-14", &["--incremental", "one.delta"]))
        .run(1, &price("bad.delta", "2024-01-01", &["--delta-from", "base.snapshot"]))
        .expect("deltas");
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    assert!(read("compact.snapshot") == read("whole.snapshot"));
    assert!(!folder.path().join("bad.snapshot").exists() && !folder.path().join("bad.delta").exists());
}

#[test]
fn a_snapshot_that_cannot_be_built_says_why_and_leaves_nothing() {
    let folder = shop();
    write(folder.path(), "taken.snapshot", "");
    write(
        folder.path(),
        "null.csv",
        "item_id,time,price,label\n,2024-01-01T00:00:00Z,1,a\n",
    );
    let with = |place: usize, argument: &'static str| {
        let mut arguments = build("new.snapshot", &[]);
        arguments[3 + place] = argument;
        arguments
    };
    Transcript::new(folder.path())
        .run(1, &build("new.snapshot", &[]))
        .run(1, &build("taken.snapshot", &[]))
        .run(1, &build("missing/new.snapshot", &[]))
        .run(1, &with(1, "absent.csv"))
        .run(1, &with(1, "null.csv"))
        .run(1, &with(5, "item:i64"))
        .run(1, &with(7, "cost:f64"))
        .run(1, &with(9, "label:f64"))
        .run(1, &with(11, "when"))
        .run(1, &with(13, "2024-01-10"))
        .run(
            1,
            &build("new.snapshot", &["--key", "label:string", "--key", "item_id:i64"]),
        )
        .run(2, &with(5, "item_id:f64"))
        .run(2, &with(7, "price"))
        .run(2, &build("new.snapshot", &["--memory", "1GB"]))
        .expect("bad-build");
    assert!(!folder.path().join("new.snapshot").exists());
    let left = std::fs::read_dir(folder.path()).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().ends_with(".tmp")
    });
    assert_eq!(left.count(), 0);
}

#[test]
fn snapshots_of_different_keys_are_not_compared() {
    let folder = shop();
    let text_key = |argument: &'static str| {
        if argument == "item_id:i64" {
            "item_id:string"
        } else {
            argument
        }
    };
    let mut other = build("text.snapshot", &["--duplicates", "as-of"]);
    other[3..3 + PRICE.len()].iter_mut().for_each(|argument| {
        if let Some(known) = PRICE.iter().find(|known| **known == *argument) {
            *argument = text_key(known);
        }
    });
    Transcript::new(folder.path())
        .run(0, &build("id.snapshot", &["--duplicates", "as-of"]))
        .run(0, &other)
        .run(1, &["snapshot", "diff", "id.snapshot", "text.snapshot"])
        .run(1, &["snapshot", "diff", "id.snapshot", "prices.csv"])
        .run(1, &["snapshot", "diff", "absent.snapshot", "id.snapshot"])
        .expect("bad-diff");
}

fn diff(folder: &Path, before: &str, after: &str) -> Json {
    let output = run(folder, &["snapshot", "diff", before, after, "--json"]);
    serde_json::from_slice(&output.stdout).expect("one object")
}
