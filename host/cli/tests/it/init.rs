use std::fs;

use crate::shop::{PRICES, SPINE, write};
use crate::transcript::Transcript;

#[test]
fn a_project_is_begun_from_files_and_backfilled_as_it_is() {
    let folder = tempfile::Builder::new().prefix("shop-").tempdir().unwrap();
    let folder = folder.path();
    write(folder, "prices.csv", PRICES);
    write(folder, "spine.csv", SPINE);
    let mut transcript = Transcript::new(folder);
    transcript.run(0, &["init", "--source", "prices.csv", "--spine", "spine.csv"]);
    let text = fs::read_to_string(folder.join("unskew.toml")).unwrap();
    let name = folder.file_name().unwrap().to_string_lossy().replace('.', "_");
    transcript.show("unskew.toml", &text.replace(&name, "[NAME]"));
    transcript
        .run(
            0,
            &[
                "backfill",
                "--service",
                "model",
                "--spine",
                "spine.csv",
                "--out",
                "train.parquet",
            ],
        )
        .run(1, &["init", "--source", "prices.csv"])
        .run(1, &["init", "--project", "other.toml", "--source", "absent.csv"])
        .run(1, &["init", "--project", "absent/unskew.toml"])
        .run(0, &["init", "--project", "empty.toml"])
        .run(
            0,
            &["init", "--project", "spine.toml", "--source", "spine.csv", "--json"],
        );
    assert_eq!(fs::read_to_string(folder.join("unskew.toml")).unwrap(), text);
    assert!(!folder.join("other.toml").exists());
    transcript.expect("init");
}
