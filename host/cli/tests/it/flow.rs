use std::fs;
use std::path::Path;

use serde_json::{Value as Json, json};
use unskew::{Digest, Store};
use unskew_batch::{ColumnRequest, Table, TableSource};
use unskew_frame::{ColumnType, Value};
use unskew_tests::{component, root};

use crate::shop::{PRICES, shop_with_components, write};
use crate::transcript::{Transcript, run, text};

const RANKING: [&str; 8] = [
    "backfill",
    "--service",
    "ranking",
    "--spine",
    "spine.csv",
    "--statuses",
    "--json",
    "--out",
];
const MODULES: [&str; 4] = ["--module", "ctr-history.wasm", "--module", "request-context.wasm"];

#[test]
fn from_a_crate_to_a_generation() {
    let folder = shop_with_components();
    let folder = folder.path();
    let crate_dir = root().join("transforms/ctr-history").display().to_string();
    let target_dir = root().join("target/wasm").display().to_string();
    let built = json(
        folder,
        &[
            "build",
            &crate_dir,
            "--out",
            "built/here",
            "--target-dir",
            &target_dir,
            "--json",
        ],
    );
    let digest = Digest::of(component("ctr-history")).to_string();
    assert_eq!(built["digest"], digest);
    assert_eq!(built["world"], "aggregate-transform");
    assert_eq!(
        fs::read(folder.join("built/here/ctr-history.wasm")).unwrap(),
        component("ctr-history")
    );

    let checked = json(folder, &["check", "built/here/ctr-history.wasm", "--json"]);
    assert_eq!(checked["digest"], digest);
    assert_eq!(
        checked["windows"][1],
        json!({ "name": "1d", "length_us": 86_400_000_000_i64, "hop_us": 3_600_000_000_i64 })
    );

    let [tiles, bytes] = ["state_tiles_max", "state_bytes_max"].map(|name| checked[name].as_u64().unwrap());
    assert_eq!(tiles, 14 + 170, "an hour of five minutes, a week of hours");
    assert!(tiles * 20 < bytes && bytes < tiles * 40, "two counts a tile: {bytes}");

    // Features of three rows, by hand.
    let trained = json(folder, &[&RANKING[..], &["one.parquet"], &MODULES].concat());
    assert_eq!(
        (&trained["rows"], &trained["ties"]),
        (&json!(3), &json!({ "item_price": 1 }))
    );
    let file = fs::read(folder.join("one.parquet")).unwrap();
    assert_eq!(trained["digest"], Digest::of(&file).to_string());
    let manifest: Json = serde_json::from_slice(&fs::read(folder.join("one.parquet.manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["output"], trained["digest"]);
    assert_eq!(manifest["modules"]["ctr-history"], digest);
    check_features(&folder.join("one.parquet"));

    let watermark = ["publish", "--watermark", "2024-01-14T12:30:00Z", "--json"];
    let published = json(folder, &[&watermark[..], &MODULES].concat());
    assert_eq!(published["generation"], 1);
    assert_eq!(published["modules"]["ctr-history"]["digest"], digest);
    let snapshots = published["snapshots"].as_object().unwrap();
    assert_eq!(
        snapshots.keys().collect::<Vec<_>>(),
        ["item_ctr", "item_price"],
        "no service reads the third view"
    );

    // The store has the modules now: the same training set without naming them.
    let again = json(folder, &[&RANKING[..], &["two.parquet"]].concat());
    assert_eq!(again["digest"], trained["digest"]);

    let digest = snapshots["item_price"]["digest"].as_str().unwrap();
    let price = format!(
        ".unskew/store/snapshots/{}.snapshot",
        digest.strip_prefix("sha256:").unwrap()
    );
    let found = json(folder, &["snapshot", "get", &price, "1", "--json"]);
    assert_eq!(
        found,
        json!({
            "key": ["1"],
            "found": true,
            "event_time": "2024-01-13T00:00:00.000000Z",
            "values": { "price": 8.25, "label": "new" },
        })
    );
    assert_eq!(
        json(folder, &["snapshot", "verify", &price, "--json"])["digest"],
        digest
    );

    // Another generation, and a failed one after it: the current one stays.
    assert_eq!(json(folder, &watermark)["generation"], 2);
    write(folder, "prices.csv", PRICES.replace("8.25", "cheap"));
    assert_eq!(run(folder, &watermark).status.code(), Some(1));
    let store = folder.join(".unskew/store");
    let current = fs::read_to_string(store.join("current")).unwrap();
    assert_eq!(current, Store::encode_current(2));
    let left: Vec<_> = fs::read_dir(&store)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(".tmp"))
        .collect();
    assert!(left.is_empty(), "{left:?}");

    fs::remove_dir_all(store.join("compiled")).unwrap();
    let prepared = json(folder, &["prepare", "--store", ".unskew/store", "--json"]);
    assert_eq!(prepared["modules"].as_array().unwrap().len(), 2);
    assert_eq!(prepared["modules"][0]["was_there"], false);
    let prepared = json(folder, &["prepare", "--store", ".unskew/store", "--json"]);
    assert_eq!(prepared["modules"][0]["was_there"], true);
}

#[test]
fn every_command_answers_people() {
    let folder = shop_with_components();
    let pricing = [
        "backfill",
        "--service",
        "pricing",
        "--spine",
        "spine.csv",
        "--out",
        "out.parquet",
    ];
    Transcript::new(folder.path())
        .run(0, &pricing)
        .run(
            0,
            &[
                &pricing[..],
                &["--overwrite", "--statuses", "--freeze-at", "2024-01-10"],
            ]
            .concat(),
        )
        .run(
            0,
            &[
                "materialize",
                "--view",
                "item_price",
                "--watermark",
                "2024-01-14",
                "--out",
                "price.snapshot",
            ],
        )
        .run(0, &["snapshot", "verify", "price.snapshot"])
        .expect("answers");

    // Sizes and digests depend on the compiler of the components: their names and shapes do not.
    let checked = text(&run(folder.path(), &["check", "ctr-history.wasm"]).stdout);
    for part in [
        "ctr-history",
        "aggregate-transform",
        "ads-ranking",
        "inputs",
        "prior_ctr",
        "events",
        "windows",
        "outputs",
        " bytes an entity, in 184 tiles",
    ] {
        assert!(checked.contains(part), "{part} is missing:\n{checked}");
    }
    let published = run(
        folder.path(),
        &[&["publish", "--watermark", "2024-01-14"][..], &MODULES].concat(),
    );
    let (out, progress) = (text(&published.stdout), text(&published.stderr));
    assert!(
        out.contains("generation") && out.contains("view item_ctr") && out.contains("2 rows"),
        "{out}"
    );
    assert!(progress.contains("materializing view item_ctr"), "{progress}");
}

/// The spine's rows are items 1, 2 and 9 at 12:30 on the 14th.
#[track_caller]
fn check_features(path: &Path) {
    let columns = [
        ("clicked", ColumnType::I64),
        ("item_ctr:impressions_1d", ColumnType::I64),
        ("item_ctr:clicks_7d", ColumnType::I64),
        ("item_ctr:ctr_7d", ColumnType::F64),
        ("item_price:price", ColumnType::F64),
        ("item_price:price:status", ColumnType::String),
        ("context:hour", ColumnType::I64),
    ];
    let request = |(name, column_type): (&str, ColumnType)| ColumnRequest {
        name: name.to_owned(),
        column_type,
        required: true,
        nullable: true,
    };
    let source = TableSource {
        path: path.to_owned(),
        columns: columns.into_iter().map(request).collect(),
        event_time: "prediction_time".to_owned(),
        known_at: None,
    };
    let table = Table::read(&source).unwrap();
    let rows: Vec<Vec<Value<'_>>> = (0..table.rows())
        .map(|row| table.columns().iter().map(|column| column.value(row)).collect())
        .collect();
    let (int, float, status) = (Value::I64, Value::F64, Value::String);
    // The prior is 1 click in 10 impressions.
    assert_eq!(
        rows,
        [
            vec![
                int(1),
                int(2),
                int(2),
                float(3.0 / 13.0),
                float(8.25),
                status("present"),
                int(12)
            ],
            vec![
                int(0),
                int(0),
                int(0),
                float(0.1),
                Value::Null,
                status("outside_ttl"),
                int(12)
            ],
            vec![
                int(0),
                int(0),
                int(0),
                float(0.1),
                Value::Null,
                status("not_found"),
                int(12)
            ],
        ]
    );
}

#[track_caller]
fn json(folder: &Path, arguments: &[&str]) -> Json {
    let output = run(folder, arguments);
    let command = arguments.join(" ");
    assert!(output.status.success(), "unskew {command}\n{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("unskew {command}: {error}"))
}

/// What is pushed between the snapshots and the rows is what a backfill sees; an event that is pushed twice is not.
#[test]
fn a_log_is_replayed_as_it_arrived() {
    let folder = shop_with_components();
    let folder = folder.path();
    let replay = [
        "replay",
        "--service",
        "ranking",
        "--spine",
        "spine.csv",
        "--snapshots-at",
        "2024-01-12",
    ];
    let found = json(folder, &[&replay[..], &["--json"], &MODULES].concat());
    // Three rows of five features; two impressions and two prices since, and one after the last row.
    let expected = [
        ("values", 15),
        ("mismatches", 0),
        ("events", 4),
        ("covered", 0),
        ("rollbacks", 3),
        ("restarts", 3),
    ];
    for (name, number) in expected {
        assert_eq!(found[name], number, "{name} of {found}");
    }
    let output = run(
        folder,
        &[&replay[..], &["--push-twice", "--disturbances", "0"], &MODULES].concat(),
    );
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("served otherwise than a backfill computes them") && said.contains("item_ctr:"),
        "{said}"
    );
}
