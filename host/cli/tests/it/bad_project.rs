use std::fs;

use crate::shop::{PROJECT, SPINE, files, shop, shop_with_components, write};
use crate::transcript::Transcript;

const BACKFILL: [&str; 7] = [
    "backfill",
    "--service",
    "pricing",
    "--spine",
    "spine.csv",
    "--out",
    "out.parquet",
];

#[test]
fn a_project_file_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let mut transcript = Transcript::new(folder.path());
    transcript.run(1, &BACKFILL);
    for (name, content) in [
        ("syntax.toml", PROJECT.replace("name = \"item_ctr\"", "name = item_ctr")),
        (
            "unknown-source.toml",
            PROJECT.replace("source = \"prices\"\nttl", "source = \"price\"\nttl"),
        ),
        ("bad-ttl.toml", PROJECT.replace("\"7d\"", "\"a week\"")),
        ("not-utf8.toml", String::new()),
        (
            "no-service.toml",
            PROJECT.split("[[service]]").next().unwrap_or_default().to_owned(),
        ),
    ] {
        write(folder.path(), name, content);
    }
    write(folder.path(), "not-utf8.toml", [0xff, 0xfe]);
    write(folder.path(), "spine.csv", SPINE);
    for name in ["syntax", "unknown-source", "bad-ttl", "not-utf8", "no-service"] {
        let path = format!("{name}.toml");
        transcript.run(1, &[&BACKFILL[..], &["--project", &path]].concat());
    }
    transcript
        .run(
            1,
            &["publish", "--watermark", "2024-01-14", "--project", "no-service.toml"],
        )
        .expect("bad-project");
}

#[test]
fn an_unknown_name_is_told_with_the_known_ones() {
    let folder = shop();
    let out = ["--out", "out"];
    Transcript::new(folder.path())
        .run(
            1,
            &[&["backfill", "--service", "rankin", "--spine", "spine.csv"][..], &out].concat(),
        )
        .run(
            1,
            &[
                &["materialize", "--view", "item_prices", "--watermark", "2024-01-14"][..],
                &out,
            ]
            .concat(),
        )
        .expect("unknown-name");
}

