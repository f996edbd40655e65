//! Spines, sources and outputs in a bucket.

use std::fs;
use std::path::Path;
use std::process::Output;

use tempfile::TempDir;
use unskew_tests::bucket::BucketServer;

use crate::shop::{PRICES, PROJECT, SPINE, files, shop, write};
use crate::transcript::{command, text};

/// A service whose rows may have been served by the other already.
const AGAIN: &str = r#"
[[service]]
name = "again"
request = [{ name = "item_id", type = "i64" }]
features = ["unread:price"]
"#;

/// The shop whose prices and spine are in a bucket, and an empty one that is not.
struct Lake {
    folder: TempDir,
    server: BucketServer,
}

impl Lake {
    fn new() -> Self {
        let server = BucketServer::start();
        let folder = tempfile::tempdir().unwrap();
        let project = PROJECT.replace("path = \"prices.csv\"", "path = \"s3://lake/prices.csv\"");
        write(folder.path(), "unskew.toml", project + AGAIN);
        server.put("prices.csv", PRICES);
        server.put("spine.csv", SPINE);
        Self { folder, server }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = command(self.folder.path(), arguments);
        command.envs(self.server.environment()).output().unwrap()
    }

    /// What a command that succeeds prints.
    #[track_caller]
    fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    }

    /// What a command that fails says.
    #[track_caller]
    fn fail(&self, arguments: &[&str], expected: &[&str]) {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
        let said = text(&output.stderr);
        for expected in expected {
            assert!(said.contains(expected), "{expected}: {said}");
        }
    }
}

fn backfill<'a>(spine: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let arguments = ["backfill", "--service", "pricing", "--spine", spine, "--out", out];
    [&arguments[..], more].concat()
}

/// The training set of the shop as files.
fn expected() -> Vec<u8> {
    let shop = shop();
    let output = command(shop.path(), &backfill("spine.csv", "train.parquet", &[]))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    fs::read(shop.path().join("train.parquet")).unwrap()
}

#[test]
fn a_training_set_is_made_of_objects_as_an_object() {
    let lake = Lake::new();
    let expected = expected();
    let out = "s3://lake/out/train.parquet";
    let said = lake.succeed(&backfill("s3://lake/spine.csv", out, &[]));
    assert!(said.contains(out), "{said}");
    assert!(lake.server.get("out/train.parquet").unwrap() == expected);
    assert_eq!(
        lake.server.keys(),
        [
            "out/train.parquet",
            "out/train.parquet.manifest.json",
            "prices.csv",
            "spine.csv"
        ]
    );
    assert_eq!(files(lake.folder.path()), [lake.folder.path().join("unskew.toml")]);

    lake.succeed(&["verify", out]);
    lake.fail(
        &backfill("s3://lake/spine.csv", out, &[]),
        &[out, "exists", "--overwrite replaces it"],
    );
    lake.succeed(&backfill("s3://lake/spine.csv", out, &["--resume"]));

    // Spark's kind of directory, and the training set as a spine.
    lake.server.put("days/day=1/part-0.parquet", expected.clone());
    lake.server.put("days/day=2/part-0.parquet", expected);
    lake.server.put("days/_SUCCESS", "");
    let arguments = [
        "backfill",
        "--service",
        "again",
        "--spine",
        "s3://lake/days",
        "--out",
        "local.parquet",
    ];
    let said = lake.succeed(&[&arguments[..], &["--where", "day = 2", "--json"]].concat());
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&said["rows"], &said["spine_read"]["files_read"]),
        (&3.into(), &1.into())
    );
    lake.succeed(&["verify", "local.parquet"]);
    lake.server.put("days/day=2/part-0.parquet", "another");
    lake.fail(
        &["verify", "local.parquet"],
        &["s3://lake/days/day=2/part-0.parquet has 7 bytes"],
    );
}

#[test]
fn what_is_wrong_with_objects_is_said() {
    let lake = Lake::new();
    let fail = |spine: &str, out: &str, expected: &[&str]| lake.fail(&backfill(spine, out, &[]), expected);
    fail(
        "s3://lake/absent.csv",
        "a.parquet",
        &["cannot read s3://lake/absent.csv", "no such object"],
    );
    fail(
        "s3://ocean/days",
        "a.parquet",
        &["cannot read s3://ocean/days", "NoSuchBucket"],
    );
    fail("s3://lake/spine.csv", "s3://lake/spine.csv", &["is the spine"]);
    lake.server.forbid("secret");
    fail(
        "s3://lake/secret/a.parquet",
        "a.parquet",
        &["secret/a.parquet", "permission denied"],
    );
    fail(
        "s3://lake/spine.csv",
        "s3://lake/secret/a.parquet",
        &["secret/a.parquet", "permission denied"],
    );
    lake.fail(
        &[
            "materialize",
            "--view",
            "item_price",
            "--watermark",
            "2024-01-15",
            "--out",
            "s3://lake/a.snapshot",
        ],
        &["a snapshot is written as a file"],
    );
    assert_eq!(files(lake.folder.path()), [lake.folder.path().join("unskew.toml")]);
}

#[test]
fn snapshots_and_project_files_are_made_of_objects() {
    let lake = Lake::new();
    let materialize = [
        "materialize",
        "--view",
        "item_price",
        "--watermark",
        "2024-01-15",
        "--out",
        "a.snapshot",
    ];
    lake.succeed(&materialize);
    let shop = shop();
    let output = command(shop.path(), &materialize).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let bytes = |folder: &Path| fs::read(folder.join("a.snapshot")).unwrap();
    assert!(bytes(lake.folder.path()) == bytes(shop.path()));

    lake.succeed(&["init", "--project", "new.toml", "--source", "s3://lake/prices.csv"]);
    let project = fs::read_to_string(lake.folder.path().join("new.toml")).unwrap();
    assert!(project.contains("path = \"s3://lake/prices.csv\""), "{project}");
}