#[test]
fn a_bad_source_is_named_with_line_and_column() {
    let folder = shop();
    let before = files(folder.path());
    let mut transcript = Transcript::new(folder.path());
    for (name, spine) in [
        ("no-column.csv", "prediction_time,item\n2024-01-14,1\n"),
        ("no-time.csv", "time,item_id\n2024-01-14,1\n"),
        (
            "bad-type.csv",
            "prediction_time,item_id\n2024-01-14,1\n2024-01-14,one\n",
        ),
        ("bad-time.csv", "prediction_time,item_id\n14.1.2024,1\n"),
        ("empty-time.csv", "prediction_time,item_id\n2024-01-14,1\n,2\n"),
        ("ragged.csv", "prediction_time,item_id\n2024-01-14,1,2\n"),
        ("empty.csv", ""),
        ("spine.txt", "prediction_time,item_id\n2024-01-14,1\n"),
        ("damaged.parquet", "PAR1 and then nothing"),
    ] {
        write(folder.path(), name, spine);
        let arguments = [
            "backfill",
            "--service",
            "pricing",
            "--spine",
            name,
            "--out",
            "out.parquet",
        ];
        transcript.run(1, &arguments);
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    transcript.run(
        1,
        &[
            "backfill",
            "--service",
            "pricing",
            "--spine",
            "absent.csv",
            "--out",
            "out.parquet",
        ],
    );
    for prices in [
        "item_id,time,cost,label\n1,2024-01-01,9.5,old\n",
        "item_id,price,label\n1,9.5,old\n",
        "item_id,time,price,label\n1,2024-01-01,9.5,old\n1,2024-01-02,cheap,old\n",
    ] {
        write(folder.path(), "prices.csv", prices);
        transcript.run(
            1,
            &[
                "materialize",
                "--view",
                "item_price",
                "--watermark",
                "2024-01-14",
                "--out",
                "out.snapshot",
            ],
        );
        transcript.run(1, &BACKFILL);
    }
    transcript.expect("bad-source");
    assert_eq!(files(folder.path()), before);
}

/// Event logs that a module cannot be given: nothing is guessed, and what to do is said.
#[test]
fn bad_events_are_named_with_line_and_column() {
    let folder = shop_with_components();
    let mut transcript = Transcript::new(folder.path());
    let module = ["--module", "ctr-history.wasm", "--module", "request-context.wasm"];
    let materialize = [
        "materialize",
        "--view",
        "item_ctr",
        "--watermark",
        "2024-01-14",
        "--out",
        "out",
    ];
    let backfill = [
        "backfill",
        "--service",
        "ranking",
        "--spine",
        "spine.csv",
        "--out",
        "out.parquet",
    ];
    for events in [
        // Without a time, without a column that the module asks for, of another type, without a key's column.
        "item_id,time,clicked\n1,2024-01-10,1\n1,,0\n",
        "item_id,time,click\n1,2024-01-10,1\n",
        "item_id,time,clicked\n1,2024-01-10,1\n1,2024-01-10,often\n",
        "item,time,clicked\n1,2024-01-10,1\n",
        "item_id,at,clicked\n1,2024-01-10,1\n",
    ] {
        write(folder.path(), "impressions.csv", events);
        transcript.show("impressions.csv", events);
        for command in [&materialize[..], &backfill] {
            transcript.run(1, &[command, &module].concat());
        }
    }
    transcript
        .run(1, &[&["publish", "--watermark", "2024-01-14"][..], &module].concat())
        .run(
            1,
            &[&["replay", "--service", "ranking", "--spine", "spine.csv"][..], &module].concat(),
        )
        .expect("bad-events");
    assert!(
        ["out", "out.parquet"]
            .iter()
            .all(|name| !folder.path().join(name).exists())
    );
}

#[test]
fn an_output_that_is_there_is_kept() {
    let folder = shop();
    write(folder.path(), "out.parquet", "mine");
    write(folder.path(), "out.snapshot", "mine");
    let materialize = [
        "materialize",
        "--view",
        "item_price",
        "--watermark",
        "2024-01-14",
        "--out",
    ];
    let backfill = ["backfill", "--service", "pricing", "--spine", "spine.csv", "--out"];
    Transcript::new(folder.path())
        .run(1, &BACKFILL)
        .run(1, &[&backfill[..], &["absent/out.parquet"]].concat())
        .run(1, &[&backfill[..], &["./spine.csv", "--overwrite"]].concat())
        .run(1, &[&materialize[..], &["out.snapshot"]].concat())
        .run(1, &[&materialize[..], &["spine.csv/out.snapshot"]].concat())
        .expect("output-exists");
    for name in ["out.parquet", "out.snapshot"] {
        assert_eq!(fs::read(folder.path().join(name)).unwrap(), b"mine");
    }
    assert_eq!(fs::read(folder.path().join("spine.csv")).unwrap(), SPINE.as_bytes());
}

#[test]
fn a_store_without_what_is_needed_is_named() {
    let folder = shop_with_components();
    for store in ["empty", "no-number", "no-manifest", "bad-manifest"] {
        fs::create_dir_all(folder.path().join(store).join("generations")).unwrap();
    }
    write(folder.path(), "no-number/current", "seven\n");
    write(folder.path(), "no-manifest/current", "7\n");
    write(folder.path(), "bad-manifest/current", "7\n");
    write(folder.path(), "bad-manifest/generations/000000000007.json", "{}");
    let ranking = [
        "backfill",
        "--service",
        "ranking",
        "--spine",
        "spine.csv",
        "--out",
        "out.parquet",
    ];
    let mut transcript = Transcript::new(folder.path());
    transcript.run(1, &ranking);
    for store in [
        "absent",
        "empty",
        "no-number",
        "no-manifest",
        "bad-manifest",
        "spine.csv",
    ] {
        transcript.run(1, &["prepare", "--store", store]);
    }
    transcript
        .run(1, &[&ranking[..], &["--store", "empty"]].concat())
        .run(1, &[&ranking[..], &["--module", "ctr-history.wasm"]].concat())
        .expect("bad-store");
    assert!(!folder.path().join("out.parquet").exists());
}
